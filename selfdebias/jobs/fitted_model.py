"""Whether a pipeline is of the model that a debiaser was fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from selfdebias.backbones.denoisers import find_denoiser
from selfdebias.backbones.pretrained import takes_prompts
from selfdebias.storage.provenance import identity_of, is_same


def check_model(facts: Mapping[str, Any], pipe: Any, say: Callable[[str], None]) -> None:
    """Say it if the weights of a pipeline are not those that were fitted on: others, or trained further.

    Args:
        facts: of the debiaser.
        pipe: the pipeline that it is to be attached to.
        say: warns.

    Raises:
        ValueError: if the fitted pipeline takes prompts and this one does not, or the other way round.
    """
    name, asked = type(pipe).__name__, takes_prompts(pipe)
    prompts = facts.get("prompts")
    if prompts and (list(prompts) != [""]) != asked:
        here, there = ("with a prompt", "without one") if asked else ("without a prompt", "with one")
        raise ValueError(
            f"`pipe` must be of the model that this was fitted on, got a {name}, which draws {here}, where the fitted one draws "
            f"{there}: fit on it, SelfDebias.fit(pipe, ...)."
        )
    fitted, loaded = facts.get("unet"), identity_of(find_denoiser(pipe).module)
    if not isinstance(fitted, Mapping):
        return
    same = None if loaded is None else is_same(fitted, loaded)
    if same is None:
        say(
            "Whether the pipeline is of the fitted model is not checked: its weights are offloaded or rounded otherwise."
        )
    elif not same:
        hashes = fitted.get("float16", "")[:8], (loaded or {}).get("float16", "")[:8]
        say(
            "The weights of this pipeline's denoiser are not those that this debiaser was fitted on ({}; {} there, {} here): if "
            "it is another model, or was trained on, fit on it: SelfDebias.fit(pipe, ...).".format(
                facts["model"], *hashes
            )
        )
