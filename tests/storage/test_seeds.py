from __future__ import annotations

import pytest

from selfdebias.storage.seeds import generators, image_seeds


def test_no_two_stages_and_no_two_seeds_share_an_image():
    runs = [image_seeds(stage, seed, range(500)) for stage in ("collect", "generate") for seed in range(6)]
    every = [seed for run in runs for seed in run]
    assert len(set(every)) == len(every)


def test_generators_repeat():
    first, second = (generators(image_seeds("collect", 3, [5]))[0].initial_seed() for _ in range(2))
    assert first == second


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="`seed` must be at least 0, got -1"):
        image_seeds("collect", -1, [0])
