"""Time and memory of a body of work, also nested and after an exception."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from selfdebias.jobs.stages.sampling import CostMeter

MEGABYTES_256 = 64 * 2**20  # float32 numbers; far more than what the system may reclaim from the process meanwhile


def work() -> None:
    block = torch.ones(MEGABYTES_256)
    time.sleep(0.06)
    del block


def test_seconds_and_peak_of_freed_memory():
    with CostMeter() as meter:
        work()
    assert 0.06 <= meter.seconds < 5
    assert meter.peak_rss_mb > 190
    assert meter.peak_memory_mb == (meter.peak_rss_mb if meter.peak_cuda_mb is None else meter.peak_cuda_mb)


def test_second_of_two_equal_bodies_costs_as_much_memory():
    meters = [CostMeter(), CostMeter()]
    for meter in meters:
        with meter:
            work()
    assert meters[1].peak_rss_mb == pytest.approx(meters[0].peak_rss_mb, abs=64)


def test_outer_meter_sees_what_the_inner_one_sees():
    with CostMeter() as outer:
        with CostMeter() as inner:
            work()
        time.sleep(0.02)
    assert outer.seconds >= inner.seconds + 0.02
    assert outer.peak_rss_mb >= inner.peak_rss_mb - 64


def test_thread_is_gone_after_an_exception():
    before = threading.active_count()
    meter = CostMeter()
    with pytest.raises(RuntimeError, match="stop"), meter:
        raise RuntimeError("stop")
    assert threading.active_count() == before
    assert meter.seconds >= 0
    assert not CostMeter._open


@pytest.mark.gpu
def test_nested_peaks_on_a_gpu_are_each_their_own():
    with CostMeter() as outer:
        first = torch.ones(2 * MEGABYTES_256, device="cuda")
        del first
        with CostMeter() as inner:
            second = torch.ones(MEGABYTES_256, device="cuda")
            del second
    assert outer.peak_cuda_mb == pytest.approx(512, abs=1)
    assert inner.peak_cuda_mb == pytest.approx(256, abs=1)
