"""What guidance costs at the width of Stable Diffusion 3 medium: its transformer with random weights, which have no modes, so that
nothing is said of the effect. On a GPU all 24 layers, at 1024 px; on the processor 4 of them, at 512 px.

    python -m experiments.benchmarks.full_width_sd3

Times alternate in one process. Memory is that of a process for each arm, which sees no other.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from tqdm import tqdm

from experiments.benchmarks.full_width_sd15 import BRANCHES, timed_unet
from experiments.pooled import write_study
from experiments.published import SD3_TRANSFORMER
from selfdebias.config.compose import load
from selfdebias.config.targets import make
from selfdebias.guidance import GuidanceState, Semantics
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.jobs.stages.sampling import CostMeter
from selfdebias.modes.bank import ModeBank
from selfdebias.modes.projection import SemanticProjector
from selfdebias.storage.images import generators, image_seeds

ROUNDS, BATCHES = 3, (1, 2)
ARMS = ("vanilla", "guided")
TOKENS = 77 + 256  # of CLIP and of T5


@dataclass(frozen=True)
class Size:
    """What fits: layers of the transformer, pixels, steps, where and in which precision."""

    layers: int
    pixels: int
    steps: int
    device: str
    dtype: str


ON_GPU = Size(24, 1024, 28, "cuda", "float16")
ON_CPU = Size(4, 512, 2, "cpu", "float32")


def build_pipeline(size: Size, **narrower: Any) -> StableDiffusion3Pipeline:
    """Build the pipeline from the published configuration; prompts come as embeddings, and latents are not decoded."""
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(**{**SD3_TRANSFORMER, "num_layers": size.layers, **narrower}).eval()
    parts = ("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipeline = StableDiffusion3Pipeline(transformer=transformer, scheduler=scheduler, **dict.fromkeys(parts))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(size.device, getattr(torch, size.dtype))


def build_semantics(pipeline: StableDiffusion3Pipeline, size: Size, dim: int = 512, n_modes: int = 2) -> Semantics:
    """Build a projector as `model=sd3_medium` has it, on the middle block, and a bank, untrained."""
    torch.manual_seed(1)
    config, described = pipeline.transformer.config, load(["model=sd3_medium"])["projector"]
    places = [size.pixels // pipeline.vae_scale_factor // config.patch_size] * 2
    shape = (
        config.num_attention_heads * config.attention_head_dim,
        *(min(side, described["resolution"]) for side in places),
    )
    grid = torch.linspace(1, 981, 8)
    projector = SemanticProjector(
        shape, dim, described["hidden"], BRANCHES, grid, reader=described["reader"], relative_to=described["relative_to"],
        block=size.layers // 2, places=places,
    )  # fmt: skip
    centroids = F.normalize(torch.randn(len(BRANCHES), len(grid), n_modes, dim), dim=-1)
    bank = ModeBank(BRANCHES, grid, centroids, torch.ones(n_modes), torch.full((n_modes,), 1 / n_modes))
    return Semantics(projector.eval().requires_grad_(False), bank)


class Drawing:
    """Draws a batch with and without guidance.

    Args:
        pipeline: as `build_pipeline` makes it.
        size: what it was made with.
        batch: images.
    """

    def __init__(self, pipeline: StableDiffusion3Pipeline, size: Size, batch: int):
        self.pipeline, self.size, self.batch = pipeline, size, batch
        self.semantics = build_semantics(pipeline, size)
        self.guidance = make({"guidance": load(["guidance=transport"])["guidance"]}, "guidance")
        config, generator = pipeline.transformer.config, torch.Generator().manual_seed(0)
        shapes = {
            "prompt_embeds": (TOKENS, config.joint_attention_dim),
            "pooled_prompt_embeds": (config.pooled_projection_dim,),
        }
        self.texts = {
            f"{side}{name}": torch.randn(batch, *shape, generator=generator).to(pipeline.device, pipeline.dtype)
            for name, shape in shapes.items()
            for side in ("", "negative_")
        }

    def draw(self, arm: str, number: int) -> tuple[CostMeter, list[float], GuidanceState]:
        """Draw once; return the meter, the seconds of each transformer call, and the state that knows those of guidance."""
        calls, state = list[float](), GuidanceState(self.semantics)
        everywhere = GuidanceWindow(0.0, 1.0)
        guided = Attachment(self.pipeline, self.guidance, everywhere, state) if arm == "guided" else nullcontext()
        seeds = image_seeds("full width", number, range(self.batch))
        with CostMeter() as meter, timed_unet(self.pipeline.transformer, calls), guided:
            self.pipeline(
                **self.texts, num_inference_steps=self.size.steps, guidance_scale=7.0, height=self.size.pixels,
                width=self.size.pixels, generator=generators(seeds), output_type="latent",
            )  # fmt: skip
        return meter, calls, state


def measure(size: Size, batch: int, rounds: int = ROUNDS, **narrower: Any) -> dict[str, float]:
    """Sample with and without guidance, alternating; the first round warms up and is left out.

    Returns:
        Seconds of a transformer call and of the guidance call, the share of the latter, and the ratio of whole calls; medians.
    """
    drawing = Drawing(build_pipeline(size, **narrower), size, batch)
    found: dict[str, list[float]] = {"transformer": [], "guidance": [], "time": []}
    for number in tqdm(range(rounds + 1), desc=f"batch {batch}"):
        plain, _, _ = drawing.draw("vanilla", number)
        meter, calls, state = drawing.draw("guided", number)
        found["guidance"].append(state.seconds / len(calls))
        found["transformer"].append(sum(calls) / len(calls) - found["guidance"][-1])
        found["time"].append(meter.seconds / plain.seconds)
    medians = {name: statistics.median(values[1:]) for name, values in found.items()}
    return {**medians, "share": medians["guidance"] / medians["transformer"]}


def peak_memory(arm: str, size: Size, batch: int, narrower: dict[str, Any]) -> float:
    """Return the peak of a process, or of its GPU, that draws one arm twice, in MB; the first time warms up."""
    drawing = Drawing(build_pipeline(size, **narrower), size, batch)
    drawing.draw(arm, 0)
    meter, _, _ = drawing.draw(arm, 1)
    return meter.peak_process_mb if meter.peak_cuda_mb is None else torch.cuda.max_memory_allocated() / 2**20


def memory_of_each(size: Size, batch: int, **narrower: Any) -> dict[str, float]:
    """Return `peak_memory` of each arm, each in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return {arm: pool.apply(peak_memory, (arm, size, batch, narrower)) for arm in ARMS}


