"""The contract of selection: which of more seeds than images are delivered, so that the modes meet the target without an edit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from selfdebias.guidance.base import Guidance, Method, chosen_axes
from selfdebias.guidance.choosing import Cells
from selfdebias.guidance.shares import wanted_shares
from selfdebias.guidance.state import MethodState
from selfdebias.guidance.step_rule import AT_LEAST_1, AXES, TARGET, require
from selfdebias.guidance.transport import capacities, left_over
from selfdebias.modes.bank import AxesBank
from selfdebias.modes.semantics import AxesSemantics, Semantics

if TYPE_CHECKING:
    from selfdebias.guidance.selecting import Part

FIRST = 2.0  # seeds drawn for an image as long as nothing is known of the shares
KEPT = ("owed", "seen", "wrong")  # of an account, from call to call


class Selection(Method, ABC):
    """Draws more seeds than images are asked for, and delivers those whose modes meet the target.

    Images are those that the pipeline draws from their seeds, bit for bit up to the rounding of other batch sizes; only which
    seeds are delivered is decided here. Seeds of the call come first, further ones are spawned from them. What a call lacks is made
    up for in the next, so that numbers vary less than those of independent batches: intervals over batches are cautious.

    Args:
        limit: at most so many seeds are drawn for each image that is delivered, at least 1.
        target, axes: as in `SoftAssignmentGuidance`; the target of `steer` is what is missing, whatever its own.
        steer: guidance that edits further images where seeds alone do not do; None edits none.

    Raises:
        ValueError: if a value is out of range.
    """

    splits = False
    needs_encoder = True
    by_activations = True  # whether it can choose without a look at finished images

    def __init__(
        self, limit: float, target: Sequence[float] | str | None = None, axes: Sequence[int] | None = None,
        steer: Guidance | None = None,
    ):  # fmt: skip
        require(AT_LEAST_1, limit=limit)
        require(TARGET, target=target)
        require(AXES, axes=axes)
        self.limit, self.target, self.axes, self.steer = limit, target, axes, steer

    @property
    def version(self) -> int:
        """See `Method`: that of what it steers by."""
        return 1 if self.steer is None else self.steer.version

    def check(self, semantics: Semantics) -> None:
        """See `Method.check`."""
        wanted_shares(self.target, semantics.bank)
        if self.steer:
            self.steer.check(semantics)

    @abstractmethod
    def draw(self, parts: Sequence[Part]) -> None:
        """Draw seeds for the parts of a pipeline call, and deliver as many images of each as it asks for."""


@dataclass
class Account:
    """What is known of one prompt's images, call after call.

    Attributes:
        owed: of each axis, (K,) float64, images that each side got fewer than its share in earlier calls.
        seen: of each axis, (K,) int64, images of each side among all seeds that were looked at.
        wrong: of each axis, (K,) float64, images that were taken for being on a side, less those that in the end were.
        images: that are counted in `wrong`.
    """

    owed: list[Tensor]
    seen: list[Tensor]
    wrong: list[Tensor]
    images: int = 0


class SelectionState(MethodState):
    """The account of each prompt's images.

    Attributes:
        accounts: by group.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self._before: dict[str, Account] = {}

    def begin(self) -> None:
        """See `MethodState.begin`."""
        self._before = deepcopy(self.accounts)

    def forget(self) -> None:
        """See `MethodState.forget`."""
        self.accounts = self._before

    def account(self, group: str, sizes: Sequence[int]) -> Account:
        """Return a group's account, empty if there is none; `sizes` are the modes of each axis."""
        none = [torch.zeros(k, dtype=torch.float64) for k in sizes]
        return self.accounts.setdefault(group, Account(none, [it.long() for it in none], [it.clone() for it in none]))

    def tensors(self, group: str) -> dict[str, Tensor]:
        """See `MethodState.tensors`."""
        account = self.accounts.get(group)
        if account is None:
            return {}
        joined = {name: torch.cat(getattr(account, name)) for name in KEPT}
        return {**joined, "sizes": torch.tensor([*map(len, account.owed)]), "counted": torch.tensor(account.images)}

    def restore(self, group: str, tensors: Mapping[str, Tensor]) -> None:
        """See `MethodState.restore`."""
        if "sizes" in tensors:
            parts = {name: list(tensors[name].split(tensors["sizes"].tolist())) for name in KEPT}
            self.accounts[group] = Account(**parts, images=int(tensors["counted"]))


