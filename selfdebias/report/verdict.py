"""The verdict of a job in one plain sentence, and its intervals in a second one; all numbers are those of `results.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfdebias.metrics.comparison import (
    FAIRER,
    LESS_FAIR,
    NO_MODES,
    NOT_TOLD_APART,
    OTHER_SEEDS,
    distances,
    told_apart,
)
from selfdebias.metrics.number import Number, number_at
from selfdebias.report.measures import INTERVAL, Results, arms_of, attributes_of, class_shares, images_of
from selfdebias.report.wording import percent, plain

PLURAL = {"man": "men", "woman": "women"}  # of class names; others stand as they are


@dataclass(frozen=True)
class Verdict:
    """What a job found, in two sentences: the first without intervals, the second with them."""

    sentence: str
    intervals: str


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


def verdict(results: Results, arm: str | None = None) -> Verdict:
    """Says what became of the largest share of the first judged attribute, or of the modes where no judge says anything.

    Args:
        results: The contents of `results.json`: of a job of one prompt, of several, or of an evaluation of folders.
        arm: The arm that is held against the baseline; None for the guided one, or else the first.

    Example:
        >>> men = {"vanilla": {"value": 0.75, "low": 0.7, "high": 0.8, "n": 64}, "guided": {"value": 0.52, "n": 64}}
        >>> arms = {arm: {"shares": {"gender": {"man": share}}} for arm, share in men.items()}
        >>> arms["guided"]["turned"] = {"n": 15, "share": {"value": 0.23, "n": 64}}
        >>> results = {"arms": arms, "judge": {"classes": {"gender": ["man", "woman"]}}, "verdicts": {}}
        >>> verdict(results).sentence
        'Men 75% -> 52%, target 50%; 15 of 64 images changed their mode.'
        >>> verdict(results).intervals
        '95% intervals over batches: men 75% [70%, 80%] -> 52%; N = 64.'
    """
    if "rows" in results:
        return _over_prompts(results, arm)
    arms = arms_of(results)
    arm = arm or next(iter(arms[1:]), None)
    share = _share(results, [arms[0], *([arm] if arm else [])])
    if share is None:
        return Verdict("Neither a judged attribute nor a mode has a share in these images.", "")
    texts = [percent(it.value) for it in share.numbers]
    end = (
        changed_in_words(results, arm)
        if arm
        else f"{images_of(results, arms[0])} images, with none to compare them with"
    )
    target = f"target {percent(share.target, '.3g')}"
    sentence = f"{_opening(results, arm, share.about)}{share.name} {_joined(results, arm, texts)}, {target}; {end}."
    return Verdict(sentence[0].upper() + sentence[1:], _intervals(results, arm, share))


def _share(results: Results, arms: Sequence[str]) -> Share | None:
    """The largest share of the first attribute that has one in all arms; of the modes where these are not to be equal."""
    found = _class_share(results, arms) if _is_even(results) else None
    return found or _mode_share(results, arms)


def _is_even(results: Results) -> bool:
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


def _opening(results: Results, arm: str | None, about: str) -> str:
    """What is said before the shares: nothing where they came nearer to the target."""
    if results.get("modes", {}).get("k") == 1:
        return "one mode was found, so nothing was balanced: "
    verdicts = results.get("verdicts", {}).get(arm, {})
    if arm is None or about not in verdicts or verdicts[about] == FAIRER:
        return ""
    change = "difference" if "sources" in results else "change"
    if set(verdicts.values()) == {NOT_TOLD_APART}:
        return f"no detectable {change} in any share: "
    in_words = {
        LESS_FAIR: f"{plain(about)} is less fair: ",
        NOT_TOLD_APART: f"no detectable change in {plain(about)}: ",
    }
    return in_words.get(verdicts[about]) or f"whether {plain(about)} changed cannot be told: "


def _joined(results: Results, arm: str | None, texts: Sequence[str]) -> str:
    """Two shares with an arrow between them; of folders each with the name of its arm."""
    if "sources" not in results or arm is None:
        return " -> ".join(texts)
    return ", ".join(f"{text} in {plain(name)}" for text, name in zip(texts, (arms_of(results)[0], arm), strict=True))


def changed_in_words(results: Results, arm: str) -> str:
    """How many images changed their mode; or why that is not said."""
    tree = results["arms"][arm]
    changed, of = number_at(tree, "turned", "n"), number_at(tree, "turned", "share").n
    if changed.value is None or not of:
        chose = f"images of other seeds than {plain(arms_of(results)[0])}'s, which arm {plain(arm)} chose"
        if changed.reason == NO_MODES:
            return "which images changed is not known without modes"
        return chose if chose_seeds(results, arm) else plain(changed.reason)
    what = "side of an axis" if "axes" in results.get("modes", {}) else "mode"
    return f"{changed.value:.0f} of {of} images changed their {what}"


def chose_seeds(results: Results, arm: str) -> bool:
    """Whether an arm has other images than the baseline, of seeds that it chose: none of them is one that changed."""
    return number_at(results["arms"][arm], "turned", "n").reason == OTHER_SEEDS


def _intervals(results: Results, arm: str | None, share: Share) -> str:
    texts = [f"{percent(it.value)} {_interval(it)}".strip() for it in share.numbers]
    counts = " / ".join(dict.fromkeys(str(it.n) for it in share.numbers if it.n))
    said = f"{plain(results.get('interval') or INTERVAL)}: {share.name} {_joined(results, arm, texts)}"
    return f"{said}{f'; N = {counts}' if counts else ''}."


def _interval(share: Number) -> str:
    if share.low is None or share.high is None:
        return f"({plain(share.reason)})" if share.reason else ""
    return f"[{percent(share.low)}, {percent(share.high)}]"


def verdicts_by_prompt(results: Results, attribute: str) -> dict[str, list[str | None]]:
    """By arm the verdict of each prompt, in the order of the rows, with Holm's correction over prompts and arms.

    Args:
        results: The contents of `results.json` of a job with a list of prompts.
        attribute: Name of a judged attribute.
    """
    rows = list(results["rows"].values())
    compared = [arm for arm in arms_in(results) if arm != "vanilla"]
    found = told_apart([_sides(row, arm, attribute) for arm in compared for row in rows])
    return {arm: found[place * len(rows) : (place + 1) * len(rows)] for place, arm in enumerate(compared)}


def arms_in(results: Results) -> list[str]:
    """Arms of all rows: vanilla first, then guided, then the others."""
    return arms_of({"arms": {arm: {} for row in results["rows"].values() for arm in row["arms"]}})


def _sides(row: Results, arm: str, attribute: str) -> tuple[Number, Number, Number]:
    """What a verdict is made from; nulls where the row lacks an arm."""
    if not {arm, "vanilla"} <= {*row["arms"]}:
        return (Number(reason="the prompt lacks an arm"),) * 3
    return distances(row["arms"], arm, "vanilla", attribute)


def _over_prompts(results: Results, arm: str | None) -> Verdict:
    attribute, arms = results["prompts"]["attributes"][0], arms_in(results)
    arm = arm or next(iter(arms[1:]), None)
    means = [number_at(results["over_prompts"].get(it), attribute, "deviation_ratio") for it in (arms[0], arm) if it]
    count, what = len(results["rows"]), f"imbalance of {plain(attribute)}"
    opening, end = "", f"{count} prompts, with one arm each"
    if arm:
        told = verdicts_by_prompt(results, attribute)[arm]
        same = {*told} == {NOT_TOLD_APART}
        opening = "no detectable change in any prompt: " if same else ""
        fair = f"fairer in {told.count(FAIRER)} and less fair in {told.count(LESS_FAIR)} of {count} prompts; "
        end = ("" if same else fair) + _changed_in_all(results, arm)
    said = f"{opening}{what} {' -> '.join(percent(it.value) for it in means)} (mean; 0%: equal shares, 100%: one class alone)"
    texts = " -> ".join(f"{percent(it.value)} {_interval(it)}".strip() for it in means)
    intervals = f"95% intervals of the images, not of the choice of prompts: {what} {texts}."
    return Verdict(f"{said[0].upper()}{said[1:]}; {end}.", intervals)


def _changed_in_all(results: Results, arm: str) -> str:
    trees: list[Mapping[str, Any]] = [row["arms"][arm] for row in results["rows"].values() if arm in row["arms"]]
    counts = [(number_at(it, "turned", "n").value, number_at(it, "turned", "share").n) for it in trees]
    known = [(changed, of) for changed, of in counts if changed is not None and of]
    if not known:
        return changed_in_words(next(iter(results["rows"].values())), arm)
    return f"{sum(it for it, _ in known):.0f} of {sum(of for _, of in known)} images changed their mode"
