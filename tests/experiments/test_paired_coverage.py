"""Coverage of paired differences: planted values in closed form, few repeats, and what the committed table holds."""

from __future__ import annotations

import json
from statistics import mean

import numpy as np
import pytest

from experiments.coverage import DRAWS, SHARES
from experiments.paired_coverage import ENOUGH, KINDS, MEASURES, REPEATS, SIZES, Arms, cell, covered, table
from experiments.pooled import RESULTS
from tests.metrics.test_summary import arm


@pytest.fixture(scope="module")
def arms():
    """Of 64 seeds the first arm has 32 women, the other 40 and vanilla 8, the last ones each."""
    first, other, vanilla = (
        arm(name, women, 64, seed=women) for name, women in (("guided", 32), ("peer", 40), ("vanilla", 8))
    )
    return Arms((first, other, vanilla))


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_true_values_are_those_of_the_weighted_population(arms, share):
    found = arms.truths(share)
    men = np.array(
        [share, share * 24 / 32, share + (1 - share) * 24 / 32]
    )  # of women of the first arm 24 are vanilla men
    for name in ("fd_hard", "mode_fd"):
        assert found[name] == pytest.approx(np.sqrt(2) * np.abs(men - 0.5))
    assert found["kept_cosine"][2] == pytest.approx(1) and found["kept_cosine"][0] < 1


def test_the_intervals_of_few_repeats_mostly_hold_the_truth(arms):
    found = cell(arms, 0.8, 384, "independent", 40)
    truths = arms.truths(0.8)
    assert {f"{kind}, {name}" for kind in KINDS for name in MEASURES} == {*found}
    assert found["two guided arms, fd_hard"]["truth"] == pytest.approx(truths["fd_hard"][0] - truths["fd_hard"][1])
    for name, it in found.items():
        assert it["covered"] > 0.8 and 0 < it["width"] < 0.3, name


def test_the_committed_table_covers_as_asked():
    results = json.loads((RESULTS / "paired_coverage.json").read_text())
    assert results["repeats"] == REPEATS == 2000 and len(results["cells"]) == len(SHARES) * len(SIZES) * len(DRAWS)
    for kind in KINDS:
        for name in MEASURES:
            for n in SIZES:
                for draws in DRAWS:
                    assert mean(covered(results["cells"], kind, name, draws, n)) >= ENOUGH, (kind, name, n, draws)
    assert table(results["cells"]) in (RESULTS / "paired_coverage.md").read_text()
