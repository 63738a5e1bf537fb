"""Nearest-centre modes, and agreement with labels against a contingency table by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.cluster import KMeans

from selfdebias.metrics import fairness, features, modes
from selfdebias.metrics.modes import summarise_modes


def test_each_embedding_gets_the_centre_with_the_largest_cosine():
    generator = np.random.default_rng(0)
    e, centers = (rows / np.linalg.norm(rows, axis=1)[:, None] for rows in (generator.normal(size=(20, 4)), np.eye(4)))
    expected = [max(range(4), key=lambda k: float(np.dot(row, centers[k]))) for row in e]
    assert features.assign_modes(e, centers).tolist() == expected
    assert features.assign_modes(np.zeros((0, 4)), centers).shape == (0,)
    with pytest.raises(ValueError, match="`centers` must have the width 4"):
        features.assign_modes(e, np.eye(3))


def test_nmi_and_ari_of_a_two_by_two_table():
    found, labels = [0] * 5 + [1] * 5, [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]  # table [[4, 1], [1, 4]]
    information = 0.8 * math.log(1.6) + 0.2 * math.log(0.4)
    assert modes.nmi(found, labels) == pytest.approx(information / math.log(2))
    together, by_chance = 2 * 6, 20 * 20 / 45  # pairs of images that both partitions put together, of 45
    assert modes.ari(found, labels) == pytest.approx((together - by_chance) / (20 - by_chance))


def test_mode_distances_are_against_the_target():
    assert fairness.fd_hard([0.25, 0.75], [0.25, 0.75]) == 0
    assert fairness.kl_target([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))


def test_separated_gaussians_are_found_again_and_a_single_one_is_not():
    generator = np.random.default_rng(0)
    centres = 8 * np.eye(3, 16)

    def cluster():
        return KMeans(3, n_init=5, random_state=0)

    apart = centres[generator.integers(3, size=300)] + generator.normal(size=(300, 16))
    single = generator.normal(size=(300, 16))
    assert modes.mode_stability(cluster, apart, seed=0) > 0.99
    assert abs(modes.mode_stability(cluster, single, seed=0)) < 0.15
    assert modes.mode_stability(cluster, single, seed=0) == modes.mode_stability(cluster, single, seed=0)


def test_stability_is_the_mean_agreement_of_halves_on_all_images():
    class Sign:
        """Labels by the sign of the first coordinate, flipped where the fitted mean is below 0."""

        def fit(self, x):
            self.flip = x[:, 0].mean() < 0
            fitted.append(len(x))
            return self

        def predict(self, x):
            return (x[:, 0] > 0) ^ self.flip

    fitted: list[int] = []
    assert modes.mode_stability(Sign, np.random.default_rng(0).normal(size=(21, 2)), seed=1, repeats=3) == 1
    assert fitted == [11, 10] * 3  # each half, and a renaming of modes costs nothing
    with pytest.raises(ValueError, match="`repeats` must be at least 1, got 0"):
        modes.mode_stability(Sign, np.zeros((9, 2)), seed=0, repeats=0)
    with pytest.raises(ValueError, match="`e` must have at least 4 rows, got 3"):
        modes.mode_stability(Sign, np.zeros((3, 2)), seed=0)


def test_axes_of_another_job_are_axes_where_nothing_says_how_they_agree_with_a_judge():
    modes = {"k": 4, "sizes": [5, 3, 4, 4], "target": [0.5] * 4, "axes": [{"agreement": 0.9}, {"agreement": 0.8}]}
    found = summarise_modes(None, modes, ["gender"])
    assert [axis["agreement"] for axis in found["axes"]] == [0.9, 0.8]
    assert all(axis["ari"]["gender"].value is None and axis["ari"]["gender"].reason for axis in found["axes"])
