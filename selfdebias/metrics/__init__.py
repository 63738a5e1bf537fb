"""Fairness, quality, preservation and cost: pure float64 functions over arrays."""

from selfdebias.metrics.metric import MetricSuite

__all__ = ["MetricSuite"]
