"""What options mean together: the guidance, model and prompts of each arm, and the values that contradict each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from omegaconf import OmegaConf

from selfdebias.config.prompts import PLACE, different_texts, with_place
from selfdebias.config.ranges import check_values
from selfdebias.config.rules import TEXT_NOT_BLANK, ConfigError, refuse, walk
from selfdebias.config.scales import check_scale, model_of_collect
from selfdebias.config.sources import read_option

UNEDITED = ("vanilla", "attribute_prompts")  # arms whose images no edit touches
ONE_PARTITION = "(or choose clustering=spectral)"
_NOUN = re.compile(r"(?P<phrase>\b(?:a|an|the)\s+(?P<noun>[^\s,.;:][^,.;:]*))", re.IGNORECASE)
_NOUN_AFTER_OF = re.compile(rf"\bof\b.*?{_NOUN.pattern}", re.IGNORECASE)


def guidance_of_arms(guidance: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The guidance of each arm: vanilla always; guided, if there is a guidance; and one beside it, if it has an `of`.

    Args:
        guidance: The group's configuration. Its `of`, if it has one, is the guidance of the guided arm, and itself that of the
            third arm: `random`, which replays the other's edits, or `attribute_prompts`, if it has `texts`.
    """
    none = read_option("guidance", "none")
    if guidance["_target_"] == none["_target_"]:
        return {"vanilla": none}
    if "of" not in guidance:
        return {"vanilla": none, "guided": dict(guidance)}
    own = {key: value for key, value in guidance.items() if key != "of"}
    third = "attribute_prompts" if "texts" in own else "random"
    return {"vanilla": none, "guided": dict(guidance["of"]), third: own}


def draws_reference(config: Mapping[str, Any]) -> bool:
    """Whether reference images have to be sampled, since the collected ones are not of the model that arms are sampled from."""
    return config["evaluate"].get("reference") is None and model_of_collect(config) != model_of_arms(config)


def reference_count(config: Mapping[str, Any]) -> int:
    """How many reference images are sampled if `draws_reference`: `evaluate.reference_images`, at most those of collect."""
    return min(config["evaluate"]["reference_images"], config["collect"]["n_images"])


