"""What was found by fitting, in a few lines; and guidance and schedule as they are written down beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.guidance.base import Method
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.metrics.number import finite
from selfdebias.report.bars import as_many, captions_of
from selfdebias.report.wording import number, percent, plain, wrapped

WIDTH, SHOWN = 80, 8  # columns; modes, or axes, that are named


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
    name = str(facts.get("guidance", {}).get("_target_", "")).rpartition(".")[2]
    return [*lines, f"{plain(name)} balances them: with debiaser.attach(pipe): images = pipe(...)"]


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
