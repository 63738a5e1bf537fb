"""Which parts of a job's configuration may leave this computer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.report.places import without_places
from selfdebias.storage.hidden import redacted

# Parts of a job's configuration that say what was done; paths, logger and trainer say where.
# Named one by one: what is added to the configuration later stays here until somebody names it.
ALLOWED = (
    "model", "encoder", "projector", "clustering", "bank", "vocabulary", "guidance", "schedule", "prompts", "judge", "metrics",
    "stages", "collect", "discover", "project", "generate", "evaluate", "report",
)  # fmt: skip


def allowed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a job's resolved configuration that may leave the machine: redacted, with paths cut to their last part.

    >>> allowed({"paths": {"root": "/home/me"}, "evaluate": {"seed": 1, "labelled": "/home/me/labels"}})
    {'evaluate': {'seed': 1, 'labelled': 'labels'}}
    """
    return {key: without_places(redacted(config[key]), key) for key in ALLOWED if key in config}
