"""Block bootstrap: sums against loops, known weights, and coverage on simulated blocks."""

from __future__ import annotations

import numpy as np
import pytest

from selfdebias.metrics.intervals import BlockBootstrap, block_sums
from selfdebias.metrics.number import Number


def mean_of(bootstrap: BlockBootstrap, sums: np.ndarray, power: int = 1) -> Number:
    """Bound the mean of images, or its square, from sums of values and of images by block, (B, 2)."""

    def statistic(total):
        return (total[:, 0] / total[:, 1]) ** power

    value = float(statistic(sums.sum(0, keepdims=True))[0])
    return bootstrap.around(value, statistic(bootstrap.weights(len(sums)) @ sums), len(sums))


def test_block_sums_are_those_of_a_loop():
    generator = np.random.default_rng(0)
    values, blocks = generator.normal(size=(30, 3)), generator.integers(5, 9, size=30)
    expected = [sum(values[i] for i in range(30) if blocks[i] == name) for name in sorted(set(blocks))]
    assert np.allclose(block_sums(values, blocks), expected, atol=1e-12)


def test_block_sums_of_no_image_is_no_block():
    assert block_sums(np.zeros((0, 3)), np.zeros(0)).shape == (0, 3)


def test_interval_is_t_times_the_error_of_resampling_images_block_by_block_without_the_bias():
    generator = np.random.default_rng(1)
    values, blocks = generator.random(24), np.repeat(np.arange(6), 4)
    bootstrap = BlockBootstrap(repeats=300, seed=5)
    drawn = bootstrap.weights(6)
    squares = [
        np.mean(np.concatenate([np.tile(values[blocks == b], int(k)) for b, k in enumerate(row)])) ** 2 for row in drawn
    ]
    sums = block_sums(np.stack([values, np.ones(24)], 1), blocks)
    interval = mean_of(bootstrap, sums, power=2)
    centre = values.mean() ** 2 - (np.mean(squares) - values.mean() ** 2)
    width = 2.5705818 * np.sqrt(6 / 5) * np.std(squares)  # Student's t, 5 degrees, 0.975
    assert [interval.low, interval.high] == pytest.approx([centre - width, centre + width])


def test_an_interval_stays_in_the_range_of_its_statistic():
    sums = block_sums(np.stack([np.r_[np.ones(7), 0.0], np.ones(8)], 1), np.arange(8) // 2)
    interval = mean_of(BlockBootstrap(), sums).within(0.0, 1.0)
    assert interval.high == 1.0
    assert interval.low > 0


def test_resamples_without_a_value_are_left_out():
    with_nan = BlockBootstrap().around(0.5, np.array([0.4, np.nan, 0.6]), 10)
    assert with_nan == BlockBootstrap().around(0.5, np.array([0.4, 0.6]), 10)
    assert BlockBootstrap().around(0.5, np.array([np.nan]), 10) == Number.unbounded(0.5, 10)


def test_one_block_leaves_nothing_to_resample():
    assert mean_of(BlockBootstrap(), np.ones((1, 2))) == Number.unbounded(1.0, 1)


def test_same_seed_same_interval_and_streams_differ():
    bootstrap = BlockBootstrap(repeats=50, seed=3)
    assert np.array_equal(bootstrap.weights(8), bootstrap.weights(8))
    assert not np.array_equal(bootstrap.weights(8), bootstrap.weights(8, stream=1))
    assert (bootstrap.weights(8).sum(1) == 8).all()


def coverage(n_blocks: int, by_image: bool) -> float:
    """Share of 300 simulated data sets whose interval holds the true share 0.6, with blocks of 8 dependent images."""
    generator, hits = np.random.default_rng(7), 0
    for trial in range(300):
        p = generator.beta(3, 2, size=n_blocks)  # mean 0.6, one for each block
        values = (generator.random((n_blocks, 8)) < p[:, None]).astype(float).ravel()
        blocks = np.arange(8 * n_blocks) if by_image else np.repeat(np.arange(n_blocks), 8)
        sums = block_sums(np.stack([values, np.ones_like(values)], 1), blocks)
        interval = mean_of(BlockBootstrap(200, seed=trial), sums)
        hits += interval.low <= 0.6 <= interval.high
    return hits / 300


@pytest.mark.parametrize("n_blocks", [4, 30])
def test_blocks_cover_where_images_resampled_one_by_one_would_not(n_blocks):
    assert coverage(n_blocks, by_image=False) >= 0.92
    assert coverage(n_blocks, by_image=True) <= 0.88


@pytest.mark.parametrize(("arguments", "name"), [({"repeats": 0}, "repeats"), ({"level": 1.0}, "level")])
def test_what_is_refused(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        BlockBootstrap(**arguments)
