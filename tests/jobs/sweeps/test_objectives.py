"""A search's table names its best trials, with what they were sought by, and says so where that took labels."""

from __future__ import annotations

import numpy as np
import pytest

from selfdebias.config.rules import ConfigError
from selfdebias.jobs.sweeps.objectives import best_of, check_measured, value_of, values_of_job
from selfdebias.jobs.sweeps.pooling import Group
from selfdebias.jobs.sweeps.record import DONE, FAILED, JobState
from selfdebias.main import main
from selfdebias.storage.atomic import write_json
from tests.jobs.sweeps.world import read, write_sweep

STRENGTHS = {3.0: 0.65, 6.0: 0.5, 9.0: 0.9}  # share of men by strength
ENDS = [["guidance.strength=3"], ["guidance.strength=9"]]  # of what is searched


def write_search(root, *objectives):
    """Writes a search of four trials: the last one failed."""
    sweep = write_sweep(root / "runs", STRENGTHS, seeds=(1,))
    (sweep.path / "sweep.json").unlink()
    sweep.start("selfdebias -m hydra/sweeper=search", ENDS, objectives)
    for num, strength in enumerate([*STRENGTHS, 1.0]):
        sweep.add(num, [f"guidance.strength={strength}"])
    sweep.write_state(3, JobState(FAILED, code=1, error="out of memory"))
    return sweep


