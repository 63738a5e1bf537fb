"""What was found by fitting, in a few lines; and guidance and schedule as they are written down beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfdebias.guidance.base import Method
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.metrics.number import finite
from selfdebias.modes.placement import sides_of
from selfdebias.report.bars import as_many, captions_of
from selfdebias.report.wording import number, percent, plain, wrapped

WIDTH, SHOWN = 80, 8  # columns; modes, or axes, that are named
PARTING = 0.9  # total variation between the modes of two prompts, from which these count as the modes


def found_in_words(facts: Mapping[str, Any]) -> list[str]:
    """How many modes were found and how large they are, what balances them, and how well the projector was trained.

    Args:
        facts: Those of a fitted debiaser, as its `debiaser.json` has them.

    Example:
        >>> modes = {"k": 2, "sizes": [90, 38], "words": [[{"caption": "a man"}], [{"caption": "a woman"}]]}
        >>> guidance = {"_target_": "selfdebias.guidance.transport.TransportGuidance"}
        >>> facts = {"modes": modes, "prompts": ["a person"], "projector_cosine": 0.81, "guidance": guidance}
        >>> print(*found_in_words(facts), sep="\\n")
        SelfDebias: 2 modes found on 128 images of "a person": 70% man; 30% woman
        projector: mean cosine 0.81 to the embeddings of held-out images (1 is best)
        TransportGuidance balances them: with debiaser.attach(pipe): images = pipe(...)
        >>> facts["modes"] |= {"axes": [{}]}
        >>> found_in_words(facts)[0]
        'SelfDebias: 1 axis found on 128 images of "a person": axis 0 70% man / 30% woman'
    """
    modes, cosine = facts.get("modes", {}), finite(facts.get("projector_cosine"))
    sizes, words = modes.get("sizes") or [], captions_of(modes.get("words") or [], facts.get("prompts", []))
    pair = 2 if modes.get("axes") else 1
    images, count = sum(sizes[:2] if pair == 2 else sizes), len(sizes) // pair
    kind = ("axis" if count == 1 else "axes") if pair == 2 else ("mode" if count == 1 else "modes")
    each = [
        (f"axis {it} " if pair == 2 else "")
        + " / ".join(_side(sizes, words, mode, images) for mode in range(pair * it, pair * it + pair))
        for it in range(count)
    ]
    more = f"; and {count - SHOWN} more" if count > SHOWN else ""
    prompts = ", ".join(f'"{plain(text)}"' for text in facts.get("prompts", []) if text)
    of = f" of {prompts}" if prompts else ""
    lines = wrapped(f"SelfDebias: {count} {kind} found on {images} images{of}: {'; '.join(each[:SHOWN])}{more}", WIDTH)
    if cosine is not None:
        lines.append(f"projector: mean cosine {number(cosine, '.2f')} to the embeddings of held-out images (1 is best)")
    if parting := parting_prompts(modes.get("by_prompt", {}), pair):
        numbers = ("axis " if len(parting) == 1 else "axes ") + ", ".join(map(str, parting))
        by = numbers if pair == 2 else "the modes"
        said = f"caution: prompts differ nearly wholly by {by}, so guidance would make images of one like those"
        lines += wrapped(f"{said} of another; fit one prompt, with the others as fitting_prompts", WIDTH)
    name = str(facts.get("guidance", {}).get("_target_", "")).rpartition(".")[2]
    return [*lines, f"{plain(name)} balances them: with debiaser.attach(pipe): images = pipe(...)"]


def shares_by_prompt(modes: Mapping[str, Any], prompts: Sequence[str]) -> dict[str, list[float]]:
    """Return what share of each prompt's images each mode has, (K,), or each side of each axis, (2 A,).

    Args:
        modes: as a discover stage writes them, with the `labels` of images by their numbers.
        prompts: of the images, which take turns.

    Example:
        >>> labels = {str(i): mode for i, mode in enumerate([0, 1, 0, 1, 0, 0, 0, 1])}
        >>> shares_by_prompt({"labels": labels, "sizes": [5, 3]}, ["a doctor", "a nurse"])
        {'a doctor': [1.0, 0.0], 'a nurse': [0.25, 0.75]}
        >>> shares_by_prompt({"labels": {"0": 0, "3": 1}, "sizes": [1, 1]}, ["a doctor", "a nurse"])  # two were blanked
        {'a doctor': [1.0, 0.0], 'a nurse': [0.0, 1.0]}
    """
    numbers = np.array(sorted(map(int, modes["labels"])))  # without those of images that a safety checker blanked
    cells, prompt = np.array([modes["labels"][str(i)] for i in numbers]), numbers % len(prompts)
    axes, count = len(modes.get("axes", [])), len(modes["sizes"])
    sides = sides_of(cells, axes) + 2 * np.arange(axes) if axes else cells[:, None]
    held = (sides[:, :, None] == np.arange(count)).any(axis=1)  # (N, count)
    known = [(i, text) for i, text in enumerate(prompts) if (prompt == i).any()]
    return {text: held[prompt == i].mean(axis=0).tolist() for i, text in known}


def parting_prompts(by_prompt: Mapping[str, Sequence[float]], size: int) -> list[int]:
    """Return the axes, or 0 for a partition, by which nearly all images of one prompt differ from nearly all of another.

    Args:
        by_prompt: as `shares_by_prompt` gives it.
        size: shares that sum to 1: 2 of axes, 1 for all of them.

    Example:
        >>> parting_prompts({"a doctor": [0.97, 0.03, 0.6, 0.4], "a nurse": [0.02, 0.98, 0.4, 0.6]}, 2)
        [0]
    """
    if len(by_prompt) < 2:
        return []
    shares = np.array(list(by_prompt.values()))
    groups = shares.reshape(len(shares), -1, 2) if size == 2 else shares[:, None, :]
    apart = np.abs(groups[:, None] - groups[None]).sum(axis=3).max(axis=(0, 1)) / 2  # total variation, by group
    return [int(a) for a in np.flatnonzero(apart >= PARTING)]


def _side(sizes: list[int], words: list[list[str]], mode: int, images: int) -> str:
    """The share of a mode, or of a side of an axis, with its first caption."""
    told = as_many(words[mode], 24) if mode < len(words) else ""
    return f"{percent(sizes[mode] / max(1, images))} {told}".strip()


def described(guidance: Method, schedule: GuidanceWindow) -> dict[str, Any]:
    """Return guidance and schedule as configuration: the class and its hyper-parameters."""
    return {
        name: {"_target_": f"{type(part).__module__}.{type(part).__qualname__}", **vars(part)}
        for name, part in (("guidance", guidance), ("schedule", schedule))
    }
