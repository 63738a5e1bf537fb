"""FairFace's judge of gender, race and age, with weights that the user fetches; its ResNet-34 in plain torch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfdebias.config.ranges import check_values
from selfdebias.judges import Judge
from selfdebias.storage.weight_files import fairface

SIDE = 224  # px of the images that it was trained on
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours

N_OUTPUTS = 18
RACES = ("white", "black", "latino_hispanic", "east asian", "southeast asian", "indian", "middle eastern")
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
HEADS = {"race7": slice(0, 7), "gender": slice(7, 9), "age9": slice(9, 18)}  # places among the 18 outputs
# By attribute: the head that it is read from, and by class which of the head's outputs are summed.
READINGS: Mapping[str, tuple[str, Mapping[str, tuple[int, ...]]]] = {
    "gender": ("gender", {"man": (0,), "woman": (1,)}),
    "age": ("age9", {"young": (0, 1, 2), "adult": (3, 4, 5, 6), "old": (7, 8)}),
    "race": ("race7", {"white": (0,), "black": (1,), "indian": (5,), "asian": (3, 4), "other": (2, 6)}),
    "race7": ("race7", {name: (place,) for place, name in enumerate(RACES)}),
}

WIDTHS = (64, 128, 256, 512)  # channels of the four stages of the net
BLOCKS = (3, 4, 6, 3)  # in each stage


class FairFaceJudge(Judge):
    """Reads gender, age and race off a picture of one face, with FairFace's ResNet-34.

    The net was trained on *aligned face crops*, and no face is looked for here: give it pictures that a face fills, or
    measure its error on labelled images of the same kind (`evaluate.labelled`).

    Classes: gender man, woman; age young (0 to 19 years), adult (20 to 59), old (60 and more); race7 the seven that it
    was trained on; race white, black, indian, asian (east and southeast), other (latino_hispanic and middle eastern).
    Each head's probabilities are its softmax, and those of a class are summed.

    Args:
        weights: the published file, *.pt, or the same tensors as *.safetensors; none is shipped.
        sha256: of the file; None does not compare.
        threshold: an image whose largest probability is below this, in [0, 1], is *unclassified*.
        square: whether the centre square of a longer picture is taken; otherwise it is squeezed.

    Raises:
        ValueError: if `threshold` is outside [0, 1], or `sha256` is no checksum.
        FileNotFoundError: if there are no weights.

    References:
        Karkkainen and Joo, arXiv 1908.04913.
    """

    encoder_id = None  # shares no encoder with any clustering
    confusion = None  # nothing is known of its error on generated images: see `evaluate.labelled`

    def __init__(
        self, weights: str | None = None, sha256: str | None = None, threshold: float = 0.5, square: bool = True
    ):
        check_values("judge", {"threshold": threshold})
        self.weights, self.sha256, self.threshold, self.square = weights, sha256, threshold, square
        self.classes = {name: tuple(reading) for name, (_, reading) in READINGS.items()}
        self._file = fairface(weights, sha256)
        self._file.check()
        self._network: ResNet34 | None = None

    def fingerprint(self) -> str:
        """Return the sha256 of the weight file, after looking into it: a job asks before it draws anything.

        Raises:
            FileNotFoundError, ValueError: if it is missing, or not what it should be.
        """
        with torch.device("meta"):
            network = ResNet34(N_OUTPUTS)
        self._file.read(network)
        return self._file.fingerprint()

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return the class probabilities of each attribute.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].

        Returns:
            By attribute, (B, C) float32 that sum to one; the order is that of `classes`.
        """
        return self.from_features(self.features(images))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the features (B, 512) float32 under the last layer, of images as `__call__` takes them."""
        return self._loaded().to(images.device).features(self.prepare(images))

    @torch.no_grad()
    def from_features(self, features: Tensor) -> dict[str, Tensor]:
        """Return what `__call__` says of the images that have these features, (B, 512)."""
        outputs = self._loaded().fc(features)
        heads = {name: outputs[:, places].softmax(dim=1) for name, places in HEADS.items()}
        return {
            name: torch.stack([heads[head][:, list(places)].sum(dim=1) for places in reading.values()], dim=1)
            for name, (head, reading) in READINGS.items()
        }

    def _loaded(self) -> ResNet34:
        if self._network is None:
            self._network = ResNet34(N_OUTPUTS).eval()
            self._network.load_state_dict(self._file.read(self._network), strict=False)
        return self._network

    def prepare(self, images: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [0, 1] as the net wants them: (B, 3, 224, 224), normalised."""
        if self.square:
            side = min(images.shape[-2:])
            top, left = (images.shape[-2] - side) // 2, (images.shape[-1] - side) // 2
            images = images[..., top : top + side, left : left + side]
        if images.shape[-2:] != (SIDE, SIDE):
            images = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        mean, std = (images.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        return (images - mean) / std


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes.

    Args:
        narrow: channels that come in.
        wide: channels that go out.
        stride: of the first convolution and the shortcut.
    """

    def __init__(self, narrow: int, wide: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or narrow != wide:
            shortcut = nn.Conv2d(narrow, wide, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(wide))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, wide, H / stride, W / stride) for (B, narrow, H, W)."""
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


class ResNet34(nn.Module):
    """Images to logits, under the names that published weights have.

    Args:
        n_outputs: width of the last layer, at least 1.

    References:
        He et al., arXiv 1512.03385.
    """

    def __init__(self, n_outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        narrow = WIDTHS[0]
        for stage, (wide, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True), start=1):
            first = BasicBlock(narrow, wide, stride=1 if stage == 1 else 2)
            setattr(
                self, f"layer{stage}", nn.Sequential(first, *(BasicBlock(wide, wide, 1) for _ in range(blocks - 1)))
            )
            narrow = wide
        self.fc = nn.Linear(narrow, n_outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, n_outputs) for normalised images (B, 3, H, W), as published 224 x 224."""
        return self.fc(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Return the features (B, 512) under the last layer, of images as `forward` takes them."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        for stage in range(1, len(WIDTHS) + 1):
            x = getattr(self, f"layer{stage}")(x)
        return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
