"""What is read off `h_t`: projector and bank together, the temperatures of soft assignments, the modes' means in `h_t` itself."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy, deepcopy
from dataclasses import replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.modes.bank import AxesBank, ModeBank
from selfdebias.modes.classifier import ActivationClassifier
from selfdebias.modes.means import ModeMeans
from selfdebias.modes.projection import SemanticProjector

GRID = torch.logspace(-2, 0.3, 47)  # temperatures that are tried, on cosines
CLOSE = 0.01  # a difference of shares, in the 2-norm, that so few images cannot tell from the smallest one
LIKELY = 0.02  # nats an image, likewise of the likelihood
_STANDARDISED: WeakKeyDictionary[SemanticProjector, SemanticProjector] = WeakKeyDictionary()
_COPIES: WeakKeyDictionary[SemanticProjector, dict[torch.device, SemanticProjector]] = WeakKeyDictionary()


class AtBlocks:
    """What is read after several blocks of a transformer: one reader stands for all of them, and knows the others.

    Attributes:
        elsewhere: by block, the readers after the other ones; empty where `h_t` is read in one place.
    """

    projector: SemanticProjector
    elsewhere: Mapping[int, Any] = {}

    @property
    def sites(self) -> dict[int, Any]:
        """By block, all readers, this one first; empty where `h_t` is read in one place."""
        if not self.elsewhere or self.projector.block is None:
            return {}
        return {self.projector.block: self, **self.elsewhere}


class Semantics(AtBlocks):
    """Reads the modes off a bottleneck activation: projector and bank together.

    Args:
        projector: `phi`, frozen.
        bank: the modes, in the space that the projector maps to.
        means: the modes in the activations themselves; None where they were not fitted.
        classifier: tells the modes in the activations where they are labelled classes; None where they are not.

    Raises:
        ValueError: if projector and bank do not fit.
    """

    def __init__(
        self, projector: SemanticProjector, bank: ModeBank, means: ModeMeans | None = None,
        classifier: ActivationClassifier | None = None,
    ):  # fmt: skip
        if projector.dim != bank.centroids.shape[-1] or projector.branches != bank.branches:
            raise ValueError(
                f"`bank` must have width {projector.dim} and branches {projector.branches}, "
                f"got {bank.centroids.shape[-1]} and {bank.branches}: refit both together."
            )
        if projector.encoder != bank.encoder:
            raise ValueError(
                f"`bank` must be of the projector's encoder, {projector.encoder!r}, got one of {bank.encoder!r}: refit both "
                f"together."
            )
        self.projector = projector
        self.bank = bank
        self.means, self.classifier = means, classifier

    def assign(self, h: Tensor, timestep: float, branch: str, temperature: float, own: Tensor | None = None) -> Tensor:
        """Return ``p_ik = softmax_k(score_ik / tau)``, (B, K) float32, differentiable in `h`.

        A score is ``cos(phi(h_i, t), c_k)``; of a carried bank, what `ModeBank.scores` makes of it.

        Args:
            h: (B, C, H, W) activations.
            timestep: training timestep.
            branch: ``uncond`` or ``cond``: whose centroids they are held against.
            temperature: `tau`, > 0.
            own: (B,) int64, the branch that each activation is of, as an index into the bank's; None: `branch`.
        """
        return torch.softmax(self.logits(h, timestep, branch, temperature, own), dim=1)

    def logits(self, h: Tensor, timestep: float, branch: str, temperature: float, own: Tensor | None = None) -> Tensor:
        """Return ``score_ik / tau``, (B, K) float32, of which `assign` takes the softmax; arguments as there."""
        return self.bank.scores(self.project(h, timestep, branch, own), timestep, branch) / temperature

    def project(self, h: Tensor, timestep: float, branch: str, own: Tensor | None = None) -> Tensor:
        """Return ``phi(h_i, t)``, unit vectors (B, d) float32, differentiable in `h`; arguments as in `assign`."""
        t = torch.full((len(h),), timestep, device=h.device)
        if own is None:
            own = torch.full((len(h),), self.bank.branches.index(branch), device=h.device)
        return on_device(self.projector, h.device)(h, t, own)

    @cached_property
    def standardised(self) -> Semantics:
        """What reads activations that are standardised already."""
        phi = of_standardised(self.projector)
        means = self.means and self.means.over(self.projector)
        return Semantics(phi, self.bank, means, self.classifier and self.classifier.over(self.projector))

    def of_prompt(self, prompt: str) -> Semantics:
        """Return the semantics of one prompt; see `ModeBank.of_prompt`."""
        bank = self.bank.of_prompt(prompt)
        if bank is self.bank:
            return self
        own = Semantics(self.projector, bank, self.means, self.classifier)
        own.elsewhere = {block: it.of_prompt(prompt) for block, it in self.elsewhere.items()}
        return own


class AxesSemantics(AtBlocks):
    """Reads several axes off a bottleneck activation: one projector, and a bank of two modes for each axis.

    Args:
        projector: `phi`, frozen.
        bank: the axes, in the space that the projector maps to.
        means: the sides in the activations themselves, those of one axis after the other; None where they were not fitted.

    Attributes:
        axes: the semantics of each axis.

    Raises:
        ValueError: if projector and bank do not fit.
    """

    def __init__(self, projector: SemanticProjector, bank: AxesBank, means: ModeMeans | None = None):
        own = [None if means is None else means.only(slice(2 * a, 2 * a + 2)) for a in range(len(bank.axes))]
        self.axes = tuple(Semantics(projector, it, mean) for it, mean in zip(bank.axes, own, strict=True))
        self.projector, self.bank, self.means = projector, bank, means

    def of_prompt(self, prompt: str) -> AxesSemantics:
        """Return the semantics of one prompt; see `AxesBank.of_prompt`."""
        bank = self.bank.of_prompt(prompt)
        if bank is self.bank:
            return self
        own = AxesSemantics(self.projector, bank, self.means)
        own.elsewhere = {block: it.of_prompt(prompt) for block, it in self.elsewhere.items()}
        return own


def of_standardised(projector: SemanticProjector) -> SemanticProjector:
    """Return the projector, with the same weights, of activations that are standardised already."""
    if projector not in _STANDARDISED:
        phi = copy(projector)
        phi.standardised = False
        _STANDARDISED[projector] = phi
    return _STANDARDISED[projector]


def on_device(projector: SemanticProjector, device: torch.device) -> SemanticProjector:
    """Return a projector on a device: itself, or a copy that is kept as long as it: none moves while another thread uses it."""
    if device == next((it.device for it in (*projector.parameters(), *projector.buffers())), device):
        return projector
    copies = _COPIES.setdefault(projector, {})
    if device not in copies:
        copies[device] = deepcopy(projector).to(device)
    return copies[device]


def fit_temperatures(
    z: Tensor, labels: Tensor, timesteps: Tensor, branch_index: Tensor, bank: ModeBank, prompt_index: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Fit `tau` by timestep and branch: the mean soft assignment of held-out activations is to be the share of their images.

    Each timestep is fitted with its two neighbours, since few images were recorded at each.

    Args:
        z: (M, d) projected unit vectors of images that neither projector nor bank was fitted on.
        labels: (M,) int64, the mode of each one's final image.
        timesteps: (M,) training timesteps.
        branch_index: (M,) int64, index into the bank's branches.
        bank: the modes.
        prompt_index: (M,) int64, index into the bank's prompts; None where it is the same for all.

    Returns:
        (branches, T) float32, within `GRID`. A timestep without held-out images takes all of the branch.

    Raises:
        ValueError: if a branch has no held-out image at all.
    """
    fitted = torch.zeros(len(bank.branches), len(bank.timesteps))
    for b, branch in enumerate(bank.branches):
        mine = branch_index == b
        if not mine.any():
            raise ValueError(f"`z` must hold activations of the {branch} branch, got none.")
        prompt = None if prompt_index is None else prompt_index[mine]
        scores = bank.scores_of(z[mine], timesteps[mine], branch_index[mine], prompt)
        for i in range(len(bank.timesteps)):
            near = torch.isin(timesteps[mine], bank.timesteps[max(0, i - 1) : i + 2])
            rows = near if near.any() else torch.ones_like(near)
            fitted[b, i] = fit_temperature(scores[rows], labels[mine][rows])
    return fitted


