"""Guidance on a pipeline: which rows of its batch belong together, and the edit of each group at each step."""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from selfdebias.backbones.calling import Step, check_branches, normal_tensors, planned_steps
from selfdebias.backbones.denoisers import TEXT, Denoiser
from selfdebias.backbones.hspace import BottleneckHook
from selfdebias.guidance.base import Guidance
from selfdebias.guidance.groups import Group, Rule, conditions_of, groups_of
from selfdebias.guidance.over_axes import edit_all
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.state import GuidanceState
from selfdebias.modes.projection import SemanticProjector

SMALL = 8  # images of a prompt in a call, below which batches are balanced with those before them


class Context:
    """A context that warns when it is thrown away without having been entered; `_entered` is False until it is."""

    _entered = True  # until all is known to be right

    def __del__(self) -> None:
        if not self._entered:
            warnings.warn(
                "A debiaser was attached without `with`, so nothing was guided: with debiaser.attach(pipe): pipe(...).",
                stacklevel=2,
            )


class Attachment(Context):
    """A context in which the calls of one pipeline are guided; outside of it the pipeline is what it was before.

    Equal prompts of a call form a group that is balanced on its own, and so do equal ones with another negative prompt, or
    other conditioning. Memory is kept for each group, as long as the context is open. Where there is one mode, there is
    nothing to balance, and no image is edited.

    Args:
        pipeline: a diffusers pipeline with a UNet or a transformer, unmodified.
        guidance: how `h_t` is edited.
        schedule: when, and how strongly.
        state: memory, traces and semantics.
        small: what takes the place of guidance and schedule for groups of fewer than `SMALL` images; None for the same.
        on_prompts: gets the prompts of each call before it starts, with the images of the smallest group of each.

    Raises:
        ValueError: if the pipeline cannot be guided, or not with these semantics.
    """

    def __init__(
        self, pipeline: Any, guidance: Guidance, schedule: GuidanceWindow, state: GuidanceState, small: Rule | None = None,
        on_prompts: Callable[[Mapping[str, int]], None] | None = None,
    ):  # fmt: skip
        self.guidance, self.schedule, self.state = guidance, schedule, state
        self._rule, self._small, self._on_prompts = Rule(guidance, schedule), small, on_prompts
        self._hook = BottleneckHook(
            pipeline, self._act, self._begin, self._extrapolate, self._acts, self._end, state.close, guidance.site,
            state.blocks,
        )  # fmt: skip
        self._groups: list[Group] = []
        self._plain: dict[str, str] = {}  # by prompt, the conditioning that was seen first
        self._images, self._said = 0, False
        self._told: dict[str, tuple[Tensor, Tensor]] = {}  # by prompt and mode, images and the sum of their shares
        if guidance.site == "text":
            refuse_without_text(pipeline, self._hook.denoiser)
        schedule.check(pipeline)
        if state.semantics:
            refuse_other_width(self._hook.denoiser, state.semantics.projector.shape)
        self._entered = False

    def __enter__(self) -> Self:
        self._entered = True
        self._hook.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._hook.__exit__(*exception)

    def _begin(self, arguments: Mapping[str, Any]) -> None:
        """Form the groups of a call, and start it."""
        sampled_from = list(zip(groups_of(arguments), conditions_of(arguments), strict=True))
        generator = arguments.get("generator")  # seeds are known where each image has one of its own
        seeds = [it.initial_seed() for it in generator] if isinstance(generator, Sequence) else []
        self._images = len(sampled_from)
        places = {it: [i for i, other in enumerate(sampled_from) if other == it] for it in sampled_from}
        if self._on_prompts:
            sizes = {prompt: [len(places[it]) for it in places if it[0] == prompt] for prompt, _ in places}
            self._on_prompts({prompt: min(images) for prompt, images in sizes.items()})
        self._groups = []
        for (prompt, condition), own in places.items():
            plain = self._plain.setdefault(prompt, condition) == condition
            name = prompt if plain else f"{prompt} {condition}"
            rule = self._small if self._small and len(own) < SMALL else self._rule
            known = tuple(seeds[i] for i in own) if len(seeds) == self._images else ()
            self._groups.append(Group(name, prompt, known, torch.tensor(own), rule))
        self.state.begin(self._groups[0].name, self._groups[0].seeds)
        for group in self._groups:
            self._enter(group)

    def _enter(self, group: Group) -> None:
        self.state.enter(group.name, group.seeds, group.prompt)
        self.state.trace.closed_loop = bool(getattr(group.rule.guidance, "closed_loop", False))

    @property
    def shares(self) -> dict[str, Tensor]:
        """The shares of the modes, (K,), or of the sides of axes, (A, 2), float32 in [0, 1], by prompt, since the context began.

        They are those that the projector told at the last guided step of each call: an estimate, since later steps move some
        images on. Those of an axis that is left alone are NaN. Methods that know no modes (particle, cads, dc) have none: (0,).
        """
        found = {prompt: total / images for prompt, (images, total) in self._told.items()}
        return {prompt: it.reshape(-1, 2) for prompt, it in found.items()} if self.state.axes else found

    def _tell(self) -> None:
        """Add what the projector told of the images of a call that ended."""
        for group in self._groups:
            self._enter(group)
            trace, best = self.state.trace, self.state.best
            if shares := [it for it, block in zip(trace.p_hat, trace.block, strict=True) if best in (None, block)]:
                images, total = self._told.get(group.prompt, (torch.zeros_like(shares[-1]),) * 2)
                known = len(group.places) * ~shares[-1].isnan()  # of an axis there is none where its edit was skipped
                self._told[group.prompt] = images + known, total + known * shares[-1].nan_to_num()

    @property
    def _one_mode(self) -> bool:
        """Whether there is nothing to balance, so that no image is edited."""
        semantics = self.state.semantics if self.guidance.balances else None
        return semantics is not None and len(semantics.bank.target) == 1

    def _acts(self, step: Step) -> bool:
        """Whether a group is edited at a step."""
        return not self._one_mode and any(group.rule.at(step).weight > 0 for group in self._groups)

    def _extrapolate(self, step: Step) -> float:
        if self._one_mode:
            return 1.0
        steps = [(group.rule.guidance, group.rule.at(step)) for group in self._groups]
        return max(guidance.extrapolation(it) if it.weight else 1.0 for guidance, it in steps)

    def _act(self, h: Tensor, step: Step) -> Tensor | None:
        """Return the edited activation, or None where none of its rows is edited."""
        if not self._acts(step):
            return None
        self.state.turn_to(step.block)
        self._check(h, step)
        start = time.perf_counter()
        with normal_tensors():
            h = h.clone() if h.is_inference() else h
            edited = h.clone()
            for group in self._groups:
                self._enter(group)
                guidance, own, rows = group.rule.guidance, group.rule.at(step), self._rows(group, step)
                if own.weight > 0:
                    edited[rows] = edit_all(guidance, h[rows], own, self.state)
        self.state.seconds += time.perf_counter() - start
        return edited

    def _rows(self, group: Group, step: Step) -> Tensor | slice:
        """Return where the images of a group are in the stacked batch."""
        if len(self._groups) == 1:
            return slice(None)
        return torch.cat([group.places + b * self._images for b in range(len(step.branches))])

    def _end(self, count: int) -> None:
        """Note the shares of a call; warn, once, where a whole one went by without a guided step."""
        self._tell()
        if self._said or self._one_mode or any(self._acts(step) for step in planned_steps(0, count)):
            return
        self._said = True
        window = self._groups[0].rule.schedule
        warnings.warn(
            f"Nothing was guided: none of the {count} steps of this call lies between {window.start} and {window.stop} of "
            f"them. Take more steps, or another schedule.",
            stacklevel=2,
        )

    def _check(self, h: Tensor, step: Step) -> None:
        check_branches(h, step.branches, self._images)
        if self.state.semantics and self.guidance.site == "bottleneck":
            refuse_other_size(h, self.state.semantics.projector)


