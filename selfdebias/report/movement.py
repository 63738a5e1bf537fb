"""What moved from the baseline to an arm: the share that a verdict speaks of, the modes, and attributes that became less even."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selfdebias.metrics.number import Number, number_at
from selfdebias.metrics.verdicts import LESS_FAIR, NOT_TOLD_APART
from selfdebias.report.measures import Results, arms_of, attributes_of, class_shares
from selfdebias.report.wording import plain

PLURAL = {"man": "men", "woman": "women"}  # of class names; others stand as they are
NEARER = 0.25  # of a distance from the target: a fall by less is none
LESS_EVEN = 0.1  # rise of `fd_hard` from which on it is said without being detectable


@dataclass(frozen=True)
class Share:
    """The share that a verdict speaks of.

    Attributes:
        about: The name of its verdict in `results.json`: an attribute, `modes`, `axis 0` and so on.
        name: Whose share it is.
        target: The share that was asked for.
        numbers: The share in the baseline and, if there is one, in the arm.
    """

    about: str
    name: str
    target: float
    numbers: Sequence[Number]


def share_of(results: Results, arm: str | None) -> Share | None:
    """The largest share of the first attribute that has one in all arms; of the modes where these are not to be equal.

    Args:
        results: The contents of `results.json` of a job of one prompt, or of an evaluation of folders.
        arm: The arm that is held against the first one; None where there is no other.
    """
    arms = [arms_of(results)[0], *([arm] if arm else [])]
    found = _class_share(results, arms) if is_even(results) else None
    return found or _mode_share(results, arms)


def is_even(results: Results) -> bool:
    """Whether the modes, or the sides of each balanced axis, were to be equal; also where no target is known."""
    return len({round(target, 6) for _, target in _targets(results)}) < 2


def _targets(results: Results) -> list[tuple[int, float]]:
    """Target share of each mode, or of each side of the axes that were balanced."""
    modes = results.get("modes", {})
    targets = [*enumerate(modes.get("target") or [])]
    balanced = modes.get("balanced") if "axes" in modes else None
    return [it for it in targets if balanced is None or it[0] // 2 in balanced]


def _class_share(results: Results, arms: Sequence[str]) -> Share | None:
    for attribute in attributes_of(results):
        by_arm = [class_shares(results, arm, attribute) for arm in arms]
        first = {name: it.value for name, it in by_arm[0].items() if it.value is not None}
        if first and all(any(it.value is not None for it in shares.values()) for shares in by_arm):
            name = max(first, key=lambda it: first[it])
            count = max(len(by_arm[0]), len(results.get("judge", {}).get("classes", {}).get(attribute, [])))
            numbers = [shares.get(name, Number(reason="there is no such class")) for shares in by_arm]
            return Share(attribute, PLURAL.get(name, plain(name)), 1 / count, numbers)
    return None


def _mode_share(results: Results, arms: Sequence[str]) -> Share | None:
    """The mode, or the side of a balanced axis, whose share in the baseline is farthest above its target."""
    above = {}
    for mode, target in _targets(results):
        share = number_at(results["arms"][arms[0]], "mode_shares", str(mode))
        if share.value is not None:
            above[mode, target] = share.value - target
    if not above:
        return None
    mode, target = max(above, key=lambda it: above[it])
    numbers = [number_at(results["arms"][arm], "mode_shares", str(mode)) for arm in arms]
    if "axes" in results["modes"]:
        return Share(f"axis {mode // 2}", f"side {mode % 2} of axis {mode // 2}", target, numbers)
    return Share("modes", f"mode {mode} of {len(results['modes']['target'])}", target, numbers)


def came_nearer(before: float | None, after: float | None) -> bool:
    """Whether a distance from the target fell by more than a quarter; False where one of them is unknown.

    Example:
        >>> came_nearer(0.22, 0.03), came_nearer(0.27, 0.24), came_nearer(None, 0.1)
        (True, False, False)
    """
    return before is not None and after is not None and after < (1 - NEARER) * before


def is_unsure(results: Results, arm: str | None, share: Share | None) -> bool:
    """Whether the share of a verdict came nearer to its target, and no test tells it from chance."""
    if arm is None or share is None or results.get("modes", {}).get("k") == 1:
        return False
    if results.get("verdicts", {}).get(arm, {}).get(share.about) != NOT_TOLD_APART:
        return False
    before, after = (None if it.value is None else abs(it.value - share.target) for it in share.numbers)
    return came_nearer(before, after)


def modes_came_nearer(results: Results, arm: str) -> bool:
    """Whether the modes, or the balanced axes on average, are nearer to their target than in the baseline."""
    trees = [results["arms"][it] for it in (arms_of(results)[0], arm)]
    axes = results.get("modes", {}).get("balanced", range(len(results.get("modes", {}).get("axes", []))))
    if not axes:
        return came_nearer(*(number_at(tree, "mode_fd").value for tree in trees))
    found = [[number_at(tree["axes"][a], "fd").value for a in axes if a < len(tree.get("axes", []))] for tree in trees]
    known = [(before, after) for before, after in zip(*found, strict=False) if None not in (before, after)]
    return came_nearer(sum(before or 0 for before, _ in known), sum(after or 0 for _, after in known))


def less_even(results: Results, arm: str | None, about: str) -> list[str]:
    """The judged attributes that became less even beside the one that a verdict is about: those where that is detectable, else
    the one that did so the most, if by much and where it can be told; none where the modes are not to be equal.

    Args:
        results: The contents of `results.json`.
        arm: The arm that is held against the first one.
        about: What the verdict is about.
    """
    others = [name for name in attributes_of(results) if name != about]
    if arm is None or not is_even(results):
        return []
    told = results.get("verdicts", {}).get(arm, {})
    if sure := [plain(name) for name in others if told.get(name) == LESS_FAIR]:
        return [f"less even: {', '.join(sure)}"]
    rises = {}
    for name in others:
        before, after = (number_at(results["arms"][it], name, "fd_hard").value for it in (arms_of(results)[0], arm))
        rises[name] = 0.0 if before is None or after is None or told.get(name) is None else after - before
    most = max(rises, key=lambda name: rises[name], default="")
    return [f"perhaps less even, not detectably: {plain(most)}"] if most and rises[most] > LESS_EVEN else []
