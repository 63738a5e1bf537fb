"""The classes of a judge whose configuration or files name them. Torch is not needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.testbed import shipped

Classes = Mapping[str, tuple[str, ...]]


def emoji_folder(folder: str | None) -> Path:
    """The folder of Emoji World's judge; None means the shipped one."""
    return Path(folder) if folder else shipped("emoji_judge")


def emoji_classes(folder: str | None) -> Classes:
    """The classes of Emoji World's judge, by attribute, from its ``config.json``.

    Raises:
        FileNotFoundError: If the folder has none.

    Example:
        >>> emoji_classes(None)["gender"]
        ('man', 'woman')
    """
    config = json.loads((emoji_folder(folder) / "config.json").read_text())
    return {name: tuple(names) for name, names in config["classes"].items()}


def known_classes(judge: Mapping[str, Any]) -> Classes | None:
    """The classes of a configured judge, None where only its own code knows them.

    Raises:
        FileNotFoundError: As `emoji_classes` does.

    Example:
        >>> known_classes({"_target_": "x.ClipZeroShotJudge", "attributes": {"side": {"left": "a left", "right": "a right"}}})
        {'side': ('left', 'right')}
    """
    name, attributes = str(judge["_target_"]).rpartition(".")[2], judge.get("attributes")
    if name == "EmojiJudge" and isinstance(judge.get("folder"), str | None):
        return emoji_classes(judge.get("folder"))
    if name != "ClipZeroShotJudge" or not isinstance(attributes, Mapping):
        return None
    texts = {attribute: tuple(it) for attribute, it in attributes.items() if isinstance(it, Mapping)}
    return texts if len(texts) == len(attributes) else None
