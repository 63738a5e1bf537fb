"""A batch that is split over processes gets the edits of the whole batch, whatever the guidance; by its YAML."""

from __future__ import annotations

import threading

import pytest
import torch

from selfdebias.guidance import Guidance, GuidanceState
from selfdebias.guidance.baselines import ReplayedSizes
from selfdebias.guidance.collective import ALONE, Collective
from selfdebias.guidance.self_debias import AssignmentMemory
from selfdebias.guidance.transport import TransportState
from tests.guidance.test_contract import OPTIONS, _build
from tests.guidance.threads import in_threads
from tests.guidance.worlds import activations, begin, circle_state, step

ANGLES = [[0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 1.2], [0.2, 0.15, 0.3, 0.9, 1.1, 0.4, 0.6]]  # of two batches of 7
SEEDS = tuple(range(100, 107))
SIZES = torch.linspace(0.05, 0.3, 7)
SPLITS = [[4, 3], [6, 1], [2, 4, 1]]


def _rows(h: torch.Tensor, own: slice) -> torch.Tensor:
    return torch.cat([half[own] for half in h.chunk(2)])


def _draw(guidance: Guidance, own: slice, collective: Collective, batches: list[torch.Tensor]):
    """Guide two batches, two steps each, from the memory that the first leaves; each step's edited rows, and the state."""
    state = circle_state()
    state.collective = collective
    edited = []
    for h in batches:
        mine = _rows(h, own)
        begin(guidance, state, SEEDS[own], mine)
        state.of(ReplayedSizes).sizes = {0: SIZES[own], 1: SIZES[own]}
        for index in (0, 1):
            mine = guidance.edit(mine, step(index), state)
            edited.append(mine)
    return edited, state


def _compare(option: str, sizes: list[int], batches: list[torch.Tensor]) -> list[GuidanceState]:
    whole, state = _draw(_build(option), slice(0, 7), ALONE, batches)
    starts = [sum(sizes[:part]) for part in range(len(sizes))]
    slices = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    parts = in_threads(len(sizes), lambda c: _draw(_build(option), slices[c.part], c, batches))
    for at, expected in enumerate(whole):
        halves = [edited[at].chunk(2) for edited, _ in parts]
        found = torch.cat([*(uncond for uncond, _ in halves), *(cond for _, cond in halves)])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    for _, own in parts:
        sums, expected = own.of(AssignmentMemory).sums, state.of(AssignmentMemory).sums
        assert sums.keys() == expected.keys()
        assert all(torch.allclose(sums[place], expected[place], atol=1e-5) for place in expected)
        plans, wanted = own.of(TransportState).plans, state.of(TransportState).plans
        assert plans.keys() == wanted.keys()
        assert all(torch.equal(plans[group].modes, wanted[group].modes) for group in wanted)
        assert own.trace.index == state.trace.index and own.trace.skipped == state.trace.skipped
        for mine, expected in zip(own.trace.p_hat, state.trace.p_hat, strict=True):
            assert torch.allclose(mine, expected, atol=1e-5)  # of the whole batch
    return [state, *(own for _, own in parts)]


@pytest.mark.parametrize("sizes", SPLITS, ids=str)
@pytest.mark.parametrize("option", [option for option in OPTIONS if _build(option).splits])
def test_the_edit_of_a_split_batch_is_that_of_the_whole(option, sizes):
    _compare(option, sizes, [activations(angles) for angles in ANGLES])


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if _build(option).splits and _build(option).needs_semantics]
)
def test_a_part_that_is_not_finite_is_skipped_by_all_parts(option):
    """The image is in the last part; a part that went on alone would wait for the others for ever."""
    batches = [activations(angles) for angles in ANGLES]
    batches[1][-1, 0] = float("inf")
    states = _compare(option, [4, 3], batches)
    if option in ("self_debias", "transport"):
        assert [state.trace.skipped for state in states] == [2, 2, 2]


def _decaying(option: str) -> Guidance:
    guidance = _build(option)
    if hasattr(guidance, "decay"):
        guidance.decay = 0.9
    return guidance


@pytest.mark.parametrize("option", [option for option in OPTIONS if _decaying(option).dependence == "run"])
def test_memory_is_that_of_all_parts(option):
    guidance = _decaying(option)

    def draw(collective: Collective):
        own = slice(0, 4) if collective.part == 0 else slice(4, 7)
        return _draw(guidance, own, collective, [activations(angles) for angles in ANGLES])[1]

    for state in in_threads(2, draw):
        assert float(state.of(AssignmentMemory).sums["a person", 0][-1]) == pytest.approx(0.9 * (0.9 * 7 + 7))


def test_a_thread_that_asks_more_often_than_the_others_fails_the_comparison():
    """So that a guidance whose parts do not stay in step cannot pass the tests above."""

    def body(collective: Collective):
        for _ in range(1 + collective.part):
            collective.any(False)

    with pytest.raises(threading.BrokenBarrierError):
        in_threads(2, body, seconds=1.0)
