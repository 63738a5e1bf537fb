from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from selfdebias.guidance import GuidanceState, TransportGuidance
from selfdebias.guidance.transport import TransportState
from tests.guidance.worlds import activations, circle_state, step

BIASED = [0.1, 0.2, 0.3, 0.5, 0.6, 0.7]  # all nearer to mode 0 (angle 0) than to mode 1 (angle pi / 2)
N = len(BIASED)
OF = 0.5 * math.pi


def _guidance(strength: float = 0.3, **options) -> TransportGuidance:
    return TransportGuidance(strength, 0.3, **{"branch": "cond", "slack": 1.0, **options})


def _begun(target=(0.5, 0.5)) -> GuidanceState:
    state = circle_state(target)
    state.begin("a person", ())
    return state


def _moved(h, edited) -> list[int]:
    n = len(h) // 2
    return [i for i in range(n) if not torch.equal(h[n + i], edited[n + i])]


def test_counts_are_met_by_pushing_the_nearest_and_the_rest_is_bit_identical():
    h, state = activations([0.0, 0.05, 0.1, 0.5, 0.6, 0.7]), _begun()
    edited = _guidance().edit(h, step(), state)
    assert state.of(TransportState).plans["a person"].modes.tolist() == [0, 0, 0, 1, 1, 1]
    assert _moved(h, edited) == [3, 4, 5]
    p = state.semantics.assign(torch.stack([h[N:], edited[N:]]).flatten(0, 1), 500.0, "cond", 0.3)[:, 1].split(N)
    assert (p[1][3:] > p[0][3:] + 0.01).all()


def test_a_closed_loop_that_carries_nothing_is_refused():
    with pytest.raises(ValueError, match="`guidance.closed_loop` must be false where `guidance.decay` is 0"):
        TransportGuidance(6.0, 0.1, closed_loop=True, decay=0.0)


def test_a_batch_in_its_modes_gets_h_itself_back():
    h = activations([0.0, 0.1, OF - 0.1, OF])
    assert _guidance(5.0).edit(h, step(), _begun()) is h


def test_an_image_short_of_its_mode_is_pushed_in_proportion_to_what_is_missing():
    h, state = activations([0.3, 0.6, OF - 0.3, OF - 0.6]), _begun()
    edited = _guidance(0.3).edit(h, step(), state)
    assert state.of(TransportState).plans["a person"].modes.tolist() == [0, 0, 1, 1]
    p = state.semantics.assign(h[4:], 500.0, "cond", 0.3)
    fit = torch.stack([p[0, 0], p[1, 0], p[2, 1], p[3, 1]])
    wanted = 0.3 / 3.0 * (1 - fit / 0.85).clamp(min=0)
    relative = (edited - h)[4:].flatten(1).norm(dim=1) / h[4:].flatten(1).norm(dim=1)
    assert wanted[1] > 0 and torch.allclose(relative, wanted, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.02, 0.005])  # with the second one, float32 has 0 for the assignment
def test_an_image_that_is_all_but_surely_in_another_mode_is_pushed_in_full(temperature):
    h, state = activations([0.05, 0.1, 0.15, 0.2]), _begun()
    guidance = TransportGuidance(0.3, temperature, branch="cond", slack=1.0)
    assert (state.semantics.assign(h[4:], 500.0, "cond", temperature)[:, 1] < 1e-16).all()
    edited = guidance.edit(h, step(), state)
    relative = (edited - h)[4:].flatten(1).norm(dim=1) / h[4:].flatten(1).norm(dim=1)
    assert torch.allclose(relative, torch.tensor([0.0, 0.0, 0.1, 0.1]), atol=1e-5)


