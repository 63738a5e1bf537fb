"""The jobs that a table is made of: those of a sweep, or all of a root of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from selfdebias.config.keys import NOT_IN_KEY, as_keyed, digest
from selfdebias.config.rules import refuse, walk
from selfdebias.config.targets import OLD_NAMES
from selfdebias.jobs.sweeps.record import (
    DONE,
    FAILED,
    NOT_STARTED,
    RECORD,
    RUNNING,
    STOPPED,
    SweepFolder,
    values_of,
)

WHERE = ("paths", "trainer", "logger", "tags", "stages", "table", "report")  # sections that change no number
MEASURES = ("fd_hard", "fd_soft", "deviation_ratio")  # of each attribute; 0 is best
WHY = {
    NOT_STARTED: "not started",
    RUNNING: "still runs",
    STOPPED: "was interrupted; run the same command again to resume",
}


@dataclass(frozen=True)
class SweptJob:
    """One job of a table.

    Attributes:
        name: what it is called where it is not in the table: `job 3`, or its hash.
        values: the swept keys with its values, as text.
        state: how far it came, one of the states of `sweeps.record`.
        why: why it has no numbers; "" where it has some.
        folder: its folder; None where it has no numbers.
        root: the root of runs that its stages are in.
    """

    name: str
    values: dict[str, str]
    state: str
    why: str
    folder: Path | None
    root: Path


@dataclass(frozen=True)
class Source:
    """What a table is made of.

    Attributes:
        place: the folder that the table goes to.
        command: of the sweep; "" where the jobs were started one by one.
        keys: those in which the jobs differ, in their order.
        jobs: all of them, also those that are not done.
        objectives: names of the numbers that a search is for; none where all jobs were given.
    """

    place: Path
    command: str
    keys: list[str]
    jobs: list[SweptJob]
    objectives: Sequence[str] = ()


def read_source(folder: Path) -> Source:
    """Reads what is known of the jobs.

    Args:
        folder: That of a sweep, or a root of runs.

    Raises:
        ConfigError: If it is neither, or holds no job.
    """
    folder = Path(folder)
    if (folder / RECORD).exists():
        return _of_sweep(SweepFolder(folder.absolute()))
    configs = sorted(folder.glob("jobs/*/config.yaml"))
    if not configs:
        words = "the folder of a sweep, with sweep.json, or a root of runs, with jobs/<hash>/config.yaml"
        raise refuse("table.root", words, str(folder))
    return _of_root(folder, configs)


def _of_sweep(sweep: SweepFolder) -> Source:
    record = sweep.read()
    jobs = []
    for num, overrides in enumerate(record["jobs"]):
        values, state = values_of(overrides), sweep.state(num)
        own = {key: values.get(key, "").strip("'\"") for key in record["swept"]}
        job = sweep.root / state.job if state.state == DONE else None
        failed = f"failed: {state.error}"
        why = _lacks(job) if job else failed if state.state == FAILED else WHY[state.state]
        jobs.append(SweptJob(f"job {num}", own, state.state, why, None if why else job, sweep.root))
    return Source(sweep.path, record["command"], record["swept"], jobs, record.get("objectives", ()))


def _lacks(job: Path) -> str:
    """Why a finished job has no numbers; "" where it has some."""
    if not (job / "job.json").exists():
        return f"its folder {job} is not there any more"
    results = job / "results.json"
    if not results.exists():
        return "no stage of it evaluates"
    found = json.loads(results.read_text())
    return "" if "rows" in found or found.get("arms") else "its evaluation measured no arm"


def _of_root(root: Path, configs: Sequence[Path]) -> Source:
    configs = _newest(configs)
    keys, values = differing([_config(file) for file in configs])
    jobs = []
    for file, own in zip(configs, values, strict=True):
        job = file.parent
        why = (
            _lacks(job) if (job / "results.json").exists() else "no results: not finished, or no stage of it evaluates"
        )
        jobs.append(SweptJob(job.name, own, STOPPED if why else DONE, why, None if why else job, root))
    jobs.sort(key=lambda job: [_order(value) for value in job.values.values()])  # hashes have no order of their own
    return Source(root / "table", "", keys, jobs)


def _newest(files: Sequence[Path]) -> list[Path]:
    """Of jobs that differ in nothing that is measured (other pictures, stages, an earlier version) the one that evaluated last."""
    found: dict[str, Path] = {}
    for file in sorted(files, key=_evaluated_at):
        own = {group: as_keyed(group, it, OLD_NAMES) for group, it in _config(file).items() if group not in WHERE}
        found[digest(own)] = file
    return sorted(found.values())


def _config(file: Path) -> dict[str, Any]:
    """A job's configuration, in which folders of images that were given have the hash of what is in them beside their name."""
    config: dict[str, Any] = yaml.safe_load(file.read_text())
    results = file.with_name("results.json")
    sources = json.loads(results.read_text()).get("sources") if results.exists() else None
    if sources:
        named = {arm: f"{Path(it.get('path', arm)).name}@{str(it['sha256'])[:12]}" for arm, it in sources.items()}
        config["evaluate"] = {**config["evaluate"], "folders": named}
    return config