def table_of(sweep, capsys):
    assert main(["stages=[table]", f"table.root={sweep.path}"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("names", [["mode_fd"], ["mode_fd", "psnr"], ["kid", "gender.fd_hard"]])
def test_the_best_are_what_a_naive_comparison_of_all_pairs_leaves(names):
    signs = [-1 if name == "psnr" else 1 for name in names]
    trials = np.random.default_rng(0).integers(0, 6, (40, len(names))).astype(float)
    costs = trials * signs
    naive = [i for i, own in enumerate(costs) if not any((it <= own).all() and (it < own).any() for it in costs)]
    assert sorted(best_of(trials.tolist(), names)) == naive
    assert best_of([[float("nan")] * len(names)], names) == []


def test_the_best_trials_stand_in_the_table_with_their_values(tmp_path, capsys):
    sweep = write_search(tmp_path, "mode_fd", "kept_cosine")
    text = table_of(sweep, capsys)
    found = [values_of_job(sweep.root / "jobs" / f"h{num}", ["mode_fd", "kept_cosine"]) for num in range(3)]
    best = best_of(found, ["mode_fd", "kept_cosine"])
    lines = [line.split() for line in text[text.index("BEST TRIALS") :].splitlines()[2:]]
    for place, line in zip(best, lines, strict=False):
        assert line[:2] == ["job", str(place)] and line[2] == str([*STRENGTHS][place])
        assert [float(it) for it in line[3:]] == pytest.approx(found[place], rel=1e-3)
    assert lines[len(best)] == ["-" * 80] and 1 in best
    words = " ".join(text.split())
    assert "beats in mode_fd (lower is better) and kept_cosine (higher is better), of 3 jobs with numbers" in words
    assert "with labels" not in words and "job 3 (strength=1.0): failed: out of memory" in words
    assert "### Best trials" in (sweep.path / "table.md").read_text()


def test_the_plot_shows_the_two_objectives_of_a_search(tmp_path, capsys):
    sweep = write_search(tmp_path, "recall", "mode_fd")
    table_of(sweep, capsys)
    assert "![mode_fd against recall](pareto.png)" in (sweep.path / "table.md").read_text()
    assert "Plot of recall (x) and mode_fd (y)" in (sweep.path / "index.html").read_text()


def test_a_trial_that_lacks_an_objective_is_named_with_it(tmp_path, capsys):
    sweep = write_search(tmp_path, "mode_fd", "kept_cosine")
    file = sweep.root / "jobs" / "h0" / "results.json"
    results = read(file)
    del results["arms"]["guided"]["mode_fd"]
    write_json(file, results)
    text = " ".join(table_of(sweep, capsys).split())
    assert "a failed trial: job 0: mode_fd was not measured" in text and text.count("a failed trial: ") == 1


def test_settings_that_a_judge_chose_are_called_so(tmp_path, capsys):
    text = " ".join(table_of(write_search(tmp_path, "gender.fd_hard", "psnr"), capsys).split())
    assert "settings chosen with labels: the judge, which was trained on labels, measures gender.fd_hard." in text


def test_a_search_may_try_the_same_values_twice(tmp_path, capsys):
    sweep = write_search(tmp_path, "gender.fd_hard")
    sweep.add(3, ["guidance.strength=6.0"])
    sweep.write_state(3, JobState(DONE, job="jobs/h1"))
    text = table_of(sweep, capsys)
    assert text[text.index("BEST TRIALS") :].splitlines()[2].startswith("job 1  6.0")
    assert [row["config_hashes"] for row in read(sweep.path / "results.json")["rows"]] == [["h0"], ["h1"], ["h2"]]


def test_the_record_of_a_search_keeps_its_trials_and_what_it_is_for(tmp_path):
    sweep = write_search(tmp_path, "mode_fd", "psnr")
    sweep.start("again", ENDS, ["mode_fd", "psnr"])
    record = sweep.read()
    assert len(record["jobs"]) == 4 and record["objectives"] == ["mode_fd", "psnr"]


def test_where_there_are_axes_the_distance_of_the_modes_is_the_mean_of_theirs(tmp_path):
    axes = [{"fd": {"value": 0.2}}, {"fd": {"value": 0.1}}]
    arm = {"mode_fd": {"value": None, "reason": "there are axes"}, "axes": axes}
    write_json(tmp_path / "results.json", {"arms": {"guided": arm}})
    assert values_of_job(tmp_path, ["mode_fd"]) == [pytest.approx(0.15)]
    results = {"arms": {"guided": arm}, "prompts": {"attributes": ["gender"]}}
    assert Group({}, [], results).measure("guided", "mode_fd").value == pytest.approx(
        0.15
    )  # what the plot of a search shows


def test_axes_that_are_left_alone_are_not_in_the_distance_of_the_modes(tmp_path):
    arm = {"axes": [{"fd": {"value": it}} for it in (0.3, 0.2, 0.1)]}
    results = {"arms": {"guided": arm}, "modes": {"balanced": [2]}, "prompts": {"attributes": ["gender"]}}
    write_json(tmp_path / "results.json", results)
    assert values_of_job(tmp_path, ["mode_fd"]) == [0.1]
    assert Group({}, [], results).measure("guided", "mode_fd").value == 0.1


MANY, ONE = {"subjects": ["a cook"], "attributes": ["gender"]}, {"text": "", "attributes": ["gender"]}


@pytest.mark.parametrize(
    ("prompts", "name", "words"),
    [
        (ONE, "race.fd_hard", "of a reported attribute (prompts.attributes: gender), got 'race.fd_hard'"),
        (MANY, "mode_fd", "with a list of prompts, got 'mode_fd'"),
        (MANY, "psnr", "kept_cosine, <attribute>.fd_hard or <attribute>.deviation_ratio with a list of prompts"),
        (MANY, "gender.fd_soft", "with a list of prompts, got 'gender.fd_soft'"),
    ],
)
def test_what_no_job_measures_is_refused_before_the_first_one(prompts, name, words):
    with pytest.raises(ConfigError) as error:
        check_measured(["kept_cosine", name], {"prompts": prompts})
    assert words in str(error.value) and str(error.value).startswith("`hydra.sweeper.objectives` must be")


def test_what_the_jobs_measure_is_taken():
    check_measured(["mode_fd", "gender.fd_soft"], {"prompts": ONE})
    check_measured(["kept_cosine", "gender.deviation_ratio"], {"prompts": MANY})


def test_the_frechet_distance_in_the_features_of_inception_is_found_under_its_name():
    assert value_of({"fid": {"value": 12.5}}, "frechet_distance") == 12.5
    assert value_of({"frechet_distance": {"value": 0.5}, "fid": {"value": 12.5}}, "frechet_distance") == 0.5
