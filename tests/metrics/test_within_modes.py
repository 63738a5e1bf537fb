"""Metrics inside modes: a new mix costs nothing, and small modes are left out of both sides."""

from __future__ import annotations

import numpy as np
import pytest

from selfdebias.metrics.arms import Placed
from selfdebias.metrics.distances import frechet_distance
from selfdebias.metrics.within_modes import weighted, within_modes


def gaussian(seed: int, n: int, d: int = 4, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(0.5, 1.5, d) + shift


@pytest.mark.filterwarnings("ignore:Frechet distance")
def test_within_modes_a_new_mix_of_the_same_modes_costs_nothing():
    far = np.array([50.0, 0, 0, 0])
    real = np.concatenate([gaussian(0, 40), gaussian(1, 40) + far])
    fake = np.concatenate([gaussian(2, 60), gaussian(3, 10) + far])
    modes = np.repeat([0, 1], 40), np.repeat([0, 1], [60, 10])
    inside = within_modes(frechet_distance, Placed(real, modes[0]), Placed(fake, modes[1]), 3)
    assert max(inside[:2]) < 0.01 * frechet_distance(real, fake)
    assert inside[2] == "`real` must have at least 1 rows, got 0."


def test_a_mode_without_a_floor_is_left_out_of_the_value_too():
    assert weighted([1.0, 3.0], [0.5, "too small"], [10, 30]) == (1.0, 0.5, 10)
    assert weighted([1.0, "too small"], ["too small", 0.5], [10, 30]) is None
    assert weighted([1.0, 3.0], [0.5, 1.5], [0, 0]) is None
