"""Distribution guidance: move a batch's projected mode shares towards the target."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.backbones.hspace import Step
from selfdebias.guidance.collective import Collective
from selfdebias.guidance.gradient_descent import check_steps
from selfdebias.guidance.relative_step import Move, RelativeStepGuidance, along
from selfdebias.guidance.soft_assignment import CALIBRATED, EPSILON, check_above_0, check_share, kl_divergence
from selfdebias.guidance.state import GuidanceState

FLAT = 1e-3  # N dKL per relative change of h: a batch whose gradient is flatter than this takes no full step
COUNTED_AT = 0.3  # temperature at which modes are told apart well enough to count images
LEAST = 0.5  # images; with a memory, turning one where fewer are too many would leave more too many elsewhere


class SelfDebiasGuidance(RelativeStepGuidance):
    """Gradient descent on ``KL(p_hat || pi)`` of the batch's soft mode shares, in steps relative to ``||h||``.

    ``h <- h - s w ||h|| g / rms(||g||) gate / gain`` with ``g_i = dL/dh_i``, the rms over the images that are pushed, and
    ``gate = min(1, max(KL, 0) / kappa)``.

    Args:
        strength, temperature, branch, limit, target, extrapolation_scale, axes: as in `RelativeStepGuidance`.
        kappa: the KL in nats under which the step fades out, > 0.
        decay: share of the memory of earlier batches that is kept from batch to batch, in [0, 1]; 0 keeps none.
        slack: how many images may be pushed, as a multiple of those that have to turn, > 0. Of each mode that has too many,
            those nearest to another mode are pushed; the other images are left untouched.
        inner_steps: gradient steps in each UNet call, at least 1, each of ``1 / inner_steps`` of the strength.
        counted_at: the softest temperature, > 0, at which the KL of the gate and the images that are too many are counted: with a
            softer `temperature` all assignments are nearly equal, and no batch would seem out of balance.

    Raises:
        ValueError: if a value is out of range.

    References:
        arXiv 2512.03749, self-debiasing.
    """

    def __init__(
        self, strength: float, temperature: float | str, branch: str = "cond", kappa: float = 0.01, decay: float = 0.0,
        limit: float = 2.0, slack: float = 3.0, inner_steps: int = 1,
        target: Sequence[float] | str | None = None, extrapolation_scale: float = 1.0, counted_at: float = COUNTED_AT,
        axes: Sequence[int] | None = None,
    ):  # fmt: skip
        super().__init__(strength, temperature, branch, limit, target, extrapolation_scale, axes)
        check_above_0("counted_at", counted_at)
        check_above_0("kappa", kappa)
        check_above_0("slack", slack)
        check_share("decay", decay)
        check_steps(inner_steps)
        self.kappa, self.decay, self.slack, self.inner_steps = kappa, decay, slack, inner_steps
        self.counted_at = counted_at

    @property
    def dependence(self) -> str:
        """See `Guidance.dependence`."""
        return "run" if self.decay else "batch"

    def move(self, h: Tensor, step: Step, state: GuidanceState) -> Move:
        """See `RelativeStepGuidance.move`."""
        edit, first = torch.zeros_like(h), None
        for _ in range(self.inner_steps):
            p_hat, gradient, kl = self._gradient(h + edit, step, state)
            first = first or (p_hat, kl)
            size = self._sizes(gradient, kl, h, step, state.collective)
            edit = edit + along(-gradient, size, h)
        assert first is not None
        return Move(self._limited(edit, h) if self.inner_steps > 1 else edit, *first)

    def settle(self, h: Tensor, step: Step, state: GuidanceState) -> None:
        """Remember the assignments that the edit leaves."""
        with torch.no_grad():
            state.remember(step.index, self.assign(h, step, state), self.decay)

    def _gradient(self, h: Tensor, step: Step, state: GuidanceState) -> tuple[Tensor, Tensor, float]:
        """Return the whole batch's mean assignment (K,), N dKL/dh (B, C, H, W) of the images to push, and the KL in nats.

        Shares are over this batch, that of all processes, and the memory. With the sums of the others held fixed,
        ``N dKL/dp_ik = log(p_hat_k / pi_k) + 1``: coefficients that need no gradient.
        """
        with torch.enable_grad():
            leaf = h.detach().float().requires_grad_(True)
            p = self.assign(leaf, step, state)
            everyone, _ = state.collective.gather(p)
            p_hat, pi = self._shares(everyone, step, state), self.pi(state).to(p)
            (gradient,) = torch.autograd.grad((p * (torch.log(p_hat / pi) + 1)).sum(), leaf)
        counted, own = state.collective.gather(self.sharper(p, h, step, state, self.counted_at))
        shares = self._shares(counted, step, state)
        remembered = float(state.recall(step.index, len(pi))[-1])
        excess = (len(counted) + remembered) * (shares - pi)
        excess = torch.where(excess > LEAST, excess, 0.0) if remembered else excess
        chosen = pushed(counted, self.slack * excess)[own]
        return counted.mean(dim=0), gradient * chosen[:, None, None, None], kl_divergence(shares, pi)

    def _shares(self, p: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """Return `p_hat` (K,) over the assignments (n, K) of all processes and the memory."""
        memory = state.recall(step.index, p.shape[1]).to(p)
        return ((p.sum(dim=0) + memory[:-1]) / (len(p) + memory[-1])).clamp(min=EPSILON)

    def _sizes(self, gradient: Tensor, kl: float, h: Tensor, step: Step, collective: Collective) -> Tensor:
        """Return the size (B,) of each image's edit relative to ``||h||``: METHOD's relative step, limited."""
        norm, h_norm = gradient.flatten(1).norm(dim=1), h.float().flatten(1).norm(dim=1)
        rms, mean = _batch_norms(norm, h_norm, collective)
        gate = min(1.0, kl / self.kappa) / self.inner_steps
        return (self.effect(step) * gate * norm / (rms + self._flat / mean)).clamp(max=self.limit)

    @property
    def _flat(self) -> float:
        """`FLAT`, less for softer assignments: their log ratios and their derivatives are both smaller by the temperature."""
        softer = self.temperature != CALIBRATED and float(self.temperature) > self.counted_at
        return FLAT * (self.counted_at / float(self.temperature)) ** 2 if softer else FLAT

    def _limited(self, edit: Tensor, h: Tensor) -> Tensor:
        """Return the sum of several steps, no image's larger than the limit."""
        size = edit.float().flatten(1).norm(dim=1) / (h.float().flatten(1).norm(dim=1) + EPSILON)
        return (edit.float() * (self.limit / size.clamp(min=self.limit))[:, None, None, None]).to(h.dtype)


