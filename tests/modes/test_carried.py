"""Carried banks on planted vectors: what side an image is on is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from selfdebias.guidance import Semantics
from selfdebias.guidance.state import GuidanceState
from selfdebias.modes.bank import ModeBank
from selfdebias.modes.bank_fit import fit_axis_bank, fit_bank, fit_mean_bank
from selfdebias.modes.placement import CarriedModes, mean_offsets, unit
from tests.guidance.worlds import CircleProjector

BRANCHES = ("uncond", "cond")
TIMES = (100.0, 500.0, 900.0)
D = 8


def _planted(k: int, n: int = 240, seed: int = 0, share: float = 0.9, lean: float = 0.0) -> dict[str, torch.Tensor]:
    """Vectors of two prompts: the prompt's own place, the mode's direction, and a drift that moves every side at a timestep.

    The second prompt shows mode 0 in a share of its images, beside those that show it by chance, and leans towards mode 1 as a
    whole. Directions 0 to k - 1 are the modes'.
    """
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.arange(n) % 2
    rare = torch.rand(n, generator=generator) < share
    mode = torch.where((prompt == 1) & rare, torch.zeros(n).long(), torch.randint(k, (n,), generator=generator))
    time = torch.tensor(TIMES)[torch.randint(3, (n,), generator=generator)]
    branch = torch.randint(2, (n,), generator=generator)
    places = torch.stack([torch.eye(D)[5], torch.eye(D)[6] + lean * torch.eye(D)[1]])
    drift = (time / 1000)[:, None] * torch.eye(D)[0]  # towards mode 0, the later the more
    z = 2 * places[prompt] + 0.6 * torch.eye(D)[mode] + drift + 0.05 * torch.randn(n, D, generator=generator)
    return {"z": F.normalize(z, dim=1), "labels": mode, "timesteps": time, "branch_index": branch, "prompt": prompt}


def _common(rows: dict[str, torch.Tensor], k: int) -> dict:
    names = ("z", "labels", "timesteps", "branch_index")
    return {**{name: rows[name] for name in names}, "branches": BRANCHES, "target": torch.full((k,), 1 / k)}


def _right(bank: ModeBank, rows: dict[str, torch.Tensor], of_prompt: bool = False) -> float:
    prompt = rows["prompt"] if of_prompt else None
    scores = bank.scores_of(rows["z"], rows["timesteps"], rows["branch_index"], prompt)
    return float((scores.argmax(dim=1) == rows["labels"]).float().mean())


def test_an_axis_bank_gives_the_right_sides_on_unseen_images_of_all_prompts():
    seen, unseen = _planted(2), _planted(2, seed=1)
    centers = torch.eye(D)[:2]
    bank = fit_axis_bank(**_common(seen, 2), centers=centers)
    assert _right(bank, unseen) == 1.0
    plain = ModeBank(BRANCHES, bank.timesteps, centers.expand(2, 3, 2, D).contiguous(), bank.sizes, bank.target)
    assert (
        _right(plain, unseen) < 0.9
    )  # without the midpoints the drift makes all of the last timestep look like mode 0


def test_scores_of_an_axis_bank_are_those_of_the_formula():
    """x = (z . a - m_t) / d_t, times one factor for all timesteps: the mean half-distance in the units of plain cosines."""
    rows, centers = _planted(2), F.normalize(torch.tensor([[1.0, 0.2], [0.1, 1.0]]), dim=1)
    centers = F.pad(centers, (0, D - 2))
    bank = fit_axis_bank(**_common(rows, 2), centers=centers)
    apart = centers[0] - centers[1]
    axis = apart / apart.norm()
    at = (rows["branch_index"] == 1) & (rows["timesteps"] == 500.0)
    sides = [(rows["z"] @ axis)[at & (rows["labels"] == side)].mean() for side in (0, 1)]
    m, d = (sides[0] + sides[1]) / 2, (sides[0] - sides[1]) / 2
    scores = bank.scores(rows["z"][at], 500.0, "cond")
    x = ((rows["z"][at] @ axis) - m) / d
    factor = (scores[:, 0] - scores[:, 1]) / x
    assert torch.allclose(factor, factor[:1].expand_as(factor), rtol=1e-4)
    means = [
        [(rows["z"] @ axis)[(rows["branch_index"] == 1) & (rows["timesteps"] == t) & (rows["labels"] == s)].mean() for s in (0, 1)]
        for t in TIMES
    ]  # fmt: skip
    half = sum(float(a - b) / 2 for a, b in means) / 3
    assert float(factor[0]) == pytest.approx(half * float(apart.norm()), rel=1e-4)


def test_scores_that_do_not_tell_the_sides_apart_are_refused():
    rows = _planted(2)
    with pytest.raises(ValueError, match="must tell the two sides of the axis apart"):
        fit_axis_bank(**_common(rows, 2), centers=torch.eye(D)[:2].flip(0))


def test_a_bank_by_means_tells_three_modes_apart_for_each_prompt():
    seen, unseen = (_planted(3, n, seed, share=0.0, lean=0.4) for n, seed in ((900, 0), (300, 1)))
    bank = fit_mean_bank(**_common(seen, 3), prompt_index=seen["prompt"], prompts=("a", "b"))
    assert _right(bank, unseen, of_prompt=True) > 0.97
    swapped = {**unseen, "prompt": 1 - unseen["prompt"]}
    assert _right(bank, swapped, of_prompt=True) < 0.9  # each prompt has its own mean
    at = (seen["prompt"] == 1) & (seen["branch_index"] == 0) & (seen["timesteps"] == 100.0)
    assert torch.allclose(bank.of_prompt("b").origins[0, 0, 0], seen["z"][at].mean(dim=0), atol=1e-6)


def test_a_bank_by_means_knows_its_own_prompts_alone():
    rows = _planted(3)
    bank = fit_mean_bank(**_common(rows, 3), prompt_index=rows["prompt"], prompts=("a", "b"))
    with pytest.raises(ValueError, match="`prompt` must be one that the bank was fitted on .a; b., got 'c'"):
        bank.of_prompt("c")
    with pytest.raises(ValueError, match="`origins` must be those of one prompt, got 2"):
        bank.scores(rows["z"], 100.0, "cond")


@pytest.mark.parametrize("kind", ["axis", "mean"])
def test_carried_banks_are_saved_and_loaded(kind, tmp_path):
    rows = _planted(2)
    if kind == "axis":
        bank = fit_axis_bank(**_common(rows, 2), centers=torch.eye(D)[:2])
    else:
        bank = fit_mean_bank(**_common(rows, 2), prompt_index=rows["prompt"], prompts=("a", "b"))
    bank.save(tmp_path / "bank.safetensors")
    loaded = ModeBank.load(tmp_path / "bank.safetensors")
    assert loaded.prompts == bank.prompts and torch.equal(loaded.origins, bank.origins)
    assert (loaded.scales is None) == (kind == "mean") and _right(loaded, rows, True) == _right(bank, rows, True)


def test_a_plain_banks_scores_are_cosines():
    rows = _planted(2)
    bank = fit_bank(**_common(rows, 2))
    assert torch.equal(bank.scores(rows["z"], 500.0, "cond"), rows["z"] @ bank.at(500.0, "cond").T)
    assert bank.of_prompt("any") is bank


def test_guidance_reads_the_bank_of_its_own_prompt():
    centroids = torch.eye(2).expand(2, 1, 2, 2).contiguous()
    origins = torch.tensor([[[[0.0, 0.0]]] * 2, [[[1.0, 0.0]]] * 2])
    bank = ModeBank(
        BRANCHES, torch.tensor([500.0]), centroids, torch.ones(2), torch.full((2,), 0.5), origins=origins, prompts=("a", "b")
    )  # fmt: skip
    state = GuidanceState(Semantics(CircleProjector(), bank))
    h = torch.zeros(1, 3, 1, 1)
    h[:, 0], h[:, 1] = 0.8, 0.6  # z = (0.8, 0.6): nearer to mode 0, but past the mean of prompt b
    sides = []
    for prompt in ("a", "b"):
        state.begin(prompt, (1,))
        sides.append(int(state.require_semantics().assign(h, 500.0, "cond", 0.1).argmax()))
    assert sides == [0, 1]


def test_two_modes_are_carried_by_their_axis_and_three_by_the_mean():
    rng = np.random.default_rng(0)
    source = unit(np.eye(D)[5] * 2 + 0.8 * np.eye(D)[np.arange(60) % 2] + 0.05 * rng.normal(size=(60, D)))
    labels = np.arange(60) % 2
    centers = unit(np.stack([source[labels == k].mean(axis=0) for k in range(2)]))
    modes = CarriedModes(centers, mean_offsets(source, labels, ["s"] * 60), by_mean=False)
    one_sided = unit(np.eye(D)[6] * 2 + 0.8 * np.eye(D)[0] + 0.05 * rng.normal(size=(40, D)))
    assert (modes.labels(one_sided) == 0).all()  # an own mean would halve them
    halved = CarriedModes(centers, modes.offsets, by_mean=True).labels(one_sided)
    assert 0.1 < halved.mean() < 0.9
    assert np.allclose(
        unit(modes.centers[:1] - modes.centers[1:2])[0], unit((np.eye(D)[0] - np.eye(D)[1])[None])[0], atol=0.1
    )
