"""A debiaser and the pipeline that it is attached to."""

from __future__ import annotations

import pytest

from selfdebias.encoders import encoder_from
from selfdebias.jobs.fitted_model import check_model
from selfdebias.jobs.parts import guidance_of
from tests.architectures import ddpm
from tests.guidance.worlds import circle_state
from tests.tiny import tiny_pipeline


def test_a_model_that_draws_without_prompts_is_refused_where_prompts_were_fitted_and_the_other_way_round():
    said: list[str] = []
    with pytest.raises(
        ValueError, match="got a DDPMPipeline, which draws without a prompt, where the fitted one draws with one"
    ):
        check_model({"model": "emoji", "prompts": ["a person"]}, ddpm(), said.append)
    with pytest.raises(ValueError, match="got a StableDiffusionPipeline, which draws with a prompt"):
        check_model({"model": "emoji", "prompts": [""]}, tiny_pipeline(), said.append)
    check_model({"model": "emoji", "prompts": ["a person"]}, tiny_pipeline(), said.append)
    assert said == []


def test_a_shipped_encoder_by_its_bare_name_names_the_way_out():
    with pytest.raises(ValueError, match="got 'emoji_clip': did you mean shipped:emoji_clip?"):
        encoder_from("emoji_clip")


def test_a_guidance_for_jobs_alone_is_said_to_be_one():
    with pytest.raises(ValueError, match="got 'resample', which is for jobs alone"):
        guidance_of("resample")


@pytest.mark.parametrize("block, slack", [(None, 2.5), (3, 1.5)])
def test_a_mixture_by_name_steers_by_the_debiasers_transport_or_by_the_one_that_suits_it(block, slack):
    fitted = circle_state().semantics
    fitted.projector.block = block
    own = guidance_of("transport")
    assert guidance_of("select_then_transport", own, fitted).steer is own
    mixed = guidance_of("select_then_transport", own, fitted)
    assert guidance_of("select_then_transport", mixed, fitted).steer is own
    assert guidance_of("select_then_transport", guidance_of("self_debias"), fitted).steer.slack == slack
    assert guidance_of("select", own, fitted).steer is None
