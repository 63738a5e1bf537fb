"""SelfDebias: label-free discovery and balancing of the semantic modes of a diffusion model."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfdebias.config.rules import ConfigError
    from selfdebias.debiaser import SelfDebias
    from selfdebias.jobs.from_python import run

try:
    __version__ = version("selfdebias")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["ConfigError", "SelfDebias", "__version__", "run"]

_PLACES = {"ConfigError": "config.rules", "SelfDebias": "debiaser", "run": "jobs.from_python"}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first asked for: the command line must answer before torch is there."""
    if name in _PLACES:
        return getattr(import_module(f"selfdebias.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
