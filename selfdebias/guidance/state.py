"""What guidance knows while it runs: semantics, what methods keep, the trace of edits, and the processes that share a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step
from selfdebias.guidance.collective import ALONE, Collective
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.semantics import AxesSemantics, Semantics


@dataclass
class Trace:
    """What was done in one pipeline call, one entry for each edit: one at each guided step, or after each block.

    Attributes:
        index: of each edit, `Step.visit`.
        block: after which it was made; None in a UNet.
        p_hat: projected shares (K,) there.
        edit_norm: sizes of the edits (B,) there, relative to ``||h||``.
        kl: nats there.
        skipped: edits whose gradient was not finite.
        closed_loop: whether images of earlier calls that did not come to their mode were made up for.
    """

    index: list[int] = field(default_factory=list)
    block: list[int | None] = field(default_factory=list)
    p_hat: list[Tensor] = field(default_factory=list)
    edit_norm: list[Tensor] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    skipped: int = 0
    closed_loop: bool = False

    def add(self, step: Step, p_hat: Tensor, edit_norm: Tensor, kl: float) -> None:
        """Note an edit: where it was made, projected shares (K,), sizes relative to ``||h||`` (B,), and the KL in nats."""
        self.index.append(step.visit)
        self.block.append(step.block)
        self.p_hat.append(p_hat.float().cpu())
        self.edit_norm.append(edit_norm.float().cpu())
        self.kl.append(kl)

    def tensors(self, n_modes: int, batch: int) -> dict[str, Tensor]:
        """Return ``edit_index`` (S,) int64, ``p_hat`` (S, K), ``edit_norm`` (S, B) and ``kl`` (S,), float32; ``skipped`` (); where
        there are several blocks, ``edit_block`` (S,) int64."""
        several = [it for it in self.block if it is not None] if len({*self.block}) > 1 else []
        return {
            **({"edit_block": torch.tensor(several)} if several else {}),
            "edit_index": torch.tensor(self.index, dtype=torch.int64),
            "p_hat": torch.stack(self.p_hat) if self.p_hat else torch.zeros(0, n_modes),
            "edit_norm": torch.stack(self.edit_norm) if self.edit_norm else torch.zeros(0, batch),
            "kl": torch.tensor(self.kl),
            "skipped": torch.tensor(self.skipped),
        }


class MethodState:
    """What one method keeps over the pipeline calls of a context; the method reads it with `GuidanceState.of`.

    A method that keeps something derives a class of its own, beside the method. It is made without arguments, and holds what it
    keeps by group.
    """

    def begin(self) -> None:
        """Start a pipeline call."""

    def forget(self) -> None:
        """Go back to what was kept before the current call, which raised or was interrupted."""

    def tensors(self, group: str) -> dict[str, Tensor]:
        """Return what a resumed run needs to go on with a group; it is saved with each batch, beside the tensors of `Trace`."""
        return {}

    def restore(self, group: str, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` returned: called before a batch with all that was saved with the one before, of others too."""


M = TypeVar("M", bound=MethodState)


