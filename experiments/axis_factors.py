"""How many factors axes are looked for with: what the collected images say of it, without a label, and what it finds.

    python -m experiments.axis_factors [WORD ...]

Words choose the models whose names hold one of them, all without a word. Factors are fitted to a half of the images, of which the
likeliest of four starts counts, and held against the other half. Labels are read for the columns of the table alone that say so.
(But what they showed on development images is why more than 6 factors were tried, and why 7 was preferred to 5 to 7 together.)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from experiments.person_axes import HONEST
from experiments.pooled import ROOT, read_results, run_jobs, write_study
from selfdebias.encoders import encoder_from
from selfdebias.jobs.sweeps.pooling import stages_of
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.modes import FactorialAxes
from selfdebias.modes.axes import fit_factors, mean_log_likelihood
from selfdebias.storage.batches import BatchFolder

NAME, FITS = "axis_factors", (0, 1, 2)
SETTINGS = {"the UNet, `model=emoji`": "model=emoji", "the transformer, `model=emoji_dit`": "model=emoji_dit"}
COUNTS, HALVES, STARTS = range(2, 9), 8, 4
SETS = ((4, 5, 6), (5, 6, 7), (7,))
HELD_OUT = "| Model | fit | " + " | ".join(f"{m} factors" for m in COUNTS) + " |\n|" + "---|" * (2 + len(COUNTS))
FOUND = (
    "| Model | fit | `factors` | axes | each comes back in, of the runs | side 1 holds, of the images | best ARI with gender (label"
    " read) | men among the collected (label read) |\n|" + "---|" * 8
)


def embeddings(model: str, fit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings (N, d) of the images that a job collects for "a person", and (N,) bool, which the judge calls men."""
    (job,) = run_jobs([model, *HONEST, "clustering=axes", "stages=[collect]", f"collect.seed={fit}"], [0])
    images = BatchFolder.open(stages_of(job, Path(ROOT))["collect"]).images()
    encoder, judge = encoder_from("shipped:emoji_clip"), EmojiJudge(None)
    with torch.no_grad():
        parts = [(encoder(part).double(), judge(part)["gender"].argmax(1)) for part in images.split(64)]
    X, gender = (torch.cat(own).numpy() for own in zip(*parts, strict=True))
    return X, gender == np.bincount(gender).argmax()


def held_out(X: np.ndarray) -> dict[str, list[float]]:
    """Return, by number of factors, the mean log-likelihood of each half that was not fitted, as `clustering=axes` fits them."""
    x = PCA(FactorialAxes().variance, svd_solver="full").fit_transform(X)
    x /= x.std()
    generator, found = np.random.default_rng(0), dict[str, list[float]]()
    for _ in range(HALVES):
        order = generator.permutation(len(x))
        fitted, other = x[order[: len(x) // 2]], x[order[len(x) // 2 :]]
        for m in COUNTS:
            best = max((fit_factors(fitted, m, generator) for _ in range(STARTS)), key=lambda it: it.likelihood)
            found.setdefault(str(m), []).append(mean_log_likelihood(other, best))
    return found


def axes(X: np.ndarray, men: np.ndarray, fit: int) -> dict[str, dict[str, Any]]:
    """Return, by the numbers of factors that are tried, what comes back, and the best ARI with gender."""
    found = {}
    for factors in SETS:
        own = FactorialAxes(factors=factors, random_state=fit).fit(X)
        found[str(list(factors))] = {
            "recurrence": own.recurrence_.tolist(),
            "shares": own.sides_.mean(0).tolist(),
            "ari": [float(adjusted_rand_score(men, sides)) for sides in own.sides_.T],
        }
    return found


def measure(model: str) -> dict[str, dict[str, Any]]:
    """Return, by fit, the share of men among the collected images, what `held_out` and what `axes` gives."""
    every = {}
    for fit in FITS:
        X, men = embeddings(model, fit)
        every[str(fit)] = {"n": len(X), "men": float(men.mean()), "held_out": held_out(X), "axes": axes(X, men, fit)}
    return every


def page(every: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of likelihoods, and one of what is found."""
    likelihoods, found = [], []
    for model, fits in every.items():
        for fit, it in fits.items():
            cells = [
                f"{np.mean(it['held_out'][str(m)]):.2f} ± {np.std(it['held_out'][str(m)]) / HALVES**0.5:.2f}"
                for m in COUNTS
            ]
            likelihoods.append(f"| {model} | {fit} | {' | '.join(cells)} |")
            for factors, own in it["axes"].items():
                back, shares = (" / ".join(f"{value:.2f}" for value in own[key]) for key in ("recurrence", "shares"))
                best = max(own["ari"], default=0.0)
                count = len(own["ari"])
                found.append(
                    f"| {model} | {fit} | {factors} | {count} | {back} | {shares} | {best:.2f} | {it['men']:.3f} |"
                )
    n = next(iter(next(iter(every.values())).values()))["n"]
    about = (
        f'`python -m experiments.{NAME}`. {n} collected images of "an emoji of a person", encoder `emoji_clip`, which was told '
        f"captions alone; {len(FITS)} fits, which are other images."
    )
    title = f"## Log-likelihood of the other half, in nats for an image: mean of {HALVES} halves and its standard error"
    return "\n".join([
        "# How many factors axes are looked for with", "", about, "", title, "", HELD_OUT, *likelihoods, "",
        "## What comes back", "", FOUND, *found,
    ])  # fmt: skip


def main(words: Sequence[str]) -> None:
    """Measure the models whose names hold one of the words, all without one; keep what is measured of the others."""
    found = {name: measure(it) for name, it in SETTINGS.items() if any(word in name for word in words or [""])}
    every = {**read_results(NAME), **found}
    every = {name: every[name] for name in SETTINGS if name in every}
    write_study(NAME, page(every), every)


if __name__ == "__main__":
    main(sys.argv[1:])
