"""What is found with encoders trained on more or less: partitions and axes of the same images, held against what the judge sees.

Nothing that finds modes reads a label; labels are what the table reports. ICA and a cut of its components are here for comparison
alone. The trainings beside the shipped one are those that `experiments.emoji_world.train_clip` leaves in its folder of work.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA, FastICA
from sklearn.metrics import adjusted_rand_score, homogeneity_score, roc_auc_score
from sklearn.mixture import GaussianMixture

from experiments.emoji_world.recipe import load_recipe
from experiments.pooled import RESULTS, ROOT, run_jobs, write_study
from selfdebias.encoders import EfficientNetLite0Encoder, Encoder, encoder_from
from selfdebias.jobs.sweeps.pooling import stages_of
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.modes import FactorialAxes, GaussianMixtureModes, KMeansModes, SpectralModes, TwoStageModes
from selfdebias.storage.batches import BatchFolder

NAME, FITS = "discovery", (0, 1)
PROMPTS = {
    "a person": ("emoji_person", ("gender", "tone", "age")),
    "a pet": ("emoji_pets", ("animal",)),
    "a fantasy creature": ("emoji_fantasy", ("creature", "gender", "tone")),
}
HEADER = (
    "| Encoder | Prompt | Way | modes, or axes | best ARI, joined in two (range of the fits) | best AUC | best correlation | "
    "share if even (as collected) |\n|" + "---|" * 8
)
Found = tuple[str, np.ndarray, np.ndarray]  # how many; groups (N, A), numbered along an axis; coordinates (N, A)


def encoders() -> dict[str, Encoder]:
    """Return the encoders by the name of their row."""
    work = Path(load_recipe([]).work)
    others = {f"`emoji_clip`, training {i + 1}": str(work / f"clip-{i}" / "model") for i in (1, 2)}
    others["`emoji_clip` on captions of which half are neutral"] = str(work / "clip-neutral" / "model")
    shipped = {f"`{name}`": f"shipped:{name}" for name in ("emoji_clip_informed", "emoji_simclr")}
    every = {"`emoji_clip`": "shipped:emoji_clip", **others, **shipped}
    there = {name: place for name, place in every.items() if place.startswith("shipped:") or Path(place).exists()}
    for name in every.keys() - there.keys():
        print(f"{name} is not there: experiments.emoji_world.train_clip makes it; its rows stay as they are")
    return {name: encoder_from(place) for name, place in there.items()} | {
        "`efficientnet_lite0`": EfficientNetLite0Encoder()
    }


def as_partition(clustering: object) -> Callable[[np.ndarray, int], Found]:
    """A way that finds one partition: its groups, and for each of them whether an image is in it."""

    def find(X: np.ndarray, seed: int) -> Found:
        labels = clustering.set_params(random_state=seed).fit(X).labels_  # type: ignore[attr-defined]
        k = int(labels.max()) + 1
        return f"{k}", labels[:, None], (labels[:, None] == np.arange(k)).astype(float)

    return find


def by_axes(X: np.ndarray, seed: int) -> Found:
    """`clustering=axes`."""
    axes = FactorialAxes(random_state=seed).fit(X)
    return f"{axes.sides_.shape[1]} axes", axes.sides_, axes.coordinates(X)


def by_ica(cut: str) -> Callable[[np.ndarray, int], Found]:
    """Six independent components, each cut in two: at the midpoint of two Gaussians, or where their density is least."""

    def find(X: np.ndarray, seed: int) -> Found:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ica = FastICA(whiten="unit-variance", random_state=seed, max_iter=2000)
            s = ica.fit_transform(PCA(6, whiten=True).fit_transform(X))
        where = midpoint if cut == "midpoint" else least_dense
        return "6 components", np.stack([s[:, a] > where(s[:, a]) for a in range(6)], 1).astype(int), s

    return find


def midpoint(s: np.ndarray) -> float:
    """Return the middle between the means of two Gaussians."""
    return float(GaussianMixture(2, n_init=3, random_state=0).fit(s[:, None]).means_.mean())


def least_dense(s: np.ndarray, width: float = 0.25) -> float:
    """Return where the density of (N,) values of unit variance is least, between their 10% and 90% quantiles."""
    grid = np.linspace(*np.quantile(s, [0.1, 0.9]), 200)
    return float(grid[np.exp(-0.5 * ((grid[:, None] - s) / width) ** 2).mean(1).argmin()])


WAYS: Mapping[str, Callable[[np.ndarray, int], Found]] = {
    "spectral, k by silhouette": as_partition(SpectralModes()),
    "k-means, k by silhouette": as_partition(KMeansModes()),
    "k-means, k by stability": as_partition(KMeansModes(choice="stability")),
    "k-means, k = 2": as_partition(KMeansModes(k=2)),
    "Gaussian mixture, k by silhouette": as_partition(GaussianMixtureModes()),
    "two-stage": as_partition(TwoStageModes(min_size=64)),
    "ICA, cut at the midpoint": by_ica("midpoint"),
    "ICA, cut at the least density": by_ica("density"),
    "`clustering=axes`": by_axes,
}


def best(groups: np.ndarray, coordinates: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return how far the best of the groupings goes with an attribute.

    Of more than two classes ARI and AUC are of one against all others; ``even``, of two, is the share that the larger class would
    have if the groups of the grouping that comes nearest to equal shares were of one size.
    """
    classes = [c for c in np.unique(labels) if 0.02 < (labels == c).mean() < 0.98]
    one = [labels == c for c in (classes if len(classes) > 2 else classes[:1])]
    columns, larger = coordinates.T, labels == np.bincount(labels).argmax()
    even = [float(np.mean([larger[g == k].mean() for k in np.unique(g)])) for g in groups.T]
    two = {
        "even": min(even, key=lambda it: abs(it - 0.5), default=float(larger.mean())),
        "collected": float(larger.mean()),
    }
    return (two if len(one) == 1 else {}) | {
        "ari": max((joined_ari(g, it) for g in groups.T for it in one), default=0.0),
        "auc": max((max(a, 1 - a) for u in columns for it in one for a in [roc_auc_score(it, u)]), default=0.5),
        "correlation": max((abs(float(np.corrcoef(u, labels)[0, 1])) for u in columns if u.std() > 0), default=0.0),
        "homogeneity": max((float(homogeneity_score(labels, g)) for g in groups.T), default=0.0),
    }


