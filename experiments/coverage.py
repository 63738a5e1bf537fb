"""Do the 95% intervals cover? Planted shares, drawn from Emoji World's own images, independent and dependent by batch.

The population is images of "an emoji of a person" that `self_debias` guided, with their paired vanilla samples; a planted share
weighs men against women. Each repeat draws N rows anew and asks whether the interval holds the value that the weighted
population has.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.pooled import ROOT, run_jobs, write_study
from selfdebias.config.keys import digest
from selfdebias.jobs.stages import report
from selfdebias.jobs.sweeps.pooling import pooled_arms
from selfdebias.metrics import fairness
from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.comparison import Sets, kept
from selfdebias.metrics.corrected import corrected_intervals
from selfdebias.metrics.distances import bounded_mmd
from selfdebias.metrics.features import cosines
from selfdebias.metrics.intervals import BlockBootstrap, block_sums
from selfdebias.metrics.metric import PolynomialKernel
from selfdebias.metrics.number import Number
from selfdebias.metrics.preservation import preservation
from selfdebias.metrics.shares import attribute_metrics, attribute_shares, mode_metrics_of
from selfdebias.metrics.within_modes import covered_in_mode
from selfdebias.storage.atomic import sha256_of, write_json

Array = NDArray[np.float64]
Cell = Callable[[float, int, str, int], dict[str, dict[str, float]]]
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SIZES = (128, 384, 640)
DRAWS = ("independent", "balanced", "clustered")
BATCH = 32
SEEDS = (11, 12, 13, 14, 15)
GUIDED = [
    "guidance=self_debias", "collect.n_images=256", "collect.relative_scale=1", "schedule.start=0.12", "projector.noise=0.3",
]  # fmt: skip
CORRELATION = 0.1  # between the images of a clustered batch
ERRORS = (0.05, 0.1, 0.2)  # planted, of a judge of two classes
LABELLED = 200  # images of each class that the judge's error is measured on
REPEATS = 500
TARGET = [0.5, 0.5]


@dataclass(frozen=True)
class Population:
    """Guided images with their paired vanilla samples, and the reference."""

    arm: ArmData
    vanilla: ArmData
    reference: ArmData

    @cached_property
    def man(self) -> NDArray[np.bool_]:
        """Which guided images are judged to be men, (M,)."""
        return self.arm.labels("gender")[0] == 0

    @cached_property
    def kernels(self) -> tuple[Array, Array, Array]:
        """Kernel within the images, within the reference, and between them."""
        kernel, x, y = PolynomialKernel(), self.arm.e, self.reference.e
        return kernel(x, x), kernel(y, y), kernel(x, y)

    def weights(self, share: float) -> Array:
        """Return the weight of each image, (M,) with sum 1, so that men have the planted share."""
        return np.where(self.man, share / self.man.sum(), (1 - share) / (~self.man).sum())

    def truths(self, share: float) -> dict[str, float]:
        """Return the value of each metric on the weighted population."""
        w, labels = self.weights(share), self.arm.labels("tone")[0]
        f = {
            "gender": np.array([share, 1 - share]),
            "tone": np.bincount(labels, w, 5),
            "modes": np.bincount(self.arm.modes, w, 2),
        }
        soft = {name: w @ self.arm.probabilities[name] for name in ("gender", "tone")}
        found = {"share of men": share}
        for name in ("gender", "tone"):
            for key in fairness.METRICS:
                given = soft[name] if key == "fd_soft" else f[name]
                found[f"{name} {key}"] = float(fairness.metric_function(key)(given))
        found["mode_fd"] = float(fairness.fd_hard(f["modes"], TARGET))
        found["mode_kl"] = float(fairness.kl_target(f["modes"], TARGET))
        within, own, between = self.kernels
        found["KID"] = float(w @ within @ w + own.mean() - 2 * (w @ between).mean())
        return found | self._twin_truths(w)

    def _twin_truths(self, w: Array) -> dict[str, float]:
        same = kept(self.arm.modes, self.vanilla.modes)
        changed = np.isfinite(self.arm.psnr)
        own = covered_in_mode(self.reference.placed, self.arm.placed, 2, 3)
        vanilla = covered_in_mode(self.reference.placed, self.vanilla.placed, 2, 3)
        turned = w * ~same
        by_mode = [(w * vanilla)[self.vanilla.modes == k].sum() / w[self.vanilla.modes == k].sum() for k in range(2)]
        expected = sum(turned[self.arm.modes == k].sum() * by_mode[k] for k in range(2)) / turned.sum()
        precision = float(turned @ own / turned.sum())
        return {
            "kept_share": float(w @ same),
            "switched share": float(w @ ~same),
            "kept_cosine": float((w * same) @ cosines(self.arm.e, self.vanilla.e) / (w @ same)),
            "PSNR": float(w[changed] @ self.arm.psnr[changed] / w[changed].sum()),
            "switched precision": precision,
            "switched precision ratio": float(precision / expected),
        }

    def draw(
        self, kind: str, share: float, n: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw n rows of the population, and the block of each."""
        if kind == "independent":
            men, blocks = generator.random(n) < share, np.arange(n)
        else:
            batches, blocks = n // BATCH, np.arange(n) // BATCH
            counts = np.floor(BATCH * share + generator.random(batches))  # balanced: as nearly as a whole number can be
            if kind == "clustered":
                a = (1 / CORRELATION - 1) * np.array([share, 1 - share])
                counts = generator.binomial(BATCH, generator.beta(*a, batches))
            men = (np.arange(BATCH) < counts[:, None]).ravel()
        rows = np.where(
            men, generator.choice(np.flatnonzero(self.man), n), generator.choice(np.flatnonzero(~self.man), n)
        )
        return rows, blocks


