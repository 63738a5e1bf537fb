"""The contract of image encoders with what each was told in its training, the control that was told nothing, and what all
pretrained ones share."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.config.rules import refuse, whole_in
from selfdebias.storage.weight_files import load_whole
from selfdebias.storage.weight_sources import ModelSource

SHIPPED = {  # what the shipped encoders were told: that is not found without labels
    "shipped:emoji_clip": "captions of the drawings, and nothing else",
    "shipped:emoji_clip_informed": "the attributes of each drawing, gender twice: that modes are these attributes is no evidence "
    "that they are found without labels",
    "shipped:emoji_simclr": "the drawings alone, without any text",
}
PROCESSING = "preprocessor_config.json"
LARGEST_SIDE = 4096  # px, of what an encoder looks at: an image of a million px a side would take the whole memory
RESAMPLING = {2: "bilinear", 3: "bicubic"}  # by the numbers of Pillow, which preprocessing files use


class Encoder(Protocol):
    """Maps images to unit vectors: frozen, in evaluation mode, differentiable in the images, with its preprocessing inside.

    A configuration can name subclasses alone; `SelfDebias.fit` takes any callable of this form.

    Attributes:
        dim: int, width of the embeddings.
        encoder_id: str, the name by which a judge tells whether it shares this encoder.
        told: str, what it was told in its training, as the end of "which was told ..."; "" where that is not known.
    """

    told: str = ""

    def __call__(self, images: Tensor) -> Tensor:
        """Return unit vectors (B, dim) float32 for images (B, 3, H, W) float32 in [0, 1]."""
        ...


def told_of(encoder: Any) -> str:
    """Return what an encoder was told, as the end of a sentence: of a shipped one its own, else its class's `told`; "" without.

    Example:
        >>> from selfdebias.encoders import ClipEncoder
        >>> told_of(ClipEncoder("shipped:emoji_clip")), told_of(ClipEncoder("openai/clip-vit-base-patch32")), told_of(len)
        ('captions of the drawings, and nothing else', 'captions of images', '')
    """
    return SHIPPED.get(getattr(encoder, "encoder_id", ""), getattr(encoder, "told", ""))


class PixelEncoder(Encoder):
    """A fixed random projection of downsampled pixels: what is left of an effect when the encoder has learned nothing.

    Args:
        dim: width of the embeddings, at least 2.
        size: side that images are scaled to, in pixels, at least 1.
        seed: of the projection.

    Raises:
        ValueError: if a value is out of range.

    Example:
        >>> PixelEncoder(dim=8, size=4, seed=0)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8])
    """

    told = "nothing: it is not trained"

    def __init__(self, dim: int, size: int, seed: int):
        for name, value, least in (("dim", dim, 2), ("size", size, 1), ("seed", seed, 0)):
            if value < least:
                raise ValueError(f"`encoder.{name}` must be at least {least}, got {value}.")
        self.dim, self.size, self.seed = dim, size, seed
        generator = torch.Generator().manual_seed(seed)
        self._projection = torch.randn(3 * size * size, dim, generator=generator) / (3 * size * size) ** 0.5

    @property
    def encoder_id(self) -> str:
        """The name by which a judge knows whether it shares this encoder."""
        return f"pixels-{self.size}-{self.dim}-{self.seed}"

    def fingerprint(self) -> str:
        """Return a hash of the projection."""
        return hashlib.sha256(self._projection.numpy().tobytes()).hexdigest()

    def __call__(self, images: Tensor) -> Tensor:
        """Return unit embeddings (B, dim) float32 of images (B, 3, H, W) float32 in [0, 1]; grey of 0.5 is the origin."""
        small = F.interpolate(images - 0.5, size=(self.size, self.size), mode="bilinear", antialias=True)
        return F.normalize(small.flatten(1) @ self._projection.to(images), dim=-1)


class PretrainedEncoder(Encoder, ABC):
    """Embeds images with a frozen `transformers` model. Nothing is loaded before the first call.

    Args:
        pretrained: ``shipped:NAME``, a folder in transformers format, or ``owner/name`` on the hub.
        revision: branch, tag or commit on the hub; None for the main branch.
        allow_pickle: whether weights that are pickled alone may be loaded.
        group: the option that describes the encoder, for messages.
    """

    types: ClassVar[tuple[str, ...]]  # values of `model_type` that the class can load

    def __init__(
        self, pretrained: str, revision: str | None = None, allow_pickle: bool = False, group: str = "encoder"
    ):
        self.pretrained, self.revision, self.allow_pickle = pretrained, revision, allow_pickle
        self.source = ModelSource(group, pretrained, revision, allow_pickle, types=self.types)
        self._model: Any = None

    @property
    def encoder_id(self) -> str:
        """The name by which a judge knows whether it shares this encoder."""
        return self.pretrained

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self.width_in(self.source.read("config.json"))

    @staticmethod
    @abstractmethod
    def width_in(config: Mapping[str, Any]) -> int:
        """Return the width of the embeddings from the content of ``config.json``."""

    @abstractmethod
    def features(self, model: Any, pixels: Tensor) -> Tensor:
        """Return features (B, dim) of preprocessed pixels (B, 3, H, W)."""

    def fingerprint(self) -> str:
        """Return a hash of what is loaded; raises as `Source.check` does."""
        return self.source.fingerprint()

    def load(self) -> Any:
        """Load the frozen model once, in float32; returns it."""
        if self._model is None:
            from transformers import AutoModel

            folder = self.source.folder()
            use_safetensors = None if self.allow_pickle else True
            option = f"{self.source.group}.pretrained"
            self._processing = self.source.read(PROCESSING)
            if not _can_process(self._processing):
                words = (
                    f"a model whose {PROCESSING} has image_mean, image_std, bilinear or bicubic resampling, and a size (height and "
                    f"width, or shortest_edge) of at most {LARGEST_SIDE} px"
                )
                raise refuse(option, words, self.pretrained)
            model = load_whole(
                AutoModel, folder, option, self.pretrained, dtype=torch.float32, use_safetensors=use_safetensors
            )
            self._model = model.eval().requires_grad_(False)
        return self._model

    def preprocess(self, images: Tensor) -> Tensor:
        """Resize, crop and normalise images (B, 3, H, W) in [0, 1] as the model's own image processor does."""
        self.load()
        said = self._processing
        if said.get("do_resize", True):
            images = _resize(images, said["size"], RESAMPLING[said.get("resample", 3)])
        if said.get("do_center_crop"):
            images = _center_crop(images, said["crop_size"])
        mean, std = (images.new_tensor(said[key])[:, None, None] for key in ("image_mean", "image_std"))
        return (images - mean) / std

    def __call__(self, images: Tensor) -> Tensor:
        """Return the unit embeddings, differentiable in the images.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].

        Returns:
            (B, dim) float32, each of norm 1.
        """
        model = self.load().to(images.device)
        return F.normalize(self.features(model, self.preprocess(images)), dim=-1)


