"""What a first pass is good for: only images that have to turn are edited, and the others stay bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from selfdebias.backbones.hspace import BottleneckHook
from selfdebias.guidance import GuidanceState, Semantics, TransportGuidance, TwoPassGuidance
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.transport import TransportState
from selfdebias.guidance.two_pass import TwoPassState, choose
from selfdebias.modes import ModeBank
from tests.guidance.test_attachment import semantics
from tests.guidance.worlds import activations, circle_state, step
from tests.tiny import redrawn, sample, tiny_pipeline

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
    assert state.of(TransportState).plans["a person"].modes.tolist() == [0, 1, 0, 1, 0, 1]
    assert state.of(TwoPassState).tried["a person"].tolist() == [False, True, True, False, True, False]


def test_where_all_end_as_asked_nothing_is_edited():
    guidance = _guidance()
    ends = [0.1, 0.2, 0.3, SIDE, SIDE, SIDE]
    h = activations([0.8] * N)
    assert guidance.edit(h, step(), _watched(guidance, ends)) is h


@pytest.mark.parametrize(
    ("ends", "turned"),
    [
        ([0.1, 0.4, SIDE, SIDE, 0.5, SIDE], [2]),  # the one that turned
        ([0.1, SIDE, 1.3, SIDE, 1.2, SIDE], [1]),  # of three that did, the furthest
        ([0.1, 0.2, 0.3, 0.1, 0.4, SIDE], []),  # none did; and one that left its mode is not missed
    ],
)
def test_as_many_turn_as_have_to_and_the_others_are_taken_back_and_their_edits_not_counted(ends, turned):
    guidance = _guidance(slack=3.0)
    state = _watched(guidance)
    guidance.edit(activations([0.8] * N), step(0), state)
    assert (state.trace.edit_norm[0] > 0).tolist() == [False, True, True, False, True, False]
    guidance.watch(activations(ends), step(3), state)
    assert guidance.take_back(state).tolist() == [i not in turned for i in range(N)]
    assert (state.trace.edit_norm[0] > 0).tolist() == [i in turned for i in range(N)]


def test_of_three_modes_each_gets_its_count_where_images_turned_to_it():
    first = torch.tensor([[0.8, 0.1, 0.1]] * 6)
    last = torch.tensor(
        [[0.1, 0.8, 0.1], [0.1, 0.7, 0.2], [0.1, 0.9, 0.0], [0.2, 0.1, 0.7], [0.6, 0.2, 0.2], [0.9, 0.0, 0.1]]
    )
    assert choose(first, last, torch.tensor([2, 2, 2])).tolist() == [True, False, True, True, False, False]


@pytest.mark.parametrize(("ends", "left"), [([SIDE] * N, [0.0, 0.0]), ([0.1] * N, [-1.0, 1.0])])
def test_a_closed_loop_owes_what_was_not_chosen(ends, left):
    guidance = _guidance(closed_loop=True, slack=3.0)
    state = _watched(guidance)
    guidance.edit(activations([0.8] * N), step(0), state)
    guidance.watch(activations(ends), step(3), state)
    guidance.take_back(state)
    assert state.of(TransportState).plans["a person"].left.tolist() == left


def test_without_a_first_pass_it_says_so():
    state = circle_state()
    state.begin("a person", ())
    with pytest.raises(ValueError, match="`TwoPassState.ends` must hold the first pass of 'a person', got none"):
        _guidance().edit(activations([0.1]), step(), state)


def test_of_a_call_that_is_interrupted_nothing_is_taken_back_and_nothing_is_left_over_for_the_next():
    guidance = _guidance()
    state = _watched(guidance)
    guidance.edit(activations([0.8] * N), step(0), state)
    guidance.watch(activations([0.8] * N), step(2), state)  # of 4 steps the last one never comes
    assert guidance.take_back(state).tolist() == [False] * N
    assert [norm > 0 for norm in state.trace.edit_norm[0].tolist()] == [False] * 4 + [True, False]
    state.begin("a person", (), guided=False)
    assert state.of(TwoPassState).ends == {}


def test_half_precision_is_read_as_well():
    guidance, state = TwoPassGuidance(6.0, 0.1), GuidanceState(semantics())
    state.begin("a person", (1,), guided=False)
    guidance.watch(torch.randn(2, 16, 4, 4).half(), step(3), state)
    assert state.of(TwoPassState).ends["a person", False].shape == (1, 2)


def test_a_strength_of_zero_draws_once():
    assert _guidance().passes == 2 and TwoPassGuidance(0.0, 0.1).passes == TransportGuidance(0.3, 0.1).passes == 1


def test_the_last_step_tells_where_images_end_also_where_the_schedule_ends_before_it():
    pipeline, guidance, ends = tiny_pipeline(), TwoPassGuidance(6.0, 0.1), []
    with Attachment(pipeline, guidance, GuidanceWindow(0.0, 0.5), GuidanceState(semantics())) as attached:
        sample(pipeline, [1, 2, 3])
    with BottleneckHook(pipeline, lambda h, step: ends.append((h.clone(), step.timestep))):
        sample(pipeline, [1, 2, 3])
    h, timestep = ends[-1]
    assert torch.equal(
        attached.state.of(TwoPassState).ends["a person", False], semantics().assign(h[3:], timestep, "cond", 0.1)
    )


@pytest.mark.parametrize("output", ["np", "pt", "pil", "tuple"])
def test_on_a_pipeline_each_image_turns_or_is_vanilla_bit_for_bit(output):
    pipeline = redrawn(tiny_pipeline(), 7)
    before = _draw(pipeline, output)
    guidance = TwoPassGuidance(6.0, 0.1, slack=3.0, settled=1.0, limit=10.0)
    with Attachment(pipeline, guidance, GuidanceWindow(), GuidanceState(_two_of_its_own(pipeline))) as attached:
        after = _draw(pipeline, output)
    first, last = (attached.state.of(TwoPassState).ends["a person", guided] for guided in (False, True))
    assert first.argmax(dim=1).tolist() == [1, 0, 1, 1, 1, 0]
    assert attached.state.of(TwoPassState).tried["a person"].tolist() == [True, False, False, True, True, False]
    changed = [i for i in range(6) if not np.array_equal(before[i], after[i])]
    assert changed == [3] == choose(first, last, torch.tensor([3, 3])).nonzero()[:, 0].tolist()
    norms = torch.stack(attached.state.trace.edit_norm)
    assert norms.shape == (3, 6) and norms.any(dim=0).nonzero()[:, 0].tolist() == [3]


def _two_of_its_own(pipeline) -> Semantics:
    """Two modes between which the pipeline's six images are: along the largest difference of where they end."""
    seen, ends = semantics(), []
    with BottleneckHook(pipeline, lambda h, step: ends.append((h.clone(), step.timestep))):
        _draw(pipeline, "np")
    h, timestep = ends[-1]
    z = seen.projector(h[6:], torch.full((6,), timestep), torch.ones(6, dtype=torch.int64)).detach()
    mean = torch.nn.functional.normalize(z.mean(dim=0), dim=0)
    apart = torch.linalg.svd(z - mean)[2][0]
    apart = apart if apart @ (z[0] - mean) < 0 else -apart  # the first image is in the second mode
    centroids = torch.nn.functional.normalize(torch.stack([mean + apart, mean - apart]), dim=-1)
    bank = seen.bank
    wide = centroids.expand(2, 2, 2, 6).contiguous()
    return Semantics(seen.projector, ModeBank(bank.branches, bank.timesteps, wide, bank.sizes, bank.target))


