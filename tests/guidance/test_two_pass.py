"""What a first pass is good for: only images that have to turn are edited, and the others stay bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from selfdebias.attachment import Attachment
from selfdebias.guidance import GuidanceState, TransportGuidance, TwoPassGuidance
from selfdebias.hspace import BottleneckHook
from selfdebias.schedules import GuidanceWindow
from tests.guidance.worlds import activations, circle_state, step
from tests.test_attachment import semantics
from tests.tiny import sample, tiny_pipeline

SIDE = 0.5 * math.pi
ENDS = [0.1, 0.2, 0.3, SIDE - 0.3, 0.4, SIDE - 0.1]  # four end in mode 0, two in mode 1
N = len(ENDS)


def _guidance(**options) -> TwoPassGuidance:
    return TwoPassGuidance(0.3, 0.1, **{"branch": "cond", "slack": 1.0, **options})


def _watched(guidance: TwoPassGuidance, ends=ENDS, target=(0.5, 0.5)) -> GuidanceState:
    """A state after a first pass of four steps that looked elsewhere until the last one."""
    state = circle_state(target)
    state.begin("a person", (), guided=False)
    for index in range(4):
        guidance.watch(activations(ends if index == 3 else ends[::-1]), step(index), state)
    state.begin("a person", ())
    return state


def _moved(guidance, h, index, state) -> list[int]:
    edited = guidance.edit(h, step(index), state)
    return [i for i in range(N) if not torch.equal(h[N + i], edited[N + i])]


def test_only_an_image_that_has_to_turn_is_edited_whatever_the_first_steps_look_like():
    guidance = _guidance()
    undecided = activations([0.8, 0.7, 0.9, 0.75, 0.85, 0.8])
    assert _moved(guidance, undecided, 0, _watched(guidance)) == [4]  # of those in mode 0 the nearest to mode 1
    once, state = TransportGuidance(0.3, 0.1, "cond", slack=1.0), circle_state()
    state.begin("a person", ())
    assert len(_moved(once, undecided, 0, state)) > 1


def test_an_image_that_was_tried_and_goes_back_is_seen_as_it_is_now():
    guidance = _guidance(slack=3.0, freeze=0.5)
    state = _watched(guidance)
    undecided = activations([0.8] * N)
    assert _moved(guidance, undecided, 0, state) == [1, 2, 4]
    answered = activations([0.1, 1.0, 0.5, SIDE, 0.4, SIDE])
    guidance.edit(answered, step(1), state)
    assert state.plans["a person"].modes.tolist() == [0, 1, 0, 1, 0, 1]
    assert state.plans["a person"].tried.tolist() == [False, True, True, False, True, False]


def test_where_all_end_as_asked_nothing_is_edited():
    guidance = _guidance()
    ends = [0.1, 0.2, 0.3, SIDE, SIDE, SIDE]
    h = activations([0.8] * N)
    assert guidance.edit(h, step(), _watched(guidance, ends)) is h


def test_an_image_that_ends_where_it_did_is_taken_back_and_its_edits_are_not_counted():
    guidance = _guidance(slack=3.0)
    state = _watched(guidance)
    guidance.edit(activations([0.8] * N), step(0), state)
    assert (state.trace.edit_norm[0] > 0).tolist() == [False, True, True, False, True, False]
    guidance.watch(activations([0.1, 0.4, SIDE, SIDE, 1.2, SIDE]), step(3), state)
    assert guidance.take_back(state).tolist() == [True, True, False, True, False, True]
    assert (state.trace.edit_norm[0] > 0).tolist() == [False, False, True, False, True, False]


def test_without_a_first_pass_it_says_so():
    state = circle_state()
    state.begin("a person", ())
    with pytest.raises(ValueError, match="`state.ends` must hold the first pass of 'a person', got none"):
        _guidance().edit(activations([0.1]), step(), state)


def test_of_a_call_that_is_interrupted_nothing_is_taken_back_and_nothing_is_left_over_for_the_next():
    guidance = _guidance()
    state = _watched(guidance)
    guidance.edit(activations([0.8] * N), step(0), state)
    guidance.watch(activations([0.8] * N), step(2), state)  # of 4 steps the last one never comes
    assert guidance.take_back(state).tolist() == [False] * N
    assert [norm > 0 for norm in state.trace.edit_norm[0].tolist()] == [False] * 4 + [True, False]
    state.begin("a person", (), guided=False)
    assert state.ends == {}


def test_half_precision_is_read_as_well():
    guidance, state = TwoPassGuidance(6.0, 0.1), GuidanceState(semantics())
    state.begin("a person", (1,), guided=False)
    guidance.watch(torch.randn(2, 16, 4, 4).half(), step(3), state)
    assert state.ends["a person", False].shape == (1, 2)


def test_a_strength_of_zero_draws_once():
    assert _guidance().passes == 2 and TwoPassGuidance(0.0, 0.1).passes == TransportGuidance(0.3, 0.1).passes == 1


def test_the_last_step_tells_where_images_end_also_where_the_schedule_ends_before_it():
    pipeline, guidance, ends = tiny_pipeline(), TwoPassGuidance(6.0, 0.1), []
    with Attachment(pipeline, guidance, GuidanceWindow(0.0, 0.5), GuidanceState(semantics())) as attached:
        sample(pipeline, [1, 2, 3])
    with BottleneckHook(pipeline, lambda h, step: ends.append((h.clone(), step.timestep))):
        sample(pipeline, [1, 2, 3])
    h, timestep = ends[-1]
    assert torch.equal(attached.state.ends["a person", False], semantics().assign(h[3:], timestep, "cond", 0.1))


@pytest.mark.parametrize("target", [(0.5, 0.5), (0.75, 0.25), (0.01, 0.99)])
@pytest.mark.parametrize("output", ["np", "pt", "pil", "tuple"])
def test_on_a_pipeline_each_image_turns_or_is_vanilla_bit_for_bit(target, output):
    pipeline = tiny_pipeline()
    before = _draw(pipeline, output)
    guidance = TwoPassGuidance(6.0, 0.1, slack=2.0)
    with Attachment(pipeline, guidance, GuidanceWindow(), GuidanceState(semantics(target=target))) as attached:
        after = _draw(pipeline, output)
    ends = {guided: attached.state.ends["a person", guided].argmax(dim=1) for guided in (False, True)}
    changed = [i for i in range(6) if not np.array_equal(before[i], after[i])]
    assert changed == (ends[False] != ends[True]).nonzero()[:, 0].tolist()
    tried = attached.state.plans["a person"].tried.nonzero()[:, 0].tolist()
    assert set(changed) <= set(tried) and tried
    norms = torch.stack(attached.state.trace.edit_norm)
    assert norms.shape == (3, 6) and norms.any(dim=0).nonzero()[:, 0].tolist() == changed


def test_images_that_no_edit_turns_are_vanilla_also_where_edits_are_extrapolated():
    pipeline, options = tiny_pipeline(), {"strength": 6.0, "temperature": 0.1, "extrapolation_scale": 2.5}
    before, after = _draw(pipeline, "np", scale=1.0), {}
    for rule in (TransportGuidance, TwoPassGuidance):
        state = GuidanceState(semantics(target=(0.01, 0.99)))
        with Attachment(pipeline, rule(**options), GuidanceWindow(), state):
            after[rule] = _draw(pipeline, "np", scale=1.0)
    assert state.plans["a person"].tried.all() and not state.ends["a person", True].argmax(dim=1).any()
    for once, twice, vanilla in zip(after[TransportGuidance], after[TwoPassGuidance], before, strict=True):
        assert np.array_equal(twice, vanilla) and not np.array_equal(once, vanilla)


def test_groups_of_a_call_are_taken_back_each_for_itself():
    pipeline, prompts = tiny_pipeline(), ["a cat", "a dog", "a cat", "a dog", "a dog", "a cat"]
    before = _draw(pipeline, "np", prompts)
    with Attachment(pipeline, TwoPassGuidance(6.0, 0.1), GuidanceWindow(), GuidanceState(semantics())) as attached:
        after = _draw(pipeline, "np", prompts)
    for name in ("a cat", "a dog"):
        places = [i for i, prompt in enumerate(prompts) if prompt == name]
        first, second = (attached.state.ends[name, guided].argmax(dim=1) for guided in (False, True))
        for place, turned in zip(places, (first != second).tolist(), strict=True):
            assert np.array_equal(before[place], after[place]) is not turned


def _draw(pipeline, output, prompts=("a person",) * 6, scale=3.0) -> list[np.ndarray]:
    """Six images, as a pipeline gives them in one of its ways."""
    drawn = pipeline(
        list(prompts), num_inference_steps=3, guidance_scale=scale, return_dict=output != "tuple",
        generator=[torch.Generator().manual_seed(seed) for seed in range(6)], output_type="np" if output == "tuple" else output,
    )  # fmt: skip
    return [np.asarray(image) for image in drawn[0]]
