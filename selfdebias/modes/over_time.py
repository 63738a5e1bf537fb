"""Modes of projected vectors, found at each timestep anew and matched from one timestep to the next."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone

from selfdebias.modes.placement import Labels, Vectors, by_size, centers_of, nearest, unit

UNKNOWN = -1
VOTES = 9  # timesteps, at most, that say how many modes there are


class ModesOverTime(NamedTuple):
    """Modes that keep their identity over time, numbered by size.

    Attributes:
        labels: (M,) the mode of each vector at its timestep.
        of_image: (N,) the mode of each image, at the reference; of one not recorded there, at its own last step.
        depths: (K,) as `ModeEstimator.depths_`.
        reference: the timestep whose modes the others are matched with: the last in sampling that has as many modes as most.
        clustered: the timesteps, ascending, that were clustered; at the others too few images were recorded, and each went to the
            nearest centre of the timestep before.
        fitted: the clustering, fitted at the reference.
    """

    labels: Labels
    of_image: Labels
    depths: Labels
    reference: float
    clustered: list[float]
    fitted: Any


def follow_modes(z: Vectors, image: Labels, timestep: np.ndarray, clustering: Any) -> ModesOverTime:
    """Cluster the vectors of each timestep, from the reference on, and match neighbours in time.

    Where k is not given, evenly spaced timesteps say how many modes there are: the number that most of them have, the smallest of
    equals. One timestep alone may have another one: the last step of sampling often does.

    Clusters are matched with the modes so far by Hungarian assignment on how many images they share; where they share none, as at
    timesteps recorded of different images, the cosine of the centres decides. A cluster too many joins the mode that it fits best.

    Args:
        z: (M, d) unit vectors of one branch.
        image: (M,) the image of each, in [0, N).
        timestep: (M,) training timesteps.
        clustering: a `ModeEstimator`, which is not changed.

    Raises:
        ValueError: if no timestep has enough images to be clustered.
    """
    grid = np.unique(timestep)
    reference, fitted = _reference(z, timestep, grid, clustering)
    rows = timestep == reference
    labels = np.full(len(z), UNKNOWN, dtype=np.int64)
    start = np.full(int(image.max()) + 1, UNKNOWN, dtype=np.int64)  # of both directions
    labels[rows], clustered = fitted.labels_, [float(reference)]
    start[image[rows]] = labels[rows]
    again, options = clone(clustering), clustering.get_params()
    if "k" in options and "max_depth" not in options:  # with halves of clusters k is not the number of modes
        again.set_params(k=len(fitted.centers_))
    for steps in (grid[grid > reference], grid[grid < reference][::-1]):
        known, centers = start.copy(), fitted.centers_.copy()
        for t in steps:
            rows = timestep == t
            found = _labels(clustering, again, z[rows])
            if found is None:
                labels[rows] = nearest(z[rows], centers)
            else:
                labels[rows] = _matched(found, z[rows], known[image[rows]], centers)
                clustered.append(float(t))
            known[image[rows]] = labels[rows]
            for k in np.unique(labels[rows]):
                centers[k] = unit(z[rows][labels[rows] == k].mean(axis=0, keepdims=True))[0]
    settled = np.full(len(start), UNKNOWN, dtype=np.int64)
    for t in (*grid[::-1], reference):  # the last that is written counts
        settled[image[timestep == t]] = labels[timestep == t]
    of_image, order = by_size(settled)
    return ModesOverTime(
        np.argsort(order)[labels], of_image, fitted.depths_[order], float(reference), sorted(clustered), fitted
    )


def _reference(z: Vectors, timestep: np.ndarray, grid: np.ndarray, clustering: Any) -> tuple[float, Any]:
    """Return the smallest timestep with as many modes as most have, and the clustering fitted there."""
    fits: list[tuple[float, Any]] = []
    refused = ""
    voters = np.unique(np.linspace(0, len(grid) - 1, min(VOTES, len(grid))).round().astype(int))
    for place in [*voters, *np.setdiff1d(np.arange(len(grid)), voters)]:
        if fits and (place not in voters or clustering.get_params().get("k")):
            break  # the others are for where none of the voters has enough images
        try:
            fits.append((float(grid[place]), clone(clustering).fit(z[timestep == grid[place]])))
        except ValueError as error:
            refused = refused or str(error)
    if not fits:
        raise ValueError(
            f"`collect.timesteps` must be larger, or there must be more images, in the space `projected`, where each timestep is "
            f"clustered by itself: {refused}"
        )
    counts = Counter(len(fitted.centers_) for _, fitted in fits)
    k = min(counts, key=lambda count: (-counts[count], count))
    return next((t, fitted) for t, fitted in fits if len(fitted.centers_) == k)


def _labels(clustering: Any, with_k: Any, z: Vectors) -> Labels | None:
    """Cluster the vectors of a timestep; None where they are too few to choose k among, or all equal."""
    try:
        clustering.check(len(z))
        return clone(with_k).fit(z).labels_
    except ValueError:
        return None


def _matched(found: Labels, z: Vectors, known: Labels, centers: Vectors) -> Labels:
    """Rename clusters as the modes that they match.

    Args:
        found: (n,) clusters of this timestep.
        z: (n, d) its vectors.
        known: (n,) the mode that each image had at the timestep before; `UNKNOWN` if it was recorded at none.
        centers: (K, d) centres of the modes, each at the last timestep where it was seen.
    """
    fit = 0.5 * (centers_of(z, found) @ centers.T) / len(centers)  # all together less than one image counts
    np.add.at(fit, (found[known != UNKNOWN], known[known != UNKNOWN]), 1)
    names = fit.argmax(axis=1)
    clusters, modes = linear_sum_assignment(fit, maximize=True)
    names[clusters] = modes
    return names[found]
