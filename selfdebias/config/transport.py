"""The values of transport that are null: those measured for what it steers, a UNet or a transformer, a partition or axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.config.combinations import has_axes

# By whether it is a transformer, and whether there are axes. The edits of several axes add up, so each of them is smaller, or fewer
# images get one. Measured in the studies `axes_levers` (UNet), `dit_slack` and `dit_axes` (transformer).
STRENGTH = {(False, False): 6.0, (False, True): 6.0, (True, False): 8.0, (True, True): 4.8}
SLACK = {(False, False): 2.5, (False, True): 1.5, (True, False): 1.5, (True, True): 1.5}


def with_measured_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with transport's measured values, for its kind of model and clustering, in place of null."""
    model, clustering, guidance = (config[group] for group in ("model", "clustering", "guidance"))
    if not all(isinstance(it, Mapping) for it in (model, clustering, guidance)):
        return dict(config)  # which the schema refuses
    return {**config, "guidance": with_values(guidance, "blocks" in model, has_axes(clustering))}


def with_values(guidance: Mapping[str, Any], transformer: bool, axes: bool) -> dict[str, Any]:
    """A guidance's configuration with the measured `strength` and `slack` of transport in place of null.

    Args:
        guidance: The group's configuration. Transport may be itself, or what it replays (`of`) or steers by (`steer`); others are
            left as they are.
        transformer: Whether the denoiser is one.
        axes: Whether there are axes in place of one partition.

    Example:
        >>> with_values({"settled": 0.85, "strength": None, "slack": 2.0}, transformer=True, axes=False)
        {'settled': 0.85, 'strength': 8.0, 'slack': 2.0}
        >>> with_values({"limit": 2.0, "steer": {"settled": 0.85, "slack": None}}, transformer=False, axes=True)
        {'limit': 2.0, 'steer': {'settled': 0.85, 'slack': 1.5}}
    """
    filled = {
        name: with_values(value, transformer, axes) if isinstance(value, Mapping) else value
        for name, value in guidance.items()
    }
    if "settled" not in guidance:  # which transport has alone
        return filled
    own = {"strength": STRENGTH[transformer, axes], "slack": SLACK[transformer, axes]}
    return {name: own.get(name) if value is None and name in own else value for name, value in filled.items()}
