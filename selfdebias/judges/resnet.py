"""A ResNet-34 in plain torch, under the names that published weights have."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)  # channels of the four stages
BLOCKS = (3, 4, 6, 3)  # blocks of each


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
    """Images to logits.

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
