from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from selfdebias.modes.classifier import ActivationClassifier, fit_classifier

BRANCHES = ("uncond", "cond")


def _labelled(k: int, n: int = 60):
    """Activations whose channel k is larger for class k, more so in the second branch; three timesteps."""
    generator = torch.Generator().manual_seed(0)
    labels, steps = torch.arange(n) % k, torch.tensor([100.0, 500.0, 900.0]).repeat_interleave(2 * n)
    branches = torch.tensor([0, 1]).repeat_interleave(n).repeat(3)
    labels = labels.repeat(6)
    h = torch.randn(6 * n, 4, 2, 2, generator=generator)
    h[torch.arange(6 * n), labels] += (1.0 + branches)[:, None, None]
    return h, labels, steps, branches


@pytest.mark.parametrize("k", [2, 3])
def test_it_tells_the_classes_of_each_branch_and_is_the_same_when_read_again(k, tmp_path):
    h, labels, steps, branches = _labelled(k)
    fitted = fit_classifier(h, labels, steps, branches, BRANCHES, h.shape[2:])
    assert fitted.weights.shape == (2, 3, k, 4, 2, 2) and fitted.timesteps.tolist() == [100.0, 500.0, 900.0]
    for branch, least in ((0, 0.8), (1, 0.95)):
        own = branches == branch
        assert float((fitted.logits(h[own], 500.0, branch).argmax(dim=1) == labels[own]).float().mean()) > least
    fitted.save(tmp_path / "classifier.safetensors")
    again = ActivationClassifier.load(tmp_path / "classifier.safetensors")
    assert torch.equal(again.logits(h, 300.0, 1), fitted.logits(h, 300.0, 1))


def test_probabilities_are_scikit_learns_on_scaled_activations():
    h, labels, steps, branches = _labelled(2)
    fitted = fit_classifier(h, labels, steps, branches, BRANCHES, h.shape[2:])
    own = h[branches == 1].flatten(1)  # all three timesteps are neighbours of the one in the middle
    mean, scale = own.mean(dim=0), (own - own.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    x, y = ((own - mean) / scale).numpy(), labels[branches == 1].numpy()
    wanted = torch.from_numpy(LogisticRegression(C=20.0, max_iter=500).fit(x, y).predict_proba(x)).float()
    found = torch.softmax(fitted.logits(h[branches == 1], 500.0, 1), dim=1)
    assert torch.allclose(found, wanted, atol=1e-4)


def test_a_timestep_that_lacks_a_class_is_left_out():
    h, labels, steps, branches = _labelled(2)
    steps = torch.where(steps == 900.0, torch.where(labels == 0, 950.0, 975.0), steps)
    fitted = fit_classifier(h, labels, steps, branches, BRANCHES, h.shape[2:])
    assert fitted.timesteps.tolist() == [100.0, 500.0, 950.0, 975.0]  # neighbours show what one lacks
    some = (branches == 1) | (labels == 0)
    with pytest.raises(ValueError, match="`labels` must have images of all 2 classes near some timestep"):
        fit_classifier(h[some], labels[some], steps[some], branches[some], BRANCHES, h.shape[2:])


def test_it_is_fitted_at_the_places_at_which_guidance_sees_activations():
    h, labels, steps, branches = _labelled(2)
    finer = h.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3) + 3 * torch.randn(len(h), 4, 8, 8)
    fitted = fit_classifier(finer, labels, steps, branches, BRANCHES, (2, 2))
    means = torch.nn.functional.adaptive_avg_pool2d(finer, 2)
    assert fitted.weights.shape == (2, 3, 2, 4, 2, 2)
    assert torch.equal(
        fitted.logits(means, 500.0, 1),
        fit_classifier(means, labels, steps, branches, BRANCHES, (2, 2)).logits(means, 500.0, 1),
    )
