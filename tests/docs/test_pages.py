"""Generated pages of the documentation: each names everything that there is of its kind."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
import yaml

import selfdebias
from docs import metrics_page, results_json_page, results_pages
from docs.config_page import config_page
from experiments.pooled import RESULTS
from experiments.study import names
from experiments.twins import FOLDERS
from selfdebias.config.compose import load
from selfdebias.config.rules import walk
from selfdebias.config.sources import conf_folder
from selfdebias.metrics import fairness, quality
from selfdebias.metrics.metric import Metric

ROOT = Path(__file__).parents[2]
OPTIONS = sorted(file.relative_to(conf_folder()).with_suffix("").as_posix() for file in conf_folder().rglob("*.yaml"))


@pytest.fixture(scope="module")
def config() -> dict[str, str]:
    """The sections of the page of all keys, by their headings."""
    parts = re.split(r"^#{2,3} ", html.unescape(config_page()), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


@pytest.mark.parametrize("option", [it for it in OPTIONS if it != "config"])
def test_each_option_has_a_section_with_each_key_of_its_file_and_each_comment(config, option):
    group, _, name = option.rpartition("/") if option.startswith("hydra/") else option.partition("/")
    shown, text = config[f"{group}={name}"], (conf_folder() / f"{option}.yaml").read_text()
    assert re.search(rf"^\| `{re.escape(name)}` \| \S.{{5,}} \|$", config[group], re.MULTILINE)
    prefix = "" if group in ("experiment", "debug") else f"{group.replace('/', '.')}."
    content = yaml.load(text, yaml.BaseLoader)
    for key, _ in walk({key: value for key, value in content.items() if key != "defaults"}):
        assert f"`{prefix}{key}`" in shown, key
    body = text.partition("_target_")[2] if "_target_" in text else ""
    for comment in re.findall(r"^\w+: .*?\s# (.*)$", body, re.MULTILINE):
        assert plain(comment) in plain(shown), comment


def plain(said: str) -> str:
    """Letters alone: how a sign is written in a table is no matter here."""
    return re.sub(r"</?code>|\W+", "", html.unescape(said))


def test_each_key_of_the_default_configuration_is_there(config):
    every = "".join(config.values())
    assert [key for key, _ in walk(load([])) if f"`{key}`" not in every and not key.startswith("logger.")] == []


def test_each_metric_is_there_with_what_it_means_and_so_is_one_that_is_added(monkeypatch):
    page = metrics_page.metrics_page()
    assert [key for key in fairness.METRICS if f"`{key}`" not in page] == []
    assert {metric.key for metric in metrics_page.registered()} >= {
        "kept_cosine",
        "clip_score",
        *(it.key for it in quality.METRICS),
    }
    for metric in metrics_page.registered():
        (line,) = re.findall(rf"^\| `{metric.key}` \|.*$", page, re.MULTILINE)
        assert plain(metric.meaning) in plain(line) and metric.better in line
    added = Metric(key="novelty", title="novelty", meaning="nothing that was there.", better="higher")
    monkeypatch.setattr(quality, "NOVELTY", added, raising=False)
    assert "| `novelty` | novelty | nothing that was there. | higher | yes |" in metrics_page.metrics_page()


def test_which_way_of_a_fairness_metric_is_better():
    best = {key: metrics_page._best(key) for key in fairness.METRICS}
    assert (
        best["fd_hard"] == "0; lower is better" and best["entropy_norm"] == "1; higher is better" and best["gap"] == "0"
    )


def test_each_key_of_results_json_is_there():
    page = results_json_page.results_json_page()
    measured = [
        path.split("/")[1:]
        for paths in json.loads((ROOT / "tests/golden.json").read_text())["numbers"].values()
        for path in paths
    ]
    study = json.loads((RESULTS / "person_encoders.json").read_text())["captions, axes: transport, fit 0"]
    attributes = set(study["prompts"]["attributes"])
    own = {*study} - {"config_hashes", "mode_words", "overrides"}  # which a study adds
    keys = own | {path[0] for path in measured}
    keys |= {key for arm in study["arms"].values() for key in arm} | {path[2] for path in measured if path[0] == "arms"}
    assert {"spaces", "axes", "difference", "composition"} <= keys
    assert [key for key in sorted(keys - attributes - {"turned"}) if f"`{key}`" not in page] == []


def test_each_study_has_a_page_or_stands_among_those_that_are_not_run():
    pages = results_pages.pages()
    shown = "".join(pages.values())
    waiting = pages["results/not-run.md"]
    listed = pages["results/index.md"] + waiting
    for name in [*names(), *(f"{folder}/{name}" for folder, own in FOLDERS.items() for name in own)]:
        assert (f"results/{name}.md" in pages) != (f"## {name}\n" in waiting), name
        assert f"[{name}]" in listed or f"## {name}\n" in waiting
    for result in RESULTS.rglob("*.md"):
        rows = [line for line in result.read_text().splitlines() if line.startswith("|")]
        rows = [row.replace("\\<", "&lt;") for row in rows]
        assert all(row in shown for row in rows), result
    assert "<!--" not in shown


def test_each_page_of_a_study_is_in_the_navigation():
    places = [place for _, place in walk({"nav": results_pages.nav()})]
    assert {*results_pages.pages()} <= {*places} and len(places) == len({*places})


def test_each_picture_is_there_and_those_of_studies_are_shown():
    shown, pictures = "".join(results_pages.pages().values()), results_pages.pictures()
    assert set(RESULTS.rglob("*.png")) == {*pictures.values()}
    assert {f"{it.stem}.png" for it in (RESULTS / "ablation").glob("*.png")} <= {
        *re.findall(r"!\[.*?\]\((.*?)\)", shown)
    }


def test_links_of_the_notebook_lead_to_pages():
    linked = results_pages._linked(
        "[a](#person_arms) [b](results/guidance_cost.md) ![c](results/ablation/noise.png) [2](results/answers.json)",
        "results/ablation/x.md",
    )
    assert linked == "[a](../person_arms.md) [b](../benchmarks.md) ![c](noise.png) `experiments/results/answers.json`"


def test_each_public_name_is_there():
    page = (ROOT / "docs/reference/api.md").read_text()
    assert [
        name
        for name in selfdebias.__all__
        if f"::: selfdebias.{name}\n" not in page and f"`selfdebias.{name}`" not in page
    ] == []
