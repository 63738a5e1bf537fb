"""How good are the images that guidance moved to another mode? Measured on their own, within the mode they moved to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdebias.metrics.arms import Placed
from selfdebias.metrics.bootstrap import BlockBootstrap, block_sums
from selfdebias.metrics.intervals import drawn_shares, share_interval
from selfdebias.metrics.mmd import mmd
from selfdebias.metrics.number import NO_INTERVAL, Number, missing
from selfdebias.metrics.shares import rate
from selfdebias.metrics.suite import Kernel, PolynomialKernel
from selfdebias.metrics.twins import kept
from selfdebias.metrics.within_modes import covered_in_mode, weighted, within_modes

Array = NDArray[np.float64]
MEASURES = ("precision", "vanilla_precision", "precision_ratio", "kid", "vanilla_kid")
FEWEST = 5  # switched images of which a ratio is stated


def turned_quality(
    reference: Placed,
    vanilla: Placed,
    arm: Placed,
    n_modes: int,
    blocks: ArrayLike,
    bootstrap: BlockBootstrap,
    k: int = 3,
    kernel: Kernel | None = None,
) -> dict[str, int | Number]:
    """Measure the images of an arm whose mode is not that of their vanilla twin.

    `precision` is the share of switched images inside the k-NN balls of the reference images that have their new mode.
    `vanilla_precision` is what the vanilla arm's own images of each mode reach against the same reference, with the
    modes weighted as they occur among the switched images, and `precision_ratio` the first over the second, where at least
    `FEWEST` switched images are behind it. `kid` and `vanilla_kid` are those of `turned_distance`. A mode with too few
    images for a measure is left out of both sides of it; `n` of that entry says how many switched images stand behind it.

    Args:
        reference: vanilla images of other seeds, with their modes.
        vanilla: the arm's twins, same order.
        arm: the arm's images.
        n_modes: K.
        blocks: (N,) block of each image of the arm and of its twin; the reference is held fixed by the intervals.
        bootstrap: repeats, seed and level.
        k: neighbours.
        kernel: of KID.

    Returns:
        `n` (switched images), `share`, and an entry for each of `MEASURES`.
    """
    turned = ~kept(arm.modes, vanilla.modes)
    result: dict[str, int | Number] = {
        "n": int(turned.sum()),
        "share": rate(turned, np.asarray(blocks), bootstrap.level),
    }
    precision = turned_precisions(reference, vanilla, arm, n_modes, blocks, bootstrap, k)
    return result | precision | turned_distance("kid", kernel or PolynomialKernel(), reference, vanilla, arm, n_modes)


def turned_distance(
    name: str, kernel: Kernel, reference: Placed, vanilla: Placed, arm: Placed, n_modes: int
) -> dict[str, Number]:
    """Average a kernel distance from the reference inside the modes that images turned to, weighted by these images.

    Returns:
        `<name>` for the switched images, and `vanilla_<name>` for the vanilla arm's own images of these modes.
    """
    names, turned = (name, f"vanilla_{name}"), ~kept(arm.modes, vanilla.modes)
    if not turned.any():
        return {name: missing("no image was turned", n=0) for name in names}
    moved = Placed(arm.e[turned], arm.modes[turned])
    values, own = (
        within_modes(lambda x, y: mmd(y, x, kernel), *reference, *placed, n_modes) for placed in (moved, vanilla)
    )
    means = weighted(values, own, np.bincount(moved.modes, minlength=n_modes))
    if means is None:
        reason = "no target mode has at least 2 images each of turned, vanilla and reference"
        return {name: missing(reason, n=0) for name in names}
    return {name: Number(value, n=means.n, reason=NO_INTERVAL) for name, value in zip(names, means[:2], strict=True)}


def turned_precisions(
    reference: Placed,
    vanilla: Placed,
    arm: Placed,
    n_modes: int,
    blocks: ArrayLike,
    bootstrap: BlockBootstrap,
    k: int = 3,
) -> dict[str, Number]:
    """Measure `precision`, `vanilla_precision` and `precision_ratio` alone; arguments as for `turned_quality`."""
    turned = ~kept(arm.modes, vanilla.modes)
    if not turned.any():
        return {name: missing("no image was turned", n=0) for name in MEASURES[:3]}

    def counts(placed: Placed, rows: NDArray[np.bool_]) -> Array:
        """Hits and images of each block by mode, (B, 2, K)."""
        covered = covered_in_mode(reference, placed, n_modes, k)
        member = np.eye(n_modes)[placed.modes] * (rows & np.isfinite(covered))[:, None]
        both = np.stack([member * np.nan_to_num(covered)[:, None], member], 1)
        return block_sums(both, blocks).reshape(-1, 2, n_modes)

    own = counts(vanilla, np.ones_like(turned))
    new = counts(arm, turned) * (own[:, 1].sum(0) > 0)  # modes that vanilla never shows have nothing to be held against
    weights = new[:, 1].sum(0)
    n = int(weights.sum())
    if n == 0:
        reason = f"no target mode has both more than {k} reference images and a vanilla image"
        return {name: missing(reason, n=0) for name in MEASURES[:3]}
    entries = _entries(new.sum(2), [own[:, :, mode] for mode in range(n_modes)], weights, bootstrap)
    if n < FEWEST:
        entries[2] = missing(f"fewer than {FEWEST} switched images are behind it: {n}")
    return {name: replace(number, n=n) for name, number in zip(MEASURES[:3], entries, strict=True)}


def _entries(new: Array, own: Sequence[Array], weights: Array, bootstrap: BlockBootstrap) -> list[Number]:
    """Precision of the arm (B, 2), that of vanilla by mode (B, 2) with the arm's weights, and their ratio.

    Both are drawn at random from what their intervals say at every level, by mode; so a precision of 1 of a few images is
    not taken for certain.
    """
    used = [mode for mode in range(len(own)) if weights[mode] > 0]
    shares = weights[used] / weights.sum()
    value = new[:, 0].sum() / new[:, 1].sum()
    vanilla = float(sum(w * own[m][:, 0].sum() / own[m][:, 1].sum() for w, m in zip(shares, used, strict=True)))
    precision = share_interval(new, bootstrap.level)
    generator = np.random.default_rng([bootstrap.seed, 3])
    drawn = [drawn_shares(sums, bootstrap.repeats, generator) for sums in (new, *(own[m] for m in used))]
    known = [it for it in drawn if it is not None]
    drawn_new, drawn_own = np.array([]), np.array([])
    if len(known) == len(drawn):
        drawn_new, drawn_own = known[0], shares @ np.stack(known[1:])
    ratio = missing("vanilla images of these modes reach a precision of 0")
    if vanilla > 0:
        ratio = bootstrap.middle(value / vanilla, drawn_new / drawn_own, len(new))
    return [precision, bootstrap.middle(vanilla, drawn_own, len(new)), ratio]
