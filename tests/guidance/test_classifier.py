from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from selfdebias.config.compose import load
from selfdebias.config.rules import ConfigError
from selfdebias.guidance import AttributePrompts, ClassifierGuidance, Semantics, TransportGuidance
from selfdebias.jobs.early_checks import check_early
from tests.guidance.worlds import activations, circle_state, step

BIASED = [0.1, 0.2, 0.3, 0.4, 1.2]  # four near class 0 (angle 0), one near class 1
N = len(BIASED)


def _shares(h, state) -> torch.Tensor:
    """Mean probabilities (K,) of the conditional rows."""
    return torch.softmax(state.semantics.classifier.logits(h[len(h) // 2 :], 500.0, 1), dim=1).mean(dim=0)


@pytest.mark.parametrize("target", [(0.5, 0.5), (0.1, 0.9), (0.99, 0.01)])
def test_shares_come_nearer_to_the_target_the_larger_the_step(target):
    state, h = circle_state(target), activations(BIASED)
    wanted, before = torch.tensor(target), _shares(h, circle_state())
    gaps = [float((before - wanted).norm())]
    for eta in (0.05, 0.2):
        gaps.append(float((_shares(ClassifierGuidance(eta).edit(h, step(), state), state) - wanted).norm()))
    assert gaps[0] > gaps[1] > gaps[2]


def test_each_row_goes_down_the_gradient_of_the_batchs_divergence():
    state, h = circle_state(), activations(BIASED).double()
    edit = ClassifierGuidance(0.01, branch="cond").edit(h.float(), step(), state) - h.float()
    leaf = h[N:].requires_grad_(True)
    logits = 4 * leaf[:, :2].mean(dim=(2, 3))
    p_hat = torch.softmax(logits, dim=1).mean(dim=0)
    (p_hat * torch.log(p_hat / 0.5)).sum().backward()
    assert torch.allclose(edit[N:], (-0.01 * N * leaf.grad).float(), atol=1e-6) and not edit[:N].any()


def test_at_the_target_nothing_moves():
    state, h = circle_state(), activations([0.2, torch.pi / 2 - 0.2])
    assert torch.allclose(ClassifierGuidance(1.0, branch="cond").edit(h, step(), state), h, atol=1e-5)


def test_without_a_classifier_it_is_refused_and_a_job_needs_a_judges_classes():
    semantics = circle_state().semantics
    bare = Semantics(semantics.projector, replace(semantics.bank))
    with pytest.raises(ValueError, match="`guidance` must not be classifier for modes without a classifier"):
        ClassifierGuidance(1.0).check(bare)
    ClassifierGuidance(1.0).check(semantics)
    with pytest.raises(ConfigError, match="`bank` must be supervised for guidance=classifier"):
        check_early(load(["guidance=classifier"]))
    check_early(load(["guidance=classifier", "bank=supervised"]))


def test_those_that_know_the_attribute_say_so():
    assert "judge" in ClassifierGuidance.told and "prompts" in AttributePrompts.told and not TransportGuidance.told
