"""The table and the page of a job with a row for each prompt."""

from __future__ import annotations

import copy
import json
import re

import pytest
from PIL import Image

from selfdebias.jobs.job import folder_of_row, gather_rows
from selfdebias.report.measures import flat_numbers
from selfdebias.report.page import arrows
from selfdebias.report.prompts import markdown_table, render_prompt_page
from selfdebias.report.verdict import verdict
from selfdebias.report.wandb_log import table_of_rows
from selfdebias.report.wording import columns_of, number
from selfdebias.storage.atomic import write_json
from tests.report.as_text import render_prompts as render_table
from tests.report.example import CLASSES, example_results
from tests.report.test_page import HOSTILE, Page

NAMES = ("zebra", "farmer", "a-very-long-occupation-with-many-words-in-it")


def job_of(folder, names=NAMES, arms=("vanilla", "guided"), stages=("evaluate", "report"), step=8):
    """A finished job with rows, each with `step` images more, gathered by the package; returns its `results.json`."""
    for place, name in enumerate(names):
        write_json(folder_of_row(folder, name) / "results.json", example_results(arms, n=16 + step * place))
        Image.new("RGB", (800, 200), (10 * place, 0, 0)).save(folder_of_row(folder, name) / "first.png")
    config = {
        "stages": list(stages),
        "collect": {"seed": 0},
        "generate": {"seed": 1},
        "guidance": {"_target_": "selfdebias.guidance.self_debias.SelfDebiasGuidance", "strength": 0.8},
        "prompts": {"_target_": "x", "subjects": list(names), "templates": ["{}"], "attributes": list(CLASSES)},
    }
    record = {"config_hash": "0123456789abcdef", "command": f"selfdebias prompts.subjects={HOSTILE}"}
    gather_rows(folder, config, list(names), record)
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    return folder, job_of(folder)


def line_of(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


@pytest.mark.parametrize("arms", [("vanilla",), ("vanilla", "guided"), ("vanilla", "guided", "random")], ids=len)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_and_the_rules_are_exactly_as_wide(tmp_path, arms, width):
    text = render_table(job_of(tmp_path, (*NAMES, "顔" * 40), arms), width)
    lines = text.splitlines()
    assert max(map(columns_of, lines)) == width
    assert {len(line) for line in lines if line and set(line) <= set("=-")} == {width}


def test_a_row_is_one_line_at_80_columns_in_the_order_of_the_prompts(job):
    text = render_table(job[1])
    places = [text.index(f"\n{name[:20]}") for name in NAMES]
    assert places == sorted(places)
    for name in NAMES:
        assert text.count(f"\n{name[:20]}") == 1
    assert "a-very-long-occupatio...  32" in text


def test_the_numbers_are_those_of_the_rows(job):
    results = job[1]
    arms = results["rows"]["farmer"]["arms"]
    pairs = [
        f"{arms['vanilla']['gender'][key]['value']:.3f} / {arms['guided']['gender'][key]['value']:.3f}"
        for key in ("deviation_ratio", "fd_hard")
    ]
    man = [f"{arms[arm]['shares']['gender']['man']['value']:.2f}" for arm in ("vanilla", "guided")]
    kept = f"{arms['guided']['kept_cosine']['value']:.3f}"
    assert re.split("  +", line_of(render_table(results), "farmer")) == ["farmer", "24", *pairs, " / ".join(man), kept]
    means = results["over_prompts"]
    ratio = " / ".join(f"{means[arm]['gender']['deviation_ratio']['value']:.3f}" for arm in ("vanilla", "guided"))
    assert ratio in line_of(render_table(results), "mean")


def test_a_null_has_its_reason_and_the_mean_says_over_how_many(job):
    results = copy.deepcopy(job[1])
    results["rows"]["zebra"]["arms"]["guided"]["gender"]["fd_hard"] = {"value": None, "reason": "no image is there"}
    results["over_prompts"]["guided"]["gender"]["fd_hard"]["rows"] = 2
    text = render_table(results)
    assert "n/a [1]" in line_of(text, "zebra") and "[1] n/a: no image is there" in text
    assert " (2)" in line_of(text, "mean")


def test_means_have_intervals_and_fairer_is_counted_where_it_can_be_told(job):
    results = copy.deepcopy(job[1])
    rows = list(results["rows"].values())
    for row, p in zip(rows, (0.016, 0.026, 0.9), strict=True):  # 3 x 0.016 is below 0.05, 2 x 0.026 above
        planted = {"value": -0.1, "low": -0.2, "high": -0.01, "p": p}
        row["arms"]["guided"]["difference"]["vanilla"]["gender"]["fd_hard"] = planted
    text = " ".join(render_table(results).split())
    mean = results["over_prompts"]["vanilla"]["gender"]["fd_hard"]
    assert f"mean fd_hard: vanilla {mean['value']:.3f} [{mean['low']:.3f}, {mean['high']:.3f}], guided" in text
    assert f"by fd_hard: fairer for 1, no detectable difference for {len(rows) - 1} of {len(rows)} prompts" in text
    assert "how often it is wrong was not measured" in text


def test_arms_are_held_against_each_other_prompt_by_prompt(tmp_path):
    results = job_of(tmp_path, arms=("vanilla", "guided", "random"))
    text = " ".join(render_table(results).split())
    for arm, other in (("guided", "vanilla"), ("random", "vanilla"), ("random", "guided")):
        tree = results["over_prompts"][arm]["difference"][other]["gender"]
        apart, better = (
            f"{number(it['value'])} [{number(it['low'])}, {number(it['high'])}]"
            for it in (tree["deviation_ratio"], tree["probability_of_improvement"])
        )
        assert f"{arm} - {other}, paired by prompt: mean difference in deviation_ratio {apart}" in text
        assert f"; probability of improvement {better}." in text


def test_the_floor_of_a_mean_is_said_beside_it_in_table_and_page(job):
    folder, results = job
    mean = results["over_prompts"]["guided"]["gender"]["deviation_ratio"]
    said = (
        f"Floor of the mean: {mean['floor']:.3f}, expected of a perfectly fair independent sampler of N = 16 to 32 images in each "
        f"of 3 prompts; 95% of its means are below {mean['floor_high']:.3f}."
    )
    for text in (
        render_table(results),
        (folder / "table.md").read_text(),
        Page((folder / "report.html").read_text()).text,
    ):
        assert said in " ".join(text.split())
    before = copy.deepcopy(results)
    for arm in before["over_prompts"].values():
        for key in ("deviation_ratio", "fd_hard"):
            del arm["gender"][key]["floor_high"], arm["gender"][key]["floor_n"]
    assert "Floor of the mean" not in render_table(before)


def test_edits_that_were_left_out_are_summed_over_the_prompts(job):
    found = copy.deepcopy(job[1])
    for count, row in enumerate(found["rows"].values()):
        row["skipped_edits"] = {"vanilla": 0, "guided": count}
    pictures = dict.fromkeys(NAMES, b"")
    for text in (
        " ".join(render_table(found).split()),
        markdown_table(found),
        render_prompt_page(found, {"config": {}}, pictures),
    ):
        assert "guided: 3 edits were left out" in text
    assert "left out" not in render_table(job[1])


def test_markdown_has_a_table_for_each_attribute(job):
    text = (job[0] / "table.md").read_text()
    assert text == markdown_table(job[1])
    assert [line for line in text.splitlines() if line.startswith("### ")] == ["### Gender", "### Tone", "### Age"]
    for table in text.split("### ")[1:]:
        counts = {line.count("|") for line in table.splitlines() if line.startswith("|")}
        assert len(counts) == 1
        assert table.count("| farmer |") == 1


def test_the_page_links_each_rows_page_and_fetches_nothing(job):
    folder, results = job
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [link["href"] for link in page.all("a")]
    assert {link for link in links if link.startswith("rows/")} == {f"rows/{name}/report.html" for name in NAMES}
    assert all(link[1:] in ids for link in links if link.startswith("#"))
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "iframe", "object", "base"})
    assert len(page.all("img")) == len(NAMES) + 1  # and the chart
    assert all(image["src"].startswith("data:image/png") for image in page.all("img"))
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert HOSTILE.split()[0] in page.text and "<script" not in text
    assert "3 prompts" in page.text and results["config_hash"] in page.text


