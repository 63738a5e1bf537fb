"""Fairness, quality, preservation and cost: pure float64 functions over arrays, and torchmetrics around them."""

from selfdebias.metrics.suite import MetricSuite

__all__ = ["MetricSuite"]
