from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from selfdebias.modes import SpectralModes


def _blobs(sizes: list[int], spread: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    X = np.eye(8)[labels] + spread * rng.standard_normal((len(labels), 8))
    order = rng.permutation(len(labels))
    X, labels = X[order], labels[order]
    return X / np.linalg.norm(X, axis=1, keepdims=True), labels


@pytest.mark.parametrize("sizes", [[60, 20], [20, 40, 30], [25, 25, 25, 25, 25]])
def test_the_number_of_modes_and_the_modes_are_found(sizes):
    X, truth = _blobs(sizes)
    modes = SpectralModes().fit(X)
    assert len(modes.centers_) == len(sizes)
    assert adjusted_rand_score(truth, modes.labels_) > 0.98


def test_modes_are_numbered_by_size_and_centres_are_unit_means():
    X, _ = _blobs([15, 60, 30])
    modes = SpectralModes().fit(X)
    assert np.bincount(modes.labels_).tolist() == [60, 30, 15]
    for k, center in enumerate(modes.centers_):
        mean = X[modes.labels_ == k].mean(axis=0)
        assert np.allclose(center, mean / np.linalg.norm(mean))
    assert np.array_equal(modes.predict(X), modes.labels_)


def test_same_seed_same_modes_and_order_of_images_does_not_matter():
    X, _ = _blobs([40, 30], spread=0.35)
    first = SpectralModes().fit(X)
    assert np.array_equal(first.labels_, SpectralModes().fit(X).labels_)
    order = np.random.default_rng(1).permutation(len(X))
    assert adjusted_rand_score(first.labels_[order], SpectralModes().fit(X[order]).labels_) > 0.95


def test_a_graph_in_several_components_is_counted_and_linked_up():
    X, truth = _blobs([30, 30], spread=0.01)
    modes = SpectralModes(n_neighbors=(5,)).fit(X)
    assert modes.components_ >= 2 and modes.n_neighbors_ > 5
    assert adjusted_rand_score(truth, modes.labels_) == 1.0


def test_what_cannot_be_clustered_is_refused():
    X, _ = _blobs([10, 10])
    with pytest.raises(ValueError, match="`collect.n_images` must be at least twice `clustering.k_max`=30, got 20"):
        SpectralModes(k_max=30).fit(X)
    with pytest.raises(ValueError, match="`clustering.k_max` must be at least"):
        SpectralModes(k_min=5, k_max=3).fit(X)
    with pytest.raises(ValueError, match="must hold different vectors"):
        SpectralModes().fit(np.ones((40, 8)) / np.sqrt(8))
