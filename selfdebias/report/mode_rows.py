"""The modes of a job on its page: what they are, their captions and shares, and what they agree with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.number import number_at
from selfdebias.report.material import Material
from selfdebias.report.measures import arms_of, attributes_of
from selfdebias.report.wording import Notes, plain, written


def target_of(found: Mapping[str, Any]) -> str:
    """The shares that were asked for; of axes those of both sides of each that was balanced.

    Args:
        found: The contents of `modes.json`, with the target that was asked for, and `balanced`.

    Example:
        >>> target_of({"target": [0.25, 0.75]})
        'mode shares 0.25, 0.75'
        >>> target_of({"axes": [{}, {}], "target": [0.5, 0.5, 0.25, 0.75], "balanced": [1]})
        'axis 1: 0.25 / 0.75; axes left alone: 0'
    """
    shares = [f"{float(share):.2f}" for share in found["target"]]
    if "axes" not in found:
        return f"mode shares {', '.join(shares)}"
    count = len(found["axes"])
    balanced = found.get("balanced", range(count))
    sides = [f"axis {a}: {' / '.join(shares[2 * a : 2 * a + 2])}" for a in balanced]
    alone = ", ".join(str(a) for a in range(count) if a not in balanced)
    return "; ".join([*sides, *([f"axes left alone: {alone}"] if alone else [])])


def found_in_words(found: Mapping[str, Any]) -> str:
    """What the modes are, in one sentence."""
    if "classes" in found:
        return "The classes that the judge sees in the vanilla images stand for modes: they were told, and not found."
    if "axes" in found:
        return (
            "Axes of the vanilla images' embeddings, found without a label: each image is on one of two sides of every axis. Where "
            "images are compared by their mode, that is the sides of all axes together."
        )
    if found.get("space") == "projected":
        return "Clusters of the vanilla images' projected activations at each timestep, found without a label."
    return "Clusters of the vanilla images' embeddings, found without a label."


def modes_on_page(material: Material, notes: Notes) -> dict[str, Any]:
    """What the page says of the modes: `rows`, what they are, how far they are apart, and `agreement` with judged attributes.

    Args:
        material: What the stages left.
        notes: Takes the reasons of the numbers that are null.

    Returns:
        {} where no modes are known.
    """
    if not material.found:
        return {}
    results = material.results
    return {
        "rows": mode_rows(material, notes),
        "found": found_in_words(material.found),
        "axes": "axes" in material.found,
        "told": "classes" in material.found,
        "silhouette": written(number_at(results.get("modes"), "silhouette"), notes),
        "stability": written(number_at(results.get("modes"), "stability"), notes, ".2f"),
        "agreement": agreement_rows(results, notes),
    }


def mode_rows(material: Material, notes: Notes) -> list[dict[str, Any]]:
    """Each discovered mode: size and share among the collected images, share in each arm, target, captions with effect sizes."""
    found, results, rows = material.found, material.results, []
    words = found.get("words") or [[]] * len(found["sizes"])
    for mode, size in enumerate(found["sizes"]):
        shares = {name: number_at(results["arms"][name], "mode_shares", str(mode)) for name in arms_of(results)}
        row = {
            "mode": mode,
            "name": f"Axis {mode // 2}, side {mode % 2}" if "axes" in found else f"Mode {mode}",
            "size": size,
            "share": f"{size / max(1, len(found['labels'])):.2f}",
            "arms": [(plain(name), written(share, notes, ".2f")) for name, share in shares.items()],
            "target": _target_in_words(found, mode),
            "words": [(plain(word["caption"]), f"{word['effect']:.1f}") for word in words[mode]],
        }
        rows.append(row)
    return rows


def _target_in_words(found: Mapping[str, Any], mode: int) -> str:
    if "axes" in found and mode // 2 not in found.get("balanced", range(len(found["axes"]))):
        return "left alone"
    return f"target {float(found['target'][mode]):.2f}" if "target" in found else ""


def place_in_words(found: Mapping[str, Any], mode: int, after: int | None = None) -> str:
    """Name the mode of an image, or how it changed; of axes its sides of axis 0, 1 and so on, or the axes whose side changed.

    Args:
        found: what discover says of the modes.
        mode: of the image; of axes its cell.
        after: that of the image of the same seed in another arm; None to name the one mode.

    Example:
        >>> axes = {"axes": [{}, {}, {}]}
        >>> place_in_words({}, 3), place_in_words(axes, 3), place_in_words({}, 3, 1), place_in_words({}, 3, 3)
        ('mode 3', 'sides 1 1 0', 'mode 3 \u2192 1', 'mode 3')
        >>> place_in_words(axes, 3, 2), place_in_words(axes, 3, 4), place_in_words(axes, 3, 3)
        ('axis 0', 'axes 0, 1, 2', '')
    """
    if mode < 0:  # no modes are known
        return ""
    axes = range(len(found.get("axes", [])))
    if not axes:
        return f"mode {mode}" + ("" if after in (None, mode) else f" \u2192 {after}")
    if after is None:
        return "sides " + " ".join(str(mode >> a & 1) for a in axes)
    changed = [str(a) for a in axes if (mode ^ after) >> a & 1]
    return f"{'axis' if len(changed) == 1 else 'axes'} {', '.join(changed)}" if changed else ""


def agreement_rows(results: Mapping[str, Any], notes: Notes) -> list[tuple[str, ...]]:
    """Agreement of the modes with each judged attribute: name, NMI, ARI; of axes with each of them homogeneity, ARI, AUC."""
    modes, attributes = results.get("modes", {}), attributes_of(results)
    if modes.get("axes"):
        kinds: tuple[str, ...] = ("homogeneity", "ari", "auc")
        held = {f"{plain(name)}, axis {a}": (axis, name) for name in attributes for a, axis in enumerate(modes["axes"])}
    else:
        kinds = ("nmi", "ari")
        known = [name for kind in kinds if isinstance(modes.get(kind), Mapping) for name in modes[kind]]
        held = {plain(name): (modes, name) for name in [*(name for name in attributes if name in known), *known]}
    return [
        (title, *(written(number_at(tree, kind, name), notes) for kind in kinds))
        for title, (tree, name) in held.items()
    ]
