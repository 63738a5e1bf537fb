from __future__ import annotations

import math

import pytest
import torch

from selfdebias.modes.bank import ModeBank
from selfdebias.modes.means import ModeMeans, fit_means
from selfdebias.modes.semantics import GRID, fit_temperature, fit_temperatures


def _images(tau: float, n: int, seed: int = 0, shift: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines (n, 2) with a spread and a bias, and labels drawn from ``softmax(cosines / tau)``."""
    generator = torch.Generator().manual_seed(seed)
    first = (shift + 0.3 * torch.randn(n, generator=generator)).clamp(-1, 1)
    cosines = torch.stack([first, torch.zeros(n)], dim=1)
    p = torch.softmax(cosines / tau, dim=1)[:, 0]
    return cosines, (torch.rand(n, generator=generator) > p).long()


@pytest.mark.parametrize("tau", [0.1, 0.3, 0.8])
def test_the_temperature_that_drew_the_labels_is_found(tau):
    assert fit_temperature(*_images(tau, 20_000)) == pytest.approx(tau, rel=0.15)


@pytest.mark.parametrize("tau", [0.1, 0.3, 0.8])
def test_projected_shares_become_those_of_the_images(tau):
    cosines, labels = _images(tau, 400, seed=1)
    share = float((labels == 0).float().mean())
    fitted = torch.softmax(cosines / fit_temperature(cosines, labels), dim=1)[:, 0].mean()
    off = torch.softmax(cosines / (4 * tau), dim=1)[:, 0].mean()
    assert abs(float(fitted) - share) < 0.02 < abs(float(off) - share)


def test_of_temperatures_that_do_equally_well_the_largest_is_taken():
    """Every temperature gives the share here; low ones give the images' own modes a likelihood of nearly 1."""
    cosines = torch.tensor([[0.5, 0.0], [-0.5, 0.0]] * 10)
    found = fit_temperature(cosines, torch.tensor([0, 1] * 10))
    assert 0.02 - 0.004 < math.log1p(math.exp(-0.5 / found)) < 0.02  # nats that it loses, of the 0.02 that it may
    assert fit_temperature(cosines, torch.tensor([1, 0] * 10)) == pytest.approx(float(GRID[-1]))


def test_each_timestep_and_branch_has_its_own_and_gaps_take_the_branchs():
    timesteps = torch.arange(5) * 100.0
    centroids = torch.eye(2).expand(2, 5, 2, 2).contiguous()
    bank = ModeBank(("uncond", "cond"), timesteps, centroids, torch.ones(2), torch.tensor([0.5, 0.5]))
    z, labels, at, branch = [], [], [], []
    for b, t, tau in ((0, 0.0, 0.2), (1, 0.0, 0.2), (1, 400.0, 0.8)):
        cosines, drawn = _images(tau, 4000, seed=b, shift=0.2)
        second = -(1 - cosines[:, 0] ** 2).sqrt()  # unit vectors whose first cosine is less than the second by far
        rows = torch.stack([cosines[:, 0], second], dim=1)
        p = torch.softmax(rows / tau, dim=1)[:, 0]
        drawn = (torch.rand(len(p), generator=torch.Generator().manual_seed(b)) > p).long()
        z, labels = [*z, rows], [*labels, drawn]
        at, branch = [*at, torch.full((len(p),), t)], [*branch, torch.full((len(p),), b)]
    found = fit_temperatures(*(torch.cat(parts) for parts in (z, labels, at, branch)), bank)
    assert found.shape == (2, 5)
    assert found[1, :2].tolist() == pytest.approx([0.2, 0.2], rel=0.3)
    assert found[1, 3:].tolist() == pytest.approx([0.8, 0.8], rel=0.3)
    assert 0.2 < float(found[1, 2]) < 0.8  # nothing was held out at 100 to 300: both ends together
    assert found[0].tolist() == pytest.approx([0.2] * 5, rel=0.3)
    with pytest.raises(ValueError, match="`z` must hold activations of the uncond branch, got none"):
        fit_temperatures(z[1], labels[1], at[1], branch[1], bank)


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
    assert torch.allclose(means.at(150.0, middle.shape[2:]), middle, atol=2e-3)


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
