"""CSV and TensorBoard beside W&B: the same numbers, in the job's folder, once, and no secret."""

from __future__ import annotations

import csv
import json
import os
import platform
import socket
from pathlib import Path

import pytest
import yaml

from selfdebias.config.compose import load
from selfdebias.config.rules import ConfigError
from selfdebias.main import main
from selfdebias.report.loggers import check_loggers, is_logged, log_finished, make_logger, names_of
from selfdebias.report.measures import flat_numbers
from tests.report.example import example_results

LINES = [
    {"stage": "project", "step": step, "name": name, "value": value}
    for step in range(3)
    for name, value in (("loss", 1 / (step + 1)), ("cosine", 0.5))
]
NUMBERS = {name: value for name, value in flat_numbers(example_results()).items() if isinstance(value, float)}


def logged(job: Path, *overrides: str) -> dict:
    """The loggers that these overrides ask for, each given the example."""
    job.mkdir(parents=True, exist_ok=True)
    config = load(list(overrides))
    for name in names_of(config["logger"]):
        log_finished(job, name, config["logger"][name], example_results(), {}, LINES, config, "")
    return config


def rows_of(file: Path) -> list[dict[str, float]]:
    with file.open(newline="") as lines:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {name: [(it.step, it.value) for it in found.Scalars(name)] for name in found.Tags()["scalars"]}


def test_the_options_of_a_list_stand_beside_each_other():
    loggers = load(["logger=[wandb,csv]", "logger.csv.name=log", "logger.wandb.project=mine"])["logger"]
    assert list(loggers) == ["wandb", "csv"]
    alone = {name: load([f"logger={name}"])["logger"] for name in ("wandb", "csv")}
    assert loggers["wandb"] == {**alone["wandb"]["wandb"], "project": "mine"}
    assert loggers["csv"] == {**alone["csv"]["csv"], "name": "log"}
    assert alone["csv"].keys() == {"csv"} and load([])["logger"] == alone["wandb"]
    assert names_of(load(["logger=[none,csv]"])["logger"]) == ["csv"]


def test_csv_holds_the_curves_the_numbers_and_the_settings(tmp_path):
    logged(tmp_path / "0123", "logger=csv", "tags=[draft]")
    folder = tmp_path / "0123" / "csv"
    *curve, numbers = rows_of(folder / "metrics.csv")
    assert curve == [{"step": k, "project/loss": 1 / (k + 1), "project/cosine": 0.5} for k in range(3)]
    assert numbers == {"step": 0, **NUMBERS} and len(NUMBERS) > 100
    settings = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert settings["guidance"]["strength"] == 6.0 and settings["tags"] == ["draft"]
    assert settings["config_hash"] == example_results()["config_hash"]
    assert settings.keys().isdisjoint({"paths", "logger", "trainer"})


def test_tensorboard_holds_the_same(tmp_path):
    logged(tmp_path / "0123", "logger=tensorboard")
    found = scalars_of(tmp_path / "0123" / "tensorboard")
    assert found.keys() == {"project/loss", "project/cosine", *NUMBERS}
    assert found["project/loss"] == [(k, pytest.approx(1 / (k + 1))) for k in range(3)]
    assert all(found[name] == [(0, pytest.approx(value))] for name, value in NUMBERS.items())


def test_neither_holds_a_secret_or_says_whose_computer_it_was(tmp_path, monkeypatch):
    key = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"
    monkeypatch.setenv("WANDB_API_KEY", key)
    host = "computer-of-somebody"  # the name of a real one may be short, and stand in an image's or an event's bytes by chance
    for module, name in ((socket, "gethostname"), (platform, "node")):
        monkeypatch.setattr(module, name, lambda: host)
    uname = os.uname_result(("Linux", host, "", "", ""))
    monkeypatch.setattr(os, "uname", lambda: uname)
    given = [
        f"tags=[{key}]",
        f"prompts.text='a {key}'",
        "evaluate.labelled=/home/somebody/labels",
        "paths.root=/home/somebody",
    ]
    logged(tmp_path / "0123", "logger=[csv,tensorboard]", *given)
    files = [path for path in (tmp_path / "0123").rglob("*") if path.is_file()]
    everything = b"".join(path.read_bytes() + path.name.encode() for path in files)
    assert len(files) == 5
    for word in (key, "/home/somebody", host):
        assert word.encode() not in everything, word