def joined_ari(groups: np.ndarray, labels: np.ndarray) -> float:
    """Return the adjusted Rand index of the groups with labels (N,) bool, each group joined to the label that most of it has."""
    most = [labels[groups == g].mean() > 0.5 for g in range(int(groups.max()) + 1)]
    return float(adjusted_rand_score(labels, np.array(most)[groups]))


def collected(prompt: str, seed: int) -> torch.Tensor:
    """Return the images (N, 3, H, W) that a job collects for a prompt."""
    overrides = [f"prompts={prompt}", "encoder=emoji_clip", "stages=[collect]", f"collect.seed={seed}"]
    (job,) = run_jobs(overrides, [0])
    return BatchFolder.open(stages_of(job, Path(ROOT))["collect"]).images()


def measured(prompts: Sequence[str], models: Mapping[str, Encoder]) -> list[dict]:
    """Find modes in every way, with each of the encoders, on every fit of the prompts that are asked for; a row each."""
    judge, found = EmojiJudge(None), []
    for prompt, (option, attributes) in ((name, PROMPTS[name]) for name in prompts):
        for fit in FITS:
            images = collected(option, fit)
            labels = {name: p.argmax(1).numpy() for name, p in _judged(judge, images).items() if name in attributes}
            for encoder, model in models.items():
                with torch.no_grad():
                    X = torch.cat([model(part).double() for part in images.split(64)]).numpy()
                for way, find in WAYS.items():
                    count, groups, coordinates = find(X, fit)
                    for attribute in attributes:
                        values = best(groups, coordinates, labels[attribute])
                        where = {"encoder": encoder, "prompt": prompt, "fit": fit, "way": way, "attribute": attribute}
                        found.append({**where, "found": count, **values})
    return found


