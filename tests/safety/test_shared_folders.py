"""A folder that somebody shares runs no code, starts no process, opens no socket, and reads no file outside of itself."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from selfdebias import SelfDebias
from selfdebias.config.compose import load
from selfdebias.jobs.job_record import start_job
from selfdebias.main import main
from selfdebias.testbed import shipped
from tests.safety.fitted import write_debiaser
from tests.safety.watch import watched
from tests.tiny import tiny_pipeline

HANDLER = "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler.SubprocessHandler"
FEW = [
    "logger=none",
    "vocabulary=none",
    "model.steps=2",
    "collect.n_images=4",
    "collect.batch_size=4",
    "collect.timesteps=1",
]
FEW += [
    "clustering=spectral",
    "clustering.k_max=2",
    "stages=[collect]",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
]
SECRET = "canary-0123456789"


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A place outside of every shared folder, with files that nothing may read, and where nothing may be written."""
    place = tmp_path_factory.mktemp("canary")
    (place / "words.txt").write_text(f"{SECRET}\nanother line\n")
    (place / "config.yaml").write_text(f"prompts: {{text: {SECRET}}}\n")
    (place / "facts.json").write_text(json.dumps({"format": 1, "secret": SECRET}))
    save_file({"x": torch.zeros(2)}, place / "x.safetensors")
    (place / "labels" / "gender" / "man").mkdir(parents=True)
    shutil.copytree(shipped("emoji_judge"), place / "judge")
    return place


def handler(outside: Path) -> dict:
    return {
        "_target_": HANDLER, "entrypoint": "touch", "args": [str(outside / "ran")], "env": {}, "stdout": None, "stderr": None,
        "local_rank_id": 0, "numa_options": None,
    }  # fmt: skip


def untouched(outside: Path, seen, before: dict[Path, bytes]) -> None:
    """Asserts that nothing was read or written outside, and nothing came to be there."""
    assert not [path for path in seen.files if path.startswith(str(outside))]
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


