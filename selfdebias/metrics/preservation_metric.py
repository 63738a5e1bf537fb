"""Preservation as `torchmetrics.Metric`: sums in float64, so batches and devices may be split in any way."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from selfdebias.metrics.preservation import kept, psnr, twin_cosine

_SUMS = ("psnr_sum", "changed", "kept_cosine_sum", "kept", "turned_cosine_sum", "turned")


class Preservation(Metric):
    """What guidance left alone, in images against their vanilla twins from the same seeds.

    Keys: `psnr` (dB, mean over the images that changed at all), `identical` (images equal to their twin), `kept_cosine`
    and `turned_cosine` (mean cosine of embeddings with the twin's, over the images that are in its mode and that are
    not), `kept_share` (share of images in the twin's mode) and `n`. A mean over no image is NaN. States are sums,
    float64.

    Example:
        >>> images, e = torch.zeros(2, 3, 4, 4), torch.eye(2)
        >>> twins = images.clone()
        >>> twins[1] = 0.1
        >>> metric = Preservation()
        >>> metric.update(images, twins, e, e, modes=torch.tensor([0, 1]), twin_modes=torch.tensor([0, 0]))
        >>> {key: round(float(value), 2) for key, value in metric.compute().items()}
        {'psnr': 20.0, 'identical': 1.0, 'kept_cosine': 1.0, 'turned_cosine': 1.0, 'kept_share': 0.5, 'n': 2.0}
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(len(_SUMS), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, images: Tensor, twins: Tensor, e: Tensor, twin_e: Tensor, modes: Tensor, twin_modes: Tensor
    ) -> None:
        """Add a batch.

        Args:
            images, twins: (B, C, H, W) float in [0, 1].
            e, twin_e: (B, d) float embeddings of both.
            modes, twin_modes: (B,) int64 modes of both.
        """
        decibels = psnr(images, twins).cpu()
        cosines = torch.from_numpy(twin_cosine(e.detach().cpu().numpy(), twin_e.detach().cpu().numpy()))
        same = torch.from_numpy(kept(modes.cpu().numpy(), twin_modes.cpu().numpy()))
        changed = torch.isfinite(decibels)
        pairs = ((decibels, changed), (cosines, same), (cosines, ~same))
        sums = [value for x, rows in pairs for value in (x[rows].sum(), rows.sum())]
        self.sums += torch.stack([value.double() for value in sums]).to(self.sums.device)
        self.n += len(same)

    def compute(self) -> dict[str, Tensor]:
        """Return the values by key, float64 scalars."""
        it = dict(zip(_SUMS, self.sums, strict=True))
        return {
            "psnr": it["psnr_sum"] / it["changed"],
            "identical": self.n - it["changed"],
            "kept_cosine": it["kept_cosine_sum"] / it["kept"],
            "turned_cosine": it["turned_cosine_sum"] / it["turned"],
            "kept_share": it["kept"] / self.n,
            "n": self.n.clone(),
        }
