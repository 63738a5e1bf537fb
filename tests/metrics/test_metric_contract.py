"""What every `torchmetrics.Metric` of the package keeps to. Found by looking, so that a new one is held to it alone.

A new metric needs no line here if its arguments have names that `OPTIONS` and `ROWS` know; its pure function is named in
`PURE`, and one that is missing there is the failure that says so.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import math
import pickle
import pkgutil
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import Metric

import selfdebias
from selfdebias.judges import classify
from selfdebias.metrics import clip_score, fairness, frechet, mmd, neighbours, preservation
from selfdebias.metrics.fairness_metric import JudgedFairness, ModeFairness
from selfdebias.metrics.preservation_metric import Preservation
from selfdebias.metrics.quality_metric import ClipScore, FrechetDistance, KernelDistance, KNNPrecisionRecall

N, DIM, CLASSES, MODES = 48, 3, 4, 3
OPTIONS = {"classes": "abcd", "threshold": 0.5, "target": (0.5, 0.25, 0.25), "dim": DIM, "nearest": 2}


def metrics() -> list[type[Metric]]:
    """All public subclasses that modules of the package define."""
    modules = [importlib.import_module(f"selfdebias.{it.name}") for it in _modules()]
    found = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    own = [kind for kind in found if issubclass(kind, Metric) and kind.__module__.startswith("selfdebias.")]
    return sorted((kind for kind in own if not kind.__name__.startswith("_")), key=lambda kind: kind.__name__)


def _modules() -> Iterator[pkgutil.ModuleInfo]:
    for folder in ("metrics", "judges", "modes"):
        path = f"{next(iter(selfdebias.__path__))}/{folder}"
        yield from pkgutil.iter_modules([path], prefix=f"{folder}.")


def rows(seed: int = 0, n: int = N) -> dict[str, Tensor]:
    """One of everything that an `update` may ask for, n images each; the first third has no twin that differs."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(generator.normal(size=(n, *shape))).float()

    twins = torch.from_numpy(generator.random((n, 3, 4, 4))).float()
    images = torch.where(torch.arange(n)[:, None, None, None] < n // 3, twins, (twins + 0.1).clamp(0, 1))
    return {
        "probabilities": torch.from_numpy(generator.dirichlet([0.3] * CLASSES, size=n)).float(),
        "modes": torch.from_numpy(generator.integers(MODES, size=n)),
        "twin_modes": torch.from_numpy(generator.integers(MODES, size=n)),
        "features": draw(DIM),
        "real": torch.arange(n) % 2 == 0,
        "e": draw(DIM),
        "twin_e": draw(DIM),
        "text_e": draw(DIM),
        "images": images,
        "twins": twins,
    }


def make(kind: type[Metric]) -> Metric:
    names = inspect.signature(kind).parameters
    return kind(**{name: OPTIONS[name] for name in names if name in OPTIONS})


def feed(metric: Metric, data: dict[str, Tensor], batches: Sequence[Tensor]) -> Metric:
    """Update with the images at the indices of each batch; those of the real and the generated side, one after the other."""
    names = inspect.signature(type(metric).update).parameters.keys() - {"self"}
    for batch in batches:
        if "real" not in names:
            metric.update(**{name: data[name][batch] for name in names})
            continue
        for real in (True, False):
            side = batch[data["real"][batch] == real]
            if len(side):
                metric.update(**{name: data[name][side] for name in names - {"real"}}, real=real)
    return metric


def result(kind: type[Metric], data: dict[str, Tensor], batches: Sequence[Tensor] | None = None) -> dict[str, float]:
    everything = [torch.arange(len(data["real"]))]
    return values(feed(make(kind), data, everything if batches is None else batches))


def values(metric: Metric) -> dict[str, float]:
    return {key: float(value) for key, value in metric.compute().items()}


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and one == pytest.approx(other, rel=1e-9, abs=1e-9, nan_ok=True)


def _fairness(data: dict[str, Tensor]) -> dict[str, float]:
    labels, unclassified = classify(data["probabilities"], OPTIONS["threshold"])
    counts = np.bincount(labels[~unclassified], minlength=CLASSES)
    f, soft = fairness.shares(counts), data["probabilities"].double().mean(0).numpy()
    found = {key: float(fairness.metric_function(key)(soft if key == "fd_soft" else f)) for key in fairness.METRICS}
    shares = {f"share/{name}": share for name, share in zip(OPTIONS["classes"], f, strict=True)}
    return found | shares | {"unclassified": float(unclassified.double().mean()), "n": len(labels)}


def _mode_fairness(data: dict[str, Tensor]) -> dict[str, float]:
    f = np.bincount(data["modes"], minlength=MODES) / len(data["modes"])
    target = np.array(OPTIONS["target"])
    return {"mode_fd": float(fairness.fd_hard(f, target)), "mode_kl": float(fairness.kl_target(f, target))}


def _sides(data: dict[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(data["features"][data["real"] == real].numpy() for real in (True, False))


def _knn(data: dict[str, Tensor]) -> dict[str, float]:
    names = {"precision": "knn_precision", "recall": "knn_recall", "density": "density", "coverage": "coverage"}
    return {key: getattr(neighbours, name)(*_sides(data), OPTIONS["nearest"]) for key, name in names.items()}


def _preservation(data: dict[str, Tensor]) -> dict[str, float]:
    decibels = preservation.psnr(data["images"], data["twins"])
    cosines = preservation.twin_cosine(data["e"], data["twin_e"])
    same = preservation.kept(data["modes"], data["twin_modes"])
    return {
        "psnr": float(decibels[torch.isfinite(decibels)].mean()),
        "identical": int(torch.isinf(decibels).sum()),
        "kept_cosine": preservation.kept_cosine(data["e"], data["twin_e"], data["modes"], data["twin_modes"]),
        "turned_cosine": cosines[~same].mean(),
        "kept_share": preservation.kept_share(data["modes"], data["twin_modes"]),
        "n": len(same),
    }


PURE = {
    JudgedFairness: _fairness,
    ModeFairness: _mode_fairness,
    FrechetDistance: lambda data: {"frechet": frechet.frechet_distance(*_sides(data))},
    KernelDistance: lambda data: {"kid": mmd.kid(*_sides(data)), "cmmd": mmd.cmmd(*_sides(data))},
    KNNPrecisionRecall: _knn,
    ClipScore: lambda data: {
        "clip_score": clip_score.clip_scores(data["e"], data["text_e"]).mean(),
        "n": len(data["e"]),
    },
    Preservation: _preservation,
}

every = pytest.mark.parametrize("kind", metrics(), ids=lambda kind: kind.__name__)
pytestmark = pytest.mark.filterwarnings("ignore:Frechet distance", "ignore:The ``compute`` method")


def test_the_metrics_of_the_package_are_found():
    assert set(metrics()) >= set(PURE)


@every
def test_it_is_its_pure_function(kind):
    assert kind in PURE, f"{kind.__name__} has no pure function in PURE: name it there."
    for seed in (0, 1):
        assert same(result(kind, rows(seed)), PURE[kind](rows(seed)))


@every
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), cut=st.integers(1, N))
def test_neither_the_split_nor_the_order_of_batches_matters(kind, seed, cut):
    data, order = rows(seed), torch.from_numpy(np.random.default_rng(seed).permutation(N))
    whole = result(kind, data)
    assert same(whole, result(kind, data, torch.arange(N).split(cut)))
    assert same(whole, result(kind, data, order.split(cut)))


@every
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), present=st.integers(0, min(CLASSES, MODES) - 1))
def test_an_absent_class_or_mode_changes_no_key(kind, seed, present):
    data = rows(seed)
    data["probabilities"] = torch.nn.functional.one_hot(torch.full((N,), present), CLASSES).float()
    data["modes"] = torch.full((N,), present)
    found = result(kind, data)
    assert found.keys() == result(kind, rows(seed)).keys()
    assert same(found, PURE[kind](data))


