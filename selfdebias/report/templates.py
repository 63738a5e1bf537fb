"""What the pages of a job and of a list of prompts share: how templates are filled, the settings of a job, and warnings."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from selfdebias.config.arms import guidance_of_arms
from selfdebias.report.wording import plain
from selfdebias.storage.hidden import redacted

NO_BREAK = chr(0xA0)


def environment() -> Environment:
    """What fills the templates of pages: everything is escaped, and nothing that is not there is passed over."""
    found = Environment(
        loader=PackageLoader("selfdebias", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters |= {"data_uri": data_uri, "unbroken": unbroken}
    return found


def data_uri(png: bytes) -> str:
    """A PNG file as the address of an image that needs no request.

    >>> data_uri(b"abc")
    'data:image/png;base64,YWJj'
    """
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def unbroken(cell: str) -> str:
    """A cell of a table in which lines break between an interval and what is around it, and nowhere else.

    >>> ascii(unbroken("0.5 [0.4, 0.6] / n/a [1]"))
    "'0.5 [0.4,\\\\xa00.6] / n/a\\\\xa0[1]'"
    """
    inside = re.sub(r"[\[(][^\])]*[\])]", lambda found: found[0].replace(" ", NO_BREAK), cell)
    return inside.replace("n/a [", f"n/a{NO_BREAK}[")


def settings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The parts of a job with their settings: pairs of a name and a value; an arm beside the guided one has its own."""
    config = redacted(config)
    if config.get("guidance"):
        arms = {arm: part for arm, part in guidance_of_arms(config["guidance"]).items() if arm != "vanilla"}
        config = {**config, "guidance": arms.pop("guided", None), **arms}
    names = {"random": "Random control", "attribute_prompts": "Attribute prompts"}
    parts = ("model", "encoder", "clustering", "projector", "guidance", *names, "schedule", "judge")
    return [(names.get(part, part.capitalize()), described(config[part])) for part in parts if config.get(part)]


def described(part: Any) -> str:
    """One part of the configuration in one line: its class and its settings.

    >>> described({"_target_": "selfdebias.guidance.self_debias.SelfDebiasGuidance", "strength": 0.5})
    'SelfDebiasGuidance (strength 0.5)'
    """
    if not isinstance(part, Mapping):
        return plain(part)
    settings = {key: value for key, value in part.items() if not str(key).startswith("_") and is_set(value)}
    words = ", ".join(f"{key} {described(value)}" for key, value in settings.items())
    name = plain(str(part.get("_target_", "")).rsplit(".", 1)[-1])
    return f"{name} ({words})" if name and words else name or words


def is_set(value: Any) -> bool:
    """Whether a setting says anything: None, an empty one, and a part with no setting of its own do not.

    >>> is_set(0), is_set(None), is_set({"_target_": "a.B", "name": None, "options": {}})
    (True, False, False)
    """
    if isinstance(value, Mapping):
        return any(is_set(item) for key, item in value.items() if not str(key).startswith("_"))
    return value is not None and value != []


def warnings(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know before any number."""
    judge = results.get("judge", {})
    if not judge.get("circular"):
        return []
    return [
        f"The judge rests on the encoder that the modes were found with ({plain(judge.get('encoder_id'))}): "
        "that the two agree is circular."
    ]
