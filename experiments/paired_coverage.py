"""Do the 95% intervals of paired differences cover? An arm against vanilla, and two guided arms against each other.

A unit of the population is a seed with its vanilla image and those of two fits of the default; a planted share weighs units by the
gender of the first arm's image. Each repeat draws N units anew and asks whether the interval holds the weighted population's value.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.coverage import BATCH, DRAWS, SHARES, Population, cells
from experiments.pooled import ROOT, run_jobs, write_study
from selfdebias.jobs.stages.looking import read_centers
from selfdebias.jobs.sweeps.pooling import pooled_arms, stages_of
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.comparison import kept
from selfdebias.metrics.differences import difference, shares_apart
from selfdebias.metrics.fairness import fd_hard
from selfdebias.metrics.features import assign_modes, cosines
from selfdebias.metrics.intervals import BlockBootstrap, block_sums
from selfdebias.metrics.number import Number
from selfdebias.metrics.shares import mean_draws

Array = NDArray[np.float64]
SEEDS = (711, 712, 713, 714, 715)
FITS = (0, 1)  # of two guided arms
SIZES = (384, 640)
REPEATS = 2000
BOOTSTRAP = BlockBootstrap(300)
KINDS = {"an arm and vanilla": (0, 2), "two guided arms": (0, 1)}  # numbers of the arms
MEASURES = ("fd_hard", "kept_cosine", "mode_fd")
ENOUGH = 0.92  # mean over the planted shares


@dataclass(frozen=True)
class Arms:
    """The images of two guided arms and of vanilla, row by row from one seed, in the modes of the first arm's fit."""

    arms: tuple[ArmData, ArmData, ArmData]

    @cached_property
    def men(self) -> NDArray[np.bool_]:
        """Which images of the first arm are judged to be men, (M,)."""
        return self.arms[0].labels("gender")[0] == 0

    @cached_property
    def seen(self) -> list[dict[str, Array]]:
        """Of each arm: class and mode of each image, (M, 2), cosine to its vanilla image and whether that has its mode, (M,)."""
        vanilla = self.arms[-1]
        return [
            {
                "fd_hard": np.eye(2)[arm.labels("gender")[0]],
                "mode_fd": np.eye(2)[arm.modes],
                "cosine": cosines(arm.e, vanilla.e),
                "kept": kept(arm.modes, vanilla.modes),
            }
            for arm in self.arms
        ]

    def truths(self, share: float) -> dict[str, Array]:
        """Return each measure of each arm, (3,), on the population in which the first arm has the planted share of men."""
        w = np.where(self.men, share / self.men.sum(), (1 - share) / (~self.men).sum())
        found = {name: np.array([fd_hard(w @ it[name]) for it in self.seen]) for name in ("fd_hard", "mode_fd")}
        return found | {
            "kept_cosine": np.array([(w * it["kept"]) @ it["cosine"] / (w @ it["kept"]) for it in self.seen])
        }

    def differences(self, kind: str, rows: NDArray[np.int64], blocks: NDArray[np.int64]) -> dict[str, Number]:
        """Bound the difference of two arms in each measure on drawn rows, as evaluation does."""
        sides = [{name: it[rows] for name, it in self.seen[arm].items()} for arm in KINDS[kind]]
        found = {
            name: shares_apart([block_sums(it[name], blocks) for it in sides], {name: fd_hard}, BOOTSTRAP)[name]
            for name in ("fd_hard", "mode_fd")
        }
        means = (mean_draws(it["cosine"], it["kept"], blocks, BOOTSTRAP) for it in sides)
        return found | {"kept_cosine": difference(means, len(np.unique(blocks)), BOOTSTRAP)}


