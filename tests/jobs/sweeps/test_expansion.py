"""A command line is expanded into jobs as Hydra would, also where an experiment says what it sweeps over."""

from __future__ import annotations

import pytest

from selfdebias.config.compose import load, load_sweep
from selfdebias.config.rules import ConfigError
from selfdebias.main import main

SWEEP = """\
# @package _global_
generate: {n_images: 64}
hydra: {sweeper: {params: {guidance.strength: "3,6", generate.seed: "range(1,3)"}}}
"""


@pytest.fixture
def conf(stand_ins, tmp_path):
    """A folder of experiments: `ablation/strength`, which is a sweep, and `plain`, which is not."""
    folder = tmp_path / "conf" / "experiment"
    (folder / "ablation").mkdir(parents=True)
    (folder / "ablation" / "strength.yaml").write_text(SWEEP)
    (folder / "plain.yaml").write_text("# @package _global_\ngenerate: {n_images: 32}")
    return folder


def jobs_of(*overrides):
    return [job.overrides for job in load_sweep(overrides)]


def test_an_experiment_says_what_it_sweeps_over(conf):
    jobs = load_sweep(["experiment=ablation/strength"])
    said = [(job.config["guidance"]["strength"], job.config["generate"]["seed"]) for job in jobs]
    assert said == [(3, 1), (3, 2), (6, 1), (6, 2)]
    assert {job.config["generate"]["n_images"] for job in jobs} == {64}
    assert all(load(job.overrides) == job.config for job in jobs)


def test_the_command_line_wins_over_the_experiment(conf):
    experiment = "experiment=ablation/strength"
    assert jobs_of(experiment, "guidance.strength=9") == [
        ["guidance.strength=9", f"generate.seed={seed}", experiment] for seed in (1, 2)
    ]
    seeds = {job.config["generate"]["seed"] for job in load_sweep([experiment, "generate.seed=7,8,9"])}
    assert seeds == {7, 8, 9}


def test_several_experiments_are_swept_over_but_none_that_is_a_sweep_itself(conf):
    (conf / "other.yaml").write_text("# @package _global_\ngenerate: {n_images: 16}")
    assert jobs_of("generate.seed=5", "experiment=plain,other") == [
        ["generate.seed=5", "experiment=plain"],
        ["generate.seed=5", "experiment=other"],
    ]
    with pytest.raises(ConfigError, match="a sweep over guidance.strength: start it with -m, by itself"):
        load_sweep(["generate.seed=5", "experiment=plain,ablation/strength"])


def test_of_a_key_that_a_study_gives_twice_the_later_value_holds_and_a_command_line_may_not(conf, capsys):
    assert jobs_of("guidance.strength=1,2", "generate.seed=1,2", "guidance.strength=3") == [
        ["guidance.strength=3", "generate.seed=1"],
        ["guidance.strength=3", "generate.seed=2"],
    ]
    assert main(["-m", "guidance.strength=1,2", "generate.seed=1,2", "guidance.strength=3"]) == 2
    assert "`guidance.strength` must be given once, got `guidance.strength=1,2` and `guid" in capsys.readouterr().err


def test_settings_of_hydra_are_no_part_of_a_job(conf):
    assert jobs_of("guidance.strength=1,2", "hydra/launcher=basic", "hydra.verbose=false") == [
        ["guidance.strength=1"],
        ["guidance.strength=2"],
    ]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["guidance.strength=interval(1, 2)"], "`guidance.strength` must name its values in a sweep"),
        (["experiment=ablation/none"], "`experiment` must be one of plain, ablation/strength, got ablation/none"),
    ],
)
def test_what_cannot_be_expanded_is_refused(conf, overrides, words):
    with pytest.raises(ConfigError) as error:
        load_sweep(overrides)
    assert words in str(error.value)


def test_an_experiment_that_is_a_sweep_is_refused_as_one_job(conf):
    with pytest.raises(ConfigError, match="is a sweep over guidance.strength, generate.seed: start it with -m"):
        load(["experiment=ablation/strength"])
    with pytest.raises(ConfigError, match="is a sweep over generate.seed: start it with -m"):
        load(["experiment=ablation/strength", "guidance.strength=3"])
    assert load(["experiment=ablation/strength", "guidance.strength=3", "generate.seed=1"])["generate"]["seed"] == 1


@pytest.mark.manners
@pytest.mark.parametrize("override", ["guidance=glob(foo*)", "generate.seed=range(3,3)", "guidance.strength=glob(*)"])
def test_a_sweep_of_no_job_is_one_line(stand_ins, capsys, tmp_path, override):
    assert main(["-m", override, f"paths.root={tmp_path / 'runs'}"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("selfdebias: `-m` has no job") and err.count("\n") == 1 and out == ""
    assert stand_ins == [] and not (tmp_path / "runs").exists()
