"""What guidance costs at the width of Stable Diffusion 1.5: the UNet as published, 860 M random weights, about 10 minutes on
2 cores and 8 GB. Random weights have no modes, so nothing is said of the effect."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from tqdm import tqdm

from experiments.pooled import write_study
from experiments.published import SD_UNET, VAE
from selfdebias.config.compose import load
from selfdebias.config.targets import make
from selfdebias.guidance import GuidanceState, Semantics
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.jobs.stages.sampling import CostMeter
from selfdebias.modes.bank import ModeBank
from selfdebias.modes.projection import SemanticProjector
from selfdebias.storage.images import generators, image_seeds

BATCHES = (1, 2)
ROUNDS = 3
BRANCHES = ("uncond", "cond")


def build_pipeline(device: str, dtype: torch.dtype) -> StableDiffusionPipeline:
    """Build the pipeline from the published configuration; prompts come as embeddings, so there is no text encoder."""
    torch.manual_seed(0)
    unet, vae = UNet2DConditionModel(**SD_UNET), AutoencoderKL(**VAE)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
    )
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=None, tokenizer=None, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device, dtype)


def build_semantics(shape: tuple[int, ...], dim: int = 512, n_modes: int = 2) -> Semantics:
    """Build a projector as `model=sd15` has it, and a bank, untrained."""
    torch.manual_seed(1)
    described = load(["model=sd15"])["projector"]
    grid = torch.linspace(1, 981, 8)
    projector = SemanticProjector(shape, dim, described["hidden"], BRANCHES, grid, reader=described["reader"])
    centroids = F.normalize(torch.randn(len(BRANCHES), len(grid), n_modes, dim), dim=-1)
    bank = ModeBank(BRANCHES, grid, centroids, torch.ones(n_modes), torch.full((n_modes,), 1 / n_modes))
    return Semantics(projector.eval().requires_grad_(False), bank)


@contextmanager
def timed_unet(unet: torch.nn.Module, seconds: list[float]) -> Iterator[None]:
    """Note how long each UNet call takes, hooks included."""
    start: list[float] = []
    before = unet.register_forward_pre_hook(lambda *_: start.append(_now()))
    after = unet.register_forward_hook(lambda *_: seconds.append(_now() - start.pop()))
    try:
        yield
    finally:
        before.remove()
        after.remove()


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(pipeline: StableDiffusionPipeline, batch: int, steps: int, rounds: int, output: str) -> dict[str, float]:
    """Sample with and without guidance, alternating; the first round warms up and is left out.

    Returns:
        Seconds of a UNet call and of the guidance call, the share of the latter, and the ratios of whole calls and of
        peak memory; medians over the rounds.
    """
    unet = pipeline.unet
    side = unet.config.sample_size // 2 ** (len(unet.config.block_out_channels) - 1)
    semantics = build_semantics((unet.config.block_out_channels[-1], side, side))
    guidance = make({"guidance": load([])["guidance"]}, "guidance")
    generator = torch.Generator().manual_seed(0)
    shape = 1, 77, unet.config.cross_attention_dim
    texts = [
        torch.randn(shape, generator=generator).expand(batch, -1, -1).to(unet.device, unet.dtype) for _ in BRANCHES
    ]
    found: dict[str, list[float]] = {"unet": [], "guidance": [], "time": [], "memory": []}

    def draw(seeds: list[int]) -> tuple[Tensor, float, float]:
        with CostMeter() as meter:
            images = pipeline(
                prompt_embeds=texts[1], negative_prompt_embeds=texts[0], num_inference_steps=steps, guidance_scale=7.5,
                generator=generators(seeds), output_type=output,
            ).images  # fmt: skip
        memory = meter.peak_process_mb if meter.peak_cuda_mb is None else torch.cuda.max_memory_allocated() / 2**20
        return images, meter.seconds, memory

    for i in tqdm(range(rounds + 1), desc=f"batch {batch}"):
        seeds, calls = image_seeds("full width", i, range(batch)), list[float]()
        _, vanilla, memory = draw(seeds)
        state = GuidanceState(semantics)
        with timed_unet(unet, calls), Attachment(pipeline, guidance, GuidanceWindow(0.0, 1.0), state):
            _, guided, guided_memory = draw(seeds)
        found["guidance"].append(state.seconds / len(calls))
        found["unet"].append(sum(calls) / len(calls) - found["guidance"][-1])
        found["time"].append(guided / vanilla)
        found["memory"].append(guided_memory / memory)
    medians = {name: statistics.median(values[1:]) for name, values in found.items()}
    weights = sum(p.numel() for p in semantics.projector.parameters())
    return {**medians, "share": medians["guidance"] / medians["unet"], "projector_weights": weights}


def main() -> None:
    """Measure on the GPU if there is one, else on the processor with two steps and without decoding."""
    on_gpu = torch.cuda.is_available()
    device, dtype, steps, output = ("cuda", torch.float16, 50, "np") if on_gpu else ("cpu", torch.float32, 2, "latent")
    pipeline = build_pipeline(device, dtype)
    every = {batch: measure(pipeline, batch, steps, ROUNDS, output) for batch in BATCHES}
    weights = sum(p.numel() for p in pipeline.unet.parameters())
    machine = torch.cuda.get_device_name() if on_gpu else f"the processor, {torch.get_num_threads()} threads"
    rows = [
        f"| {batch} | {it['unet']:.3f} | {1000 * it['guidance']:.1f} | {it['share']:.4f} | {it['time']:.3f} | {it['memory']:.3f} |"
        for batch, it in every.items()
    ]
    text = [
        "# Cost of guidance at the full width of Stable Diffusion 1.5, random weights", "",
        f"`python -m experiments.benchmarks.full_width_sd15` on {machine}, {str(dtype).removeprefix('torch.')}, {steps} steps, "
        f"guidance scale 7.5, {ROUNDS} pairs of vanilla and guided calls, alternating; medians. UNet: {weights / 1e6:.0f} M "
        f"weights; projector: {every[1]['projector_weights'] / 1e6:.2f} M.", "",
        "| images | UNet call, s | guidance call, ms | guidance to UNet | whole call, guided to vanilla | peak memory, guided to "
        "vanilla |", "|---|---|---|---|---|---|", *rows,
    ]  # fmt: skip
    name = "full_width_sd15_gpu" if on_gpu else "full_width_sd15"
    write_study(name, "\n".join(text), {str(batch): it for batch, it in every.items()} | {"machine": machine})


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("full_width_sd15 takes no arguments.")
    main()
