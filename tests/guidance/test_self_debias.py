from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from selfdebias.guidance import GuidanceState, SelfDebiasGuidance, Semantics
from selfdebias.guidance.self_debias import AssignmentMemory
from tests.guidance.worlds import activations, circle_state, step

BIASED = [0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 1.2]  # most near mode 0 (angle 0), one near mode 1 (angle pi / 2)


def _kl(p: torch.Tensor, target: torch.Tensor) -> float:
    p_hat = p.mean(dim=0)
    return float((p_hat * torch.log(p_hat / target)).sum())


def _assign(state, h, temperature=0.3):
    return state.semantics.assign(h[len(h) // 2 :], 500.0, "cond", temperature)


def test_a_memory_at_another_temperature_than_what_is_counted_is_refused():
    """Of soft assignments, nearly equal, earlier images would count as if they had been balanced."""
    with pytest.raises(ValueError, match=r"`guidance.decay` must be 0 .* set guidance.counted_at=8.0"):
        SelfDebiasGuidance(0.3, 8.0, decay=0.9)
    SelfDebiasGuidance(0.3, 8.0, decay=0.9, counted_at=8.0)
    SelfDebiasGuidance(0.3, "calibrated", decay=0.9)


def test_strength_zero_returns_h_itself():
    h = activations(BIASED)
    assert SelfDebiasGuidance(0.0, 0.3).edit(h, step(), circle_state()) is h


def test_the_kl_falls_and_the_unconditional_half_is_untouched_bit_for_bit():
    h, state = activations(BIASED), circle_state()
    edited = SelfDebiasGuidance(0.3, 0.3).edit(h, step(), state)
    n = len(BIASED)
    assert torch.equal(edited[:n], h[:n])
    assert _kl(_assign(state, edited), torch.tensor([0.5, 0.5])) < 0.8 * _kl(
        _assign(state, h), torch.tensor([0.5, 0.5])
    )


def test_the_edit_points_against_the_numerical_gradient():
    """Central differences of KL(p_hat || pi) in h, in float64, for each image of the mode that has too many."""
    both, state, n = activations(BIASED), circle_state((0.3, 0.7)), len(BIASED)
    edit = (SelfDebiasGuidance(0.3, 0.3, slack=100.0).edit(both, step(), state) - both)[n:]
    h = both[n:].double()
    numeric, target = torch.zeros(h.shape).double(), torch.tensor([0.3, 0.7]).double()
    for place in torch.cartesian_prod(torch.arange(n), torch.arange(3), torch.arange(2), torch.arange(2)):
        i = tuple(place.tolist())
        values = []
        for sign in (1, -1):
            moved = h.clone()
            moved[i] += sign * 1e-5
            z = torch.nn.functional.normalize(moved[:, :2].mean(dim=(2, 3)), dim=-1)
            values.append(_kl(torch.softmax(z / 0.3, dim=1), target))
        numeric[i] = (values[0] - values[1]) / 2e-5
    assert not edit[-1].any()  # the only image of the mode that has too few
    cosine = torch.nn.functional.cosine_similarity(-numeric.flatten(1), edit.double().flatten(1))[:-1]
    assert (cosine > 0.9999).all()
    norm = numeric.flatten(1).norm(dim=1)[:-1]
    expected = 0.3 / 3.0 * norm / norm.square().mean().sqrt()  # strength / gain, relative to ||h||; the gate is open
    relative = edit.flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)
    assert torch.allclose(relative[:-1].double(), expected, rtol=1e-2)


def test_only_as_many_images_as_have_to_turn_are_pushed_and_those_the_nearest():
    h, state, n = activations(BIASED), circle_state(), len(BIASED)
    p = _assign(state, h)
    missing = float(p[:, 0].sum()) - n / 2
    assert 1 < missing < 3  # else the next lines say nothing
    edit = (SelfDebiasGuidance(0.3, 0.3, slack=1.0).edit(h, step(), state) - h)[n:]
    moved = [i for i in range(n) if edit[i].any()]
    nearest = sorted((i for i in range(n) if p[i, 0] > 0.5), key=lambda i: float(p[i, 0]))
    assert moved == sorted(nearest[: math.ceil(missing)])


def test_a_vanishing_gradient_is_not_blown_up_to_a_full_step():
    """One image, deep inside its mode: dividing by its own norm alone would make a full step of rounding noise."""
    h = activations([0.05])
    relative = {}
    for temperature in (0.3, 0.02):
        edited = SelfDebiasGuidance(0.3, temperature).edit(h, step(), circle_state())
        relative[temperature] = float((edited - h)[1:].norm() / h[1:].norm())
    assert relative[0.3] > 0.09
    assert 0 <= relative[0.02] < 1e-6


def test_one_strength_means_the_same_at_every_guidance_scale():
    h = activations(BIASED)
    n = len(BIASED)
    edits = {w: (SelfDebiasGuidance(0.3, 0.3).edit(h, step(scale=w), circle_state()) - h)[n:] for w in (2.0, 8.0)}
    assert torch.allclose(2.0 * edits[2.0], 8.0 * edits[8.0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("rule", "gain"), [("cond", 3.0), ("both", 1.0), ("contrast", 5.0)])
def test_branch_rules_differ_in_sign_and_gain(rule, gain):
    h = activations(BIASED)
    n = len(BIASED)
    edit = SelfDebiasGuidance(0.3, 0.3, branch=rule).edit(h, step(), circle_state()) - h
    reference = (SelfDebiasGuidance(0.3, 0.3).edit(h, step(), circle_state()) - h)[n:]
    assert torch.allclose(gain * edit[n:], 3.0 * reference, rtol=1e-3, atol=1e-6)
    sign = {"cond": 0.0, "both": 1.0, "contrast": -1.0}[rule]
    assert torch.allclose(edit[:n], sign * edit[n:], atol=1e-6)


def test_at_balance_nothing_moves():
    """At p_hat = pi the KL is 0 and the gate is shut, though each image has a gradient of its own."""
    h = activations([0.2, torch.pi / 2 - 0.2])
    edited = SelfDebiasGuidance(1.0, 0.3).edit(h, step(), circle_state())
    assert torch.allclose(edited, h, atol=1e-5)


def test_batch_of_one_without_memory_is_moved_no_further_than_the_strength():
    h = activations([0.1])
    edited = SelfDebiasGuidance(0.3, 0.3).edit(h, step(), circle_state())
    relative = (edited - h)[1:].norm() / h[1:].norm()
    assert float(relative) <= 0.1 + 1e-6


@pytest.mark.parametrize("angle", [0.1, 0.5, 1.2])
def test_one_image_under_a_full_memory_at_balance_is_not_edited(angle):
    """Turning it would leave more too many on the other side."""
    state, h = circle_state(), activations([angle])
    state.begin("a person", ())
    state.of(AssignmentMemory).remember(torch.tensor([[0.5, 0.5]]).expand(1000, 2), 0, state, 1.0)
    assert SelfDebiasGuidance(12.0, 0.3, decay=1.0).edit(h, step(), state) is h


def test_memory_of_earlier_batches_turns_the_edit_round():
    """After many images of mode 0, one of mode 1 is left as it is; after many of mode 1 it is pushed towards mode 0."""
    guidance = SelfDebiasGuidance(0.5, 0.3, decay=1.0)
    one = activations([0.9])
    for angle, pushed in ((0.05, False), (torch.pi / 2 - 0.05, True)):
        state = circle_state()
        state.begin("a person", ())
        state.of(AssignmentMemory).remember(_assign(state, activations([angle] * 9)), 0, state, 1.0)
        edited = guidance.edit(one, step(), state)
        before, after = (_assign(state, h)[0, 1] for h in (one, edited))
        assert torch.equal(edited, one) != pushed
        assert float(before - after) > 0.01 or not pushed


def test_memory_decays_and_is_kept_by_prompt_and_step():
    state, p = circle_state(), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    state.begin("a", ())
    memory = state.of(AssignmentMemory)
    memory.remember(p, 0, state, 0.5)
    assert memory.recall("a", 0, 2).tolist() == [0.75, 0.25, 1.0]
    assert memory.recall("a", 1, 2).tolist() == [0.0, 0.0, 0.0]
    assert memory.recall("b", 0, 2).tolist() == [0.0, 0.0, 0.0]
    fresh = circle_state()
    fresh.restore("a", state.kept_tensors())
    assert fresh.of(AssignmentMemory).recall("a", 0, 2).tolist() == [0.75, 0.25, 1.0]


def test_a_gradient_that_is_not_finite_is_skipped_and_counted():
    h, state = activations(BIASED), circle_state()
    h[-1, 0] = float("inf")
    assert SelfDebiasGuidance(0.3, 0.3).edit(h, step(), state) is h
    assert state.trace.skipped == 1


def test_without_projector_and_bank_it_says_what_to_run():
    with pytest.raises(ValueError, match="`state.semantics` must hold a projector and a mode bank, got None"):
        SelfDebiasGuidance(0.3, 0.3).edit(activations(BIASED), step(), GuidanceState())


def test_the_limit_holds_for_each_image():
    h = activations(BIASED)
    edited = SelfDebiasGuidance(50.0, 0.3, limit=0.2).edit(h, step(), circle_state())
    relative = (edited - h)[7:].flatten(1).norm(dim=1) / h[7:].flatten(1).norm(dim=1)
    assert float(relative.max()) == pytest.approx(0.2, rel=1e-3)


def test_inner_steps_share_the_strength_and_follow_the_gradient_as_it_turns():
    h, n = activations(BIASED), len(BIASED)
    one, three = (
        SelfDebiasGuidance(0.03, 0.3, slack=100.0, inner_steps=k).edit(h, step(), circle_state()) - h for k in (1, 3)
    )
    norms = [edit[n:].flatten(1).norm(dim=1) for edit in (one, three)]
    assert not torch.equal(one, three) and torch.allclose(norms[0], norms[1], rtol=0.05)
    edited = SelfDebiasGuidance(50.0, 0.3, inner_steps=3, limit=0.2).edit(h, step(), circle_state())
    relative = (edited - h)[n:].flatten(1).norm(dim=1) / h[n:].flatten(1).norm(dim=1)
    assert float(relative.max()) <= 0.2 * (1 + 1e-4)


def test_targets_by_name():
    h = activations(BIASED)
    as_found, uniform, given = (
        SelfDebiasGuidance(0.3, 0.3, target=target).edit(h, step(), circle_state((0.3, 0.7)))
        for target in (None, "uniform", [0.5, 0.5])
    )
    assert torch.equal(uniform, given) and not torch.equal(uniform, as_found)


def test_the_calibrated_temperature_is_the_banks_at_the_timestep():
    h, state = activations(BIASED), circle_state()
    with pytest.raises(ValueError, match="`guidance.temperature` must be a number for a bank without calibrated"):
        SelfDebiasGuidance(0.3, "calibrated").check(state.semantics)
    bank = replace(state.semantics.bank, temperatures=torch.tensor([[9.0], [0.2]]))
    calibrated = GuidanceState(Semantics(state.semantics.projector, bank))
    edited = SelfDebiasGuidance(0.3, "calibrated").edit(h, step(), calibrated)
    assert torch.allclose(edited, SelfDebiasGuidance(0.3, 0.2).edit(h, step(), circle_state()), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strength": -1.0}, r"`guidance.strength` must be a number in \[0, 10000\], got -1.0"),
        ({"strength": float("nan")}, "`guidance.strength`"),
        ({"temperature": 0.0}, r"`guidance.temperature` must be a number in \(0, 10000\], got 0.0"),
        ({"branch": "uncond"}, "`guidance.branch` must be one of cond, both, contrast, got 'uncond'"),
        ({"decay": 1.5}, r"`guidance.decay` must be a number in \[0, 1\], got 1.5"),
        ({"limit": 0.0}, "`guidance.limit`"),
        ({"kappa": 0.0}, "`guidance.kappa`"),
        ({"temperature": "warm"}, r"`guidance.temperature` must be a number in \(0, 10000\], got 'warm'"),
        ({"inner_steps": 0}, "`guidance.inner_steps` must be a whole number of at least 1, got 0"),
        ({"slack": 0.0}, r"`guidance.slack` must be a number in \(0, 10000\], got 0.0"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SelfDebiasGuidance(**{"strength": 1.0, "temperature": 0.1, **arguments})