def entries(
    population: Population, rows: Array, blocks: Array, generator: np.random.Generator, seed: int
) -> dict[str, Number]:
    """Measure one draw, through the functions that evaluation itself calls."""
    bootstrap = BlockBootstrap(300, seed)
    seeds = np.arange(len(rows), dtype=np.uint64)
    arm, vanilla = (replace(it.rows(rows), blocks=blocks, seeds=seeds) for it in (population.arm, population.vanilla))
    found: dict[str, Number] = {"share of men": attribute_shares(arm, "gender", bootstrap)["man"]}
    for name in ("gender", "tone"):
        found |= {f"{name} {key}": entry for key, entry in attribute_metrics(arm, name, bootstrap).items()}
    modes = mode_metrics_of(arm, TARGET, bootstrap)
    twins = preservation(Sets(arm, vanilla, population.reference, resampling=bootstrap, n_modes=2))
    found |= {"mode_fd": modes["mode_fd"], "mode_kl": modes["mode_kl"], "PSNR": twins["psnr"]}
    found |= {key: twins[key] for key in ("kept_share", "kept_cosine")}
    found |= {"switched share": twins["turned"]["share"], "switched precision": twins["turned"]["precision"]}
    found["switched precision ratio"] = twins["turned"]["precision_ratio"]
    reference = population.reference.e[generator.integers(0, len(population.reference), len(population.reference))]
    distance = bounded_mmd(arm.e, reference, blocks, np.arange(len(reference)), bootstrap, PolynomialKernel())
    return found | {"KID": distance} | corrected(arm, blocks, generator, seed)


def corrected(arm: ArmData, blocks: Array, generator: np.random.Generator, seed: int) -> dict[str, Number]:
    """Plant a judge's error, measure it on labelled images, and correct the shares by it."""
    labels, found = arm.labels("gender")[0], {}
    for error in ERRORS:
        judged = np.where(generator.random(len(labels)) < error, 1 - labels, labels)
        right = generator.binomial(LABELLED, 1 - error, 2)
        counts = np.array([[right[0], LABELLED - right[0]], [LABELLED - right[1], right[1]]])
        numbers = corrected_intervals(block_sums(np.eye(2)[judged], blocks), counts, BlockBootstrap(300, seed))
        found[f"corrected, error {error:g}"] = numbers[0]
    return found


