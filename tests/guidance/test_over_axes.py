"""Guidance of several axes at once, in a world where channel a of `h_t` is the coordinate of axis a."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from selfdebias.guidance import GuidanceState
from selfdebias.guidance.base import check_all
from selfdebias.guidance.baselines import MeanDifferenceGuidance
from selfdebias.guidance.gradient_descent import GradientDescentGuidance
from selfdebias.guidance.over_axes import edit_all
from selfdebias.guidance.self_debias import SelfDebiasGuidance
from selfdebias.guidance.shares import wanted_of_all
from selfdebias.guidance.transport import TransportGuidance, TransportState
from selfdebias.modes import ModeBank
from selfdebias.modes.bank import AxesBank
from selfdebias.modes.means import ModeMeans
from selfdebias.modes.semantics import AxesSemantics
from tests.guidance.worlds import BRANCHES, circle_state, step

AXES = 3
SEEDS = tuple(range(16))
GUIDANCES = {
    "transport": TransportGuidance(0.5, 0.3, branch="cond"),
    "self_debias": SelfDebiasGuidance(0.5, 0.3),
    "mean_difference": MeanDifferenceGuidance(0.5, 0.3, branch="cond"),
    "gradient_descent": GradientDescentGuidance(1.0, 0.3),
}


class ChannelProjector(nn.Module):
    """`z` = the channel means."""

    dim, branches, encoder = AXES, BRANCHES, ""
    relative_to, reader, blocks = "activation", "flattened", None

    def forward(self, h: Tensor, timestep: Tensor, branch: Tensor) -> Tensor:
        return h.mean(dim=(2, 3))


def state() -> GuidanceState:
    banks = []
    for a in range(AXES):
        unit = torch.eye(AXES)[a]
        centroids = torch.stack([-unit, unit]).expand(2, 1, 2, AXES).contiguous()
        banks.append(
            ModeBank(BRANCHES, torch.tensor([500.0]), centroids, torch.tensor([12.0, 4.0]), torch.tensor([0.5, 0.5]))
        )
    side = [torch.eye(AXES)[a][:, None, None].expand(AXES, 2, 2) for a in range(AXES)]
    deviations = torch.stack([it for s in side for it in (-s, s)])[None]
    return GuidanceState(
        AxesSemantics(ChannelProjector(), AxesBank(tuple(banks)), ModeMeans(torch.tensor([500.0]), deviations))
    )


def lopsided() -> Tensor:
    """`h` of both branches of 16 images: 12, 8 and 14 of them on side 0 of the three axes."""
    sides = torch.ones(16, AXES)
    for a, count in enumerate((12, 8, 14)):
        sides[torch.randperm(16, generator=torch.Generator().manual_seed(a))[:count], a] = -1
    size = 0.1 + 0.8 * torch.rand(16, AXES, generator=torch.Generator().manual_seed(3))
    h = (size * sides)[:, :, None, None].expand(16, AXES, 2, 2)
    return torch.cat([h, h]).contiguous()


def shares(h: Tensor) -> list[float]:
    return (h[16:].mean(dim=(2, 3)) > 0).float().mean(dim=0).tolist()


def guided(guidance, steps: int = 8) -> tuple[Tensor, GuidanceState]:
    h, held = lopsided(), state()
    held.begin("a person", SEEDS)
    for _ in range(steps):
        h = edit_all(guidance, h, step(0), held)
    return h, held


@pytest.mark.parametrize("name", GUIDANCES)
def test_every_axis_comes_nearer_to_its_target_at_once(name):
    before, (after, _) = shares(lopsided()), guided(GUIDANCES[name])
    assert before == [0.25, 0.5, 0.125]
    for a in (0, 2):
        assert abs(shares(after)[a] - 0.5) < abs(before[a] - 0.5)
    assert shares(after)[1] == pytest.approx(0.5, abs=0.13)


@pytest.mark.parametrize("name", GUIDANCES)
def test_axes_that_are_not_asked_for_are_left_alone(name):
    guidance = type(GUIDANCES[name])(**{**vars(GUIDANCES[name]), "axes": [2]})
    after, held = guided(guidance)
    assert torch.allclose(after[:, :2], lopsided()[:, :2], atol=1e-6) and shares(after)[2] > 0.2
    p_hat = held.trace.tensors(2 * AXES, 16)["p_hat"]
    assert p_hat.shape == (8, 6) and p_hat[:, :4].isnan().all() and torch.allclose(p_hat[:, 4:].sum(1), torch.ones(8))


def test_a_target_holds_for_each_axis_and_images_in_place_are_untouched_bit_for_bit():
    guidance = TransportGuidance(0.5, 0.1, branch="cond", target=[0.75, 0.25], slack=1.0)
    after, held = guided(guidance, 1)
    untouched = held.trace.edit_norm[0] == 0
    assert untouched.any() and torch.equal(after[16:][untouched], lopsided()[16:][untouched])
    assert wanted_of_all(guidance, held.semantics) == [0.75, 0.25] * 3
    one = TransportGuidance(0.5, 0.1, target=[0.75, 0.25], axes=[1])
    assert wanted_of_all(one, held.semantics) == [0.5, 0.5, 0.75, 0.25, 0.5, 0.5]


def test_memory_and_plans_of_each_axis_are_kept_and_restored():
    guidance = TransportGuidance(0.5, 0.3, branch="cond")
    _, held = guided(guidance)
    kept = held.kept_tensors()
    assert {f"axis-{a}/owed" for a in range(AXES)} <= kept.keys()
    again = state()
    again.restore("a person", kept)
    again.enter("a person", SEEDS)
    for a in range(AXES):
        after, before = (it.axes[a].of(TransportState).plans["a person"] for it in (again, held))
        assert torch.equal(after.owed, before.left)


def test_what_does_not_go_together_is_refused():
    several, one = state().semantics, circle_state().semantics
    with pytest.raises(ValueError, match="`guidance.axes` must be among the 3 that were found, 0 to 2, got 3"):
        check_all(TransportGuidance(0.5, 0.3, axes=[0, 3]), several)
    with pytest.raises(ValueError, match=r"`guidance.axes` must be null where modes are one partition, got \[0\]"):
        check_all(TransportGuidance(0.5, 0.3, axes=[0]), one)
    alone = SimpleNamespace(bank=SimpleNamespace(target=torch.ones(1)))
    with pytest.raises(
        ValueError, match=r"must be null where one mode alone was found, got \[0\]: nothing is balanced; take more"
    ):
        check_all(TransportGuidance(0.5, 0.3, axes=[0]), alone)
    with pytest.raises(ValueError, match="must be 2 shares, one for each mode"):
        check_all(TransportGuidance(0.5, 0.3, target=[0.5, 0.25, 0.25]), several)
    for axes in ([], [0, 0], [-1], [True], ["0"], "0", 1):
        with pytest.raises(ValueError, match="`guidance.axes` must be null or different axes"):
            TransportGuidance(0.5, 0.3, axes=axes)
