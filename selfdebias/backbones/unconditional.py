"""Pipelines without prompts: DDPM and DDIM in pixel space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from selfdebias.backbones.pretrained import PretrainedBackbone
from selfdebias.config.ranges import check_values
from selfdebias.storage.images import generators

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

    def generate(self, pipeline: Any, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """See `PretrainedBackbone.generate`; of the prompts only their number counts."""
        extra = {"eta": self.eta} if self.pipeline == "DDIMPipeline" else {}
        images = pipeline(
            batch_size=len(prompts),
            num_inference_steps=self.steps,
            generator=generators(seeds),
            output_type="pt",
            **extra,
        ).images
        return images.float().cpu()
