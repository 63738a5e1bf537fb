"""The benchmarks measure what they say, here on small models."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext

import pytest
import torch

from experiments.benchmarks import choosing_cost, clustering, frechet, full_width_sd3
from experiments.benchmarks.full_width_sd15 import BRANCHES, build_semantics, measure, timed_unet
from experiments.pooled import RESULTS
from experiments.published import PARTS, SD3_TRANSFORMER
from selfdebias.storage.atomic import write_json
from tests.tiny import tiny_pipeline


def test_the_cost_at_full_width_is_measured_around_the_guidance_call():
    pipeline = tiny_pipeline()
    found = measure(pipeline, batch=2, steps=2, rounds=1, output="latent")
    assert set(found) == {"unet", "guidance", "time", "memory", "share", "projector_weights"}
    assert all(value > 0 for value in found.values())
    assert found["share"] == found["guidance"] / found["unet"]
    assert not pipeline.unet._forward_hooks and not pipeline.unet._forward_pre_hooks


NARROW = {"num_attention_heads": 2, "attention_head_dim": 8, "caption_projection_dim": 16, "joint_attention_dim": 32}


def test_the_cost_beside_a_transformer_is_measured_around_the_guidance_call():
    size = full_width_sd3.Size(2, 64, 2, "cpu", "float32")
    found = full_width_sd3.measure(size, batch=2, rounds=1, **NARROW)
    assert set(found) == {"transformer", "guidance", "time", "share"} and all(value > 0 for value in found.values())
    assert full_width_sd3.peak_memory("guided", size, 1, NARROW) > 50
    assert full_width_sd3.ON_GPU.layers == SD3_TRANSFORMER["num_layers"] == 24


def test_each_unet_call_is_timed_once():
    pipeline, seconds = tiny_pipeline(), []
    with timed_unet(pipeline.unet, seconds):
        for _ in range(3):
            pipeline.unet(torch.randn(1, 4, 8, 8), 1, encoder_hidden_states=torch.randn(1, 3, 16))
    assert len(seconds) == 3 and min(seconds) > 0


def test_the_projector_is_that_of_the_model_entry():
    semantics = build_semantics((1280, 8, 8))
    assert semantics.projector.branches == BRANCHES and semantics.projector.reader == "convolutional"
    assert sum(p.numel() for p in semantics.projector.parameters()) <= 12e6


def test_the_published_architectures_have_the_published_sizes():
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in parts["UNet"]().parameters()) / 1e6 for name, parts in PARTS.items()}
    assert {name: round(count) for name, count in counts.items()} == {
        "sd15, sd14": 860, "sd2": 866, "sd2_v": 866, "sdxl": 2567, "ddpm_celebahq, ddpm_cat, ddpm_church": 114,
    }  # fmt: skip


def test_the_frechet_distance_is_timed_on_sets_whose_distance_is_known():
    found = frechet.measure(n=20_000, d=8, threads=1)
    assert found["distance"] == pytest.approx(found["expected"], rel=0.02)
    assert found["seconds"] > 0 and found["peak_process_mb"] > 20_000 * 8 * 4 * 2 / 2**20
    recorded = json.loads((RESULTS / "frechet.json").read_text())
    assert (recorded["n"], recorded["dim"]) == (frechet.N, frechet.D) == (50_000, 2_048)
    assert recorded["seconds"] < frechet.SECONDS and recorded["peak_process_mb"] < frechet.MEGABYTES


def test_two_stage_clustering_is_timed_on_modes_that_are_known():
    found = clustering.measure(n=400, d=64, threads=1)
    assert found["ari"] > 0.7 and found["tried"] == 7 and found["modes"] >= 6 and found["seconds"] > 0
    recorded = json.loads((RESULTS / "clustering.json").read_text())
    assert [row["n"] for row in recorded["rows"]] == list(clustering.SIZES) and recorded["dim"] == clustering.DIM == 512
    images, seconds = clustering.BAR
    assert next(row for row in recorded["rows"] if row["n"] == images)["seconds"] < seconds
    assert recorded["slope"] == pytest.approx(clustering.slope(recorded["rows"]))
    assert len(clustering.growth_figure(recorded["rows"]).axes[0].lines) == 2


def test_time_and_rows_of_choosing_are_over_those_of_vanilla_on_the_same_seed(tmp_path, monkeypatch):
    def run(overrides, seeds, root):
        """A job whose stages are as sampled: choosing evaluates 1.5 times the rows, in twice the time."""
        stages = {f"generate/{arm}": f"{arm}-{seeds[0]}" for arm in ("vanilla", "guided")}
        for (name, path), rows in zip(stages.items(), (80, 120), strict=True):
            (tmp_path / path).mkdir(exist_ok=True)
            seconds = seeds[0] * (2 if name.endswith("guided") else 1)
            write_json(
                tmp_path / path / "generate.json",
                {"rows_per_image": rows, "seconds_per_image": seconds, "timed_images": 128},
            )
        write_json(tmp_path / "job.json", {"stages": stages})
        return [tmp_path]

    monkeypatch.setattr(choosing_cost, "run_jobs", run)
    costs = choosing_cost.measure({"select": [], "resample": []}, (1, 2, 3, 4), str(tmp_path))
    for arm, seeds in (("select", (1, 3)), ("resample", (2, 4))):
        assert [(it["rows"], it["seconds"], it["seconds_per_image"]) for it in costs[arm]] == [
            (1.5, 2, 2 * seed) for seed in seeds
        ]
    assert "| select | 1.50 (1.50 to 1.50) | 2.00 (2.00 to 2.00) |" in choosing_cost.page(costs)
    assert "for each of 2 seeds of each arm" in choosing_cost.page(costs)


@pytest.mark.parametrize("timed", [{}, {"seconds_per_image": 1.0, "timed_images": 96}])
def test_a_stage_that_was_not_timed_as_a_whole_is_said(tmp_path, timed):
    (tmp_path / "vanilla").mkdir()
    write_json(tmp_path / "vanilla" / "generate.json", {"rows_per_image": 80, **timed})
    write_json(tmp_path / "job.json", {"stages": {f"generate/{arm}": arm for arm in ("vanilla", "guided")}})
    with pytest.raises(SystemExit, match="not timed as a whole: remove it and .*guided"):
        choosing_cost._counted(tmp_path, "vanilla", str(tmp_path))


@pytest.mark.parametrize(("later", "is_one"), [(60.0, True), (500.0, False), (-60.0, False)])
def test_an_arm_timed_in_another_sitting_than_its_vanilla_images_is_refused(tmp_path, later, is_one):
    for arm, ended in (("vanilla", 1000.0), ("guided", 1000.0 + later)):
        (tmp_path / arm).mkdir()
        write_json(tmp_path / arm / "generate.json", {})
        os.utime(tmp_path / arm / "generate.json", (ended, ended))
    write_json(tmp_path / "job.json", {"stages": {f"generate/{arm}": arm for arm in ("vanilla", "guided")}})
    with nullcontext() if is_one else pytest.raises(SystemExit, match="timed in two sittings: remove both"):
        choosing_cost._check_one_sitting(tmp_path, 60.0, str(tmp_path))
