"""The whole job on the shipped model, with few images: what it leaves, that it is found again, and what may not change."""

from __future__ import annotations

import csv
import json
import math
import shlex
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from selfdebias import SelfDebias
from selfdebias.backbones import StableDiffusionBackbone
from selfdebias.config.sources import conf_folder, read_option
from selfdebias.encoders.base import SHIPPED
from selfdebias.guidance import GuidanceState, SelfDebiasGuidance, TransportGuidance
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.main import main
from selfdebias.report.loggers import make_logger
from selfdebias.report.measures import lines_of
from selfdebias.report.wandb_log import log_job
from selfdebias.storage.atomic import link_or_copy
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import image_seeds
from tests.wandb_file import offline_runs

SMALL = [
    "collect.n_images=32", "collect.batch_size=16", "collect.timesteps=4", "generate.n_images=12", "generate.batch_size=6",
    "model.steps=6", "projector.steps=40", "clustering=spectral", "clustering.k_max=4", "report.images=6",
    "encoder=emoji_clip_informed",
    "trainer.enable_progress_bar=false",
    "projector.noise=0.3",  # what 40 steps on 32 images can learn through
]  # fmt: skip


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    root = tmp_path_factory.mktemp("quick")
    assert main([*SMALL, f"paths.root={root}", "guidance=random"]) == 0
    return root


def _job(root, *more, **wanted):
    """The job of all stages, or that with `more` arguments at its end, whose command holds what is wanted."""
    jobs = [(job, json.loads((job / "job.json").read_text())) for job in (root / "jobs").iterdir()]
    jobs = [
        it
        for it in jobs
        if ("stages=" in it[1]["command"]) == bool(more) and it[1]["command"].endswith(shlex.join(more))
    ]
    return next(item for item in jobs if all(text in item[1]["command"] for text in wanted.values()))


def _images(root, record, arm) -> torch.Tensor:
    return BatchFolder.open(root / record["stages"][f"generate/{arm}"]).images()


def test_a_picture_of_the_first_images_is_there_before_anything_is_measured(quick, capsys):
    few = ["generate.n_images=6", "generate.seed=9", "stages=[collect,discover,project,generate]"]
    assert main([*(it for it in SMALL if "generate.n_images" not in it), f"paths.root={quick}", *few]) == 0
    (line,) = [it for it in capsys.readouterr().out.splitlines() if it.startswith("first images")]
    with Image.open(line.partition(": ")[2]) as picture:
        assert picture.width > 2.5 * picture.height  # six pairs, side by side


def test_results_have_their_stable_keys_and_no_number_is_nan(quick):
    job, record = _job(quick, guidance="guidance=random")
    results = json.loads(
        (job / "results.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in results")
    )
    assert {"config_hash", "seeds", "prompts", "arms", "modes", "cost"} <= set(results)
    assert results["config_hash"] == record["config_hash"] == job.name
    assert results["seeds"] == {"collect": 0, "generate": 1}
    assert set(results["arms"]) == {"vanilla", "guided", "random"}
    for arm in results["arms"].values():
        wanted = {
            "gender",
            "tone",
            "age",
            "shares",
            "mode_fd",
            "mode_kl",
            "frechet_distance",
            "kid",
            "turned",
            "kept_cosine",
        }
        assert wanted <= set(arm)
        assert {"value", "low", "high", "n"} <= set(arm["gender"]["fd_hard"])
        assert math.isclose(sum(entry["value"] for entry in arm["shares"]["gender"].values()), 1, abs_tol=1e-9)
    assert {"k", "sizes", "silhouette", "nmi"} <= set(results["modes"]) and sum(results["modes"]["sizes"]) == 32
    assert {"seconds_per_image", "ratio", "guidance_share", "peak_memory_ratio"} <= set(results["cost"])
    assert 0 < results["cost"]["guidance_share"] < 1


def test_what_a_reader_wants_is_in_the_jobs_folder(quick):
    job, _ = _job(quick, guidance="guidance=random")
    names = "config.yaml", "job.json", "results.json", "results.csv", "metrics.jsonl", "report.html", "table.md"
    for name in names:
        assert (job / name).stat().st_size > 0
    told = f"which was told {SHIPPED['shipped:emoji_clip_informed']}"
    assert told in " ".join((job / "table.md").read_text().replace("\\", "").split())
    names = {json.loads(line)["name"] for line in (job / "metrics.jsonl").read_text().splitlines()}
    assert {"loss", "cosine"} <= names


