"""What every clustering promises; a new one is picked up by its YAML in `conf/clustering`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from selfdebias.config.sources import conf_folder
from tests.modes.blobs import blobs

FOLDER = Path(conf_folder()) / "clustering"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.startswith("axes"))  # those: `test_axes`
CHOOSING = [name for name in OPTIONS if "choice" in OmegaConf.load(FOLDER / f"{name}.yaml")]
SIZES = [60, 45, 30]


def build(option, **changed):
    values = {**OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml")), **changed}
    return instantiate(values, _convert_="all")


@pytest.mark.parametrize("option", OPTIONS)
def test_planted_modes_are_found_and_numbered_by_size(option):
    X, truth = blobs(SIZES)
    before = X.copy()
    modes = build(option).fit(X)
    assert np.bincount(modes.labels_).tolist() == SIZES and adjusted_rand_score(truth, modes.labels_) == 1
    for k, center in enumerate(modes.centers_):
        mean = X[modes.labels_ == k].mean(axis=0)
        assert np.allclose(center, mean / np.linalg.norm(mean))
    assert np.array_equal(modes.predict(X), modes.labels_)
    assert modes.depths_.tolist() == [0, 0, 0] and modes.noise_ < 20
    assert np.array_equal(X, before)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("sizes", [[60, 20], [25, 25, 25, 25, 25]])
def test_two_modes_and_five_of_one_size_are_found(option, sizes):
    X, truth = blobs(sizes, seed=3)
    modes = build(option).fit(X)
    assert len(modes.centers_) == len(sizes) and adjusted_rand_score(truth, modes.labels_) > 0.98


@pytest.mark.parametrize("option", OPTIONS)
def test_same_seed_same_modes_and_the_order_of_images_does_not_matter(option):
    X, _ = blobs(SIZES, spread=0.2)
    first, again = build(option).fit(X), build(option).fit(X)
    assert np.array_equal(first.labels_, again.labels_) and np.array_equal(first.centers_, again.centers_)
    order = np.random.default_rng(1).permutation(len(X))
    assert adjusted_rand_score(first.labels_[order], build(option).fit(X[order]).labels_) > 0.95


@pytest.mark.parametrize("option", OPTIONS)
def test_keys_are_hyper_parameters_and_are_kept_as_they_are(option):
    values = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    del values["_target_"]
    modes = build(option)
    assert modes.get_params() == values and clone(modes).get_params() == values
    assert {"random_state", "space"} <= values.keys()


@pytest.mark.parametrize("option", OPTIONS)
def test_images_in_tight_groups_far_apart_are_told_apart(option):
    """A neighbour graph of them is in several pieces."""
    X, truth = blobs([60, 50], spread=0.001)
    modes = build(option).fit(X)
    assert adjusted_rand_score(truth, modes.labels_) == 1.0


@pytest.mark.parametrize("option", OPTIONS)
def test_few_different_images_are_no_more_modes_than_there_are(option):
    X = np.repeat(np.eye(8)[:3], [30, 25, 20], axis=0)
    modes = build(option).fit(X)
    assert np.bincount(modes.labels_).tolist() == [30, 25, 20]


@pytest.mark.parametrize("option", OPTIONS)
def test_too_few_images_and_equal_ones_are_refused(option):
    X, _ = blobs([5, 4])
    with pytest.raises(ValueError, match="`collect.n_images` must be at least [0-9]+, .*`clustering.*, got 9"):
        build(option).fit(X)
    with pytest.raises(ValueError, match="must hold different vectors, got equal ones"):
        build(option).fit(np.ones((40, 8)) / np.sqrt(8))
    with pytest.raises(ValueError, match="`clustering.space` must be one of image, residual, projected, got 'pixel'"):
        build(option, space="pixel").fit(blobs(SIZES)[0])


@pytest.mark.parametrize("option", CHOOSING)
def test_k_may_be_given(option):
    X, _ = blobs(SIZES)
    assert len(build(option, k=2).fit(X).centers_) == 2
    one = build(option, k=1).fit(X)
    assert one.labels_.tolist() == [0] * len(X) and one.silhouette_ is None and one.depths_.tolist() == [0]
    for k, words in ((0, "null or a whole number of at least 1, got 0"), (-2, "got -2")):
        with pytest.raises(ValueError, match=f"`clustering.k` must be .*{words}"):
            build(option, k=k).fit(X)
    with pytest.raises(
        ValueError, match="`collect.n_images` must be at least 140, twice the 70 modes of `clustering.k`, got 135"
    ):
        build(option, k=70).fit(X)


@pytest.mark.parametrize("option", CHOOSING)
def test_stability_finds_planted_modes(option):
    X, truth = blobs(SIZES, spread=0.15)
    modes = build(option, choice="stability").fit(X)
    assert adjusted_rand_score(truth, modes.labels_) > 0.98
    assert modes.stabilities_[3] > 0.98 > modes.stabilities_[5]


@pytest.mark.parametrize("option", CHOOSING)
def test_stability_says_one_mode_of_a_round_cloud(option):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((240, 16)) * 0.1 + np.eye(16)[0]
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    modes = build(option, choice="stability").fit(X)
    assert modes.labels_.tolist() == [0] * 240 and modes.silhouette_ is None
    assert max(modes.stabilities_.values()) < 0.6 and len(build(option).fit(X).centers_) > 1


@pytest.mark.parametrize("option", CHOOSING)
def test_a_range_and_a_choice_that_are_none_are_refused(option):
    X, _ = blobs(SIZES)
    with pytest.raises(
        ValueError, match="`clustering.k_max` must be a whole number of at least `clustering.k_min`, 5, got 3"
    ):
        build(option, k_min=5, k_max=3).fit(X)
    with pytest.raises(ValueError, match="`clustering.choice` must be one of silhouette, stability, got 'gap'"):
        build(option, choice="gap").fit(X)
    with pytest.raises(ValueError, match="at least 160, four times the 40 modes of `clustering.k_max`, as its halves"):
        build(option, choice="stability", k_max=40).fit(X)
