from __future__ import annotations

import math

import pytest
import torch

from selfdebias.guidance import GuidanceState, ParticleGuidance
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.particle import bandwidth
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.modes.bank import AxesBank
from selfdebias.modes.semantics import AxesSemantics
from tests.guidance.test_attachment import one_mode, semantics
from tests.guidance.worlds import activations, circle_state, step
from tests.tiny import sample, tiny_pipeline

ANGLES = [0.1, 0.2, 0.3, 0.7, 1.2]


def _projected(h, state) -> torch.Tensor:
    return state.semantics.project(h[len(h) // 2 :], 500.0, "cond")


def _push(angles, strength=0.3, state=None):
    h, state = activations(angles), state or circle_state()
    return h, ParticleGuidance(strength, branch="cond").edit(h, step(), state), state


def test_projected_vectors_come_to_lie_further_apart_and_the_other_branch_is_left_alone():
    h, edited, state = _push(ANGLES)
    before, after = (torch.pdist(_projected(it, state)).mean() for it in (h, edited))
    assert float(after) > 1.02 * float(before)
    assert torch.equal(edited[:5], h[:5])
    more = torch.pdist(_projected(_push(ANGLES, 0.6)[1], state)).mean()
    assert float(more) > float(after)


def test_the_push_is_down_the_gradient_of_the_kernels_sum():
    """Against finite differences of ``sum_j k(z_i, z_j)`` along the edit, the other images and the bandwidth held fixed."""
    h, edited, state = _push(ANGLES)
    z = _projected(h, state)
    b = float(bandwidth(z))
    for i in range(len(ANGLES)):
        others = torch.cat([z[:i], z[i + 1 :]])

        def energy(x, others=others):
            here = state.semantics.project(x[None], 500.0, "cond")
            return float(torch.exp(-(here - others).square().sum(dim=1) / b).sum())

        way = edited[5 + i] - h[5 + i]
        assert energy(h[5 + i] + 1e-2 * way) < energy(h[5 + i])
        sideways = torch.zeros_like(way)
        sideways[2] = way.norm() / 2  # the projector does not look at channel 2
        assert energy(h[5 + i] + sideways) == pytest.approx(energy(h[5 + i]), abs=1e-6)
        assert float(way[2].abs().max()) < 1e-6


def test_the_bandwidth_is_the_papers():
    z = torch.tensor([[0.0], [1.0], [2.0], [4.0], [7.0]])  # distances 1 1 2 2 3 3 4 5 6 7
    assert float(bandwidth(z)) == pytest.approx(9.0 / math.log(5))


def test_the_rms_of_the_sizes_is_the_strength():
    _, _, state = _push(ANGLES)
    assert float(state.trace.edit_norm[0].square().mean().sqrt()) == pytest.approx(0.3 / 3.0, rel=1e-4)


def test_an_image_alone_has_nothing_to_be_repelled_by():
    h = activations([0.3])
    assert ParticleGuidance(1.0).edit(h, step(), circle_state()) is h


def test_it_knows_no_modes_of_one_mode_and_over_axes_it_edits_once():
    pipeline = tiny_pipeline()
    before = sample(pipeline, [1, 2, 3])
    two = semantics()  # with the projector of one_mode
    states = [GuidanceState(one_mode()), GuidanceState(AxesSemantics(two.projector, AxesBank((two.bank,) * 3)))]
    drawn = []
    for state in states:
        with Attachment(pipeline, ParticleGuidance(1.0), GuidanceWindow(), state):
            drawn.append(sample(pipeline, [1, 2, 3]))
    assert not torch.equal(drawn[0], before) and torch.equal(drawn[0], drawn[1])
