from __future__ import annotations

from itertools import permutations

import pytest
import torch

from selfdebias.guidance.transport import assign_modes, capacities, left_over

HALF = torch.tensor([0.5, 0.5])


def _p(n: int, k: int, seed: int) -> torch.Tensor:
    return torch.softmax(3 * torch.randn(n, k, generator=torch.Generator().manual_seed(seed)), dim=1)


def _cost(p: torch.Tensor, modes) -> float:
    return float(-torch.log(p[torch.arange(len(p)), torch.as_tensor(modes)]).sum())


@pytest.mark.parametrize("seed", range(5))
def test_the_assignment_is_the_cheapest_of_all_that_meet_the_counts(seed):
    p, counts = _p(6, 3, seed), torch.tensor([3, 2, 1])
    modes = assign_modes(p, counts)
    assert torch.bincount(modes, minlength=3).tolist() == counts.tolist()
    cheapest = min(_cost(p, each) for each in set(permutations([0, 0, 0, 1, 1, 2])))
    assert _cost(p, modes) == pytest.approx(cheapest, rel=1e-6)


@pytest.mark.parametrize("first", [0, 1, 5, 12, 20])
def test_for_two_modes_it_cuts_the_order_of_the_scores(first):
    p = _p(20, 2, first)
    modes = assign_modes(p, torch.tensor([first, 20 - first]))
    order = torch.argsort(-(torch.log(p[:, 0]) - torch.log(p[:, 1])))
    assert set(order[:first].tolist()) == set(torch.nonzero(modes == 0).flatten().tolist())


def test_ties_go_by_the_order_of_the_images():
    likelier_first = torch.tensor([[0.7, 0.3]] * 5)
    assert assign_modes(likelier_first, torch.tensor([2, 3])).tolist() == [0, 0, 1, 1, 1]
    assert assign_modes(likelier_first.flip(1), torch.tensor([2, 3])).tolist() == [1, 1, 1, 0, 0]
    mixed = torch.tensor([[0.7, 0.3], [0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.7, 0.3]])
    assert assign_modes(mixed, torch.tensor([2, 3])).tolist() == [0, 0, 1, 1, 1]


def test_a_row_that_is_not_finite_takes_what_the_others_leave():
    p = torch.tensor([[0.9, 0.1], [float("nan"), float("nan")], [0.8, 0.2]])
    assert assign_modes(p, torch.tensor([2, 1])).tolist() == [0, 1, 0]


@pytest.mark.parametrize(("n", "pi"), [(32, [0.5, 0.5]), (7, [0.9, 0.1]), (5, [0.2, 0.3, 0.5]), (1, [1 / 3] * 3)])
def test_counts_are_within_one_of_the_shares_and_sum_to_the_batch(n, pi):
    counts = capacities(n, torch.tensor(pi), torch.zeros(len(pi)), torch.zeros(len(pi)))
    assert int(counts.sum()) == n
    assert all(abs(count - n * share) < 1 for count, share in zip(counts.tolist(), pi, strict=True))


@pytest.mark.parametrize("pi", [[0.5, 0.5], [0.9, 0.1], [0.2, 0.3, 0.5]])
@pytest.mark.parametrize("size", [1, 3])
def test_small_batches_come_out_right_in_the_long_run(pi, size):
    shares, owed, total = torch.tensor(pi), torch.zeros(len(pi)), torch.zeros(len(pi))
    for _ in range(200 // size):
        counts = capacities(size, shares, owed, torch.zeros(len(pi)))
        owed = left_over(size, shares, owed, counts, decay=1.0)
        total += counts
        assert (total - shares * total.sum()).abs().max() <= 1.0  # at each moment, not only at the end


def test_batches_that_divide_evenly_leave_nothing_owed():
    third = torch.full((3,), 1 / 3)
    counts = capacities(30, third, torch.zeros(3), torch.zeros(3))
    assert counts.tolist() == [10, 10, 10]
    assert not left_over(30, third, torch.zeros(3), counts, 1.0).any()


def test_what_is_owed_decays():
    left = left_over(5, HALF, torch.zeros(2), torch.tensor([3, 2]), 0.5)
    assert left.tolist() == [-0.25, 0.25]
    assert not left_over(5, HALF, torch.zeros(2), torch.tensor([3, 2]), 0.0).any()