def _batch_norms(norm: Tensor, h_norm: Tensor, collective: Collective) -> tuple[Tensor, Tensor]:
    """Return the rms of the gradients' norms (B,) over the images of all processes that are pushed, and the mean of ||h||."""
    own = torch.stack([norm.square().sum(), (norm > 0).sum(), h_norm.sum(), norm.new_tensor(len(norm))])
    squares, moved, lengths, images = collective.sum(own)
    return (squares / moved.clamp(min=1)).sqrt(), lengths / images


def pushed(p: Tensor, quota: Tensor) -> Tensor:
    """Choose the images to push: of each mode that has too many, those nearest to another mode.

    Args:
        p: (B, K) soft assignments.
        quota: (K,) how many images may be pushed out of each mode; not above 0 for a mode that has none too many.

    Returns:
        (B,) float32, 1 for an image that is pushed and 0 for the others; a quota is rounded up, ties go to the first image.

    Example:
        >>> p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
        >>> pushed(p, torch.tensor([1.2, -1.2]))
        tensor([0., 1., 1., 0.])
    """
    home = p.argmax(dim=1)
    chosen = torch.zeros(len(p), device=p.device)
    for k in torch.nonzero(quota > 0).flatten().tolist():
        members = torch.nonzero(home == k).flatten()
        order = torch.argsort(p[members, k], stable=True)
        chosen[members[order[: math.ceil(float(quota[k]))]]] = 1.0
    return chosen
