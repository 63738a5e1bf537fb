"""Which values go together, where each of them is in its range; some of it would come out only when all images are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.config.prompt_texts import different_texts, with_place
from selfdebias.config.ranges import check_values
from selfdebias.config.rules import TEXT_NOT_BLANK, ConfigError, refuse, walk


def check_combinations(config: Mapping[str, Any]) -> None:
    """Refuses values that do not go together.

    Args:
        config: A configuration that `selfdebias.config.schema.check_schema` has passed.

    Raises:
        ConfigError: With the first wrong value.
    """
    _check_prompts(config)
    _check_scale(config["model"], config["collect"]["relative_scale"])
    check_clustering(config["clustering"], config["collect"]["n_images"])
    _check_space(config)
    for path, value in walk(config["guidance"], "guidance"):
        if path.endswith(".target") and isinstance(value, list):
            _check_shares(path, value, config["clustering"], config["bank"])
    _check_axes(config)


def part_of_scale(scale: float, relative: float) -> float:
    """A part of a classifier-free guidance scale; one that turns guidance off, at most 1, stays as it is.

    Example:
        >>> part_of_scale(7.5, 0.5), part_of_scale(1.0, 0.5)
        (3.75, 1.0)
    """
    return scale * relative if scale > 1 else scale


def check_clustering(clustering: Mapping[str, Any], n: int) -> None:
    """Refuses hyper-parameters of a clustering that are out of range or contradict each other, and too few images for them.

    Args:
        clustering: The hyper-parameters by name; what else is among them is not looked at.
        n: Images whose modes are looked for.

    Raises:
        ConfigError: With the first that is wrong.
    """
    check_values("clustering", clustering)
    if has_axes(clustering) and clustering.get("space", "image") != "image":
        raise refuse("clustering.space", "image for axes", clustering["space"])
    k, k_min, k_max = (clustering.get(name) for name in ("k", "k_min", "k_max"))
    if k_min is not None and k_max is not None and k_max < k_min:
        raise refuse("clustering.k_max", f"a whole number of at least `clustering.k_min`, {k_min}", k_max)
    for least, why in _images_needed(clustering, *(("k", k) if k is not None else ("k_max", k_max))):
        if n < least:
            raise refuse("collect.n_images", f"at least {least}, {why}", n)


def _images_needed(clustering: Mapping[str, Any], name: str, most: int | None) -> list[tuple[int, str]]:
    """How many images a clustering needs, and why; `most` is the largest number of modes that it tries, and `name` says so."""
    needed = []
    if most is not None and name == "k_max" and clustering.get("choice") == "stability":
        needed.append((4 * most, f"four times the {most} modes of `clustering.{name}`, as its halves are clustered"))
    elif most is not None:
        needed.append((2 * most, f"twice the {most} modes of `clustering.{name}`"))
    if "min_cluster_size" in clustering:
        needed.append((2 * clustering["min_cluster_size"], "twice `clustering.min_cluster_size`"))
    if "min_samples" in clustering:
        needed.append((clustering["min_samples"], "`clustering.min_samples`"))
    factors = clustering.get("factors")
    if factors is not None:
        m = max(factors) if isinstance(factors, list | tuple) else factors
        words = f"four for each combination of {m} factors: collect more, or look for a partition (clustering=spectral)"
        needed.append((4 * 2**m, words))
    return needed


def has_axes(clustering: Mapping[str, Any]) -> bool:
    """Whether a clustering looks for axes in place of one partition."""
    return "recurrence" in clustering


def _check_prompts(config: Mapping[str, Any]) -> None:
    prompts = config["prompts"]
    none = str(prompts["_target_"]).endswith(".NoPrompt")  # says itself that it takes no text
    text = prompts.get("text")
    if "subjects" not in prompts and not (none and text == "") and not TEXT_NOT_BLANK.holds(text):
        raise refuse("prompts.text", TEXT_NOT_BLANK.words, text)
    try:
        if "subjects" in prompts:
            different_texts("subjects", prompts["subjects"])
        count = len(with_place(prompts["templates"])) if "templates" in prompts else 1
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for stage in ("collect", "generate"):
        if config[stage]["n_images"] < count:
            words = f"at least {count}, one for each of `prompts.templates`"
            raise refuse(f"{stage}.n_images", words, config[stage]["n_images"])


def _check_scale(model: Mapping[str, Any], relative: float) -> None:
    """Guidance edits both branches, so that both have to be there among the images that it is fitted on."""
    scale = model.get("guidance_scale", 1)
    if relative != 1 and scale > 1 >= part_of_scale(scale, relative):
        words = f"1, or larger than {1 / scale:.3g}: `model.guidance_scale`, {scale}, times it must be larger than 1"
        raise refuse("collect.relative_scale", words, relative)


def _check_space(config: Mapping[str, Any]) -> None:
    """Modes that are found among projected vectors come after the projector, which then knows of none."""
    if config["clustering"].get("space") != "projected":
        return
    if config["projector"].get("balanced") is True:
        raise refuse("projector.balanced", "false where `clustering.space` is projected, as no mode is known yet", True)
    if not str(config["bank"]["_target_"]).endswith(".OwnBank"):
        words = "image or residual where `bank` is not own: a bank needs the modes before its projector"
        raise refuse("clustering.space", words, "projected")


def _check_shares(path: str, shares: list[float], clustering: Mapping[str, Any], bank: Mapping[str, Any]) -> None:
    """A target must have as many shares as there can be modes, where that is known before they are found."""
    count, k = len(shares), clustering.get("k")
    least, most = clustering.get("k_min", 2), clustering.get("k_max")
    if has_axes(clustering):
        wanted = "2 shares, of both sides of each axis, the larger first (or choose clustering=spectral)"
        known = count == 2
    elif clustering.get("max_depth") or "attribute" in bank:
        return  # clusters are cut further, or are the classes of a judge
    elif k is not None:
        wanted, known = f"{k} shares, one for each mode of `clustering.k`", count == k
    else:
        wanted = f"as many shares as modes, {least} to {most} (`clustering.k_min`, `clustering.k_max`)"
        known = most is None or least <= count <= most
    if not known:
        raise refuse(path, wanted, shares)


def _check_axes(config: Mapping[str, Any]) -> None:
    """Axes can be chosen where there are some, and two passes know of none."""
    axes, bank = has_axes(config["clustering"]), config["bank"]["_target_"]
    if axes and not str(bank).endswith((".OwnBank", ".CarriedBank")):
        raise refuse("bank", "own or carried where clustering=axes (or choose clustering=spectral)", bank)
    for path, value in walk(config["guidance"], "guidance"):
        if path.endswith(".axes") and value is not None and not axes:
            raise refuse(path, "null where modes are one partition (or choose clustering=axes)", value)
        if axes and path.endswith("._target_") and str(value).endswith(".TwoPassGuidance"):
            words = (
                "one that draws once where clustering=axes, such as guidance=transport (or choose clustering=spectral)"
            )
            raise refuse("guidance", words, "two_pass")
