"""Tables with a row for each arm and subject: quality by features, agreement of pairs, composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfdebias.metrics.number import Number, number_at
from selfdebias.report.measures import arms_of, attributes_of
from selfdebias.report.table import Table
from selfdebias.report.wording import Notes, counted, plain, written

Results = Mapping[str, Any]
QUALITY = "Quality by feature space (guidance acts in the encoder's)"
AGREEMENT = "Class of the vanilla twin"
COMPOSITION = "Composition"
AXES = "Axes"
ACTED_IN = ("encoder", "extractor")  # quality by these stands in the columns already
KEYS = ("turned_precision_ratio", "precision", "kid", "kept")
ORDER = (*ACTED_IN, "judge", "pixels")
AS_PREDICTED, BEYOND, BELOW, UNTOLD = "as predicted", "beyond it", "below it", "no detectable difference"


def grids(results: Results, notes: Notes) -> list[Table]:
    """All such tables that the results have numbers for; earlier results have none.

    Args:
        results: The contents of `results.json`.
        notes: Takes the reasons of the numbers that are null.
    """
    found = [
        axes_grid(results, notes), quality_grid(results, notes), agreement_grid(results, notes), composition_grid(results, notes)
    ]  # fmt: skip
    return [grid for grid in found if grid.rows]


def quality_grid(results: Results, notes: Notes) -> Table:
    """Quality in each space of features, of each arm but the baseline; no row where there is but the encoder's."""
    titles = ["arm, features", "precision of switched", "precision", "KID", "kept"]
    rows = []
    for arm in _compared(results):
        tree = results["arms"][arm].get("quality", {})
        names = [name for name in spaces_of(tree) if any(number_at(tree, name, key).value is not None for key in KEYS)]
        if not set(names) <= set(ACTED_IN):
            rows += [[f"{plain(arm)}, {plain(name)}", *_quality_cells(tree[name], notes)] for name in names]
    return Table(titles, rows, QUALITY)


def _quality_cells(tree: Mapping[str, Any], notes: Notes) -> list[str]:
    styles = {"precision": ".3f", "kid": ".3g", "kept": ".3f"}
    ratio = counted(number_at(tree, "turned_precision_ratio"), notes)
    return [ratio, *(written(number_at(tree, key), notes, style, floor=True) for key, style in styles.items())]


def spaces_of(quality: Mapping[str, Any]) -> list[str]:
    """Names of the features that quality is measured by, the encoder's first."""
    found = [name for name, it in quality.items() if isinstance(it, Mapping)]
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def axes_grid(results: Results, notes: Notes) -> Table:
    """The distance of each axis from its target and the share of its second side, of each arm; no row for a partition."""
    rows = []
    for arm in arms_of(results):
        axes = results["arms"][arm].get("axes", [])
        balanced = results.get("modes", {}).get("balanced", range(len(axes)))
        for a, tree in enumerate(axes):
            cells = [written(number_at(tree, key), notes) for key in ("fd", "share")]
            rows.append([f"{plain(arm)}, axis {a}{'' if a in balanced else ', left alone'}", *cells])
    return Table(["arm, axis", "fd from the target", "share of side 1"], rows, AXES)


def agreement_grid(results: Results, notes: Notes) -> Table:
    """Share of pairs of one seed that are of one class, for those whose mode was switched and for the others."""
    rows = []
    for arm in _compared(results):
        tree = results["arms"][arm].get("paired_agreement", {})
        for attribute in [name for name in attributes_of(results) if name in tree]:
            entries = [number_at(tree, attribute, name) for name in ("switched", "unswitched")]
            rows.append([f"{plain(arm)}, {plain(attribute)}", *(counted(entry, notes) for entry in entries)])
    return Table(["arm, attribute", "same, mode switched", "same, mode kept"], rows, AGREEMENT)


def composition_grid(results: Results, notes: Notes) -> Table:
    """The distance of each attribute that a new mix of vanilla's modes predicts, beside the measured one."""
    rows = []
    for arm in _compared(results):
        tree = results["arms"][arm]
        for attribute in [name for name in attributes_of(results) if name in tree.get("composition", {})]:
            pair = compositions(tree, attribute)
            cells = [written(entry, notes) for entry in pair]
            rows.append([f"{plain(arm)}, {plain(attribute)}", *cells, told(*pair) or "cannot be told"])
    return Table(["arm, attribute", "fd_hard, predicted", "measured", "measured is"], rows, COMPOSITION)


