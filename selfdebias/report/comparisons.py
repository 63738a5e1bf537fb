"""How arms compare: verdicts, and tables of differences, axes, quality by features, agreement of pairs and composition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selfdebias.metrics.number import Number, number_at
from selfdebias.metrics.verdicts import IN_WORDS, LESS_FAIR, holm
from selfdebias.report.measures import Results, arms_of, attributes_of, differences_from
from selfdebias.report.table import Table
from selfdebias.report.wording import Notes, by_text, counted, number, plain, written

QUALITY = "Quality by feature space (guidance acts in the encoder's)"
AGREEMENT = "Class of the vanilla twin"
COMPOSITION = "Composition"
AXES = "Axes"
DIFFERENCES = "Paired differences"
ACTED_IN = ("encoder", "extractor")  # quality by these stands in the columns already
KEYS = ("turned_precision_ratio", "precision", "kid", "kept", "vendi")
ORDER = (*ACTED_IN, "judge", "pixels")
AS_PREDICTED, BEYOND, BELOW, UNTOLD = "as predicted", "beyond it", "below it", "no detectable difference"


def grids(results: Results, notes: Notes) -> list[Table]:
    """All such tables that the results have numbers for; earlier results have none.

    Args:
        results: The contents of `results.json`.
        notes: Takes the reasons of the numbers that are null.
    """
    found = (
        make(results, notes) for make in (differences_grid, axes_grid, quality_grid, agreement_grid, composition_grid)
    )
    return [grid for grid in found if grid.rows]


def quality_grid(results: Results, notes: Notes) -> Table:
    """Quality in each space of features, of each arm but the baseline; no row where there is but the encoder's."""
    titles = ["arm, features", "precision of switched", "precision", "KID", "kept", "Vendi score"]
    styles = {"precision": ".3f", "kid": ".3g", "kept": ".3f", "vendi": ".3g"}
    rows = []
    for arm in _compared(results):
        tree = results["arms"][arm].get("quality", {})
        names = [name for name in spaces_of(tree) if any(number_at(tree, name, key).value is not None for key in KEYS)]
        for name in names if not set(names) <= set(ACTED_IN) else []:
            ratio = counted(number_at(tree, name, "turned_precision_ratio"), notes)
            cells = [written(number_at(tree, name, key), notes, style, floor=True) for key, style in styles.items()]
            rows.append([f"{plain(arm)}, {plain(name)}", ratio, *cells])
    return Table(titles, rows, QUALITY)


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


def differences_grid(results: Results, notes: Notes) -> Table:
    """The differences in fairness of each arm from the baseline, and from the guided arm, where they are of the same seeds."""
    rows: list[list[str]] = []
    for other in arms_of(results):
        found = differences_from(results, other)
        p = holm([it.more.get("p") for it in found.values()])
        for ((arm, name), it), corrected in zip(found.items(), p, strict=True):
            p_value = "" if corrected is None else number(corrected, ".2g")
            rows.append([f"{plain(arm)} - {plain(other)}, {plain(name)}", written(it, notes), p_value])
    return Table(["arms, of what", "difference in fd", "p (Holm)"], rows, DIFFERENCES)


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
    spaces = sorted(results.get("spaces", {}).items())
    said = "; ".join(f"{plain(name)}: {plain(it.get('name'))}, {it.get('dim')}-d" for name, it in spaces)
    meanings = {
        DIFFERENCES: "Paired differences: below 0 the first arm is nearer to its target; both arms' numbers under the same weights "
        "of batches, since they start from the same seeds. p (Holm): corrected for the number of rows against the same arm.",
        AXES: "Axes: each image is on one of two sides of each axis, side 1 being the smaller one among the collected images, "
        "unless they are about equal. Switched images are those whose side of any axis changed.",
        QUALITY: f"Features: {said}. Guidance acts in the encoder's space alone, so that quality measured there is "
        "measured by what was aimed at. Those of judge and pixels are centred on the reference and scaled by one number; KID's "
        "kernel has gamma 1/d there. kept: cosine of unswitched images with their twins; its floor: that of different vanilla "
        "images of one mode.",
        AGREEMENT: f"{AGREEMENT}: share of pairs of one seed in which the judge sees the same class, where it is sure of both. "
        "Shares of classes may stay while images change theirs both ways.",
        COMPOSITION: "Composition: predicted is the fd_hard of vanilla images weighted so that their modes have the arm's shares; "
        "any method that mixes the modes anew pays it, selection too. As predicted: the measured value is inside of the "
        "predicted interval; beyond it: the intervals are apart.",
    }
    return [text for title, text in meanings.items() if title in shown]


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
    tree = arm.get("composition", {})
    return number_at(tree, attribute, "predicted_fd_hard"), number_at(tree, attribute, "measured_fd_hard")


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


