from __future__ import annotations

import pytest
import torch

from selfdebias.guidance import DcGuidance, GuidanceState
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.schedules import GuidanceWindow
from tests.guidance.worlds import activations, step
from tests.tiny import sample, tiny_pipeline


def test_of_each_row_the_mean_is_attenuated_and_nothing_else():
    h = activations([0.1, 0.4, 1.2])
    edited = DcGuidance(0.3).edit(h, step(), GuidanceState())
    mean = h.mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(edited.mean(dim=(2, 3), keepdim=True), 0.7 * mean, atol=1e-6)
    assert torch.allclose(edited - edited.mean(dim=(2, 3), keepdim=True), h - mean, atol=1e-6)
    assert DcGuidance(1.0).edit(h, step(), GuidanceState()).mean(dim=(2, 3)).abs().max() < 1e-6


def test_of_the_conditional_branch_alone_the_other_is_left_as_it_is():
    h, state = activations([0.1, 0.4, 1.2]), GuidanceState()
    edited = DcGuidance(0.3, branch="cond").edit(h, step(), state)
    assert torch.equal(edited[:3], h[:3]) and not torch.equal(edited[3:], h[3:])
    wanted = (edited - h)[3:].flatten(1).norm(dim=1) / h[3:].flatten(1).norm(dim=1)
    assert torch.allclose(state.trace.edit_norm[0], wanted, atol=1e-6)


def test_an_image_is_the_same_alone_and_in_a_batch_and_early_steps_are_the_schedules():
    pipeline = tiny_pipeline()
    with Attachment(pipeline, DcGuidance(0.5), GuidanceWindow(0.0, 0.5), GuidanceState()) as attached:
        together, alone = sample(pipeline, [7, 8, 9]), sample(pipeline, [9])
    assert torch.allclose(together[2], alone[0], atol=1e-5)
    assert not torch.equal(together, sample(pipeline, [7, 8, 9]))
    assert attached.state.trace.index == [0, 1]


@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_a_share_out_of_range_is_refused(strength):
    with pytest.raises(ValueError, match="`guidance.strength` must be a number in"):
        DcGuidance(strength)