def cell(arms: Arms, share: float, n: int, draws: str, repeats: int) -> dict[str, dict[str, float]]:
    """Share of the repeats in which each interval covers, by kind of pair and measure, with `truth`, and mean `width`."""
    population, truths = Population(arms.arms[0], arms.arms[-1], arms.arms[-1]), arms.truths(share)
    true = {(kind, name): truths[name][a] - truths[name][b] for kind, (a, b) in KINDS.items() for name in MEASURES}
    held, widths = dict.fromkeys(true, 0), dict.fromkeys(true, 0.0)
    for repeat in range(repeats):
        generator = np.random.default_rng([repeat, n, round(100 * share), DRAWS.index(draws)])
        rows, blocks = population.draw(draws, share, n, generator)
        for kind in KINDS:
            for name, number in arms.differences(kind, rows, blocks).items():
                if number.low is not None and number.high is not None:
                    held[kind, name] += number.low - 1e-9 <= true[kind, name] <= number.high + 1e-9
                    widths[kind, name] += number.high - number.low
    return {
        f"{kind}, {name}": {"covered": held[kind, name] / repeats, "truth": float(it), "width": widths[kind, name] / repeats}
        for (kind, name), it in true.items()
    }  # fmt: skip


def table(results: list[dict[str, Any]]) -> str:
    """Write mean and least coverage over the planted shares, by kind of pair, measure, how rows are drawn, and N."""
    columns = [(draws, n) for draws in DRAWS for n in SIZES]
    lines = [
        "| pair | measure | " + " | ".join(f"{draws}, {n}" for draws, n in columns) + " |",
        "|" + "---|" * (len(columns) + 2),
    ]
    for kind in KINDS:
        for name in MEASURES:
            found = {it: covered(results, kind, name, *it) for it in columns}
            said = [f"{mean(it):.3f} ({min(it):.3f})" for it in found.values()]
            lines.append(f"| {kind} | {name} | " + " | ".join(said) + " |")
    return "\n".join(lines)


def covered(results: list[Mapping[str, Any]], kind: str, name: str, draws: str, n: int) -> list[float]:
    """Coverage at each planted share."""
    return [it["metrics"][f"{kind}, {name}"]["covered"] for it in results if (it["draws"], it["n"]) == (draws, n)]


def arms_of(overrides: list[str]) -> tuple[Arms, list[Path]]:
    """Sample the images if they are not there, and put those of one seed together; with the folders of the jobs."""
    jobs = [run_jobs([*overrides, f"collect.seed={fit}", f"project.seed={fit}"], SEEDS) for fit in FITS]
    root = Path(ROOT)
    centers = read_centers(stages_of(jobs[0][0], root)["discover"])
    first, other = (pooled_arms(own, root, ("guided", "vanilla"))[0] for own in jobs)
    every = tuple(
        replace(it, modes=assign_modes(it.e, centers)) for it in (first["guided"], other["guided"], first["vanilla"])
    )
    return Arms(every), [job for own in jobs for job in own]


def main(overrides: list[str]) -> None:
    """Run all cells, and write the table."""
    arms, jobs = arms_of(overrides)
    results = cells(partial(cell, arms), SIZES, REPEATS, Path(ROOT) / "paired_coverage", jobs)
    least = min(
        mean(covered(results, kind, name, draws, n))
        for kind in KINDS
        for name in MEASURES
        for draws in DRAWS
        for n in SIZES
    )
    text = [
        "# Do the 95% intervals of paired differences cover?", "",
        f"`python -m experiments.paired_coverage`: the share of {REPEATS} repeats in which the interval of the difference holds "
        f"the true one: the mean over the planted shares of men of the first arm, {', '.join(map(str, SHARES))}, and in brackets "
        f"the least. Rows are drawn from {len(arms.men)} seeds, each with the vanilla image and those of the default fitted "
        f"twice (collect and project seeds {' and '.join(map(str, FITS))}), so images stay paired. Columns: how rows are "
        f"drawn, as in [coverage](coverage.md), and N. Batches of {BATCH}; the least mean is {least:.3f}, and {ENOUGH} was asked "
        "for.",
        "", table(results), "",
        "kept_cosine of vanilla is 1, that of an image with itself.",
    ]  # fmt: skip
    write_study(
        "paired_coverage",
        "\n".join(text),
        {"repeats": REPEATS, "cells": results, "config_hashes": [job.name for job in jobs]},
    )


if __name__ == "__main__":
    main(sys.argv[1:])
