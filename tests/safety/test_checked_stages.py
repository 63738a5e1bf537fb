"""A stage counts as finished only with all that was asked for, and what it left is checked before it is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from selfdebias.main import main
from selfdebias.storage import StorageError
from selfdebias.storage.atomic import TEMPORARY, append_line, encode_tensors, write_json
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.stage_folder import MARK, StageFolder
from tests import small_jobs
from tests.tiny import tiny_pipeline

SMALL = ["generate.n_images=8", "generate.batch_size=4", "evaluate.reference_images=8", "evaluate.bootstrap=20"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    """A finished job's root of runs."""
    root = tmp_path_factory.mktemp("done")
    assert main(small_jobs.command(model, root, *SMALL)) == 0
    return root


@pytest.fixture
def root(done, tmp_path):
    return Path(shutil.copytree(done, tmp_path / "runs"))


def again(model: Path, root: Path, capsys, *more: str) -> tuple[int, list[str], str]:
    """Runs the same command again: its exit code, the lines that say what is wrong, and what it printed."""
    capsys.readouterr()
    code = main(small_jobs.command(model, root, *SMALL, *more))
    out, err = capsys.readouterr()
    return code, [line for line in err.splitlines() if line.startswith("selfdebias: ")], out


def the(root: Path, stage: str, **facts) -> Path:
    """The folder of a stage, by what is in a file of it."""
    found = sorted(path.parent for path in root.glob(f"stages/{stage}/*/{MARK}"))
    return next(it for it in found if all(facts[key] in (it / f"{stage}.json").read_text() for key in facts))


def of_batches(root: Path) -> dict[str, list[int]]:
    return {path.parent.name: BatchFolder.open(path.parent).ids() for path in root.glob("stages/*/*/manifest-0.jsonl")}


@pytest.mark.parametrize(
    "key", ["limit_predict_batches", "fast_dev_run", "limit_test_batches", "max_steps", "default_root_dir"]
)
def test_an_option_of_the_trainer_that_no_stage_is_made_for_is_refused(model, tmp_path, capsys, key):
    code, said, _ = again(model, tmp_path / "runs", capsys, f"+trainer.{key}=1")
    assert code == 2 and f"`trainer.{key}` is not an option" in said[0] and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("key", ["logger", "enable_checkpointing", "inference_mode"])
def test_a_value_of_the_trainer_that_no_stage_is_made_for_is_refused(model, tmp_path, capsys, key):
    code, said, _ = again(model, tmp_path / "runs", capsys, f"trainer.{key}=true")
    assert code == 2 and f"`trainer.{key}` must be false" in said[0]


def test_a_stage_that_holds_fewer_images_than_were_asked_for_is_not_finished(tmp_path):
    folder = StageFolder(tmp_path, "collect", "k", n_images=4)
    with folder.lock():
        store = BatchFolder(folder.path, "k")
        store.add(0, [0, 1], torch.zeros(2, 3, 4, 4), {"x": torch.zeros(1)}, [{}, {}])
        with pytest.raises(StorageError, match="must hold the 4 images that were asked for, got 2"):
            folder.finish({})
        assert not folder.finished
        store.add(1, [2, 3], torch.zeros(2, 3, 4, 4), {"x": torch.zeros(1)}, [{}, {}])
        folder.finish({})
    folder.check()
    with pytest.raises(StorageError, match="must hold the 5 images that were asked for, got 4"):
        StageFolder(tmp_path, "collect", "k", n_images=5).check()


def test_a_finished_job_is_found_whole(model, root, capsys):
    code, said, out = again(model, root, capsys)
    assert (code, said) == (0, []) and out.count("found, skipped") == 8 and "not checked" not in out


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def drop(path: Path) -> None:
    path.unlink()


def fill(text: str):
    return lambda path: path.write_text(text)


def doubled(path: Path) -> None:
    path.write_text(path.read_text() + path.read_text().replace('"batch": 0', '"batch": 7'))


DAMAGE = {
    "half of a manifest": ("collect", "manifest-0.jsonl", cut),
    "no byte of a manifest": ("collect", "manifest-0.jsonl", fill("")),
    "no manifest": ("collect", "manifest-0.jsonl", drop),
    "a manifest that leads elsewhere": ("collect", "manifest-0.jsonl", fill('{"batch": 0, "files": {"../x": ""}}\n')),
    "a manifest with an image twice": ("collect", "manifest-0.jsonl", doubled),
    "no image": ("generate", "images/000003.png", drop),
    "no images at all": ("generate", "images", shutil.rmtree),
    "no tensors of a batch": ("generate", "batch-00001.safetensors", drop),
    "an empty mark": ("discover", MARK, fill("")),
    "a mark that is no dictionary": ("discover", MARK, fill("[]")),
    "a mark of another stage": ("discover", MARK, fill('{"name": "discover", "key": "x", "version": 9}')),
    "half of the modes": ("discover", "modes.json", cut),
    "modes that are no numbers": ("discover", "modes.json", fill('{"k": NaN}')),
    "no centres": ("discover", "centers.safetensors", drop),
    "a flipped bit of the projector": ("project", "projector.safetensors", flip),
    "half of the projector": ("project", "projector.safetensors", cut),
    "a huge header of the bank": ("project", "bank.safetensors", lambda path: path.write_bytes(b"\xff" * 64)),
    "no measures of the projector": ("project", "project.json", drop),
    "no facts of an arm": ("generate", "generate.json", drop),
    "empty results": ("evaluate", "results.json", fill("")),
    "no page": ("report", "report.html", drop),
    "another page": ("report", "report.html", fill("<html>")),
    "a loop of links": ("report", "table.md", lambda path: (path.unlink(), path.symlink_to(path.name))),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_of_a_finished_stage_is_one_line_that_names_the_file_and_what_to_delete(model, root, capsys, name):
    stage, file, damage = DAMAGE[name]
    folder = the(root, stage)
    damage(folder / file)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, said, out = again(model, root, capsys)
    assert code == 1 and len(said) == 1 and str(folder) in said[0] and "delete " in said[0], said
    assert "done in" not in out  # nothing was made of it
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["half of a manifest", "no image", "a flipped bit of the projector", "empty results"])
def test_what_the_line_says_mends_it(model, root, done, capsys, name):
    stage, file, damage = DAMAGE[name]
    folder = the(root, stage)
    damage(folder / file)
    assert again(model, root, capsys)[0] == 1
    shutil.rmtree(folder)
    assert again(model, root, capsys)[0] == 0
    assert of_batches(root) == of_batches(done)


