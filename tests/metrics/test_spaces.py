"""Quality by features: each number against a naive loop, the encoder's own repeated, and what damage elsewhere shows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from selfdebias.metrics import MetricSuite
from selfdebias.metrics.comparison import NO_MODES, NO_REFERENCE
from selfdebias.metrics.metric import INCEPTION, PolynomialKernel
from selfdebias.metrics.spaces import KEYS, Scaled, cosine_of_strangers
from selfdebias.metrics.summary import summarise
from tests.metrics.references import kid, knn_precision
from tests.metrics.test_summary import PROMPTS, arm

D, MEAN = 8, 3.0  # width and mean of the planted features
MODES = {"k": 2, "sizes": [100, 60], "target": [0.5, 0.5]}


def summary(arms, reference, **more):
    return summarise({it.arm: it for it in arms}, reference, MODES, PROMPTS, MetricSuite(), bootstrap=100, **more)


def seen(data, seed, offset=0.0):
    """Features of the judge that go by the mode; twins of one seed share most of their noise."""
    own, shared = np.random.default_rng([seed, 1]), np.random.default_rng(int(data.seeds[0]))
    x = np.eye(D)[data.modes] * 4 + shared.normal(size=(len(data), D)) + 0.3 * own.normal(size=(len(data), D))
    return replace(data, spaces={"judge": (x + MEAN + offset).astype(np.float32)})


@pytest.fixture(scope="module")
def world():
    reference = arm("reference", 60, n=160, seed=9, first_seed=0)
    sets = {"vanilla": arm("vanilla", 16, n=96), "guided": arm("guided", 48, n=96, seed=1), "reference": reference}
    return {name: seen(data, place) for place, (name, data) in enumerate(sets.items())}


def quality(world, **more):
    return summary([world["vanilla"], world["guided"]], world["reference"], **more)["arms"]


@pytest.fixture(scope="module")
def measured(world):
    return quality(world)


def scaled(world):
    x = {name: data.spaces["judge"].astype(np.float64) for name, data in world.items()}
    mean, scale = x["reference"].mean(0), np.sqrt(np.square(x["reference"] - x["reference"].mean(0)).mean())
    return {name: (it - mean) / scale for name, it in x.items()}


def test_kid_and_precision_are_of_the_scaled_features_with_vanilla_as_the_floor(world, measured):
    x, found = scaled(world), measured["guided"]["quality"]["judge"]
    kernel = PolynomialKernel(gamma=1 / D)
    assert found["kid"]["value"] == pytest.approx(kid(x["guided"], x["reference"], kernel), rel=1e-4)
    assert found["kid"]["floor"] == pytest.approx(kid(x["vanilla"], x["reference"], kernel), rel=1e-4)
    assert found["kid"]["low"] < found["kid"]["value"] < found["kid"]["high"]
    assert found["precision"]["value"] == pytest.approx(knn_precision(x["reference"], x["guided"]))
    assert found["precision"]["floor"] == measured["vanilla"]["quality"]["judge"]["precision"]["value"]
    assert found["kid"]["features"] == D and found["kid"]["floor_of"].startswith("the vanilla arm")
    own = measured["vanilla"]["quality"]["judge"]["kid"]
    halves = x["reference"][0::2], x["reference"][1::2]
    assert own["floor"] == pytest.approx(kid(*halves, kernel), rel=1e-4) and "half of the reference" in own["floor_of"]


def test_the_ratio_of_turned_images_is_by_mode(world, measured):
    x, modes = scaled(world), {name: data.modes for name, data in world.items()}
    turned = modes["guided"] != modes["vanilla"]
    assert set(modes["guided"][turned]) == {1}
    inside = x["reference"][modes["reference"] == 1]
    new = knn_precision(inside, x["guided"][turned])
    own = knn_precision(inside, x["vanilla"][modes["vanilla"] == 1])
    found = measured["guided"]["quality"]["judge"]["turned_precision_ratio"]
    assert found["value"] == pytest.approx(new / own) and found["n"] == 32 and found["low"] < found["high"]


def test_kept_is_the_cosine_of_centred_features_and_its_floor_that_of_strangers(world, measured):
    x, modes = scaled(world), {name: data.modes for name, data in world.items()}
    same = modes["guided"] == modes["vanilla"]

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    pairs = [cosine(x["guided"][i], x["vanilla"][i]) for i in np.flatnonzero(same)]
    found = measured["guided"]["quality"]["judge"]["kept"]
    assert found["value"] == pytest.approx(np.mean(pairs), rel=1e-5) and found["n"] == same.sum()
    strangers = {
        m: np.mean([cosine(x["vanilla"][i], x["vanilla"][j]) for i in own for j in own if i != j])
        for m in (0, 1)
        for own in [np.flatnonzero(modes["vanilla"] == m)]
    }
    n = [(modes["vanilla"][same] == m).sum() for m in (0, 1)]
    assert found["floor"] == pytest.approx((n[0] * strangers[0] + n[1] * strangers[1]) / sum(n), rel=1e-5)
    assert found["floor"] < found["low"]


def test_the_encoders_own_block_repeats_what_stands_above_it(measured):
    arm = measured["guided"]
    found = arm["quality"]["encoder"]
    assert found["kid"] == arm["kid"] and found["precision"] == arm["precision"]
    assert found["turned_precision_ratio"] == arm["turned"]["precision_ratio"]
    assert found["kept"]["value"] == arm["kept_cosine"]["value"] and found["kept"]["floor"] < 1
    assert list(arm["quality"]) == ["encoder", "judge"] and all(set(it) == set(KEYS) for it in arm["quality"].values())


def test_size_and_offset_of_features_change_nothing(world, measured):
    moved = {
        name: replace(data, spaces={"judge": (data.spaces["judge"] * 50 + 700).astype(np.float32)})
        for name, data in world.items()
    }
    found, before = quality(moved)["guided"]["quality"]["judge"], measured["guided"]["quality"]["judge"]
    assert all(found[key]["value"] == pytest.approx(before[key]["value"], rel=1e-3) for key in KEYS)


def test_damage_that_the_encoder_does_not_see_is_seen_elsewhere(world, measured):
    turned = world["guided"].modes != world["vanilla"].modes
    x = world["guided"].spaces["judge"].copy()
    x[turned] += np.random.default_rng(0).normal(size=(turned.sum(), D)).astype(np.float32) * 3
    found = quality({**world, "guided": replace(world["guided"], spaces={"judge": x})})["guided"]["quality"]
    before = measured["guided"]["quality"]
    assert found["encoder"] == before["encoder"]
    ratio, was = (it["judge"]["turned_precision_ratio"] for it in (found, before))
    assert ratio["high"] < was["value"] and ratio["value"] < 0.7 < was["value"]
    assert found["judge"]["kid"]["value"] > before["judge"]["kid"]["value"]
    assert found["judge"]["kept"] == before["judge"]["kept"]  # of images that were not turned


def test_results_say_whose_features_they_are(world):
    told = {"encoder": {"name": "emoji_clip"}}
    results = summary([world["vanilla"], world["guided"]], world["reference"], spaces=told, judge={"name": "Ours"})
    assert results["features"] == {"name": "emoji_clip", "dim": 3}
    assert results["spaces"] == {"encoder": results["features"], "judge": {"name": "Ours", "dim": D}}
    assert summary([world["vanilla"]], None)["features"] == {"name": "encoder", "dim": 3}


@pytest.mark.parametrize(("name", "key"), [(INCEPTION, "fid"), ("dinov2", "frechet_distance")])
def test_fid_is_the_frechet_distance_of_inceptions_features_alone(name, key):
    sets = [
        replace(data, features=np.random.default_rng(i).normal(size=(len(data), 5)).astype(np.float32))
        for i, data in enumerate((arm("vanilla", 4), arm("guided", 16, seed=1), arm("reference", 20, 60, first_seed=0)))
    ]
    results = summary(sets[:2], sets[2], spaces={"extractor": {"name": name}})
    guided = results["arms"]["guided"]
    assert {"fid", "frechet_distance"} & guided.keys() == {key} and guided[key]["features"] == 5
    assert results["features"] == {"name": name, "dim": 5}
    assert guided["quality"]["extractor"]["kid"] == guided["kid"]
    by_e = summary([replace(it, features=None) for it in sets[:2]], replace(sets[2], features=None))["arms"]["guided"]
    assert guided["quality"]["encoder"]["kid"] == by_e["kid"]  # with a kernel that suits unit vectors


def test_what_is_not_there_says_why(world):
    vanilla, guided = world["vanilla"], world["guided"]
    alone = quality(world)["vanilla"]["quality"]["judge"]
    assert alone["kept"]["reason"] == "vanilla images have no other vanilla twin" and alone["kid"]["value"] is not None
    without = summary([vanilla, guided], replace(world["reference"], spaces={}))["arms"]["guided"]["quality"]["judge"]
    assert {entry["reason"] for entry in without.values()} == {"not all arms and the reference have these features"}
    same = quality({name: replace(it, spaces={"judge": np.ones((len(it), 4))}) for name, it in world.items()})
    assert "the same features" in same["guided"]["quality"]["judge"]["kid"]["reason"]
    arms = {"vanilla": vanilla, "guided": guided}
    bare = summarise(arms, None, None, PROMPTS, MetricSuite(), bootstrap=20)["arms"]["guided"]["quality"]["judge"]
    assert bare["kid"]["reason"] == NO_REFERENCE and bare["kept"]["reason"] == NO_MODES
    kept = summarise(arms, None, MODES, PROMPTS, MetricSuite(), bootstrap=20)["arms"]["guided"]["quality"]["judge"][
        "kept"
    ]
    assert kept["value"] > kept["floor"]  # centred on the vanilla images, as there is no reference
    json.dumps(quality(world), allow_nan=False)


def test_an_image_at_the_centre_has_no_direction_and_is_left_out(world):
    x = {name: data.spaces["judge"].copy() for name, data in world.items()}
    x["vanilla"][0] = x["reference"].astype(np.float64).mean(0)
    moved = {name: replace(data, spaces={"judge": x[name].astype(np.float64)}) for name, data in world.items()}
    moved["vanilla"].spaces["judge"][0] = moved["reference"].spaces["judge"].mean(0)
    kept = quality(moved)["guided"]["quality"]["judge"]["kept"]
    assert kept["n"] == quality(world)["guided"]["quality"]["judge"]["kept"]["n"] - 1


def test_scaled_features_have_mean_square_one_and_keep_their_neighbours():
    x = np.random.default_rng(0).normal(size=(50, 6)) * 7 + 100
    z = Scaled.of(x)(x)
    assert np.allclose(z.mean(0), 0, atol=1e-5) and np.square(z).mean() == pytest.approx(1, rel=1e-5)
    with pytest.raises(ValueError, match="must be finite"):
        Scaled.of(np.full((3, 2), np.nan))
    assert cosine_of_strangers(x, np.arange(50), np.ones(50)) is None
