"""What guidance knows while it runs: the semantics of `h_t`, the memory of earlier batches, and the trace of its edits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from selfdebias.guidance.collective import ALONE, Collective
from selfdebias.modes.axes_bank import AxesBank
from selfdebias.modes.bank import ModeBank
from selfdebias.modes.means import ModeMeans
from selfdebias.modes.projection import SemanticProjector


class Semantics:
    """Reads the modes off a bottleneck activation: projector and bank together.

    Args:
        projector: `phi`, frozen.
        bank: the modes, in the space that the projector maps to.
        means: the modes in the activations themselves; None where they were not fitted.

    Raises:
        ValueError: if projector and bank do not fit.
    """

    def __init__(self, projector: SemanticProjector, bank: ModeBank, means: ModeMeans | None = None):
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
        self.means = means

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
        self.projector.to(h.device)
        t = torch.full((len(h),), timestep, device=h.device)
        if own is None:
            own = torch.full((len(h),), self.bank.branches.index(branch), device=h.device)
        z = self.projector(h, t, own)
        return torch.softmax(self.bank.scores(z, timestep, branch) / temperature, dim=1)

    def of_prompt(self, prompt: str) -> Semantics:
        """Return the semantics of one prompt; see `ModeBank.of_prompt`."""
        bank = self.bank.of_prompt(prompt)
        return self if bank is self.bank else Semantics(self.projector, bank, self.means)


class AxesSemantics:
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
        """Return itself: axes hold for every prompt."""
        return self


def shares_and_count(p: Tensor) -> Tensor:
    """Return the sums of assignments (B, K) over the images, and behind them their number: (K + 1,) float64.

    Example:
        >>> shares_and_count(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist()
        [1.5, 0.5, 2.0]
    """
    return torch.cat([p.double().sum(dim=0), p.new_tensor([len(p)], dtype=torch.float64)])


@dataclass
class Trace:
    """What was done in one pipeline call, one entry for each guided step.

    Attributes:
        index: of each guided step.
        p_hat: projected shares (K,) there.
        edit_norm: sizes of the edits (B,) there, relative to ``||h||``.
        kl: nats there.
        skipped: edits whose gradient was not finite.
        closed_loop: whether images of earlier calls that did not come to their mode were made up for.
    """

    index: list[int] = field(default_factory=list)
    p_hat: list[Tensor] = field(default_factory=list)
    edit_norm: list[Tensor] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    skipped: int = 0
    closed_loop: bool = False

    def add(self, index: int, p_hat: Tensor, edit_norm: Tensor, kl: float) -> None:
        """Note the edit of one step: projected shares (K,), sizes relative to ``||h||`` (B,), and the KL in nats."""
        self.index.append(index)
        self.p_hat.append(p_hat.float().cpu())
        self.edit_norm.append(edit_norm.float().cpu())
        self.kl.append(kl)

    def take_back(self, rows: Tensor) -> None:
        """Note that images, (B,) bool, are without any edit after all."""
        self.edit_norm = [torch.where(rows.cpu(), 0.0, norms) for norms in self.edit_norm]

    def tensors(self, n_modes: int, batch: int) -> dict[str, Tensor]:
        """Return ``edit_index`` (S,) int64, ``p_hat`` (S, K), ``edit_norm`` (S, B) and ``kl`` (S,), float32; ``skipped`` ()."""
        return {
            "edit_index": torch.tensor(self.index, dtype=torch.int64),
            "p_hat": torch.stack(self.p_hat) if self.p_hat else torch.zeros(0, n_modes),
            "edit_norm": torch.stack(self.edit_norm) if self.edit_norm else torch.zeros(0, batch),
            "kl": torch.tensor(self.kl),
            "skipped": torch.tensor(self.skipped),
        }


@dataclass
class TransportPlan:
    """Which mode each image of a group is to have.

    Attributes:
        owed: (K,) float64, images that each mode got fewer than its share in earlier batches.
        left: (K,) float64, the same after the current batch.
        modes: (n,) int64, the mode of each image of the current batch; None before it is assigned.
        ends: (n, K), the images' assignments at the end of a first pass; None where there is none.
        tried: (n,) bool, which images were once given another mode than that in which they ended there; None likewise.
    """

    owed: Tensor
    left: Tensor
    modes: Tensor | None = None
    ends: Tensor | None = None
    tried: Tensor | None = None


@dataclass
class GuidanceState:
    """State of guidance over the pipeline calls of one context.

    Attributes:
        semantics: projector and bank; None for guidance that needs none.
        axes: the state of each axis by itself, where there are axes; else empty.
        group: name of the current group of images, which memory is kept under: as a rule its prompt.
        prompt: that they are drawn from.
        seeds: seeds of the current batch's images.
        replay: by step index, (B,) edit sizes that a control repeats.
        memory: by (group, step index), (K + 1,) float64: decayed sums of earlier batches' assignments, and their count.
        plans: by group, what transport assigns.
        guided: whether the current pass is guided; the first of two is not.
        ends: by group and whether the pass was guided, (B, K) assignments at its end.
        trace: what the current call did to the current group.
        traces: the same for every group of the current call.
        seconds: time spent in guidance.
        collective: the processes that draw the batch together.
    """

    semantics: Semantics | AxesSemantics | None = None
    group: str = ""
    prompt: str = ""
    seeds: tuple[int, ...] = ()
    replay: Mapping[int, Tensor] = field(default_factory=dict)
    memory: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    plans: dict[str, TransportPlan] = field(default_factory=dict)
    guided: bool = True
    ends: dict[tuple[str, bool], Tensor] = field(default_factory=dict)
    trace: Trace = field(default_factory=Trace)
    traces: dict[str, Trace] = field(default_factory=dict)
    seconds: float = 0.0
    collective: Collective = ALONE
    axes: list[GuidanceState] = field(default_factory=list)
    _found: dict[tuple[str, int], Tensor] | None = None  # the memory as the current call found it; None between calls

    def __post_init__(self) -> None:
        if isinstance(self.semantics, AxesSemantics):
            self.axes = [GuidanceState(it) for it in self.semantics.axes]

    def require_semantics(self) -> Semantics:
        """Return the semantics of the current group's prompt.

        Raises:
            ValueError: if there are none, and the guidance needs them; or none of this prompt.
        """
        if self.semantics is None:
            raise ValueError(
                "`state.semantics` must hold a projector and a mode bank, got None: run discover and project first."
            )
        if isinstance(self.semantics, AxesSemantics):
            raise ValueError("`state.semantics` must be those of one axis, got several: guide each in its own state.")
        return self.semantics.of_prompt(self.prompt)

    def begin(self, group: str, seeds: tuple[int, ...], guided: bool = True) -> None:
        """Start a pass of a pipeline call: new traces and plans, the memory and what is owed kept."""
        self.traces, self.guided = {}, guided
        self.ends = {place: end for place, end in self.ends.items() if guided and not place[1]}
        self.plans = {name: TransportPlan(plan.left, plan.left) for name, plan in self.plans.items()}
        self._found = dict(self.memory)
        for axis in self.axes:
            axis.begin(group, seeds, guided)
        self.enter(group, seeds)

    def close(self, whole: bool) -> None:
        """End the current call; of one that raised or was interrupted, forget what it left owed and added to the memory."""
        if self._found is not None and not whole:
            self.plans = {name: TransportPlan(plan.owed, plan.owed) for name, plan in self.plans.items()}
            self.memory = self._found
        self._found = None
        for axis in self.axes:
            axis.close(whole)

    def enter(self, group: str, seeds: tuple[int, ...], prompt: str | None = None) -> None:
        """Turn to one group of the current call; its prompt is its name, unless another one is given."""
        self.group, self.prompt = group, group if prompt is None else prompt
        self.seeds, self.trace = seeds, self.traces.setdefault(group, Trace())
        for axis in self.axes:
            axis.collective = self.collective
            axis.enter(group, seeds, prompt)

    def recall(self, index: int, n_modes: int) -> Tensor:
        """Return the memory (K + 1,) of the current group at a step; zeros if there is none."""
        return self.memory.get((self.group, index), torch.zeros(n_modes + 1, dtype=torch.float64))

    def remember(self, index: int, p: Tensor, decay: float) -> None:
        """Add a batch's assignments (B, K), those of all processes, to the memory, after decaying what it holds by `decay`."""
        now = self.collective.sum(shares_and_count(p)).cpu()
        self.memory[self.group, index] = decay * (self.recall(index, p.shape[1]) + now)

    def plan(self, n_modes: int) -> TransportPlan:
        """Return the current group's plan; one that owes nothing if there is none."""
        nothing = torch.zeros(n_modes, dtype=torch.float64)
        return self.plans.setdefault(self.group, TransportPlan(nothing, nothing))

    def kept_tensors(self) -> dict[str, Tensor]:
        """Return the current group's memory and plan as tensors, so that a resumed run goes on from them."""
        if self.axes:
            own = [axis.kept_tensors() for axis in self.axes]
            return {f"axis-{a}/{name}": x for a, kept in enumerate(own) for name, x in kept.items()}
        plan = self.plans.get(self.group)
        if plan is None or plan.modes is None:
            return self.memory_tensors()
        return {**self.memory_tensors(), "owed": plan.left, "assigned": plan.modes}

    def restore(self, group: str, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `kept_tensors` returned."""
        if self.axes:
            for a, axis in enumerate(self.axes):
                own = {name.split("/", 1)[1]: x for name, x in tensors.items() if name.startswith(f"axis-{a}/")}
                axis.restore(group, own)
            return
        self.restore_memory(group, tensors)
        if "owed" in tensors:
            owed = tensors["owed"].clone()
            self.plans[group] = TransportPlan(owed, owed)

    def memory_tensors(self) -> dict[str, Tensor]:
        """Return the current group's memory as tensors."""
        kept = sorted((index, values) for (group, index), values in self.memory.items() if group == self.group)
        if not kept:
            return {"memory_index": torch.zeros(0, dtype=torch.int64), "memory": torch.zeros(0, 0, dtype=torch.float64)}
        return {
            "memory_index": torch.tensor([index for index, _ in kept]),
            "memory": torch.stack([values for _, values in kept]),
        }

    def restore_memory(self, group: str, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `memory_tensors` returned."""
        for index, values in zip(tensors["memory_index"].tolist(), tensors["memory"], strict=True):
            self.memory[group, index] = values.clone()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of the body as time spent in guidance."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
