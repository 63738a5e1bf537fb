"""The prompts of a job: those of its rows, those that a bank is fitted on, and those that tell an arm the attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from selfdebias.config.combinations import attribute_texts
from selfdebias.config.prompts import PLACE, EqualShares, NoPrompt, PromptList, Prompts, row_names
from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.targets import make
from selfdebias.modes.banks import CarriedBank, MixtureBank, SharedBank

BANK = "(bank)"  # what stands for a row in the names of stages that all rows share; no row has such a name
TARGET = f"{Prompts.__module__}.{Prompts.__qualname__}"
SOURCE = "source"  # name of the prompt that modes are transferred from


def rows_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The configuration of each row by its name, in order: that of a job which has the row's prompt alone.

    Args:
        config: The resolved configuration. Without a list of prompts, or where folders are
            evaluated, it is its own single row, "".

    Raises:
        ConfigError: If the prompts refuse a value.
    """
    prompts = make(config, "prompts")
    if config["evaluate"]["folders"] or not isinstance(prompts, PromptList):
        return {"": dict(config)}
    return {name: {**config, "prompts": {"_target_": TARGET, **facts_of(row)}} for name, row in prompts.rows().items()}


def facts_of(prompts: Prompts | NoPrompt) -> dict[str, Any]:
    """What is said of prompts in files, as JSON values; `templates` only where there are some.

    Example:
        >>> facts_of(Prompts("a cat", ["animal"]))
        {'text': 'a cat', 'attributes': ['animal']}
    """
    facts = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(prompts).items()}
    if facts.get("templates") == [PLACE]:
        del facts["templates"]
    return facts


def prompts_of_bank(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The configuration of each prompt that the job's shared bank is fitted on, by a name; empty where each row has its own bank.

    Raises:
        ConfigError: As `fitted_prompts` does.
    """
    bank = make(config, "bank")
    if config["evaluate"]["folders"] or not isinstance(bank, SharedBank):
        return {}
    return fitted_prompts(bank, {name: row["prompts"] for name, row in rows_of(config).items()}, config["clustering"])


def fitted_prompts(
    bank: SharedBank, rows: Mapping[str, Mapping[str, Any]], clustering: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The configuration of each prompt that a shared bank is fitted on, by a name; that of a source comes first.

    Args:
        bank: The bank.
        rows: Configuration of the prompts of each row.
        clustering: Configuration of the clustering.

    Raises:
        ConfigError: If the model takes no prompts, or a mixture has one prompt alone, or lacks some of the job's whose means it
            may need.
    """
    first = next(iter(rows.values()))
    if not first.get("text"):
        raise ConfigError("`bank` must be own for a model without prompts: there is nothing to carry over (bank=own).")
    texts = None if bank.fitting is None else dict(zip(row_names(bank.fitting), bank.fitting, strict=True))
    others = dict(rows) if texts is None else {name: _prompts(text, first) for name, text in texts.items()}
    if isinstance(bank, MixtureBank):
        if len(others) < 2:
            raise refuse(
                "bank.fitting", "at least two prompts, where the job has one (or take bank=carried)", bank.fitting
            )
        mixed = [str(prompts.get("text")) for prompts in others.values()]
        missing = [text for row in rows.values() if (text := str(row.get("text"))) not in mixed]
        if missing and not _two_modes(clustering):
            words = (
                f"a list that holds all of the job's prompts, and lacks {', '.join(map(repr, missing))}: add them, or take "
                f"bank.fitting=null, clustering.k=2 (two modes hold for other prompts too) or bank=carried"
            )
            raise refuse("bank.fitting", words, mixed)
        return {name: dict(prompts) for name, prompts in others.items()}
    assert isinstance(bank, CarriedBank)
    source = _prompts(bank.source, first)
    beside = {
        name or "prompt": dict(prompts)
        for name, prompts in others.items()
        if any(prompts.get(option) != source.get(option) for option in ("text", "templates"))
    }
    return {SOURCE: source} | {(f"{name}-2" if name == SOURCE else name): it for name, it in beside.items()}


def attribute_prompts(prompts: Mapping[str, Any], guidance: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the prompts that state an attribute, in place of a row's.

    Args:
        prompts: Configuration of the row's prompts.
        guidance: Configuration of `AttributePrompts`: its `texts` and its `generic` noun.

    Raises:
        ConfigError: If the prompt has no noun to which an attribute could be given.
    """
    try:
        texts = attribute_texts(str(prompts.get("text", "")), guidance["texts"], str(guidance.get("generic", "")))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    kept = {name: prompts[name] for name in ("attributes", "templates") if name in prompts}
    return {"_target_": f"{EqualShares.__module__}.{EqualShares.__qualname__}", "texts": texts, **kept}


def _two_modes(clustering: Mapping[str, Any]) -> bool:
    """Whether two modes are asked for, which no cut makes more."""
    return clustering.get("k") == 2 and not clustering.get("max_depth")


def _prompts(text: str, like: Mapping[str, Any]) -> dict[str, Any]:
    return {"_target_": TARGET, "text": text, "attributes": like["attributes"]}


@dataclass(frozen=True)
class PromptCycle:
    """Several prompts that take turns."""

    texts: tuple[str, ...]

    def for_images(self, n_images: int) -> list[str]:
        """Return the prompt of each image, by id."""
        return [self.texts[i % len(self.texts)] for i in range(n_images)]
