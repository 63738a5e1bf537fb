"""The tables of a finished job: numbers where they belong, never wider than asked, and a reason for each one that is missing."""

from __future__ import annotations

import copy
import re

import pytest

from selfdebias.report.job_table import markdown_table
from selfdebias.report.measures import attributes_of
from selfdebias.report.wording import columns_of
from tests.report.as_text import render_table
from tests.report.example import example_results

ALL = ("vanilla", "guided", "random")
FRECHET = "Frechet distance (emoji_clip, 8-d)"


@pytest.fixture(scope="module")
def results():
    return example_results(ALL)


def _rows(text: str, header: str) -> dict[str, str]:
    """Lines of the block whose header holds `header`, by their first word."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("arm") and header in line)
    end = next(i for i in range(start + 1, len(lines)) if lines[i].startswith(("arm", "---")))
    return {line.split()[0]: line for line in lines[start + 1 : end] if line}


@pytest.mark.parametrize("names", [("vanilla",), ("vanilla", "guided"), ALL], ids=len)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_and_the_rules_are_exactly_as_wide(names, width):
    text = render_table(example_results(names), width)
    lines = text.splitlines()
    assert max(map(columns_of, lines)) == width
    assert {len(line) for line in lines if line and set(line) <= set("=-")} == {width}
    assert text.isascii()


def test_each_arm_has_a_row_with_its_own_numbers(results):
    rows = _rows(render_table(results), "gender fd_hard")
    assert list(rows) == ["vanilla", "guided", "random", "floor"]  # not the alphabet
    for arm in ALL:
        entry = results["arms"][arm]["gender"]["fd_hard"]
        bounds = f"[{entry['low']:.3f}, {entry['high']:.3f}]"
        near = entry["value"] <= 2 * entry["floor"]
        floor = f"({'at the floor' if near else 'not told from fair'}, <= {entry['high']:.3f})"
        assert f"{entry['value']:.3f} {floor if entry['at_floor'] else bounds}" in rows[arm]
    assert f"{results['arms']['guided']['gender']['fd_hard']['floor']:.3f}" in rows["floor"]


def test_a_header_stands_over_its_cells(results):
    lines = render_table(results).splitlines()
    header = next(line for line in lines if "man / woman" in line)
    guided = next(line for line in lines[lines.index(header) :] if line.startswith("guided"))
    assert guided[header.index("man / woman") :].startswith("0.50 / 0.50")
    header = next(line for line in lines if line.startswith("arm") and " N" in line)
    guided = next(line for line in lines[lines.index(header) :] if line.startswith("guided"))
    assert guided[header.index(" N") + 1 :].startswith("32")


def test_only_two_class_attributes_have_their_shares_in_the_table(results):
    text = render_table(results, 120)
    assert "man / woman" in text
    assert "child / adult" not in text


def test_fid_kid_turned_and_time(results):
    text, guided = render_table(results), results["arms"]["guided"]
    quality, kept = _rows(text, FRECHET)["guided"], _rows(text, "kept cosine")["guided"]
    frechet = guided["frechet_distance"]
    assert f"{frechet['value']:.3g} (floor {frechet['floor']:.3g})" in quality and "KID (emoji_clip, 8-d)" in text
    within = guided["within_modes"]["kid"]
    assert f"{within['value']:.3g}" in _rows(text, "KID within modes")["guided"]
    assert "CLIP score" not in text  # the example's encoder reads no text
    assert f"{guided['kept_cosine']['value']:.3f}" in kept
    assert f"{guided['turned']['precision_ratio']['value']:.3f}" in _rows(text, "precision of switched")["guided"]
    assert _rows(text, "s / image")["guided"].split()[-2:] == ["0.21", "1.05"]


def test_states_n_level_unit_and_what_the_floors_are(results):
    text = " ".join(render_table(results).split())
    assert "N = 32 images per arm" in text
    assert "95% intervals over batches" in text
    other = " ".join(render_table({**results, "level": 0.9}).split())
    assert "90% intervals over batches" in other and "95% intervals" not in other
    assert "floor of these for guided, random: the vanilla arm against the same reference" in text
    assert "floor of these for vanilla: half of the reference against the other half" in text


def test_says_who_judged_and_what_is_told_apart(results):
    text = " ".join(render_table(results).split())
    assert "how often it is wrong was not measured (evaluate.labelled=FOLDER measures it)" in text
    assert "guided against vanilla, by fd: gender no detectable difference; tone no detectable difference" in text
    results = copy.deepcopy(results)
    results["judge"]["error"] = {
        "gender": {"counts": [[9, 1], [0, 10]], "accuracy": 0.95, "n": 20, "source": "drawings"}
    }
    results["arms"]["guided"]["corrected"] = {"gender": {"man": {"value": 0.5, "low": 0.4, "high": 0.6}}}
    results["verdicts"]["guided"]["gender"] = "fairer"
    text = " ".join(render_table(results).split())
    assert "wrong in gender 0.050 (N = 20); drawings." in text
    results["judge"]["error"]["gender"]["source"] = "labelled folder `faces`"
    results["judge"]["error"]["tone"] = {"accuracy": 0.998, "n": 2635, "source": "stated by the judge: fresh views"}
    text = " ".join(render_table(results).split())
    said = "wrong in gender 0.050 (N = 20, labelled folder `faces`), tone 0.002 (N = 2635, stated); stated by the judge: fresh"
    assert said in text
    assert "0.50 [0.40, 0.60]" in _rows(render_table(results), "man, corrected")["guided"]
    assert "by fd: gender fairer" in text


def test_edits_that_were_left_out_are_said_and_none_are_not(results):
    skipped = copy.deepcopy(results) | {"skipped_edits": {"vanilla": 0, "guided": 2, "random": 1}}
    for text in (" ".join(render_table(skipped).split()), markdown_table(skipped)):
        assert "guided: 2 edits were left out, because a gradient was not finite." in text
        assert "random: 1 edit was left out" in text and "vanilla: 0" not in text
    assert "left out" not in render_table(results | {"skipped_edits": {"guided": 0}})


def test_one_batch_has_no_interval():
    text = " ".join(render_table(example_results(("guided",), n=8)).split())
    assert "guided: no intervals, 1 batch of 8; generate.n_images=16 generate.batch_size=8 gives two." in text
    assert "[low, high]" not in text


def test_an_arm_of_one_batch_is_named_with_the_way_out_beside_one_that_has_intervals():
    results = example_results(n=8)
    text = " ".join(render_table(results).split())
    assert "[low, high]" in text and "guided: no intervals, 1 batch of 8; generate.n_images=16" in text
    assert "vanilla: no intervals" not in text
    both = " ".join(render_table(example_results(ALL, n=8)).split())
    assert "guided, random: no intervals, 1 batch of 8" in both
    assert "guided against vanilla, by fd: gender, tone, age, modes: cannot be told (one batch)." in text
    results["dependence"] = {"guided": "run"}  # one memory: no number of images gives a second
    said = "guided: no intervals, since its batches depend on each other; -m generate.seed="
    assert said in " ".join(render_table(results).split())


def test_a_value_far_above_its_floor_is_not_called_at_the_floor(results):
    results = copy.deepcopy(results)
    entry = results["arms"]["guided"]["gender"]["fd_hard"]
    entry |= {"value": 0.398, "low": 0.0, "high": 0.612, "floor": 0.199, "at_floor": True}
    assert "0.398 (at the floor, <= 0.612)" in _rows(render_table(results), "gender fd_hard")["guided"]
    entry["floor"] = 0.099
    text = render_table(results)
    assert "0.398 (not told from fair, <= 0.612)" in _rows(text, "gender fd_hard")["guided"]
    assert "at most 2 times the floor; not told from fair" in " ".join(text.split())


def test_a_clip_score_at_its_lower_bound_is_not_shown(results):
    results = copy.deepcopy(results)
    for arm, at_zero in zip(ALL, (31, 17, 16), strict=True):
        results["arms"][arm]["clip_score"] = {"value": 0.16, "low": 0.1, "high": 0.2, "n": 32, "at_zero": at_zero}
    text = render_table(results)
    rows = _rows(text, "CLIP score")
    assert "0.16" not in rows["vanilla"] + rows["guided"] and "0.16 [0.10, 0.20]" in rows["random"]
    assert all(f"n/a: {count} of 32 images at its lower bound of 0" in text for count in (31, 17))
    assert "CLIP score: 100 times the cosine" in text


def test_the_ratio_of_turned_images_says_of_how_many(results):
    ratio = results["arms"]["guided"]["turned"]["precision_ratio"]
    assert f"] (N = {ratio['n']})" in _rows(render_table(results), "precision of switched")["guided"]


def test_numbers_without_interval_have_one_note():
    text = " ".join(render_table(example_results()).split())
    assert (
        "Frechet distance, recall, Vendi score, KID within modes: no interval, since resampled sets hold copies" in text
    )


def test_nothing_is_said_of_what_is_not_shown(results):
    results = copy.deepcopy(results)
    results["sources"] = {arm: {"images": 32, "drawn_together": 32, "without_colour": 0} for arm in ALL}
    no_modes = {"value": None, "reason": "no modes are known"}
    for arm in results["arms"].values():
        arm |= dict.fromkeys(
            ("mode_fd", "turned", "kept_cosine", "psnr", "within_modes", "frechet_distance", "kid"), no_modes
        )
        arm |= dict.fromkeys(("quality", "paired_agreement", "composition"), no_modes)
        arm |= {key: {"value": None, "reason": "no reference"} for key in ("precision", "recall", "vendi", "cmmd")}
    text = " ".join(render_table(results).split())
    for title in ("kept cosine", "PSNR, dB", "precision of switched", "mode_fd", FRECHET, "KID within modes"):
        assert text.count(title) == 1, title  # where it is said that there is none
    assert "Only the modes are balanced" not in text and "floor of these" not in text
    marks = re.findall(r"(\[\d+\]) n/a: .*?(\(not shown|$|\[\d+\] n/a)", text)
    assert all(shown or text.count(mark) > 1 for mark, shown in marks)


def test_blocks_of_one_table_are_apart(results):
    lines = render_table(results).splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith("arm ")]
    assert len(heads) > 3
    assert all(not lines[i - 1] or lines[i - 1].isupper() for i in heads)


def test_an_intersection_is_as_wrong_as_its_parts(results):
    results = copy.deepcopy(results)
    for arm in results["arms"].values():
        arm["shares"]["gender x tone"], arm["gender x tone"] = arm["shares"]["tone"], arm["tone"]
    results["prompts"]["attributes"].append("gender x tone")
    results["judge"]["error"] = {"gender": {"accuracy": 0.95, "n": 20, "source": "drawings"}}
    assert "gender x tone: as often wrong as the parts together" in " ".join(render_table(results).split())


def test_a_null_is_n_a_with_its_reason_once(results):
    results = copy.deepcopy(results)
    for arm in ("guided", "random"):
        results["arms"][arm]["frechet_distance"] = {"value": None, "reason": "N is not above d", "floor": None}
    results["arms"]["guided"]["kid"] = {"value": float("nan")}
    del results["arms"]["guided"]["mode_fd"]
    results["cost"]["seconds_per_image"]["vanilla"] = {"value": None, "reason": "no clock"}
    text = render_table(results)
    assert "nan" not in text.lower()
    assert text.count("n/a: N is not above d") == 1
    mark = re.search(r"(\[\d+\]) n/a: N is not above d", text).group(1)
    assert all(f"n/a {mark}" in _rows(text, FRECHET)[arm] for arm in ("guided", "random"))
    assert "n/a: mode_fd was not computed" in text
    assert "n/a: no clock" in text
    assert max(map(len, text.splitlines())) == 80


def test_what_no_arm_has_is_no_column_but_is_named_with_the_reason(results):
    results = copy.deepcopy(results)
    for arm in ALL:
        results["arms"][arm]["recall"] = {"value": None, "reason": "there is no reference"}
    text = " ".join(render_table(results).split())
    assert "n/a: there is no reference (not shown: recall)" in text
    assert (
        "recall" not in markdown_table(results).split("n/a: there is no reference")[0].split("Frechet distance, KID")[0]
    )


def test_a_vanilla_arm_says_why_it_has_no_twin():
    text = render_table(example_results(("vanilla",)))
    assert "n/a: vanilla images have no other vanilla twin" in text
    assert "each image against its vanilla twin" not in text


def test_foreign_text_moves_no_cursor_and_keeps_the_width():
    results = example_results(prompt="\x1b[31m医生 的 表情符号 " * 6 + "\n" + "x" * 200)
    results["arms"]["a very long name of an arm, chosen by a study"] = results["arms"].pop("guided")
    text = render_table(results)
    assert "\x1b" not in text
    assert max(map(columns_of, text.splitlines())) == 80


def test_refuses_a_width_in_which_nothing_fits(results):
    with pytest.raises(ValueError, match=r"`width` must be at least 40, got 39\."):
        render_table(results, 39)


def test_markdown_rows_have_as_many_cells_as_their_header(results):
    results = copy.deepcopy(results)
    results["arms"]["vanilla"]["kid"] = {"value": None, "reason": "a | b <i>"}
    text = markdown_table(results)
    tables = [[line for line in part.splitlines() if line.startswith("|")] for part in text.split("###")]
    for table in filter(None, tables):
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {table[0].count("|")}
        named = [line.split()[1].strip(",") for line in table[2:]]
        assert named[:3] == list(ALL) or list(dict.fromkeys(named)) == list(ALL[1:])
    assert "a \\| b \\<i\\>" in text


def test_attributes_are_those_of_the_prompts_and_no_other_key_of_an_arm():
    results = example_results()
    assert attributes_of(results) == results["prompts"]["attributes"]
    assert "not computed" not in markdown_table(results)


def test_arms_that_were_drawn_by_other_numbers_of_processes_have_no_ratio_of_costs(results):
    apart = {**results, "cost": {**results["cost"], "processes": {"vanilla": 1, "guided": 2}}}
    assert "drawn by another number of processes" in render_table(apart)
    assert _rows(render_table(apart), "ratio")["guided"].split("|")[-1].split()[-1] != "1.05"
