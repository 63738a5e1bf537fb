"""A job runs again from its folder: the same configuration, the same images, and a clear line where that cannot be."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from selfdebias.config.compose import load
from selfdebias.jobs import run
from selfdebias.jobs.job_record import load_again, notes_on_weights, start_job
from selfdebias.main import main
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.hidden import HIDDEN
from selfdebias.storage.model_files import hash_files
from selfdebias.storage.provenance import made_with
from tests import small_jobs
from tests.tiny import tiny_pipeline

ARMS = ("vanilla", "guided", "random")
JOBS = {
    "default": ["logger=none"],
    "a list of prompts": ["prompts=emoji_occupations", "prompts.subjects=[a cook, an artist]"],
    "a carried bank": ["bank=carried", "prompts=emoji_occupations"],
    "a supervised bank": ["bank=supervised"],
    "an experiment": ["experiment=official"],
    "a guidance with options by name": ["guidance=random", "guidance.of.target=depth", "schedule=cosine"],
    "folders": ["stages=[evaluate]", "evaluate.folders=[out/vanilla,out/peer]", "evaluate.drawn_together=4"],
    "texts that look like something else": ["prompts.text='2020-01-01'", "project.seed=7"],
    "numbers": ["guidance.strength=1e-5", "generate.sampler={steps: 20}"],
}


def keys(config) -> dict[str, str]:
    return {name: step.key for name, step in run.make_plan(config, {}).items()}


@pytest.mark.parametrize("name", JOBS)
def test_a_resolved_configuration_survives_being_read_again(tmp_path, name):
    config = load(JOBS[name])
    start_job(tmp_path, config, {})
    given = [text for text in JOBS[name] if text.startswith(("evaluate.folders", "logger"))]
    again = load_again(tmp_path, given)
    assert json.dumps(again) == json.dumps(config) and keys(again) == keys(config)  # in the same order
    changed = load_again(tmp_path, [*given, "evaluate.seed=5", "prompts.attributes=[tone]"])
    assert changed["evaluate"]["seed"] == 5 and changed["prompts"]["attributes"] == ["tone"]
    for group in config.keys() - {"evaluate", "prompts"}:
        assert changed[group] == config[group]


def test_what_a_job_leaves_is_plain_data_without_places(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS", str(tmp_path))
    tiny_pipeline().save_pretrained(tmp_path / "mine")
    config = load(["model.pretrained='${oc.env:MODELS}/mine'", "guidance=random", "paths.root='${oc.env:MODELS}/runs'"])
    start_job(tmp_path / "job", config, {})
    text = (tmp_path / "job" / "config.yaml").read_text()
    left = yaml.safe_load(text)
    assert "${" not in text and str(tmp_path) not in text
    assert left.keys() == config.keys() - {"paths", "logger", "tags"}
    digest = hash_files(tmp_path / "mine", ("*.json", "*.txt", "*.model", "*.safetensors"))[:12]
    assert left["model"].pop("pretrained") == f"local:mine@{digest}"
    del config["model"]["pretrained"]
    assert {key: config[key] for key in left} == left


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of this computer, as the override that gives it again."""
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return f"model.pretrained={folder}"


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    """A finished job of three arms on a tiny pipeline: its folder."""
    model, root = Path(model.partition("=")[2]), tmp_path_factory.mktemp("root")
    few = ["generate.n_images=8", "generate.batch_size=4", "guidance=random", "report.images=4"]
    assert main([text.replace("guidance.d", "guidance.of.d") for text in small_jobs.command(model, root, *few)]) == 0
    (job,) = (root / "jobs").iterdir()
    return job


def test_a_job_runs_in_its_own_root_from_wherever_its_folder_is_named(tmp_path, monkeypatch):
    job = tmp_path / "runs" / "jobs" / "abc"
    (tmp_path / "runs" / "stages").mkdir(parents=True)
    start_job(job, load(["logger=none"]), {})
    for place, name in ((job, "."), (job.parent, "abc"), (tmp_path, "runs/jobs/abc"), (tmp_path / "runs", str(job))):
        monkeypatch.chdir(place)
        assert Path(load_again(Path(name), [])["paths"]["root"]).resolve() == tmp_path / "runs", name


