"""What the studies of axes share: the two encoders, fits of their own, and their columns."""

from __future__ import annotations

from experiments import columns

HONEST, TOLD = (
    ["encoder=emoji_clip"],
    ["encoder=emoji_clip_informed"],
)  # trained on captions alone; with the attributes too
HEADER = columns.header(columns.AXES, {})


def fitted(fit: int) -> list[str]:
    """Return the overrides of a fit of its own: other collected images, weights, batches and halves."""
    return [f"collect.seed={fit}", f"project.seed={fit}", f"clustering.random_state={fit}"]


def line(name: str, results: dict, arm: str) -> str:
    """Return the row of one arm."""
    return columns.row(name, results, arm, columns.AXES)
