"""`hydra/sweeper=search`: looks for the values of a sweep's keys by Optuna, in place of trying all of them.

Hydra imports this module at each start of any of its applications, so Optuna and `selfdebias` are imported once a search begins. It
does so before the module has a name in `sys.modules`, so annotations of the dataclass cannot be texts.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

JOURNAL = "search.journal"


@dataclass
class SearchConfig:
    """The options of `hydra/sweeper=search`.

    Attributes:
        objectives: one or two numbers of a job's guided arm: `mode_fd`, `psnr`, or of an attribute, `gender.fd_hard`.
        n_trials: jobs in all, with those of earlier runs of the same command, >= 1.
        n_jobs: jobs that are handed to the launcher at once, >= 1.
        seed: of the sampler.
        startup: trials at random before the sampler learns from them, >= 1.
        params: swept keys, as on the command line, which wins over them.
    """

    _target_: str = "hydra_plugins.selfdebias_search.sweeper.SearchSweeper"
    objectives: list[str] = field(default_factory=lambda: ["mode_fd", "psnr"])
    n_trials: int = 20
    n_jobs: int = 1
    seed: int = 0
    startup: int = 10
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="search", node=SearchConfig, provider="selfdebias")


class SearchSweeper(Sweeper):
    """Proposes the jobs of a sweep one batch after the other, by Optuna's tree-structured Parzen estimator.

    The study is a journal file in the sweep's folder. The same command goes on with it: trials that are finished are kept, one
    that was running when its process died is run again under its own number.

    Args: see `SearchConfig`.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        n_trials: int,
        n_jobs: int,
        seed: int,
        startup: int,
        params: Mapping[str, str] | None,
    ) -> None:
        self.objectives, self.n_trials, self.n_jobs = list(objectives), n_trials, n_jobs
        self.seed, self.startup, self.params = seed, startup, dict(params or {})
        self.launcher: Launcher | None = None
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """See `hydra.plugins.sweeper.Sweeper`."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Runs trials until `n_trials` of them are finished.

        Args:
            arguments: The command line: `key=a,b`, `key=range(1, 5)`, `key=interval(0, 1)`, `key=tag(log, interval(0.1, 10))` are
                searched, any other override is the same for each trial.
        """
        assert self.config is not None and self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        space, fixed = search_space(parser.parse_overrides([*(f"{k}={v}" for k, v in self.params.items()), *arguments]))
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        study = self._study(folder)
        for trials in _batches(study, space, self.n_trials, self.n_jobs):
            self._run(study, trials, fixed)

    def _study(self, folder: Path) -> "Study":
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        from selfdebias.jobs.sweeps.objectives import direction

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        directions: Any = [direction(name) for name in self.objectives]
        study = optuna.create_study(
            study_name="search",
            storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
            directions=directions,
            load_if_exists=True,
        )
        seed = self.seed + len(
            study.get_trials(deepcopy=False)
        )  # or a search that goes on would propose the first values again
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup)
        return study

    def _run(self, study: "Study", trials: "Sequence[FrozenTrial]", fixed: Sequence[str]) -> None:
        """Runs trials, whose numbers become those of the sweep's jobs, and tells the study what they found."""
        from optuna.trial import TrialState

        from selfdebias.jobs.sweeps.record import SweepFolder

        assert self.launcher is not None and self.config is not None
        sweep = SweepFolder(Path(self.config.hydra.sweep.dir))
        jobs = {it.number: [*fixed, *(f"{key}={_text(value)}" for key, value in it.params.items())] for it in trials}
        for number, overrides in jobs.items():
            sweep.add(number, overrides)
        for several in _consecutive(trials):
            found = self.launcher.launch([jobs[it.number] for it in several], initial_job_idx=several[0].number)
            for trial, job in zip(several, found, strict=True):
                values = [float(value) for value in job.return_value]
                if any(math.isnan(value) for value in values):
                    study.tell(trial.number, state=TrialState.FAIL)
                else:
                    study.tell(trial.number, values)


def search_space(overrides: Sequence[Override]) -> "tuple[dict[str, BaseDistribution], list[str]]":
    """What is searched, and the overrides that are the same for each trial."""
    last = {override.get_key_element(): override for override in overrides}  # the command line comes after `params`
    space = {key: _distribution(override) for key, override in last.items() if override.is_sweep_override()}
    fixed = [f"{key}={it.get_value_element_as_str()}" for key, it in last.items() if not it.is_sweep_override()]
    return space, fixed


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep: Any = override.value()
    is_interval, log = isinstance(sweep, IntervalSweep), "log" in sweep.tags
    if is_interval:
        kind = IntDistribution if isinstance(sweep.start, int) and isinstance(sweep.end, int) else FloatDistribution
        return kind(sweep.start, sweep.end, log=log)
    values: list[Any] = list(override.sweep_iterator(transformer=Transformer.str))
    if isinstance(sweep, RangeSweep) and not sweep.shuffle:
        numbers: list[Any] = list(override.sweep_iterator())
        if all(isinstance(number, int) for number in numbers):
            return IntDistribution(numbers[0], numbers[-1], step=int(sweep.step))
    return CategoricalDistribution(values)


def _batches(
    study: "Study", space: "dict[str, BaseDistribution]", n_trials: int, n_jobs: int
) -> "Iterator[list[FrozenTrial]]":
    """The trials to run: first those that a run which died has left, then new ones."""
    from optuna.trial import TrialState

    def left(states: tuple[TrialState, ...]) -> "list[FrozenTrial]":
        return study.get_trials(deepcopy=False, states=states)

    stale = left((TrialState.RUNNING,))
    for first in range(0, len(stale), n_jobs):
        yield stale[first : first + n_jobs]
    while (more := n_trials - len(left((TrialState.COMPLETE, TrialState.FAIL)))) > 0:
        asked = [study.ask(space).number for _ in range(min(n_jobs, more))]
        yield [trial for trial in left((TrialState.RUNNING,)) if trial.number in asked]


def _consecutive(trials: "Sequence[FrozenTrial]") -> "list[list[FrozenTrial]]":
    """The trials in groups of consecutive numbers, since a launcher counts its jobs on from the first one's."""
    groups: list[list[FrozenTrial]] = []
    for trial in trials:
        if groups and trial.number == groups[-1][-1].number + 1:
            groups[-1].append(trial)
        else:
            groups.append([trial])
    return groups


def _text(value: Any) -> str:
    """A value as an override has it; of a float four digits, which say enough of what was searched.

    Example:
        >>> _text(2.673375196167579), _text("spectral")
        ('2.673', 'spectral')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)
