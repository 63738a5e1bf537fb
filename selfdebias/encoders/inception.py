"""The Inception-v3 that published FID figures are measured with: 2048 features an image, from the user's own weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.encoders.inception_network import InceptionV3
from selfdebias.storage.weights.file import inception

SIDE = 299  # px


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
