"""Nearest-centre modes, and agreement with labels against a contingency table by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from selfdebias.metrics import modes


def test_each_embedding_gets_the_centre_with_the_largest_cosine():
    generator = np.random.default_rng(0)
    e, centers = (rows / np.linalg.norm(rows, axis=1)[:, None] for rows in (generator.normal(size=(20, 4)), np.eye(4)))
    expected = [max(range(4), key=lambda k: float(np.dot(row, centers[k]))) for row in e]
    assert modes.assign_modes(e, centers).tolist() == expected
    assert modes.assign_modes(np.zeros((0, 4)), centers).shape == (0,)
    with pytest.raises(ValueError, match="`centers` must have the width 4"):
        modes.assign_modes(e, np.eye(3))


def test_nmi_and_ari_of_a_two_by_two_table():
    found, labels = [0] * 5 + [1] * 5, [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]  # table [[4, 1], [1, 4]]
    information = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    assert modes.nmi(found, labels) == pytest.approx(information / math.log(2))
    together, by_chance = 2 * 6, 20 * 20 / 45  # pairs of images that both partitions put together, of 45
    assert modes.ari(found, labels) == pytest.approx((together - by_chance) / (20 - by_chance))


def test_mode_distances_are_against_the_target():
    assert modes.mode_fd([0.25, 0.75], [0.25, 0.75]) == 0
    assert modes.mode_kl([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
