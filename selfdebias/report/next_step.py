"""What to try after a job, in one line: what its numbers lack, else what is worth knowing next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.metrics.number import number_at
from selfdebias.metrics.verdicts import FAIRER
from selfdebias.report.measures import Results, arms_of, batches_of, images_of
from selfdebias.report.movement import is_unsure, modes_came_nearer, share_of
from selfdebias.report.wording import pooled_seeds

FEW = 64  # images of an arm below which shares say little


def next_step(results: Results, config: Mapping[str, Any]) -> str:
    """A sentence with what to add to the command.

    Args:
        results: The contents of `results.json` of a job of one prompt, or of an evaluation of folders.
        config: The job's configuration.
    """
    if "sources" in results:
        return _after_folders(results)
    arms, modes = arms_of(results), results.get("modes") or {}
    n = max((images_of(results, arm) or 0 for arm in arms), default=0)
    if modes.get("k") == 1:
        collected = config.get("collect", {}).get("n_images", 512)
        return f"one mode leaves nothing to balance; look at more images: collect.n_images={2 * collected}"
    if len(arms) == 1:
        return "balance the modes: the same command without guidance=none"
    if n < FEW:
        return f"{n} images say little; the same command with generate.n_images=128"
    lacking = [arm for arm in arms if batches_of(results, arm) == 1]
    if any(results.get("dependence", {}).get(arm) == "run" for arm in lacking):
        seeds = pooled_seeds(config.get("generate", {}).get("seed", 1))
        return f"intervals, by runs that do not depend on each other: the same command with {seeds}"
    if lacking:
        return f"intervals and verdicts; the same command with {more_batches(n)}"
    return _surer(results, config, n) or _stronger(results, config) or _control(config)


def more_batches(n: int) -> str:
    """The overrides that sample twice as many images in two batches of n."""
    return f"generate.n_images={2 * n} generate.batch_size={n}"


def way_to_intervals(results: Results, arm: str) -> str:
    """Why an arm has no intervals, and what gives some; to be read after `no intervals, `."""
    n = images_of(results, arm) or 0
    dependent = results.get("dependence", {}).get(arm) == "run"
    if "sources" in results:
        more = "more images, or a smaller evaluate.drawn_together, give more"
        return "since its batches depend on each other" if dependent else f"1 batch of {n}; {more}"
    if dependent:
        seed = results.get("seeds", {}).get("generate")
        more = pooled_seeds(seed if isinstance(seed, int) else 1)
        return f"since its batches depend on each other; {more} pools runs that do not"
    return f"1 batch of {n}; {more_batches(n)} gives two"


def _after_folders(results: Results) -> str:
    if len(results["arms"]) == 1:
        return "compare it: evaluate.folders=[vanilla_folder,this_folder]"
    if not results.get("modes", {}).get("k"):
        return "shares of the modes of a job: the same command with evaluate.modes=runs/jobs/HASH"
    return "the judge's error on images that you labelled: evaluate.labelled=FOLDER"


def _surer(results: Results, config: Mapping[str, Any], n: int) -> str:
    """More images where shares came nearer to their target and these are too few to be sure of it; "" where they are not."""
    if "guided" not in results["arms"]:
        return ""
    told = _told_of_modes(results)
    unsure = is_unsure(results, "guided", share_of(results, "guided"))
    if not unsure and (not told or FAIRER in told or not modes_came_nearer(results, "guided")):
        return ""
    what = "the shares" if unsure else "the modes"
    seeds = pooled_seeds(config.get("generate", {}).get("seed", 1))
    return (
        f"{what} came nearer to the target; to be sure, more images: generate.n_images={4 * n}, or more seeds: {seeds}"
    )


def _stronger(results: Results, config: Mapping[str, Any]) -> str:
    """A larger strength where the modes of the guided arm are not nearer to the target, or no image changed its mode; else ""."""
    guidance = config.get("guidance") or {}
    path = "guidance.of.strength" if "of" in guidance else "guidance.strength"
    strength = (guidance.get("of") or guidance).get("strength")
    if not isinstance(strength, int | float) or not strength or "guided" not in results["arms"]:
        return ""
    told = _told_of_modes(results)
    changed = number_at(results["arms"]["guided"], "turned", "share").value
    if changed and (not told or FAIRER in told or modes_came_nearer(results, "guided")):
        return ""
    return f"the modes did not come nearer to the target; stronger guidance: {path}={2 * strength:g}"


def _told_of_modes(results: Results) -> list[Any]:
    """The verdicts on the guided arm's modes, or on its axes."""
    told = results.get("verdicts", {}).get("guided", {})
    return [it for name, it in told.items() if name == "modes" or name.startswith("axis ")]


def _control(config: Mapping[str, Any]) -> str:
    guidance = config.get("guidance") or {}
    if "of" in guidance or "strength" not in guidance:
        return "other seeds, which nothing was chosen on: the same command with generate.seed=2"
    strength = guidance["strength"]
    sweep = f"-m guidance.strength={strength / 2:g},{strength:g},{2 * strength:g}"
    return f"how strong? a sweep: the same command with {sweep}"
