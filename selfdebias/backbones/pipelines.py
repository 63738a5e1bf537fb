"""The pipelines that arms are sampled with: Stable Diffusion, and models without prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from selfdebias.backbones.pretrained import PretrainedBackbone
from selfdebias.config.ranges import check_values
from selfdebias.storage.images import generators
from selfdebias.storage.model_files import SAFETY


class StableDiffusionBackbone(PretrainedBackbone):
    """A text-to-image pipeline with classifier-free guidance. The versions differ by configuration alone.

    Args:
        pretrained, pipeline, steps: as in `PretrainedBackbone`.
        guidance_scale: classifier-free guidance scale, at least 1; 1 turns it off.
        guidance_rescale: how far the guided prediction is rescaled to the conditional one's contrast, in [0, 1].
        negative_prompt: what the unconditional branch is asked for; None for nothing.
        height, width: of the images, in pixels; None takes the model's own.
        config: for a single-file checkpoint, the folder of a pipeline with the same configuration; None lets diffusers look
            for it on the hub.
        vae_tiling: decodes large images in tiles, with less memory and slightly other pixels.
        safety_checker: keeps the model's own, which blanks images; they are counted as ``blanked``.
        common: further arguments of `PretrainedBackbone`.

    Raises:
        ValueError: if a value is out of range.

    References:
        Rescaling: arXiv 2305.08891, section 3.4.
    """

    pipelines = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")

    def __init__(
        self, pretrained: str, steps: int, guidance_scale: float, pipeline: str = "StableDiffusionPipeline", *,
        guidance_rescale: float = 0.0, negative_prompt: str | None = None, height: int | None = None,
        width: int | None = None, config: str | None = None, vae_tiling: bool = False, safety_checker: bool = False,
        **common: Any,
    ):  # fmt: skip
        super().__init__(pretrained, pipeline, steps, **common)
        scale = {"guidance_scale": guidance_scale, "guidance_rescale": guidance_rescale}
        check_values("model", {**scale, "height": height, "width": width})
        self.guidance_scale, self.guidance_rescale = guidance_scale, guidance_rescale
        self.height, self.width, self.config, self.negative_prompt = height, width, config, negative_prompt
        self.vae_tiling, self.safety_checker = vae_tiling, safety_checker

    @property
    def saved_as(self) -> tuple[str, ...]:  # type: ignore[override]
        """Classes of the same family: their parts are the same."""
        family = self.pipeline.removesuffix("Pipeline")
        return tuple(f"{family}{kind}Pipeline" for kind in ("", "Img2Img", "Inpaint", "ControlNet"))

    @property
    def branches(self) -> tuple[str, ...]:
        """The stacking order of the UNet's batch."""
        return ("uncond", "cond") if self.guidance_scale > 1 else ("cond",)

    @property
    def left_out(self) -> tuple[str, ...]:
        """See `PretrainedBackbone.left_out`."""
        is_xl = self.pipeline == "StableDiffusionXLPipeline"
        return () if is_xl or self.safety_checker else SAFETY

    def single_file_options(self) -> dict[str, Any]:
        """See `PretrainedBackbone.single_file_options`."""
        return {"config": self.config} if self.config else {"local_files_only": False}

    def prepared(self, pipeline: Any) -> Any:
        """See `PretrainedBackbone.prepared`."""
        if self.vae_tiling:
            pipeline.vae.enable_tiling()
        return pipeline

    def asked(self, prompts: Sequence[str]) -> dict[str, Any]:
        """See `PretrainedBackbone.asked`."""
        negative = None if self.negative_prompt is None else [self.negative_prompt] * len(prompts)
        return {
            "prompt": list(prompts), "negative_prompt": negative, "guidance_scale": self.guidance_scale,
            "guidance_rescale": self.guidance_rescale, "height": self.height, "width": self.width,
        }  # fmt: skip


SCHEDULERS = {
    "DDIMPipeline": ("DDIMScheduler",),
    "DDPMPipeline": ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"),
}


class UnconditionalBackbone(PretrainedBackbone):
    """An unconditional pipeline. It has one branch, ``cond``, and prompts are no part of its images.

    Args:
        pretrained, steps: as in `PretrainedBackbone`.
        pipeline: ``DDIMPipeline`` or ``DDPMPipeline``; each loads what the other has saved.
        eta: of the DDIM sampler, in [0, 1]: 0 adds no noise while sampling, 1 as much as DDPM.
        common: further arguments of `PretrainedBackbone`.

    Raises:
        ValueError: if a value is out of range, or the pipeline cannot call the scheduler.

    References:
        Ho et al., arXiv 2006.11239; Song et al., arXiv 2010.02502.
    """

    pipelines = ("DDIMPipeline", "DDPMPipeline")
    saved_as = pipelines
    branches = ("cond",)
    takes_prompts = False

    def __init__(self, pretrained: str, steps: int, pipeline: str = "DDIMPipeline", *, eta: float = 0.0, **common: Any):
        super().__init__(pretrained, pipeline, steps, **common)
        check_values("model", {"eta": eta})
        if eta and pipeline != "DDIMPipeline":
            raise ValueError(f"`model.eta` must be 0 for {pipeline}, got {eta}: it belongs to DDIMPipeline.")
        if self.scheduler.name not in (None, *SCHEDULERS[pipeline]):
            raise ValueError(
                f"`model.scheduler.name` must be one of {', '.join(SCHEDULERS[pipeline])} for {pipeline}, got "
                f"{self.scheduler.name!r}; model.pipeline=DDPMPipeline calls {', '.join(SCHEDULERS['DDPMPipeline'])}."
            )
        self.eta = eta

    def asked(self, prompts: Sequence[str]) -> dict[str, Any]:
        """See `PretrainedBackbone.asked`; of the prompts only their number counts."""
        return {"batch_size": len(prompts), **({"eta": self.eta} if self.pipeline == "DDIMPipeline" else {})}

    def generate(self, pipeline: Any, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """See `PretrainedBackbone.generate`; these pipelines make no array of numbers in bfloat16."""
        asked = {**self.asked(prompts), "num_inference_steps": self.steps, "output_type": "pt"}
        images: Tensor = pipeline(**asked, generator=generators(seeds)).images
        return images.float().cpu()
