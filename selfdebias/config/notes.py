"""What a command line may not have meant, said before its job runs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from selfdebias.config.compose import compose
from selfdebias.config.overrides import choices, parse
from selfdebias.config.rules import walk
from selfdebias.config.sources import Sources

MOST_LOST = 8  # values that a debug option replaced, of which each is told


def notes_on_subjects(overrides: Sequence[str], subjects: Sequence[str], sources: Sources | None = None) -> list[str]:
    """A line for each subject that is nearly one of those that the chosen protocol has of its own."""
    sources = sources or Sources()
    own = compose(sources, choices(parse(overrides), sources.folders))["prompts"].get("subjects", [])
    near = {it: difflib.get_close_matches(it, own, n=1, cutoff=0.8) for it in subjects if it not in own}
    return [f"`{it}` is not of this protocol; did you mean `{found[0]}`?" for it, found in near.items() if found]


def notes_on_debug(overrides: Sequence[str], sources: Sources | None = None) -> list[str]:
    """A line on the values of the chosen experiment that the debug option replaced, and one on how it changes the method.

    Args:
        overrides: Of one job.
        sources: As in `load`.
    """
    sources = sources or Sources()
    options = {
        it.key_or_group: str(it.input_line) for it in parse(overrides) if it.key_or_group in ("experiment", "debug")
    }
    if "debug" not in options:
        return []

    def values(*left_out: str) -> dict[str, Any]:
        return dict(walk(compose(sources, [text for text in overrides if text not in left_out])))

    final, asked = values(), values(options["debug"])
    method = _method_in_words(options["debug"], final, asked)
    if "experiment" not in options:
        return method
    neither = values(*options.values())
    lost = [key for key, it in asked.items() if it != neither.get(key) and final.get(key) != it]
    whole = [key.removesuffix("._target_") for key in lost if key.endswith("._target_")]  # another option of a group
    lost = [*whole, *(key for key in lost if not key.startswith(tuple(f"{group}." for group in whole)))]
    said = [f"{key}={final[key]}" if key in final else key for key in lost]
    more = f" and {len(said) - MOST_LOST} more" if len(said) > MOST_LOST else ""
    words = f"{options['debug']} replaces values of {options['experiment']}: {', '.join(said[:MOST_LOST])}{more}"
    return [*([words] if said else []), *method]


def _method_in_words(option: str, final: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """A line on how a job with the debug option differs in its method from one without it; none where it does not."""
    kind = ["axes" if "clustering.recurrence" in it else "clusters" for it in (final, asked)]
    steps = [it.get("model.steps") for it in (final, asked)]
    said = [f"{kind[0]} in place of {kind[1]}"] if kind[0] != kind[1] else []
    said += [f"{steps[0]} denoising steps in place of {steps[1]}"] if steps[0] != steps[1] else []
    return [f"{option} also changes the method: {', '.join(said)}"] if said else []
