"""Distribution guidance: move a batch's projected mode shares towards the target."""

from __future__ import annotations

import torch
from torch import Tensor

from selfdebias.guidance.base import Guidance
from selfdebias.guidance.branch_rule import add_edit, branch_gain, check_rule
from selfdebias.guidance.state import GuidanceState
from selfdebias.hspace import Step, split_branches

EPSILON = 1e-12


class SelfDebiasGuidance(Guidance):
    """Gradient descent on ``KL(p_hat || pi)`` of the batch's soft mode shares, in steps relative to ``||h||``.

    ``h <- h - s w ||h|| g / rms_batch(||g||) gate / gain`` with ``g_i = dL/dh_i`` and ``gate = min(1, max(KL, 0) / kappa)``.

    Args:
        strength: `s`, the size of the edit's effect as a fraction of ``||h||``; at least 0, and 0 changes nothing.
        temperature: `tau` of the soft assignment, on cosines, > 0.
        branch: ``cond``, ``both`` or ``contrast``: the branch of classifier-free guidance that is edited.
        kappa: the KL in nats under which the step fades out, > 0.
        decay: share of the memory of earlier batches that is kept from batch to batch, in [0, 1]; 0 keeps none.
        limit: largest size of one image's edit, as a fraction of its ``||h||``, > 0.

    Raises:
        ValueError: if a value is out of range.

    References:
        arXiv 2512.03749, self-debiasing.
    """

    def __init__(
        self, strength: float, temperature: float, branch: str = "cond", kappa: float = 0.01, decay: float = 0.0,
        limit: float = 2.0,
    ):  # fmt: skip
        check_rule(branch)
        for name, value, fits, rule in (
            ("strength", strength, 0 <= strength < float("inf"), "finite and at least 0"),
            ("temperature", temperature, 0 < temperature < float("inf"), "finite and larger than 0"),
            ("kappa", kappa, 0 < kappa < float("inf"), "finite and larger than 0"),
            ("decay", decay, 0 <= decay <= 1, "in [0, 1]"),
            ("limit", limit, 0 < limit < float("inf"), "finite and larger than 0"),
        ):
            if not fits:
                raise ValueError(f"`guidance.{name}` must be {rule}, got {value}.")
        self.strength, self.temperature, self.branch = strength, temperature, branch
        self.kappa, self.decay, self.limit = kappa, decay, limit

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`."""
        if self.strength == 0:
            return h
        h_cond = split_branches(h, step.branches)["cond"]
        p, gradient, kl = self._gradient(h_cond, step, state)
        if not torch.isfinite(gradient).all():
            state.skipped += 1
            return h
        edit = self._relative_step(h_cond, gradient, kl, step.weight / branch_gain(self.branch, step.guidance_scale))
        with torch.no_grad():
            p_after = self._assign(h_cond + edit, step, state)
        state.remember(step.index, p_after, self.decay)
        self._record(state, step, h_cond, p, edit, kl)
        return add_edit(h, edit, self.branch, step.branches)

    def _assign(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        return state.require_semantics().assign(h, step.timestep, "cond", self.temperature)

    def _gradient(self, h: Tensor, step: Step, state: GuidanceState) -> tuple[Tensor, Tensor, float]:
        """Return p (B, K), dKL/dh (B, C, H, W) and the KL in nats, over this batch and the memory.

        With the memory's sums held fixed, ``dKL/dp_ik = (log(p_hat_k / pi_k) + 1) / N``: coefficients that need no gradient.
        """
        with torch.enable_grad():
            leaf = h.detach().float().requires_grad_(True)
            p = self._assign(leaf, step, state)
            memory = state.recall(step.index, p.shape[1]).to(p)
            total = len(p) + memory[-1]
            p_hat = ((p.detach().sum(dim=0) + memory[:-1]) / total).clamp(min=EPSILON)
            log_ratio = torch.log(p_hat / self._target(state).to(p_hat))
            (gradient,) = torch.autograd.grad((p * (log_ratio + 1)).sum() / total, leaf)
        return p.detach(), gradient, max(float((p_hat * log_ratio).sum()), 0.0)

    @staticmethod
    def _target(state: GuidanceState) -> Tensor:
        return state.require_semantics().bank.target.clamp(min=EPSILON)

    def _relative_step(self, h: Tensor, gradient: Tensor, kl: float, weight: float) -> Tensor:
        """Return the edit (B, C, H, W): METHOD's relative step, its size limited for each image."""
        norm = gradient.flatten(1).norm(dim=1)
        rms = norm.square().mean().sqrt()
        gate = min(1.0, kl / self.kappa)
        size = self.strength * weight * gate * norm / (rms + EPSILON)  # relative to ||h||
        h_norm = h.float().flatten(1).norm(dim=1)
        factor = size.clamp(max=self.limit) * h_norm / (norm + EPSILON)
        return (-factor[:, None, None, None] * gradient).to(h.dtype)

    @staticmethod
    def _record(state: GuidanceState, step: Step, h: Tensor, p: Tensor, edit: Tensor, kl: float) -> None:
        state.trace.index.append(step.index)
        state.trace.p_hat.append(p.mean(dim=0).cpu())
        state.trace.edit_norm.append((edit.flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)).float().cpu())
        state.trace.kl.append(kl)