def test_the_push_is_along_the_numerical_gradient_of_its_own_assignment():
    h, state = activations(BIASED), _begun((0.0, 1.0))
    edit = (_guidance().edit(h, step(), state) - h)[N:]
    double, numeric = h[N:].double(), torch.zeros(h[N:].shape).double()
    for place in torch.cartesian_prod(torch.arange(N), torch.arange(3), torch.arange(2), torch.arange(2)):
        i, values = tuple(place.tolist()), []
        for sign in (1, -1):
            moved = double.clone()
            moved[i] += sign * 1e-5
            z = torch.nn.functional.normalize(moved[:, :2].mean(dim=(2, 3)), dim=-1)
            values.append(float(torch.log_softmax(z / 0.3, dim=1)[i[0], 1]))
        numeric[i] = (values[0] - values[1]) / 2e-5
    cosine = torch.nn.functional.cosine_similarity(numeric.flatten(1), edit.double().flatten(1))
    assert (cosine > 0.9999).all()


def test_assignments_are_made_anew_until_freeze_and_kept_from_there_on():
    guidance, state = _guidance(freeze=0.5), _begun()
    first, later = activations(BIASED), activations(BIASED[::-1])
    modes = []
    for index, h in enumerate((first, later, first, later)):  # of 4 steps: 0 and 1 are before the half
        guidance.edit(h, step(index), state)
        modes.append(state.of(TransportState).plans["a person"].modes.tolist())
    assert modes[0] == modes[1][::-1] != modes[1] == modes[2] == modes[3]


def test_more_images_than_have_to_turn_are_tried_until_freeze():
    guidance, state = _guidance(freeze=0.5, slack=2.0), _begun()
    h = activations([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.35, 0.4])  # all in mode 0: four have to turn
    moved = []
    for index in range(3):  # of 4 steps: 0 is before the half, and in 1 the modes are given for good
        moved += [_moved(h, guidance.edit(h, step(index), state))]
    assert moved[0] == list(range(1, 8)) and moved[1] == moved[2] == [4, 5, 6, 7]
    assert state.of(TransportState).plans["a person"].modes.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_trials_end_before_the_schedule_does():
    guidance, state = _guidance(freeze=0.8, slack=2.0), _begun()
    h = activations([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.35, 0.4])
    counts = []
    for index in range(2):  # of 4 steps, of which the first two are guided
        guidance.edit(h, replace(step(index), stop=0.5), state)
        counts += [int(state.of(TransportState).plans["a person"].modes.sum())]
    assert counts == [7, 4]


def test_of_those_that_are_tried_the_ones_that_came_furthest_keep_the_mode():
    guidance, state = _guidance(freeze=0.5, slack=2.0), _begun()
    guidance.edit(activations([0.0, 0.05, 0.1, 0.15, 0.2, 0.3]), step(0), state)
    answered = activations([0.0, 1.2, 0.1, 1.3, 1.4, 0.3])  # the two nearest ones hardly moved
    guidance.edit(answered, step(1), state)
    assert state.of(TransportState).plans["a person"].modes.tolist() == [0, 1, 0, 1, 1, 0]


def test_a_closed_loop_owes_what_did_not_turn():
    stubborn = activations([0.0, 0.1, 0.2, 0.3])
    owed = {}
    for closed in (False, True):
        state = circle_state()
        state.begin("a person", ())
        guidance = _guidance(closed_loop=closed)
        guidance.edit(stubborn, step(3), state)
        owed[closed] = state.of(TransportState).plans["a person"].left.tolist()
        state.begin("a person", ())
        guidance.edit(stubborn, step(3), state)
        assert state.of(TransportState).plans["a person"].modes.tolist() == ([1, 1, 1, 1] if closed else [0, 0, 1, 1])
        assert guidance.dependence == ("run" if closed else "remainder")
    assert owed == {False: [0.0, 0.0], True: [-2.0, 2.0]}


def test_a_window_that_starts_after_freeze_assigns_once():
    guidance, state = _guidance(freeze=0.0), _begun()
    guidance.edit(activations(BIASED), step(2), state)
    first = state.of(TransportState).plans["a person"].modes
    guidance.edit(activations(BIASED[::-1]), step(3), state)
    assert state.of(TransportState).plans["a person"].modes is first