def test_the_page_has_intervals_means_verdicts_and_settings(job):
    folder, results = job
    text = Page((folder / "report.html").read_text()).text
    entry = results["rows"]["farmer"]["arms"]["vanilla"]["gender"]["fd_hard"]
    assert f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]" in text
    assert "SelfDebiasGuidance (strength 0.8)" in text
    assert text.count("guided against vanilla, by fd_hard: ") == len(CLASSES)
    assert text.count("mean fd_hard: vanilla") == len(CLASSES)
    assert "At the floor, <= b" in text


def test_the_page_begins_with_one_sentence_then_a_row_of_images_each_then_their_shares_and_folds_tables(job):
    folder, results = job
    page = Page((folder / "report.html").read_text())
    said = verdict(results)
    assert arrows(said.sentence) in page.within("header") and arrows(said.intervals) in page.within("header")
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert sections == ["pictures", "shares", "prompts", "asked", "again"]
    for row in results["rows"].values():
        assert arrows(verdict(row).sentence) in page.within("#pictures")
    for (tag, _), around in zip(page.elements, page.inside, strict=True):
        assert tag != "table" or "details" in around
        assert tag != "img" or "details" not in around
    assert page.all("img")[-1]["alt"].startswith("gender: share of man, of each prompt. vanilla: zebra 0.75")


def test_prompts_of_one_batch_are_counted_as_untold(tmp_path):
    results = job_of(tmp_path)
    for row in results["rows"].values():
        for tree in (row["arms"]["guided"], row["arms"]["guided"]["difference"]["vanilla"]):
            tree["gender"]["fd_hard"] = {"value": 0.1, "low": None, "high": None, "reason": "no interval: one batch"}
    assert "by fd_hard: cannot be told for 3 of 3 prompts" in " ".join(render_table(results).split())


def test_links_to_rows_in_any_script_are_quoted(tmp_path):
    results = job_of(tmp_path, ("顔",))
    assert 'href="rows/%E9%A1%94/report.html"' in render_prompt_page(results, {"config": {}}, {"顔": b""})


def test_a_job_that_does_not_evaluate_gathers_nothing(tmp_path):
    gather_rows(tmp_path, {"stages": ["collect"]}, ["farmer"], {})
    assert list(tmp_path.iterdir()) == []


def test_a_job_without_reports_has_results_alone(tmp_path):
    job_of(tmp_path, stages=("evaluate",))
    assert {path.name for path in tmp_path.iterdir()} == {"rows", "results.json", "results.csv"}


def test_the_logged_table_has_each_rows_numbers(job):
    table = table_of_rows(job[1])
    columns, rows = table.columns, table.rows
    assert [row[0] for row in rows] == list(NAMES) and {len(row) for row in rows} == {len(columns)}
    for name, row in zip(NAMES, rows, strict=True):
        flat = flat_numbers(job[1]["rows"][name])
        assert dict(zip(columns[1:], row[1:], strict=True)) == {key: flat.get(key) for key in columns[1:]}
