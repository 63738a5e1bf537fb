"""Fairness as `torchmetrics.Metric`: sums in float64, so batches and devices may be split in any way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from selfdebias.judges import classify
from selfdebias.metrics import fairness


class JudgedFairness(Metric):
    """Fairness of one attribute, from a judge's probabilities.

    The keys depend on the class list alone: those of `fairness.METRICS`, one `share/<class>` a class, `unclassified`
    (rate) and `n` (images). `fd_soft` is over all images, the others over the classified ones; where there is none
    they are NaN, as there is nothing to measure.

    Args:
        classes: names of the C classes, at least 2.
        threshold: confidence, in [0, 1], below which an image counts as unclassified.

    Example:
        >>> metric = JudgedFairness(["cat", "dog"], threshold=0.5)
        >>> metric.update(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8]]))
        >>> float(metric.compute()["deviation_ratio"])
        0.5
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    def __init__(self, classes: Sequence[str], threshold: float) -> None:
        super().__init__()
        fairness.uniform(len(classes))
        self.classes = tuple(classes)
        self.threshold = threshold
        zeros = torch.zeros(len(self.classes), dtype=torch.float64)
        self.add_state("p_sum", zeros, dist_reduce_fx="sum")
        self.add_state("counts", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("n", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor) -> None:
        """Add a batch of probabilities, (B, C) float in [0, 1]."""
        labels, unclassified = classify(probabilities, self.threshold)
        self.p_sum += probabilities.double().sum(0)
        self.counts += torch.bincount(labels[~unclassified], minlength=len(self.classes))
        self.n += len(probabilities)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics by key, each a float64 scalar."""
        f = fairness.shares(self.counts.cpu().numpy())
        p_mean = fairness.shares(self.p_sum.cpu().numpy())
        values = {key: fairness.metric_function(key)(p_mean if key == "fd_soft" else f) for key in fairness.METRICS}
        values |= {f"share/{name}": share for name, share in zip(self.classes, f, strict=True)}
        results = {key: torch.as_tensor(value, dtype=torch.float64) for key, value in values.items()}
        return results | {"unclassified": 1 - self.counts.sum() / self.n, "n": self.n.clone()}


class ModeFairness(Metric):
    """Fairness over discovered modes, `mode_fd` and `mode_kl` against a target, with no judge.

    Args:
        target: (K,) wanted share of each mode, above 0, sum 1.

    Example:
        >>> metric = ModeFairness([0.5, 0.5])
        >>> metric.update(torch.tensor([0, 0, 0, 1]))
        >>> round(float(metric.compute()["mode_fd"]), 4)
        0.3536
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    def __init__(self, target: Sequence[float]) -> None:
        super().__init__()
        self.target = fairness.checked_target(target, len(target), positive=True)
        self.add_state("counts", torch.zeros(len(target), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, modes: Tensor) -> None:
        """Add a batch of mode indices, (B,) int64 in [0, K)."""
        self.counts += torch.bincount(modes, minlength=len(self.target))

    def compute(self) -> dict[str, Tensor]:
        """Return `mode_fd` and `mode_kl`, each a float64 scalar."""
        f = fairness.shares(self.counts.cpu().numpy())
        values = {"mode_fd": fairness.fd_hard(f, self.target), "mode_kl": fairness.kl_target(f, self.target)}
        return {key: torch.as_tensor(value, dtype=torch.float64) for key, value in values.items()}
