"""The mode bank: where each mode, or each side of each axis, lies at each recorded timestep in the projector's output space."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.storage.atomic import read_tensors, write_tensors

ANY = ""  # the prompt whose origin holds for all that have none of their own
TENSORS = ("timesteps", "centroids", "sizes", "target", "depths", "temperatures", "origins", "scales")


@dataclass(frozen=True)
class ModeBank:
    """Centroids of K modes; mode k is the same mode at every timestep.

    Attributes:
        branches: names of the branches, in the order of the centroids' first axis.
        timesteps: (T,) float32, ascending training timesteps.
        centroids: (branches, T, K, d) float32, unit vectors.
        sizes: (K,) float32, fitted activations (of each image, timestep and branch) in each mode.
        target: (K,) float32, `pi`: the wanted proportion, sums to 1.
        encoder: name of the encoder in whose space the modes were found.
        depths: (K,) int64, how often the cluster was split that a mode came out of; not given, all are 0.
        origins: (P, branches, T, d) float32, what is taken away from a projected vector before it is compared with the centroids;
            None takes nothing away.
        scales: (branches, T) float32 > 0, what the scores are divided by; None divides by nothing.
        prompts: the P prompts that the origins belong to, `ANY` for all others; empty where one origin, P = 1, holds for every
            prompt.
        temperatures: (branches, T) float32, `tau` at which projected shares are those of the final images; None if not fitted.
    """

    branches: tuple[str, ...]
    timesteps: Tensor
    centroids: Tensor
    sizes: Tensor
    target: Tensor
    encoder: str = ""
    depths: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    origins: Tensor | None = None
    scales: Tensor | None = None
    prompts: tuple[str, ...] = ()
    temperatures: Tensor | None = None

    def __post_init__(self) -> None:
        k = self.centroids.shape[2]
        if self.target.shape != (k,) or (self.target < 0).any() or not abs(float(self.target.sum()) - 1) <= 1e-5:
            raise ValueError(f"`target` must be {k} shares that sum to 1, got {self.target.tolist()}.")
        if not len(self.depths):
            object.__setattr__(self, "depths", torch.zeros(k, dtype=torch.int64))
        if self.depths.shape != (k,) or (self.depths < 0).any():
            raise ValueError(f"`depths` must be {k} whole numbers of at least 0, got {self.depths.tolist()}.")
        if (self.timesteps.diff() <= 0).any():
            raise ValueError(f"`timesteps` must ascend, got {self.timesteps.tolist()}.")

    def at(self, timestep: float, branch: str) -> Tensor:
        """Return the centroids (K, d) at any timestep: linear between the recorded ones, constant beyond them."""
        rows = self.centroids[self.branches.index(branch)]
        return F.normalize(interpolate(rows, self.timesteps, timestep), dim=-1)

    def scores(self, z: Tensor, timestep: float, branch: str) -> Tensor:
        """Return how well each vector fits each mode, ``(z_i - o) . c_k / scale``, (B, K); a cosine without origin and scale.

        Args:
            z: (B, d) projected unit vectors.
            timestep: training timestep.
            branch: ``uncond`` or ``cond``.

        Raises:
            ValueError: if the origins are those of several prompts: ask for one with `of_prompt` first.
        """
        b = self.branches.index(branch)
        if self.origins is not None:
            if len(self.origins) > 1:
                raise ValueError(
                    f"`origins` must be those of one prompt, got {len(self.origins)}: take `of_prompt` first."
                )
            z = z - interpolate(self.origins[0, b], self.timesteps, timestep).to(z)
        scores = z @ self.at(timestep, branch).to(z).T
        return scores if self.scales is None else scores / interpolate(self.scales[b], self.timesteps, timestep).to(z)

    def scores_of(
        self, z: Tensor, timesteps: Tensor, branch_index: Tensor, prompt_index: Tensor | None = None
    ) -> Tensor:
        """Return the scores of many activations, (M, K); arguments as in `fit_bank`.

        Args:
            prompt_index: (M,) int64, index into `prompts`; None where those are empty.
        """
        scores = torch.zeros(len(z), len(self.target))
        of_prompt = torch.zeros_like(branch_index) if prompt_index is None or not self.prompts else prompt_index
        rows = torch.stack([of_prompt.double(), branch_index.double(), timesteps.double()], dim=1)
        for p, b, t in rows.unique(dim=0).tolist():
            own = self.of_prompt(self.prompts[int(p)]) if self.prompts else self
            here = (of_prompt == p) & (branch_index == b) & (timesteps.double() == t)
            scores[here] = own.scores(z[here], t, self.branches[int(b)])
        return scores

    def of_prompt(self, prompt: str) -> ModeBank:
        """Return the bank as it is for one prompt: itself, unless each prompt has an origin of its own.

        Raises:
            ValueError: if each has, this one was not fitted, and no origin holds for `ANY`.
        """
        if not self.prompts or self.origins is None:
            return self
        prompt = ANY if prompt not in self.prompts and ANY in self.prompts else prompt
        if prompt not in self.prompts:
            raise ValueError(
                f"`prompt` must be one that the bank was fitted on ({'; '.join(self.prompts)}), got {prompt!r}: fit on it too, "
                f"or carry two modes over, which need no prompt's mean."
            )
        row = self.prompts.index(prompt)
        return replace(self, origins=self.origins[row : row + 1], prompts=())

    def temperature(self, timestep: float, branch: str) -> float:
        """Return the calibrated temperature at any timestep, interpolated as the centroids are.

        Raises:
            ValueError: if none was fitted.
        """
        if self.temperatures is None:
            raise ValueError("`temperatures` must be fitted, got none: run the project stage anew.")
        return float(interpolate(self.temperatures[self.branches.index(branch)], self.timesteps, timestep))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors above by name, those that there are."""
        return {name: getattr(self, name) for name in TENSORS if getattr(self, name) is not None}

    def save(self, path: Path) -> None:
        """Write the bank as one safetensors file, atomically."""
        texts = {"branches": json.dumps(self.branches), "prompts": json.dumps(self.prompts)}
        write_tensors(path, self.tensors, {**texts, "encoder": self.encoder})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; depths are 0 in a bank that was written without."""
        tensors, metadata = read_tensors(path)
        branches, prompts = (tuple(json.loads(metadata.get(name, "[]"))) for name in ("branches", "prompts"))
        return cls(branches, encoder=metadata["encoder"], prompts=prompts, **tensors)


@dataclass(frozen=True)
class AxesBank:
    """One bank of two modes, the sides, for each of A axes.

    Attributes:
        axes: the banks, all with the same branches, timesteps and encoder.
    """

    axes: tuple[ModeBank, ...]

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError("`axes` must hold at least one axis, got none.")

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches."""
        return self.axes[0].branches

    @property
    def encoder(self) -> str:
        """Name of the encoder in whose space the axes were found."""
        return self.axes[0].encoder

    @property
    def target(self) -> Tensor:
        """(2 A,) float32, the wanted shares of the sides of one axis after the other."""
        return torch.cat([it.target for it in self.axes])

    origins = None  # no prompt needs one of its own

    def of_prompt(self, prompt: str) -> AxesBank:
        """Return the bank as it is for one prompt: itself, unless thresholds differ between prompts; see `ModeBank.of_prompt`."""
        own = tuple(it.of_prompt(prompt) for it in self.axes)
        return self if all(a is b for a, b in zip(own, self.axes, strict=True)) else AxesBank(own)

    def save(self, path: Path) -> None:
        """Write the bank as one safetensors file, atomically."""
        banks = enumerate(self.axes)
        tensors = {f"axis-{a}/{name}": tensor.clone() for a, bank in banks for name, tensor in bank.tensors.items()}
        texts = {"axes": str(len(self.axes)), "branches": json.dumps(self.branches), "encoder": self.encoder}
        texts |= {"prompts": json.dumps(self.axes[0].prompts)} if self.axes[0].prompts else {}
        write_tensors(path, tensors, texts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        tensors, metadata = read_tensors(path)
        branches, prompts = (tuple(json.loads(metadata.get(name, "[]"))) for name in ("branches", "prompts"))
        banks = []
        for a in range(int(metadata["axes"])):
            own: dict[str, Any] = {
                name.split("/", 1)[1]: x for name, x in tensors.items() if name.startswith(f"axis-{a}/")
            }
            banks.append(ModeBank(branches, encoder=metadata["encoder"], prompts=prompts, **own))
        return cls(tuple(banks))


def load_bank(path: Path) -> ModeBank | AxesBank:
    """Read a bank of one partition, or of several axes."""
    _, metadata = read_tensors(path)
    return AxesBank.load(path) if "axes" in metadata else ModeBank.load(path)


def interpolate(rows: Tensor, timesteps: Tensor, timestep: float) -> Tensor:
    """Interpolate rows linearly in the timestep.

    Args:
        rows: (T, ...) values at the recorded timesteps.
        timesteps: (T,) ascending.
        timestep: where to read; beyond the ends the last value holds.

    Returns:
        (...) the value at `timestep`.

    Example:
        >>> interpolate(torch.tensor([0.0, 10.0]), torch.tensor([100.0, 200.0]), 150.0)
        tensor(5.)
    """
    upper = int(torch.searchsorted(timesteps, torch.tensor(timestep, dtype=timesteps.dtype)))
    if upper == 0 or upper == len(timesteps):
        return rows[min(upper, len(timesteps) - 1)]
    low, high = timesteps[upper - 1], timesteps[upper]
    return torch.lerp(rows[upper - 1], rows[upper], ((timestep - low) / (high - low)).to(rows.dtype))
