"""Thresholds of each prompt on planted vectors, whose sides are known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selfdebias.modes import CarriedBank
from selfdebias.modes.bank import ANY, AxesBank, ModeBank, load_bank
from selfdebias.modes.bank_fit import fit_axis_bank
from selfdebias.modes.semantics import AxesSemantics, Semantics
from selfdebias.modes.thresholds import TEMPERATURE, axes_with_thresholds, with_thresholds

BRANCHES, TIMES, D = ("uncond", "cond"), (100.0, 500.0, 900.0), 8
PROMPTS = ("a person", "a guard")
SHARES = torch.tensor([0.5, 0.85])  # of mode 0


def planted(n: int = 1200, seed: int = 0) -> dict[str, torch.Tensor]:
    """Vectors of two prompts, of which the second leans towards mode 1 as a whole, so that one threshold is wrong about it."""
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.arange(n) % 2
    mode = (torch.rand(n, generator=generator) > SHARES[prompt]).long()
    time = torch.tensor(TIMES)[torch.randint(3, (n,), generator=generator)]
    branch = torch.randint(2, (n,), generator=generator)
    places = torch.stack([2 * torch.eye(D)[5], 2 * torch.eye(D)[6] + 0.5 * torch.eye(D)[1]])
    z = places[prompt] + 0.5 * torch.eye(D)[mode] + 0.15 * torch.randn(n, D, generator=generator)
    return {"z": F.normalize(z, dim=1), "labels": mode, "timesteps": time, "branch_index": branch, "prompt": prompt}


def fitted(rows: dict[str, torch.Tensor]) -> ModeBank:
    common = {name: rows[name] for name in ("z", "labels", "timesteps", "branch_index")}
    return fit_axis_bank(**common, branches=BRANCHES, target=torch.full((2,), 0.5), centers=torch.eye(D)[:2])


def apart(bank: ModeBank, rows: dict[str, torch.Tensor]) -> ModeBank:
    return with_thresholds(
        bank, rows["z"], rows["labels"], rows["timesteps"], rows["branch_index"], rows["prompt"], PROMPTS
    )


def told(bank: ModeBank, rows: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """By prompt, the share of mode 0 that is told, and how often the mode is."""
    scores = bank.scores_of(rows["z"], rows["timesteps"], rows["branch_index"], rows["prompt"])
    p, right = torch.softmax(scores / TEMPERATURE, dim=1)[:, 0], (scores.argmax(dim=1) == rows["labels"]).float()
    return (torch.stack([it[rows["prompt"] == k].mean() for k in (0, 1)]) for it in (p, right))  # type: ignore[return-value]


def test_a_threshold_for_each_prompt_tells_the_shares_of_unseen_images():
    seen, unseen = planted(), planted(seed=1)
    shared = fitted(seen)
    before, right_before = told(shared, unseen)
    after, right_after = told(apart(shared, seen), unseen)
    assert (before - SHARES).abs().max() > 0.2 and (after - SHARES).abs().max() < 0.04
    assert right_after[1] > right_before[1] + 0.05


def test_a_prompt_that_was_not_fitted_has_the_shared_threshold():
    seen = planted()
    shared, bank = fitted(seen), apart(fitted(seen), seen)
    assert bank.prompts == (*PROMPTS, ANY)
    assert torch.equal(bank.of_prompt("a judge").origins, shared.origins)
    assert not torch.equal(bank.of_prompt("a guard").origins, shared.origins)


def test_thresholds_are_saved_of_a_partition_and_of_axes(tmp_path):
    seen = planted()
    bank = apart(fitted(seen), seen)
    bank.save(tmp_path / "one")
    read = load_bank(tmp_path / "one")
    assert isinstance(read, ModeBank) and read.prompts == bank.prompts and torch.equal(read.origins, bank.origins)
    where = seen["timesteps"], seen["branch_index"], seen["prompt"], PROMPTS
    axes = axes_with_thresholds(
        AxesBank((fitted(seen), fitted(seen))), seen["z"], seen["labels"][:, None].repeat(1, 2), *where
    )
    assert torch.equal(axes.axes[1].origins, bank.origins)
    axes.save(tmp_path / "two")
    again = load_bank(tmp_path / "two")
    assert isinstance(again, AxesBank) and [it.prompts for it in again.axes] == [bank.prompts] * 2
    assert torch.equal(again.of_prompt("a guard").axes[0].origins, bank.of_prompt("a guard").origins)


class Same(nn.Module):
    """`z` = the unit vector of the channels."""

    dim, branches, encoder = D, BRANCHES, ""

    def forward(self, h: torch.Tensor, timestep: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return F.normalize(h.flatten(1), dim=1)


def test_semantics_of_a_prompt_read_by_its_threshold():
    seen = planted()
    bank = apart(fitted(seen), seen)
    h = seen["z"][:8, :, None, None]
    of_one = Semantics(Same(), bank)  # type: ignore[arg-type]
    of_axes = AxesSemantics(Same(), AxesBank((bank,)))  # type: ignore[arg-type]
    by_prompt = [of_one.of_prompt(it).assign(h, 500.0, "cond", 0.1)[:, 0] for it in PROMPTS]
    assert (by_prompt[1] > by_prompt[0]).all()  # the guards' threshold lies further towards mode 1
    for prompt, p in zip(PROMPTS, by_prompt, strict=True):
        (axis,) = of_axes.of_prompt(prompt).axes
        assert torch.equal(axis.assign(h, 500.0, "cond", 0.1)[:, 0], p)


def test_a_prompt_without_activations_is_refused():
    seen = planted()
    with pytest.raises(ValueError, match="`z` must hold activations of 'a judge' in the uncond branch, got none"):
        with_thresholds(
            fitted(seen), seen["z"], seen["labels"], seen["timesteps"], seen["branch_index"], seen["prompt"],
            (*PROMPTS, "a judge"),
        )  # fmt: skip


def test_a_threshold_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="`bank.threshold` must be one of shared, prompt, got 'own'"):
        CarriedBank("a person", threshold="own")
