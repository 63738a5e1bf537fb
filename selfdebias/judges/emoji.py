"""Emoji World's own judge: a small convolutional net with one softmax head for each attribute."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from selfdebias.config.ranges import check_values
from selfdebias.judges import Confusion, Judge, emoji_classes, emoji_folder
from selfdebias.storage.model_files import hash_files

SIDE = 64  # px of the images that it was trained on


class JudgeNetwork(nn.Module):
    """A stack of strided convolutions with a linear head for each attribute.

    Args:
        classes: class names by attribute.
        widths: channels of the stages; each but the first halves the resolution.
    """

    def __init__(self, classes: Mapping[str, Sequence[str]], widths: Sequence[int] = (32, 64, 96, 128)):
        super().__init__()
        stages = [nn.Conv2d(3, widths[0], 3, padding=1), nn.GroupNorm(8, widths[0]), nn.SiLU()]
        for narrow, wide in pairwise(widths):
            stages += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GroupNorm(8, wide), nn.SiLU()]
            stages += [nn.Conv2d(wide, wide, 3, padding=1, groups=wide), nn.Conv2d(wide, wide, 1), nn.SiLU()]
        self.features = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.2))
        self.heads = nn.ModuleDict({name: nn.Linear(16 * widths[-1], len(names)) for name, names in classes.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits (B, C) of each attribute for images (B, 3, H, W) float32 in [0, 1]."""
        return self.read(self.features(images * 2 - 1))

    def read(self, features: Tensor) -> dict[str, Tensor]:
        """Return the logits (B, C) of each attribute from the features (B, d) under the heads."""
        return {name: head(features) for name, head in self.heads.items()}


class EmojiJudge(Judge):
    """Reads gender, tone, age, occupation, animal, creature and place off an image of Emoji World.

    Trained apart from the encoder, on the drawings alone (`experiments/emoji_world/train_judge.py`).

    Args:
        folder: a folder with ``config.json`` and ``model.safetensors``, and ``confusion.json`` where its error is known;
            None takes the shipped one.
        threshold: an image whose largest probability is below this, in [0, 1], is *unclassified*.

    Raises:
        ValueError: if `threshold` is outside [0, 1].
        FileNotFoundError: if the folder lacks a file.
    """

    encoder_id = None  # shares no encoder with any clustering

    def __init__(self, folder: str | None = None, threshold: float = 0.5):
        check_values("judge", {"threshold": threshold})
        self.folder = folder
        self.threshold = threshold
        self.classes = emoji_classes(folder)
        self._network: JudgeNetwork | None = None

    @property
    def _path(self) -> Path:
        return emoji_folder(self.folder)

    @property
    def confusion(self) -> dict[str, Confusion] | None:
        """Its error on fresh views of drawings, from ``confusion.json``; None without it, or at another threshold."""
        file = self._path / "confusion.json"
        stated = json.loads(file.read_text()) if file.exists() else {}
        if stated.get("threshold") != self.threshold:
            return None
        rows = stated["attributes"].items()
        return {name: Confusion(row["counts"], row["unclassified"], 0, stated["images"]) for name, row in rows}

    def fingerprint(self) -> str:
        """Return a hash of its files: weights, classes, and the error that it states."""
        return hash_files(self._path)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return the class probabilities of each attribute.

        Args:
            images: (B, 3, H, W) float32 in [0, 1]; other sizes than 64 x 64 are scaled to it, as it was trained.

        Returns:
            By attribute, (B, C) float32 that sum to one; the order is that of `classes`.
        """
        return self.from_features(self.features(images))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the features (B, 2048) float32 that all heads read, of images as `__call__` takes them."""
        network = self._loaded().to(images.device)
        if images.shape[-2:] != (SIDE, SIDE):
            images = F.interpolate(images, size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)
        return network.features(images * 2 - 1)

    @torch.no_grad()
    def from_features(self, features: Tensor) -> dict[str, Tensor]:
        """Return what `__call__` says of the images that have these features, (B, 2048)."""
        return {name: logits.softmax(dim=1) for name, logits in self._loaded().read(features).items()}

    def _loaded(self) -> JudgeNetwork:
        if self._network is None:
            self._network = JudgeNetwork(self.classes).eval()
            self._network.load_state_dict(load_file(self._path / "model.safetensors"))
        return self._network