def fit_temperature(cosines: Tensor, labels: Tensor) -> float:
    """Return the temperature of `GRID` at which ``mean softmax(cosines / tau)`` comes nearest to the shares of the labels.

    Of those that come equally close, and give the images' own modes about the highest likelihood, the largest is taken: where
    the modes lie wide apart every low one would do, and its gradient would vanish.

    Args:
        cosines: (M, K) of projected vectors to the centroids.
        labels: (M,) int64, modes.

    Example:
        >>> scores = torch.tensor([[0.8, 0.0], [0.2, 0.0], [-0.8, 0.0], [0.4, 0.0]])
        >>> low, high = fit_temperature(scores, torch.tensor([0, 0, 1, 0])), fit_temperature(scores, torch.tensor([0, 1, 1, 0]))
        >>> low < 0.1 < high
        True
    """
    log_p = F.log_softmax(cosines[None] / GRID[:, None, None], dim=2)
    shares = F.one_hot(labels, cosines.shape[1]).float().mean(dim=0)
    distance = (log_p.exp().mean(dim=1) - shares).norm(dim=1)
    likelihood = log_p[:, torch.arange(len(labels)), labels].mean(dim=1)
    close = distance <= distance.min() + CLOSE
    fits = close & (likelihood >= likelihood[close].max() - LIKELY)
    return float(GRID[fits].max())


def calibrated(
    bank: AxesBank, z: Tensor, sides: Tensor, timesteps: Tensor, branch_index: Tensor, prompt_index: Tensor | None = None
) -> AxesBank:  # fmt: skip
    """Return the bank with the temperatures of each axis, fitted on held-out activations; arguments as in `fit_axes_bank`."""
    fitted = [
        fit_temperatures(z, sides[:, a], timesteps, branch_index, axis, prompt_index)
        for a, axis in enumerate(bank.axes)
    ]
    return AxesBank(tuple(replace(axis, temperatures=it) for axis, it in zip(bank.axes, fitted, strict=True)))