class TextTower:
    """Embeds texts in the space of the images, for encoders that were trained on both."""

    padding: ClassVar[str | bool] = True
    source: ModelSource

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings (V, dim) float32 of texts, on the CPU."""
        from transformers import AutoTokenizer

        model = self.load()  # type: ignore[attr-defined]
        tokenizer = AutoTokenizer.from_pretrained(self.source.folder(), local_files_only=True)
        longest = model.config.text_config.max_position_embeddings
        tokens = tokenizer(
            list(texts), padding=self.padding, truncation=True, max_length=longest, return_tensors="pt"
        ).to(model.device)
        return F.normalize(model.get_text_features(**tokens).pooler_output, dim=-1).cpu()


def _can_process(said: Mapping[str, Any]) -> bool:
    """Whether a model's image processor says what `PretrainedEncoder.preprocess` needs, and no size beyond reason."""
    names = [
        name
        for name, flag in (("size", "do_resize"), ("crop_size", "do_center_crop"))
        if said.get(flag, name == "size")
    ]
    sizes = [said.get(name) for name in names]
    sides = [side for it in sizes for side in (it.values() or [None] if isinstance(it, Mapping) else [it])]
    forms = {"size": ({"height", "width"}, {"shortest_edge"}), "crop_size": ({"height", "width"},)}
    known = all(not isinstance(it, Mapping) or it.keys() in forms[name] for name, it in zip(names, sizes, strict=True))
    fits = known and all(whole_in(1, LARGEST_SIDE).holds(side) for side in sides)
    filters = said.get("resample", 3) in RESAMPLING and said.get("do_normalize", True)
    return bool(fits and filters and {"image_mean", "image_std"} <= said.keys())


def _resize(images: Tensor, size: Mapping[str, int] | int, mode: str) -> Tensor:
    """Resize to a height and width, or so that the shortest edge has a length; values stay in [0, 1]."""
    height, width = images.shape[-2:]
    if isinstance(size, Mapping) and "height" in size:
        wanted = [size["height"], size["width"]]
    else:
        edge = size["shortest_edge"] if isinstance(size, Mapping) else size
        short = min(height, width)
        wanted = [edge if side == short else int(side * edge / short) for side in (height, width)]
    if wanted == [height, width]:
        return images
    return F.interpolate(images, size=wanted, mode=mode, antialias=True).clamp(0, 1)


def _center_crop(images: Tensor, size: Mapping[str, int] | int) -> Tensor:
    height, width = (size["height"], size["width"]) if isinstance(size, Mapping) else (size, size)
    top, left = ((side - wanted) // 2 for side, wanted in zip(images.shape[-2:], (height, width), strict=True))
    return images[..., top : top + height, left : left + width]
