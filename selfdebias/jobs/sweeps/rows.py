"""The rows of a sweep's table: one for each job or pooled group of jobs, and arm, and one for the vanilla arm that all share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from selfdebias.config.rules import refuse
from selfdebias.jobs.sweeps.finished import SweptJob
from selfdebias.jobs.sweeps.pooling import pool_jobs
from selfdebias.metrics.number import Number, number_at
from selfdebias.report.feature_words import frechet_key
from selfdebias.report.measures import arms_of, clip_score, images_of

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
    def folders(self) -> list[Path]:
        """The folders of the jobs that have numbers; each is called after its config hash."""
        return [job.folder for job in self.jobs if job.folder]

    @property
    def state(self) -> str:
        """How far its jobs came: a state, or how many of them are in the numbers."""
        first, *others = dict.fromkeys(job.state for job in self.jobs)
        return f"{len(self.folders)} of {len(self.jobs)}" if others else first

    @property
    def baseline(self) -> str:
        """The arm that the others are held against."""
        return str((self.results or {}).get("baseline") or "vanilla")

    @cached_property
    def vanilla_stages(self) -> frozenset[str]:
        """The stages that drew its vanilla images."""
        stages = [json.loads((folder / "job.json").read_text())["stages"] for folder in self.folders]
        return frozenset(path for own in stages for name, path in own.items() if name.split("/")[-1] == "vanilla")

    def measure(self, arm: str, name: str) -> Number:
        """The number of an arm that is called `name`, such as gender.fd_hard or kid, with what belongs to it."""
        results = self.results
        if results is None:
            return Number(reason=self.state)
        tree = results["over_prompts"].get(arm, {}) if "rows" in results else results["arms"].get(arm, {})
        if name == "share":
            attribute, first = share_of(results) or ("", "")
            return (
                number_at(tree, attribute, "share")
                if "rows" in results
                else number_at(tree, "shares", attribute, first)
            )
        if name == "clip_score":
            return clip_score(tree)
        if name in ("fid", "frechet_distance"):  # one number, `fid` of any features in earlier results
            return number_at(tree, frechet_key(tree))
        return number_at(tree, *(("turned", name) if name == "precision_ratio" else name.split(".")))


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
        return self.arm == self.group.baseline

    def measure(self, name: str) -> Number:
        """The number called `name`, such as gender.fd_hard or kid, with what belongs to it."""
        found, *others = (group.measure(self.arm, name) for group in (self.group, *self.same))
        if any((it.value, it.low, it.high) != (found.value, found.low, found.high) for it in others):
            return Number(reason="is not the same in all jobs")
        return found

    def vanilla(self, name: str) -> Number:
        """The same number of the arm that it is held against."""
        return self.group.measure(self.group.baseline, name)

    @property
    def images(self) -> str:
        """Number of images of the arm, in a job with a list of prompts by prompt."""
        results = self.group.results
        if results is None:
            return ""
        ones = ones_of(results)
        counts = sorted({images_of(one, self.arm) or 0 for one in ones if self.arm in one["arms"]})
        return (f"{len(ones)} x " if "rows" in results else "") + "/".join(map(str, counts))


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


def _results(jobs: Sequence[SweptJob], pooled: Sequence[str]) -> Results | None:
    folders = [job.folder for job in jobs if job.folder]
    if len(folders) < 2:
        return json.loads((folders[0] / "results.json").read_text()) if folders else None
    try:
        return pool_jobs(folders, jobs[0].root)
    except ValueError as error:
        words = f"keys that change the seed of the images alone, as generate.seed does ({' '.join(str(error).split())})"
        raise refuse("table.pool", words, list(pooled)) from None


def rows_of(groups: Sequence[Group]) -> list[Row]:
    """The rows in their order: the vanilla arm first where all groups share one, then the arms of each group."""
    rows = []
    if shared_vanilla(groups):
        first, *others = (group for group in groups if group.results is not None)
        rows.append(Row(first, first.baseline, True, others))
    for group in groups:
        arms = arms_in(group.results) if group.results is not None else [""]
        compared = [arm for arm in arms if arm != group.baseline]
        rows += [Row(group, arm) for arm in compared or arms]
    return rows


def shared_vanilla(groups: Sequence[Group]) -> bool:
    """Whether the groups with numbers were drawn beside the same vanilla images."""
    stages = {group.vanilla_stages for group in groups if group.results is not None}
    return len(stages) == 1 and stages != {frozenset()}


def ones_of(results: Results) -> list[Results]:
    """The results of each prompt, of one or of a list of them."""
    return list(results["rows"].values()) if "rows" in results else [results]


def arms_in(results: Results) -> list[str]:
    """The arms of a job, also of one with a list of prompts: vanilla first, then guided, then the others."""
    return arms_of({"arms": {arm: {} for one in ones_of(results) for arm in one["arms"]}})


def attributes_in(results: Results) -> list[str]:
    """The attributes that are reported."""
    return list(results["prompts"]["attributes"])


def share_of(results: Results) -> tuple[str, str] | None:
    """The first attribute and its first class, where it has two classes."""
    attribute = attributes_in(results)[0]
    classes = ones_of(results)[0].get("judge", {}).get("classes", {}).get(attribute, [])
    return (attribute, classes[0]) if len(classes) == 2 else None
