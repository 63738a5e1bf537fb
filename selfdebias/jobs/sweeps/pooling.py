"""Finished jobs that differ in the generate seed, measured as if they were one with more images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from selfdebias.config.rules import refuse
from selfdebias.jobs.prompts import BANK
from selfdebias.jobs.sweeps.finished import SweptJob
from selfdebias.jobs.sweeps.objectives import MODE_FD, balanced_axes, value_of
from selfdebias.jobs.sweeps.pooled_facts import costs_of, seeds_of
from selfdebias.metrics import MetricSuite
from selfdebias.metrics.arms import ArmData, load_arm, pool
from selfdebias.metrics.comparison import GUIDED
from selfdebias.metrics.features import assign_modes as place_in_modes
from selfdebias.metrics.number import Number, missing, number_at
from selfdebias.metrics.prompts import over_prompts
from selfdebias.metrics.spaces import EXTRACTOR
from selfdebias.metrics.summary import summarise
from selfdebias.modes.placement import AxisSides
from selfdebias.report.measures import clip_score, frechet_key

Results = Mapping[str, Any]
Beside = Mapping[str, Sequence[Path]]  # jobs whose guided images are further arms, by the name that they get


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
        """The folders of the jobs that have numbers, each once; it is called after its config hash."""
        return list(dict.fromkeys(job.folder for job in self.jobs if job.folder))

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
        """The number of an arm called `name`, such as gender.fd_hard or kid; of axes `mode_fd` is the mean of those balanced."""
        results = self.results
        if results is None:
            return Number(reason=self.state)
        tree = results["over_prompts"].get(arm, {}) if "rows" in results else results["arms"].get(arm, {})
        if name.startswith("shares."):
            _, attribute, of_class = name.split(".", 2)
            found = number_at(tree, *((attribute, "share") if "rows" in results else ("shares", attribute, of_class)))
            return found if found.more.get("class") in (of_class, None) else missing(f"no mean of {of_class}")
        if name == "clip_score":
            return clip_score(tree)
        if name == MODE_FD and tree.get("axes"):
            mean = value_of(tree, name, balanced_axes(results))
            return missing("an axis has no image") if np.isnan(mean) else Number(mean)
        if name in ("fid", "frechet_distance"):  # one number, `fid` of any features in earlier results
            return number_at(tree, frechet_key(tree))
        return number_at(tree, *(("turned", name) if name == "precision_ratio" else name.split(".")))


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
    folders = list(dict.fromkeys(job.folder for job in jobs if job.folder))  # a search may try the same values twice
    if len(folders) < 2:
        return json.loads((folders[0] / "results.json").read_text()) if folders else None
    try:
        return pool_jobs(folders, jobs[0].root)
    except (FileNotFoundError, ValueError) as error:
        seed = "keys that change the seed of the images alone, as generate.seed does"
        rule = "[] until what is gone was made again" if isinstance(error, FileNotFoundError) else seed
        raise refuse("table.pool", f"{rule} ({' '.join(str(error).split())})", list(pooled)) from None


def pool_jobs(jobs: Sequence[Path], root: Path, reference: Path | None = None, beside: Beside | None = None) -> Results:
    """Measures the arms of jobs pooled, by the same choices as each job's own evaluation.

    Args:
        jobs: Folders of finished jobs with the same arms and prompts, in the order in which they are pooled.
        root: The root of runs that their stages are in.
        reference: A finished job with the same rows, whose reference images take the place of theirs; None for their own.
        beside: Finished jobs of the same seeds and rows, by a name for their guided images, which are placed in the modes of `jobs`
            and have differences from vanilla and from the guided arm; all verdicts are corrected for together.

    Returns:
        What `results.json` of one job holds, over all of them: blocks are batches, and no batch spans two jobs.

    Raises:
        ValueError: If the jobs share images, or differ in judge or arms.
    """
    every = [json.loads((job / "results.json").read_text()) for job in jobs]
    config = yaml.safe_load((jobs[0] / "config.yaml").read_text())
    if "rows" not in every[0]:
        return _pool_row("", jobs, root, every, config, reference, beside or {})
    names = every[0].get("row_names", list(every[0]["rows"]))
    rows = {}
    for row in names:
        rows[row] = _pool_row(
            row, jobs, root, [results["rows"][row] for results in every], config, reference, beside or {}
        )
    return {**every[0], "seeds": seeds_of(every), "rows": rows, "row_names": names, "over_prompts": over_prompts(rows)}


def pooled_arms(
    jobs: Sequence[Path], root: Path, names: Sequence[str], row: str = ""
) -> tuple[dict[str, ArmData], ArmData]:
    """Pools each arm over jobs.

    Args:
        jobs: Folders of finished jobs.
        root: The root of runs that their stages are in.
        names: The arms.
        row: Name of the row, "" in jobs of one prompt.

    Returns:
        The arms by name, and the reference: that of the first job, or of all where these do not share it.
    """
    evaluated = [stages_of(job, root, row)["evaluate"] for job in jobs]
    arms = {name: pool([load_arm(folder, name) for folder in evaluated]) for name in names}
    return arms, _shared_arm(evaluated, "reference")


def _shared_arm(evaluated: Sequence[Path], name: str) -> ArmData:
    """Images that jobs share: those of the first one, or of all where they do not."""
    found = [load_arm(folder, name) for folder in evaluated]
    return found[0] if all(np.array_equal(found[0].seeds, other.seeds) for other in found) else pool(found)


def stages_of(job: Path, root: Path, row: str = "") -> dict[str, Path]:
    """The folders of a job's stages by their names in a row; those that all rows share are among them."""
    stages = json.loads((job / "job.json").read_text())["stages"]
    left_out = (row, BANK) if row else ()  # of the name of a row's stage, to have that of a job of one prompt
    found = {}
    for name, path in stages.items():
        parts = name.split("/")
        if not row or parts[1:2] in ([row], [BANK]):
            found["/".join(part for part in parts if part not in left_out)] = Path(root) / path
    return found