@pytest.mark.parametrize("flag", ["--help", "--info", "--config-dir=mine", "--cfg=hydra"])
def test_flags_that_say_nothing_of_a_jobs_folder_are_refused_beside_it(tmp_path, flag, capsys):
    start_job(tmp_path / "job", load(["logger=none"]), {})
    word = flag.replace("=mine", "").replace("=", " ")
    assert f"`--from` must be without {word}" in refused(["--from", str(tmp_path / "job"), flag], capsys)


def images_of(job: Path) -> dict[str, torch.Tensor]:
    record = json.loads((job / "job.json").read_text())
    folders = {arm: job.parents[1] / record["stages"][f"generate/{arm}"] for arm in ARMS}
    return {arm: BatchFolder.open(folder).images() for arm, folder in folders.items()}


def test_another_run_from_the_folder_makes_identical_images(done, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--from", str(done), model, "logger=none", f"paths.root={tmp_path / 'again'}"]) == 0
    out = capsys.readouterr().out
    assert "skipped" not in out and "not as when" not in out
    (job,) = (tmp_path / "again" / "jobs").iterdir()
    assert job.name == done.name
    before, after = images_of(done), images_of(job)
    assert not torch.equal(before["vanilla"], before["guided"])
    for arm in ARMS:
        assert len(before[arm]) == 8 and torch.equal(before[arm], after[arm]), arm
    numbers = [json.loads((it / "results.json").read_text())["arms"]["guided"]["gender"] for it in (done, job)]
    assert numbers[0] == numbers[1]
    command = [shlex.split(json.loads((it / "job.json").read_text())["command"]) for it in (done, job)]
    assert command[1] == [*command[0], f"paths.root={tmp_path / 'again'}"]


def test_a_finished_job_is_found_whole_from_any_folder_and_what_depends_on_a_change_is_made(
    done, model, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    before = (done / "job.json").read_text()
    assert main(["--from", str(done), model, "logger=none"]) == 0
    out = capsys.readouterr().out
    assert "done in" not in out and out.count("found, skipped") == 9
    assert (done / "job.json").read_text() == before and list(tmp_path.iterdir()) == []
    assert main(["--from", str(done), model, "logger=none", "evaluate.bootstrap=50", "stages=[evaluate]"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if ": done" in line] != []


def test_the_folder_holds_configuration_versions_commit_and_seeds(done):
    record = json.loads((done / "job.json").read_text())
    assert record["seeds"] == {"collect": 0, "discover": 0, "project": 0, "generate": 1, "evaluate": 0}
    assert record["made_with"] == made_with()
    assert yaml.safe_load((done / "config.yaml").read_text())["generate"]["n_images"] == 8
    for folder in record["stages"].values():
        assert json.loads((done.parents[1] / folder / "stage.json").read_text())["made_with"] == made_with()
    page = (done / "report.html").read_text()
    assert f"torch {made_with()['libraries']['torch']}" in page


@pytest.fixture
def folder(done, tmp_path):
    """A copy of the job's folder, out of its root."""
    return Path(shutil.copytree(done, tmp_path / "copy"))


def rewrite(file: Path, change) -> None:
    content = yaml.safe_load(file.read_text())
    change(content)
    file.write_text(yaml.safe_dump(content) if file.suffix == ".yaml" else json.dumps(content))


def refused(arguments, capsys) -> str:
    """The one line that refuses a command."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("selfdebias: ") and err.count("\n") == 1 and "done in" not in out
    return err


def test_other_versions_are_said_in_one_line_and_the_job_runs(folder, model, capsys):
    def older(record):
        record["made_with"]["libraries"]["torch"] = "2.0.1"
        record["made_with"]["git"] = {"commit": "ab" * 20, "changed": True}

    rewrite(folder / "job.json", older)
    assert main(["--from", str(folder), model, f"paths.root={folder.parent / 'runs'}", "stages=[collect]"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not as when")]
    assert len(lines) == 1 and f"torch 2.0.1, now {made_with()['libraries']['torch']}" in lines[0]
    assert "commit abababab with changes, now " in lines[0] and "diffusers" not in lines[0]


def test_other_weights_than_those_of_the_folder_are_said(folder, model, tmp_path):
    assert notes_on_weights(folder, load_again(folder, [model])) == []
    tiny_pipeline(seed=5).save_pretrained(tmp_path / "other")
    (note,) = notes_on_weights(folder, load_again(folder, [f"model.pretrained={tmp_path / 'other'}"]))
    assert note.startswith("`model.pretrained` is local:other@") and "other weights, so all is made anew" in note


@pytest.mark.manners
def test_a_folder_that_is_none_is_refused(folder, capsys):
    assert "must be a job's folder with its config.yaml" in refused(["--from", str(folder.parent)], capsys)
    (folder / "config.yaml").write_text("- 1")
    assert "config.yaml must be a dictionary in YAML, got a list" in refused(["--from", str(folder)], capsys)
    assert "must be followed by one folder" in refused(["--from"], capsys)
    assert "must be without -m" in refused([f"--from={folder}", "-m", "generate.seed=1,2"], capsys)


@pytest.mark.manners
def test_a_group_cannot_be_chosen_and_a_value_is_checked_as_any(folder, model, capsys):
    said = refused(["--from", str(folder), "guidance=none"], capsys)
    assert "`guidance` is a group" in said and "guidance.<key>=" in said
    assert "must be a whole number" in refused(["--from", str(folder), model, "generate.n_images=0"], capsys)
    assert "Did you mean `generate.n_images`?" in refused(["--from", str(folder), "generate.nimages=4"], capsys)


@pytest.mark.manners
def test_what_the_folder_does_not_hold_has_to_be_given_again(folder, model, capsys):
    assert "`model.pretrained` must be given again (model.pretrained=...)" in refused(["--from", str(folder)], capsys)
    rewrite(folder / "config.yaml", lambda config: config["model"].update(revision=HIDDEN))
    said = refused(["--from", str(folder), model], capsys)
    assert "`model.revision` must be given again (model.revision=...): it holds a secret" in said
    assert load_again(folder, [model, "model.revision=null"])["model"]["revision"] is None


@pytest.mark.manners
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config.update(judges={}), "`judges` is not an option"),
        (lambda config: config.pop("bank"), "`bank` must be a section"),
        (lambda config: config["collect"].update(images=3), "`collect.images` is not an option"),
        (lambda config: config["guidance"].update(push=3), "`guidance.push` is not an option"),
    ],
)
def test_keys_of_another_version_are_refused_in_one_line(folder, model, capsys, change, words):
    rewrite(folder / "config.yaml", change)
    said = refused(["--from", str(folder), model], capsys)
    assert words in said


@pytest.mark.manners
def test_a_stopped_job_goes_on_from_its_folder(stand_ins, monkeypatch, capsys):
    module = run.project
    works = module.project

    def stops(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "project", stops)
    assert main(["logger=none", "generate.seed=4"]) == 130
    (job,) = Path("runs/jobs").iterdir()
    monkeypatch.setattr(module, "project", works)
    stand_ins.clear()
    monkeypatch.setattr("selfdebias.jobs.task._print_outcome", lambda _: None)
    assert main(["--from", str(job), "model.weights=w1", "logger=none"]) == 0
    assert [call["stage"] for call in stand_ins][:2] == ["project", "generate"]
    assert [it.name for it in Path("runs/jobs").iterdir()] == [job.name]


@pytest.mark.manners
def test_the_configuration_is_printed_with_cfg_job(folder, model, capsys):
    assert main(["--from", str(folder), model, "generate.seed=4", "--cfg", "job"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["generate"]["seed"] == 4 and printed["generate"]["n_images"] == 8


def test_evaluated_folders_run_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arm in ("vanilla", "peer"):
        Path("out", arm).mkdir(parents=True)
        for k in range(4):
            Image.new("RGB", (64, 64), (40 * k, 90, 200)).save(f"out/{arm}/{k}.png")
    arguments = ["stages=[evaluate]", "evaluate.folders=[out/vanilla,out/peer]", "evaluate.bootstrap=50", "logger=none"]
    assert main([*arguments, "evaluate.drawn_together=2"]) == 0
    (job,) = Path("runs/jobs").iterdir()
    assert main(["--from", str(job), "paths.root=again", arguments[1], "logger=none"]) == 0
    assert [it.name for it in Path("again/jobs").iterdir()] == [job.name]
    results = json.loads((job / "results.json").read_text())
    with (job / "results.csv").open(newline="") as file:
        lines = {(it["arm"], it["metric"]): it for it in csv.DictReader(file)}
    for arm in ("vanilla", "peer"):
        entry = results["arms"][arm]["gender"]["fd_hard"]
        line = lines[arm, "gender/fd_hard"]
        assert [float(line[key]) for key in ("value", "floor", "n")] == [entry[key] for key in ("value", "floor", "n")]
