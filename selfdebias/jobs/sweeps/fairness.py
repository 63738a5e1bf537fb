"""Which measure of fairness a sweep is looked at by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfdebias.config.rules import refuse

MEASURES = ("fd_hard", "fd_soft", "deviation_ratio")  # of each attribute; 0 is best


def fairness_of(table: Mapping[str, Any], attributes: Sequence[str]) -> str:
    """The measure that `table.fairness` names: `<attribute>.<measure>` or `mode_fd`; by default that of the first attribute.

    Args:
        table: The section of the configuration.
        attributes: Those that the jobs report.

    Raises:
        ConfigError: If it is none of those that there are.

    Example:
        >>> fairness_of({"fairness": None}, ["gender", "tone"]), fairness_of({"fairness": "mode_fd"}, ["gender"])
        ('gender.fd_hard', 'mode_fd')
    """
    known = [*(f"{attribute}.{measure}" for attribute in attributes for measure in MEASURES), "mode_fd"]
    asked = table["fairness"] or known[0]
    if asked not in known:
        raise refuse("table.fairness", f"null or one of {', '.join(known)}", asked)
    return asked
