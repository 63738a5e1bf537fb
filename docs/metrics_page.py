"""The reference of all metrics: from the registry and the docstrings of the functions that compute them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator

import numpy as np

import selfdebias.metrics
from docs.tables import code, summary, table, text
from selfdebias.metrics import (
    composition,
    corrected,
    differences,
    distances,
    fairness,
    features,
    intervals,
    modes,
    preservation,
    quality,
    spaces,
    vendi,
    verdicts,
    within_modes,
)
from selfdebias.metrics.metric import GaussianKernel, Metric, PolynomialKernel, ReferenceMetric

# By key, the functions and kernels whose docstrings say how a metric is computed.
FORMULAS: dict[str, tuple[Callable[..., object], ...]] = {
    "frechet_distance": (distances.frechet_from_moments,),
    "kid": (distances.mmd, PolynomialKernel),
    "cmmd": (distances.mmd, GaussianKernel),
    "precision": (quality.knn_covered,),
    "recall": (quality.knn_recall,),
    "vendi": (vendi.vendi_score,),
    "kept_cosine": (features.cosines,),
    "turned/precision_ratio": (preservation.switched_quality,),
}
SOFT = "`fd_hard` of the mean probabilities of the judge, in place of the shares."
OF_MODES = {"mode_fd": "fd_hard", "mode_kl": "kl_target", "axes/fd": "fd_hard", "axes/kl": "kl_target"}
HEAD = """\
# Metrics

Each number of `results.json` has a value, as a rule a 95% interval over batches, and its floor: what it comes to by sampling
alone ([keys](results-json.md)). This page is made from the code: what tables and notes say of a metric, and the docstring of
the function that computes it.

"""
FAIRNESS = """\
## Fairness

Of each judged attribute, under its name, such as `gender/fd_hard`. `f` are the shares of the C classes among the classified
images, `u` is the target, by default uniform. All have an interval.

"""
MODES = """\
## Modes

The same of the modes that were found, against the target of the job; with `clustering=axes` each axis by itself.

"""
REFERENCE = """\
## Quality

Against reference images, which vanilla made from other seeds. The floor is what vanilla images have against the same reference.

"""
PAIRED = """\
## Preservation

Each image beside its paired sample, the vanilla image of the same seed. Switched images changed their mode, the others kept it.

"""
INTERVALS = """\
## Intervals and differences

Images of one batch depend on each other, so batches are resampled, not images. What is compared is the difference of two arms.

"""
FORMULA = "## Formulas\n\nHow each is computed, with what it refers to.\n\n"


def metrics_page() -> str:
    """The page."""
    every = {metric.key: metric for metric in registered()}
    reference = [metric.key for metric in quality.METRICS] + [quality.CLIP_SCORE.key]
    paired = [key for key in every if key not in reference]
    shown = dict.fromkeys(it for key in (*reference, *paired) for it in FORMULAS.get(key, ()))
    parts = [
        HEAD,
        FAIRNESS,
        _of_shares({key: key for key in fairness.METRICS}),
        _functions(corrected.corrected_metrics, composition.composition),
    ]
    parts += [MODES, _of_shares(OF_MODES), _functions(modes.nmi, modes.ari, modes.mode_stability)]
    parts += [REFERENCE, _of_registry(every[key] for key in reference)]
    parts += [_functions(within_modes.distances_within_modes, spaces.quality_by_features)]
    parts += [
        PAIRED,
        _of_registry(every[key] for key in paired),
        _functions(preservation.psnr, preservation.paired_agreement),
    ]
    parts += [
        INTERVALS,
        _functions(intervals.BlockBootstrap, differences.difference, verdicts.told_apart, fairness.expected_floor),
    ]
    return "".join([*parts, FORMULA, _functions(*shown)])


def registered() -> Iterator[Metric]:
    """Every metric that says what it means, those against the reference first, in the order of tables."""
    rooms = [
        importlib.import_module(it.name)
        for it in pkgutil.walk_packages(selfdebias.metrics.__path__, "selfdebias.metrics.")
    ]
    every = [it for room in rooms for it in vars(room).values() if isinstance(it, Metric)]
    yield from {metric.key: metric for metric in (*quality.METRICS, *every)}.values()


def _of_shares(names: dict[str, str]) -> str:
    """A table of metrics of shares, by key and by the name of the function that computes it."""
    rows = [
        (code(key), text(SOFT if name == "fd_soft" else summary(getattr(fairness, name))), _best(name))
        for key, name in names.items()
    ]
    return table(("Key", "What it is", "Where shares are fair"), rows) + "\n"


def _best(metric: str) -> str:
    """The value of fair shares of two classes, and which way is better."""
    fair = float(fairness.metric_function(metric, (0.5, 0.5))(np.array([0.5, 0.5])))
    low, high = fairness.range_of(metric, 2, (0.5, 0.5))
    return f"{fair:g}{'; lower is better' if fair == low else '; higher is better' if fair == high else ''}"


def _of_registry(metrics: Iterable[Metric]) -> str:
    rows = []
    for it in metrics:
        interval = not isinstance(it, ReferenceMetric) or it.interval
        formulas = ", ".join(f"[`{how.__name__}`][{_path(how)}]" for how in FORMULAS.get(it.key, ()))
        rows.append((code(it.key), text(it.title), text(it.meaning), it.better, "yes" if interval else "no", formulas))
    return table(("Key", "Title", "Meaning", "Better", "Interval", "Formula"), rows) + "\n"


def _functions(*functions: Callable[..., object]) -> str:
    return "".join(f"::: {_path(it)}\n    options: {{show_root_full_path: false}}\n\n" for it in functions)


def _path(thing: Callable[..., object]) -> str:
    return f"{thing.__module__}.{thing.__name__}"