def main() -> None:
    """Measure on the GPU if there is one, else on the processor."""
    on_gpu = torch.cuda.is_available()
    size = ON_GPU if on_gpu else ON_CPU
    every: dict[str, dict[str, float]] = {}
    for batch in BATCHES:
        memory = memory_of_each(size, batch)
        every[str(batch)] = {**measure(size, batch), **{f"memory_{arm}_mb": mb for arm, mb in memory.items()}}
    machine = torch.cuda.get_device_name() if on_gpu else f"the processor, {torch.get_num_threads()} threads"
    rows = [
        f"| {batch} | {it['transformer']:.3f} | {1000 * it['guidance']:.1f} | {it['share']:.4f} | {it['time']:.3f} | "
        f"{it['memory_guided_mb'] / it['memory_vanilla_mb']:.3f} |"
        for batch, it in every.items()
    ]
    text = [
        "# Cost of guidance at the full width of Stable Diffusion 3 medium, random weights", "",
        f"`python -m experiments.benchmarks.full_width_sd3` on {machine}, {size.dtype}: {size.layers} of 24 layers, "
        f"{size.pixels} px, {size.steps} steps, guidance scale 7, {ROUNDS} pairs of vanilla and guided calls, alternating; "
        "medians. Memory: the peak of a process that draws one arm alone.", "",
        "| images | transformer call, s | guidance call, ms | guidance to transformer | whole call, guided to vanilla | "
        "peak memory, guided to vanilla |", "|---|---|---|---|---|---|", *rows,
    ]  # fmt: skip
    name = "full_width_sd3_gpu" if on_gpu else "full_width_sd3"
    write_study(name, "\n".join(text), {**every, "machine": machine, "size": asdict(size)})


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("full_width_sd3 takes no arguments.")
    main()
