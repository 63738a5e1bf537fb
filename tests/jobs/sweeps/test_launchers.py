"""Launchers: presets for Slurm compose and build, and what cannot be launched is refused in one line."""

from __future__ import annotations

import os
import time

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hydra.utils import instantiate

from selfdebias.config.rules import ConfigError
from selfdebias.config.sources import Sources, conf_folder
from selfdebias.jobs.sweeps import launchers
from selfdebias.jobs.sweeps.launchers import check_launcher, share_cores
from selfdebias.main import main

PRESETS = sorted(file.stem for file in (conf_folder() / "hydra" / "launcher").glob("*.yaml"))


LOCAL = "hydra/launcher=submitit_local"


@pytest.fixture
def no_slurm(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster that takes no job."""
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "srun"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho 'invalid partition specified' >&2; exit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)


def composed(*overrides):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return GlobalHydra.instance().hydra.compose_config(
            "config", list(overrides), RunMode.MULTIRUN, from_shell=False
        )


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_builds_the_plugins_launcher(name):
    launcher = instantiate(composed(f"hydra/launcher={name}", "hydra.sweep.dir=somewhere").hydra.launcher)
    assert type(launcher).__name__ == "SlurmLauncher"
    assert launcher.params["submitit_folder"] == "somewhere/.submitit/%j"
    assert (launcher.params["nodes"], launcher.params["tasks_per_node"]) == (1, 1)
    assert launcher.params["timeout_min"] > 60  # the plugin's own hour ends a job of a sweep


def test_one_preset_has_one_gpu_a_job_and_the_other_several():
    found = {name: composed(f"hydra/launcher={name}").hydra.launcher.gpus_per_node for name in PRESETS}
    assert found == {"slurm_gpu": 1, "slurm_gpus": 4}


def test_a_value_of_a_preset_can_be_changed():
    launcher = composed("hydra/launcher=slurm_gpu", "hydra.launcher.partition=big").hydra.launcher
    assert (launcher.partition, launcher.gpus_per_node) == ("big", 1)


@pytest.mark.slurm
@pytest.mark.skipif(not os.environ.get("SLURM_CONF"), reason="needs a Slurm cluster: sbatch, and SLURM_CONF to find it")
def test_two_jobs_on_a_cluster(tmp_path):
    arguments = ["generate.seed=1,2", "stages=[collect]", "collect.n_images=16", f"paths.root={tmp_path}"]
    assert main(["-m", "hydra/launcher=submitit_slurm", *arguments]) == 0


@pytest.mark.manners
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["hydra/launcher=slurm"],
            "must be one of basic, joblib, slurm_gpu, slurm_gpus, submitit_local, submitit_slurm, got slurm",
        ),
        (["hydra/launcher=basic,submitit_local"], "`hydra/launcher` must be one value"),
        (["--cfg", "hydra"], "`--cfg` must be job with -m, which lists the jobs of a sweep, got hydra"),
        (["hydra/launcher=slurm_gpu"], "`hydra/launcher` slurm_gpu needs `sbatch` on the PATH"),
        (["hydra/launcher=submitit_slurm"], "`hydra/launcher` submitit_slurm needs `sbatch` on the PATH"),
        ([LOCAL, "hydra.launcher.timeout=3"], "not an option. Did you mean `hydra.launcher.timeout_min`?"),
        (
            [LOCAL, "+hydra.launcher.bogus=3"],
            "`hydra.launcher.bogus` is not an option. hydra/launcher submitit_local has",
        ),
        (
            ["hydra.launcher.timeout_min=3"],
            "`hydra.launcher.timeout_min` is not an option. hydra/launcher basic has none",
        ),
        (["hydra.job.nam=3"], "`hydra.job.nam` is not an option. Did you mean `hydra.job.name`?"),
        ([LOCAL, "hydra.launcher.timeout_min=soon"], "Value 'soon' of type 'str' could not be converted to Integer"),
        ([LOCAL, "hydra.launcher.timeout_min=3,4"], "`hydra.launcher.timeout_min` must be one value"),
        (["hydra.sweep.dir=elsewhere"], "`hydra.sweep.dir` cannot be set: `paths.root` says where results go"),
        (["hydra/sweeper=bayes"], "`hydra/sweeper` must be one of basic, search, got bayes"),
        (
            ["hydra/sweeper=search", "hydra.sweeper.objectives=[fid]"],
            "`hydra.sweeper.objectives` must be one or two of",
        ),
        (
            ["hydra/sweeper=search", "hydra.sweeper.n_jobs=0"],
            "`hydra.sweeper.n_jobs` must be a whole number of at least 1",
        ),
        (["hydra/sweeper=search", "hydra.sweeper.n_trials=0"], "`hydra.sweeper.n_trials` must be a whole number"),
        (
            ["hydra/sweeper=search", "hydra.sweeper.objectives=[]"],
            "`hydra.sweeper.objectives` must be one or two numbers",
        ),
        (["hydra/sweeper=search", "guidance.strength=interval(6,1)"], "`guidance.strength` must be an interval from a"),
        (["hydra/sweeper=search", "guidance.strength=tag(log,interval(0,1))"], "above 0 with tag(log, ...)"),
        (["hydra/sweeper=search", "guidance.strength=tag(log,range(1,9))"], "must be an interval with tag(log, ...)"),
        (["hydra/sweeper=search", "hydra.sweeper.trials=3"], "Did you mean `hydra.sweeper.n_trials`?"),
        (["paths.root=a,b"], "`paths.root` must be one folder in a sweep, got ['a', 'b']"),
        (["stages=[table]", "table.root=runs"], "`stages` must be other than [table] with -m"),
        (["table.fairness=gendr.fd_hard"], "`table.fairness` must be null or one of gender.fd_hard"),
        (["table.quality=fid"], "`table.quality` must be one of kept_cosine, precision_ratio, kid, clip_score"),
    ],
)
def test_what_a_sweep_cannot_do_is_one_line(stand_ins, no_slurm, capsys, tmp_path, arguments, words):
    assert main(["-m", "generate.seed=1,2", *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
    assert stand_ins == [] and not (tmp_path / "runs").exists()


@pytest.mark.manners
@pytest.mark.parametrize(
    ("setting", "extra"),
    [
        *((f"hydra/launcher={name}", "slurm") for name in ("submitit_local", "submitit_slurm", *PRESETS)),
        ("hydra/launcher=joblib", "joblib"),
        ("hydra/sweeper=search", "search"),
    ],
)
def test_what_needs_an_extra_says_what_to_install(monkeypatch, setting, extra):
    monkeypatch.setattr(launchers, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"needs an extra: pip install 'selfdebias\[{extra}\]'"):
        check_launcher([setting], Sources())
    check_launcher([], Sources())


@pytest.mark.manners
@pytest.mark.parametrize(
    "setting", [LOCAL, "hydra/launcher=slurm_gpu", "hydra.launcher.timeout_min=3", "hydra/sweeper=search"]
)
def test_launchers_are_refused_for_a_single_job(stand_ins, capsys, tmp_path, setting):
    assert main([setting]) == 2
    key = setting.partition("=")[0]
    assert capsys.readouterr().err == f"selfdebias: `{key}` is for sweeps: start one with -m.\n"
    assert stand_ins == [] and not (tmp_path / "runs").exists()


def test_where_the_cluster_takes_no_job_nothing_is_waited_for(stand_ins, slurm, capsys):
    start = time.monotonic()
    assert main(["-m", "generate.seed=1,2", "hydra/launcher=slurm_gpu", "hydra.launcher.partition=bigg"]) == 1
    assert time.monotonic() - start < 30  # half of the time in which a job may begin
    err = capsys.readouterr().err
    assert "selfdebias: slurm_gpu started no job: " in err and "invalid partition specified" in err


@pytest.mark.manners
def test_help_lists_all_launchers_that_there_are_and_the_keys_of_the_presets(capsys):
    assert main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    with pytest.raises(ConfigError) as refused:
        check_launcher(["hydra/launcher=other"], Sources())
    assert str(refused.value).partition("one of ")[2].partition(", got")[0] in text
    assert all(key in text for key in ("partition, account", "timeout_min", "gpus_per_node"))


def test_jobs_of_several_processes_run_where_each_has_its_own_place(stand_ins, slurm, capsys):
    arguments = ["-m", "trainer=ddp", "trainer.devices=2", "generate.seed=1,2"]
    assert main([*arguments, "hydra/launcher=submitit_slurm"]) == 1  # checked, and handed to a cluster that takes none
    assert main(arguments) == 2
    assert "`trainer.devices` must be 1 in a sweep" in capsys.readouterr().err


def test_processes_of_one_computer_share_its_cores_unless_threads_are_set(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # which is set back afterwards
    monkeypatch.delenv("OMP_NUM_THREADS")
    share_cores(4)
    assert os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    share_cores(4)
    assert os.environ["OMP_NUM_THREADS"] == "5"
