"""The Inception-v3 that published FID figures are measured with: 2048 features an image, from the user's own weights."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias import folders
from selfdebias.encoders.inception_network import InceptionV3

FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
SIDE = 299  # px


class InceptionFeatures:
    """Turns images into the 2048 pool features that FID compares; they are no unit vectors, so this is no encoder.

    The weights are those of the TensorFlow network of 2015, ported to PyTorch; others (ImageNet weights of torchvision,
    say) give another FID. Nothing is downloaded, and nothing is loaded before the first call. Images are resized to
    299 x 299 px, bilinear, `align_corners=False`, without antialiasing, and scaled to [-1, 1].

    Args:
        weights: path of the file `pt_inception-2015-12-05-6726825d.pth`.
        sha256: what its bytes must hash to; None compares nothing.
        group: the option that describes it, for messages.

    References:
        Heusel et al., arXiv 1706.08500; Szegedy et al., arXiv 1512.00567.
    """

    dim = 2048
    encoder_id = "inception-v3-2015-12-05"
    resize_rule = f"bilinear to {SIDE} x {SIDE} px, align_corners=False, no antialias"

    def __init__(self, weights: str, sha256: str | None = None, group: str = "metrics.features") -> None:
        if sha256 is not None and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
            raise ValueError(f"`{group}.sha256` must be 64 lower-case hexadecimal digits or null, got {sha256!r}.")
        self.weights, self.sha256, self.group = weights, sha256, group
        self._network: InceptionV3 | None = None

    def fingerprint(self) -> str:
        """Return the sha256 of the weight file.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is not the hash asked for.
        """
        path = Path(self.weights)
        if not path.is_file():
            raise FileNotFoundError(
                f"`{self.group}.weights` must be the file of FID's Inception-v3 weights, got {self.weights!r}, where there "
                f"is none: download {URL}, and set {self.group}.weights to its path; metrics=default does without it."
            )
        found = folders.hash_file(path).hex()
        if self.sha256 not in (None, found):
            raise ValueError(
                f"`{self.group}.sha256` must be that of {self.weights}, {found}, got {self.sha256}: download the file "
                f"again, or set {self.group}.sha256=null if you mean to use other weights."
            )
        return found

    def load(self) -> InceptionV3:
        """Load the frozen network once, by the names of its tensors; raises as `fingerprint` does.

        Raises:
            ValueError: if the file holds anything but tensors, or others than the network has.
        """
        if self._network is None:
            self.fingerprint()
            try:
                state = torch.load(self.weights, map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
                raise ValueError(
                    f"`{self.group}.weights` must be a file of tensors alone, got {self.weights!r}, which torch does not "
                    f"load with weights_only: {str(error).splitlines()[0]}"
                ) from error
            network = InceptionV3()
            self._check(state, network.state_dict())
            network.load_state_dict(state, strict=False)  # `num_batches_tracked` may be there or not
            self._network = network.eval().requires_grad_(False)
        return self._network

    def _check(self, state: Any, expected: Mapping[str, Tensor]) -> None:
        """Refuse tensors of other names or shapes than the network's."""
        if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
            kind = type(state).__name__
            raise ValueError(
                f"`{self.group}.weights` must hold tensors by name, got {self.weights!r}, a {kind}: take {FILE}."
            )
        found, wanted = (
            {k: tuple(v.shape) for k, v in it.items() if "num_batches" not in k} for it in (state, expected)
        )
        wrong = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        if wrong:
            has, needs = (f"of shape {it[wrong[0]]}" if wrong[0] in it else "absent" for it in (found, wanted))
            raise ValueError(
                f"`{self.group}.weights` must hold the tensors of FID's Inception-v3, got {self.weights!r}, in which "
                f"{wrong[0]} is {has}, and should be {needs}: take {FILE}."
            )

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
