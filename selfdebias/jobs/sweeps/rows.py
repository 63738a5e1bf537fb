"""The rows of a sweep's table: one for each job or pooled group of jobs, and arm, and one for the vanilla arm that all share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from selfdebias.config.rules import refuse
from selfdebias.jobs.sweeps.finished import SweptJob
from selfdebias.jobs.sweeps.pooling import pool_jobs
from selfdebias.report.feature_words import frechet_key
from selfdebias.report.measures import Measure, arms_of, clip_score, images_of, measure

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Jobs that are one row: one job, or several that differ in what is pooled.

    Attributes:
        values: swept keys with their values, without those that are pooled.
        jobs: all of them; the numbers are of those that have some.
        results: what `results.json` of one job holds, over all jobs with numbers; None where no job has any.
    """

    values: dict[str, str]
    jobs: list[SweptJob]
    results: Results | None

    @property
    def measured(self) -> list[SweptJob]:
        """The jobs that have numbers."""
        return [job for job in self.jobs if job.folder]

    @property
    def hashes(self) -> list[str]:
        """The config hashes of these, which their folders are called after."""
        return [job.folder.name for job in self.jobs if job.folder]

    @property
    def state(self) -> str:
        """How far its jobs came: a state, or how many of them are in the numbers."""
        states = dict.fromkeys(job.state for job in self.jobs)
        if len(states) == 1:
            return next(iter(states))
        return f"{len(self.measured)} of {len(self.jobs)}"

    @cached_property
    def vanilla_stages(self) -> frozenset[str]:
        """The stages that drew its vanilla images."""
        records = [json.loads((job.folder / "job.json").read_text()) for job in self.measured if job.folder]
        return frozenset(
            path for record in records for name, path in record["stages"].items() if name.split("/")[-1] == "vanilla"
        )


@dataclass(frozen=True)
class Row:
    """One row: an arm of a group.

    Attributes:
        group: whose numbers it shows.
        arm: the arm; "" in a group without numbers.
        shared: whether it is the vanilla arm that all groups share.
        same: the other groups that share it.
    """

    group: Group
    arm: str
    shared: bool = False
    same: list[Group] = field(default_factory=list)

    @property
    def is_baseline(self) -> bool:
        """Whether it is the arm that the others are held against."""
        return self.arm == baseline_of(self.group.results or {})

    def measure(self, name: str) -> Measure:
        """The number called `name`, such as gender.fd_hard or kid, with what belongs to it."""
        found = _measure(self.group, self.arm, name)
        if any(_differ(found, _measure(group, self.arm, name)) for group in self.same):
            return Measure(reason="is not the same in all jobs")
        return found

    def vanilla(self, name: str) -> Measure:
        """The same number of the arm that it is held against."""
        return _measure(self.group, baseline_of(self.group.results or {}), name)

    @property
    def images(self) -> str:
        """Number of images of the arm, in a job with a list of prompts by prompt."""
        results = self.group.results
        if results is None:
            return ""
        ones = ones_of(results)
        counts = sorted({images_of(one, self.arm) or 0 for one in ones if self.arm in one["arms"]})
        return f"{len(ones)} x {'/'.join(map(str, counts))}" if "rows" in results else "/".join(map(str, counts))


def grouped(jobs: Sequence[SweptJob], pooled: Sequence[str]) -> list[Group]:
    """Puts together the jobs that differ in the keys `pooled` alone, and measures them.

    Raises:
        ConfigError: If jobs to be pooled share images, or differ in more.
    """
    found: dict[tuple[tuple[str, str], ...], list[SweptJob]] = {}
    for job in jobs:
        values = {key: value for key, value in job.values.items() if key not in pooled}
        found.setdefault(tuple(values.items()), []).append(job)
    return [Group(dict(values), own, _results(own, pooled)) for values, own in found.items()]


def rows_of(groups: Sequence[Group]) -> list[Row]:
    """The rows in their order: the vanilla arm first where all groups share one, then the arms of each group."""
    known = [group for group in groups if group.results is not None]
    shared = shared_vanilla(groups)
    rows = [Row(known[0], baseline_of(known[0].results or {}), True, known[1:])] if shared else []
    for group in groups:
        arms = arms_in(group.results) if group.results is not None else [""]
        baseline = baseline_of(group.results or {})
        others = [arm for arm in arms if arm != baseline]
        rows += [Row(group, arm) for arm in others or arms]
    return rows


def shared_vanilla(groups: Sequence[Group]) -> bool:
    """Whether the groups with numbers were drawn beside the same vanilla images."""
    known = [group for group in groups if group.results is not None]
    return bool(known) and bool(known[0].vanilla_stages) and len({group.vanilla_stages for group in known}) == 1


def ones_of(results: Results) -> list[Results]:
    """The results of each prompt, of one or of a list of them."""
    return list(results["rows"].values()) if "rows" in results else [results]


def arms_in(results: Results) -> list[str]:
    """The arms of a job, also of one with a list of prompts: vanilla first, then guided, then the others."""
    return arms_of({"arms": {arm: {} for one in ones_of(results) for arm in one["arms"]}})


def attributes_in(results: Results) -> list[str]:
    """The attributes that are reported."""
    return list(results["prompts"]["attributes"])


def baseline_of(results: Results) -> str:
    """The arm that the others are held against."""
    return str(results.get("baseline") or "vanilla")


def share_of(results: Results) -> tuple[str, str] | None:
    """The first attribute and its first class, where it has two classes."""
    attribute = attributes_in(results)[0]
    classes = ones_of(results)[0].get("judge", {}).get("classes", {}).get(attribute, [])
    return (attribute, classes[0]) if len(classes) == 2 else None


def _results(jobs: Sequence[SweptJob], pooled: Sequence[str]) -> Results | None:
    measured = [job for job in jobs if job.folder]
    folders = [job.folder for job in measured if job.folder]
    if not measured:
        return None
    if len(measured) == 1:
        return json.loads((folders[0] / "results.json").read_text())
    try:
        return pool_jobs(folders, measured[0].root)
    except ValueError as error:
        words = f"keys that change the seed of the images alone, as generate.seed does ({' '.join(str(error).split())})"
        raise refuse("table.pool", words, list(pooled)) from None


def _differ(one: Measure, other: Measure) -> bool:
    return (one.value, one.low, one.high) != (other.value, other.low, other.high)


def _measure(group: Group, arm: str, name: str) -> Measure:
    results = group.results
    if results is None:
        return Measure(reason=group.state)
    tree = results["over_prompts"].get(arm, {}) if "rows" in results else results["arms"].get(arm, {})
    if name == "share":
        attribute, first = share_of(results) or ("", "")
        return measure(tree, attribute, "share") if "rows" in results else measure(tree, "shares", attribute, first)
    if name == "clip_score":
        return clip_score(tree)
    if name in ("fid", "frechet_distance"):  # one number, `fid` of any features in results of before
        return measure(tree, frechet_key(tree))
    return measure(tree, *(("turned", name) if name == "precision_ratio" else name.split(".")))
