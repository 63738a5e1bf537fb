"""Finding the modes of what a model generates, and keeping them by timestep and branch."""

from selfdebias.modes.bank import ModeBank
from selfdebias.modes.spectral import SpectralModes

__all__ = ["ModeBank", "SpectralModes"]
