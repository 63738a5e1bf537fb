"""Two-stage clustering in cases where the cuts are known."""

from __future__ import annotations

import numpy as np
import pytest

from selfdebias.modes import TwoStageModes


def nested(sizes: dict[tuple[int, int], int], near: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    """Tight groups by (cluster, part): parts of a cluster are near each other, clusters far apart."""
    rng = np.random.default_rng(0)
    rows, truth = [], []
    for place, ((cluster, part), size) in enumerate(sizes.items()):
        center = np.eye(32)[cluster] + near * np.eye(32)[16 + 4 * cluster + part]
        rows.append(center + 0.02 * rng.standard_normal((size, 32)))
        truth += [place] * size
    X = np.concatenate(rows)
    return X / np.linalg.norm(X, axis=1, keepdims=True), np.array(truth)


HALVED = {(0, 0): 50, (0, 1): 40, (1, 0): 30}


def test_a_cluster_of_two_parts_is_cut_and_its_parts_are_deeper():
    X, truth = nested(HALVED)
    modes = TwoStageModes(min_size=20, max_depth=1, n_neighbors=(10,), k=2).fit(X)
    assert np.array_equal(modes.labels_, truth)
    assert modes.depths_.tolist() == [1, 1, 0]


def test_depth_zero_is_the_first_stage():
    X, _ = nested(HALVED)
    modes = TwoStageModes(min_size=1, max_depth=0, n_neighbors=(10,), k=2).fit(X)
    assert np.bincount(modes.labels_).tolist() == [90, 30] and modes.depths_.tolist() == [0, 0]


@pytest.mark.parametrize(("least", "sizes"), [(30, [50, 40, 30]), (40, [50, 40, 30]), (41, [90, 30]), (46, [90, 30])])
def test_no_half_is_smaller_than_the_minimum_size(least, sizes):
    X, _ = nested(HALVED)
    modes = TwoStageModes(min_size=least, max_depth=1, n_neighbors=(10,), k=2).fit(X)
    assert np.bincount(modes.labels_).tolist() == sizes


def test_parts_of_parts_are_found_up_to_the_depth():
    X, truth = nested({(0, 0): 60, (0, 1): 50, (0, 2): 40, (1, 0): 30})
    modes = TwoStageModes(min_size=31, max_depth=2, n_neighbors=(10,), k=2).fit(X)
    assert np.array_equal(modes.labels_, truth)
    assert sorted(modes.depths_[:3].tolist()) == [1, 2, 2] and modes.depths_[3] == 0
    once = TwoStageModes(min_size=31, max_depth=1, n_neighbors=(10,), k=2).fit(X)
    assert sorted(once.depths_.tolist()) == [0, 1, 1] and set(np.bincount(once.labels_)) > {30}


def test_copies_of_one_image_are_not_cut():
    X = np.repeat(np.eye(8)[:2], 40, axis=0)
    assert TwoStageModes(min_size=5, max_depth=3).fit(X).depths_.tolist() == [0, 0]


def test_sizes_and_depths_that_are_none_are_refused():
    X, _ = nested(HALVED)
    with pytest.raises(ValueError, match="`clustering.min_size` must be a whole number of at least 1, got 0"):
        TwoStageModes(min_size=0).fit(X)
    with pytest.raises(ValueError, match="`clustering.max_depth` must be a whole number of at least 0, got -1"):
        TwoStageModes(max_depth=-1).fit(X)