def contents(outside: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A clean job's folder, out of its root, and what running it again does to the computer."""
    folder = tmp_path_factory.mktemp("clean") / "job"
    start_job(folder, load(FEW), {"command": "selfdebias", "stages": {}})
    with watched() as seen:
        assert main(["--from", str(folder), "logger=none", f"paths.root={folder.parent / 'runs'}"]) == 0
    assert not seen.sockets
    return folder, sorted(seen.processes)


def put(path: str, value):
    """A change of a configuration: a value at a dotted path."""

    def change(config: dict, outside: Path) -> None:
        *parts, last = path.split(".")
        for part in parts:
            config = config[part]
        config[last] = value(outside) if callable(value) else value

    return change


CONFIGS = {
    "a process as schedule": (put("schedule", handler), "schedule._target_"),
    "a process as vocabulary": (put("vocabulary", handler), "vocabulary._target_"),
    "a process inside of a guidance": (put("guidance.target", handler), "guidance.target._target_"),
    "a process inside of a scheduler": (put("model.scheduler.options", lambda o: {"x": handler(o)}), "options.x._target_"),
    "a foreign class": (put("trainer.callbacks", [{"_target_": "pytorch_lightning.callbacks.Timer"}]), "trainer.callbacks"),
    "an option of the Trainer": (put("trainer.default_root_dir", str), "trainer.default_root_dir"),
    "the environment": (put("prompts.text", "an emoji ${oc.env:SECRET_CANARY}"), "an interpolation at `prompts.text`"),
    "the environment in a key": (put("evaluate", lambda o: {"${oc.env:SECRET_CANARY}": 1}), "the key"),
    "Hydra's callbacks": (put("hydra", {"callbacks": {"x": {"_target_": "site.addsitedir"}}}), "the key `hydra`"),
    "a defaults list": (put("defaults", ["/model: sd15"]), "the key `defaults`"),
    "another's vocabulary": (put("vocabulary", lambda o: {"_target_": "selfdebias.modes.naming.Vocabulary",
                             "path": str(o / "words.txt")}), "`vocabulary.path` must be given again"),
    "a shipped name that climbs": (put("vocabulary", {"_target_": "selfdebias.modes.naming.Vocabulary",
                                   "path": "shipped:../../x"}), "`vocabulary.path` must be"),
    "another's model": (put("model.pretrained", lambda o: str(o / "judge")), "`model.pretrained` must be given again"),
    "another's judge": (put("judge.folder", lambda o: str(o / "judge")), "`judge.folder` must be given again"),
    "another's labels": (put("evaluate.labelled", lambda o: str(o / "labels")), "`evaluate.labelled` must be given again"),
    "another's images": (put("evaluate.reference", lambda o: str(o)), "`evaluate.reference` must be given again"),
    "pickles": (put("model.allow_pickle", True), "`model.allow_pickle` must be given again"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_jobs_folder_is_plain_data(clean, outside, tmp_path, monkeypatch, capsys, name):
    monkeypatch.setenv("SECRET_CANARY", SECRET)
    change, words = CONFIGS[name]
    folder = Path(shutil.copytree(clean[0], tmp_path / "job"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config, outside)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    refused(folder, outside, tmp_path, capsys, words)


def raw(text):
    return lambda folder, outside: (folder / "config.yaml").write_text(text)


def linked(folder, outside):
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").symlink_to(outside / "config.yaml")


FILES = {
    "an alias bomb": (raw("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"), "it holds an alias"),
    "an object of Python": (raw("a: !!python/object/apply:os.system [touch ran]\n"), "must be a dictionary in YAML"),
    "nested without end": (raw("a: " + "[" * 5000), "must be a dictionary in YAML"),
    "a link to somewhere else": (linked, "got a link to somewhere else"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_jobs_file_of_configuration_is_plain_data(clean, outside, tmp_path, capsys, name):
    change, words = FILES[name]
    folder = Path(shutil.copytree(clean[0], tmp_path / "job"))
    change(folder, outside)
    refused(folder, outside, tmp_path, capsys, words)


def refused(folder: Path, outside: Path, tmp_path: Path, capsys, words: str) -> None:
    """Asserts that running from a folder is refused in one line, and leaves no trace; printing it as well."""
    before = contents(outside)
    for show in ([], ["--cfg", "job"]):
        with watched() as seen:
            code = main(["--from", str(folder), "logger=none", f"paths.root={tmp_path / 'runs'}", *show])
        out, err = capsys.readouterr()
        assert code == 2 and words in err and err.count("\n") == 1, err
        assert SECRET not in out + err
        assert not seen.processes and not seen.sockets
        untouched(outside, seen, before)
        assert not (tmp_path / "runs").exists()


IGNORED = {
    "a logger with a host": {"logger": {"_target_": "pytorch_lightning.loggers.WandbLogger", "mode": "online",
                             "settings": {"base_url": "http://127.0.0.1:8977"}, "entity": "somebody"}},
    "a root": {"paths": {"root": "/nowhere"}},
}  # fmt: skip


@pytest.mark.parametrize("name", IGNORED)
def test_where_a_job_runs_and_who_is_told_is_not_the_folders_choice(clean, tmp_path, monkeypatch, name):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    folder = Path(shutil.copytree(clean[0], tmp_path / "job"))
    config = yaml.safe_load((folder / "config.yaml").read_text()) | IGNORED[name]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with watched() as seen:
        assert main(["--from", str(folder), "logger=none", f"paths.root={clean[0].parent / 'runs'}"]) == 0
    assert not seen.sockets and sorted(seen.processes) <= clean[1]


def test_what_a_record_says_is_shown_and_never_run(clean, tmp_path, capsys):
    folder = Path(shutil.copytree(clean[0], tmp_path / "job"))
    record = {"command": "selfdebias 'not closed \x1b[2J", "made_with": {"git": [], "libraries": {"torch": "\x1b[2J9"}}}
    (folder / "job.json").write_text(json.dumps(record))
    with watched() as seen:
        assert main(["--from", str(folder), "logger=none", f"paths.root={clean[0].parent / 'runs'}"]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out and sorted(seen.processes) <= clean[1]
    (folder / "job.json").write_text("{")
    assert main(["--from", str(folder), "logger=none", f"paths.root={clean[0].parent / 'runs'}"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def facts(**more):
    def change(folder, outside):
        content = json.loads((folder / "debiaser.json").read_text())
        for key, value in more.items():
            content[key] = value(outside) if callable(value) else value
        (folder / "debiaser.json").write_text(json.dumps(content))

    return change


def link(name, target):
    def change(folder, outside):
        (folder / name).unlink()
        (folder / name).symlink_to(outside / target)

    return change


def pickled(folder, outside):
    torch.save({"x": torch.zeros(1)}, folder / "projector.safetensors")


def flipped(folder, outside):
    data = bytearray((folder / "projector.safetensors").read_bytes())
    data[-3] ^= 64
    (folder / "projector.safetensors").write_bytes(data)


SPECTRE = {
    "_target_": "selfdebias.guidance.TransportGuidance",
    "strength": "${oc.env:SECRET_CANARY}",
    "temperature": 0.1,
}
DEBIASERS = {
    "a process as schedule": (facts(schedule=handler), "`schedule._target_` must be a GuidanceWindow"),
    "a process as guidance": (facts(guidance=handler), "`guidance._target_` must be a Guidance"),
    "a foreign class": (facts(schedule={"_target_": "torch.nn.Identity"}), "`schedule._target_` must be"),
    "a part of another group": (
        facts(schedule={"_target_": "selfdebias.modes.banks.OwnBank"}),
        "`schedule._target_` must be",
    ),
    "the environment": (facts(guidance=SPECTRE), "an interpolation at `guidance.strength`"),
    "a link to facts": (link("debiaser.json", "facts.json"), "a link to somewhere else"),
    "a link to tensors": (link("projector.safetensors", "x.safetensors"), "a link to somewhere else"),
    "a pickle": (pickled, "must be a whole safetensors file"),
    "a flipped bit": (flipped, "must be the file that was saved"),
    "no guidance": (facts(guidance=[]), "must describe a guidance"),
}


@pytest.mark.parametrize("name", DEBIASERS)
def test_a_saved_debiaser_is_plain_data(outside, tmp_path, monkeypatch, name):
    monkeypatch.setenv("SECRET_CANARY", SECRET)
    write_debiaser(tmp_path / "saved")
    change, words = DEBIASERS[name]
    change(tmp_path / "saved", outside)
    before = contents(outside)
    with watched() as seen, pytest.raises(ValueError, match=".") as error:
        SelfDebias.from_pretrained(tmp_path / "saved")
    assert words in str(error.value) and "\n" not in str(error.value) and SECRET not in str(error.value)
    assert not seen.processes and not seen.sockets
    untouched(outside, seen, before)


def test_a_debiaser_that_is_as_it_was_saved_is_read_without_a_word_and_an_older_one_is_said_to_be_not_checked(tmp_path):
    write_debiaser(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SelfDebias.from_pretrained(tmp_path)
    content = json.loads((tmp_path / "debiaser.json").read_text())
    del content["files"]
    (tmp_path / "debiaser.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="is of an earlier version, without hashes: .* not checked"):
        SelfDebias.from_pretrained(tmp_path)


def index(**more):
    def change(folder, outside):
        content = json.loads((folder / "model_index.json").read_text()) | more
        (folder / "model_index.json").write_text(json.dumps(content))

    return change


def own_code(folder, outside):
    (folder / "unet" / "evil.py").write_text(f"open({str(outside / 'ran')!r}, 'w')\nclass Evil: pass\n")
    index(unet=["evil", "Evil"])(folder, outside)


def auto_map(part, name):
    def change(folder, outside):
        (folder / part / "evil.py").write_text(f"open({str(outside / 'ran')!r}, 'w')\nclass Evil: pass\n")
        file = folder / part / "config.json"
        content = json.loads(file.read_text()) | {"auto_map": {name: "evil.Evil"}, "model_type": "evil"}
        file.write_text(json.dumps(content))

    return change


def without(part, file, words):
    def change(folder, outside):
        path = folder / part / file
        kept = {key: value for key, value in load_file(path).items() if words not in key}
        save_file(kept, path, {"format": "pt"})

    return change


def shards_outside(folder, outside):
    path = folder / "text_encoder" / "model.safetensors"
    content = {
        "metadata": {"total_size": 1},
        "weight_map": {key: str(outside / "x.safetensors") for key in load_file(path)},
    }
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(content))


def words_outside(folder, outside):
    file = folder / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"vocab_file": str(outside / "words.txt")}))


def pickled_unet(folder, outside):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), folder / "unet" / "diffusion_pytorch_model.bin")
    path.unlink()


MODELS = {
    "code of its own": (own_code, "of parts of diffusers and transformers"),
    "a part of os": (index(vae=["os", "system"]), "of parts of diffusers and transformers"),
    "a part that climbs": (
        index(**{"../../x": ["transformers", "CLIPTextModel"]}),
        "of parts of diffusers and transformers",
    ),
    "remote code in its text encoder": (auto_map("text_encoder", "AutoModel"), ""),
    "missing tensors": (without("text_encoder", "model.safetensors", "mlp"), "must hold all tensors of CLIPTextModel"),
    "shards somewhere else": (shards_outside, "must name files of its own folders"),
    "words somewhere else": (words_outside, "must name files of its own folders"),
    "a link": (lambda f, o: link("unet/config.json", "facts.json")(f, o), "a link to somewhere else"),
    "a pickle": (pickled_unet, "with a pickle alone for unet"),
    "an index that is none": (lambda f, o: (f / "model_index.json").write_text("[]"), "must hold a dictionary as JSON"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_models_folder_is_weights_and_configuration(outside, clean, tmp_path, monkeypatch, capsys, name):
    change, words = MODELS[name]
    tiny_pipeline().save_pretrained(tmp_path / "model")
    change(tmp_path / "model", outside)
    monkeypatch.chdir(tmp_path)
    before = contents(outside)
    with watched() as seen:
        code = main([f"model.pretrained={tmp_path / 'model'}", f"paths.root={tmp_path / 'runs'}", *FEW])
    err = capsys.readouterr().err
    said = [line for line in err.splitlines() if line.startswith("selfdebias: ")]
    assert (code, len(said)) == (2, 1) or (name.startswith("remote") and code == 0), err
    assert code == 0 or words in said[0]
    assert not seen.sockets and sorted(seen.processes) <= clean[1]
    untouched(outside, seen, before)


def adapter(folder, outside):
    """An adapter on a model from somewhere else: `transformers` would follow it by itself."""
    content = {"peft_type": "LORA", "base_model_name_or_path": str(outside), "target_modules": ["q_proj"], "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    shutil.copy(folder / "model.safetensors", folder / "adapter_model.safetensors")


def weights_elsewhere(folder, outside):
    content = json.loads((folder / "config.json").read_text()) | {"transformers_weights": "a/b/w.safetensors"}
    (folder / "config.json").write_text(json.dumps(content))


def deep_link(folder, outside):
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "w.safetensors").symlink_to(next(path for path in outside.rglob("*") if path.is_file()))


ENCODERS = {
    "an adapter": (adapter, "must be a whole model, got an adapter's"),
    "weights of another name": (weights_elsewhere, "must name files of its own folders"),
    "a link in a deep folder": (deep_link, "a link to somewhere else"),
    "missing tensors": (
        without("", "model.safetensors", "vision_model.encoder.layers"),
        "must hold all tensors of CLIPModel",
    ),
    "remote code": (auto_map("", "AutoModel"), "must be a model of type"),
    "a link": (link("model.safetensors", "x.safetensors"), "a link to somewhere else"),
    "a config that is none": (lambda f, o: (f / "config.json").write_text("{"), "config.json` must be a file of JSON"),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoders_folder_is_weights_and_configuration(outside, clean, tmp_path, capsys, name):
    change, words = ENCODERS[name]
    shutil.copytree(shipped("emoji_clip"), tmp_path / "encoder")
    os.chmod(tmp_path / "encoder" / "model.safetensors", 0o644)
    change(tmp_path / "encoder", outside)
    before = contents(outside)
    with watched() as seen:
        code = main([f"encoder.pretrained={tmp_path / 'encoder'}", f"paths.root={tmp_path / 'runs'}", *FEW])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("selfdebias: ")]
    assert code == 2 and len(said) == 1 and words in said[0], said
    assert not seen.sockets and sorted(seen.processes) <= clean[1]
    untouched(outside, seen, before)


def test_there_are_thirty_and_more_of_them():
    assert sum(map(len, (CONFIGS, FILES, IGNORED, DEBIASERS, MODELS, ENCODERS))) >= 30
