from __future__ import annotations

import numpy as np
import pytest

from selfdebias.modes import HdbscanModes
from tests.modes.blobs import blobs


def test_noise_goes_to_its_nearest_mode_and_is_counted():
    X, truth = blobs([60, 40], spread=0.05)
    stray = -np.eye(8)[[1, 0]]  # opposite to one mode, and so nearer to the other
    modes = HdbscanModes().fit(np.concatenate([X, stray]))
    assert modes.noise_ == 2 and np.bincount(modes.labels_).tolist() == [61, 41]
    assert modes.labels_[-2:].tolist() == [0, 1] and np.array_equal(modes.labels_[:-2], truth)


def test_no_dense_place_is_one_mode():
    X = np.random.default_rng(0).standard_normal((100, 32))
    modes = HdbscanModes().fit(X / np.linalg.norm(X, axis=1, keepdims=True))
    assert len(modes.centers_) == 1 and modes.noise_ == 100 and modes.silhouette_ is None


def test_sizes_that_are_none_are_refused():
    X, _ = blobs([20, 20])
    with pytest.raises(ValueError, match="`clustering.min_cluster_size` must be a whole number of at least 2, got 1"):
        HdbscanModes(min_cluster_size=1).fit(X)
    with pytest.raises(ValueError, match="`collect.n_images` must be at least 41, `clustering.min_samples`, got 40"):
        HdbscanModes(min_samples=41).fit(X)
