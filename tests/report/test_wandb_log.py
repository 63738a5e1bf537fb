"""A finished job in a real W&B run, offline: everything arrives, and no secret does."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger

from selfdebias.config.rules import ConfigError
from selfdebias.report.loggers import is_logged, make_logger, mark_logged
from selfdebias.report.measures import COLUMNS, flat_numbers
from selfdebias.report.privacy import PRIVATE_SETTINGS, allowed, check_wandb, mode_of
from selfdebias.report.wandb_log import log_job
from selfdebias.storage.hidden import HIDDEN, redacted, redacted_command
from tests.report.example import PROMPT, example_results
from tests.wandb_file import OfflineRun, offline_runs

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"
TOKEN = "hf_NoSuchTokenButItLooksLikeOne"
PASSWORD = "correct-horse-battery"
WANDB = {
    "_target_": "pytorch_lightning.loggers.WandbLogger",
    "project": "test",
    "mode": "offline",
    "log_model": False,
    "settings": PRIVATE_SETTINGS,
}


@pytest.fixture
def secrets(monkeypatch):
    """A key in the environment, a token and a password in configuration and command line."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(sys, "argv", ["selfdebias", f"+logger.api_key={KEY}", f"+model.hub_token={TOKEN}"])
    return {
        "model": {"_target_": "a.B", "hub_token": TOKEN, "revision": f"https://me:{PASSWORD}@example.org/model"},
        "guidance": {"strength": 0.8, "note": f"copied {KEY}"},
        "logger": {"api_key": KEY},
        "paths": {"root": "/home/somebody/private"},
    }


