"""The runner: each stage once under its key, but a page again once the code that writes it has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from selfdebias.config.compose import load
from selfdebias.jobs.run import make_plan
from selfdebias.jobs.stage import Runner, Stage, config_hash, folder_of
from selfdebias.jobs.stages.report import report, writer
from tests.report.example import write_job


def test_a_page_is_written_again_under_its_key_once_the_code_that_writes_it_has_changed(tmp_path):
    calls: list[str] = []

    def write(folder: Path, text: str) -> None:
        calls.append(text)
        (folder / "page.html").write_text(text)

    old = Stage("report", "0123", {}, write, {"text": "old"}, writer="a")
    new = replace(old, arguments={"text": "new"}, writer="b")
    said: list[str] = []
    for stage in (old, old, new, new, replace(old, arguments={"text": "kept"}, writer="")):
        Runner(tmp_path, {}, say=said.append).run(stage)
    assert calls == ["old", "new"] and folder_of(new, tmp_path).path == folder_of(old, tmp_path).path
    assert (folder_of(old, tmp_path).path / "page.html").read_text() == "new"
    assert said.count("report: found, skipped") == 3


def test_the_report_alone_is_written_again_and_no_hash_depends_on_its_code(monkeypatch):
    config = load([])
    plan = make_plan(config, {})
    assert {name: stage.writer for name, stage in plan.items() if stage.writer} == {"report": writer()}
    monkeypatch.setattr("selfdebias.jobs.stages.report.writer", lambda: "another")
    again = make_plan(config, {})
    assert again["report"].writer == "another" and again["report"].key == plan["report"].key
    assert config_hash(again, config["stages"]) == config_hash(plan, config["stages"])


def test_a_page_that_is_written_again_leaves_no_figure_of_the_earlier_one(tmp_path):
    asked = write_job(tmp_path)
    (tmp_path / "report" / "figures").mkdir(parents=True)
    (tmp_path / "report" / "figures" / "of-before.png").write_bytes(b"")
    report(tmp_path / "report", **asked)
    assert (tmp_path / "report" / "figures" / "first.png").exists()
    assert not (tmp_path / "report" / "figures" / "of-before.png").exists()
