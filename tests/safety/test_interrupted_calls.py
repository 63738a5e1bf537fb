"""What a call that raised, or that somebody interrupted, delivered to nobody is counted nowhere."""

from __future__ import annotations

import contextlib

import pytest
import torch

from selfdebias.guidance import GuidanceState, SelfDebiasGuidance, TransportGuidance
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.self_debias import AssignmentMemory
from selfdebias.guidance.transport import TransportState
from tests.guidance.test_attachment import semantics
from tests.tiny import sample, tiny_pipeline

PROMPT = "a person"
RULES = {
    "transport": TransportGuidance(6.0, 0.1),
    "closed_loop": TransportGuidance(6.0, 0.1, closed_loop=True),
    "memory": SelfDebiasGuidance(0.8, 0.1, decay=0.9, slack=10.0),
}


def attached(pipeline, rule) -> Attachment:
    return Attachment(pipeline, RULES[rule], GuidanceWindow(), GuidanceState(semantics()))


def ended(pipeline, seeds, at, act):
    """Draw as `sample` does, and do something after a step."""
    seen = []

    def callback(pipe, index, timestep, tensors):
        seen.append(index)
        if index == at:
            act(pipe)
        return tensors

    return torch.from_numpy(
        pipeline(
            [PROMPT] * len(seeds), num_inference_steps=3, guidance_scale=3.0, output_type="np", callback_on_step_end=callback,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        ).images
    ), seen  # fmt: skip


def fail(pipe):
    raise KeyboardInterrupt


def interrupt(pipe):
    pipe._interrupt = True


def account(state) -> tuple:
    """What a state knows of the calls before: what is owed, and the memory."""
    plans, sums = state.of(TransportState).plans, state.of(AssignmentMemory).sums
    owed = {group: plan.left.tolist() for group, plan in plans.items() if plan.left.any()}
    return owed, {place: values.tolist() for place, values in sums.items()}


@pytest.mark.parametrize("rule", RULES)
def test_three_calls_that_raise_leave_nothing_owed(rule):
    pipeline = tiny_pipeline()
    with attached(pipeline, rule) as guided:
        for seed, step in enumerate((0, 1, 2)):
            with pytest.raises(KeyboardInterrupt):
                ended(pipeline, [seed], step, fail)
            assert account(guided.state) == ({}, {})
        after = sample(pipeline, [3, 4, 5])
        kept = account(guided.state)
    with attached(pipeline, rule) as guided:
        assert torch.equal(after, sample(pipeline, [3, 4, 5])) and account(guided.state) == kept != ({}, {})


@pytest.mark.parametrize("act", [fail, interrupt])
@pytest.mark.parametrize("rule", RULES)
def test_what_was_counted_before_stays_as_it_was(rule, act):
    pipeline = tiny_pipeline()
    with attached(pipeline, rule) as guided:
        sample(pipeline, [1])
        before = account(guided.state)
        assert before != ({}, {})
        with contextlib.suppress(KeyboardInterrupt):
            ended(pipeline, [2], 1, act)
        assert account(guided.state) == before
        sample(pipeline, [3])
        after = account(guided.state)
    with attached(pipeline, rule) as guided:
        sample(pipeline, [1])
        sample(pipeline, [3])
        assert account(guided.state) == after


@pytest.mark.parametrize("rule", RULES)
def test_a_call_that_raises_before_it_begins_takes_nothing_from_the_one_before(rule):
    pipeline = tiny_pipeline()
    with attached(pipeline, rule) as guided:
        sample(pipeline, [1])
        before = account(guided.state)
        with pytest.raises(TypeError):
            pipeline(["a person"], num_images_per_prompt=[2])
        with pytest.raises(ValueError, match="callback_on_step_end_tensor_inputs"):
            pipeline(["a person"], callback_on_step_end_tensor_inputs=["nothing"])
        assert account(guided.state) == before != ({}, {})


def test_a_call_that_is_interrupted_at_its_last_step_is_not_counted_either():
    pipeline = tiny_pipeline()
    with attached(pipeline, "transport") as guided:
        ended(pipeline, [1], 2, interrupt)
        assert account(guided.state) == ({}, {}) and guided.shares == {}
        sample(pipeline, [2])
        assert guided.shares.keys() == {PROMPT}


def test_a_call_whose_last_edit_told_nothing_leaves_the_shares_of_the_others():
    pipeline = tiny_pipeline()
    with attached(pipeline, "transport") as guided:
        sample(pipeline, [1, 2])
        before = guided.shares[PROMPT]
        guided.state.trace.p_hat[-1] = torch.full_like(before, torch.nan)  # as of an axis whose gradient was not finite
        guided._tell()
        assert torch.equal(guided.shares[PROMPT], before) and not before.isnan().any()
