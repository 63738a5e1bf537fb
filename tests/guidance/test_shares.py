from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from selfdebias.guidance import TransportGuidance
from selfdebias.guidance.shares import wanted_shares
from tests.guidance.worlds import circle_state


def test_targets_by_name_by_shares_and_as_found():
    bank = circle_state((0.3, 0.7)).semantics.bank
    assert wanted_shares(None, bank) is bank.target
    assert wanted_shares("uniform", bank).tolist() == [0.5, 0.5]
    assert wanted_shares([0.75, 0.25], bank).tolist() == [0.75, 0.25]


def test_by_depth_a_mode_counts_less_the_deeper_it_lies():
    deep = SimpleNamespace(target=torch.full((3,), 1 / 3), depths=torch.tensor([0, 1, 1]))
    assert wanted_shares("depth", deep).tolist() == pytest.approx([0.5, 0.25, 0.25])


def test_another_number_of_shares_than_modes_is_refused():
    with pytest.raises(ValueError, match="`guidance.target` must be 2 shares, one for each mode that was found, got"):
        wanted_shares([0.2, 0.3, 0.5], circle_state().semantics.bank)


@pytest.mark.parametrize("target", [[1.0], [0.5, 0.6], [-0.5, 1.5], "equal"])
def test_what_is_no_target_is_refused(target):
    with pytest.raises(ValueError, match="`guidance.target` must be a list of at least two shares that"):
        TransportGuidance(0.5, 0.3, target=target)
