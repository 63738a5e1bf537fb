"""Whether the weights that a configuration names are there, found out without importing what loads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from selfdebias.config.rules import ConfigError
from selfdebias.storage.weights import file as weight_file
from selfdebias.storage.weights import sources
from selfdebias.storage.weights.folders import SAFETY


def check_sources(config: Mapping[str, Any]) -> None:
    """Refuses weights of our own parts that are missing, or lack something, without importing what loads them.

    Raises:
        ConfigError: With what is missing, and the way out.
    """
    for group, part in sorted(_pretrained(config), key=lambda item: item[0] != "model"):  # what was asked for, first
        where = part["pretrained"], part.get("revision"), bool(part.get("allow_pickle"))
        source: sources.Source
        if group == "model":
            without = () if part.get("safety_checker") else SAFETY
            source = sources.PipelineSource(group, *where, variant=part.get("variant"), without=without)
        else:
            source = sources.ModelSource(group, *where)
        _checked(source.check)
    judge, features = config["judge"], config["metrics"].get("features")
    features = features if isinstance(features, Mapping) else {}
    if str(judge["_target_"]).endswith(".FairFaceJudge"):
        _checked(weight_file.fairface(judge.get("weights"), judge.get("sha256")).check)
    if str(features.get("_target_")).endswith(".InceptionFeatures"):
        _checked(weight_file.inception(features.get("weights"), features.get("sha256"), "metrics.features").check)


def _checked(check: Callable[[], Any]) -> None:
    try:
        check()
    except (OSError, ValueError) as error:
        raise ConfigError(" ".join(str(error).split())) from error


def _pretrained(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (dotted path, dictionary) for each part of our own that loads something pretrained."""
    if isinstance(value, Mapping):
        ours = str(value.get("_target_", "")).startswith("selfdebias.")
        texts = all(isinstance(value.get(key), str | None) for key in ("pretrained", "revision", "variant"))
        if (
            ours and texts and value.get("pretrained") is not None
        ):  # of another kind they are refused with the class at hand
            yield path, value
        for key, item in value.items():
            yield from _pretrained(item, f"{path}.{key}" if path else str(key))