def _pool_row(
    row: str, jobs: Sequence[Path], root: Path, every: Sequence[Results], config: Results, other: Path | None, beside: Beside
) -> Results:  # fmt: skip
    """What `summarise` says of the pooled arms of one row, and the means of what the jobs cost."""
    first, evaluate = every[0], config["evaluate"]
    if "sources" in first:
        raise ValueError("`evaluate.folders` must be null in jobs that are pooled.")
    arms, reference = pooled_arms(jobs, root, list(first["arms"]), row)
    stages = stages_of(jobs[0], root, row)
    for name, own in beside.items():
        arms[name] = replace(_placed(pooled_arms(own, root, [GUIDED], row)[0][GUIDED], stages), arm=name)
    evaluated = [stages_of(job, root, row)["evaluate"] for job in jobs]
    apart = all((folder / "probabilities-collected.safetensors").exists() for folder in evaluated)
    collected = _shared_arm(evaluated, "collected") if apart else reference
    if other is not None:
        reference = _placed(load_arm(stages_of(other, root, row)["evaluate"], "reference"), stages)
    choices = {key: value for key, value in config["metrics"].items() if key not in ("_target_", "features")}
    compared_by = {EXTRACTOR: first["features"]} if first.get("features") else {}  # as earlier jobs say it
    results = summarise(
        arms, reference, _modes(jobs, root, row, first["modes"]), first["prompts"], MetricSuite(**choices),
        evaluate["bootstrap"], evaluate["seed"], judge=first["judge"], seeds=seeds_of(every), collected=collected,
        spaces=first.get("spaces") or compared_by,
    )  # fmt: skip
    edits = [it.get("skipped_edits", {}) for it in every]
    skipped = {arm: sum(it.get(arm, 0) for it in edits) for arm in edits[0]}
    copied = {str(key): first[key] for key in ("dependence",) if key in first}
    return {**results, **copied, "skipped_edits": skipped, "cost": costs_of(every)}


def _placed(arm: ArmData, stages: Mapping[str, Path]) -> ArmData:
    """Images of another job, in the modes that these stages found."""
    from selfdebias.jobs.stages.looking import read_centers  # here, since what it needs is slow to come

    return replace(arm, modes=place_in_modes(arm.e, read_centers(stages["discover"]) if "discover" in stages else None))


def _modes(jobs: Sequence[Path], root: Path, row: str, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """The modes that all jobs have, with the target that was asked for; None where each has its own."""
    found = [stages_of(job, root, row).get("discover") for job in jobs]
    if len(set(found)) > 1 or found[0] is None or said.get("target") is None:
        return None
    modes = json.loads((found[0] / "modes.json").read_text())
    modes |= {name: said[name] for name in ("target", "balanced") if name in said}
    return {**modes, "places": AxisSides.read(found[0]) if "axes" in modes else None}


def ones_of(results: Results) -> list[Results]:
    """The results of each prompt, of one or of a list of them."""
    return list(results["rows"].values()) if "rows" in results else [results]


def share_of(results: Results) -> tuple[str, str] | None:
    """The first attribute and its first class, where it has two classes."""
    attribute = results["prompts"]["attributes"][0]
    classes = ones_of(results)[0].get("judge", {}).get("classes", {}).get(attribute, [])
    return (attribute, classes[0]) if len(classes) == 2 else None
