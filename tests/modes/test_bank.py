from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from selfdebias.modes.bank import ModeBank, interpolate
from selfdebias.modes.bank_fit import fit_bank
from selfdebias.storage.atomic import write_tensors


def _fitted() -> tuple[ModeBank, dict]:
    generator = torch.Generator().manual_seed(0)
    rows = {
        "z": F.normalize(torch.randn(80, 5, generator=generator), dim=1),
        "labels": torch.randint(2, (80,), generator=generator),
        "timesteps": torch.tensor([100.0, 300.0])[torch.randint(2, (80,), generator=generator)],
        "branch_index": torch.randint(2, (80,), generator=generator),
    }
    return fit_bank(**rows, branches=("uncond", "cond"), target=torch.tensor([0.5, 0.5])), rows


def test_centroids_are_the_normalised_means_of_each_branch_and_timestep():
    bank, rows = _fitted()
    for b, branch in enumerate(bank.branches):
        for t in (100.0, 300.0):
            for k in range(2):
                mine = [
                    rows["z"][i] for i in range(80)
                    if rows["labels"][i] == k and rows["timesteps"][i] == t and rows["branch_index"][i] == b
                ]  # fmt: skip
                mean = torch.stack(mine).mean(dim=0)
                assert torch.allclose(bank.at(t, branch)[k], mean / mean.norm(), atol=1e-6)


def test_between_recorded_timesteps_it_is_linear_and_beyond_them_constant():
    bank, _ = _fitted()
    low, high = bank.at(100.0, "cond"), bank.at(300.0, "cond")
    assert torch.allclose(bank.at(250.0, "cond"), F.normalize(0.25 * low + 0.75 * high, dim=-1), atol=1e-6)
    assert torch.equal(bank.at(0.0, "cond"), low) and torch.equal(bank.at(999.0, "cond"), high)
    values = torch.tensor([1.0, 3.0])
    assert [float(interpolate(values, torch.tensor([0.0, 2.0]), t)) for t in (-1, 0, 0.5, 2, 9)] == [1, 1, 1.5, 3, 3]


def test_a_mode_that_was_not_recorded_at_a_timestep_takes_its_mean_over_all():
    z = F.normalize(torch.tensor([[1.0, 0.1], [0.1, 1.0], [1.0, 0.2]]), dim=1)
    branch = torch.zeros(3, dtype=torch.int64)
    bank = fit_bank(
        z, torch.tensor([0, 1, 0]), torch.tensor([1.0, 1.0, 2.0]), branch, ("cond",), torch.tensor([0.5, 0.5])
    )
    assert torch.allclose(bank.at(2.0, "cond")[1], z[1])


def test_save_and_load_agree(tmp_path):
    bank, _ = _fitted()
    bank.save(tmp_path / "bank.safetensors")
    loaded = ModeBank.load(tmp_path / "bank.safetensors")
    assert loaded.branches == bank.branches
    for name in ("timesteps", "centroids", "sizes", "target", "depths"):
        assert torch.equal(getattr(loaded, name), getattr(bank, name))


def test_depths_are_kept_and_are_zero_where_none_are_known(tmp_path):
    bank, _ = _fitted()
    assert bank.depths.tolist() == [0, 0]
    replace(bank, depths=torch.tensor([2, 1])).save(tmp_path / "bank.safetensors")
    assert ModeBank.load(tmp_path / "bank.safetensors").depths.tolist() == [2, 1]
    tensors = load_file(tmp_path / "bank.safetensors")
    del tensors["depths"]  # as banks of before are
    write_tensors(tmp_path / "older.safetensors", tensors, {"branches": '["uncond", "cond"]', "encoder": ""})
    assert ModeBank.load(tmp_path / "older.safetensors").depths.tolist() == [0, 0]
    for depths in ([1], [0, -1]):
        with pytest.raises(ValueError, match="`depths` must be 2 whole numbers of at least 0"):
            replace(bank, depths=torch.tensor(depths))


def test_a_target_that_is_no_distribution_and_a_mode_without_activation_are_refused():
    bank, rows = _fitted()
    with pytest.raises(ValueError, match="`target` must be 2 shares that sum to 1"):
        ModeBank(bank.branches, bank.timesteps, bank.centroids, bank.sizes, torch.tensor([0.9, 0.3]))
    with pytest.raises(ValueError, match="none in the uncond branch for modes"):
        fit_bank(**rows, branches=("uncond", "cond"), target=torch.full((3,), 1 / 3))