def model_of_arms(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the model that arms are sampled from: `model`, and what `generate.sampler` changes.

    Example:
        >>> model_of_arms({"model": {"steps": 50, "eta": 0.0}, "generate": {"sampler": {"steps": 20}}})
        {'steps': 20, 'eta': 0.0}
    """
    if not (changed := config["generate"].get("sampler")):
        return deepcopy(dict(config["model"]))
    content: Any = OmegaConf.to_container(OmegaConf.merge(dict(config["model"]), dict(changed)))
    return dict(content)


def attribute_texts(text: str, patterns: Sequence[str], generic: str) -> list[str]:
    """The prompt with an attribute stated in each of several ways.

    Args:
        text: A prompt. Its noun is what follows the first article after "of", or the first article where there is no "of", up to
            a comma.
        patterns: At least two different texts, each put in place of article and noun; ``{}`` in it is the noun.
        generic: A noun that is left out at ``{}``.

    Raises:
        ValueError: If the patterns are not so, or the text has no article.

    Example:
        >>> attribute_texts("an emoji of a construction worker", ["a man {}", "a woman {}"], "person")
        ['an emoji of a man construction worker', 'an emoji of a woman construction worker']
        >>> attribute_texts("a photo of a person, raw", ["a young {}", "an old {}"], "")
        ['a photo of a young person, raw', 'a photo of an old person, raw']
        >>> attribute_texts("a person with dark skin", ["a man {}", "a woman {}"], "person")
        ['a man with dark skin', 'a woman with dark skin']
    """
    option = "`guidance.texts` must be at least two different texts"
    if isinstance(patterns, str) or len(set(patterns)) < 2 or len(set(patterns)) < len(patterns):
        raise ValueError(f"{option}, got {patterns!r}.")
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern.strip() or pattern.count(PLACE) > 1:
            raise ValueError(f"{option}, with {PLACE} once at most, got {pattern!r}.")
    found = _NOUN_AFTER_OF.search(text) or _NOUN.search(text)
    if not found:
        raise ValueError(
            f"`prompts.text` must have an article and a noun for guidance=attribute_prompts, such as a nurse, got {text!r}."
        )
    words = found["noun"].split()
    noun = " ".join(words[1:] if words[0].casefold() == generic.casefold() else words)
    before, after = text[: found.start("phrase")], text[found.end("phrase") :]
    return [before + pattern.replace(PLACE, noun).strip() + after for pattern in patterns]


def check_combinations(config: Mapping[str, Any]) -> None:
    """Refuses values that do not go together, some of which would come out only when all images are sampled.

    Args:
        config: A configuration that `selfdebias.config.schema.check_schema` has passed.

    Raises:
        ConfigError: With the first wrong value.
    """
    _check_prompts(config)
    check_scale(config["model"], config["collect"]["relative_scale"])
    check_clustering(config["clustering"], config["collect"]["n_images"])
    _check_space(config)
    for path, value in walk(config["guidance"], "guidance"):
        if path.endswith(".target") and isinstance(value, list):
            _check_shares(path, value, config["clustering"], config["bank"])
    _check_axes(config)
    _check_sampler(config)


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
    k_min, k_max = clustering.get("k_min"), clustering.get("k_max")
    if k_min is not None and k_max is not None and k_max < k_min:
        raise refuse("clustering.k_max", f"a whole number of at least `clustering.k_min`, {k_min}", k_max)
    for least, why in _images_needed(clustering):
        if n < least:
            raise refuse("collect.n_images", f"at least {least}, {why}", n)


def _images_needed(clustering: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yields how many images a clustering needs, and why."""
    name = "k" if clustering.get("k") is not None else "k_max"
    most = clustering.get(name)  # the largest number of modes that it tries
    if most is not None and name == "k_max" and clustering.get("choice") == "stability":
        yield 4 * most, f"four times the {most} modes of `clustering.{name}`, as its halves are clustered"
    elif most is not None:
        yield 2 * most, f"twice the {most} modes of `clustering.{name}`"
    if "min_cluster_size" in clustering:
        yield 2 * clustering["min_cluster_size"], "twice `clustering.min_cluster_size`"
    if "min_samples" in clustering:
        yield clustering["min_samples"], "`clustering.min_samples`"
    if (factors := clustering.get("factors")) is not None:
        m = max(factors) if isinstance(factors, list | tuple) else factors
        words = f"four for each combination of sides of {m} axes: collect more, or look for a partition (clustering=spectral)"
        yield 4 * 2**m, words


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
        if (n := config[stage]["n_images"]) < count:
            raise refuse(f"{stage}.n_images", f"at least {count}, one for each of `prompts.templates`", n)


def _check_space(config: Mapping[str, Any]) -> None:
    """Modes that are found among projected vectors come after the projector, which then knows of none."""
    if config["clustering"].get("space") != "projected":
        return
    if config["projector"].get("balanced") is True:
        raise refuse("projector.balanced", "false where `clustering.space` is projected, as no mode is known yet", True)
    if not str(config["bank"]["_target_"]).endswith(".OwnBank"):
        words = "image or residual where `bank` is not own: a bank needs the modes before its projector"
        raise refuse("clustering.space", words, "projected")
    if len(config["model"].get("blocks") or ()) > 1:
        raise refuse(
            "model.blocks", "null or one block where `clustering.space` is projected", config["model"]["blocks"]
        )
    for path, value in walk(config["guidance"], "guidance"):
        if path.endswith(".temperature") and value == "calibrated":
            raise refuse(
                path, "a number where `clustering.space` is projected, as no temperature is fitted there", value
            )


def _check_shares(path: str, shares: list[float], clustering: Mapping[str, Any], bank: Mapping[str, Any]) -> None:
    """A target must have as many shares as there can be modes, where that is known before they are found."""
    count, k = len(shares), clustering.get("k")
    least, most = clustering.get("k_min", 2), clustering.get("k_max")
    if has_axes(clustering):
        wanted = f"2 shares, of both sides of each axis, the larger first {ONE_PARTITION}"
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
    """Axes can be chosen where there are some."""
    axes, bank = has_axes(config["clustering"]), config["bank"]["_target_"]
    if axes and not str(bank).endswith((".OwnBank", ".CarriedBank")):
        raise refuse("bank", f"own or carried where clustering=axes {ONE_PARTITION}", bank)
    for path, value in walk(config["guidance"], "guidance"):
        if path.endswith(".axes") and value is not None and not axes:
            raise refuse(path, "null where modes are one partition (or choose clustering=axes)", value)
        most = max(config["clustering"]["factors"]) if axes else 0
        named = value if path.endswith(".axes") and axes and isinstance(value, list) else []
        if any(isinstance(axis, int) and axis >= most for axis in named):
            raise refuse(path, f"among 0 to {most - 1}, since `clustering.factors` allows no more axes", value)


def _check_sampler(config: Mapping[str, Any]) -> None:
    """Arms have the size that projector and bank were fitted at."""
    for name, value in (config["generate"].get("sampler") or {}).items():
        if name in ("height", "width", "blocks") and value != (own := config["model"].get(name)):
            words = f"{'null' if own is None else own}, as `model.{name}`, since projector and modes are fitted there"
            raise refuse(f"generate.sampler.{name}", words, value)
