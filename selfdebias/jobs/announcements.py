"""What is said before a job runs: what starts, and what its images cannot tell."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from selfdebias.config.combinations import UNEDITED, draws_reference, guidance_of_arms, reference_count
from selfdebias.config.targets import make
from selfdebias.report.wording import by_text, plain, wrapped

WIDTH = 80


def seen_at_once() -> bool:
    """Whether somebody waits at a terminal: what starts is then said before anything slow, elsewhere once all is checked."""
    return sys.stdout.isatty()


def start_in_words(config: Mapping[str, Any]) -> list[str]:
    """What a job is about to do, in a line or two.

    Args:
        config: The resolved configuration.

    Example:
        >>> prompts, guidance = {"text": "a cat"}, {"_target_": "a.B"}
        >>> asked = {"stages": ["collect", "generate", "report"], "prompts": prompts, "guidance": guidance, "model": {}}
        >>> counts = {"collect": {"n_images": 64}, "generate": {"n_images": 32}, "evaluate": {"folders": None, "reference": None}}
        >>> print(*start_in_words({**asked, **counts}))
        starts: "a cat", 64 images to find modes in, then 32 vanilla and 32 guided
    """
    stages, folders = config["stages"], config["evaluate"]["folders"]
    if folders:
        names = list(folders) if isinstance(folders, Mapping) else folders
        return wrapped(f"starts: evaluation of {', '.join(plain(it) for it in names)}", WIDTH)[:2]
    prompts = config["prompts"]
    many, said = len(prompts.get("subjects", [])), []
    if "collect" in stages:
        said.append(f"{config['collect']['n_images']} images to find modes in")
        if "evaluate" in stages and draws_reference(config):
            said.append(f"{reference_count(config)} to compare with")
    if "generate" in stages:
        arms = [f"{config['generate']['n_images']} {plain(arm)}" for arm in guidance_of_arms(config["guidance"])]
        said.append(f"then {' and '.join(arms)}")
    whole = (
        f"{many} prompts, each with"
        if many
        else f'"{plain(prompts["text"])}",'
        if prompts.get("text")
        else "no prompt,"
    )
    others = [stage for stage in stages if stage not in ("collect", "generate")]
    return wrapped(f"starts: {whole} {', '.join(said or others)}", WIDTH)[:3]


def untold_in_words(config: Mapping[str, Any]) -> list[str]:
    """Which arms will have no interval, and so no verdict, since all of their images depend on each other; and what gives one.

    Args:
        config: The resolved configuration.
    """
    if config["evaluate"]["folders"] or not {"generate", "evaluate"} <= set(config["stages"]):
        return []
    why: list[tuple[str, str]] = []
    n, size = config["generate"]["n_images"], config["generate"]["batch_size"]
    templates = len(config["prompts"].get("templates") or [""])
    arms = guidance_of_arms(config["guidance"])
    for arm, guidance in arms.items():
        own = arms["guided"] if arm == "random" else guidance  # whose edits it repeats
        on = "image" if arm in UNEDITED else getattr(make({"guidance": own}, "guidance"), "dependence", "batch")
        if templates > 1 or on == "image":
            continue
        if on == "run":
            why.append(("one memory for all images gives no interval; guidance.decay=0 keeps none", arm))
        elif n <= size:
            why.append((f"one batch of {n} images gives no interval; generate.n_images={2 * size} gives two", arm))
    return [line for text, names in by_text(why).items() for line in wrapped(f"{names}: {text}", WIDTH)]
