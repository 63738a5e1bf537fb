from __future__ import annotations

import torch

from selfdebias.modes.semantics import ModeMeans, fit_means


def test_deviations_are_those_of_the_modes_means_and_sum_to_nothing():
    h = torch.randn(30, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    labels, timesteps = torch.tensor([0, 1, 1] * 10), torch.tensor([100.0] * 15 + [200.0] * 15)
    means = fit_means(h, labels, timesteps, 2)
    for i, t in enumerate((100.0, 200.0)):
        rows = timesteps == t
        first, second = (h[rows & (labels == k)].mean(dim=0) for k in (0, 1))
        wanted = torch.stack([first - second, second - first]) / 2
        assert torch.allclose(means.deviations[i].float(), wanted, atol=2e-3)
    middle = (means.deviations[0].float() + means.deviations[1].float()) / 2
    assert torch.allclose(means.at(150.0), middle, atol=2e-3)


def test_a_timestep_that_shows_one_mode_alone_takes_the_others():
    h = torch.zeros(6, 1, 1, 1)
    h[:, 0, 0, 0] = torch.tensor([1.0, 3.0, 1.0, 3.0, 7.0, 7.0])
    means = fit_means(h, torch.tensor([0, 1, 0, 1, 1, 1]), torch.tensor([100.0] * 2 + [200.0] * 2 + [300.0] * 2), 2)
    assert means.deviations.flatten(1).tolist() == [[-1.0, 1.0]] * 3


def test_what_is_saved_is_read_back(tmp_path):
    means = ModeMeans(torch.tensor([1.0, 2.0]), torch.randn(2, 2, 3, 4, 4).half())
    means.save(tmp_path / "means.safetensors")
    again = ModeMeans.load(tmp_path / "means.safetensors")
    assert torch.equal(again.timesteps, means.timesteps) and torch.equal(again.deviations, means.deviations)
