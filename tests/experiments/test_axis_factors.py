"""The study of how many factors axes are looked for with: what it measures of planted vectors."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import axis_factors
from tests.modes.test_axes import planted


@pytest.fixture(scope="module")
def vectors():
    """Vectors with a common and a rare side, the rare one being what a label would be of."""
    X, sides = planted(n=1024, shares=(0.5, 0.45, 0.5, 0.4, 0.12), spread=0.12)
    return X, sides[:, 4] == 1


def test_the_other_half_is_held_against_each_number_of_factors(vectors, monkeypatch):
    monkeypatch.setattr(axis_factors, "HALVES", 2)
    monkeypatch.setattr(axis_factors, "COUNTS", range(2, 6))
    found = axis_factors.held_out(vectors[0])
    assert list(found) == ["2", "3", "4", "5"] and all(len(own) == 2 for own in found.values())
    means = [np.mean(own) for own in found.values()]
    assert means == sorted(means)


def test_what_comes_back_is_held_against_a_label_that_nothing_else_reads(vectors, monkeypatch):
    monkeypatch.setattr(axis_factors, "embeddings", lambda model, fit: vectors)
    monkeypatch.setattr(axis_factors, "SETS", ((3,), (5,)))
    monkeypatch.setattr(axis_factors, "FITS", (0,))
    monkeypatch.setattr(axis_factors, "held_out", lambda X: {str(m): [float(m)] * 8 for m in axis_factors.COUNTS})
    found = axis_factors.measure("model=emoji")
    fit = found["0"]
    assert fit["n"] == 1024 and fit["men"] == pytest.approx(vectors[1].mean())
    assert max(fit["axes"]["[3]"]["ari"]) < 0.2 < 0.8 < max(fit["axes"]["[5]"]["ari"])
    other = axis_factors.axes(vectors[0], ~vectors[1], 0)
    assert other["[5]"]["shares"] == fit["axes"]["[5]"]["shares"]
    text = axis_factors.page({"the UNet": found})
    assert "2.00 ± 0.00" in text and text.count("| the UNet |") == 1 + 2
