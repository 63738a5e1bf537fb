"""Distribution guidance: move a batch's projected mode shares towards the target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, split_branches
from selfdebias.guidance.shares import EPSILON, kl_divergence
from selfdebias.guidance.state import GuidanceState, MethodState
from selfdebias.guidance.step_rule import (
    ABOVE_0,
    CALIBRATED,
    COUNT,
    SHARE,
    RelativeStepGuidance,
    along,
    limited,
    require,
    row_norms,
)

FLAT = 1e-3  # N dKL per relative change of h: a batch whose gradient is flatter than this takes no full step
COUNTED_AT = 0.3  # temperature at which modes are told apart well enough to count images
LEAST = 0.5  # images; with a memory, switching one where fewer are too many would leave more too many elsewhere


class AssignmentMemory(MethodState):
    """Assignments of the earlier batches of each group.

    Attributes:
        sums: by (group, `Step.visit`), (K + 1,) float64: decayed sums of the assignments, and behind them the images' number.
    """

    def __init__(self) -> None:
        self.sums: dict[tuple[str, int], Tensor] = {}
        self._found: dict[tuple[str, int], Tensor] = {}

    def begin(self) -> None:
        """See `MethodState.begin`."""
        self._found = dict(self.sums)

    def forget(self) -> None:
        """See `MethodState.forget`."""
        self.sums = self._found

    def recall(self, group: str, index: int, n_modes: int) -> Tensor:
        """Return the sums (K + 1,) of a group at a step; zeros if there are none."""
        return self.sums.get((group, index), torch.zeros(n_modes + 1, dtype=torch.float64))

    def remember(self, p: Tensor, index: int, state: GuidanceState, decay: float) -> None:
        """Add a batch's assignments (B, K), those of all processes, after decaying what there is by `decay`."""
        own = p.detach().cpu().double()  # on the processor, since not every GPU has float64
        now = state.collective.sum(torch.cat([own.sum(dim=0), own.new_tensor([len(own)])]))
        self.sums[state.group, index] = decay * (self.recall(state.group, index, p.shape[1]) + now)

    def tensors(self, group: str) -> dict[str, Tensor]:
        """See `MethodState.tensors`."""
        kept = sorted((index, values) for (name, index), values in self.sums.items() if name == group)
        indices, sums = [index for index, _ in kept], [values for _, values in kept]
        none = torch.zeros(0, 0, dtype=torch.float64)
        return {
            "memory_index": torch.tensor(indices, dtype=torch.int64),
            "memory": torch.stack(sums) if sums else none,
        }

    def restore(self, group: str, tensors: Mapping[str, Tensor]) -> None:
        """See `MethodState.restore`."""
        if "memory" in tensors:
            for index, values in zip(tensors["memory_index"].tolist(), tensors["memory"], strict=True):
                self.sums[group, index] = values.clone()


