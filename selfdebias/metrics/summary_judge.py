"""What `results.json` says of the judge's error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selfdebias.judges.confusion import Confusion
from selfdebias.metrics.entries import Entry, missing

UNKNOWN = "the judge states no error for it at this threshold, and `evaluate.labelled` has no images of it"

STATED = "stated by the judge: "


def summarise_error(
    classes: Mapping[str, Sequence[str]], stated: Mapping[str, Confusion], measured: Mapping[str, Confusion]
) -> dict[str, Entry]:
    """State the judge's error on each attribute, or why it is not known.

    Args:
        classes: the judge's, by attribute.
        stated: what the judge says of its own error, by attribute.
        measured: on labelled images, by attribute; goes before what is stated.

    Returns:
        by attribute, `counts` (C, C) with the true class as the row, `accuracy`, `n`, `unclassified`, `skipped` and
        `source`; or null with the reason.

    Example:
        >>> sides = {"side": ["heads", "tails"], "metal": ["gold", "tin"]}
        >>> error = summarise_error(sides, {}, {"side": Confusion([[3, 1], [0, 4]], 2, 0, "labelled folder coins")})
        >>> error["side"]
        {'counts': [[3, 1], [0, 4]], 'accuracy': 0.875, 'n': 8, 'unclassified': 2, 'skipped': 0, 'source': 'labelled folder coins'}
        >>> error["metal"]["value"] is None
        True
    """
    told = {name: (it, f"{STATED}{it.source}") for name, it in stated.items()}
    told |= {name: (it, it.source) for name, it in measured.items()}
    return {name: _entry(names, *told[name]) if name in told else missing(UNKNOWN) for name, names in classes.items()}


def _entry(names: Sequence[str], it: Confusion, source: str) -> Entry:
    left_out = {"n": it.n, "unclassified": it.unclassified, "skipped": it.skipped, "source": source}
    empty = [name for name, row in zip(names, it.counts, strict=True) if not sum(row)]
    if empty:
        return missing(f"no labelled image of {', '.join(empty)} was classified", **left_out)
    return {"counts": it.counts, "accuracy": it.accuracy, **left_out}
