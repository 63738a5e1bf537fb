"""Features of images: checked once at the boundary, their cosines and modes, what a judge sees, and who made cached ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from selfdebias.judges import Judge
from selfdebias.metrics.arms import ArmData, read_arm
from selfdebias.modes.placement import AxisSides, cells_of, nearest
from selfdebias.storage.provenance import ORIGIN, read_origin

Array = NDArray[Any]  # float32 or float64
JUDGE, PIXELS = "judge", "pixels"
SIDE = 16  # cells across and down
NO_MODE = -1
_ROWS = 1024  # rows of a kernel or distance matrix held at a time


def features(x: ArrayLike, name: str = "x", least: int = 1) -> Array:
    """Return `x` as (N, d), refusing another shape, values that are not finite, or fewer rows than `least`.

    Float32 stays float32, since 50,000 Inception features take 0.4 GB as it is; whoever sums over them takes them to
    float64 chunk by chunk. Everything else becomes float64.
    """
    x = np.asarray(x)
    x = x if x.dtype == np.float32 else x.astype(np.float64, copy=False)
    if x.ndim != 2:
        raise ValueError(f"`{name}` must have shape (N, d), got {x.shape}.")
    if len(x) < least:
        raise ValueError(f"`{name}` must have at least {least} rows, got {len(x)}.")
    if not all(np.isfinite(x[rows]).all() for rows in chunks(len(x))):
        raise ValueError(f"`{name}` must be finite, got NaN or infinite values.")
    return x


def paired(x: ArrayLike, y: ArrayLike, least: int = 1) -> tuple[Array, Array]:
    """Return two feature matrices of one width, each with at least `least` rows."""
    x, y = features(x, "x", least), features(y, "y", least)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"`x` and `y` must have the same width, got {x.shape[1]} and {y.shape[1]}.")
    return x, y


def chunks(n: int) -> Iterator[slice]:
    """Cut `n` rows into slices that are small enough for a dense matrix over each."""
    return (slice(start, min(start + _ROWS, n)) for start in range(0, n, _ROWS))


def cosines(e: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Cosine of each embedding with the other one in its row.

    Args:
        e: (N, d), no row of zeros.
        others: (N, d), in the same space and order.

    Returns:
        (N,) float64 in [-1, 1].

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> cosines([[2.0, 0.0]], [[0.5, 0.0]]).tolist()
        [1.0]
    """
    e, others = (a.astype(np.float64, copy=False) for a in paired(e, others, least=0))
    if len(e) != len(others):
        raise ValueError(f"`others` must have {len(e)} rows, got {len(others)}.")
    return (e * others).sum(1) / (np.linalg.norm(e, axis=1) * np.linalg.norm(others, axis=1))


def assign_modes(e: ArrayLike, centers: ArrayLike | AxisSides | None) -> NDArray[np.int64]:
    """Give each embedding the mode with the nearest centre, by cosine, in the encoder's own space; of axes, its cell.

    Args:
        e: (N, d) unit embeddings.
        centers: (K, d) unit centres; axes; None where no modes are known.

    Returns:
        (N,) int64 in [0, K); the first of equally near centres. Without centres all `NO_MODE`.

    Raises:
        ValueError: if the widths differ.

    Example:
        >>> assign_modes([[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.0, 1.0]]).tolist()
        [0, 1]
    """
    if centers is None:
        return np.full(len(np.asarray(e)), NO_MODE, dtype=np.int64)
    if isinstance(centers, AxisSides):
        return cells_of(centers.sides(features(e, "e", least=0)))
    e, centers = features(e, "e", least=0), features(centers, "centers")
    if e.shape[1] != centers.shape[1]:
        raise ValueError(f"`centers` must have the width {e.shape[1]} of the embeddings, got {centers.shape[1]}.")
    return nearest(e, centers)


def pixel_averages(images: Tensor) -> Tensor:
    """Average each image over a grid of 16 x 16 cells, by colour.

    Args:
        images: (B, 3, H, W) float in [0, 1].

    Returns:
        (B, 768) of the same kind and range; cells of an image below 16 px share pixels.

    Example:
        >>> pixel_averages(torch.full((2, 3, 64, 64), 0.5)).unique().tolist()
        [0.5]
    """
    return F.adaptive_avg_pool2d(images, SIDE).flatten(1)


