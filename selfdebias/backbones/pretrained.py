"""What all backbones share: where a pipeline comes from, how it is loaded, its scheduler, where it runs; or one already loaded."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from selfdebias.backbones.devices import check_device
from selfdebias.config.ranges import check_values
from selfdebias.config.rules import ConfigError
from selfdebias.storage.atomic import read_json
from selfdebias.storage.images import generators
from selfdebias.storage.weight_files import load_parts, one_line, refuse_empty
from selfdebias.storage.weight_sources import PipelineSource

OPTION = "model.pretrained"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class SchedulerChoice:
    """Replaces a pipeline's scheduler by another one of diffusers, made from the configuration of the old one.

    Args:
        name: a class of diffusers, one of `selfdebias.config.ranges.SCHEDULERS`; None keeps the pipeline's own.
        options: arguments of the class that differ from the old one's configuration.

    Raises:
        ValueError: if there is no such scheduler, or an option is not its own.
    """

    def __init__(self, name: str | None = None, options: Mapping[str, Any] | None = None):
        check_values("model", {"scheduler": {"name": name}})
        self.name, self.options = name, dict(options or {})
        if name is None:
            return
        known = inspect.signature(self._class().__init__).parameters
        for option in self.options:
            if option not in known:
                raise ValueError(
                    f"`model.scheduler.options` must hold arguments of {name}, got {option!r}: it has "
                    f"{', '.join(key for key in known if key != 'self')}."
                )

    def _class(self) -> Any:
        import diffusers

        return getattr(diffusers, str(self.name))

    def apply(self, pipeline: Any) -> None:
        """Put the scheduler in; without a name, options change the pipeline's own."""
        if self.name or self.options:
            scheduler = self._class() if self.name else type(pipeline.scheduler)
            pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **self.options)