def test_its_wandb_run_holds_the_curves_the_pictures_the_tables_and_the_metric_of_the_shipped_sweep(quick):
    job, _ = _job(quick, guidance="guidance=random")
    results = json.loads((job / "results.json").read_text())
    (run,) = offline_runs(job)
    logged = {name for line in run.history for name in line}
    assert {"project/loss", "arms/path", "results/path", "figures/mode-0/path", "figures/images-guided/path"} <= logged
    assert [row[0] for row in run.table("arms")["data"]] == ["vanilla", "guided", "random"]
    with (job / "results.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[1:] == [["" if it is None else str(it) for it in line] for line in lines_of(results)]
    assert len(run.table("results")["data"]) == len(lines) - 1
    sweep = yaml.safe_load((conf_folder().parent / "experiments" / "wandb_sweep.yaml").read_text())
    arm, attribute, key = sweep["metric"]["name"].split("/")
    assert run.summary[sweep["metric"]["name"]] == results["arms"][arm][attribute][key]["value"]
    assert run.config["guidance"] and run.config["bank"] and "paths" not in run.config
    assert str(quick) not in run.file.read_bytes().decode("latin-1")


def test_the_artifact_of_projector_and_bank_is_a_debiaser(quick, tmp_path):
    job, _ = _job(quick, guidance="guidance=random")
    log_job(make_logger("wandb", read_option("logger", "wandb")["wandb"], tmp_path), {"arms": {}}, fitted=job)
    (artifact,) = offline_runs(tmp_path)[0].artifacts
    for file in artifact.manifest.contents:  # as a download lays them
        link_or_copy(Path(file.local_path), tmp_path / file.path)
    fetched, own = SelfDebias.from_pretrained(tmp_path), SelfDebias.from_pretrained(job)
    assert fetched.facts == own.facts and fetched.n_modes == own.n_modes
    assert json.loads(artifact.metadata)["modes"]["k"] == own.n_modes


def test_finished_stages_are_found_and_only_what_depends_on_a_change_is_made_anew(quick, capsys):
    assert main([*SMALL, f"paths.root={quick}", "guidance.strength=0"]) == 0
    said = capsys.readouterr().out
    for stage in ("collect", "discover", "project", "generate/vanilla"):
        assert f"{stage}: found, skipped" in said
    assert "generate/guided: done" in said
    lines = [
        line for line in said.split("report: ")[0].splitlines() if not line.startswith(("picture", "first images"))
    ]
    assert max(map(len, lines)) <= 80
    _, record = _job(quick, strength="guidance.strength=0")
    assert torch.equal(_images(quick, record, "vanilla"), _images(quick, record, "guided"))


def test_arms_share_their_seeds_and_the_control_differs_from_the_guided_arm(quick):
    _, record = _job(quick, guidance="guidance=random")
    seeds = {
        arm: [r["seed"] for r in BatchFolder.open(quick / record["stages"][f"generate/{arm}"]).records()]
        for arm in ("vanilla", "guided", "random")
    }
    assert seeds["vanilla"] == seeds["guided"] == seeds["random"]
    vanilla, guided, random = (_images(quick, record, arm) for arm in ("vanilla", "guided", "random"))
    assert not torch.equal(vanilla, guided) and not torch.equal(guided, random) and not torch.equal(vanilla, random)


OPTIONS = [
    f"{group}={path.stem}"
    for group in ("guidance", "schedule")
    for path in sorted((conf_folder() / group).glob("*.yaml"))
]


QUICK = {  # what edits otherwise than the rest, and what is there already
    "guidance=select_then_transport", "guidance=attribute_prompts", "schedule=snr", "guidance=none", "guidance=random",
    "guidance=transport", "schedule=default",
}  # fmt: skip


@pytest.mark.parametrize("option", [pytest.param(it, marks=[pytest.mark.slow] * (it not in QUICK)) for it in OPTIONS])
def test_every_guidance_and_schedule_runs_the_quickstart(quick, option):
    stages = "stages=[collect,discover,project,generate]"
    assert main([*SMALL, f"paths.root={quick}", option, stages]) == 0
    _, record = _job(quick, option, stages)
    arms = [name.removeprefix("generate/") for name in record["stages"] if name.startswith("generate/")]
    images = {arm: _images(quick, record, arm) for arm in arms}
    for arm in arms:
        changed = (images["vanilla"] != images[arm]).flatten(1).any(dim=1)
        assert changed.any() == (arm != "vanilla")
    if "guided" in arms:
        facts = json.loads((quick / record["stages"]["generate/guided"] / "generate.json").read_text())
        assert facts["skipped_edits"] == 0 and facts["dependence"] == "batch"


@pytest.mark.parametrize("method", [SelfDebiasGuidance, partial(TransportGuidance, slack=1.0)])
@pytest.mark.parametrize("call", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(5, marks=pytest.mark.slow)])
def test_contrast_and_the_conditional_branch_have_the_same_effect_at_the_same_strength(quick, method, call):
    """Edits on two branches count 2 w - 1 times, those on one w times: the guided prediction changes as much, within 10%."""
    semantics = SelfDebias.from_pretrained(_job(quick, guidance="guidance=random")[0]).semantics
    backbone = StableDiffusionBackbone("shipped:emoji", steps=6, guidance_scale=3.0)
    pipeline, predicted = backbone.load(), []
    pipeline.unet.register_forward_hook(lambda unet, args, output: predicted.append(_guided(output[0], 3.0)))
    window = GuidanceWindow(call / 6, (call + 0.9) / 6)

    def prediction(strength: float, branch: str) -> torch.Tensor:
        predicted.clear()
        guidance = method(strength, 0.3, branch=branch)
        with Attachment(pipeline, guidance, window, GuidanceState(semantics)):
            backbone.generate(pipeline, ["an emoji of a person"] * 6, image_seeds("test", 0, range(6)))
        return predicted[call]

    vanilla = prediction(0.0, "cond")
    effect = {branch: float((prediction(0.5, branch) - vanilla).norm()) for branch in ("cond", "contrast")}
    assert effect["cond"] > 0.001 * float(vanilla.norm())
    assert effect["contrast"] == pytest.approx(effect["cond"], rel=0.1)


def _guided(stacked: torch.Tensor, scale: float) -> torch.Tensor:
    uncond, cond = stacked.chunk(2)
    return uncond + scale * (cond - uncond)


def test_a_target_for_other_than_the_modes_that_were_found_is_one_line(quick, capsys):
    found = json.loads((_job(quick, guidance="guidance=random")[0] / "results.json").read_text())["modes"]["k"]
    shares = [1 / (found % 3 + 2)] * (found % 3 + 2)  # between 2 and 4, and not as many as there are
    assert len(shares) != found
    assert main([*SMALL, f"paths.root={quick}", f"guidance.target={shares}"]) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("selfdebias: ")]
    assert len(err) == 1 and f"`guidance.target` must be {found} shares, one for each mode that was found" in err[0]
