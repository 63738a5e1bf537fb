"""The end of a job: it fits a terminal of 80 x 30, says what a person wants to know, and its numbers are those of results.json."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

from selfdebias.metrics.number import Number
from selfdebias.report.bars import ASCII, BLOCKS, BarRow, bar, bar_lines, captions_of, cell, signs_of
from selfdebias.report.ending import LINES, WIDTH, height, render_end, render_unmeasured
from selfdebias.report.ending_of_prompts import render_end as render_end_of_prompts
from selfdebias.report.next_step import next_step
from selfdebias.report.verdict import verdict
from selfdebias.report.wording import columns_of
from tests.report.example import example_modes, example_results
from tests.report.test_axes_page import entry
from tests.report.test_axes_page import results as axes_results
from tests.report.test_prompts import job_of

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
ALL = ("vanilla", "guided", "random")
PLACES = {"picture": "runs/jobs/0123456789abcdef/first.png", "report": "runs/jobs/0123456789abcdef/report.html"}
CONFIG = {"guidance": {"strength": 6.0, "decay": 1.0}, "collect": {"n_images": 48}}
SQUARE = "a very long prompt of many words " * 9
FOUND = {
    "words": [
        [{"caption": "an emoji of a man"}, {"caption": "an emoji of a singer"}],
        [{"caption": "an emoji of a woman"}],
    ]
}


def end(results, found=FOUND, config=CONFIG, places=PLACES, signs=ASCII) -> list[str]:
    return render_end(results, found, config, places, signs).splitlines()


def line_of(lines: list[str], start: str) -> str:
    return next(line for line in lines if line.startswith(start))


def many_axes(count: int) -> dict:
    """Results of `count` axes, with every kind of note that an end may have."""
    found = axes_results()
    found["modes"] = {"k": 2 * count, "sizes": [30, 10] * count, "axes": [{}] * count, "target": [0.5] * 2 * count}
    for arm in found["arms"].values():
        arm["mode_shares"] = {str(side): entry(0.75 if side % 2 == 0 else 0.25) for side in range(2 * count)}
        arm["unclassified"] = {"gender": entry(0.4)}
    found["verdicts"] = {"guided": {"gender": "fairer", **{f"axis {a}": "not told apart" for a in range(count)}}}
    found["skipped_edits"] = {"guided": 3}
    found["skipped"] = {"guided": {"n": 9, "files": [{"file": f"{i}.png", "reason": "is empty"} for i in range(9)]}}
    return found


ENDS = {
    "quickstart": lambda: example_results(),
    "control": lambda: example_results(ALL),
    "vanilla": lambda: example_results(("vanilla",)),
    "one batch": lambda: example_results(n=8),
    "seven arms": lambda: example_results((*ALL, "a", "b", "c", "d")),
    "long prompt": lambda: example_results(prompt=SQUARE),
    "wide prompt": lambda: example_results(prompt="医生 的 表情符号 " * 12),
    "four axes": lambda: many_axes(4),
    "many axes": lambda: many_axes(30),
}


@pytest.mark.parametrize("signs", [ASCII, BLOCKS], ids=["ascii", "blocks"])
@pytest.mark.parametrize("kind", ENDS)
def test_an_end_fits_and_says_where_all_else_is(kind, signs):
    lines = end(ENDS[kind](), signs=signs)
    assert len(lines) <= LINES and max(map(columns_of, lines)) <= WIDTH
    assert f"picture: {PLACES['picture']}" in lines and line_of(lines, "report: ").startswith(
        f"report: {PLACES['report']}"
    )
    assert lines[-1].startswith(("next: ", "  ")) and sum(line.startswith("next: ") for line in lines) == 1
    assert line_of(lines, "share of ") and line_of(lines, "man ")


def test_paths_are_never_cut_and_count_as_the_lines_that_they_take():
    places = {name: "/tmp/" + "x" * 200 + path for name, path in PLACES.items()}
    lines = end(many_axes(8), places=places)
    assert f"report: {places['report']}" in lines and sum(map(height, lines)) <= LINES


def test_its_numbers_are_those_of_the_results():
    results = example_results(ALL)
    lines = end(results)
    for mode in (0, 1):
        shown = re.findall(r"(\d+)%", line_of(lines, f"mode {mode} "))
        wanted = [round(100 * results["arms"][arm]["mode_shares"][str(mode)]["value"]) for arm in ALL]
        assert [int(it) for it in shown] == [*wanted, 50]
    men = [round(100 * results["arms"][arm]["shares"]["gender"]["man"]["value"]) for arm in ALL]
    assert [int(it) for it in re.findall(r"(\d+)%", line_of(lines, "man "))] == [*men, 50]
    kept, vendi = line_of(lines, "kept").split(), line_of(lines, "variety").split()
    assert kept[1:4] == ["n/a", *(f"{results['arms'][arm]['kept_cosine']['value']:.2f}" for arm in ALL[1:])]
    assert vendi[1:4] == [f"{results['arms'][arm]['vendi']['value']:.2f}" for arm in ALL]
    ratio = results["arms"]["guided"]["turned"]["precision_ratio"]["value"]
    assert line_of(lines, "switched ").split()[2] == f"{ratio:.2f}"
    assert verdict(results).sentence in " ".join(lines).replace("   ", " ").replace("  ", " ")
    assert "guided 0.21 s an image, 1.05 x vanilla's time" in line_of(lines, "cost: ")


def test_an_interval_stands_beside_a_number_where_one_arm_is_compared():
    results = example_results()
    kept = results["arms"]["guided"]["kept_cosine"]
    assert f"{kept['value']:.2f} [{kept['low']:.2f}, {kept['high']:.2f}]" in line_of(end(results), "kept")


def test_each_of_three_numbers_of_quality_says_what_is_good():
    for names in (ALL, ("vanilla",)):
        lines = end(example_results(names))
        start = lines.index(line_of(lines, "quality "))
        words = [line.split()[0] for line in lines[start + 1 : start + 4]]
        assert words == (["switched", "kept", "variety"] if names == ALL else ["variety", "realism", "coverage"])
        assert all(re.search(r"(is best|is as|better)", line) for line in lines[start + 1 : start + 4])
        assert not lines[start + 4].startswith(("realism", "coverage", "distance"))


def test_what_a_number_of_quality_says_is_never_cut():
    fits = json.loads((RESULTS / "person_encoders.json").read_text())
    lines = end(fits["captions, axes: transport, fit 1"])
    start = lines.index(line_of(lines, "quality "))
    assert all(
        re.search(r"1 is (best|as good as vanilla|as in vanilla)$", line) for line in lines[start + 1 : start + 4]
    )
    assert line_of(lines, "Men ") == "Men 76% -> 51%, target 50%; 326 of 640 images changed their side of an axis;"
    assert lines[lines.index(line_of(lines, "Men ")) + 1] == "  less even: age."
    assert re.findall(r"(\d+)%", line_of(lines, "man ")) == ["76", "51", "50"]


def test_captions_stand_beside_their_modes_without_what_all_share():
    lines = end(example_results())
    assert line_of(lines, "mode 0").endswith("man, singer") and line_of(lines, "mode 1").endswith("woman")
    assert captions_of([[{"caption": "an emoji of a man"}], []]) == [["emoji of a man"], []]  # one shares nothing


def test_an_axis_is_the_share_of_its_smaller_side_with_captions_of_both():
    lines = end(axes_results(), {"words": [*FOUND["words"], [], []]})
    assert re.findall(r"(\d+)%", line_of(lines, "axis 0")) == ["25", "25", "50"]
    assert line_of(lines, "axis 0").endswith("woman / man, singer") and not any(it.startswith("mode ") for it in lines)
    alone = axes_results()
    alone["modes"]["balanced"] = [1]
    assert re.findall(r"(\d+)%", line_of(end(alone), "axis 0")) == ["25", "25"]  # left alone: no target


def test_captions_are_told_apart_where_most_begin_alike():
    words = [["an emoji of a person with curly hair", "a day at the beach"], ["an emoji of an office worker"]]
    found = captions_of([[{"caption": text} for text in each] for each in words])
    assert found == [["person with curly hair", "day at the beach"], ["office worker"]]
    sides = BarRow("axis 0", {"x": Number(0.5)}, 0.5, ["person with curly hair"], ["singer", "woman"])
    (_, line) = bar_lines("share of", [sides], ["x"], ASCII, width=59)
    assert line.endswith(" person with c... / singer")  # the shorter side is whole


def test_modes_for_which_there_is_no_room_are_counted():
    lines = end(many_axes(30))
    shown = [line for line in lines if line.startswith("axis ")]
    (more,) = [line for line in lines if "more axes, in table.md" in line]
    assert int(re.search(r"\d+", more)[0]) + len(shown) == 30


def test_a_judge_or_an_oracle_and_what_cannot_be_told_are_said():
    results = example_results(n=8)
    results["modes"] |= {"classes": ["man", "woman"]}
    results["told"], results["judge"]["circular"] = {"guided": "the attribute, by labels"}, True
    text = " ".join(" ".join(end(results)).split())
    assert "Told: the modes are classes of the judge, man / woman." in text and "circular" in text
    assert "Told: guided was told the attribute, by labels." in text and "mode 0" not in text
    assert "cannot be told in gender, tone, age, modes" in text


def test_a_number_that_there_is_not_is_n_a():
    results = copy.deepcopy(example_results())
    for arm in results["arms"].values():
        arm["mode_shares"]["0"] = {"value": None, "reason": "no image"}
        arm["turned"] = {"value": None, "reason": "no modes"}
    results["cost"] = {"ratio": {"value": None, "reason": "nothing was sampled"}}
    lines = end(results)
    assert line_of(lines, "mode 0").count("n/a") == 2 and not any(it.startswith(("cost", "fit ")) for it in lines)
    assert len([it for it in lines if it.startswith(("kept", "variety", "realism"))]) == 3
    assert "nan" not in " ".join(lines).lower()


def test_time_is_not_compared_with_what_other_numbers_of_processes_drew():
    results = copy.deepcopy(example_results())
    assert "x vanilla's time" in line_of(end(results), "cost")
    results["cost"]["processes"] = {"vanilla": 1, "guided": 2, "random": 2}
    assert "x vanilla's time" not in " ".join(end(results)) and "s an image" in line_of(end(results), "cost")


def test_without_a_judge_or_modes_what_is_there_is_shown():
    results = copy.deepcopy(example_results())
    results["prompts"]["attributes"], results["modes"] = [], {"value": None, "reason": "no modes are known"}
    for arm in results["arms"].values():
        arm["shares"], arm["mode_shares"] = {}, {"value": None, "reason": "no modes"}
        arm["unclassified"] = {}
    results["verdicts"] = {}
    lines = end(results, found={})
    assert not any(line.startswith("share of") for line in lines) and line_of(lines, "quality ") and lines[-1]


def test_stages_that_measure_nothing_end_with_the_modes_or_with_the_folder():
    assert render_unmeasured({}, {"job": "runs/jobs/a"}) == "job: runs/jobs/a"
    reference = example_modes(
        type("Arm", (), {"modes": __import__("numpy").array([0] * 30 + [1] * 10), "ids": range(40)})
    )
    lines = render_unmeasured(reference, {"job": "runs/jobs/a"}).splitlines()
    assert "2 modes found on 40 images" in lines and line_of(lines, "mode 0").split()[2] == "75%"
    many = reference | {"sizes": [1] * 60, "words": [[]] * 60}
    assert len(render_unmeasured(many, {"job": "a"}).splitlines()) <= LINES


def test_a_list_of_prompts_ends_with_a_bar_for_each_and_the_mean(tmp_path):
    results = job_of(tmp_path, arms=ALL)
    lines = render_end_of_prompts(results, CONFIG, PLACES).splitlines()
    assert len(lines) <= LINES and max(map(columns_of, lines)) <= WIDTH
    for name in results["row_names"]:
        shares = [results["rows"][name]["arms"][arm]["shares"]["gender"]["man"]["value"] for arm in ALL]
        shown = re.findall(r"(\d+)%", line_of(lines, name[:13]))
        assert [int(it) for it in shown] == [*(round(100 * it) for it in shares), 50]
    mean = results["over_prompts"]["guided"]["gender"]["share"]["value"]
    assert re.findall(r"(\d+)%", line_of(lines, "mean"))[1] == str(round(100 * mean))
    text = " ".join(" ".join(lines).split())
    assert all(f"{arm}: {verdict(results, arm).sentence}" in text for arm in ALL[1:])
    assert f"picture: {PLACES['picture']}" in lines


def test_of_many_prompts_those_furthest_from_even_are_shown(tmp_path):
    names = [f"p{place:02d}" for place in range(36)]
    results = job_of(tmp_path, names, step=0)
    last = results["rows"]["p35"]["arms"]["guided"]["shares"]["gender"]["man"]
    last["value"] = 1.0
    lines = render_end_of_prompts(results, CONFIG, PLACES).splitlines()
    assert len(lines) <= LINES and line_of(lines, "p35") and "p34" not in " ".join(lines)
    shown = [line for line in lines if re.match(r"p\d\d ", line)]
    assert f"and {36 - len(shown)} prompts that are nearer to even, in table.md" in " ".join(lines)


def test_what_to_try_next_is_what_the_numbers_lack():
    many = example_results(n=128)
    many["verdicts"]["guided"]["modes"] = "fairer"
    assert "guidance.strength=3,6,12" in next_step(many, CONFIG)
    many["verdicts"]["guided"] |= {"modes": "not told apart", "gender": "fairer"}
    surer = next_step(many, CONFIG)  # 75% -> 50%
    assert "generate.n_images=512" in surer and "generate.seed=1,2,3" in surer and "strength" not in surer
    many["arms"]["guided"]["mode_fd"] = many["arms"]["vanilla"]["mode_fd"]
    assert next_step(many, CONFIG).endswith("guidance.strength=12")
    assert next_step(many, {"guidance": {"of": CONFIG["guidance"]}}).endswith("guidance.of.strength=12")
    assert "generate.n_images=128" in next_step(example_results(n=16), CONFIG)
    assert "collect.n_images=96" in next_step(many | {"modes": {"k": 1}}, CONFIG)
    assert "without guidance=none" in next_step(example_results(("vanilla",)), CONFIG)
    alone = json.loads(re.sub(r'"blocks": \d+', '"blocks": 1', json.dumps(many)))
    assert "generate.n_images=256 generate.batch_size=128" in next_step(alone, CONFIG)
    of_one_run = next_step(alone | {"dependence": {"vanilla": "image", "guided": "run"}}, CONFIG)
    assert of_one_run.endswith("-m generate.seed=1,2,3") and "n_images" not in of_one_run
    assert "seed=" not in next_step(many | {"dependence": {"guided": "run"}}, CONFIG)
    assert "evaluate.modes=" in next_step({"sources": {}, "arms": {"a": {}, "b": {}}}, CONFIG)


def test_axes_that_came_nearer_on_few_images_ask_for_more_images_and_never_for_strength():
    few = many_axes(4)
    pairs = [(0.36, 0.38), (0.23, 0.41), (0.47, 0.50), (0.47, 0.52)]  # shares of vanilla and guided images
    few["arms"] = {arm: copy.deepcopy(tree) for arm, tree in few["arms"].items()}
    for arm, place in (("vanilla", 0), ("guided", 1)):
        tree = few["arms"][arm]
        tree["axes"] = [{"fd": entry(2**0.5 * abs(shares[place] - 0.5))} for shares in pairs]
        tree["turned"] = {"n": 27, "share": {"value": 0.42, "n": 64}}
    few["verdicts"]["guided"]["gender"] = "not told apart"
    advice = next_step(few, CONFIG)
    assert "strength" not in advice and "generate.n_images=256" in advice and "nearer to the target" in advice
    few["arms"]["guided"]["axes"] = few["arms"]["vanilla"]["axes"]
    assert "guidance.strength=12" in next_step(few, CONFIG)


def test_a_trial_ends_with_what_its_numbers_are_worth_and_with_no_finding(tmp_path):
    one = render_end(many_axes(4), FOUND, CONFIG, PLACES, trial="debug=tiny").splitlines()
    several = render_end_of_prompts(job_of(tmp_path, arms=ALL), CONFIG, PLACES, trial="debug=tiny").splitlines()
    for lines in (one, several):
        text = " ".join(" ".join(lines).split())
        assert "debug=tiny checks that everything runs" in text and "the numbers mean nothing" in text
        assert "->" not in text and "fairer" not in text and "strength" not in text
        assert lines[-1] == "next: numbers that mean something: the same command without debug=tiny"
        assert len(lines) <= LINES and max(map(columns_of, lines)) <= WIDTH
    assert "mean nothing" not in " ".join(end(many_axes(4)))


@pytest.mark.parametrize("signs", [ASCII, BLOCKS], ids=["ascii", "blocks"])
def test_bars_are_right_at_their_ends(signs):
    full, empty, mark = signs
    assert bar(0.0, 0.5, signs) == empty * 4 + mark + empty * 4 and bar(1.0, 0.5, signs) == full * 4 + mark + full * 4
    assert bar(1e-6, None, signs) == full + empty * 7 and bar(1 - 1e-6, None, signs) == full * 7 + empty
    assert bar(0.0, 0.0, signs) == mark + empty * 8 and bar(1.0, 1.0, signs) == full * 8 + mark
    assert cell(Number(reason="none"), 0.5, signs).strip() == "n/a"
    assert [cell(Number(it), 0.5, None).strip() for it in (0.0, 1.0, 0.004, 0.996)] == ["0%", "100%", "<1%", ">99%"]
    rows = [BarRow("a", {"x": Number(share)}, 0.5) for share in (0.0, 0.004, 0.5, 1.0)] + [BarRow("a", {}, 0.5)]
    assert len({line.rindex("50%") for line in bar_lines("share of", rows, ["x"], signs)[1:]}) == 1  # all as wide


def test_a_terminal_without_blocks_gets_plain_signs():
    assert [signs_of(name) for name in ("latin-1", "ascii", "utf-8", "cp1252", "nonsense")] == [
        ASCII,
        ASCII,
        BLOCKS,
        ASCII,
        ASCII,
    ]
    assert render_end(example_results(), FOUND, CONFIG, PLACES).isascii()
