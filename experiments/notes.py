"""What stands below the table of a study: each note is made of all its variants' pooled results, and a study names its notes."""

from __future__ import annotations

from collections.abc import Callable

import yaml

from experiments.pooled import mode_lines, mode_shares, modes_in_words, quality_table
from experiments.variants import Every
from selfdebias.report.comparisons import verdicts_in_words


def modes(every: Every) -> list[str]:
    """How many modes the first variant found, and how they agree with what is judged."""
    return [modes_in_words(next(iter(every.values())))]


def modes_of_each(every: Every) -> list[str]:
    """The same for each variant."""
    return [f"- {name}: {modes_in_words(results)}" for name, results in every.items()]


def captions(every: Every) -> list[str]:
    """The captions of the first variant's modes."""
    return [f"- {line}" for line in mode_lines(next(iter(every.values())))]


def captions_and_classes(every: Every) -> list[str]:
    """N; and by variant the captions of the modes, and the judge's classes before and after."""
    lines = [f"N = {next(iter(every.values()))['arms']['guided']['mode_fd']['n']} for each arm.", ""]
    for name, results in every.items():
        lines += [f"**{name}.**", *(f"- {line}" for line in [*mode_lines(results), *_classes(results)]), ""]
    return lines


def _classes(results: dict) -> list[str]:
    lines = []
    for attribute in results["prompts"]["attributes"]:
        vanilla, guided = (results["arms"][arm]["shares"][attribute] for arm in ("vanilla", "guided"))
        moved = (f"{name} {vanilla[name]['value']:.2f} -> {guided[name]['value']:.2f}" for name in sorted(vanilla))
        lines.append(f"{attribute}: {', '.join(moved)}.")
    return lines


def verdicts(every: Every) -> list[str]:
    """What is fairer than vanilla and what is not, of the variant that has a random control, or else of the first."""
    random = [results for results in every.values() if "random" in results["arms"]]
    return [f"- {line}" for line in verdicts_in_words((random or [*every.values()])[0])]


def target_shares(every: Every) -> list[str]:
    """How far the shares of the larger mode, and of the judge's class that agrees with it, are from those asked for.

    Where equal shares of several modes are asked for, the shares of all modes.
    """
    lines = []
    for name, results in every.items():
        guided, target = results["arms"]["guided"], _target(results)
        if target == "uniform":
            lines.append(f"- {name}: {mode_shares(guided)}.")
        elif target:
            mode, men = guided["mode_shares"]["0"]["value"], guided["shares"]["gender"]["man"]["value"]
            lines.append(
                f"- {name}: asked for {target[0]:.2f} of the larger mode; it has {mode:.3f}, {abs(mode - target[0]):.3f} off; "
                f"men {men:.3f}, {abs(men - target[0]):.3f} off."
            )
    return lines


def _target(results: dict) -> list[float] | str | None:
    given = [text.partition("=")[2] for text in results["overrides"] if text.startswith("guidance.target=")]
    return yaml.safe_load(given[-1]) if given else None


def compared_to_first(every: Every) -> list[str]:
    """Whether the gender distance of each variant is higher or lower than the first one's, by intervals that do not overlap.

    Example:
        >>> def arm(low, high):
        ...     return {"arms": {"guided": {"gender": {"fd_hard": {"low": low, "high": high}}}}}
        >>> compared_to_first({"base": arm(0.0, 0.1), "a": arm(0.2, 0.3), "b": arm(0.05, 0.3)})
        ['- a: gender `fd_hard` higher.', '- b: gender `fd_hard` no detectable difference.']
    """
    found = {name: results["arms"]["guided"]["gender"]["fd_hard"] for name, results in every.items()}
    base, *others = found
    lines = []
    for name in others:
        higher, lower = found[name]["low"] > found[base]["high"], found[name]["high"] < found[base]["low"]
        lines.append(
            f"- {name}: gender `fd_hard` {'higher' if higher else 'lower' if lower else 'no detectable difference'}."
        )
    return lines


def axis_accuracy(every: Every) -> list[str]:
    """How well the first variant's projector separates the sides of each axis."""
    accuracy = ", ".join(f"{it:.2f}" for it in next(iter(every.values()))["axis_accuracy"])
    return [
        f"The projector tells the sides of axes 0, 1, 2 and so on in {accuracy} of held-out images (mean over timesteps)."
    ]


def composition(every: Every) -> list[str]:
    """A table of each value's share in the same noise, vanilla and guided, with what composition predicts."""
    lines = ["| Arm | attribute | vanilla -> guided (predicted by composition) |", "|" + "---|" * 3]
    for name, results in every.items():
        guided, vanilla = results["arms"]["guided"], results["arms"]["vanilla"]
        for attribute in results["prompts"]["attributes"]:
            predicted = guided["composition"][attribute]["predicted_shares"]
            three = (vanilla["shares"][attribute], guided["shares"][attribute], predicted)
            shares = []
            for value in results["judge"]["classes"][attribute]:
                before, after, expected = (it[value]["value"] for it in three)
                shares.append(f"{value} {before:.3f} -> {after:.3f} ({expected:.3f})")
            lines.append(f"| {name} | {attribute} | {', '.join(shares)} |")
    return lines


def axes(every: Every) -> list[str]:
    """What each variant's axes are, by captions and by how their sides agree with the judge."""
    lines = []
    for name, results in every.items():
        words = results["mode_words"]
        for a, axis in enumerate(results["modes"].get("axes", [])):
            ari = ", ".join(f"{key} {axis['ari'][key]:.2f}" for key in ("gender", "tone", "age"))
            ends = " against ".join("; ".join(words[2 * a + s][:2]) or "no caption" for s in (0, 1))
            lines.append(f"- {name}: axis {a}, back in {axis['recurrence']:.2f} of the runs, ARI with {ari}: {ends}")
    return lines


def quality(every: Every) -> list[str]:
    """A table of the guided arms' quality by the features of each space."""
    return quality_table({name: (it, "guided") for name, it in every.items() if "random" not in it["arms"]})


NOTES: dict[str, Callable[[Every], list[str]]] = {
    it.__name__: it
    for it in (
        modes, modes_of_each, captions, captions_and_classes, verdicts, target_shares, compared_to_first, axis_accuracy,
        composition, axes, quality,
    )
}  # fmt: skip
