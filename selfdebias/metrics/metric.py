"""What a metric against the reference is: how it is measured, and what tables and notes say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from selfdebias.metrics.arms import ArmData
from selfdebias.metrics.bootstrap import BlockBootstrap
from selfdebias.metrics.number import Number
from selfdebias.metrics.suite import MetricSuite

Measure = Callable[[ArmData, ArmData, MetricSuite, BlockBootstrap | None], Number]


@dataclass(frozen=True)
class Metric:
    """A metric that holds the images of an arm against the reference images.

    Evaluation measures it for each arm, and its floor, the same of the vanilla arm; `results.json`, `results.csv`, W&B, the
    tables and the notes have it by what is said here.

    Attributes:
        key: its name in `results.json`.
        title: its heading in tables.
        meaning: one sentence for readers of a table, without its name.
        measure: the arm's images, the reference images, the hyper-parameters of the metrics, and the bootstrap, None where
            no interval is needed; to its number. Raises `ValueError` where there are too few images: that is the reason of a null.
        better: "lower" or "higher".
        interval: whether `measure` bounds it.
        by_encoder: whether it compares the encoder's embeddings `e` always, in place of `compared`.
        labelled: whether its heading names the features that it is measured by.
    """

    key: str
    title: str
    meaning: str
    measure: Measure
    better: str = "lower"
    interval: bool = True
    by_encoder: bool = False
    labelled: bool = False
