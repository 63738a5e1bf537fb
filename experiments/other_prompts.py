"""Beyond people: pets, fantasy creatures, peaceful moments, and a model without prompts. What are the modes, and do they move?"""

from __future__ import annotations

import sys

from experiments.pooled import interval, mode_lines, mode_shares
from experiments.variants import SOFT, Every, Study

VARIANTS = {
    "a pet": ["prompts=emoji_pets"],
    "a pet, k = 2": ["prompts=emoji_pets", "clustering.k=2"],
    "a fantasy creature": ["prompts=emoji_fantasy"],
    "a fantasy creature, k = 8": ["prompts=emoji_fantasy", "clustering.k=8"],
    "a peaceful moment": ["prompts=emoji_peaceful"],
    "a peaceful moment, k = 5": ["prompts=emoji_peaceful", "clustering.k=5"],
    "no prompt": ["model=emoji_ddpm"],
}
HEADER = (
    "| Prompt | modes | silhouette | ARI with | shares of the modes, vanilla | guided | `mode_fd`, vanilla | guided | "
    "`fd_hard` of the attribute, vanilla | guided | `kept_cosine` | turned | turned precision, of vanilla's own |\n|"
) + "---|" * 13


def rows(every: Every) -> list[str]:
    """One row for each prompt and number of modes."""
    return [_row(name, results) for name, results in every.items()]


def _row(name: str, results: dict) -> str:
    vanilla, guided = (results["arms"][arm] for arm in ("vanilla", "guided"))
    attribute, modes = results["prompts"]["attributes"][0], results["modes"]
    turned = guided["turned"]
    agreement = ", ".join(f"{key} {modes['ari'][key]:.2f}" for key in sorted(modes["ari"]))
    cells = [
        name, str(modes["k"]), f"{modes['silhouette']:.2f}", agreement, mode_shares(vanilla), mode_shares(guided),
        *(interval(arm["mode_fd"]) for arm in (vanilla, guided)),
        *(interval(arm[attribute]["fd_hard"]) for arm in (vanilla, guided)),
        interval(guided["kept_cosine"]), str(turned["n"]), interval(turned["precision_ratio"]),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def notes(every: Every) -> list[str]:
    """The words of each mode, and the judge's classes before and after."""
    lines = ["N = {} for each arm.".format(next(iter(every.values()))["arms"]["guided"]["mode_fd"]["n"]), ""]
    for name, results in every.items():
        lines += [f"**{name}.**", *(f"- {line}" for line in [*mode_lines(results), *_classes(results)]), ""]
    return lines


def _classes(results: dict) -> list[str]:
    """The shares of the judge's classes, for each attribute that is reported."""
    lines = []
    for attribute in results["prompts"]["attributes"]:
        arms = [results["arms"][arm]["shares"][attribute] for arm in ("vanilla", "guided")]
        moved = (f"{name} {arms[0][name]['value']:.2f} -> {arms[1][name]['value']:.2f}" for name in sorted(arms[0]))
        lines += [f"{attribute}: {', '.join(moved)}."]
    return lines


STUDY = Study(
    name="other_prompts",
    title="Beyond one prompt of people",
    seeds=(501, 502, 503),
    variants=VARIANTS,
    common=SOFT,
    rows=rows,
    header=HEADER,
    notes=notes,
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
