"""Finding the modes of what a model generates, and keeping them by timestep and branch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from selfdebias.modes.bank import ModeBank

if TYPE_CHECKING:
    from selfdebias.modes.spectral import SpectralModes

__all__ = ["ModeBank", "SpectralModes"]


def __getattr__(name: str) -> Any:
    """Import the clustering when it is first asked for: guidance needs none, and scikit-learn is slow to come."""
    if name == "SpectralModes":
        from selfdebias.modes.spectral import SpectralModes

        return SpectralModes
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
