"""Generate by selection: more seeds are drawn than images, and the chosen ones are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfdebias.backbones.rows import RowCount
from selfdebias.guidance import GuidanceState, Selection
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.selecting import Look, Selecting
from selfdebias.jobs.stages.looking import read_centers
from selfdebias.jobs.stages.sampling import PromptSampler
from selfdebias.metrics.features import assign_modes
from selfdebias.modes.placement import AxisSides


class ChosenSampler(PromptSampler):
    """Draws more seeds than images, and keeps the chosen ones: image k has the seed that its record names.

    Args:
        selection: which are chosen.
        schedule: when guidance acts, where images are steered.
        state: memory and semantics.
        look: gives the modes of finished images, or None.
        sampling: arguments of `Sampler`.
    """

    def __init__(
        self, selection: Selection, schedule: GuidanceWindow, state: GuidanceState, look: Look | None, *sampling: Any
    ):
        super().__init__(state, *sampling)
        self.selection, self.schedule, self.look = selection, schedule, look

    def draw_batch(self, batch: int, ids: Sequence[int]) -> None:
        """See `Sampler.draw_batch`; what earlier batches of the same prompt lack is made up for."""
        self.go_on(batch, ids)
        with (
            RowCount(self.pipeline) as count,
            Selecting(self.pipeline, self.selection, self.schedule, self.state, self.look) as selecting,
        ):
            images = self.draw(ids)
        for i, seed in zip(ids, selecting.seeds, strict=True):
            self.seeds[i] = seed
        skipped = sum(it.skipped for it in self.state.traces.values())
        counted = {"rows": torch.tensor(count.rows), "skipped": torch.tensor(skipped)}
        kept = {**self.state.kept_tensors(), "edited": torch.tensor(selecting.edited), **counted}
        self.keep(batch, ids, images, kept, {})


def modes_of_images(encoder: Any, discovered: Path) -> Look:
    """Return what gives the mode, or the sides of all axes, (B, A) int64, of images (B, 3, H, W)."""
    centers = read_centers(discovered)

    def look(images: Tensor) -> np.ndarray:
        with torch.no_grad():
            e = encoder(images).double().cpu().numpy()
        return centers.sides(e) if isinstance(centers, AxisSides) else assign_modes(e, centers)[:, None]

    return look
