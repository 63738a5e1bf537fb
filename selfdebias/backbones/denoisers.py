"""The denoiser of a pipeline, UNet or transformer: where in it `h_t` stands, and how a call of it is read.

In a UNet `h_t` is what the ``mid_block`` returns. A transformer has no bottleneck: there it is the residual stream of the image
tokens after a block, seen as (rows, D, h, w) by the grid that the tokens lie on, row by row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from selfdebias.config.ranges import RANGES
from selfdebias.config.rules import refuse

TEXT = "encoder_hidden_states"  # the text embeddings, an argument of the denoiser
Arguments = Mapping[str, Any]


def plain(module: Any) -> Any:
    """Return the module that `torch.compile` wrapped; itself where it wrapped none."""
    return getattr(module, "_orig_mod", module)


@dataclass(frozen=True)
class Denoiser(ABC):
    """What is common to both families.

    Attributes:
        module: of diffusers; of a compiled one, the module that was compiled.
    """

    module: Any
    name: ClassVar[str]  # of the pipeline's attribute
    title: ClassVar[str]  # in messages
    positional: ClassVar[tuple[str, ...]]  # arguments that pipelines give by position, `x_t` first

    @property
    @abstractmethod
    def width(self) -> int:
        """Return the channels of `h_t`."""

    @property
    @abstractmethod
    def entry(self) -> nn.Module:
        """Return a part that sees each row once, as it is evaluated, whatever hooks the denoiser has."""

    @abstractmethod
    def sites(self, blocks: Sequence[int] | None) -> dict[int | None, nn.Module]:
        """Return the modules that return `h_t`, by block, in the order in which they run; of a UNet one, under None."""

    def refuse_cache(self) -> None:
        """Raise a ValueError where a cache of diffusers leaves blocks out, and with them what was edited there."""
        if getattr(self.module, "is_cache_enabled", False):
            raise ValueError(
                f"`pipeline.{self.name}` must have no cache while it is attached, got one, which leaves blocks out: "
                f"pipeline.{self.name}.disable_cache()."
            )

    @abstractmethod
    def site_name(self, block: int | None) -> str:
        """Return what a site is called in messages."""

    def timestep(self, arguments: Arguments) -> float:
        """Return the training timestep of a call, the same for all rows."""
        given = arguments["timestep"]
        return float(given.flatten()[0] if isinstance(given, Tensor) else given)

    def rows(self, arguments: Arguments) -> int:
        """Return the rows of a call's batch."""
        return len(arguments[self.positional[0]])

    def grid(self, arguments: Arguments) -> tuple[int, int] | None:
        """Return the places (h, w) that a call's tokens lie on; None where what a site returns lies on them already."""
        return None

    @abstractmethod
    def read(self, output: Any, grid: tuple[int, int] | None) -> Tensor:
        """Return `h_t` (rows, C, h, w) in what a site returned."""

    @abstractmethod
    def write(self, output: Any, h: Tensor) -> Any:
        """Return what a site is to return with another `h_t` in it."""


@dataclass(frozen=True)
class UNet(Denoiser):
    """A UNet with a ``mid_block``."""

    name, title = "unet", "UNet"
    positional = ("sample", "timestep", TEXT)

    @property
    def width(self) -> int:
        """See `Denoiser.width`."""
        return int(self.module.config.block_out_channels[-1])

    @property
    def entry(self) -> nn.Module:
        """See `Denoiser.entry`."""
        first: nn.Module = self.module.conv_in
        return first

    def sites(self, blocks: Sequence[int] | None) -> dict[int | None, nn.Module]:
        """See `Denoiser.sites`.

        Raises:
            ValueError: if blocks are asked for.
        """
        if blocks:
            raise ValueError(
                f"`blocks` must be left out for a UNet, got {blocks!r}: what was fitted on a transformer is for that transformer."
            )
        return {None: self.module.mid_block}

    def site_name(self, block: int | None) -> str:
        """See `Denoiser.site_name`."""
        return "mid_block"

    def read(self, output: Any, grid: tuple[int, int] | None) -> Tensor:
        """See `Denoiser.read`."""
        h: Tensor = output
        return h

    def write(self, output: Any, h: Tensor) -> Any:
        """See `Denoiser.write`."""
        return h


@dataclass(frozen=True)
class Blocks:
    """How a class of transformers is built.

    Attributes:
        lists: attributes that hold its blocks, in the order in which they run.
        entry: attribute of the part that makes tokens of `x_t`.
        tokens: place of the image tokens in the tuple that a block returns; None where it returns them alone.
        scale: what the class is given of a training timestep: ``timestep * scale``.
    """

    lists: tuple[str, ...]
    entry: str
    tokens: int | None
    scale: float = 1.0