def _picture(colour: tuple[int, int, int]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _record(root: Path) -> bytes:
    """The runs' files, once they are whole."""
    return b"".join(run.file.read_bytes() for run in offline_runs(root))


def test_a_real_offline_run_holds_the_job_and_no_secret(tmp_path, secrets):
    from PIL import Image

    results = example_results()
    images = {"mode-0": _picture((1, 2, 3)), "pairs-guided": Image.new("RGB", (8, 8), (4, 5, 6))}
    lines = [{"stage": "project", "step": step, "name": "loss", "value": 1 / (step + 1)} for step in range(3)]
    lines += [{"stage": "project", "step": 3, "name": "loss", "value": None}]
    logger = WandbLogger(project="test", save_dir=str(tmp_path), mode="offline", settings=PRIVATE_SETTINGS)
    log_job(logger, results, images, lines, config=secrets)
    record, files = _record(tmp_path), _files(tmp_path)
    for fact in (
        PROMPT,
        "guided/gender/fd_hard",
        "guided/frechet_distance/floor",
        "guided/quality/judge/kid",
        "cost/ratio",
        "project/loss",
        "figures/mode-0",
    ):
        assert fact.encode() in record, fact
    assert len([name for name in files if name.endswith(".png")]) == 2
    everything = b"".join(files.values()) + "".join(files).encode()
    for secret in (KEY, TOKEN, PASSWORD, "/home/somebody", "+logger"):
        assert secret.encode() not in everything, secret
    assert HIDDEN.encode() in record


def test_the_run_is_closed_also_after_an_error(tmp_path):
    import wandb

    logger = WandbLogger(project="test", save_dir=str(tmp_path), mode="offline", settings=PRIVATE_SETTINGS)
    with pytest.raises(KeyError, match="name"):
        log_job(logger, example_results(), {}, [{"stage": "project", "step": 0, "value": 1.0}])
    assert wandb.run is None


@pytest.mark.slow
def test_wandb_says_nothing_between_our_lines(tmp_path):
    code = (
        "from pytorch_lightning.loggers import WandbLogger; from selfdebias.report.privacy import *;"
        "from selfdebias.report.wandb_log import *;"
        "log_job(WandbLogger(project='test', save_dir='.', mode='offline', settings=PRIVATE_SETTINGS), {'arms': {}}, {}, [])"
    )
    loud = {name: value for name, value in os.environ.items() if name != "WANDB_SILENT"}
    loud["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=loud, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "anonymous" not in done.stderr and "wandb:" not in done.stdout + done.stderr
    assert list(tmp_path.glob("wandb/offline-run-*"))


@pytest.mark.parametrize("logger", [None, False, DummyLogger()])
def test_without_wandb_nothing_happens(tmp_path, monkeypatch, logger):
    monkeypatch.chdir(tmp_path)
    log_job(logger, example_results(), {}, [])
    assert not list(tmp_path.iterdir())


def test_the_shipped_option_is_offline_and_as_private():
    from selfdebias.config.sources import conf_folder

    option = yaml.safe_load((conf_folder() / "logger" / "wandb.yaml").read_text())["wandb"]
    assert option["mode"] == "offline" and option["log_model"] is False
    assert option["settings"] == {**PRIVATE_SETTINGS, "init_timeout": 30}


def test_a_wandb_that_cannot_be_reached_is_one_warning_and_the_job_goes_on(tmp_path, monkeypatch, capsys):
    """A real online run against a port of this computer where nobody listens."""
    import wandb

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    settings = {**PRIVATE_SETTINGS, "init_timeout": 5, "login_timeout": 5}
    logger = WandbLogger(project="test", save_dir=str(tmp_path), mode="online", settings=settings)
    wandb.teardown()  # what it read from the environment earlier, and below what it reads here, is kept until then
    try:
        assert log_job(logger, example_results(), {}, []) == ""  # so that the same command tries again
    finally:
        wandb.teardown()
    out, err = capsys.readouterr()
    warnings = [line for line in err.splitlines() if line.startswith("selfdebias: ")]
    assert len(warnings) == 1 and "W&B was not reached" in warnings[0] and KEY not in out + err
    assert wandb.run is None


def test_both_tables_hold_the_numbers_of_the_results(tmp_path):
    results = example_results()
    logger = WandbLogger(project="test", save_dir=str(tmp_path), mode="offline", settings=PRIVATE_SETTINGS)
    log_job(logger, results)
    (run,) = offline_runs(tmp_path)
    arms, lines = run.table("arms"), run.table("results")
    assert [row[0] for row in arms["data"]] == ["vanilla", "guided"] and lines["columns"] == list(COLUMNS)
    for row in arms["data"]:
        fd = row[arms["columns"].index("gender/fd_hard")]
        assert fd == results["arms"][row[0]]["gender"]["fd_hard"]["value"]
        (line,) = [line for line in lines["data"] if line[1:3] == [row[0], "gender/fd_hard"]]
        assert line[3] == fd and line[6] == pytest.approx(results["arms"][row[0]]["gender"]["fd_hard"]["floor"])


def test_quality_by_features_is_a_table_of_its_own(tmp_path):
    results = example_results()
    logger = WandbLogger(project="test", save_dir=str(tmp_path), mode="offline", settings=PRIVATE_SETTINGS)
    log_job(logger, results)
    table = offline_runs(tmp_path)[0].table("quality")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["arm"], row["features"]) for row in rows[3:]] == [
        ("guided", it) for it in ("encoder", "judge", "pixels")
    ]
    judge, own = rows[4], results["arms"]["guided"]["quality"]["judge"]
    assert (judge["name"], judge["dim"]) == ("EmojiJudge", 16)
    for key, entry in own.items():
        assert judge[key] == pytest.approx(entry["value"]), key
        assert judge.get(f"{key}/low") == (pytest.approx(entry["low"]) if "low" in entry else None), key
    assert judge["kept/floor"] == pytest.approx(own["kept"]["floor"]) and rows[0]["kept"] is None