@dataclass
class GuidanceState:
    """State of guidance over the pipeline calls of one context.

    Attributes:
        semantics: projector and bank; None for guidance that needs none.
        projector: that of the semantics; where there are none, it may say after which block edits are made and what their size is
            relative to.
        sites: what is read after each block, where `h_t` is edited after several, the best one first; else empty.
        decides: whether it is the best block's turn, by which images are counted and given their modes.
        axes: the state of each axis by itself, where there are axes; else empty.
        group: name of the current group of images, which methods keep their state under: as a rule its prompt.
        prompt: that they are sampled from.
        seeds: seeds of the current batch's images.
        trace: what the current call did to the current group.
        traces: the same for every group of the current call.
        seconds: time spent in guidance.
        collective: the processes that sample the batch together.
    """

    semantics: Semantics | AxesSemantics | None = None
    projector: SemanticProjector | None = None
    group: str = ""
    prompt: str = ""
    seeds: tuple[int, ...] = ()
    trace: Trace = field(default_factory=Trace)
    traces: dict[str, Trace] = field(default_factory=dict)
    seconds: float = 0.0
    collective: Collective = ALONE
    axes: list[GuidanceState] = field(default_factory=list)
    sites: Mapping[int, Semantics | AxesSemantics] = field(default_factory=dict)
    decides: bool = True
    _methods: dict[type[MethodState], MethodState] = field(default_factory=dict)
    _restored: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)  # by group
    _in_call: bool = False

    def __post_init__(self) -> None:
        self.projector = self.semantics.projector if self.semantics else self.projector
        self.sites = self.semantics.sites if self.semantics else self.sites
        if isinstance(self.semantics, AxesSemantics):
            self.axes = [GuidanceState(it) for it in self.semantics.axes]

    def of(self, kind: type[M]) -> M:
        """Return what a method keeps, made at its first use from what `restore` was given."""
        if kind not in self._methods:
            kept = self._methods[kind] = kind()
            for group, tensors in self._restored.items():
                kept.restore(group, tensors)
            kept.begin()
        return cast(M, self._methods[kind])

    @property
    def blocks(self) -> list[int] | None:
        """After which blocks of a transformer `h_t` is edited; None in a UNet, and where none are known."""
        return sorted(self.sites) or (self.projector.blocks if self.projector else None)

    @property
    def best(self) -> int | None:
        """The block whose projector tells modes best; None where there is one."""
        return next(iter(self.sites), None)

    def turn_to(self, block: int | None) -> None:
        """Read and edit after another block, where there are several."""
        if block is None or block not in self.sites:
            return
        here = self.sites[block]
        self.projector, self.decides = here.projector, block == self.best
        if self.semantics is not None:
            self.semantics = here
        for axis, own in zip(self.axes, here.axes if isinstance(here, AxesSemantics) else (), strict=False):
            axis.semantics, axis.projector, axis.decides = own, own.projector, self.decides

    def require_semantics(self) -> Semantics:
        """Return the semantics of the current group's prompt, for what a guidance is given: standardised, where edits are.

        Raises:
            ValueError: if there are none, and the guidance needs them; or none of this prompt.
        """
        if self.semantics is None:
            raise ValueError(
                "`state.semantics` must hold a projector and a mode bank, got None: run discover and project first."
            )
        if isinstance(self.semantics, AxesSemantics):
            raise ValueError("`state.semantics` must be those of one axis, got several: guide each in its own state.")
        own = self.semantics.of_prompt(self.prompt)
        return own.standardised if own.projector.relative_to == "standardised" else own

    def begin(self, group: str, seeds: tuple[int, ...]) -> None:
        """Start a pipeline call, with new traces."""
        self.traces, self._in_call = {}, True
        for kept in self._methods.values():
            kept.begin()
        for axis in self.axes:
            axis.begin(group, seeds)
        self.enter(group, seeds)

    def close(self, whole: bool) -> None:
        """End the current call; of one that raised or was interrupted, methods forget what it left."""
        if self._in_call and not whole:
            for kept in self._methods.values():
                kept.forget()
        self._in_call = False
        for axis in self.axes:
            axis.close(whole)

    def enter(self, group: str, seeds: tuple[int, ...], prompt: str | None = None) -> None:
        """Turn to one group of the current call; its prompt is its name, unless another one is given."""
        self.group, self.prompt = group, group if prompt is None else prompt
        self.seeds, self.trace = seeds, self.traces.setdefault(group, Trace())
        for axis in self.axes:
            axis.collective = self.collective
            axis.enter(group, seeds, prompt)

    def skips(self, edit: Tensor) -> bool:
        """Whether an edit is left out, as it is not finite in some process; the trace counts it."""
        skipped = self.collective.any(not torch.isfinite(edit).all())
        self.trace.skipped += skipped
        return skipped

    def kept_tensors(self) -> dict[str, Tensor]:
        """Return what methods keep of the current group, so that a resumed run goes on from it; axis a's as ``axis-a/name``."""
        kept = {name: x for it in self._methods.values() for name, x in it.tensors(self.group).items()}
        of_axes = [axis.kept_tensors() for axis in self.axes]
        return kept | {f"axis-{a}/{name}": x for a, own in enumerate(of_axes) for name, x in own.items()}

    def restore(self, group: str, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `kept_tensors` returned."""
        self._restored[group] = tensors
        for kept in self._methods.values():
            kept.restore(group, tensors)
        for a, axis in enumerate(self.axes):
            prefix = f"axis-{a}/"
            own = {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
            axis.restore(group, own)
