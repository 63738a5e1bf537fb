"""The stage and its page: whole, self-contained, escaped, and saying what the results say."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfdebias.jobs.stages.report import read_figures, report
from selfdebias.metrics.arms import load_arm, save_arm
from selfdebias.report.comparisons import AGREEMENT, COMPOSITION, QUALITY
from selfdebias.report.material import settings
from selfdebias.report.page import arrows
from selfdebias.report.verdict import verdict
from tests.report.example import write_job

ALL = ("vanilla", "guided", "random")
VOID = {"meta", "link", "img", "source", "br"}
HOSTILE = '<script>alert(1)</script> "quoted" & {{ 7*7 }} </title><img src="https://example.org/x">'


class Page(HTMLParser):
    """Elements with their attributes, the text, and whether each tag that was opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[list[str]] = []  # of each element, the tags and the ids around it
        self.texts: list[tuple[list[str], str]] = []
        self.open: list[str] = []
        self.around: list[list[str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside.append([name for names in self.around for name in names])
        if tag not in VOID:
            self.open.append(tag)
            self.around.append([tag, f"#{dict(attrs).get('id')}"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.around.pop()

    def handle_data(self, data):
        self.words.append(data)
        self.texts.append(([name for names in self.around for name in names], data))

    def within(self, name: str) -> str:
        """The text inside of elements of a tag, or of the one with an id."""
        return " ".join(" ".join(data for around, data in self.texts if name in around).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def _report(root: Path, images: int = 12, **options) -> tuple[Path, Page]:
    report(root / "report", **{**write_job(root, **options), "images": images})
    return root / "report", Page((root / "report" / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return _report(tmp_path_factory.mktemp("job"), names=ALL)


def test_every_tag_is_closed_and_every_link_leads_somewhere(job):
    _, page = job
    assert page.open == []
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for link in page.all("a"):
        assert link["href"][1:] in ids


def test_fetches_nothing(job):
    _, page = job
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "base")
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), (tag, name)
    style = "".join(page.words)
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_every_image_has_an_alternative_text_and_can_be_decoded(job):
    _, page = job
    images = page.all("img")
    assert all(image["alt"].strip() for image in images)
    assert len({image["alt"] for image in images}) == len(images)
    for source in [image["src"] for image in images] + [it["srcset"] for it in page.all("source")]:
        picture = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))
        assert picture.format == "PNG"
        picture.load()


def test_shows_each_mode_each_pair_and_each_chart(job):
    _, page = job
    alts = [image["alt"] for image in page.all("img")]
    assert sum(alt.startswith("Contact sheet") for alt in alts) == 2
    assert sum("(mode" in alt and "above guided" in alt for alt in alts) == 12
    assert sum("(mode" in alt and "above random" in alt for alt in alts) == 12
    assert sum(alt.startswith("Share of each class") for alt in alts) == 3
    assert sum(alt.startswith("Map of the 32 embeddings") for alt in alts) == 3
    assert sum(alt.startswith("Projected share of each mode, arm guided") for alt in alts) == 1
    assert sum(alt.startswith("Projector, ") for alt in alts) == 2
    assert sum(alt.startswith("Share of each mode. vanilla: 0 0.75, 1 0.25.") for alt in alts) == 1
    assert len(page.all("source")) == 4 + 3 + 1 + 2  # each chart also for dark paper


def test_marks_exactly_the_pairs_whose_mode_changed(job):
    _, page = job
    changed = {image["alt"] for image in page.all("img") if image["alt"].endswith("mode changed")}
    assert changed
    assert all("vanilla (mode 0) above guided (mode 1)" in alt for alt in changed)
    assert len([it for it in page.all("li") if it.get("class") == "changed"]) == len(changed)
    for count in (8, 0):  # guided: 24 men become 16; random
        assert f"A frame marks another mode and nothing else: {count} of 32 images changed their mode." in page.text


def test_frames_are_said_to_mark_the_mode_alone(job):
    _, page = job
    said = page.within("#pairs")
    assert "A frame marks another mode and nothing else" in said and "without a frame may look different too" in said


def test_says_what_was_asked_and_how_to_run_it_again(job):
    _, page = job
    for text in (
        "an emoji of a person",
        "vanilla 32, guided 32, random 32; modes from 48 other vanilla images",
        "collect 0, generate 1",
        "StableDiffusion (steps 25, scale 3.0)",
        "SelfDebiasGuidance (strength 0.8, tau 0.1)",
        "selfdebias generate.seed=1",
        "Configuration 0123456789abcdef",
        "95% intervals over batches",
        "Silhouette of the clustering: 0.550",
        "held-out images: 0.930",
    ):
        assert text in page.text


def test_first_the_verdict_of_the_results_then_pairs_then_modes_then_shares(job):
    folder, page = job
    found = verdict(json.loads((folder.parent / "evaluate" / "results.json").read_text()))
    header = page.within("header")
    said = [arrows(text) for text in (found.sentence, found.intervals)]
    places = [header.index(text) for text in (*said, "guided against vanilla, by fd: no")]
    assert places == sorted(places)
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert sections == ["pairs", "modes", "shares", "quality", "steps", "cost", "asked", "again"]
    (first, *_) = [around for (tag, _), around in zip(page.elements, page.inside, strict=True) if tag == "img"]
    assert "#pairs" in first and "details" not in first


def test_the_page_of_a_trial_says_that_its_numbers_mean_nothing_in_place_of_a_verdict(tmp_path):
    asked = write_job(tmp_path, names=ALL)
    report(tmp_path / "report", **{**asked, "job": {**asked["job"], "command": "selfdebias debug=tiny"}})
    page = Page((tmp_path / "report" / "report.html").read_text())
    header, whole = page.within("header"), page.within("body")
    assert "debug=tiny checks that everything runs" in header and "mean nothing" in header
    assert (tmp_path / "report" / "table.md").read_text().startswith("debug=tiny checks that everything runs")
    assert "fairer" not in header and "target" not in header and "Men " not in whole.replace("Men (", "")


def test_settings_tables_and_other_arms_are_folded_and_the_first_images_modes_and_shares_are_not(job):
    _, page = job
    where = list(zip(page.elements, page.inside, strict=True))
    for (tag, attributes), around in where:
        if tag == "table" or ("#asked" in around and tag == "dl"):
            assert "details" in around
        if tag == "img":
            seen = attributes["alt"].startswith(("Share of", "Contact sheet")) or "above guided" in attributes["alt"]
            assert ("details" in around) != seen, attributes["alt"]
    assert "StableDiffusion (steps 25" in page.within("details") and "What was asked" in page.within("summary")
    random = (
        "Arm random: No detectable change in any share: men 75% → 75%, target 50%; 0 of 32 images changed their mode."
    )
    assert random in page.within("summary")


def test_after_sixteen_pairs_the_others_are_folded(tmp_path):
    _, page = _report(tmp_path, images=20)
    tiles = [
        "details" in around
        for (tag, attributes), around in zip(page.elements, page.inside, strict=True)
        if "above guided" in (attributes.get("alt") or "")
    ]
    assert "guided below; the first 16 pairs, not chosen by looks" in page.text
    assert tiles == [False] * 16 + [True] * 4 and "4 more pairs of vanilla and guided" in page.within("summary")


def test_notes_stand_in_the_section_that_they_explain(job):
    _, page = job
    said = {
        "#modes": "In quotes: captions of a vocabulary",
        "#shares": "guided against vanilla, by fd: gender no detectable difference",
        "#quality": "precision of switched: how well images that changed their mode fit",
    }
    for section, text in said.items():
        assert text in page.within(section), section
    for text in ("fd_hard: distance of", "unclassified: share of images", "judge: EmojiJudge; how often"):
        assert text in page.within("#shares") and text not in page.within("#quality")
    assert "any method that mixes the modes anew pays it" in page.within("#quality")


def test_what_an_arm_of_chosen_seeds_shows_did_not_change(tmp_path):
    arguments = write_job(tmp_path, n=16)
    path = tmp_path / "evaluate"
    arm = load_arm(path, "guided")
    save_arm(path, replace(arm, seeds=arm.seeds + np.uint64(500)))
    results = json.loads((path / "results.json").read_text())
    results["arms"]["guided"] |= {key: {"value": None, "reason": "other seeds"} for key in ("turned", "kept_cosine")}
    (path / "results.json").write_text(json.dumps(results))
    report(tmp_path / "report", **arguments)
    page = Page((tmp_path / "report" / "report.html").read_text())
    assert "16 of all 16 lower images are of another seed than the one above, which arm guided chose" in page.text
    assert "images of other seeds than vanilla's, which arm guided chose." in page.within("header")
    assert not [it for it in page.all("li") if it.get("class") == "changed"]
    assert "generate 1 (the same in all arms but guided, which chose others)" in page.text


def test_the_guidance_is_that_of_the_guided_arm_and_a_control_has_its_own_row(tmp_path):
    of = {"_target_": "selfdebias.guidance.self_debias.SelfDebiasGuidance", "strength": 0.8}
    random = {"_target_": "selfdebias.guidance.random.RandomGuidance", "seed": 5, "of": of}
    assert settings({"guidance": random}) == [
        ("Guidance", "SelfDebiasGuidance (strength 0.8)"),
        ("Random control", "RandomGuidance (seed 5)"),
    ]
    assert settings({"guidance": of}) == [("Guidance", "SelfDebiasGuidance (strength 0.8)")]


def test_shows_the_numbers_of_the_results(job):
    folder, page = job
    results = json.loads((folder.parent / "evaluate" / "results.json").read_text())
    for arm in ALL:
        for attribute, classes in results["arms"][arm]["shares"].items():
            for share in classes.values():
                assert f"{share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]" in page.text, attribute
    assert f"{results['modes']['ari']['gender']:.3f}" in page.text
    assert f"{results['cost']['ratio']:.3f}" in page.text


def test_quality_by_features_pairs_and_composition_are_tables_of_their_own(job):
    folder, page = job
    results = json.loads((folder.parent / "evaluate" / "results.json").read_text())
    tables = [it["aria-label"] for it in page.all("div") if (it.get("aria-label") or "").startswith("Table: ")]
    assert tables[-3:] == [f"Table: {title}" for title in (QUALITY, AGREEMENT, COMPOSITION)]
    for arm in ("guided", "random"):
        kid = results["arms"][arm]["quality"]["judge"]["kid"]
        assert f"{arm}, judge" in page.text and f"{kid['value']:.3g} [{kid['low']:.3g}, {kid['high']:.3g}]" in page.text
        predicted = results["arms"][arm]["composition"]["tone"]["predicted_fd_hard"]["value"]
        assert f"{predicted:.3f}" in page.text


def test_writes_table_and_figures_and_no_temporary_file(job):
    folder, _ = job
    assert (folder / "table.md").read_text().count("| guided |") == 3
    names = {f"images-{arm}" for arm in ALL} | {
        "first",
        "mode-0",
        "mode-1",
        "pairs-guided",
        "pairs-random",
        "shares-gender",
    }
    assert names <= set(read_figures(folder))
    assert {path.name for path in folder.iterdir()} == {"report.html", "table.md", "figures"}


def test_the_first_images_are_one_row_of_pairs(job):
    folder, _ = job
    with Image.open(folder / "figures" / "first.png") as picture:
        assert picture.size == (4 + 8 * (72 + 4), 4 + 2 * 64 + 3 * 4 + 4)


def test_a_hostile_prompt_is_text(tmp_path):
    _, page = _report(tmp_path, prompt=HOSTILE, n=16)
    assert page.open == []
    assert not page.all("script")
    assert not [image for image in page.all("img") if not image["src"].startswith("data:")]
    assert HOSTILE in page.text


def test_hostile_names_are_text(tmp_path):
    arguments = write_job(tmp_path, n=16)
    path = tmp_path / "evaluate" / "results.json"
    results = json.loads(path.read_text().replace('"woman"', '"<b onload=x>"').replace('"tone"', '"<svg>"'))
    path.write_text(json.dumps(results))
    report(tmp_path / "report", **{**arguments, "job": {"config": {}, "command": "selfdebias '<u>'"}})
    page = Page((tmp_path / "report" / "report.html").read_text())
    assert not page.all("b")
    assert not page.all("svg")
    assert not page.all("u")
    assert "<b onload=x>" in page.text


def test_a_job_of_one_arm_shows_its_images_and_claims_no_comparison(tmp_path):
    arguments = write_job(tmp_path, names=("vanilla",), n=16)
    report(tmp_path / "report", **{**arguments, "projected": None})
    page = Page((tmp_path / "report" / "report.html").read_text())
    alts = [image["alt"] for image in page.all("img")]
    assert "Contact sheet of the first vanilla images" in alts
    assert not [alt for alt in alts if "above" in alt]
    assert "there is nothing to compare with" in page.text
    assert "there is no guided arm" in page.text


def test_nulls_are_n_a_with_their_reasons(tmp_path):
    arguments = write_job(tmp_path, n=16)
    path = tmp_path / "evaluate" / "results.json"
    results = json.loads(path.read_text())
    results["modes"]["nmi"]["gender"] = {"value": None, "reason": "no reference image is classified"}
    for share in results["arms"]["guided"]["shares"]["gender"]:
        results["arms"]["guided"]["shares"]["gender"][share] = {"value": None, "reason": "nobody was recognised"}
    path.write_text(json.dumps(results))
    report(tmp_path / "report", **arguments)
    page = Page((tmp_path / "report" / "report.html").read_text())
    assert page.text.count("n/a: no reference image is classified") == 1
    assert page.text.count("n/a: nobody was recognised") == 1


def test_a_circular_judge_is_said_first(tmp_path):
    arguments = write_job(tmp_path, n=16)
    path = tmp_path / "evaluate" / "results.json"
    results = json.loads(path.read_text())
    results["judge"] |= {"circular": True, "encoder_id": "clip-x"}
    path.write_text(json.dumps(results))
    report(tmp_path / "report", **arguments)
    text = Page((tmp_path / "report" / "report.html").read_text()).text
    assert text.index("the encoder that the modes were found with (clip-x)") < text.rindex("What was asked")


@pytest.mark.slow
def test_stays_under_ten_megabytes_with_large_photographs(tmp_path):
    arguments = write_job(tmp_path, n=16, size=384)
    report(tmp_path / "report", **{**arguments, "images": 16})
    assert 2_000_000 < (tmp_path / "report" / "report.html").stat().st_size < 10_000_000


def test_the_same_job_gives_the_same_bytes(tmp_path):
    arguments = write_job(tmp_path, n=16)
    for name in ("one", "two"):
        report(tmp_path / name, **arguments)
    for file in ("report.html", "table.md", "figures/shares-gender.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_refuses_no_images_and_no_vanilla_arm(tmp_path):
    arguments = write_job(tmp_path, n=16)
    with pytest.raises(ValueError, match=r"`images` must be at least 1, got 0\."):
        report(tmp_path / "report", **{**arguments, "images": 0})
    arms = {"guided": arguments["arms"]["guided"]}
    with pytest.raises(ValueError, match=r"`arms` must hold a vanilla arm, got \['guided'\]\."):
        report(tmp_path / "report", **{**arguments, "arms": arms})
    assert not (tmp_path / "report").exists()
