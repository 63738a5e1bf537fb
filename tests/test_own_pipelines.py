"""`SelfDebias` on the pipelines that people have: real classes, saved and loaded back, with narrowed architectures.

Random weights have no modes: this proves the plumbing alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMPipeline,
    DDPMPipeline,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    FluxImg2ImgPipeline,
    LCMScheduler,
    PixArtAlphaPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)  # fmt: skip
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

from selfdebias import SelfDebias
from selfdebias.backbones.hspace import BottleneckHook
from selfdebias.guidance import SelfDebiasGuidance
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.modes import SpectralModes
from tests.architectures import ddpm, stable_diffusion, stable_diffusion_xl
from tests.jobs.stages.world import PixelEncoder
from tests.transformers import CALLS, MAKERS, sd3

PICTURE = Image.fromarray((np.random.default_rng(0).random((64, 64, 3)) * 255).astype("uint8"))
STEPS = {"num_inference_steps": 4}


def plain(folder):
    stable_diffusion("sd15").save_pretrained(folder)
    return StableDiffusionPipeline.from_pretrained(folder), {**STEPS, "guidance_scale": 7.5}


def lora(folder):
    """LoRA layers loaded from a file, with weights that change the images."""
    pipeline = stable_diffusion("sd15")
    pipeline.save_pretrained(folder)
    pipeline.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    StableDiffusionPipeline.save_lora_weights(folder / "lora", get_peft_model_state_dict(pipeline.unet))
    loaded = StableDiffusionPipeline.from_pretrained(folder)
    loaded.load_lora_weights(folder / "lora")
    assert loaded.get_active_adapters() == ["default_0"]
    return loaded, {**STEPS, "guidance_scale": 7.5}


def img2img(folder):
    stable_diffusion("sd15").save_pretrained(folder)
    return StableDiffusionImg2ImgPipeline.from_pretrained(folder), {
        "num_inference_steps": 6, "image": PICTURE, "strength": 0.7, "guidance_scale": 5.0,
    }  # fmt: skip


def controlnet(folder):
    base = stable_diffusion("sd15")
    base.save_pretrained(folder)
    torch.manual_seed(1)
    net = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(8, 8, 8, 8))
    for convolution in [*net.controlnet_down_blocks, net.controlnet_mid_block]:
        torch.nn.init.normal_(convolution.weight, std=0.1)  # a new one is zero, and would do nothing
    net.save_pretrained(folder / "net")
    loaded = StableDiffusionControlNetPipeline.from_pretrained(
        folder, controlnet=ControlNetModel.from_pretrained(folder / "net")
    )
    return loaded, {**STEPS, "image": PICTURE, "guidance_scale": 5.0}


def sdxl(folder):
    stable_diffusion_xl().save_pretrained(folder)
    return StableDiffusionXLPipeline.from_pretrained(folder), {**STEPS, "guidance_scale": 5.0}


def ddim(folder):
    ddpm().save_pretrained(folder)
    return DDIMPipeline.from_pretrained(folder), {**STEPS, "eta": 0.5}


def half_precision(folder):
    """On a GPU this is float16; the processor computes in bfloat16."""
    stable_diffusion("sd15").save_pretrained(folder)
    return StableDiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16), {**STEPS, "guidance_scale": 7.5}


def other_scheduler(folder):
    pipeline, call = plain(folder)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, use_karras_sigmas=True)
    return pipeline, call


def no_guidance_scale(folder):
    """As the few-step models are called: one branch."""
    pipeline, _ = plain(folder)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    return pipeline, {**STEPS, "guidance_scale": 1.0}


def sdxl_one_branch(folder):
    pipeline, call = sdxl(folder)
    return pipeline, {**call, "guidance_scale": 1.0}


def controlnet_one_branch(folder):
    pipeline, call = controlnet(folder)
    return pipeline, {**call, "guidance_scale": 1.0}


def transformer(kind: str, pipeline_class: Any = DiffusionPipeline, **call: Any) -> Any:
    """What builds a pipeline with a transformer, and is called as in `tests.transformers`, but for `call`."""

    def build(folder: Path) -> tuple[Any, dict[str, Any]]:
        MAKERS[kind]().save_pretrained(folder)
        return pipeline_class.from_pretrained(folder), {**STEPS, **CALLS[kind], **call}

    build.__name__ = f"{kind}_{pipeline_class.__name__}"
    return build


FROM_IMAGE = {"image": PICTURE.resize((32, 32)), "strength": 0.7, "num_inference_steps": 6}


def sd3_inpaint(folder):
    sd3(channels=16).save_pretrained(folder)  # the class takes no fewer
    mask = Image.new("L", (32, 32), 255)
    return StableDiffusion3InpaintPipeline.from_pretrained(folder), {**CALLS["sd3"], **FROM_IMAGE, "mask_image": mask}


HELD = [
    transformer("sd3"),
    transformer("sd3", StableDiffusion3Img2ImgPipeline, **FROM_IMAGE),
    sd3_inpaint,
    transformer("flux", FluxImg2ImgPipeline, **FROM_IMAGE),
    transformer("pixart"),
    transformer("pixart", PixArtAlphaPipeline),
    transformer("sana"),
    transformer("flux"),
    sdxl_one_branch,
    controlnet_one_branch,
    plain,
    lora,
    img2img,
    controlnet,
    sdxl,
    ddim,
    half_precision,
    other_scheduler,
    no_guidance_scale,
]
ALL = GuidanceWindow(0.0, 1.0)


@pytest.mark.parametrize(
    "build",
    [pytest.param(it, marks=[pytest.mark.slow] * (it not in (controlnet, ddim))) for it in HELD],
    ids=lambda build: build.__name__,
)
def test_fit_attach_and_the_way_back(build, tmp_path):
    pipeline, call = build(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    guidance = SelfDebiasGuidance(
        strength=2.0, temperature=0.05, branch="contrast", kappa=1e-6, extrapolation_scale=2.0
    )
    debiaser = SelfDebias.fit(
        pipeline, "a person", encoder=PixelEncoder(), n_images=8, batch_size=4, timesteps=2, call=call,
        clustering=SpectralModes(k_min=2, k_max=3, n_neighbors=(3,)), guidance=guidance, schedule=ALL,
        projector={"steps": 40, "hidden": 32, "batch_size": 16},
    )  # fmt: skip

    def draw():
        asked = {"batch_size": 3} if isinstance(pipeline, DDIMPipeline) else {"prompt": ["a person"] * 3}
        return pipeline(**asked, generator=debiaser.generators(range(3)), output_type="np", **call).images

    before = draw()
    with debiaser.attach(pipeline) as attached:
        inside = draw()
        trace = attached.state.trace
    assert trace.skipped == 0 and len(trace.index) == pipeline_steps(pipeline) and np.isfinite(inside).all()
    assert float(torch.stack(trace.edit_norm).max()) > 0.01 and np.abs(before - inside).max() > 1e-4
    assert np.array_equal(before, draw())
    with debiaser.attach(pipeline, strength=0.0):
        assert np.array_equal(before, draw())


def pipeline_steps(pipeline) -> int:
    return getattr(pipeline, "num_timesteps", None) or len(pipeline.scheduler.timesteps)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("family", ["latent", "pixels"])
def test_what_the_model_predicts_is_nothing_that_guidance_sees(family, prediction):
    """The same weights, read in three ways: the hook sees the same steps, and an edit of its `h_t` reaches the images."""
    if family == "latent":
        pipeline: StableDiffusionPipeline | DDPMPipeline = stable_diffusion("sd2_v")
        asked: dict = {"prompt": ["a person"] * 2, "guidance_scale": 3.0}
    else:
        pipeline, asked = ddpm(), {"batch_size": 2}
    pipeline.scheduler.register_to_config(prediction_type=prediction)
    pipeline.set_progress_bar_config(disable=True)

    def draw(scale=0.0):
        steps = []
        with BottleneckHook(pipeline, lambda h, step: steps.append(step) or h * (1 + scale)):
            seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
            images = pipeline(**asked, generator=seeds, num_inference_steps=4, output_type="np").images
        return images, [step.timestep for step in steps]

    (before, seen), (after, seen_too) = draw(), draw(scale=1.0)
    assert seen == seen_too == sorted(seen, reverse=True) and len(seen) == 4
    assert np.isfinite(after).all() and np.abs(before - after).max() > 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("offload", ["none", "model", "sequential"])
def test_float16_and_offload_on_a_gpu(offload, tmp_path):
    from selfdebias.backbones import StableDiffusionBackbone

    stable_diffusion("sd15").save_pretrained(tmp_path)
    backbone = StableDiffusionBackbone(str(tmp_path), 4, 7.5, dtype="float16", device="cuda", offload=offload)
    pipeline, seen = backbone.load(), []
    with BottleneckHook(pipeline, lambda h, step: seen.append((h.dtype, h.device.type)) or h * 1.1):
        images = backbone.generate(pipeline, ["a person"] * 2, [1, 2])
    assert set(seen) == {(torch.float16, "cuda")} and torch.isfinite(images).all()