@torch.no_grad()
def _judged(judge: EmojiJudge, images: torch.Tensor) -> dict[str, torch.Tensor]:
    parts = [judge(part) for part in images.split(128)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def page(found: list[dict]) -> str:
    """The table: the mean over the fits, with the range of the ARI."""
    groups: dict[tuple, dict[str, list[dict]]] = {}
    for it in found:
        groups.setdefault((it["encoder"], it["prompt"], it["way"]), {}).setdefault(it["attribute"], []).append(it)
    lines = []
    for where, by_attribute in groups.items():
        fits = next(iter(by_attribute.values()))
        counts = ", ".join(dict.fromkeys(it["found"] for it in fits))
        cells = [_told(by_attribute, key) for key in ("ari", "auc", "correlation")]
        lines.append(f"| {' | '.join(where)} | {counts} | {' | '.join(cells)} | {_even(fits)} |")
    text = [
        "# What encoders find that were told captions alone, and one that was told attributes", "",
        f"`python -m experiments.{NAME}`", "",
        HEADER, *lines, "",
        f"Means over {len(FITS)} fits: other collected images, at half of the guidance scale, and other seeds of the clustering. "
        "Of the modes or axes that were found, each column states the one that goes best with the attribute. ARI: groups joined in "
        "two, each to the class that most of it has; in brackets the least and the most of the fits. AUC: of an axis's coordinate, "
        "or of being in one cluster. Attributes of more than two classes: the one told best, against all others. Share if "
        "even: of the more frequent class, if all modes, or both sides of one axis, had the same number of images.",
    ]  # fmt: skip
    return "\n".join(text)


def _told(by_attribute: Mapping[str, list[dict]], key: str) -> str:
    """Write a measure of each attribute, the mean over the fits; of the ARI with its range."""
    cells = []
    for name, fits in by_attribute.items():
        values = [it[key] for it in fits]
        spread = f" ({min(values):.2f} to {max(values):.2f})" if key == "ari" else ""
        cells.append(f"{name} {np.mean(values):.2f}{spread}")
    return ", ".join(cells)


def _even(fits: list[dict]) -> str:
    if "even" not in fits[0]:
        return ""
    return f"{np.mean([it['even'] for it in fits]):.2f} ({np.mean([it['collected'] for it in fits]):.2f})"


def main(arguments: Sequence[str]) -> None:
    """Measure the prompts and encoders whose names hold one of the words, all without one; keep what is measured of the others.

    Raises:
        SystemExit: if a word names neither a prompt nor an encoder.
    """
    models = encoders()
    unknown = [word for word in arguments if not any(word in name for name in (*PROMPTS, *models))]
    if unknown:
        sys.exit(f"discovery: {unknown[0]} names no prompt and no encoder; there are {', '.join((*PROMPTS, *models))}.")
    asked = [name for name in PROMPTS if any(word in name for word in arguments)] or list(PROMPTS)
    chosen = {name: it for name, it in models.items() if any(word in name for word in arguments)} or models
    file = RESULTS / f"{NAME}.json"
    before = json.loads(file.read_text()) if file.exists() else []
    kept = [it for it in before if it["prompt"] not in asked or it["encoder"] not in chosen]
    order = [*PROMPTS, *dict.fromkeys([it["encoder"] for it in before] + list(models))]
    found = sorted(
        kept + measured(asked, chosen), key=lambda it: (order.index(it["prompt"]), order.index(it["encoder"]))
    )
    write_study(NAME, page(found), found)


if __name__ == "__main__":
    main(sys.argv[1:])