@every
def test_after_reset_it_has_forgotten(kind):
    metric = feed(make(kind), rows(5), [torch.arange(N)])
    metric.compute()
    metric.reset()
    assert same(values(feed(metric, rows(6), [torch.arange(N)])), result(kind, rows(6)))


@every
def test_copies_and_pickles_go_on_from_where_they_were(kind):
    data, (first, second) = rows(), torch.arange(N).split(N // 2)
    half = feed(make(kind), data, [first])
    for twin in (copy.deepcopy(half), pickle.loads(pickle.dumps(half)), half.clone()):
        assert same(values(feed(twin, data, [second])), result(kind, data))
    assert same(values(half), result(kind, data, [first]))  # and what they were copied from is as it was


@every
def test_states_of_two_processes_are_merged_by_their_own_rule(kind):
    data = rows()
    one, other = (feed(make(kind), data, [part]) for part in torch.arange(N).split(N // 3 * 2))
    merged = make(kind)
    for name, rule in merged._reductions.items():
        parts = [getattr(metric, name) for metric in (one, other)]
        if isinstance(parts[0], list):
            setattr(merged, name, [rule([tensor for part in parts for tensor in part])])  # as a gather leaves them
        else:
            setattr(merged, name, rule(torch.stack(parts)))
    merged._update_count = 1
    assert same(values(merged), result(kind, data))


@every
def test_keys_are_fixed_and_values_are_float64_scalars(kind):
    metric = feed(make(kind), rows(), [torch.arange(N)])
    found = metric.compute()
    assert all(value.dtype == torch.float64 and value.ndim == 0 for value in found.values())
    sums = [value for value in metric.metric_state.values() if isinstance(value, Tensor)]
    assert all(value.dtype == torch.float64 for value in sums)
    assert {type(rule) for rule in metric._reductions.values()} != {type(None)}


@every
def test_its_docstring_has_an_example(kind):
    assert ">>> " in (inspect.getdoc(kind) or "")


@every
def test_a_result_does_not_change_with_what_was_read_from_it(kind):
    metric = feed(make(kind), rows(), [torch.arange(N)])
    first = metric.compute()
    for value in first.values():
        value.fill_(math.pi)
    metric._computed = None
    assert same(values(metric), result(kind, rows()))


@pytest.mark.parametrize(
    "make_wrong, message",
    [
        (lambda: FrechetDistance(dim=0), "`dim` must be at least 1, got 0"),
        (lambda: KernelDistance(kid_gamma=0.0), "`kid_gamma` must be above 0, got 0.0"),
        (lambda: KernelDistance(cmmd_sigma=-1.0), "`cmmd_sigma` must be above 0, got -1.0"),
        (lambda: KNNPrecisionRecall(nearest=0), "`nearest` must be at least 1, got 0"),
        (lambda: FrechetDistance(dim=2).update(torch.zeros(4, 3), real=True), r"`features` must have shape \(B, 2\)"),
        (lambda: feed(FrechetDistance(dim=DIM), rows(n=6), [torch.arange(6)]).compute(), "N must be above .* 3"),
        (lambda: KNNPrecisionRecall().compute(), "`fake` must have at least 1 rows, got 0"),
        (lambda: KernelDistance().compute(), "`x` must have at least 2 rows, got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(make_wrong, message):
    with pytest.raises(ValueError, match=message):
        make_wrong()