def _evaluated_at(config: Path) -> float:
    results = config.with_name("results.json")
    return results.stat().st_mtime if results.exists() else 0.0


def _order(value: str) -> tuple[bool, float, str]:
    """What a swept value is sorted by: numbers first, as numbers.

    Example:
        >>> sorted(["kmeans", "12", "3"], key=_order)
        ['3', '12', 'kmeans']
    """
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value


def differing(configs: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[dict[str, str]]]:
    """The keys in which configurations differ, and the values of each; of what a group's choice brings, its class alone.

    Args:
        configs: Resolved configurations.

    Example:
        >>> class_of = {"kmeans": {"_target_": "a.KMeans", "k": 2}, "gmm": {"_target_": "a.Gmm", "k": 3}}
        >>> differing([{"clustering": it, "seed": 1} for it in class_of.values()])
        (['clustering'], [{'clustering': 'KMeans'}, {'clustering': 'Gmm'}])
    """
    flat = [dict(walk({key: it for key, it in config.items() if key not in WHERE})) for config in configs]
    keys = [key for key in dict.fromkeys(key for own in flat for key in own) if key.split(".")[-1] not in NOT_IN_KEY]
    keys = [key for key in keys if len({str(own.get(key)) for own in flat}) > 1]
    classes = [key for key in keys if key.endswith("._target_")]
    keys = [key for key in keys if key in classes or not _follows(key, classes, flat)]

    def text(key: str, own: Mapping[str, Any]) -> str:
        value = str(own.get(key, ""))
        return value.rpartition(".")[2] if key in classes else value

    names = {key: key.removesuffix("._target_") for key in keys}
    return list(names.values()), [{name: text(key, own) for key, name in names.items()} for own in flat]


def _follows(key: str, classes: Sequence[str], flat: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a key's value, or its absence, follows from the class of its group."""
    for name in classes:
        if key.startswith(name.removesuffix("_target_")):
            pairs = {(own.get(name), str(own.get(key))) for own in flat}
            return len(pairs) == len({own.get(name) for own in flat})
    return False


def fairness_of(table: Mapping[str, Any], attributes: Sequence[str]) -> str:
    """The measure that `table.fairness` names: `<attribute>.<measure>` or `mode_fd`; by default that of the first attribute.

    Args:
        table: The section of the configuration.
        attributes: Those that the jobs report.

    Raises:
        ConfigError: If it is none of those that there are.

    Example:
        >>> fairness_of({"fairness": None}, ["gender", "tone"]), fairness_of({"fairness": "mode_fd"}, ["gender"])
        ('gender.fd_hard', 'mode_fd')
    """
    known = [*(f"{attribute}.{measure}" for attribute in attributes for measure in MEASURES), "mode_fd"]
    asked = table["fairness"] or known[0]
    if asked not in known:
        raise refuse("table.fairness", f"null or one of {', '.join(known)}", asked)
    return asked