class SelfDebiasGuidance(RelativeStepGuidance):
    """Gradient descent on ``KL(p_hat || pi)`` of the batch's soft mode shares, in steps relative to ``||h||``.

    ``h <- h - s w ||h|| g / rms(||g||) gate / gain`` with ``g_i = dL/dh_i``, the rms over the images that are pushed, and
    ``gate = min(1, max(KL, 0) / kappa)``.

    Args:
        strength, temperature, branch, limit, target, extrapolation_scale, axes: as in `RelativeStepGuidance`.
        kappa: the KL in nats under which the step fades out, > 0.
        decay: share of the memory of earlier batches that is kept from batch to batch, in [0, 1]; 0 keeps none.
        slack: over-selection factor, > 0: images pushed per image that must switch. Of each mode that has too many,
            those nearest to another mode are pushed; the other images are left untouched.
        inner_steps: gradient steps at each step, at least 1, each of ``1 / inner_steps`` of the strength.
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
        require(ABOVE_0, counted_at=counted_at, kappa=kappa, slack=slack)
        require(SHARE, decay=decay)
        require(COUNT, inner_steps=inner_steps)
        if decay and temperature != CALIBRATED and float(temperature) > counted_at:
            raise ValueError(
                f"`guidance.decay` must be 0 where `guidance.temperature` is above `guidance.counted_at`, got {decay}: images are "
                f"remembered at the temperature, and counted at another one; set guidance.counted_at={temperature} to count by it."
            )
        self.kappa, self.decay, self.slack, self.inner_steps = kappa, decay, slack, inner_steps
        self.counted_at = counted_at

    @property
    def dependence(self) -> str:
        """See `Guidance.dependence`."""
        return "run" if self.decay else "batch"

    def edit(self, h: Tensor, step: Step, state: GuidanceState) -> Tensor:
        """See `Guidance.edit`; where some gradient is not finite nothing is edited, and that is counted."""
        if self.strength == 0:
            return h
        h_cond = split_branches(h, step.branches)["cond"]
        edit, found = torch.zeros_like(h_cond), []
        for _ in range(self.inner_steps):
            more, p_hat, kl = self._descent(h_cond + edit, h_cond, step, state)
            edit = edit + more
            found.append((p_hat, kl))
        if self.inner_steps > 1:
            edit = limited(edit, h_cond, self.limit).to(h.dtype)
        if state.skips(edit):
            return h
        with torch.no_grad():
            p = self.assign(h_cond + edit, step, state)
        state.of(AssignmentMemory).remember(p, step.visit, state, self.decay)
        p_hat, kl = found[0]  # before the edit
        return self.apply(h, edit, p_hat, kl, step, state)

    def _descent(self, x: Tensor, h: Tensor, step: Step, state: GuidanceState) -> tuple[Tensor, Tensor, float]:
        """Return ``- s w ||h|| g / rms(||g||) gate / gain`` (B, C, H, W), the mean assignment (K,), and the KL in nats.

        With the sums of the other images held fixed, ``N dKL/dp_ik = log(p_hat_k / pi_k) + 1``: coefficients that need no
        gradient. `x` is `h` with the edits of earlier inner steps; shares are over this batch, that of all processes, and memory.
        """
        with torch.enable_grad():
            leaf = x.detach().float().requires_grad_(True)
            p = self.assign(leaf, step, state)
            memory = state.of(AssignmentMemory).recall(state.group, step.visit, p.shape[1])
            p_hat, pi = _shares(state.collective.gather(p)[0], memory), self.pi(state).to(p)
            (g,) = torch.autograd.grad((p * (torch.log(p_hat / pi) + 1)).sum(), leaf)
        counted, own = state.collective.gather(self.sharper(p, x, step, state, self.counted_at))
        shares, remembered = _shares(counted, memory), float(memory[-1])
        excess = (len(counted) + remembered) * (shares - pi)  # images that are too many in each mode
        if remembered:
            excess = torch.where(excess > LEAST, excess, 0.0)
        g = g * pushed(counted, self.slack * excess)[own][:, None, None, None]
        norm, h_norm = row_norms(g), row_norms(h)
        sums = torch.stack([norm.square().sum(), (norm > 0).sum(), h_norm.sum(), norm.new_tensor(len(norm))])
        squares, moved, lengths, images = state.collective.sum(sums)
        rms, mean = (squares / moved.clamp(min=1)).sqrt(), lengths / images  # over the pushed, and over all images
        kl = kl_divergence(shares, pi)
        gate = min(1.0, kl / self.kappa) / self.inner_steps
        flat = FLAT
        if self.temperature != CALIBRATED and float(self.temperature) > self.counted_at:
            # of softer assignments, log ratios and their derivatives are both smaller by the temperature
            flat = FLAT * (self.counted_at / float(self.temperature)) ** 2
        size = self.effect(step) * gate * norm / (rms + flat / mean)
        return along(-g, size.clamp(max=self.limit), h), counted.mean(dim=0), kl


def _shares(p: Tensor, memory: Tensor) -> Tensor:
    """Return `p_hat` (K,) over the assignments (n, K) of all processes and the memory (K + 1,)."""
    memory = memory.to(p)
    return ((p.sum(dim=0) + memory[:-1]) / (len(p) + memory[-1])).clamp(min=EPSILON)


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
