"""The oracle that knows the attribute: other prompts in equal shares, and no edit."""

from __future__ import annotations

from collections.abc import Sequence

from selfdebias.config.prompt_texts import attribute_texts
from selfdebias.guidance.base import NoGuidance


class AttributePrompts(NoGuidance):
    """Leaves every activation as it is; the images are drawn from prompts that state an attribute.

    Args:
        texts: what stands in place of the prompt's noun and its article, each for an equal share of the images; ``{}`` is the
            noun: "a man {}", "a woman {}".
        generic: a noun that says no more than the texts do, and is left out: "person".

    Raises:
        ValueError: if `texts` has not at least two different texts, or one has ``{}`` twice.

    References:
        As Fair-Diffusion (arXiv 2302.10893) has it, by prompts alone.
    """

    def __init__(self, texts: Sequence[str], generic: str = "person"):
        self.texts, self.generic = list(texts), generic
        attribute_texts("a thing", self.texts, generic)
