"""The verdict of a job in one plain sentence, and its intervals in a second one; all numbers are those of `results.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfdebias.metrics.comparison import NO_MODES, OTHER_SEEDS
from selfdebias.metrics.number import Number, number_at
from selfdebias.metrics.verdicts import FAIRER, LESS_FAIR, NOT_TOLD_APART, distances, told_apart
from selfdebias.report.measures import Results, arms_of, images_of, level_in_words, level_of
from selfdebias.report.movement import Share, came_nearer, is_unsure, less_even, share_of
from selfdebias.report.wording import percent, plain


@dataclass(frozen=True)
class Verdict:
    """What a job found, in two sentences: the first without intervals, the second with them."""

    sentence: str
    intervals: str


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
    share = share_of(results, arm)
    if share is None:
        return Verdict("Neither a judged attribute nor a mode has a share in these images.", "")
    texts = [percent(it.value) for it in share.numbers]
    end = (
        changed_in_words(results, arm)
        if arm
        else f"{images_of(results, arms[0])} images, with none to compare them with"
    )
    unsure, target = is_unsure(results, arm, share), f"target {percent(share.target, '.3g')}"
    opening = "" if unsure else _opening(results, arm, share.about)
    said = [f"{opening}{share.name} {_joined(results, arm, texts)}, {target}"]
    said += [_too_few(images_of(results, arm)), end] if arm and unsure else [end]
    sentence = "; ".join([*said, *less_even(results, arm, share.about)]) + "."
    return Verdict(sentence[0].upper() + sentence[1:], _intervals(results, arm, share))


def _too_few(images: int | None, of_prompts: bool = False) -> str:
    """What is said where shares came nearer to their target, and no test tells it from chance."""
    each, what = (" per prompt", " of any single prompt") if of_prompts else ("", "")
    return f"{images or 'these'} images{each} are too few to be sure{what}"


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
    return f"{changed.value:.0f} of {of} images changed their {side_or_mode(results)}"


def side_or_mode(results: Results) -> str:
    """What an image may have changed."""
    return "side of an axis" if "axes" in results.get("modes", {}) else "mode"


def chose_seeds(results: Results, arm: str) -> bool:
    """Whether an arm has other images than the baseline, of seeds that it chose: none of them is one that changed."""
    return number_at(results["arms"][arm], "turned", "n").reason == OTHER_SEEDS


def _intervals(results: Results, arm: str | None, share: Share) -> str:
    texts = [f"{percent(it.value)} {_interval(it)}".strip() for it in share.numbers]
    counts = " / ".join(dict.fromkeys(str(it.n) for it in share.numbers if it.n))
    said = f"{level_in_words(results)} intervals over batches: {share.name} {_joined(results, arm, texts)}"
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
    found = told_apart([_sides(row, arm, attribute) for arm in compared for row in rows], level_of(results))
    return {arm: found[place * len(rows) : (place + 1) * len(rows)] for place, arm in enumerate(compared)}


def highest_level(every: Iterable[Results | None]) -> float:
    """The highest level of the intervals of several jobs, which verdicts over all of them have; 0.95 where none is known."""
    return max((level_of(results) for results in every if results is not None), default=level_of({}))


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
        nearer = same and came_nearer(*(it.value for it in means))
        opening = "no detectable change in any prompt: " if same and not nearer else ""
        if {*told} == {None}:
            opening = "whether a prompt became fairer cannot be told (no intervals): "
        fair = (
            ""
            if opening
            else f"fairer in {told.count(FAIRER)} and less fair in {told.count(LESS_FAIR)} of {count} prompts; "
        )
        few = f"{_too_few(_images_of_rows(results, arm), of_prompts=True)}; " if nearer else ""
        end = ("" if same else fair) + few + _changed_in_all(results, arm)
    said = f"{opening}{what} {' -> '.join(percent(it.value) for it in means)} (mean; 0%: equal shares, 100%: one class alone)"
    texts = " -> ".join(f"{percent(it.value)} {_interval(it)}".strip() for it in means)
    intervals = f"{level_in_words(results)} intervals of the images, not of the choice of prompts: {what} {texts}."
    return Verdict(f"{said[0].upper()}{said[1:]}; {end}.", intervals)


def _images_of_rows(results: Results, arm: str) -> int | None:
    return max((images_of(row, arm) or 0 for row in results["rows"].values() if arm in row["arms"]), default=None)


def _changed_in_all(results: Results, arm: str) -> str:
    trees: list[Mapping[str, Any]] = [row["arms"][arm] for row in results["rows"].values() if arm in row["arms"]]
    counts = [(number_at(it, "turned", "n").value, number_at(it, "turned", "share").n) for it in trees]
    known = [(changed, of) for changed, of in counts if changed is not None and of]
    if not known:
        return changed_in_words(next(iter(results["rows"].values())), arm)
    what = side_or_mode(next(iter(results["rows"].values())))
    return f"{sum(it for it, _ in known):.0f} of {sum(of for _, of in known)} images changed their {what}"
