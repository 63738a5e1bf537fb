from __future__ import annotations

import math

import pytest
import torch

from selfdebias.guidance import MeanDifferenceGuidance, MeanTransportGuidance, Semantics, TransportGuidance
from selfdebias.guidance.transport import TransportState
from tests.guidance.worlds import activations, circle_state, step

BIASED = [0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 1.2]
N = len(BIASED)


def _guidance(strength: float = 0.3, **options) -> MeanDifferenceGuidance:
    return MeanDifferenceGuidance(strength, 0.3, **{"branch": "cond", "kappa": 0.002, "slack": 100.0, **options})


def test_all_pushed_images_go_the_same_way_the_length_that_was_asked_for():
    h, state = activations(BIASED), circle_state()
    edit = (_guidance().edit(h, step(), state) - h)[N:]
    towards = torch.zeros(3, 2, 2)
    towards[0], towards[1] = -1.0, 1.0
    cosine = torch.nn.functional.cosine_similarity(edit.flatten(1), towards.flatten()[None])
    assert torch.allclose(cosine[:-1], torch.ones(N - 1), atol=1e-5)
    assert not edit[-1].any()  # it is of the mode that has too few
    relative = edit.flatten(1).norm(dim=1) / h[N:].flatten(1).norm(dim=1)
    assert torch.allclose(relative[:-1], torch.full((N - 1,), 0.3 / 3.0), atol=1e-5)


def test_the_other_way_round_where_the_other_mode_has_too_many():
    angles = [math.pi / 2 - angle for angle in BIASED]
    h = activations(angles)
    edit = (_guidance().edit(h, step(), circle_state()) - h)[N:]
    assert (edit[:-1, 0].mean(dim=(1, 2)) > 0).all() and (edit[:-1, 1].mean(dim=(1, 2)) < 0).all()


def test_at_balance_nothing_moves():
    h = activations([0.2, math.pi / 2 - 0.2])
    assert torch.allclose(_guidance(1.0).edit(h, step(), circle_state()), h, atol=1e-5)


def test_without_means_it_is_refused_before_an_image_is_drawn():
    semantics = circle_state().semantics
    with pytest.raises(ValueError, match="`guidance` must not be mean_difference for modes without mean activations"):
        _guidance().check(Semantics(semantics.projector, semantics.bank))


def test_under_transports_gate_the_same_images_go_as_far_along_the_means_of_their_modes():
    """Who is pushed, and how far, is transport's; the direction is the means', whatever the gradient."""
    h = activations(BIASED)
    plain, state = TransportGuidance(0.3, 0.3, branch="cond"), circle_state()
    mean, other = MeanTransportGuidance(0.3, 0.3, branch="cond"), circle_state()
    wanted, edit = plain.edit(h, step(), state) - h, mean.edit(h, step(), other) - h
    assert torch.equal(other.trace.edit_norm[0] > 0, state.trace.edit_norm[0] > 0)
    assert torch.allclose(other.trace.edit_norm[0], state.trace.edit_norm[0], atol=1e-6)
    modes = other.of(TransportState).plans[other.group].modes
    assert torch.equal(modes, state.of(TransportState).plans[state.group].modes)
    assert not torch.allclose(edit, wanted, atol=1e-3)
    pushed = other.trace.edit_norm[0] > 0
    assert 0 < int(pushed.sum()) < N
    towards = other.semantics.means.at(500.0, h.shape[2:])[modes]
    cosine = torch.nn.functional.cosine_similarity(edit[N:][pushed].flatten(1), towards[pushed].flatten(1))
    assert torch.allclose(cosine, torch.ones(int(pushed.sum())), atol=1e-5)
    with pytest.raises(ValueError, match="`guidance` must not be mean_transport for modes without mean activations"):
        mean.check(Semantics(state.semantics.projector, state.semantics.bank))
