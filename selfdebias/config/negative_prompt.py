"""A negative prompt that stands in a file of its own: some are several hundred words long."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.config.rules import refuse

OPTION = "negative_prompt_file"
LONGEST = 10**5  # characters


def with_negative_prompt(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the text of `model.negative_prompt_file` as `model.negative_prompt`: the text is what counts.

    Args:
        config: A resolved configuration.

    Raises:
        ConfigError: If the file is not one of text, or both options are given.
    """
    model = dict(config["model"])
    name = model.pop(OPTION, None)
    if name is None:
        return {**config, "model": model}
    if model.get("negative_prompt") is not None:
        raise refuse(f"model.{OPTION}", "null where `model.negative_prompt` is given", name)
    file = Path(str(name))
    try:
        text = file.read_text(encoding="utf-8").strip() if file.is_file() and file.stat().st_size <= LONGEST else ""
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text:
        raise refuse(f"model.{OPTION}", f"a file of text in UTF-8 that is not blank, of at most {LONGEST} bytes", name)
    return {**config, "model": {**model, "negative_prompt": " ".join(text.split())}}
