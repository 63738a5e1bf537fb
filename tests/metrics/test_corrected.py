"""Corrected shares as entries: exact without error, wider with it, and covering planted shares."""

from __future__ import annotations

import numpy as np
import pytest

from selfdebias.metrics.corrected import corrected_intervals, corrected_metrics
from selfdebias.metrics.intervals import BlockBootstrap, share_interval
from tests.metrics.test_summary import arm

BOOTSTRAP = BlockBootstrap(500)


def error(counts):
    return {"gender": {"counts": counts}}


def test_a_judge_without_error_changes_no_share():
    found = corrected_metrics(arm("vanilla", 8), "gender", error([[10**6, 0], [0, 10**6]]), BOOTSTRAP)
    assert found["man"].value == pytest.approx(24 / 32)
    plain = share_interval([[8, 8], [8, 8], [8, 8], [0, 8]])
    assert [found["man"].low, found["man"].high] == pytest.approx([plain.low, plain.high], abs=0.02)
    assert found["man"].low == pytest.approx(1 - found["woman"].high)


def test_a_known_error_is_taken_back():
    found = corrected_metrics(arm("vanilla", 8), "gender", error([[90, 10], [20, 80]]), BOOTSTRAP)
    assert found["man"].value == pytest.approx((24 / 32 - 0.2) / 0.7)


def test_few_labelled_images_make_the_interval_wider():
    sums = np.random.default_rng(0).multinomial(32, [0.7, 0.3], size=20).astype(float)
    widths = [
        it.high - it.low
        for it in (corrected_intervals(sums, n * np.array([[9, 1], [1, 9]]), BOOTSTRAP)[0] for n in (2, 100))
    ]
    assert widths[0] > 1.5 * widths[1]


def test_what_is_not_known_is_said():
    vanilla = arm("vanilla", 8)
    assert "evaluate.labelled" in corrected_metrics(vanilla, "tone", error([[9, 1], [1, 9]]), BOOTSTRAP).reason
    reason = corrected_metrics(vanilla, "tone", {"tone": {"reason": "no image of tone"}}, BOOTSTRAP).reason
    assert reason == "no image of tone"
    crossed = corrected_metrics(vanilla.crossed(["gender x tone"]), "gender x tone", error([[9, 1], [1, 9]]), BOOTSTRAP)
    assert crossed.reason.startswith("an intersection is as often wrong as its parts together")
    assert "tell the classes apart" in corrected_metrics(vanilla, "gender", error([[5, 5], [5, 5]]), BOOTSTRAP).reason
    assert "an image of each class" in corrected_metrics(vanilla, "gender", error([[5, 5], [0, 0]]), BOOTSTRAP).reason


@pytest.mark.parametrize("p", [0.5, 0.9])
@pytest.mark.parametrize("classes", [2, 4])
def test_planted_shares_are_covered(p, classes):
    generator, hits = np.random.default_rng(4), 0
    true = np.r_[p, np.full(classes - 1, (1 - p) / (classes - 1))]
    rates = np.full((classes, classes), 0.1 / (classes - 1))
    np.fill_diagonal(rates, 0.9)
    for _ in range(150):
        labelled = np.stack([generator.multinomial(150, row) for row in rates])
        judged = np.stack([generator.multinomial(1, true @ rates) for _ in range(128)]).astype(float)
        first = corrected_intervals(judged, labelled, BlockBootstrap(300))[0]
        hits += first.low <= p <= first.high
    assert hits / 150 >= 0.9
