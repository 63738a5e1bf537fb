"""The rows of a job: one for each subject of a list of prompts, and a nameless one where there is a single prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.config.prompts import PromptList, Prompts, facts_of
from selfdebias.config.targets import make


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
    target = f"{Prompts.__module__}.{Prompts.__qualname__}"
    return {name: {**config, "prompts": {"_target_": target, **facts_of(row)}} for name, row in prompts.rows().items()}


def in_row(step: str, row: str) -> str:
    """The name of a step in a row.

    Example:
        >>> in_row("generate/guided", "farmer"), in_row("collect", "farmer"), in_row("collect", "")
        ('generate/farmer/guided', 'collect/farmer', 'collect')
    """
    stage, *arm = step.split("/")
    return "/".join([stage, *([row] if row else []), *arm])