def judged_with_features(judge: Any, encoder: Any, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Let the judge look at images once, and keep what it says and what it sees.

    Args:
        judge: images to probabilities; with `features` and `from_features` where it has them.
        encoder: what guidance acts in; a judge that rests on it sees nothing of its own.
        images: (B, 3, H, W) float32 in [0, 1].

    Returns:
        by attribute, probabilities (B, C); and by name, features (B, d) that guidance does not act in, on the CPU, float16.

    Raises:
        ValueError: if the judge's features are no (B, d) tensor.
    """
    spaces = {PIXELS: pixel_averages(images)}
    seen = features_of(judge, encoder)
    if seen is None:
        probabilities = judge(images)
    else:
        found = seen(images)
        if not isinstance(found, Tensor) or found.shape[:-1] != (len(images),):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"`judge.features` must return one row of features per image, got {got}.")
        spaces = {JUDGE: found, **spaces}
        probabilities = judge.from_features(found) if hasattr(judge, "from_features") else judge(images)
    return probabilities, {name: compact(x) for name, x in spaces.items()}


def features_of(judge: Any, encoder: Any) -> Callable[[Tensor], Tensor] | None:
    """Return the judge's `features`; None where it has none, or where they are the encoder's own."""
    shared = judge.encoder_id is not None and judge.encoder_id == getattr(encoder, "encoder_id", None)
    found = getattr(judge, "features", None)
    return None if shared or not callable(found) else found


def compact(x: Tensor) -> Tensor:
    """Return features on the CPU as float16, or as float32 where they are too large for it.

    Example:
        >>> compact(torch.tensor([[0.5]])).dtype, compact(torch.tensor([[1e6]])).dtype
        (torch.float16, torch.float32)
    """
    x = x.detach().cpu().float()
    return x.half() if x.abs().max(dim=-1).values.lt(torch.finfo(torch.float16).max).all() else x


def identity(part: Any) -> str:
    """Class of a judge or an encoder, hash of its weights, and hash of a judge's classes: who looked at an image.

    Example:
        >>> identity(1.5)
        'builtins.float'
    """
    words = [f"{type(part).__module__}.{type(part).__qualname__}"]
    if hasattr(part, "fingerprint"):
        words.append(part.fingerprint())
    if hasattr(part, "classes"):
        words.append(hashlib.sha256(json.dumps(part.classes).encode()).hexdigest()[:16])
    return " ".join(words)


def origin_of(judge: Judge, encoder: Any, extractor: Any, images: str, key: str) -> dict[str, str]:
    """What is noted in the file of an arm, so that its numbers can be taken as a reference later.

    Args:
        judge: Images to probabilities.
        encoder: Images to unit embeddings.
        extractor: Images to the features that they are compared by; None for the encoder's embeddings.
        images: sha256 of the names and bytes of all image files.
        key: Key of the stage that drew them, "" if none did.
    """
    features = "" if extractor is None else identity(extractor)
    return {"judge": identity(judge), "encoder": identity(encoder), "features": features, "sha256": images, "key": key}


def load_reference(
    path: Path, arm: str, judge: Judge, centers: ArrayLike | AxisSides | None
) -> tuple[ArmData, dict[str, str]]:
    """Read a cached reference and its origin, and place the images in the modes of this evaluation.

    Args:
        path: A file that `save_arm` wrote.
        arm: The name to give it.
        judge: This evaluation's, whose threshold holds.
        centers: (K, d), or None where no modes are known.

    Raises:
        ValueError: If the embeddings have another width than the centres.
    """
    data = read_arm(path)
    origin = read_origin(path)
    own = origin["judge"] == identity(judge)  # another judge's features are of another space
    spaces = {name: x for name, x in data.spaces.items() if own or name != JUDGE}
    modes = assign_modes(data.e, centers)
    data = replace(data, arm=arm, threshold=judge.threshold, modes=modes, psnr=None, spaces=spaces)
    return data, {name: origin[name] for name in ORIGIN}
