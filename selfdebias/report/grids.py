"""Tables with a row for each arm and subject: quality by features, agreement of pairs, composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfdebias.report.composed import compositions, told
from selfdebias.report.measures import Measure, arms_of, attributes_of, finite, measure
from selfdebias.report.wording import Notes, plain, written

Results = Mapping[str, Any]
QUALITY = "Quality by feature space (guidance acts in the encoder's)"
AGREEMENT = "Class of the vanilla twin"
COMPOSITION = "Composition"
AXES = "Axes"
ACTED_IN = ("encoder", "extractor")  # quality by these stands in the columns already
KEYS = ("turned_precision_ratio", "precision", "kid", "kept")
ORDER = (*ACTED_IN, "judge", "pixels")


@dataclass(frozen=True)
class Grid:
    """One table; the first cell of each row names it, as the first title says.

    Attributes:
        title: what stands above it.
        titles: of the columns.
        rows: cells of each row, as many as there are titles.
    """

    title: str
    titles: list[str]
    rows: list[list[str]]


def grids(results: Results, notes: Notes) -> list[Grid]:
    """All such tables that the results have numbers for; results of before have none.

    Args:
        results: The contents of `results.json`.
        notes: Takes the reasons of the numbers that are null.
    """
    found = [
        axes_grid(results, notes), quality_grid(results, notes), agreement_grid(results, notes), composition_grid(results, notes)
    ]  # fmt: skip
    return [grid for grid in found if grid.rows]


def quality_grid(results: Results, notes: Notes) -> Grid:
    """Quality in each space of features, of each arm but the baseline; no row where there is but the encoder's."""
    titles = ["arm, features", "turned precision ratio", "precision", "KID", "kept"]
    rows = []
    for arm in _compared(results):
        tree = results["arms"][arm].get("quality", {})
        names = [name for name in spaces_of(tree) if any(measure(tree, name, key).value is not None for key in KEYS)]
        if not set(names) <= set(ACTED_IN):
            rows += [[f"{plain(arm)}, {plain(name)}", *_quality_cells(tree[name], notes)] for name in names]
    return Grid(QUALITY, titles, rows)


def _quality_cells(tree: Mapping[str, Any], notes: Notes) -> list[str]:
    ratio, *others = (measure(tree, key) for key in KEYS)
    count = f" (N = {ratio.n})" if ratio.value is not None else ""
    styles = (".3f", ".3g", ".3f")
    return [
        written(ratio, notes) + count,
        *(written(it, notes, style, floor=True) for it, style in zip(others, styles, strict=True)),
    ]


def spaces_of(quality: Mapping[str, Any]) -> list[str]:
    """Names of the features that quality is measured by, the encoder's first."""
    found = [name for name, it in quality.items() if isinstance(it, Mapping)]
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def axes_grid(results: Results, notes: Notes) -> Grid:
    """The distance of each axis from its target and the share of its second side, of each arm; no row for a partition."""
    rows = []
    for arm in arms_of(results):
        axes = results["arms"][arm].get("axes", [])
        balanced = results.get("modes", {}).get("balanced", range(len(axes)))
        for a, tree in enumerate(axes):
            cells = [written(measure(tree, key), notes) for key in ("fd", "share")]
            rows.append([f"{plain(arm)}, axis {a}{'' if a in balanced else ', left alone'}", *cells])
    return Grid(AXES, ["arm, axis", "fd from the target", "share of side 1"], rows)


def agreement_grid(results: Results, notes: Notes) -> Grid:
    """Share of pairs of one seed that are of one class, for those whose mode was switched and for the others."""
    rows = []
    for arm in _compared(results):
        tree = results["arms"][arm].get("paired_agreement", {})
        for attribute in [name for name in attributes_of(results) if name in tree]:
            entries = [measure(tree, attribute, name) for name in ("switched", "unswitched")]
            rows.append([f"{plain(arm)}, {plain(attribute)}", *(_counted(entry, notes) for entry in entries)])
    return Grid(AGREEMENT, ["arm, attribute", "same, mode switched", "same, mode kept"], rows)


def composition_grid(results: Results, notes: Notes) -> Grid:
    """The distance of each attribute that a new mix of vanilla's modes predicts, beside the measured one."""
    rows = []
    for arm in _compared(results):
        tree = results["arms"][arm]
        for attribute in [name for name in attributes_of(results) if name in tree.get("composition", {})]:
            pair = compositions(tree, attribute)
            cells = [written(entry, notes) for entry in pair]
            rows.append([f"{plain(arm)}, {plain(attribute)}", *cells, told(*pair) or "cannot be told"])
    return Grid(COMPOSITION, ["arm, attribute", "fd_hard, predicted", "measured", "measured is"], rows)


def quality_table(results: Results) -> tuple[list[str], list[list[Any]]]:
    """Quality by features as plain numbers, for W&B: (columns, rows); no rows in results of before.

    Example:
        >>> kid = {"kid": {"value": 0.5, "floor": 0.1}}
        >>> said = {"judge": {"name": "J", "dim": 8}}
        >>> columns, (row,) = quality_table({"arms": {"guided": {"quality": {"judge": kid}}}, "spaces": said})
        >>> [dict(zip(columns, row))[name] for name in ("name", "kid", "kid/floor", "kept")]
        ['J', 0.5, 0.1, None]
    """
    facts = ("", "/low", "/high", "/floor")
    columns = ["prompt", "arm", "features", "name", "dim", *(key + fact for key in KEYS for fact in facts)]
    rows: list[list[Any]] = []
    for prompt, one in results["rows"].items() if "rows" in results else [("", results)]:
        for arm in arms_of(one):
            for name in spaces_of(one["arms"][arm].get("quality", {})):
                said, tree = one.get("spaces", {}).get(name, {}), one["arms"][arm]["quality"][name]
                numbers = [finite(tree.get(key, {}).get(fact.strip("/") or "value")) for key in KEYS for fact in facts]
                rows.append([plain(prompt), plain(arm), name, plain(said.get("name", "")), said.get("dim"), *numbers])
    return columns, rows


def grids_in_words(results: Results, shown: Sequence[str]) -> list[str]:
    """What a reader has to know about these tables.

    Args:
        results: The contents of `results.json`.
        shown: Titles of those that are shown.
    """
    lines = []
    if AXES in shown:
        lines.append(
            "Axes: each image is on one of two sides of each axis, side 1 being the smaller one among the collected images. Turned "
            "images are those whose side of any axis changed."
        )
    if QUALITY in shown:
        said = [
            f"{plain(name)}: {plain(it['name'])}, {it['dim']}-d"
            for name, it in sorted(results.get("spaces", {}).items())
        ]
        lines.append(
            f"Features: {'; '.join(said)}. Guidance acts in the encoder's space alone, so that quality measured there is "
            "measured by what was aimed at. Those of judge and pixels are centred on the reference and scaled by one number; KID's "
            "kernel has gamma 1/d there. kept: cosine of kept images with their twins; its floor: that of different vanilla images "
            "of one mode."
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


def _compared(results: Results) -> list[str]:
    """The arms but the baseline; the baseline where it is alone."""
    arms = arms_of(results)
    baseline = results.get("baseline") or "vanilla"
    return [arm for arm in arms if arm != baseline] or arms


def _counted(entry: Measure, notes: Notes) -> str:
    return written(entry, notes) + ("" if entry.value is None else f" (N = {entry.n})")
