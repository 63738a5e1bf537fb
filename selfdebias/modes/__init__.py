"""Finding the modes of what a model generates, and keeping them by timestep and branch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfdebias.modes.axes import FactorialAxes
    from selfdebias.modes.bank import ModeBank
    from selfdebias.modes.banks import CarriedBank, MixtureBank, OwnBank, SupervisedBank
    from selfdebias.modes.clusterings import (
        AgglomerativeModes,
        GaussianMixtureModes,
        HdbscanModes,
        KMeansModes,
        TwoStageModes,
    )
    from selfdebias.modes.projector_fit import ProjectorFit
    from selfdebias.modes.spectral import SpectralModes

__all__ = [
    "AgglomerativeModes", "CarriedBank", "FactorialAxes", "GaussianMixtureModes", "HdbscanModes", "KMeansModes", "MixtureBank",
    "ModeBank", "OwnBank", "ProjectorFit", "SpectralModes", "SupervisedBank", "TwoStageModes",
]  # fmt: skip
_MODULES = {
    "AgglomerativeModes": "clusterings", "CarriedBank": "banks", "FactorialAxes": "axes", "GaussianMixtureModes": "clusterings",
    "HdbscanModes": "clusterings", "KMeansModes": "clusterings", "MixtureBank": "banks", "ModeBank": "bank", "OwnBank": "banks",
    "ProjectorFit": "projector_fit", "SpectralModes": "spectral", "SupervisedBank": "banks", "TwoStageModes": "clusterings",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a class when it is first asked for: guidance needs none of them, and scikit-learn takes long to import."""
    if name in _MODULES:
        return getattr(import_module(f"selfdebias.modes.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