def verdicts_in_words(results: Results) -> list[str]:
    """Which arms are fairer than the baseline: by the paired difference, else said only where the intervals are apart."""
    baseline = str(results.get("baseline") or "vanilla")
    family = len(differences_from(results, baseline))
    paired = f"by the paired difference, with Holm's correction over {family} of them"
    how = paired if family else "the intervals do not overlap"
    lines = []
    for arm, verdicts in results.get("verdicts", {}).items():
        told, names = [], _in_order(results, verdicts, range(len(results.get("modes", {}).get("axes", []))))
        for name in [name for name in names if verdicts[name]]:
            composed = composed_in_words(results["arms"][arm], name) if verdicts[name] == LESS_FAIR else ""
            told.append(f"{plain(name)} {IN_WORDS[verdicts[name]]}{composed}")
        said = [f"{'; '.join(told)} (fairer, less fair: {how})"] if told else []
        untold = by_text((_untold(results, arm, name), name) for name in names if not verdicts[name])
        said += [f"{names}: cannot be told ({reason})" for reason, names in untold.items()]
        lines.append(f"{plain(arm)} against {plain(baseline)}, by fd: {'; '.join(said)}.")
    return lines


def _in_order(results: Results, verdicts: Mapping[str, Any], axes: Iterable[int]) -> list[str]:
    """What verdicts are about, in the order of the attributes, which a file does not keep; axes or the modes come last."""
    return [name for name in [*attributes_of(results), *(f"axis {a}" for a in axes), "modes"] if name in verdicts]


def _untold(results: Results, arm: str, name: str) -> str:
    """Why there is no verdict: the reason of the first of the two distances that lacks a value or an interval.

    A verdict is about an attribute, about `modes`, or about `axis 0` and so on.
    """
    for tree in (results["arms"][arm], results["arms"][results.get("baseline") or "vanilla"]):
        if name.startswith("axis ") and name not in tree:
            entry = tree["axes"][int(name.removeprefix("axis "))]["fd"]
        else:
            entry = tree["mode_fd"] if name == "modes" else tree[name]["fd_hard"]
        if entry.get("low") is None:
            return plain(entry["reason"]).removeprefix("no interval: ")
    raise ValueError(f"`verdicts` must be given where both have an interval, got none of {arm} in {name}.")


def verdicts_in_short(results: Results) -> list[str]:
    """What is fairer and less fair than in the baseline: one sentence for each arm, without the axes that were left alone.

    Example:
        >>> arms = {"vanilla": {}, "guided": {"shares": {"gender": {}, "age": {}}}}
        >>> told = {"gender": "fairer", "age": "not told apart", "axis 0": "fairer", "axis 1": "less fair"}
        >>> modes = {"axes": [{}, {}], "balanced": [0]}
        >>> verdicts_in_short({"arms": arms, "modes": modes, "verdicts": {"guided": told}})
        ['guided against vanilla, by fd: fairer in gender, axis 0; no detectable difference in age.']
    """
    baseline = plain(results.get("baseline") or "vanilla")
    return [f"{plain(arm)} against {baseline}, by fd: {said}." for arm, said in verdicts_by_arm(results).items()]


def verdicts_by_arm(results: Results) -> dict[str, str]:
    """The same without the arms' names, by arm; an arm without a verdict is left out."""
    modes, found = results.get("modes", {}), dict[str, str]()
    axes = modes.get("balanced", range(len(modes.get("axes", []))))
    for arm, verdicts in results.get("verdicts", {}).items():
        names: dict[str | None, list[str]] = {verdict: [] for verdict in IN_WORDS}
        for name in _in_order(results, verdicts, axes):
            names[verdicts[name]].append(plain(name))
        said = [f"{IN_WORDS[verdict]} in {', '.join(of)}" for verdict, of in names.items() if of]
        found |= {arm: "; ".join(said)} if said else {}
    return found


def _compared(results: Results) -> list[str]:
    """The arms but the baseline; the baseline where it is alone."""
    arms = arms_of(results)
    baseline = results.get("baseline") or "vanilla"
    return [arm for arm in arms if arm != baseline] or arms
