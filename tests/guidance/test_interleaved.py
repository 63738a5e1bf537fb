"""The official split of the branches: right for one image, wrong for more."""

from __future__ import annotations

import torch

from selfdebias.guidance import InterleavedGuidance, SelfDebiasGuidance
from tests.guidance.worlds import activations, circle_state, step

OPTIONS = {"strength": 1.0, "temperature": 0.3, "branch": "both", "slack": 1000.0}


def _edited(guidance, h, scale=3.0):
    state = circle_state()
    state.begin("a person", tuple(range(len(h))))
    with torch.no_grad():
        return guidance.edit(h, step(scale=scale), state)


def test_of_one_image_it_does_what_the_right_split_does():
    h = activations([0.2])
    edited = _edited(InterleavedGuidance(**OPTIONS), h)
    assert torch.equal(edited, _edited(SelfDebiasGuidance(**OPTIONS), h)) and not torch.equal(edited, h)


def test_of_four_images_it_reads_two_unconditional_rows_as_conditional_ones():
    h = activations([0.1, 0.2, 0.3, 0.4])
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
    edited = _edited(InterleavedGuidance(**OPTIONS), h)
    assert torch.equal(edited[order], _edited(SelfDebiasGuidance(**OPTIONS), h[order]))
    assert not torch.allclose(edited, _edited(SelfDebiasGuidance(**OPTIONS), h))


def test_at_strength_0_and_without_branches_nothing_is_split():
    h = activations([0.1, 0.2])
    assert _edited(InterleavedGuidance(**{**OPTIONS, "strength": 0.0}), h) is h
    assert torch.equal(
        _edited(InterleavedGuidance(**OPTIONS), h[2:], scale=1.0),
        _edited(SelfDebiasGuidance(**OPTIONS), h[2:], scale=1.0),
    )
