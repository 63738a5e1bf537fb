"""The metrics against the reference, in the order of the tables. A new one is a file of its own, and a name here."""

from __future__ import annotations

from selfdebias.metrics.frechet import FRECHET
from selfdebias.metrics.metric import Metric
from selfdebias.metrics.mmd import CMMD, KID
from selfdebias.metrics.neighbours import PRECISION, RECALL

METRICS: tuple[Metric, ...] = (FRECHET, KID, CMMD, PRECISION, RECALL)
