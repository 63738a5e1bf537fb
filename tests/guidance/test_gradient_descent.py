"""The paper's rule: each row its own gradient, against the centroids of its branch and over its mean, by a step on it as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from selfdebias.guidance import (
    GradientDescentGuidance,
    GuidanceState,
    InterleavedGuidance,
    SelfDebiasGuidance,
    Semantics,
)
from tests.guidance.worlds import CircleProjector, activations, circle_state, step

BIASED = [0.1, 0.2, 0.5, 1.2]  # most near mode 0 (angle 0), one near mode 1 (angle pi / 2)
TURNED = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])  # the centroids of the unconditional branch


def _state(target=(0.3, 0.7)) -> GuidanceState:
    """Two modes whose centroids are others on each branch."""
    semantics = circle_state(target).semantics
    centroids = torch.stack([TURNED[None], torch.eye(2)[None]])
    return GuidanceState(Semantics(semantics.projector, replace(semantics.bank, centroids=centroids)))


def _loss(h, rows, tau, target=(0.3, 0.7)):
    """The sum over branches of KL(p_hat || pi), in float64, for rows by branch."""
    centroids = {"uncond": TURNED.to(h), "cond": torch.eye(2).to(h)}
    total = torch.zeros((), dtype=h.dtype)
    for name, places in rows.items():
        z = F.normalize(h[places][:, :2].mean(dim=(2, 3)), dim=-1)
        p = torch.softmax(z @ centroids[name].T / tau, dim=1).mean(dim=0)
        total = total + (p * torch.log(p / torch.tensor(target).to(h))).sum()
    return total


def _gradient(h, rows, tau):
    """Central differences of the loss, times the images of a batch, (rows, C, H, W) float64."""
    h, numeric = h.double(), torch.zeros(h.shape).double()
    for place in torch.cartesian_prod(*(torch.arange(n) for n in h.shape)).tolist():
        values = []
        for sign in (1, -1):
            moved = h.clone()
            moved[tuple(place)] += sign * 1e-5
            values.append(_loss(moved, rows, tau))
        numeric[tuple(place)] = (values[0] - values[1]) / 2e-5
    return len(h) / 2 * numeric


HALVES = {"uncond": torch.arange(4), "cond": torch.arange(4, 8)}
SPLIT = {"uncond": torch.arange(0, 8, 2), "cond": torch.arange(1, 8, 2)}


@pytest.mark.parametrize(("guidance", "rows"), [(GradientDescentGuidance, HALVES), (InterleavedGuidance, SPLIT)])
@pytest.mark.parametrize("tau", [0.3, 8.0])
def test_each_row_is_moved_along_its_own_gradient_by_eta(guidance, rows, tau):
    h = activations(BIASED)
    edited = guidance(eta=0.5, temperature=tau).edit(h, replace(step(), weight=0.5), _state())
    expected = -0.25 * _gradient(h, rows, tau)
    assert expected.flatten(1).norm(dim=1).min() > 1e-6  # every image has a gradient, in whichever mode it is
    assert torch.allclose((edited - h).double(), expected, rtol=1e-3, atol=2e-7)


def test_of_one_image_the_official_split_is_the_right_one_and_of_more_it_is_not():
    for count, same in ((1, True), (4, False)):
        h = activations(BIASED[:count])
        edits = [
            kind(eta=0.5, temperature=0.3).edit(h, step(), _state())
            for kind in (GradientDescentGuidance, InterleavedGuidance)
        ]
        assert torch.equal(*edits) == same


def test_one_eta_means_the_same_at_every_batch_size():
    h = activations(BIASED)
    twice = torch.cat([h[:4], h[:4], h[4:], h[4:]])
    guidance = GradientDescentGuidance(eta=0.5, temperature=0.3)
    edit, edits = guidance.edit(h, step(), _state()) - h, guidance.edit(twice, step(), _state()) - twice
    assert torch.allclose(edits[:4], edit[:4], atol=1e-6) and torch.allclose(edits[8:12], edit[4:], atol=1e-6)


def test_with_other_rules_the_conditional_gradient_is_copied():
    h = activations(BIASED)
    each = GradientDescentGuidance(eta=0.5, temperature=0.3).edit(h, step(), _state()) - h
    for branch, sign in (("cond", 0.0), ("both", 1.0), ("contrast", -1.0)):
        edit = GradientDescentGuidance(eta=0.5, temperature=0.3, branch=branch).edit(h, step(), _state()) - h
        assert torch.allclose(edit[4:], each[4:], atol=1e-6) and torch.allclose(edit[:4], sign * each[4:], atol=1e-6)


def test_inner_steps_are_full_steps():
    h, state = activations(BIASED), _state()
    one = GradientDescentGuidance(eta=0.5, temperature=0.3)
    by_hand = one.edit(one.edit(h, step(), state), step(), state)
    two = GradientDescentGuidance(eta=0.5, temperature=0.3, inner_steps=2).edit(h, step(), state)
    assert torch.allclose(two, by_hand, atol=1e-6) and not torch.allclose(two, one.edit(h, step(), state), atol=1e-3)


def test_no_row_is_moved_further_than_the_limit_and_without_one_as_far_as_eta_says():
    h = activations(BIASED)
    far = GradientDescentGuidance(eta=500.0, temperature=0.3).edit(h, step(), _state()) - h
    held = GradientDescentGuidance(eta=500.0, temperature=0.3, limit=0.2, inner_steps=3).edit(h, step(), _state()) - h
    size, free = (edit.flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1) for edit in (held, far))
    assert size.max() <= 0.2 + 1e-6 and (size > 0.199).sum() >= 4 and free.max() > 2


def test_where_nothing_is_out_of_balance_hardly_anything_moves():
    h = activations([0.0, torch.pi / 2])[2:]
    guidance = GradientDescentGuidance(eta=1.0, temperature=0.3)
    edit = guidance.edit(h, step(scale=1.0), circle_state()) - h
    assert edit.norm() < 1e-5 * h.norm()


@pytest.mark.parametrize("branch", ["each", "cond", "contrast"])
def test_a_model_of_one_branch_is_guided_where_its_rows_stand_twice(branch):
    """Its bank knows the conditional branch alone."""
    both = circle_state().semantics
    bank = replace(both.bank, branches=("cond",), centroids=both.bank.centroids[1:])
    projector = CircleProjector()
    projector.branches = ("cond",)
    state, h = GuidanceState(Semantics(projector, bank)), activations(BIASED)
    guidance = GradientDescentGuidance(eta=0.5, temperature=0.3, branch=branch)
    edited = guidance.edit(h, replace(step(), doubled=True), state)
    assert (edited - h)[4:].flatten(1).norm(dim=1).min() > 1e-6
    if branch != "contrast":  # the other half is what the edit is compared with: edited alike, no scale would count
        assert torch.equal(edited[:4], h[:4])


def test_wrong_values_are_refused():
    for options, field in (
        ({"eta": -1.0}, "eta"),
        ({"branch": "none"}, "branch"),
        ({"limit": 0.0}, "limit"),
        ({"inner_steps": 0}, "inner_steps"),
    ):
        with pytest.raises(ValueError, match=f"guidance.{field}"):
            GradientDescentGuidance(**{"eta": 1.0, "temperature": 0.1, **options})
    with pytest.raises(ValueError, match="must be each"):
        InterleavedGuidance(1.0, 0.1, branch="cond")


def test_a_soft_temperature_closes_no_gate_and_stops_no_image():
    """At temperature 8 the assignments are nearly equal: counted at it, no batch would be out of balance."""
    h = activations([0.1, 0.15, 0.2, 0.25, 0.3, 1.3])
    moved = {}
    for counted in (0.3, 8.0):
        guidance = SelfDebiasGuidance(0.3, 8.0, kappa=0.002, slack=3.0, counted_at=counted)
        edit = (guidance.edit(h, step(), circle_state()) - h)[6:]
        moved[counted] = edit.flatten(1).norm(dim=1) / h[6:].flatten(1).norm(dim=1)
    assert (moved[0.3] > 0.01).sum() >= 3  # the images that are too many
    assert (moved[8.0] > 0).sum() == 1  # what was done before


def test_the_edit_is_the_same_whatever_the_modes_are_called():
    """For a uniform target: so it does not matter whether the modes of two timesteps, or branches, are matched."""
    h, state = activations(BIASED), _state((0.5, 0.5))
    bank = state.semantics.bank
    swapped = torch.stack([bank.centroids[0].flip(1), bank.centroids[1]])
    other = GuidanceState(Semantics(state.semantics.projector, replace(bank, centroids=swapped)))
    guidance = GradientDescentGuidance(eta=0.5, temperature=0.3)
    assert torch.allclose(guidance.edit(h, step(), state), guidance.edit(h, step(), other), atol=1e-6)
