"""A finished job in a real W&B run, offline: everything arrives, and no secret does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger

from selfdebias.report.redact import HIDDEN, redacted
from selfdebias.report.wandb_log import PRIVATE_SETTINGS, flat_numbers, log_job, log_rows
from tests.report.example import PROMPT, example_results

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"
TOKEN = "hf_NoSuchTokenButItLooksLikeOne"
PASSWORD = "correct-horse-battery"


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

    from selfdebias.report.pictures import png_of

    return png_of(Image.new("RGB", (8, 8), colour))


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _record(root: Path, seconds: float = 20) -> bytes:
    """The run's file; W&B's own process may still be writing it when the run is finished."""
    for _ in range(int(10 * seconds)):
        record = b"".join(data for name, data in _files(root).items() if name.endswith(".wandb"))
        if len(record) > 100:
            return record
        time.sleep(0.1)
    raise AssertionError(f"W&B wrote {len(record)} bytes in {seconds} s")


def test_a_real_offline_run_holds_the_job_and_no_secret(tmp_path, secrets):
    from PIL import Image

    results = example_results()
    images = {"mode-0": _picture((1, 2, 3)), "pairs-guided": Image.new("RGB", (8, 8), (4, 5, 6))}
    lines = [{"stage": "project", "step": step, "name": "loss", "value": 1 / (step + 1)} for step in range(3)]
    lines += [{"stage": "project", "step": 3, "name": "loss", "value": None}]
    logger = WandbLogger(project="test", save_dir=str(tmp_path), offline=True, settings=PRIVATE_SETTINGS)
    log_job(logger, results, images, lines, config=secrets)
    record, files = _record(tmp_path), _files(tmp_path)
    for fact in (PROMPT, "guided/gender/fd_hard", "guided/fid/floor", "cost/ratio", "project/loss", "figures/mode-0"):
        assert fact.encode() in record, fact
    assert len([name for name in files if name.endswith(".png")]) == 2
    everything = b"".join(files.values()) + "".join(files).encode()
    for secret in (KEY, TOKEN, PASSWORD, "/home/somebody", "+logger"):
        assert secret.encode() not in everything, secret
    assert HIDDEN.encode() in record


def test_the_run_is_closed_also_after_an_error(tmp_path):
    import wandb

    logger = WandbLogger(project="test", save_dir=str(tmp_path), offline=True, settings=PRIVATE_SETTINGS)
    with pytest.raises(KeyError, match="name"):
        log_job(logger, example_results(), {}, [{"stage": "project", "step": 0, "value": 1.0}])
    assert wandb.run is None


def test_wandb_says_nothing_between_our_lines(tmp_path):
    code = (
        "from pytorch_lightning.loggers import WandbLogger; from selfdebias.report.wandb_log import *;"
        "log_job(WandbLogger(project='test', save_dir='.', offline=True, settings=PRIVATE_SETTINGS), {'arms': {}}, {}, [])"
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
    from selfdebias.config import conf_folder

    option = yaml.safe_load((conf_folder() / "logger" / "wandb.yaml").read_text())
    assert option["offline"] is True
    assert option["settings"] == {**PRIVATE_SETTINGS, "init_timeout": 30}


def test_a_wandb_that_cannot_be_reached_is_one_warning_and_the_job_goes_on(tmp_path, monkeypatch, capsys):
    """A real online run against a port of this computer where nobody listens."""
    import wandb

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    settings = {**PRIVATE_SETTINGS, "init_timeout": 5, "login_timeout": 5}
    logger = WandbLogger(project="test", save_dir=str(tmp_path), offline=False, settings=settings)
    wandb.teardown()  # what it read from the environment earlier, and below what it reads here, is kept until then
    try:
        log_job(logger, example_results(), {}, [])
    finally:
        wandb.teardown()
    out, err = capsys.readouterr()
    warnings = [line for line in err.splitlines() if line.startswith("selfdebias: ")]
    assert len(warnings) == 1 and "W&B was not reached" in warnings[0] and KEY not in out + err
    assert wandb.run is None


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
    assert redacted(f"selfdebias ++model.{name}=x seed=1") == f"selfdebias ++model.{name}={HIDDEN} seed=1"


@pytest.mark.parametrize("value", [1, 0.5, None, True, "an emoji of a person", {"tokenizer": "t", "keys": 3}])
def test_keeps_what_is_no_secret(value):
    assert redacted(value) == value


def test_a_job_with_rows_is_one_run_with_one_table_and_no_secret(tmp_path, secrets):
    from selfdebias.metrics.summary_prompts import over_prompts

    rows = {"farmer": example_results(n=16), "office-worker": example_results(("vanilla",), n=24)}
    results = {"config_hash": "0123", "rows": rows, "row_names": list(rows), "over_prompts": over_prompts(rows)}
    logger = WandbLogger(project="test", save_dir=str(tmp_path), offline=True, settings=PRIVATE_SETTINGS)
    log_rows(logger, results, config=secrets)
    record, files = _record(tmp_path), _files(tmp_path)
    assert len([name for name in files if name.endswith(".wandb")]) == 1
    (table,) = [json.loads(data) for name, data in files.items() if name.endswith(".table.json")]
    place = table["columns"].index("guided/gender/fd_hard")
    guided = rows["farmer"]["arms"]["guided"]["gender"]["fd_hard"]["value"]
    assert [(row[0], row[place]) for row in table["data"]] == [("farmer", guided), ("office-worker", None)]
    assert b"over_prompts/vanilla/gender/deviation_ratio" in record
    assert not [name for name, data in files.items() for secret in (KEY, TOKEN, PASSWORD) if secret.encode() in data]


def test_rows_are_not_logged_without_a_run():
    log_rows(None, {}, {})
    log_rows(DummyLogger(), {}, {})
