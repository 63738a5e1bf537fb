from __future__ import annotations

import torch

from selfdebias.guidance import GuidanceState, RandomGuidance, SelfDebiasGuidance
from selfdebias.guidance.baselines import ReplayedSizes
from tests.guidance.worlds import activations, circle_state, step

BIASED = [0.1, 0.2, 0.3, 1.2]


def _control(sizes: dict[int, torch.Tensor]) -> GuidanceState:
    """A state of four images whose edits have these sizes, by step."""
    state = GuidanceState(seeds=(1, 2, 3, 4))
    state.of(ReplayedSizes).sizes = sizes
    return state


def _replayed():
    h, state = activations(BIASED), circle_state()
    edited = SelfDebiasGuidance(0.6, 0.3).edit(h, step(), state)
    control = _control({0: state.trace.edit_norm[0]})
    return h, edited, RandomGuidance().edit(h, step(), control), control


def test_the_control_has_the_same_sizes_and_other_directions():
    h, edited, random, control = _replayed()
    wanted, got = (edited - h)[4:].flatten(1), (random - h)[4:].flatten(1)
    assert torch.allclose(wanted.norm(dim=1), got.norm(dim=1), rtol=1e-4)
    assert torch.allclose(control.trace.edit_norm[0], wanted.norm(dim=1) / h[4:].flatten(1).norm(dim=1), rtol=1e-4)
    assert (torch.nn.functional.cosine_similarity(wanted, got).abs() < 0.9).all()
    assert torch.equal(random[:4], h[:4])


def test_the_direction_depends_on_seed_and_step_alone():
    h, control = activations(BIASED), _control({0: torch.ones(4), 1: torch.ones(4)})
    guidance = RandomGuidance()
    first = guidance.edit(h, step(0), control) - h
    assert torch.equal(first, guidance.edit(h, step(0), control) - h)
    assert not torch.allclose(first, guidance.edit(h, step(1), control) - h)
    control.seeds = (9, 2, 3, 4)
    other = guidance.edit(h, step(0), control) - h
    assert torch.equal(first[5:], other[5:]) and not torch.allclose(first[4], other[4])


def test_where_the_other_did_nothing_h_itself_comes_back():
    h = activations(BIASED)
    assert RandomGuidance().edit(h, step(2), _control({})) is h
