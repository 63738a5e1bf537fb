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
    for widths in ((), (0, 5), 5):
        with pytest.raises(ValueError, match="`clustering.n_neighbors` must be a list of numbers of at least 1"):
            SpectralModes(n_neighbors=widths).fit(X)


def test_the_silhouette_chooses_the_width_of_the_graph():
    """Two modes of many tight groups: a narrow graph follows the groups, a wide one the modes."""
    rng = np.random.default_rng(0)
    groups = np.concatenate([np.eye(16)[side] + 0.35 * rng.standard_normal((12, 16)) for side in (0, 1)])
    X = np.repeat(groups, 10, axis=0) + 0.01 * rng.standard_normal((240, 16))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    alone = {width: SpectralModes(n_neighbors=(width,)).fit(X) for width in (10, 60)}
    both = SpectralModes(n_neighbors=(10, 60)).fit(X)
    best = max(alone.values(), key=lambda modes: max(modes.silhouettes_.values()))
    assert max(alone[10].silhouettes_.values()) != max(alone[60].silhouettes_.values())
    assert max(both.silhouettes_.values()) == max(best.silhouettes_.values())
    assert np.array_equal(both.labels_, best.labels_) and both.n_neighbors_ == best.n_neighbors_
