"""What is said before a job runs: what starts, and what its images cannot tell."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from selfdebias.config.combinations import UNEDITED, draws_reference, guidance_of_arms, has_axes, reference_count
from selfdebias.config.notes import notes_on_debug
from selfdebias.config.sources import Sources
from selfdebias.config.targets import make
from selfdebias.report.wording import by_text, plain, pooled_seeds, wrapped

WIDTH = 80


def seen_at_once() -> bool:
    """Whether somebody waits at a terminal: what starts is then said before anything slow, elsewhere once all is checked."""
    return sys.stdout.isatty()


def say_replaced(overrides: Sequence[str], sources: Sources) -> None:
    """Prints which values of an experiment a debug option replaced, and how it changes the method.

    Args:
        overrides: Of one job.
        sources: Where its configuration is composed from.
    """
    for note in notes_on_debug(overrides, sources):
        print(*wrapped(plain(note), WIDTH), sep="\n", flush=True)


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


def untold_in_words(config: Mapping[str, Any], has_seeds: bool = False) -> list[str]:
    """Which arms will have no interval, and so no verdict, or a useless one, since images of a batch depend on each other.

    Args:
        config: The resolved configuration.
        has_seeds: Whether the job is one of a sweep over `generate.seed`, whose table pools runs that do not depend on each other.
    """
    if config["evaluate"]["folders"] or not {"generate", "evaluate"} <= set(config["stages"]):
        return []
    why: list[tuple[str, str]] = []
    generate = config["generate"]
    n, size, seeds = generate["n_images"], generate["batch_size"], pooled_seeds(generate["seed"])
    templates = len(config["prompts"].get("templates") or [""])
    arms = guidance_of_arms(config["guidance"])
    for arm, guidance in arms.items():
        own = arms["guided"] if arm == "random" else guidance  # whose edits it repeats
        on = "image" if arm in UNEDITED else getattr(make({"guidance": own}, "guidance"), "dependence", "batch")
        if templates > 1 or on == "image":
            continue
        if n <= size:
            why.append((f"one batch of {n} images gives no interval; generate.n_images={2 * size} gives two", arm))
        elif has_seeds:
            continue
        elif n <= 2 * size:
            why.append((f"two batches give intervals that say little; generate.n_images={4 * size} gives four", arm))
        elif on == "run" or (on == "remainder" and (when := _carried(config, own, size)) is not None):
            if_so = "" if on == "run" else when
            because = f"one run gives no interval, since each batch depends on the one before{if_so}"
            why.append((f"{because}; three runs give one: {seeds}", arm))
    return [line for text, names in by_text(why).items() for line in wrapped(f"{names}: {text}", WIDTH)]


def _carried(config: Mapping[str, Any], guidance: Mapping[str, Any], size: int) -> str | None:
    """Whether a batch leaves a rounding remainder to the next one: None if not, else the condition where it is not known yet."""
    target, clustering = guidance.get("target"), config["clustering"]
    k = 2 if has_axes(clustering) else clustering.get("k")
    if "attribute" in config["bank"] or clustering.get("max_depth"):
        k = None  # the classes of a judge, or clusters that are cut further
    if target == "depth":
        return f" (unless each mode's share of {size}, the batch size, is a whole number)"
    if not isinstance(target, list) and k is None:
        return f" (unless {size}, the batch size, is a multiple of the number of modes)"
    shares = target if isinstance(target, list) else [1 / k] * k
    return "" if any(abs(size * share - round(size * share)) > 1e-6 for share in shares) else None
