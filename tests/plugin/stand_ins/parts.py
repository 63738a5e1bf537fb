"""Parts that weigh nothing."""

from __future__ import annotations

import os
from typing import ClassVar

system = os.system  # an alias that must lead nowhere


class Model:
    def __init__(self, weights: str = "w1", steps: int = 50) -> None:
        self.weights = weights
        self.steps = steps

    def fingerprint(self) -> str:
        if self.weights == "missing":
            raise FileNotFoundError("`model.weights` must be a file, got 'missing'.")
        return f"sha-of-{self.weights}"


class Encoder:
    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def embed_text(self, texts):
        raise NotImplementedError


class Clustering:
    def __init__(
        self, k_min: int = 2, k_max: int = 8, n_neighbors: tuple[int, ...] = (10,), random_state: int = 0
    ) -> None:
        self.k_max = k_max


class Projector:
    def __init__(self, width: int = 8) -> None:
        self.width = width


class Guidance:
    def __init__(self, strength: float = 0.5, temperature: float = 0.1, target: list | None = None) -> None:
        if temperature <= 0:
            raise ValueError(f"`temperature` must be above 0, got {temperature}.")
        self.strength = strength


class NoGuidance:
    pass


class RandomGuidance:
    def __init__(self, branch: str = "cond") -> None:
        self.branch = branch


class Judge:
    classes: ClassVar = {"gender": ("man", "woman"), "tone": ("pale", "dark"), "age": ("child", "adult")}


class Metrics:
    pass