def grids_in_words(results: Results, shown: Sequence[str]) -> list[str]:
    """What a reader has to know about these tables.

    Args:
        results: The contents of `results.json`.
        shown: Titles of those that are shown.
    """
    lines = []
    if AXES in shown:
        lines.append(
            "Axes: each image is on one of two sides of each axis, side 1 being the smaller one among the collected images. "
            "Switched images are those whose side of any axis changed."
        )
    if QUALITY in shown:
        said = [
            f"{plain(name)}: {plain(it['name'])}, {it['dim']}-d"
            for name, it in sorted(results.get("spaces", {}).items())
        ]
        lines.append(
            f"Features: {'; '.join(said)}. Guidance acts in the encoder's space alone, so that quality measured there is "
            "measured by what was aimed at. Those of judge and pixels are centred on the reference and scaled by one number; KID's "
            "kernel has gamma 1/d there. kept: cosine of unswitched images with their twins; its floor: that of different vanilla "
            "images of one mode."
        )
    if AGREEMENT in shown:
        lines.append(
            f"{AGREEMENT}: share of pairs of one seed in which the judge sees the same class, where it is sure of both. Shares of "
            "classes may stay while images change theirs both ways."
        )
    if COMPOSITION in shown:
        lines.append(
            "Composition: predicted is the fd_hard of vanilla images weighted so that their modes have the arm's shares; any "
            "method that mixes the modes anew pays it, selection too. As predicted: the measured value is inside of the predicted "
            "interval; beyond it: the intervals are apart."
        )
    return lines


def told(predicted: Number, measured: Number) -> str:
    """Hold a measured distance against the one that reweighting the modes predicts; "" where an interval is missing.

    As predicted: the value is inside of the predicted interval. Beyond or below it: the intervals are apart.

    Example:
        >>> age = Number(0.488, 0.448, 0.528)
        >>> [told(age, it) for it in (Number(0.465, 0.435, 0.494), Number(0.6, 0.55, 0.65), Number(0.54, 0.5, 0.58))]
        ['as predicted', 'beyond it', 'no detectable difference']
    """
    if predicted.low is None or predicted.high is None or measured.value is None:
        return ""
    if predicted.low <= measured.value <= predicted.high:
        return AS_PREDICTED
    if measured.low is None or measured.high is None:
        return ""
    if measured.low > predicted.high:
        return BEYOND
    return BELOW if measured.high < predicted.low else UNTOLD


def compositions(arm: Mapping[str, Any], attribute: str) -> tuple[Number, Number]:
    """The predicted and the measured `fd_hard` of an attribute; nulls in earlier results."""
    predicted, measured = (f"{name}_fd_hard" for name in ("predicted", "measured"))
    tree = arm.get("composition", {})
    return number_at(tree, attribute, predicted), number_at(tree, attribute, measured)


def composed_in_words(arm: Mapping[str, Any], attribute: str) -> str:
    """What follows a verdict on an attribute: "" where nothing can be said.

    Example:
        >>> age = {"predicted_fd_hard": {"value": 0.488, "low": 0.448, "high": 0.528}, "measured_fd_hard": {"value": 0.465}}
        >>> composed_in_words({"composition": {"age": age}}, "age")
        ', as reweighting the modes predicts (0.488 [0.448, 0.528]): composition, not damage'
    """
    predicted, measured = compositions(arm, attribute)
    verdict, value = told(predicted, measured), written(predicted, Notes())
    words = {
        AS_PREDICTED: f", as reweighting the modes predicts ({value}): composition, not damage",
        BEYOND: f", beyond what reweighting the modes predicts ({value})",
        BELOW: f", and yet fairer than reweighting the modes predicts ({value})",
        UNTOLD: f", no detectable difference from what reweighting the modes predicts ({value})",
    }
    return words.get(verdict, "")


def _compared(results: Results) -> list[str]:
    """The arms but the baseline; the baseline where it is alone."""
    arms = arms_of(results)
    baseline = results.get("baseline") or "vanilla"
    return [arm for arm in arms if arm != baseline] or arms