def refuse_without_text(pipeline: Any, denoiser: Denoiser) -> None:
    """Raise a ValueError for a pipeline whose denoiser is given no text embeddings that could be edited."""
    if TEXT not in inspect.signature(denoiser.module.forward).parameters:
        raise ValueError(
            f"`pipeline` must be given a text for this guidance, which edits its embedding, got {type(pipeline).__name__}, "
            f"which takes none: choose one that edits `h_t`, such as guidance=transport."
        )


def refuse_other_width(denoiser: Denoiser, shape: Sequence[int]) -> None:
    """Raise a ValueError if `h_t` has another width than the activations (C, H, W) that were fitted."""
    if denoiser.width != shape[0]:
        raise ValueError(
            f"`pipeline` must have an `h_t` of {shape[0]} channels, which the projector was fitted on, got {denoiser.width} in its "
            f"{denoiser.title}: fit on this model, with SelfDebias.fit(pipeline, ...)."
        )


def refuse_other_size(h: Tensor, projector: SemanticProjector) -> None:
    """Raise a ValueError if activations (B, C, H, W) have another size than those that a projector was fitted on."""
    shape = (projector.shape[0], *projector.places)
    if tuple(h.shape[1:]) != shape:
        raise ValueError(
            f"`h_t` must have the shape {shape} that the projector was fitted on, got {tuple(h.shape[1:])}: sample at the "
            f"same height and width, or fit anew at this size."
        )
