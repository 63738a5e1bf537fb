"""The Inception-v3 that published FID figures are measured with: 2048 features per image, from the user's own weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfdebias.storage.weight_files import inception

SIDE = 299  # px
CLASSES = 1008  # of the classifier that comes with the file
Size = int | tuple[int, int]  # of a side, or height and width


class InceptionFeatures:
    """Turns images into the 2048 pool features that FID compares; they are no unit vectors, so this is no encoder.

    The weights are those of the TensorFlow network of 2015, ported to PyTorch; others (ImageNet weights of torchvision,
    say) give another FID. Nothing is downloaded, and nothing is loaded before the first call. Images are resized to
    299 x 299 px, bilinear, `align_corners=False`, without antialiasing, and scaled to [-1, 1].

    Args:
        weights: path of the file `pt_inception-2015-12-05-6726825d.pth`; None is refused when it is needed.
        sha256: what its bytes must hash to; None compares nothing.
        group: the option that describes it, for messages.

    References:
        Heusel et al., arXiv 1706.08500; Szegedy et al., arXiv 1512.00567.
    """

    dim = 2048
    encoder_id = "inception-v3-2015-12-05"
    resize_rule = f"bilinear to {SIDE} x {SIDE} px, align_corners=False, no antialias"

    def __init__(self, weights: str | None, sha256: str | None = None, group: str = "metrics.features") -> None:
        self.weights, self.sha256, self.group = weights, sha256, group
        self._file = inception(weights, sha256, group)
        self._file.check_options()
        self._network: InceptionV3 | None = None

    def fingerprint(self) -> str:
        """Return the sha256 of the weight file, after looking into it: a job asks before it draws anything.

        Raises:
            FileNotFoundError, ValueError: if it is missing, or not what it should be.
        """
        with torch.device("meta"):
            network = InceptionV3()
        self._file.read(network)
        return self._file.fingerprint()

    def load(self) -> InceptionV3:
        """Load the frozen network once, by the names of its tensors; raises as `fingerprint` does."""
        if self._network is None:
            network = InceptionV3()
            network.load_state_dict(self._file.read(network), strict=False)
            self._network = network.eval().requires_grad_(False)
        return self._network

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the features after the last average pool.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].

        Returns:
            (B, 2048) float32, at least 0.
        """
        network = self.load().to(images.device)
        resized = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return network(2 * resized - 1)


class Unit(nn.Module):
    """Convolution without bias, batch norm, ReLU.

    Args:
        inputs, outputs: channels.
        kernel, stride, padding: as in `nn.Conv2d`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Size = 1, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H', W') of (B, inputs, H, W)."""
        return F.relu(self.bn(self.conv(x)))


def _row(inputs: int, outputs: int, width: int) -> Unit:
    return Unit(inputs, outputs, (1, width), padding=(0, width // 2))


def _column(inputs: int, outputs: int, height: int) -> Unit:
    return Unit(inputs, outputs, (height, 1), padding=(height // 2, 0))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """35 x 35: 1 x 1, 5 x 5, twice 3 x 3, average pool."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(inputs, 64)
        self.branch5x5_1 = Unit(inputs, 48)
        self.branch5x5_2 = Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Unit(inputs, 64)
        self.branch3x3dbl_2 = Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, padding=1)
        self.branch_pool = Unit(inputs, pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 224 + pooled, H, W) of (B, inputs, H, W)."""
        fives = self.branch5x5_2(self.branch5x5_1(x))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), fives, threes, self.branch_pool(_average(x))], 1)


class BlockB(nn.Module):
    """35 x 35 to 17 x 17: 3 x 3, twice 3 x 3, maximum."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Unit(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Unit(inputs, 64)
        self.branch3x3dbl_2 = Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Unit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 480 + inputs, H', W') of (B, inputs, H, W)."""
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), threes, F.max_pool2d(x, 3, stride=2)], 1)


class BlockC(nn.Module):
    """17 x 17: 1 x 1, 7 x 7 in two parts, twice 7 x 7 in four, average pool."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(inputs, 192)
        self.branch7x7_1 = Unit(inputs, inner)
        self.branch7x7_2 = _row(inner, inner, 7)
        self.branch7x7_3 = _column(inner, 192, 7)
        self.branch7x7dbl_1 = Unit(inputs, inner)
        self.branch7x7dbl_2 = _column(inner, inner, 7)
        self.branch7x7dbl_3 = _row(inner, inner, 7)
        self.branch7x7dbl_4 = _column(inner, inner, 7)
        self.branch7x7dbl_5 = _row(inner, 192, 7)
        self.branch_pool = Unit(inputs, 192)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 768, H, W) of (B, inputs, H, W)."""
        sevens = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), sevens, double, self.branch_pool(_average(x))], 1)


class BlockD(nn.Module):
    """17 x 17 to 8 x 8: 3 x 3, 7 x 7 and 3 x 3, maximum."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Unit(inputs, 192)
        self.branch3x3_2 = Unit(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Unit(inputs, 192)
        self.branch7x7x3_2 = _row(192, 192, 7)
        self.branch7x7x3_3 = _column(192, 192, 7)
        self.branch7x7x3_4 = Unit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 512 + inputs, H', W') of (B, inputs, H, W)."""
        sevens = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), sevens, F.max_pool2d(x, 3, stride=2)], 1)


class BlockE(nn.Module):
    """8 x 8: 1 x 1, 3 x 3 split in two, twice 3 x 3 split in two, and a pool.

    Args:
        inputs: channels.
        maximum: whether the pool takes a maximum; an average otherwise.
    """

    def __init__(self, inputs: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = Unit(inputs, 320)
        self.branch3x3_1 = Unit(inputs, 384)
        self.branch3x3_2a = _row(384, 384, 3)
        self.branch3x3_2b = _column(384, 384, 3)
        self.branch3x3dbl_1 = Unit(inputs, 448)
        self.branch3x3dbl_2 = Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _row(384, 384, 3)
        self.branch3x3dbl_3b = _column(384, 384, 3)
        self.branch_pool = Unit(inputs, 192)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2048, H, W) of (B, inputs, H, W)."""
        threes = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.maximum else _average(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(threes), self.branch3x3_2b(threes)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(parts, 1)


class InceptionV3(nn.Module):
    """Inception-v3 as TensorFlow's network of 2015 has it, with the tensor names of the file published for FID.

    It differs from the network of the paper in its pools: average pools leave padding out of the count, and the last block
    has a maximum in place of an average. It ends at its last average pool; the classifier's tensors are there and not used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Unit(64, 80)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, maximum=False)
        self.Mixed_7c = BlockE(2048, maximum=True)
        self.fc = nn.Linear(2048, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, 2048) of images (B, 3, 299, 299) in [-1, 1]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(self.Mixed_6e(x))))
        return x.mean((2, 3))
