"""Distribution guidance: move a batch's projected mode shares towards the target."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from selfdebias.collective import Collective
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.branch_rule import add_edit, branch_gain, check_rule
from selfdebias.guidance.state import GuidanceState
from selfdebias.hspace import Step, split_branches

EPSILON = 1e-12
FLAT = 1e-3  # N dKL per relative change of h: a batch whose gradient is flatter than this takes no full step


class SelfDebiasGuidance(Guidance):
    """Gradient descent on ``KL(p_hat || pi)`` of the batch's soft mode shares, in steps relative to ``||h||``.

    ``h <- h - s w ||h|| g / rms(||g||) gate / gain`` with ``g_i = dL/dh_i``, the rms over the images that are pushed, and
    ``gate = min(1, max(KL, 0) / kappa)``.

    Args:
        strength: `s`, the size of the edit's effect as a fraction of ``||h||``; at least 0, and 0 changes nothing.
        temperature: `tau` of the soft assignment, on cosines, > 0.
        branch: ``cond``, ``both`` or ``contrast``: the branch of classifier-free guidance that is edited.
        kappa: the KL in nats under which the step fades out, > 0.
        decay: share of the memory of earlier batches that is kept from batch to batch, in [0, 1]; 0 keeps none.
        limit: largest size of one image's edit, as a fraction of its ``||h||``, > 0.
        slack: how many images may be pushed, as a multiple of those that have to turn, > 0. Of each mode that has too many,
            those nearest to another mode are pushed; the other images are left untouched.
        target: `pi`, shares by mode, the largest mode first, that sum to 1; None takes the bank's, which are equal.
        extrapolation_scale: w, at least 1: where the pipeline has no classifier-free guidance, the UNet draws each image with
            and without the edit, and the prediction is ``(1 - w) eps_u + w eps_c``. There w is what a guidance scale is
            elsewhere: the edit counts by the same gains, at the price of a UNet batch twice as large. 1 turns it off.

    Raises:
        ValueError: if a value is out of range.

    References:
        arXiv 2512.03749, self-debiasing.
    """

    def __init__(
        self, strength: float, temperature: float, branch: str = "cond", kappa: float = 0.01, decay: float = 0.0,
        limit: float = 2.0, slack: float = 3.0, target: Sequence[float] | None = None,
        extrapolation_scale: float = 1.0,
    ):  # fmt: skip
        check_rule(branch)
        for name, value, fits, rule in (
            ("strength", strength, 0 <= strength < float("inf"), "finite and at least 0"),
            ("temperature", temperature, 0 < temperature < float("inf"), "finite and larger than 0"),
            ("kappa", kappa, 0 < kappa < float("inf"), "finite and larger than 0"),
            ("decay", decay, 0 <= decay <= 1, "in [0, 1]"),
            ("limit", limit, 0 < limit < float("inf"), "finite and larger than 0"),
            (
                "extrapolation_scale",
                extrapolation_scale,
                1 <= extrapolation_scale < float("inf"),
                "finite and at least 1",
            ),
            ("slack", slack, 0 < slack < float("inf"), "finite and larger than 0"),
        ):
            if not fits:
                raise ValueError(f"`guidance.{name}` must be {rule}, got {value}.")
        self.strength, self.temperature, self.branch = strength, temperature, branch
        self.kappa, self.decay, self.limit, self.slack = kappa, decay, limit, slack
        self.target = None if target is None else check_target(target)
        self.extrapolation_scale = extrapolation_scale

    @property
    def dependence(self) -> str:
        """See `Guidance.dependence`."""
        return "run" if self.decay else "batch"

    def extrapolation(self, step: Step) -> float:
        """See `Guidance.extrapolation`."""
        return self.extrapolation_scale if self.strength else 1.0

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`."""
        if self.strength == 0:
            return h
        h_cond = split_branches(h, step.branches)["cond"]
        p_hat, gradient, kl = self._gradient(h_cond, step, state)
        if state.collective.any(not torch.isfinite(gradient).all()):
            state.trace.skipped += 1
            return h
        weight = step.weight / branch_gain(self.branch, step.guidance_scale)
        edit = self._relative_step(h_cond, gradient, kl, weight, state.collective)
        with torch.no_grad():
            p_after = self._assign(h_cond + edit, step, state)
        state.remember(step.index, p_after, self.decay)
        self._record(state, step, h_cond, p_hat, edit, kl)
        return add_edit(h, edit, self.branch, step.branches)

    def _assign(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        return state.require_semantics().assign(h, step.timestep, "cond", self.temperature)

    def _gradient(self, h: Tensor, step: Step, state: GuidanceState) -> tuple[Tensor, Tensor, float]:
        """Return the whole batch's mean assignment (K,), N dKL/dh (B, C, H, W) of the images to push, and the KL in nats.

        Shares are over this batch, that of all processes, and the memory. With the sums of the others held fixed,
        ``N dKL/dp_ik = log(p_hat_k / pi_k) + 1``: coefficients that need no gradient.
        """
        with torch.enable_grad():
            leaf = h.detach().float().requires_grad_(True)
            p = self._assign(leaf, step, state)
            everyone, own = state.collective.gather(p)
            memory = state.recall(step.index, p.shape[1]).to(p)
            total = len(everyone) + memory[-1]
            p_hat = ((everyone.sum(dim=0) + memory[:-1]) / total).clamp(min=EPSILON)
            log_ratio = torch.log(p_hat / self._target(state).to(p_hat))
            (gradient,) = torch.autograd.grad((p * (log_ratio + 1)).sum(), leaf)
        excess = total * (p_hat - self._target(state).to(p_hat))
        chosen = pushed(everyone, self.slack * excess)[own]
        kl = max(float((p_hat * log_ratio).sum()), 0.0)
        return everyone.mean(dim=0), gradient * chosen[:, None, None, None], kl

    def _target(self, state: GuidanceState) -> Tensor:
        bank = state.require_semantics().bank
        return (bank.target if self.target is None else torch.tensor(self.target)).clamp(min=EPSILON)

    def _relative_step(self, h: Tensor, gradient: Tensor, kl: float, weight: float, collective: Collective) -> Tensor:
        """Return the edit (B, C, H, W): METHOD's relative step, its size limited for each image."""
        norm = gradient.flatten(1).norm(dim=1)
        h_norm = h.float().flatten(1).norm(dim=1)
        rms, mean = _batch_norms(norm, h_norm, collective)
        gate = min(1.0, kl / self.kappa)
        size = self.strength * weight * gate * norm / (rms + FLAT / mean)  # relative to ||h||
        factor = size.clamp(max=self.limit) * h_norm / (norm + EPSILON)
        return (-factor[:, None, None, None] * gradient).to(h.dtype)

    @staticmethod
    def _record(state: GuidanceState, step: Step, h: Tensor, p_hat: Tensor, edit: Tensor, kl: float) -> None:
        state.trace.index.append(step.index)
        state.trace.p_hat.append(p_hat.cpu())
        state.trace.edit_norm.append((edit.flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)).float().cpu())
        state.trace.kl.append(kl)


def _batch_norms(norm: Tensor, h_norm: Tensor, collective: Collective) -> tuple[Tensor, Tensor]:
    """Return the rms of the gradients' norms (B,) over the images of all processes that are pushed, and the mean of ||h||."""
    own = torch.stack([norm.square().sum(), (norm > 0).sum(), h_norm.sum(), norm.new_tensor(len(norm))])
    squares, moved, lengths, images = collective.sum(own)
    return (squares / moved.clamp(min=1)).sqrt(), lengths / images


def check_target(target: Sequence[float]) -> list[float]:
    """Return the shares as a list.

    Raises:
        ValueError: if they are no distribution over at least two modes.
    """
    shares = [float(share) for share in target]
    if len(shares) < 2 or not all(0 <= share <= 1 for share in shares) or not abs(sum(shares) - 1) <= 1e-5:
        raise ValueError(f"`guidance.target` must be at least two shares in [0, 1] that sum to 1, got {list(target)}.")
    return shares


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