TRANSFORMERS: Mapping[str, Blocks] = {
    "SD3Transformer2DModel": Blocks(("transformer_blocks",), "pos_embed", 1),
    "PixArtTransformer2DModel": Blocks(("transformer_blocks",), "pos_embed", None),
    "SanaTransformer2DModel": Blocks(("transformer_blocks",), "patch_embed", None),
    "FluxTransformer2DModel": Blocks(("transformer_blocks", "single_transformer_blocks"), "x_embedder", 1, 1e-3),
}


@dataclass(frozen=True)
class Transformer(Denoiser):
    """A transformer of one of the `TRANSFORMERS`.

    Attributes:
        kind: how its class is built.
    """

    kind: Blocks
    name = title = "transformer"
    positional = ("hidden_states", TEXT)

    @property
    def width(self) -> int:
        """See `Denoiser.width`."""
        config = self.module.config
        return int(config.num_attention_heads * config.attention_head_dim)

    @property
    def entry(self) -> nn.Module:
        """See `Denoiser.entry`."""
        first: nn.Module = getattr(self.module, self.kind.entry)
        return first

    def sites(self, blocks: Sequence[int] | None) -> dict[int | None, nn.Module]:
        """See `Denoiser.sites`; without `blocks`, the middle one of the first list, that of the joint blocks.

        Raises:
            ValueError: if there is no such block.
        """
        every = [block for name in self.kind.lists for block in getattr(self.module, name)]
        chosen = blocks or [len(getattr(self.module, self.kind.lists[0])) // 2]
        for block in chosen:
            if not 0 <= block < len(every):
                raise ValueError(f"`blocks` must be from 0 to {len(every) - 1} for this transformer, got {block}.")
        return {block: every[block] for block in sorted(chosen)}

    def site_name(self, block: int | None) -> str:
        """See `Denoiser.site_name`."""
        every = [f"{name}[{i}]" for name in self.kind.lists for i in range(len(getattr(self.module, name)))]
        return self.kind.lists[0] if block is None else every[block]

    def timestep(self, arguments: Arguments) -> float:
        """See `Denoiser.timestep`."""
        return super().timestep(arguments) / (self.kind.scale * float(self.module.config.get("timestep_scale", 1.0)))

    def grid(self, arguments: Arguments) -> tuple[int, int] | None:
        """See `Denoiser.grid`; of packed tokens, by the ids that tell their places."""
        if "img_ids" in arguments:
            height, width = (int(arguments["img_ids"][:, side].max()) + 1 for side in (1, 2))
            return height, width
        patch = int(self.module.config.patch_size)
        height, width = arguments[self.positional[0]].shape[-2:]
        return height // patch, width // patch

    def read(self, output: Any, grid: tuple[int, int] | None) -> Tensor:
        """See `Denoiser.read`."""
        tokens: Tensor = output if self.kind.tokens is None else output[self.kind.tokens]
        return tokens.transpose(1, 2).unflatten(2, grid)

    def write(self, output: Any, h: Tensor) -> Any:
        """See `Denoiser.write`."""
        tokens = h.flatten(2).transpose(1, 2)
        if self.kind.tokens is None:
            return tokens
        return tuple(tokens if place == self.kind.tokens else it for place, it in enumerate(output))


def find_denoiser(pipeline: Any) -> Denoiser:
    """Return the pipeline's UNet or transformer.

    Raises:
        ValueError: if it has neither, a UNet without a ``mid_block``, or a transformer of a class that is not known.
    """
    unet, transformer = plain(getattr(pipeline, "unet", None)), plain(getattr(pipeline, "transformer", None))
    if getattr(unet, "mid_block", None) is not None:
        return UNet(unet)
    kind = next((TRANSFORMERS[it.__name__] for it in type(transformer).__mro__ if it.__name__ in TRANSFORMERS), None)
    if kind:
        return Transformer(transformer, kind)
    got = type(pipeline).__name__ if transformer is None else f"a {type(transformer).__name__}"
    known = ", ".join(TRANSFORMERS)
    raise ValueError(
        f"`pipeline` must have a `unet` with a `mid_block`, or a `transformer` of {known}, got {got} without one."
    )


def check_blocks(denoiser: Denoiser, blocks: Sequence[int] | None) -> None:
    """Raise a ValueError for blocks that are no list of numbers, or that the denoiser does not have."""
    rule = RANGES["model"]["blocks"]
    if not rule.holds(blocks):
        raise refuse("blocks", rule.words, blocks)
    denoiser.sites(blocks)
