"""The pipelines with a transformer that arms are sampled with: Stable Diffusion 3, PixArt, Sana and Flux."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from selfdebias.backbones.denoisers import find_denoiser
from selfdebias.backbones.pretrained import PretrainedBackbone
from selfdebias.config.ranges import check_values
from selfdebias.config.rules import ConfigError

SET_HERE = (
    "prompt",
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "height",
    "width",
    "generator",
    "output_type",
    "return_dict",
    "num_images_per_prompt",
)
T5 = ("text_encoder_3", "tokenizer_3")  # of Stable Diffusion 3


class TransformerBackbone(PretrainedBackbone):
    """A text-to-image pipeline with a transformer, after one of whose blocks `h_t` stands.

    Args:
        pretrained, pipeline, steps: as in `PretrainedBackbone`.
        guidance_scale: classifier-free guidance scale, at least 1; 1 turns it off. That of Flux is an input of its transformer.
        negative_prompt: what the unconditional branch is asked for; None for nothing.
        height, width: of the images, in pixels; None takes the model's own.
        blocks: after which `h_t` stands, from 0, each with a projector and an edit of its own; None takes the middle joint one.
        t5: whether Stable Diffusion 3 loads its largest text encoder.
        call: further arguments of each pipeline call.
        common: further arguments of `PretrainedBackbone`.

    Raises:
        ValueError: if a value is out of range, or the pipeline's call has no such argument.
    """

    pipelines = ("StableDiffusion3Pipeline", "PixArtSigmaPipeline", "SanaPipeline", "FluxPipeline")
    denoiser = "transformer"

    def __init__(
        self, pretrained: str, steps: int, guidance_scale: float, pipeline: str = "StableDiffusion3Pipeline", *,
        negative_prompt: str | None = None, height: int | None = None, width: int | None = None,
        blocks: Sequence[int] | None = None, t5: bool = True, call: Mapping[str, Any] | None = None, **common: Any,
    ):  # fmt: skip
        super().__init__(pretrained, pipeline, steps, **common)
        check_values("model", {"guidance_scale": guidance_scale, "height": height, "width": width, "blocks": blocks})
        self.guidance_scale, self.negative_prompt, self.height, self.width = (
            guidance_scale,
            negative_prompt,
            height,
            width,
        )
        self.blocks, self.t5, self.call = blocks, t5, dict(call or {})
        self._check_call()
        if negative_prompt is not None and pipeline == "FluxPipeline":
            raise ValueError(
                f"`model.negative_prompt` must be null for {pipeline}, which has one branch, got {negative_prompt!r}."
            )

    def _check_call(self) -> None:
        import diffusers

        known = inspect.signature(getattr(diffusers, self.pipeline).__call__).parameters if self.call else {}
        for name in self.call:
            if name not in known or name in SET_HERE:
                raise ValueError(
                    f"`model.call` must hold arguments of {self.pipeline}'s call that no other option sets, got {name!r}."
                )

    @property
    def saved_as(self) -> tuple[str, ...]:  # type: ignore[override]
        """Classes of the same family: their parts are the same."""
        family = self.pipeline.removesuffix("Pipeline")
        return tuple(f"{family}{kind}Pipeline" for kind in ("", "Img2Img", "Inpaint"))

    @property
    def left_out(self) -> tuple[str, ...]:
        """See `PretrainedBackbone.left_out`."""
        return T5 if self.pipeline == "StableDiffusion3Pipeline" and not self.t5 else ()

    def prepared(self, pipeline: Any) -> Any:
        """See `PretrainedBackbone.prepared`.

        Raises:
            ConfigError: if the transformer lacks one of the blocks.
        """
        try:
            find_denoiser(pipeline).sites(self.blocks)
        except ValueError as error:
            raise ConfigError(str(error).replace("`blocks`", "`model.blocks`", 1)) from error
        return super().prepared(pipeline)

    def asked(self, prompts: Sequence[str]) -> dict[str, Any]:
        """See `PretrainedBackbone.asked`."""
        negative = None if self.negative_prompt is None else [self.negative_prompt] * len(prompts)
        given = {"negative_prompt": negative, "height": self.height, "width": self.width}
        own = {name: value for name, value in given.items() if value is not None}
        return {"prompt": list(prompts), "guidance_scale": self.guidance_scale, **own, **self.call}