def test_two_jobs_in_one_process_are_two_runs_of_their_group(tmp_path):
    for name, group in (("one", "sweep-7"), ("two", "")):
        logger = make_logger("wandb", WANDB, tmp_path / name, group)
        assert log_job(logger, {"arms": {}, "config_hash": name})
    one, two = (offline_runs(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 1 and one[0].id != two[0].id
    assert (one[0].config["config_hash"], two[0].config["config_hash"]) == ("one", "two")
    assert (one[0].run.run_group, two[0].run.run_group) == ("sweep-7", "")


def test_a_group_that_the_configuration_names_goes_before_the_sweeps(tmp_path):
    assert make_logger("wandb", {**WANDB, "group": "mine"}, tmp_path, "sweep-7")._wandb_init["group"] == "mine"


def test_projector_and_bank_are_one_artifact_without_a_path_and_without_a_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    job = tmp_path / "job"
    facts = {
        "model": "/home/somebody/private/model",
        "encoder": "e@12",
        "modes": {"k": 2},
        "guidance": {"strength": 3.0},
    }
    for row in ("a", "b"):
        (job / "rows" / row).mkdir(parents=True)
        (job / "rows" / row / "projector.safetensors").write_bytes(b"projector of " + row.encode() * 4000)
        (job / "rows" / row / "debiaser.json").write_text(json.dumps(facts))
    log_job(make_logger("wandb", WANDB, job), {"arms": {}, "config_hash": "0123"}, fitted=job)
    (artifact,) = offline_runs(tmp_path)[0].artifacts
    told = json.loads(artifact.metadata)
    assert (artifact.name, artifact.type, told["config_hash"]) == ("fitted-0123", "debiaser", "0123")
    assert told["rows"]["rows/b/debiaser.json"]["modes"] == {"k": 2}
    files = {it.path: it.local_path for it in artifact.manifest.contents}
    assert {*files} == {f"rows/{row}/{name}" for row in "ab" for name in ("projector.safetensors", "debiaser.json")}
    assert Path(files["rows/a/projector.safetensors"]) == job / "rows" / "a" / "projector.safetensors"
    assert json.loads(Path(files["rows/a/debiaser.json"]).read_text()) == {**facts, "model": "model"}
    assert "somebody" not in artifact.metadata


def test_a_job_that_fitted_nothing_has_no_artifact(tmp_path):
    log_job(make_logger("wandb", WANDB, tmp_path), {"arms": {}}, fitted=tmp_path)
    assert offline_runs(tmp_path)[0].artifacts == []


@pytest.mark.parametrize(
    ("asked", "around", "mode"),
    [
        ("offline", None, "offline"),
        ("online", None, "online"),
        ("online", "offline", "offline"),
        ("online", "dryrun", "offline"),
        ("offline", "online", "offline"),
        ("offline", "disabled", "disabled"),
        ("disabled", "online", "disabled"),
        ("online", "run", "online"),
    ],
)
def test_the_environment_can_only_make_it_more_private(monkeypatch, asked, around, mode):
    monkeypatch.delenv("WANDB_MODE")
    if around:
        monkeypatch.setenv("WANDB_MODE", around)
    assert mode_of({**WANDB, "mode": asked}) == mode


@pytest.mark.slow
def test_disabled_leaves_no_folder_and_imports_no_wandb(tmp_path):
    """Once by the configuration, and once by the environment."""
    code = (
        "import os, sys; from pathlib import Path; from selfdebias.jobs.job import _log\n"
        "for mode, os.environ['WANDB_MODE'] in (('disabled', 'online'), ('online', 'disabled')):\n"
        "    logger = {'_target_': 'pytorch_lightning.loggers.WandbLogger', 'mode': mode}\n"
        "    _log(Path('job'), {'logger': {'wandb': logger}}, None, '')\n"
        "assert 'wandb' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


def test_an_agents_run_has_its_id_and_its_sweep(tmp_path, monkeypatch):
    """What `wandb agent` puts into the environment of the command that it starts."""
    import wandb

    (tmp_path / "parameters.yaml").write_text("wandb_version: 1\n\nguidance.strength:\n  value: 7\n")
    monkeypatch.setenv("WANDB_RUN_ID", "agents1")
    monkeypatch.setenv("WANDB_SWEEP_ID", "swe3p")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(tmp_path / "parameters.yaml"))
    wandb.teardown()
    try:
        assert (
            log_job(make_logger("wandb", WANDB, tmp_path), {"arms": {}}, config={"guidance": {"strength": 7}})
            == "agents1"
        )
    finally:
        monkeypatch.undo()
        wandb.teardown()
    (run,) = offline_runs(tmp_path)
    assert (run.id, run.run.sweep_id) == ("agents1", "swe3p")
    assert run.config["guidance"] == {"strength": 7} and run.config["guidance.strength"] == 7


def test_a_job_is_logged_once_for_each_run_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    offline, online = WANDB, {**WANDB, "mode": "online"}
    assert not is_logged(tmp_path, "wandb", offline)
    mark_logged(tmp_path, "one", "offline")
    assert is_logged(tmp_path, "wandb", offline) and not is_logged(tmp_path, "wandb", online)
    mark_logged(tmp_path, "two", "online")
    assert is_logged(tmp_path, "wandb", offline) and is_logged(tmp_path, "wandb", online)
    monkeypatch.setenv("WANDB_RUN_ID", "three")  # an agent starts a job that is done already
    assert not is_logged(tmp_path, "wandb", online)
    monkeypatch.setenv("WANDB_RUN_ID", "two")
    assert is_logged(tmp_path, "wandb", online)


def test_options_that_wandb_does_not_know_are_refused_before_the_job():
    check_wandb({**WANDB, "entity": "us", "tags": ["a"], "version": "1"})
    with pytest.raises(ConfigError, match="`logger.wandb.entty` is not an option"):
        check_wandb({**WANDB, "entty": "us"})


def test_a_path_of_this_computer_is_sent_as_its_last_part_and_names_of_a_hub_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine/clip").mkdir(parents=True)
    config = {
        "model": {"pretrained": "/home/somebody/model", "config": None, "negative_prompt": "/s"},
        "encoder": {"pretrained": "mine/clip"},
        "judge": {"weights": "data/of/somebody/face.pt", "encoder": {"pretrained": "openai/clip-vit-base-patch32"}},
        "metrics": {"features": {"weights": "~/inception.pth"}},
        "vocabulary": {"path": "shipped:emoji"},
        "prompts": {"text": "/imagine a cat", "subjects": ["~ a cook"]},
        "evaluate": {"labelled": "somebody/labels/", "folders": {"peer": "C:\\Users\\somebody\\out"}, "seed": 0},
    }
    assert allowed(config) == {
        **config,
        "model": {**config["model"], "pretrained": "model"},
        "encoder": {"pretrained": "clip"},
        "judge": {**config["judge"], "weights": "face.pt"},
        "metrics": {"features": {"weights": "inception.pth"}},
        "evaluate": {"labelled": "labels", "folders": {"peer": "out"}, "seed": 0},
    }


def test_flat_numbers_hold_every_number_of_the_results_and_no_null():
    results = example_results()
    flat = flat_numbers(results)
    assert flat["guided/gender/fd_hard"] == results["arms"]["guided"]["gender"]["fd_hard"]["value"]
    assert flat["guided/shares/gender/man/low"] == results["arms"]["guided"]["shares"]["gender"]["man"]["low"]
    assert flat["modes/nmi/gender"] == pytest.approx(1)
    assert flat["vanilla/kept_cosine/reason"] == "vanilla images have no other vanilla twin"
    assert "vanilla/kept_cosine" not in flat
    numbers = re.findall(r'"value": [-\d]', json.dumps(results["arms"]))
    assert len([name for name in flat if not re.search(r"/(low|high|floor|n|blocks|reason)$", name)]) > len(numbers)


@pytest.mark.parametrize(
    "name", ["api_key", "apikey", "WANDB_API_KEY", "hub_token", "token", "client_secret", "password", "private_key"]
)
def test_hides_what_is_named_like_a_secret(name):
    assert redacted({"a": [{name: "x"}]}) == {"a": [{name: HIDDEN}]}
    assert redacted_command(f"selfdebias ++model.{name}=x seed=1") == f"selfdebias ++model.{name}={HIDDEN} seed=1"


@pytest.mark.parametrize("value", [1, 0.5, None, True, "an emoji of a person", {"tokenizer": "t", "keys": 3}])
def test_keeps_what_is_no_secret(value):
    assert redacted(value) == value


def test_a_job_with_rows_is_one_run_with_one_table_and_no_secret(tmp_path, secrets):
    from selfdebias.metrics.prompts import over_prompts

    rows = {"farmer": example_results(n=16), "office-worker": example_results(("vanilla",), n=24)}
    results = {"config_hash": "0123", "rows": rows, "row_names": list(rows), "over_prompts": over_prompts(rows)}
    logger = WandbLogger(project="test", save_dir=str(tmp_path), mode="offline", settings=PRIVATE_SETTINGS)
    log_job(logger, results, config=secrets)
    record, files = _record(tmp_path), _files(tmp_path)
    assert len([name for name in files if name.endswith(".wandb")]) == 1
    table = OfflineRun(next(tmp_path.rglob("*.wandb"))).table("prompts")
    place = table["columns"].index("guided/gender/fd_hard")
    guided = rows["farmer"]["arms"]["guided"]["gender"]["fd_hard"]["value"]
    assert [(row[0], row[place]) for row in table["data"]] == [("farmer", guided), ("office-worker", None)]
    assert b"over_prompts/vanilla/gender/deviation_ratio" in record
    assert not [name for name, data in files.items() for secret in (KEY, TOKEN, PASSWORD) if secret.encode() in data]