def cell(population: Population, share: float, n: int, kind: str, repeats: int) -> dict[str, dict[str, float]]:
    """Count how often each metric's interval covers, and how often it says that the value is at the floor."""
    truths = population.truths(share)
    truths |= {f"corrected, error {error:g}": share for error in ERRORS}
    counts = {name: {"covered": 0, "at_floor": 0, "missing": 0} for name in truths}
    for repeat in range(repeats):
        generator = np.random.default_rng([repeat, n, round(100 * share), DRAWS.index(kind)])
        rows, blocks = population.draw(kind, share, n, generator)
        for name, number in entries(population, rows, blocks, generator, repeat).items():
            bounded = number.low is not None and number.high is not None
            held = bounded and number.low - 1e-9 <= truths[name] <= number.high + 1e-9
            for key, seen in (("covered", held), ("at_floor", number.at_floor), ("missing", not bounded)):
                counts[name][key] += int(bool(seen))
    return {
        name: {key: value / repeats for key, value in it.items()} | {"truth": truths[name]}
        for name, it in counts.items()
    }


def cells(run: Cell, sizes: Sequence[int], repeats: int, folder: Path, jobs: Sequence[Path]) -> list[dict[str, Any]]:
    """Run all cells by `run`, which gets share, N, kind of draw and repeats; finished ones are read back from below `folder`.

    They are of the images of these `jobs`, and of today's code of metrics and of the coverage studies.
    """
    studies = [sha256_of(path) for path in sorted(Path(__file__).parent.glob("*coverage.py"))]
    images = [json.loads((job / "job.json").read_text())["stages"] for job in jobs]
    folder, results = folder / digest([images, report.writer(), studies]), []
    for share in SHARES:
        for n in sizes:
            for kind in DRAWS:
                path = folder / f"{share}-{n}-{kind}-{repeats}.json"
                if not path.exists():
                    write_json(path, run(share, n, kind, repeats))
                    print(path, flush=True)
                results.append({"share": share, "n": n, "draws": kind, "metrics": json.loads(path.read_text())})
    return results


def table(results: list[dict[str, Any]]) -> str:
    """Write the least coverage over the planted shares, by metric, N and kind of draw."""
    columns = [(kind, n) for kind in DRAWS for n in SIZES]
    head = [f"{kind}, {n}" for kind, n in columns]
    lines = ["| metric | " + " | ".join(head) + " | at the floor, share 0.5 |", "|" + "---|" * (len(head) + 2)]
    for name in results[0]["metrics"]:
        chosen = [it for it in results if it["share"] > 0.5 or not _is_distance(name)]
        least = [
            min(it["metrics"][name]["covered"] for it in chosen if (it["draws"], it["n"]) == column)
            for column in columns
        ]
        floors = [it["metrics"][name]["at_floor"] for it in results if it["share"] == 0.5]
        floor = f"{min(floors):.2f} to {max(floors):.2f}" if max(floors) > 0 else ""
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in least) + f" | {floor} |")
    return "\n".join(lines)


def _is_distance(name: str) -> bool:
    return (name.startswith("gender ") and name != "gender gap") or name.startswith("mode_")


def main(overrides: list[str]) -> None:
    """Sample the images if they are not there, then run all cells, and write the table."""
    jobs = run_jobs([*overrides, *GUIDED], SEEDS)
    arms, reference = pooled_arms(jobs, Path(ROOT), ("vanilla", "guided"))
    population = Population(arms["guided"], arms["vanilla"], reference)
    results = cells(partial(cell, population), SIZES, REPEATS, Path(ROOT) / "coverage", jobs)
    text = [
        "# Do the 95% intervals cover?", "",
        f"`python -m experiments.coverage`: the least share of {REPEATS} repeats in which the interval holds the true value, "
        f"over the planted shares of men {', '.join(map(str, SHARES))}. Rows are drawn from the {len(population.arm)} guided "
        "images of the person study, each with its paired vanilla image, weighted to the planted share. "
        "Columns: how they are drawn, and N. "
        f"*Independent*: one by one. *Balanced*: batches of {BATCH} whose count of men is as near to the share as a whole number "
        f"can be, as guidance aims at. *Clustered*: batches whose shares scatter, correlation {CORRELATION} between their images.",
        "", table(results), "",
        "Distances of gender and of the modes are held to the cells away from 0 (share 0.6 and above); at share 0.5 the true "
        "value of the gender ones is 0, and the last column is how often the report says that they are at the floor, over all "
        "cells. *Corrected*: the share of men, when the judge is wrong in that share of the images of each class, measured on "
        f"{LABELLED} labelled images per class. KID: the reference is resampled as well.",
    ]  # fmt: skip
    write_study("coverage", "\n".join(text), {"repeats": REPEATS, "cells": results})


if __name__ == "__main__":
    main(sys.argv[1:])
