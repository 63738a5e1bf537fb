from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score, silhouette_score

from selfdebias.modes import SpectralModes
from selfdebias.modes.spectral import cut, neighbour_graph, spectral_map
from tests.modes.blobs import blobs


def test_one_decomposition_gives_the_clusters_of_one_for_each_k():
    """Against scikit-learn, which decomposes the graph anew for each k."""
    X, _ = blobs([60, 40, 30], spread=0.35)
    graph = neighbour_graph(X, 10)
    columns = spectral_map(graph.affinity, 8, random_state=0)
    for k in range(2, 9):
        alone = SpectralClustering(k, affinity="precomputed", assign_labels="cluster_qr", random_state=0)
        assert adjusted_rand_score(alone.fit_predict(graph.affinity), cut(columns[:, :k])) == 1.0


def test_the_silhouette_is_that_of_all_images():
    X, _ = blobs([60, 40], spread=0.3)
    modes = SpectralModes().fit(X)
    assert modes.silhouette_ == pytest.approx(silhouette_score(X, modes.labels_, metric="cosine"))
    assert modes.silhouette_ == max(modes.silhouettes_.values())


def test_pieces_of_a_graph_are_counted_and_joined_by_their_shortest_edges():
    X, truth = blobs([90, 80, 70], spread=0.01)
    graph = neighbour_graph(X, 10)
    assert graph.components == 3
    between = graph.affinity.tocoo()
    bridges = {(int(a), int(b)) for a, b in zip(*between.coords, strict=True) if truth[a] < truth[b]}
    distance = np.linalg.norm(X[:, None] - X[None], axis=2)
    for a, b in bridges:
        assert distance[a, b] == distance[np.ix_(truth == truth[a], truth == truth[b])].min()
    assert len(bridges) == 2
    modes = SpectralModes(n_neighbors=(10,)).fit(X)
    assert modes.components_ == 3 and adjusted_rand_score(truth, modes.labels_) == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_joining_pulls_no_image_of_a_large_mode_over_to_a_small_one(seed):
    """As more neighbours would: each image of the small mode would be linked with the same one of the large mode."""
    X, truth = blobs([60, 12], seed=seed)
    assert adjusted_rand_score(truth, SpectralModes(n_neighbors=(10,), k=2).fit(X).labels_) == 1.0


def test_widths_that_are_none_are_refused():
    X, _ = blobs([10, 10])
    for widths in ((), (0, 5), 5):
        with pytest.raises(ValueError, match="`clustering.n_neighbors` must be a list of whole numbers of at least 1"):
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


def test_images_that_are_all_linked_have_a_map():
    """ARPACK refuses their graph, whose eigenvalues coincide."""
    X, _ = blobs([16, 15], spread=0.3)
    graph = neighbour_graph(X, 30)
    normal = graph.affinity.toarray() / 30
    columns = spectral_map(graph.affinity, 8, random_state=0)
    values = np.einsum("ij,ij->j", columns, normal @ columns) / np.einsum("ij,ij->j", columns, columns)
    assert np.allclose(normal @ columns, values * columns, atol=1e-9)
    assert values[0] == pytest.approx(1)
    assert len(SpectralModes(n_neighbors=[30]).fit(X).labels_) == 31