class PretrainedBackbone(ABC):
    """A diffusers pipeline, unmodified, called with one seed for each image. Nothing is loaded before `load`.

    Args:
        pretrained: ``shipped:NAME``, a folder in diffusers format, a single-file checkpoint, or ``owner/name`` on the hub.
        pipeline: class of diffusers that it is loaded as, one of `pipelines`.
        steps: denoising steps, at least 1.
        scheduler: which scheduler to sample with; None keeps the pipeline's own.
        revision: branch, tag or commit on the hub; None for the main branch.
        variant: such as ``fp16``, where the model offers its weights in several forms.
        allow_pickle: whether weights that are pickled alone may be loaded.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        device: torch device that the pipeline runs on, such as ``cpu`` or ``cuda``.
        offload: ``none``; ``model`` or ``sequential`` keep on the GPU only the part, or the layer, that is at work.

    Raises:
        ValueError: if a value is out of range, or the device is not there.
    """

    pipelines: ClassVar[tuple[str, ...]]
    saved_as: ClassVar[tuple[str, ...]]  # classes whose folders can be loaded as one of `pipelines`
    denoiser: ClassVar[str] = "unet"  # the part that predicts

    def __init__(
        self, pretrained: str, pipeline: str, steps: int, *, scheduler: SchedulerChoice | None = None,
        revision: str | None = None, variant: str | None = None, allow_pickle: bool = False, dtype: str = "float32",
        device: str = "cpu", offload: str = "none",
    ):  # fmt: skip
        check_values("model", {"steps": steps, "dtype": dtype, "device": device, "offload": offload})
        if pipeline not in self.pipelines:
            raise ValueError(f"`model.pipeline` must be one of {', '.join(self.pipelines)}, got {pipeline!r}.")
        self.pretrained, self.pipeline, self.steps = pretrained, pipeline, steps
        self.scheduler = scheduler or SchedulerChoice()
        self.revision, self.variant, self.allow_pickle = revision, variant, allow_pickle
        self.dtype, self.device, self.offload = dtype, check_device(device), offload
        if offload != "none" and torch.device(device).type == "cpu":
            raise ValueError(
                f"`model.offload` must be none on the device cpu, got {offload!r}: it moves parts off a GPU."
            )

    @property
    def source(self) -> PipelineSource:
        """Where the pipeline comes from."""
        return PipelineSource(
            "model", self.pretrained, self.revision, self.allow_pickle, variant=self.variant,
            classes=self.saved_as, without=self.left_out, denoiser=self.denoiser,
            config=getattr(self, "config", None),
        )  # fmt: skip

    @property
    def left_out(self) -> tuple[str, ...]:
        """Parts of the pipeline that are not loaded."""
        return ()

    def fingerprint(self) -> str:
        """Return a hash of what is loaded: of the files, or the commit on the hub; raises as `Source.check` does."""
        return self.source.fingerprint()

    def load(self) -> Any:
        """Return the pipeline, on the device, without a progress bar of its own."""
        import diffusers

        folder = self.source.folder()
        pipeline_class = getattr(diffusers, self.pipeline)
        options = {"dtype": DTYPES[self.dtype], "local_files_only": True, **dict.fromkeys(self.left_out)}
        with one_line(OPTION, self.pretrained):
            if folder.is_file():
                pipeline = self._from_single_file(pipeline_class, folder, options)
            else:
                pipeline = self._from_folder(pipeline_class, folder, options)
        refuse_empty(pipeline, OPTION, self.pretrained)
        self.scheduler.apply(pipeline)
        pipeline = self.prepared(pipeline)
        if self.denoiser == "unet" and torch.device(self.device).type == "cpu":  # its convolutions are faster so
            pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.set_progress_bar_config(disable=True)
        if self.offload == "none":
            return pipeline.to(self.device)
        offload = {"model": "enable_model_cpu_offload", "sequential": "enable_sequential_cpu_offload"}[self.offload]
        getattr(pipeline, offload)(device=self.device)
        return pipeline

    def _from_folder(self, pipeline_class: Any, folder: Path, options: dict[str, Any]) -> Any:
        how: dict[str, Any] = {"use_safetensors": None if self.allow_pickle else True, "variant": self.variant}
        index, dtype = read_json(folder / "model_index.json"), options["dtype"]
        parts = load_parts(folder, index, self.left_out, OPTION, self.pretrained, dtype=dtype, **how)
        return pipeline_class.from_pretrained(folder, **how, **{**options, **parts})

    def _from_single_file(self, pipeline_class: Any, file: Path, options: dict[str, Any]) -> Any:
        own = self.single_file_options()
        try:
            return pipeline_class.from_single_file(str(file), **{**options, **own})
        except (OSError, ValueError) as error:
            if "config" in own:
                raise
            raise ConfigError(
                f"`model.config` must be the folder of a pipeline that is configured like {file.name}, got null, and diffusers "
                f"could not find one on the hub: {str(error).splitlines()[0]}"
            ) from error

    def single_file_options(self) -> dict[str, Any]:
        """Return arguments of ``from_single_file`` that differ from those of ``from_pretrained``."""
        return {}

    def prepared(self, pipeline: Any) -> Any:
        """Return a loaded pipeline as it is to be used, before it is moved to its device."""
        return pipeline

    @abstractmethod
    def asked(self, prompts: Sequence[str]) -> dict[str, Any]:
        """Return the arguments of a pipeline call that samples an image of each prompt, but for steps, generators and output."""

    def generate(self, pipeline: Any, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Sample one image for each prompt and seed.

        Args:
            pipeline: what `load` returned.
            prompts: B prompts.
            seeds: B seeds; image k depends on the prompt and seed k alone, not on the batch.

        Returns:
            (B, 3, H, W) float32 in [0, 1], on the CPU.
        """
        asked = {**self.asked(prompts), "num_inference_steps": self.steps, "output_type": "np"}
        return to_tensor(pipeline(**asked, generator=generators(seeds)).images)


def takes_prompts(pipeline: Any) -> bool:
    """Whether a pipeline samples what it is asked for in words."""
    return "prompt" in inspect.signature(type(pipeline).__call__).parameters


@dataclass(frozen=True)
class HeldBackbone:
    """An already loaded pipeline, called with one seed for each image.

    Args:
        pipeline: the pipeline.
        call: further arguments of each call; a negative prompt that is one text holds for each image.
        blocks: of a transformer, after which `h_t` stands; None takes the middle one of the joint blocks.
    """

    pipeline: Any
    call: dict[str, Any]
    blocks: Sequence[int] | None = None

    def load(self) -> Any:
        """Return the pipeline as it is."""
        return self.pipeline

    def generate(self, pipeline: Any, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Return one image (3, H, W) float32 in [0, 1] for each prompt and seed, on the CPU."""
        asked = {"prompt": list(prompts)} if takes_prompts(pipeline) else {"batch_size": len(prompts)}
        # diffusers takes no text beside a list of prompts
        names = ("prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3")
        texts = {name: [self.call[name]] * len(prompts) for name in names if isinstance(self.call.get(name), str)}
        call = {**self.call, **texts}
        shown = dict(getattr(pipeline, "_progress_bar_config", {}))
        pipeline.set_progress_bar_config(disable=True)  # Lightning's bar counts the batches
        try:
            images = pipeline(**asked, generator=generators(seeds), output_type="np", **call).images
        finally:
            pipeline.set_progress_bar_config(**shown)
        return to_tensor(images)


def to_tensor(images: np.ndarray) -> Tensor:
    """Return a pipeline's images (B, H, W, 3) in [0, 1] as (B, 3, H, W) float32."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