def test_what_depends_on_a_stage_that_was_made_anew_with_other_results_says_so(model, root, capsys):
    """As when it was drawn on another computer since."""
    discover = the(root, "discover")
    collect = root / "stages" / "collect" / json.loads((discover / MARK).read_text())["inputs"]["collected"]
    mark = json.loads((collect / MARK).read_text())
    write_json(collect / MARK, mark | {"content": "0" * 64})
    code, said, _ = again(model, root, capsys)
    assert code == 1 and f"{discover} was made before collect/{collect.name} was made anew" in said[0]
    told = said[0].partition("delete ")[2].partition(" and give the same command again")[0].split(", ")
    assert str(discover) in told and all(Path(it, MARK).exists() for it in told)
    for folder in told:
        shutil.rmtree(folder)
    code, said, out = again(model, root, capsys)
    assert (code, said) == (0, []) and out.count("done in") == len(told)  # all at once, and nothing else


def without_hashes(root: Path) -> None:
    """Makes all stages those of a version that left no hashes."""
    for mark in root.glob(f"stages/*/*/{MARK}"):
        write_json(
            mark,
            {key: it for key, it in json.loads(mark.read_text()).items() if key not in ("files", "content", "read")},
        )


def test_stages_of_an_earlier_version_stay_valid_and_are_said_once_to_be_not_checked(model, root, capsys):
    without_hashes(root)
    code, said, out = again(model, root, capsys)
    assert (code, said) == (0, []) and out.count("found, skipped") == 8 and out.count("are not checked") == 1


@pytest.mark.parametrize(
    "name",
    ["half of a manifest", "no image", "half of the modes", "half of the projector", "a huge header of the bank"],
)
def test_stages_of_an_earlier_version_are_checked_by_ids_and_headers(model, root, capsys, name):
    without_hashes(root)
    stage, file, damage = DAMAGE[name]
    folder = the(root, stage)
    damage(folder / file)
    code, said, _ = again(model, root, capsys)
    assert code == 1 and len(said) == 1 and str(folder) in said[0] and "delete " in said[0], said


def test_damage_of_a_jobs_own_record_is_one_line(model, root, capsys):
    (job,) = (root / "jobs").iterdir()
    (job / "job.json").write_text("garbage\n")
    code, said, _ = again(model, root, capsys)
    assert code == 1 and len(said) == 1 and str(job / "job.json") in said[0]


def test_what_goes_wrong_with_the_logger_at_the_end_tears_no_finished_job(model, root, capsys, monkeypatch):
    """Options of W&B are checked before; what it says all the same, and a damaged note of an earlier log, is one line."""
    (job,) = (root / "jobs").iterdir()
    (job / "logged.jsonl").write_text("garbage\n")
    command = [text for text in small_jobs.command(model, root, *SMALL) if text != "logger=none"]
    capsys.readouterr()
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert str(job / "report.html") in out and err.count("\n") == 1
    assert "nothing was logged to W&B" in err and "logged.jsonl" in err and "all results are here" in err
    (job / "logged.jsonl").unlink()
    monkeypatch.setattr("selfdebias.report.loggers.log_job", lambda *_: 1 / 0)
    assert main(command) == 0
    assert "nothing was logged to W&B (division by zero)" in capsys.readouterr().err


def test_what_a_killed_job_was_writing_is_swept_from_its_own_folder(model, root, capsys):
    (job,) = (root / "jobs").iterdir()
    (job / f"{TEMPORARY}x").write_text("half")
    assert again(model, root, capsys)[0] == 0
    assert not list(root.rglob(f"{TEMPORARY}*"))


def test_the_same_tensors_are_the_same_bytes_whatever_the_order_of_their_notes():
    tensors, notes = {"b": torch.arange(5), "a": torch.zeros(3)}, {chr(i): str(i) for i in range(97, 117)}
    first = encode_tensors(tensors, notes)
    assert first == encode_tensors(dict(reversed(tensors.items())), dict(reversed(notes.items())))
    assert len(first) % 8 == len(encode_tensors(tensors)) % 8


def test_a_line_of_another_key_is_refused_also_where_a_later_line_replaces_it(tmp_path):
    BatchFolder(tmp_path, "k").add(0, [0], torch.zeros(1, 3, 2, 2), {}, [{}])
    line = json.loads((tmp_path / "manifest-0.jsonl").read_text())
    append_line(tmp_path / "manifest-1.jsonl", {**line, "config_hash": "other"})
    with pytest.raises(StorageError, match="must be other"):
        BatchFolder(tmp_path, "k")