def test_images_that_no_edit_turns_are_vanilla_also_where_edits_are_extrapolated():
    pipeline, options = tiny_pipeline(), {"strength": 6.0, "temperature": 0.1, "extrapolation_scale": 2.5}
    before, after = _draw(pipeline, "np", scale=1.0), {}
    for rule in (TransportGuidance, TwoPassGuidance):
        state = GuidanceState(semantics(target=(0.01, 0.99)))
        with Attachment(pipeline, rule(**options), GuidanceWindow(), state):
            after[rule] = _draw(pipeline, "np", scale=1.0)
    assert (
        state.of(TwoPassState).tried["a person"].all()
        and not state.of(TwoPassState).ends["a person", True].argmax(dim=1).any()
    )
    for once, twice, vanilla in zip(after[TransportGuidance], after[TwoPassGuidance], before, strict=True):
        assert np.array_equal(twice, vanilla) and not np.array_equal(once, vanilla)


def test_groups_of_a_call_are_taken_back_each_for_itself():
    pipeline, prompts = tiny_pipeline(), ["a cat", "a dog", "a cat", "a dog", "a dog", "a cat"]
    before = _draw(pipeline, "np", prompts)
    with Attachment(pipeline, _Given(6.0, 0.1), GuidanceWindow(), GuidanceState(semantics())):
        after = _draw(pipeline, "np", prompts)
    assert [not np.array_equal(one, other) for one, other in zip(before, after, strict=True)] == [
        False, False, False, True, True, True,
    ]  # fmt: skip


class _Given(TwoPassGuidance):
    """Edits all images by the same, and keeps these edits of two dogs and the last cat."""

    def edit(self, h, step, state):
        return h * 3.0

    def take_back(self, state):
        return torch.tensor({"a cat": [True, True, False], "a dog": [True, False, False]}[state.group])


def _draw(pipeline, output, prompts=("a person",) * 6, scale=3.0) -> list[np.ndarray]:
    """Six images, as a pipeline gives them in one of its ways."""
    drawn = pipeline(
        list(prompts), num_inference_steps=3, guidance_scale=scale, return_dict=output != "tuple",
        generator=[torch.Generator().manual_seed(seed) for seed in range(6)], output_type="np" if output == "tuple" else output,
    )  # fmt: skip
    return [np.asarray(image) for image in drawn[0]]
