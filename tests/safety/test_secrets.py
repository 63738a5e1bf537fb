"""Secrets of the environment and of the command line stand in no file that a job writes, and the user in none of W&B's."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from selfdebias.config.compose import load
from selfdebias.config.rules import ConfigError
from selfdebias.main import main
from selfdebias.storage.atomic import append_line, encode_tensors, read_json, read_lines, write_json, write_text
from selfdebias.storage.hidden import HIDDEN, hidden, hidden_text, redacted_command, redacted_word, redacted_words
from tests import small_jobs
from tests.tiny import tiny_pipeline

# Six secrets, by the variables that hold them: each is planted where a job would write it.
SECRETS = {
    "DATABASE_URL": "postgres://me:pa55word@db.internal/x",
    "GH_PAT": "ghp_0123456789_abcdef*XYZ",
    "SLACK_WEBHOOK": "hooks.example/T000/B000/xoxb&<1>",
    "HF_TOKEN": "hf_ABCDEFGHIJ_klmnop",
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "MY_PASSPHRASE": 'quoted "and" back\\slashed',
}


@pytest.fixture
def secrets(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return SECRETS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


def leaks(folder: Path, *needles: str) -> list[tuple[str, str]]:
    """Which of the needles stand in which files, also as HTML, JSON and Markdown write them, and in names of files and links."""
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix() + (os.readlink(path) if path.is_symlink() else "")
        data = path.read_bytes() if path.is_file() else b""
        for needle in needles:
            forms = {
                needle,
                json.dumps(needle)[1:-1],
                needle.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
            }
            forms |= {"".join(f"\\{it}" if it in "\\`*_|<>" else it for it in needle)}
            if any(form in name or form.encode() in data for form in forms):
                found.append((name, needle))
    return found


def test_secrets_in_six_places_are_in_no_file_of_a_job(model, secrets, tmp_path, monkeypatch, capsys):
    """In two prompts, two templates, what the model is not to draw, and a note for W&B; one is a password in an address."""
    monkeypatch.chdir(tmp_path)
    quoted = secrets["MY_PASSPHRASE"].replace("\\", "\\\\")
    planted = [
        f"prompts.subjects=['a person {secrets['HF_TOKEN']}', 'a person {secrets['GH_PAT']}']",
        f"prompts.templates=['{{}}, {secrets['DATABASE_URL']}', '{{}}, https://me:s3cretword@example.org/ {quoted}']",
        f"model.negative_prompt='{secrets['SLACK_WEBHOOK']}'",
        f"+logger.notes={secrets['WANDB_API_KEY']}",
    ]
    few = ["generate.n_images=8", "generate.batch_size=4", "evaluate.bootstrap=20", "evaluate.reference_images=8"]
    command = small_jobs.command(model, tmp_path / "runs", "prompts=emoji_occupations", *planted, *few)
    command = [text for text in command if not text.startswith(("logger=", "prompts.text"))]
    assert main(command) == 0, capsys.readouterr().err
    runs = tmp_path / "runs"
    assert len(list(runs.rglob("*"))) > 100 and list(runs.rglob("*.wandb")) and list(runs.rglob("report.html"))
    assert leaks(runs, *secrets.values(), "s3cretword", "pa55word") == []
    (job,) = (runs / "jobs").iterdir()
    for name in ("config.yaml", "job.json", "results.json", "table.md", "report.html"):
        assert HIDDEN in (job / name).read_text(), name


@pytest.mark.parametrize("name", SECRETS)
def test_each_kind_of_file_is_without_a_secret(secrets, tmp_path, name):
    secret = secrets[name]
    write_text(tmp_path / "a.html", f"<p>{secret}</p>")
    write_json(tmp_path / "a.json", {"x": [secret], secret: 1})
    append_line(tmp_path / "a.jsonl", {"x": secret})
    (tmp_path / "a.safetensors").write_bytes(encode_tensors({}, {"x": secret}))
    assert leaks(tmp_path, secret) == []
    assert read_json(tmp_path / "a.json") == {"x": [HIDDEN], HIDDEN: 1} and read_lines(tmp_path / "a.jsonl") == [
        {"x": HIDDEN}
    ]


def test_a_secret_that_is_set_or_changed_later_is_hidden_too(monkeypatch):
    for value in ("first-secret-value", "second-secret-value"):
        assert hidden_text(value) == value
        monkeypatch.setenv("HF_TOKEN", value)
        assert hidden_text(f"a {value}") == f"a {HIDDEN}" and hidden([value]) == [HIDDEN]


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("+hydra.job.env_set={WANDB_API_KEY:0123456789abcdef,X:1}", "+hydra.job.env_set={WANDB_API_KEY:[hidden]}"),
        ("hydra.job.env_set.DB_PASSWORD='correct horse battery'", "hydra.job.env_set.DB_PASSWORD=[hidden]"),
        ("guidance.target=[0.3,0.7]", "guidance.target=[0.3,0.7]"),
        ("prompts.text=a token of love", "prompts.text=a token of love"),
        ("guidance.tags=[a,api_key=b]", "guidance.tags=[a,api_key=[hidden]]"),
    ],
)
def test_an_override_is_without_the_secrets_in_it(word, left):
    assert redacted_word(word) == left and redacted_words(["selfdebias", word]) == shlex.join(["selfdebias", left])
    assert redacted_command(left) == left


def test_what_is_no_secret_stays(monkeypatch):
    for name, value in (
        ("TOKENIZERS_PARALLELISM", "false-of-tokenizers"),
        ("HF_TOKEN", "short"),
        ("PWD", "/some/folder"),
    ):
        monkeypatch.setenv(name, value)
        assert hidden_text(f"a {value} b") == f"a {value} b"
    kept = ["https://example.org/a@b", 3, None, {"secret-agent": 1}]
    assert hidden(kept) == kept
    assert (
        redacted_command("selfdebias prompts.text=x +hub_token=abc") == f"selfdebias prompts.text=x +hub_token={HIDDEN}"
    )


@pytest.mark.parametrize(
    "override",
    [
        "prompts.text='an emoji ${oc.env:DATABASE_URL}'",
        "prompts.text='${oc.env:NOT_THERE,default}'",
        "prompts.attributes=['${oc.env:HF_TOKEN}']",
        "model.negative_prompt='${oc.decode:${oc.env:HF_TOKEN}}'",
        "+model.scheduler.options.x='${oc.env:HF_TOKEN}'",
        "prompts.text='${paths.root}'",
        "prompts.text='${model.pretrained}'",
    ],
)
def test_only_paths_read_the_environment(secrets, override):
    with pytest.raises(ConfigError, match="would stand in every result") as error:
        load([override, "paths.root='${oc.env:HF_TOKEN}'"])
    assert not [secret for secret in secrets.values() if secret in str(error.value)]


def test_no_interpolation_is_left_in_what_a_job_leaves():
    with pytest.raises(ConfigError, match=r"`prompts.text` must be without \$\{, got"):
        load(["prompts.text='an emoji \\${x}'"])


def test_paths_read_the_environment_and_other_options_may_refer_to_each_other(monkeypatch):
    monkeypatch.setenv("PLACE", "/models/mine")
    asked = [
        "paths.root='${oc.env:PLACE}/runs'",
        "model.pretrained='${oc.env:PLACE}'",
        "judge.folder='${oc.env:PLACE}/judge'",
    ]
    config = load([*asked, "generate.seed='${collect.seed}'", "collect.seed=7"])
    assert config["paths"]["root"] == "/models/mine/runs" and config["judge"]["folder"] == "/models/mine/judge"
    assert config["model"]["pretrained"] == "/models/mine" and config["generate"]["seed"] == 7


@pytest.mark.slow
def test_neither_the_home_folder_nor_the_packages_reach_the_folder_of_wandb(model, tmp_path, monkeypatch):
    home = tmp_path / "home-of-somebody"
    project = home / "project"
    project.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(project)
    few = ["generate.n_images=8", "generate.batch_size=4", "evaluate.bootstrap=20", "evaluate.reference_images=8"]
    command = [text for text in small_jobs.command(model, project / "runs", *few) if text != "logger=none"]
    assert main([*command, "logger.log_model=true"]) == 0
    (job,) = (project / "runs" / "jobs").iterdir()
    assert len(list((job / "wandb").rglob("*.wandb"))) == 1 and list((job / "wandb").rglob("artifacts/staging/*"))
    assert leaks(job / "wandb", "home-of-somebody", "scikit-learn==", "diffusers==") == []
    assert not list((job / "wandb").rglob("requirements.txt"))
    assert "WANDB_DATA_DIR" not in os.environ
