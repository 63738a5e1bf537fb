"""`torch.inference_mode()`, which many put around their calls, changes nothing of what a debiaser does."""

from __future__ import annotations

import pytest
import torch

from selfdebias import SelfDebias
from selfdebias.guidance import (
    GradientDescentGuidance,
    GuidanceState,
    InterleavedGuidance,
    MeanDifferenceGuidance,
    RandomGuidance,
    SelfDebiasGuidance,
    TransportGuidance,
)
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.baselines import ReplayedSizes
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.self_debias import AssignmentMemory
from selfdebias.guidance.transport import TransportState
from selfdebias.modes import KMeansModes
from tests.jobs.stages.world import PixelEncoder
from tests.safety.fitted import PROMPT, tiny_debiaser, write_debiaser
from tests.tiny import sample, tiny_pipeline

EIGHT = list(range(8))
UNEVEN = [0.05, 0.95]
GUIDANCES = {
    "self_debias": SelfDebiasGuidance(6.0, 0.1, decay=0.5, slack=10.0, inner_steps=2, target=UNEVEN),
    "transport": TransportGuidance(6.0, 0.1, closed_loop=True, target=UNEVEN),
    "mean_difference": MeanDifferenceGuidance(6.0, 0.1, slack=10.0, target=UNEVEN),
    "gradient_descent": GradientDescentGuidance(100.0, 0.1, limit=0.5, inner_steps=2, target=UNEVEN),
    "interleaved": InterleavedGuidance(100.0, 0.1, limit=0.5, target=UNEVEN),
    "random": RandomGuidance("contrast"),
}


def draw(semantics, guidance, call, attach, scale=3.0):
    """Two calls, so that memory counts, with the attachment made in one mode and the pipeline called in another one."""
    pipeline, _ = tiny_debiaser()
    state = GuidanceState(semantics)
    state.of(ReplayedSizes).sizes = {index: torch.full((8,), 0.5) for index in range(3)}
    with attach():
        attachment = Attachment(pipeline, guidance, GuidanceWindow(), state)
    with attachment:
        images = []
        for seeds in (EIGHT, EIGHT[::-1]):
            with call():
                images.append(sample(pipeline, seeds, scale))
    return torch.cat(images), attachment.state


@pytest.mark.parametrize("name", GUIDANCES)
def test_each_guidance_draws_the_same_images_bit_for_bit(name):
    guidance, semantics = GUIDANCES[name], tiny_debiaser()[1].semantics
    plain, _ = draw(semantics, guidance, torch.no_grad, torch.no_grad)
    inside, state = draw(semantics, guidance, torch.inference_mode, torch.no_grad)
    around, _ = draw(semantics, guidance, torch.inference_mode, torch.inference_mode)
    assert torch.equal(plain, inside) and torch.equal(plain, around)
    assert not any(values.is_inference() for values in state.of(AssignmentMemory).sums.values())
    assert not torch.equal(plain[:8], sample(tiny_debiaser()[0], EIGHT))


def test_modes_may_change_between_the_calls_of_one_attachment():
    """Of batches of three something is owed, and what is owed was noted in the other mode."""
    pipeline, debiaser = tiny_debiaser()
    drawn = []
    for modes in ((torch.no_grad,) * 3, (torch.inference_mode, torch.no_grad, torch.inference_mode)):
        for guidance in ("transport", "mean_transport"):
            with debiaser.attach(pipeline, guidance=guidance) as attached:
                for mode, seeds in zip(modes, ([1, 2, 3], [4, 5, 6], [7, 8, 9]), strict=True):
                    with mode():
                        drawn.append(sample(pipeline, seeds))
            drawn.append(attached.state.of(TransportState).plans[PROMPT].left)
    assert all(
        torch.equal(one, other) for one, other in zip(drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :], strict=True)
    )


@pytest.mark.parametrize("call", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_debiaser_that_was_read_in_inference_mode_is_like_any_other(tmp_path, call):
    _pipeline, debiaser = tiny_debiaser()
    write_debiaser(tmp_path)
    with torch.inference_mode():
        read = SelfDebias.from_pretrained(tmp_path)
    assert not any(tensor.is_inference() for tensor in read.semantics.projector.state_dict().values())
    plain, _ = draw(debiaser.semantics, GUIDANCES["transport"], torch.no_grad, torch.no_grad)
    drawn, _ = draw(read.semantics, GUIDANCES["transport"], call, torch.no_grad)
    assert torch.equal(plain, drawn)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_debiaser_is_fitted_in_inference_mode_as_out_of_it(mode):
    _, debiaser = tiny_debiaser()
    with mode():
        pipeline = tiny_pipeline()
        fitted = SelfDebias.fit(
            pipeline, PROMPT, encoder=PixelEncoder(), n_images=16, batch_size=8, timesteps=2,
            clustering=KMeansModes(k_min=2, k_max=2, k=2, n_init=2), projector={"steps": 60},
            call={"num_inference_steps": 3}, relative_scale=1.0,
        )  # fmt: skip
        with fitted.attach(pipeline, target=UNEVEN):
            inside = sample(pipeline, EIGHT)
    wanted, got = debiaser.semantics.projector.state_dict(), fitted.semantics.projector.state_dict()
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
    with fitted.attach(pipeline, target=UNEVEN):
        assert torch.equal(inside, sample(pipeline, EIGHT))
