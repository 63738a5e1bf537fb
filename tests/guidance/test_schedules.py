from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from hydra.utils import instantiate
from omegaconf import OmegaConf

from selfdebias.backbones.hspace import alpha_bar_of
from selfdebias.config.sources import conf_folder
from selfdebias.guidance.schedules import CosineSchedule, GuidanceWindow, LinearSchedule, SignalToNoiseSchedule

OPTIONS = sorted(path.stem for path in (Path(conf_folder()) / "schedule").glob("*.yaml"))


def _build(option: str) -> GuidanceWindow:
    return instantiate(OmegaConf.load(Path(conf_folder()) / "schedule" / f"{option}.yaml"))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_schedule_keeps_its_window_and_its_weights_in_range(option):
    schedule = _build(option)
    for count in (1, 7, 25, 50):
        for i in range(count):
            weight = schedule.weight(i, count, alpha_bar=(i + 0.5) / count)
            assert 0 <= weight <= 1
            assert weight == 0 or schedule.start <= i / count < schedule.stop
    weights = [schedule.weight(i, 25, alpha_bar=(i + 0.5) / 25) for i in range(25)]
    inside = [i / 25 for i, weight in enumerate(weights) if weight]
    assert min(inside) - schedule.start < 1 / 25 and schedule.stop - max(inside) <= 1 / 25 + 1e-9


def test_windows_are_fractions_of_the_step_index():
    window = GuidanceWindow(0.2, 0.6)
    assert [i for i in range(10) if window.weight(i, 10)] == [2, 3, 4, 5]
    assert [i for i in range(50) if window.weight(i, 50)] == list(range(10, 30))
    assert all(GuidanceWindow().weight(i, 7) == 1.0 for i in range(7))


def test_neighbouring_windows_share_no_step_and_leave_none_out():
    for count in range(1, 60):
        first, second = GuidanceWindow(0.0, 0.3), GuidanceWindow(0.3, 1.0)
        assert all(first.weight(i, count) + second.weight(i, count) == 1 for i in range(count))


def test_linear_and_cosine_run_from_the_first_weight_to_the_last_within_the_window():
    linear, cosine = LinearSchedule(0.2, 0.6, 0.2, 1.0), CosineSchedule(0.2, 0.6, 0.2, 1.0)
    assert [round(linear.weight(i, 10), 6) for i in range(10)] == [0, 0, 0.2, 0.4, 0.6, 0.8, 0, 0, 0, 0]
    places = [i / 100 for i in range(20, 60)]
    found = [cosine.weight(i, 100) for i in range(20, 60)]
    assert found == pytest.approx([0.6 - 0.4 * math.cos(math.pi * (place - 0.2) / 0.4) for place in places])
    assert cosine.weight(40, 100) == pytest.approx(linear.weight(40, 100))


def test_the_signal_to_noise_weight_is_that_of_the_schedulers_own_variances():
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    schedule = SignalToNoiseSchedule(gamma=2.0)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    for t in (999, 500, 250, 1):
        alpha = float((1 - betas[: t + 1]).prod())
        wanted = min(1.0, alpha / (1 - alpha) / 2.0)
        assert schedule.weight(0, 1, alpha_bar_of(scheduler, t)) == pytest.approx(wanted, rel=1e-3)
    assert schedule.weight(0, 1, alpha_bar=1.0) == 1.0


def test_alpha_bar_is_read_between_whole_timesteps_and_held_beyond_them():
    scheduler = EulerDiscreteScheduler()
    alphas = scheduler.alphas_cumprod
    assert alpha_bar_of(scheduler, 10.25) == pytest.approx(0.75 * float(alphas[10]) + 0.25 * float(alphas[11]))
    assert alpha_bar_of(scheduler, 999.0) == float(alphas[-1])
    assert math.isnan(alpha_bar_of(SimpleNamespace(), 10.0))


def test_a_scheduler_without_noise_levels_is_refused_by_the_schedule_that_needs_them():
    pipeline = SimpleNamespace(scheduler=SimpleNamespace())
    GuidanceWindow().check(pipeline)
    with pytest.raises(
        ValueError, match="`pipeline.scheduler` must state its noise levels .`alphas_cumprod`. for this"
    ):
        SignalToNoiseSchedule().check(pipeline)


def test_flow_matching_states_its_noise_levels():
    scheduler = FlowMatchEulerDiscreteScheduler()
    SignalToNoiseSchedule().check(SimpleNamespace(scheduler=scheduler))
    assert alpha_bar_of(scheduler, 500.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("start", "stop", "name"), [(-0.1, 1, "start"), (0, 1.7, "stop"), (0.5, 0.5, "stop"), (0.8, 0.2, "stop")]
)
def test_what_is_no_window_is_refused(start, stop, name):
    with pytest.raises(ValueError, match=f"`schedule.{name}` must be"):
        GuidanceWindow(start, stop)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda: LinearSchedule(first=1.5), r"`schedule.first` must be a weight in \[0, 1\], got 1.5"),
        (lambda: CosineSchedule(last=-1.0), r"`schedule.last` must be a weight in \[0, 1\], got -1.0"),
        (lambda: LinearSchedule(first=0.0), "`schedule.first` or `schedule.last` must be larger than 0"),
        (lambda: SignalToNoiseSchedule(gamma=0.0), "`schedule.gamma` must be finite and larger than 0, got 0.0"),
    ],
)
def test_weights_out_of_range_are_refused(schedule, message):
    with pytest.raises(ValueError, match=message):
        schedule()