@pytest.mark.parametrize("pi", [(0.5, 0.5), (0.75, 0.25)])
def test_batches_of_one_come_out_right_in_the_long_run(pi):
    guidance, state, given = _guidance(), circle_state(pi), []
    for n in range(40):
        state.begin("a person", ())
        guidance.edit(activations([0.2], seed=n), step(), state)
        given += state.of(TransportState).plans["a person"].modes.tolist()
    assert given.count(0) == 40 * pi[0]


def test_without_carrying_over_a_batch_of_one_keeps_its_mode():
    guidance, state = _guidance(decay=0.0), circle_state()
    for n in range(5):
        state.begin("a person", ())
        guidance.edit(activations([0.2], seed=n), step(), state)
        assert state.of(TransportState).plans["a person"].modes.tolist() == [0]


def test_groups_owe_for_themselves():
    guidance, state = _guidance(), circle_state()
    for group in ("a", "b"):
        state.begin(group, ())
        guidance.edit(activations([0.2]), step(), state)
        assert state.of(TransportState).plans[group].modes.tolist() == [0]
    state.begin("a", ())
    guidance.edit(activations([0.2]), step(), state)
    assert state.of(TransportState).plans["a"].modes.tolist() == [1]


def test_a_resumed_run_goes_on_from_what_was_owed():
    guidance, state = _guidance(), circle_state()
    state.begin("a person", ())
    guidance.edit(activations([0.2]), step(), state)
    kept = {name: tensor.clone() for name, tensor in state.kept_tensors().items()}
    assert kept["assigned"].tolist() == [0] and kept["owed"].tolist() == [-0.5, 0.5]
    fresh = circle_state()
    fresh.restore("a person", kept)
    fresh.begin("a person", ())
    guidance.edit(activations([0.2]), step(), fresh)
    assert fresh.of(TransportState).plans["a person"].modes.tolist() == [1]


def test_one_strength_means_the_same_at_every_guidance_scale_and_the_limit_holds():
    h = activations(BIASED)
    edits = {w: (_guidance().edit(h, step(scale=w), _begun()) - h)[N:] for w in (2.0, 8.0)}
    assert torch.allclose(2.0 * edits[2.0], 8.0 * edits[8.0], rtol=1e-3, atol=1e-6)
    edited = _guidance(50.0, limit=0.2).edit(h, step(), _begun())
    relative = (edited - h)[N:].flatten(1).norm(dim=1) / h[N:].flatten(1).norm(dim=1)
    assert float(relative.max()) == pytest.approx(0.2, rel=1e-3)


def test_the_schedules_weight_counts():
    h = activations(BIASED)
    full = _guidance().edit(h, step(), _begun()) - h
    half = _guidance().edit(h, replace(step(), weight=0.5), _begun()) - h
    assert torch.allclose(full, 2 * half, rtol=1e-3, atol=1e-6)


def test_a_gradient_that_is_not_finite_is_skipped_and_counted():
    h, state = activations(BIASED), _begun()
    h[-1, 0] = float("nan")
    assert _guidance().edit(h, step(), state) is h
    assert state.trace.skipped == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settled": 0.0}, r"`guidance.settled` must be a number in \(0, 1\], got 0.0"),
        ({"settled": 1.1}, r"`guidance.settled` must be a number in \(0, 1\], got 1.1"),
        ({"freeze": -0.1}, r"`guidance.freeze` must be a number in \[0, 1\], got -0.1"),
        ({"slack": 0.5}, r"`guidance.slack` must be a number in \[1, 10000\], got 0.5"),
        ({"decay": 2.0}, r"`guidance.decay` must be a number in \[0, 1\], got 2.0"),
    ],
)
def test_bad_values_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        _guidance(**options)


def test_of_several_blocks_the_best_ones_projector_assigns_once_where_guidance_starts_after_the_freeze():
    guidance, state, late = _guidance(), _begun(), step(index=3)
    towards = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]])
    assigned = []
    for decides, p in ((False, towards), (True, towards.flip(0)), (True, towards)):
        state.decides = decides
        assigned.append(guidance.modes(p, late, state)[0].tolist())
    assert assigned == [[0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
