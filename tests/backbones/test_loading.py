"""What a model entry can ask for: forms of weights, schedulers, precision, sampling options, safety checker."""

from __future__ import annotations

import json
from shutil import copytree

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor

from selfdebias.backbones import SchedulerChoice, StableDiffusionBackbone, UnconditionalBackbone
from selfdebias.backbones.hspace import BottleneckHook
from selfdebias.jobs.stages.sampling import Sampler
from selfdebias.storage.batches import BatchFolder
from tests.architectures import ddpm, single_file, stable_diffusion

STEPS = 3
PROMPTS, SEEDS = ["a person", "a cat"], [4, 5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sd15")
    stable_diffusion("sd15").save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    path = tmp_path_factory.mktemp("ddpm")
    ddpm().save_pretrained(path)
    return path


def draw(backbone, prompts=PROMPTS, seeds=SEEDS):
    return backbone.generate(backbone.load(), prompts, seeds)


def sd(folder, **options):
    return StableDiffusionBackbone(str(folder), **{"steps": STEPS, "guidance_scale": 5.0, **options})


def test_a_single_file_gives_the_images_of_its_folder(folder, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(single_file(StableDiffusionPipeline.from_pretrained(folder)), file)
    backbone = sd(file, config=str(folder))
    assert torch.allclose(draw(backbone), draw(sd(folder)), atol=1e-4)
    assert backbone.fingerprint() != sd(folder).fingerprint()


def test_the_configuration_of_a_single_file_is_hashed_and_names_no_code(folder, tmp_path):
    file, config = tmp_path / "model.safetensors", tmp_path / "config"
    save_file(single_file(StableDiffusionPipeline.from_pretrained(folder)), file)
    copytree(folder, config)
    backbone = sd(file, config=str(config))
    before = backbone.fingerprint()
    scheduler = config / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps({**json.loads(scheduler.read_text()), "prediction_type": "v_prediction"}))
    assert backbone.fingerprint() != before
    (config / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ValueError, match=r"`model.config` must be a folder without pickles, .* got vae/diff"):
        backbone.fingerprint()
    index = json.loads((config / "model_index.json").read_text())
    (config / "model_index.json").write_text(json.dumps({**index, "vae": ["hostile", "Thing"]}))
    with pytest.raises(ValueError, match=r"`model.config` must be a pipeline of parts of diffusers .* of 'hostile'"):
        backbone.load()
    with pytest.raises(
        ValueError, match="`model.config` must be the folder of a pipeline, with a model_index.json, got"
    ):
        sd(file, config="runwayml/stable-diffusion-v1-5").fingerprint()


def test_a_single_file_without_a_configuration_says_what_to_give(folder, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file(single_file(StableDiffusionPipeline.from_pretrained(folder)), file)
    with pytest.raises(
        ValueError, match="`model.config` must be the folder of a pipeline that is configured like model"
    ):
        sd(file).load()


@pytest.mark.parametrize(
    "options",
    [
        {"guidance_rescale": 0.7},
        {"negative_prompt": "blurry"},
        {"height": 96, "width": 64},
        {"scheduler": SchedulerChoice("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"})},
        {"scheduler": SchedulerChoice(options={"timestep_spacing": "trailing"})},
        {"guidance_scale": 1.0},
    ],
)
def test_each_option_reaches_the_images(folder, options):
    before, after = draw(sd(folder)), draw(sd(folder, **options))
    assert before.shape != after.shape or float((before - after).abs().max()) > 1e-4
    if "height" in options:
        assert after.shape == (2, 3, 96, 64)


def test_tiling_changes_no_more_than_the_decoder(folder):
    backbone = sd(folder, vae_tiling=True)
    assert backbone.load().vae.use_tiling
    assert draw(backbone).shape == (2, 3, 64, 64)


def test_a_scheduler_by_name_takes_the_old_ones_configuration(folder):
    pipeline = sd(folder, scheduler=SchedulerChoice("DPMSolverMultistepScheduler", {"use_karras_sigmas": True})).load()
    assert type(pipeline.scheduler) is DPMSolverMultistepScheduler
    assert pipeline.scheduler.config.beta_start == 0.00085 and pipeline.scheduler.config.use_karras_sigmas


def test_half_precision_reaches_the_bottleneck(folder):
    backbone, seen = sd(folder, dtype="bfloat16"), []
    pipeline = backbone.load()
    with BottleneckHook(pipeline, lambda h, step: seen.append(h.dtype)):
        images = backbone.generate(pipeline, PROMPTS, SEEDS)
    assert set(seen) == {torch.bfloat16} and images.dtype == torch.float32 and torch.isfinite(images).all()
    assert float((images - draw(sd(folder))).abs().mean()) < 0.05


class Drawn(Sampler):
    """Keeps what it draws."""

    def draw_batch(self, batch, ids):
        images = self.draw(self.batches[batch])
        self.folder.add(batch, self.batches[batch], images, {}, self.records(batch, self.batches[batch], images))


@pytest.mark.parametrize("kept", [True, False])
def test_a_safety_checker_that_is_kept_is_counted_and_one_that_is_not_is_not_loaded(folder, tmp_path, kept):
    torch.manual_seed(0)
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config={**small, "image_size": 32, "patch_size": 16}, text_config=small, projection_dim=8)
    )
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0)  # every cosine is above it: all images are blanked
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    parts = {
        name: part for name, part in pipeline.components.items() if name not in ("safety_checker", "feature_extractor")
    }
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    StableDiffusionPipeline(**parts, safety_checker=checker, feature_extractor=processor).save_pretrained(
        tmp_path / "model"
    )
    backbone = sd(tmp_path / "model", safety_checker=kept)
    pipeline = backbone.load()
    assert (pipeline.safety_checker is not None) == kept
    sampler = Drawn(BatchFolder(tmp_path / "images", "key"), backbone, PROMPTS, 2, "collect", 0)
    sampler.pipeline = pipeline
    sampler.predict_step(0, 0)
    assert [record["blanked"] for record in sampler.folder.records()] == [kept, kept]


