"""Vendi score: closed forms, the full similarity matrix, and which way it goes when images grow alike."""

from __future__ import annotations

import numpy as np
import pytest

from selfdebias.metrics.spaces import OF_REFERENCE
from selfdebias.metrics.vendi import VENDI, vendi_score
from tests.metrics.test_spaces import quality, world
from tests.metrics.test_summary import arm, summary

assert world  # a fixture


@pytest.mark.parametrize("n, d", [(5, 8), (8, 8), (7, 3)])
def test_images_that_are_all_alike_count_as_one(n, d):
    x = np.tile(np.random.default_rng(0).normal(size=d), (n, 1)) * np.arange(1, n + 1)[:, None]
    assert vendi_score(x) == pytest.approx(1)


def test_images_without_any_likeness_count_each():
    assert vendi_score(np.eye(6) * 3) == pytest.approx(6)
    assert vendi_score(np.eye(6, 9)) == pytest.approx(6)
    assert vendi_score(np.repeat(np.eye(4), 5, axis=0)) == pytest.approx(4)  # copies add nothing


def test_two_kinds_in_unequal_shares_are_the_exponential_of_their_entropy():
    x = np.repeat(np.eye(2), [9, 1], axis=0)
    assert vendi_score(x) == pytest.approx(np.exp(-0.9 * np.log(0.9) - 0.1 * np.log(0.1)))


@pytest.mark.parametrize("n, d", [(30, 6), (6, 30)])
def test_it_is_that_of_the_whole_similarity_matrix(n, d):
    x = np.random.default_rng(1).normal(size=(n, d)).astype(np.float32)
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in x] for a in x.astype(np.float64)])
    values = np.linalg.eigvalsh(cosine / n)
    values = values[values > 1e-12]
    assert vendi_score(x) == pytest.approx(np.exp(-(values * np.log(values)).sum()))


def test_what_has_no_direction_is_refused():
    with pytest.raises(ValueError, match="`x` must have no row of zeros"):
        vendi_score([[1.0, 0.0], [0.0, 0.0]])


def test_an_arm_of_few_kinds_is_below_vanilla_which_is_its_floor():
    results = summary([arm("vanilla", 16), arm("guided", 0, seed=1)])["arms"]
    guided = results["guided"]["vendi"]
    assert guided["value"] == pytest.approx(vendi_score(arm("guided", 0, seed=1).e))
    assert guided["value"] < guided["floor"] == results["vanilla"]["vendi"]["value"]
    assert "low" not in guided and guided["reason"].startswith("no interval")
    assert VENDI.key in OF_REFERENCE and "vendi" not in results["guided"]["difference"]["vanilla"]


def test_it_is_measured_by_the_same_features_as_precision(world):
    guided = quality(world)["guided"]["quality"]
    x, reference = (world[name].spaces["judge"].astype(np.float64) for name in ("guided", "reference"))
    assert guided["judge"]["vendi"]["value"] == pytest.approx(vendi_score(x - reference.mean(0)), rel=1e-4)
    assert [name for name, it in guided.items() if it["vendi"]["value"] is not None] == [
        name for name, it in guided.items() if it["precision"]["value"] is not None
    ]
