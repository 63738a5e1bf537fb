"""What somebody else wrote is shown as it stands: it is no markup, moves no cursor, turns no line around."""

from __future__ import annotations

import json
import os
import re

import pytest
from PIL import Image

from selfdebias.jobs.model_card import model_card
from selfdebias.jobs.stages.report import report
from selfdebias.main import main
from tests.report.example import write_job

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\u202egnp.exe | [x](javascript:alert(1)) `b` **c**\nd"
)
UNSEEN = ("\x1b", "\u202e")


def test_the_command_on_the_page_is_the_one_that_was_given(tmp_path):
    arguments = write_job(tmp_path, n=16)
    arguments["job"]["command"] = f"selfdebias prompts.text='{HOSTILE}'"
    report(tmp_path / "report", **arguments)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "selfdebias prompts.text=" in page
    assert not [sign for sign in UNSEEN if sign in page] and "<script>alert" not in page


def facts(text: str) -> dict:
    modes = {"k": 2, "sizes": [3, 1], "silhouette": 0.5, "words": [[{"caption": text, "effect": 1.0}], []]}
    return {
        "model": text, "prompts": [text, "b"], "encoder": text, "n_images": 4, "projector_cosine": 0.9, "modes": modes,
        "call": {"num_inference_steps": text, f"{text}=": 1}, "carried_from": text, "fitting_prompts": [text],
        "guidance": {"_target_": text, text: text}, "schedule": {"start": text},
        "results": {text: {text: {"value": 0.5, "n": 4}}},
    }  # fmt: skip


def test_a_model_card_is_markdown_of_ours_alone():
    card, plain = model_card(facts(HOSTILE)), model_card(facts("words"))
    outside = re.sub(r"```python\n.*?```", "", card, flags=re.DOTALL)
    assert not [sign for sign in UNSEEN if sign in card]
    for markup in ("<script>", "<img", "[x](", "`b`", "**c**"):
        assert markup not in re.sub(r"\\.", "", outside), markup
    rows = [re.split(r"(?<!\\)\|", line) for line in outside.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {
        len(re.split(r"(?<!\\)\|", line)) for line in plain.splitlines() if line.startswith("|")
    }
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    compile(code, "card", "exec")  # what is quoted stays quoted


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_links_to_nowhere_and_pipes_among_images_are_counted_as_skipped_and_hang_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arm in ("vanilla", "peer"):
        (tmp_path / arm).mkdir()
        for k in range(4):
            Image.new("RGB", (64, 64), (40 * k, 90, 200)).save(tmp_path / arm / f"{k}.png")
    os.mkfifo(tmp_path / "peer" / "pipe.png")
    (tmp_path / "peer" / "link.png").symlink_to(tmp_path / "nowhere.png")
    labels = tmp_path / "labels" / "gender" / "man"
    labels.mkdir(parents=True)
    (tmp_path / "labels" / "gender" / "woman").mkdir()
    for k, name in enumerate(("man", "woman")):
        Image.new("RGB", (64, 64), (40 * k, 90, 200)).save(tmp_path / "labels" / "gender" / name / "0.png")
    os.mkfifo(labels / "pipe.png")
    few = ["stages=[evaluate]", "evaluate.folders=[vanilla,peer]", "evaluate.bootstrap=20", "logger=none"]
    assert main([*few, "evaluate.labelled=labels"]) == 0, capsys.readouterr().err
    (job,) = (tmp_path / "runs" / "jobs").iterdir()
    skipped = json.dumps(json.loads((job / "results.json").read_text())["skipped"])
    assert (
        "pipe.png" in skipped
        and "no regular file" in skipped
        and "link.png" in skipped
        and "a link to nowhere" in skipped
    )
