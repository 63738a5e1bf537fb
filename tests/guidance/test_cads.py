from __future__ import annotations

import pytest
import torch

from selfdebias.config.compose import load
from selfdebias.config.rules import ConfigError
from selfdebias.guidance import CadsGuidance, GuidanceState
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.jobs.early_checks import check_early
from tests.guidance.test_attachment import semantics
from tests.guidance.worlds import step as step_of
from tests.tiny import sample, tiny_pipeline


def _text(images: int) -> torch.Tensor:
    return torch.randn(2 * images, 7, 5, generator=torch.Generator().manual_seed(0)) * 3 + 2


def _attached(pipeline, guidance, state=None):
    return Attachment(pipeline, guidance, GuidanceWindow(), state or GuidanceState())


def test_the_noise_follows_the_papers_schedule():
    """gamma = (tau2 - t) / (tau2 - tau1), 1 below tau1, 0 above tau2; y^ = sqrt(gamma) y + s sqrt(1 - gamma) n."""
    guidance = CadsGuidance(0.5, 0.2, 0.8, psi=0.0)
    assert [guidance.gamma(t) for t in (1.0, 0.8, 0.2, 0.0)] == [0.0, 0.0, 1.0, 1.0]
    assert [guidance.gamma(t) for t in (0.5, 0.35)] == pytest.approx([0.5, 0.75])
    y, state = _text(2), GuidanceState(seeds=(4, 5))
    at = [guidance.edit(y, step_of(index), state)[2:] for index in (0, 2, 3)]  # t = 1, 0.5, 0.25 of four steps
    for edited, gamma in zip(at, (0.0, 0.5, 11 / 12), strict=True):
        noise = (edited - gamma**0.5 * y[2:]) / (0.5 * (1 - gamma) ** 0.5)
        assert abs(float(noise.mean())) < 0.4 and 0.75 < float(noise.std()) < 1.25
    assert guidance.edit(y, step_of(4), state) is y  # t = 0, below tau1


def test_rescaled_text_has_the_mean_and_spread_that_it_had_and_the_unconditional_one_is_left_alone():
    y, state = _text(2), GuidanceState(seeds=(4, 5))
    whole, none, half = (CadsGuidance(2.0, psi=psi).edit(y, step_of(1), state) for psi in (1.0, 0.0, 0.5))
    assert torch.equal(whole[:2], y[:2])
    for edited, own in zip(whole[2:], y[2:], strict=True):
        assert float(edited.mean()) == pytest.approx(float(own.mean()), abs=1e-4)
        assert float(edited.std()) == pytest.approx(float(own.std()), rel=1e-4)
    assert not torch.allclose(none[2:].std(), y[2:].std(), rtol=0.05)
    assert torch.allclose(half, (whole + none) / 2, atol=1e-5)


def test_an_image_is_the_same_alone_and_in_a_batch_and_its_generator_draws_what_it_drew():
    pipeline = tiny_pipeline()
    vanilla = sample(pipeline, [7, 8, 9])
    with _attached(pipeline, CadsGuidance(1.0)):
        together, alone, again = sample(pipeline, [7, 8, 9]), sample(pipeline, [9]), sample(pipeline, [7, 8, 9])
    assert torch.allclose(together[2], alone[0], atol=1e-5) and torch.equal(together, again)
    assert all(not torch.equal(one, other) for one, other in zip(vanilla, together, strict=True))
    assert torch.equal(vanilla, sample(pipeline, [7, 8, 9]))
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    pipeline(["a person"], num_inference_steps=3, generator=[generators[0]], output_type="np")
    with _attached(pipeline, CadsGuidance(1.0)):
        pipeline(["a person"], num_inference_steps=3, generator=[generators[1]], output_type="np")
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_each_image_has_noise_of_its_own_at_each_step():
    y, guidance = _text(1).repeat_interleave(2, dim=0), CadsGuidance(1.0, psi=0.0)
    first, second = guidance.edit(y, step_of(0), GuidanceState(seeds=(1, 2)))[2:]
    other, _ = guidance.edit(y, step_of(1), GuidanceState(seeds=(1, 2)))[2:]
    assert not torch.allclose(first, second) and not torch.allclose(first, other)


def test_with_a_debiasers_semantics_of_another_shape_it_still_edits_the_text():
    pipeline = tiny_pipeline()
    with _attached(pipeline, CadsGuidance(1.0), GuidanceState(semantics())) as attached:
        sample(pipeline, [1, 2])
    assert attached.state.trace.index == [0, 1]  # t = 1 and 2/3; 1/3 is below tau1


def test_without_a_generator_for_each_image_it_is_refused():
    pipeline = tiny_pipeline()
    with (
        _attached(pipeline, CadsGuidance()),
        pytest.raises(ValueError, match="`generator` must be a list with one for each"),
    ):
        pipeline(["a person"] * 2, num_inference_steps=3, generator=torch.Generator().manual_seed(0))


def test_wrong_values_and_models_without_text_are_refused():
    with pytest.raises(ValueError, match="`guidance.tau2` must be larger than `guidance.tau1`, 0.9, got 0.6"):
        CadsGuidance(tau1=0.9, tau2=0.6)
    with pytest.raises(ValueError, match="`guidance.psi` must be a number in"):
        CadsGuidance(psi=1.5)
    with pytest.raises(ConfigError, match="`guidance` must be one that edits `h_t` for a model without prompts"):
        check_early(load(["model=emoji_ddpm", "guidance=cads"]))
    check_early(load(["guidance=cads"]))
