"""An already loaded pipeline, called as it is."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from selfdebias.backbones.pretrained import to_tensor
from selfdebias.storage.seeds import generators


def takes_prompts(pipeline: Any) -> bool:
    """Whether a pipeline samples what it is asked for in words."""
    return "prompt" in inspect.signature(type(pipeline).__call__).parameters


@dataclass(frozen=True)
class HeldBackbone:
    """An already loaded pipeline, called with one seed for each image.

    Args:
        pipeline: the pipeline.
        call: further arguments of each call; a negative prompt that is one text holds for each image.
    """

    pipeline: Any
    call: dict[str, Any]

    def load(self) -> Any:
        """Return the pipeline as it is."""
        return self.pipeline

    def generate(self, pipeline: Any, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Return one image (3, H, W) float32 in [0, 1] for each prompt and seed, on the CPU."""
        asked = {"prompt": list(prompts)} if takes_prompts(pipeline) else {"batch_size": len(prompts)}
        shown = dict(getattr(pipeline, "_progress_bar_config", {}))
        pipeline.set_progress_bar_config(disable=True)  # Lightning's bar counts the batches
        try:
            images = pipeline(
                **asked, generator=generators(seeds), output_type="np", **self._call_of(len(prompts))
            ).images
        finally:
            pipeline.set_progress_bar_config(**shown)
        return to_tensor(images)

    def _call_of(self, images: int) -> dict[str, Any]:
        """Return the further arguments of a call of some images: diffusers takes no text beside a list of prompts."""
        names = ("negative_prompt", "negative_prompt_2")
        texts = {name: [self.call[name]] * images for name in names if isinstance(self.call.get(name), str)}
        return {**self.call, **texts}
