"""Intervals against formulas and loops: Wilson's for shares, Student's for means, and those of resampled blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdebias.metrics.intervals import BlockBootstrap, block_sums, mean_interval, share_interval, share_precision
from selfdebias.metrics.number import Number


def rows(hits: np.ndarray, size: float) -> np.ndarray:
    return np.stack([hits, np.full(len(hits), size)], 1)


def test_independent_images_give_wilsons_interval():
    hits = np.r_[np.ones(300), np.zeros(700)]
    interval = share_interval(rows(hits, 1))
    z, p, n = 1.9623415, 0.3, 999  # Student's t with 999 degrees; n p (1 - p) over the unbiased variance is n - 1
    centre, width = (p + z * z / 2 / n) / (1 + z * z / n), z / (1 + z * z / n) * np.sqrt(p * 0.7 / n + (z / 2 / n) ** 2)
    assert [interval.low, interval.high] == pytest.approx([centre - width, centre + width], abs=1e-6)


def test_copies_in_a_block_are_worth_one_image():
    hits = np.random.default_rng(0).integers(0, 2, 50).astype(float)
    one, ten = share_precision(rows(hits, 1)), share_precision(rows(10 * hits, 10))
    assert ten.effective == pytest.approx(one.effective)


def test_batches_that_are_all_balanced_still_leave_something_open():
    interval = share_interval(rows(np.full(4, 16.0), 32))
    assert 0 < interval.high - interval.low < 0.1
    assert share_precision(rows(np.full(4, 16.0), 32)).effective > 4 * 32


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_a_class_that_is_all_or_nothing_has_a_bound_on_the_other_side(p):
    interval = share_interval(rows(np.full(128, p), 1))
    assert (interval.high if p == 0 else 1 - interval.low) == pytest.approx(3.9157 / (128 + 3.9157), abs=1e-4)
    assert interval.low >= 0 and interval.high <= 1


def test_one_block_has_no_bounds():
    assert share_interval([[16, 32]]) == Number.unbounded(0.5, 1) == mean_interval([[16.0, 32]])
    assert share_interval([[0, 0]]) == Number.unbounded(None, 0) == mean_interval([[0.0, 0]])
    with pytest.raises(ValueError, match="`sums` must have"):
        share_precision([[16, 32]])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=20), st.randoms())
def test_blocks_may_come_in_any_order_and_the_other_class_has_the_mirrored_interval(hits, shuffle):
    sums = rows(np.array(hits, dtype=float), 8)
    interval, mirrored = share_interval(sums), share_interval(np.stack([8 - sums[:, 0], sums[:, 1]], 1))
    assert 0 <= interval.low <= interval.high <= 1
    assert interval.low - 1e-12 <= sums[:, 0].sum() / sums[:, 1].sum() <= interval.high + 1e-12
    assert [1 - mirrored.high, 1 - mirrored.low] == pytest.approx([interval.low, interval.high], abs=1e-9)
    shuffle.shuffle(hits)
    again = share_interval(rows(np.array(hits, dtype=float), 8))
    assert [again.low, again.high] == pytest.approx([interval.low, interval.high])


def draw(kind: str, p: float, generator: np.random.Generator) -> np.ndarray:
    """Counts of 4 batches of 32: too alike, or too different, for independent images."""
    if kind == "balanced":
        return np.floor(32 * p + generator.random(4))
    return generator.binomial(32, generator.beta(9 * p, 9 * (1 - p), 4)).astype(float)


@pytest.mark.parametrize("kind", ["balanced", "clustered"])
@pytest.mark.parametrize("p", [0.5, 0.8, 0.95])
def test_four_dependent_batches_cover_the_share(kind, p):
    generator = np.random.default_rng(3)
    intervals = [share_interval(rows(draw(kind, p, generator), 32)) for _ in range(500)]
    assert np.mean([it.low <= p <= it.high for it in intervals]) >= 0.92


def test_mean_of_single_images_is_students_interval():
    values = np.random.default_rng(5).normal(size=20)
    interval = mean_interval(rows(values, 1))
    width = 2.0930241 * values.std(ddof=1) / np.sqrt(20)  # Student's t, 19 degrees
    assert [interval.low, interval.high] == pytest.approx([values.mean() - width, values.mean() + width])


def test_blocks_without_a_chosen_image_count_not():
    assert mean_interval([[1.0, 1], [0.0, 0], [3.0, 1]]) == mean_interval([[1.0, 1], [3.0, 1]])


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
