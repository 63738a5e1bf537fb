"""Whether an arm's distance of an attribute is what a new mix of the modes does by itself, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.report.measures import Measure, measure
from selfdebias.report.wording import Notes, written

AS_PREDICTED, BEYOND, BELOW, UNTOLD = "as predicted", "beyond it", "below it", "not told apart from it"


def told(predicted: Measure, measured: Measure) -> str:
    """Hold a measured distance against the one that reweighting the modes predicts; "" where an interval is missing.

    As predicted: the value is inside of the predicted interval. Beyond or below it: the intervals are apart.

    Example:
        >>> age = Measure(0.488, 0.448, 0.528)
        >>> [told(age, it) for it in (Measure(0.465, 0.435, 0.494), Measure(0.6, 0.55, 0.65), Measure(0.54, 0.5, 0.58))]
        ['as predicted', 'beyond it', 'not told apart from it']
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


def compositions(arm: Mapping[str, Any], attribute: str) -> tuple[Measure, Measure]:
    """The predicted and the measured `fd_hard` of an attribute; nulls in results of before."""
    predicted, measured = (f"{name}_fd_hard" for name in ("predicted", "measured"))
    tree = arm.get("composition", {})
    return measure(tree, attribute, predicted), measure(tree, attribute, measured)


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
        UNTOLD: f", not told apart from what reweighting the modes predicts ({value})",
    }
    return words.get(verdict, "")