@dataclass
class Need:
    """What the images of one group of a call are to be.

    More images are asked for of a side on which fewer came out, in earlier calls, than were taken for being on it.

    Attributes:
        shares: of each axis that is balanced, (K,) wanted shares.
        account: of the group.
        count: number of images, n.
        counts: of each axis, (K,) int64 that sum to n: how many images are to be on each side.
    """

    shares: list[Tensor]
    account: Account
    count: int
    counts: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        account, each = self.account, self.count / max(self.account.images, 1)
        known = zip(self.shares, account.owed, account.wrong, account.seen, strict=True)
        self.counts = [capacities(self.count, pi, owed + each * wrong, seen) for pi, owed, wrong, seen in known]

    def expected(self, limit: float) -> int:
        """Return how many seeds are drawn, as far as is known, for the counts to be met: at most `limit` for each image."""
        if all(len(counts) == 1 for counts in self.counts):
            return self.count  # there is nothing to balance
        most = int(self.count * limit)
        if not any(int(seen.sum()) for seen in self.account.seen):
            return min(int(self.count * FIRST), most)
        return min(max(self._drawn_for(self.counts), self.count), most)

    def still(self, got: Sequence[Tensor], steered: bool) -> int:
        """Return how many more images have to be drawn, as far as is known, where the chosen ones have (K,) counts of each axis.

        Args:
            got: those counts.
            steered: whether images come to the side that they are wanted on.
        """
        missing = [(counts - have).clamp(min=0) for counts, have in zip(self.counts, got, strict=True)]
        return max(int(it.sum()) for it in missing) if steered else self._drawn_for(missing)

    def _drawn_for(self, counts: Sequence[Tensor]) -> int:
        """Return of how many seeds so many, (K,) of each axis, can be expected on each side."""
        shares = [(seen + 1) / (seen.sum() + len(seen)) for seen in self.account.seen]
        return int(max(float((own / share).max()) for own, share in zip(counts, shares, strict=True)) + 1 - 1e-9)

    def see(self, cells: Cells) -> None:
        """Take note of the modes of seeds, (n, A)."""
        for a, seen in enumerate(self.account.seen):
            seen += torch.from_numpy(np.bincount(cells[:, a], minlength=len(seen)))

    def book(self, got: Sequence[Tensor], planned: Sequence[Tensor]) -> None:
        """Carry over what the delivered images lack of their shares.

        Args:
            got: of each axis, (K,) images that are on each side.
            planned: images that were taken for being there when they were chosen.
        """
        self.account.images += self.count
        for a, (pi, counts, taken) in enumerate(zip(self.shares, got, planned, strict=True)):
            self.account.owed[a] = left_over(self.count, pi, self.account.owed[a], counts, 1.0)
            self.account.wrong[a] += taken - counts


def shares_of(selection: Selection, semantics: Semantics | AxesSemantics) -> list[Tensor]:
    """Return the wanted shares, (K,), of the partition, or of each axis that is balanced."""
    if not isinstance(semantics, AxesSemantics):
        return [wanted_shares(selection.target, semantics.bank)]
    own = [semantics.axes[a].bank for a in chosen_axes(selection, len(semantics.axes))]
    return [wanted_shares(selection.target, bank) for bank in own]


def wanting(
    semantics: Semantics | AxesSemantics, shares: Sequence[Tensor], axes: Sequence[int]
) -> Semantics | AxesSemantics:
    """Return semantics whose bank asks for other shares: of the partition, or of these axes."""
    found = _wanting(semantics, shares, axes)
    found.elsewhere = {block: _wanting(it, shares, axes) for block, it in semantics.elsewhere.items()}
    return found


def _wanting(
    semantics: Semantics | AxesSemantics, shares: Sequence[Tensor], axes: Sequence[int]
) -> Semantics | AxesSemantics:
    if not isinstance(semantics, AxesSemantics):
        bank = replace(semantics.bank, target=shares[0].float())
        return Semantics(semantics.projector, bank, semantics.means, semantics.classifier)
    banks = list(semantics.bank.axes)
    for a, own in zip(axes, shares, strict=True):
        banks[a] = replace(banks[a], target=own.float())
    return AxesSemantics(semantics.projector, AxesBank(tuple(banks)), semantics.means)


def cells_at(h: Tensor, timestep: float, semantics: Semantics | AxesSemantics, axes: Sequence[int]) -> Cells:
    """Return the likeliest mode, or side of each of these axes, (n, A), of activations (n, C, H, W) of the conditional branch."""
    own = [semantics.axes[a] for a in axes] if isinstance(semantics, AxesSemantics) else [semantics]
    with torch.no_grad():
        modes = [it.assign(h.float(), timestep, "cond", 1.0).argmax(dim=1) for it in own]
    return torch.stack(modes, dim=1).cpu().numpy()