def test_a_job_is_logged_once_and_again_where_its_log_is_gone(tmp_path):
    job, log = tmp_path / "0123", tmp_path / "0123" / "csv" / "metrics.csv"
    config = logged(job, "logger=csv")
    first = log.stat().st_mtime_ns
    logged(job, "logger=csv")
    assert log.stat().st_mtime_ns == first and is_logged(job, "csv", config["logger"]["csv"])
    assert not is_logged(job, "wandb", load([])["logger"]["wandb"])
    log.unlink()
    (log.parent / "hparams.yaml").unlink()
    log.parent.rmdir()
    logged(job, "logger=csv")
    assert log.exists()


def test_jobs_that_share_a_folder_lie_beside_each_other(tmp_path):
    for name in ("0123", "4567"):
        logged(tmp_path / name, "logger=csv", f"logger.csv.save_dir={tmp_path / 'all'}")
    assert {it.name for it in (tmp_path / "all" / "csv").iterdir()} == {"0123", "4567"}


def test_what_goes_wrong_with_one_logger_is_one_line_and_the_next_one_logs(tmp_path, capsys):
    (tmp_path / "0123").mkdir()
    (tmp_path / "0123" / "csv").write_text("in the way")
    logged(tmp_path / "0123", "logger=[csv,tensorboard]")
    err = capsys.readouterr().err
    assert "selfdebias: nothing was logged to CSV (" in err and err.count("selfdebias: ") == 1
    marks = [json.loads(line) for line in (tmp_path / "0123" / "logged.jsonl").read_text().splitlines()]
    assert [mark["logger"] for mark in marks] == ["tensorboard"]


def test_options_and_packages_that_are_not_there_are_refused_before_the_job(monkeypatch):
    for name, kind in (("csv", "CSVLogger has"), ("tensorboard", "TensorBoard has")):
        loggers = load([f"logger={name}", f"+logger.{name}.nam=a"])["logger"]
        with pytest.raises(ConfigError, match=f"`logger.{name}.nam` is not an option. .*{kind} .*version"):
            check_loggers(loggers)
    monkeypatch.setattr("selfdebias.report.loggers.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'selfdebias\[tensorboard\]'"):
        check_loggers(load(["logger=[csv,tensorboard]"])["logger"])


def test_tags_are_those_of_the_run_too(tmp_path):
    options = {**load([])["logger"]["wandb"], "tags": ["a"]}
    assert make_logger("wandb", options, tmp_path, tags=["b", "a"])._wandb_init["tags"] == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["logger=[csv,tb]"], "`logger` must be one of csv, none, tensorboard, wandb, got tb."),
        (["logger=[]"], "take logger=none."),
        (["+logger=csv"], "logger=[a,csv] for several"),
        (["logger=csv", "logger.mode=online"], "`logger.wandb.mode` is not an option here: logger=wandb has it."),
        (["logger.csv.save_dir=x"], "`logger.csv.save_dir` is not an option here: logger=csv has it."),
        (["logger=csv", "logger.csv.name="], "`logger.csv.name` must be a text that is not blank"),
        (["tags=draft"], "`tags` must be a list of different texts"),
        (["tags=[a,a]"], "`tags` must be a list of different texts"),
    ],
)
def test_what_cannot_be_is_one_line(words, said, tmp_path, capsys):
    assert main([*words, f"paths.root={tmp_path / 'runs'}"]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not (tmp_path / "runs").exists()


def test_the_short_names_of_wandbs_options_and_a_plus_before_tags_are_understood(capsys):
    assert main(["logger.mode=online", "+logger.entity=us", "+tags=[a,b]", "--cfg", "job"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["logger"]["wandb"]["mode"], config["logger"]["wandb"]["entity"]) == ("online", "us")
    assert config["tags"] == ["a", "b"]
