"""SelfDebias: label-free discovery and balancing of the semantic modes of a diffusion model."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfdebias.debiaser import SelfDebias

try:
    __version__ = version("selfdebias")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["SelfDebias", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `SelfDebias` when it is first asked for: the command line must answer before torch is there."""
    if name == "SelfDebias":
        from selfdebias.debiaser import SelfDebias

        return SelfDebias
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