@pytest.mark.parametrize("pipeline", ["DDIMPipeline", "DDPMPipeline"])
def test_ddpm_and_ddim_load_what_the_other_has_saved(pixels, pipeline):
    backbone = UnconditionalBackbone(str(pixels), STEPS, pipeline)
    images = draw(backbone, ["", ""])
    assert images.shape == (2, 3, 64, 64) and type(backbone.load()).__name__ == pipeline
    again = draw(backbone, [""], SEEDS[1:])
    assert torch.allclose(images[1:], again, atol=1e-5)


def test_noise_of_ddim_and_a_fast_solver_reach_the_images(pixels):
    plain = draw(UnconditionalBackbone(str(pixels), STEPS), ["", ""])
    noisy = draw(UnconditionalBackbone(str(pixels), STEPS, eta=1.0), ["", ""])
    solver = SchedulerChoice("DPMSolverMultistepScheduler")
    fast = draw(UnconditionalBackbone(str(pixels), STEPS, "DDPMPipeline", scheduler=solver), ["", ""])
    assert float((plain - noisy).abs().max()) > 1e-3 and float((plain - fast).abs().max()) > 1e-3
    half = draw(UnconditionalBackbone(str(pixels), STEPS, dtype="bfloat16"), ["", ""])
    assert half.dtype == torch.float32 and float((plain - half).abs().mean()) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"pipeline": "FluxPipeline"},
            "`model.pipeline` must be one of StableDiffusionPipeline, StableDiffusionXLPipeline",
        ),
        ({"dtype": "float8"}, "`model.dtype` must be one of float32, float16, bfloat16, got 'float8'"),
        ({"offload": "disk"}, "`model.offload` must be one of none, model, sequential"),
        ({"offload": "model"}, "`model.offload` must be none on the device cpu, got 'model'"),
        ({"device": "abacus"}, "`model.device` must be a torch device"),
        ({"guidance_rescale": 2}, r"`model.guidance_rescale` must be a number in \[0, 1\], got 2"),
        ({"height": 100}, "`model.height` must be null or a multiple of 8 pixels, at most 16384, got 100"),
        ({"width": 0}, "`model.width` must be null or a multiple of 8"),
    ],
)
def test_bad_values_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        sd("x", **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named_with_the_way_out():
    with pytest.raises(ValueError, match="got 'cuda', which is not there: take model.device=cpu"):
        sd("x", device="cuda")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": 2.0}, r"`model.eta` must be a number in \[0, 1\], got 2.0"),
        ({"eta": 0.5, "pipeline": "DDPMPipeline"}, "`model.eta` must be 0 for DDPMPipeline, got 0.5"),
        (
            {"scheduler": SchedulerChoice("DPMSolverMultistepScheduler")},
            "must be one of DDIMScheduler for DDIMPipeline",
        ),
        (
            {"scheduler": SchedulerChoice("EulerDiscreteScheduler"), "pipeline": "DDPMPipeline"},
            "must be one of DDPMSch",
        ),
    ],
)
def test_bad_values_of_an_unconditional_model_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        UnconditionalBackbone("x", STEPS, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("NoSuchScheduler",),
            "`model.scheduler.name` must be null or one of DDIMScheduler, .*, got 'NoSuch",
        ),
        (("DDIMPipeline",), "must be null or one of DDIMScheduler"),
        (
            ("DDIMScheduler", {"karras": True}),
            "`model.scheduler.options` must hold arguments of DDIMScheduler, got 'karras'",
        ),
    ],
)
def test_a_scheduler_that_does_not_exist_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SchedulerChoice(*arguments)


def test_a_folder_of_the_wrong_family_is_named(folder, pixels):
    for backbone in (
        sd(pixels),
        UnconditionalBackbone(str(folder), STEPS),
        sd(folder, pipeline="StableDiffusionXLPipeline"),
    ):
        with pytest.raises(ValueError, match="must be saved as one of"):
            backbone.load()
