"""A search keeps its trials: a stopped one goes on, none is lost and none is run twice; a failed one has no values."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from selfdebias.main import main

COMMAND = [
    "-m", "hydra/sweeper=search", "hydra.sweeper.n_trials=6", "hydra.sweeper.startup=2", "logger=none", "stages=[collect]",
    "guidance.strength=interval(0.1,0.9)", "guidance.temperature=tag(log,interval(0.01,1))",
]  # fmt: skip


def trials() -> list[optuna.trial.FrozenTrial]:
    (journal,) = Path("runs").glob("sweeps/*/search.journal")
    study = optuna.load_study(study_name="search", storage=JournalStorage(JournalFileBackend(str(journal))))
    return study.get_trials()


@pytest.fixture
def measured(stand_ins, monkeypatch):
    """Sets what the jobs measure, one after the other; an exception is raised in place of it."""

    def set_values(*values) -> None:
        left = iter(values)

        def next_value(job, names):
            value = next(left, 0.5)
            if isinstance(value, BaseException):
                raise value
            return [value] * len(names)

        monkeypatch.setattr("selfdebias.jobs.task.values_of_job", next_value)

    return set_values


def test_a_stopped_search_runs_what_it_left_and_proposes_new_values(measured, capsys):
    measured(0.1, 0.2, KeyboardInterrupt())
    assert main(COMMAND) == 130
    before = trials()
    assert [it.state for it in before] == [TrialState.COMPLETE] * 2 + [TrialState.RUNNING]
    measured()
    assert main(COMMAND) == 0, capsys.readouterr().err
    after = trials()
    assert [it.number for it in after] == list(range(6)) and {it.state for it in after} == {TrialState.COMPLETE}
    assert [it.params for it in after[:3]] == [it.params for it in before] and after[0].values == [0.1, 0.1]
    assert len({tuple(it.params.values()) for it in after}) == 6
    capsys.readouterr()
    assert main(COMMAND) == 0 and "done in" not in capsys.readouterr().out.replace("collect: done in", "")
    assert len(trials()) == 6


def test_a_trial_without_a_value_failed_and_counts(measured):
    measured(0.1, math.nan)
    main(COMMAND)
    states = [it.state for it in trials()]
    assert states == [TrialState.COMPLETE, TrialState.FAIL] + [TrialState.COMPLETE] * 4


@pytest.mark.manners
def test_a_search_for_something_else_is_another_one(measured, capsys):
    measured()
    once = [*COMMAND, "hydra.sweeper.n_trials=1"]
    once.remove("hydra.sweeper.n_trials=6")
    assert main(once) == 0 and main([*once, "hydra.sweeper.objectives=[kid,kept_cosine]"]) == 0
    places = sorted(Path("runs").glob("sweeps/*/search.journal"))
    assert len(places) == 2
    assert main([*once, "hydra.sweeper.objectives=[race.fd_hard,psnr]"]) == 2
    assert "`hydra.sweeper.objectives` must be of a reported attribute" in capsys.readouterr().err
    assert sorted(Path("runs").glob("sweeps/*/search.journal")) == places
