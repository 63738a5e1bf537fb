"""The 20 occupations of Emoji World, one configuration: modes transferred from "a person", own ones, or those of a mixture.

The default, but for 128 images of each prompt to fit on. Chosen on six of the occupations and seed 101.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from experiments.pooled import INTERVALS, RESULTS, interval, run_rows
from experiments.variants import SOFT, run_variants
from selfdebias.config.sources import read_option
from selfdebias.report.explanations import judge_in_words

SEEDS = (401, 402, 403)
EXTREME = ("doctor", "office-worker", "mechanic")  # 0.97, 0.03 and 0.95 of their training drawings are men
LOOKED_AT = ("farmer", "teacher", "judge", "pilot", "cook", "doctor")  # when the configuration was chosen
HELD_OUT = ("student", "teacher", "office-worker", "astronaut", "judge", "construction-worker")  # every third one
COMMON = [
    "prompts=emoji_occupations",
    "prompts.attributes=[gender, tone, occupation]",
    "collect.n_images=128",  # of each prompt
]
CARRIED = "bank=carried"
FITTED = [
    text
    for it in read_option("prompts", "emoji_occupations")["subjects"]
    if (text := f"an emoji of {it}") and it.split(" ", 1)[1].replace(" ", "-") not in HELD_OUT
]
STAGES = "stages=[collect,discover,project,generate,evaluate]"
VARIANTS = {
    "transport": [CARRIED],
    "soft": [CARRIED, *SOFT],
    "self_debias": [CARRIED, "guidance=self_debias"],
    "own": ["bank=own", *SOFT],
    "mixture": ["bank=mixture", f"bank.fitting=[{', '.join(FITTED)}]", "clustering.k=2", *SOFT],
}
TITLES = {
    "soft": "transport, temperature 0.3",
    "own": "transport, temperature 0.3, each occupation's own modes",
    "mixture": "transport, temperature 0.3, the two modes of a mixture of 14 of the occupations",
}
FEWER = {"self_debias": 1, "own": 1, "mixture": 1}  # seeds, of the first ones
ROW = (
    "| Occupation | men, vanilla | men, guided | deviation ratio, vanilla | guided | occupation shown, vanilla | guided | "
    "`kept_cosine` | switched | precision of switched, of vanilla's own |\n|" + "---|" * 10
)


def main(arguments: Sequence[str], seeds: Sequence[int] = SEEDS) -> None:
    """Run the variants, and write one table, anew after each of them; rows of the others are kept, see `run_variants`.

    Args:
        arguments: overrides of the command line; words without ``=`` choose the variants of these names.
        seeds: generate seeds.
    """
    overrides = [text for text in arguments if "=" in text]
    asked = [text for text in arguments if "=" not in text] or list(VARIANTS)
    variants = {name: [*COMMON, STAGES, *variant, *overrides] for name, variant in VARIANTS.items()}
    own_seeds = {name: seeds[: FEWER.get(name, len(seeds))] for name in VARIANTS}
    run_variants("occupations", variants, asked, own_seeds, page, run_rows)


def page(every: dict[str, dict]) -> str:
    """Write the tables of all variants.

    Args:
        every: pooled results by variant.
    """
    text = ["# Occupations", "", f"`python -m experiments.occupations {' '.join(every)}`.", ""]
    for name, results in every.items():
        hashes = ", ".join(results["config_hashes"])
        rows = {row: results["rows"][row] for row in results["row_names"]}  # whose order a JSON file loses
        usual = [row for row in rows if row not in EXTREME]
        fresh = [row for row in usual if row not in LOOKED_AT]
        lines = [occupation_row(row, rows[row]) for row in usual]
        lines += [mean_row(f"mean of the {len(usual)}", rows, usual)]
        lines += [mean_row(f"mean of the {len(fresh)} that nothing was chosen on", rows, fresh)]
        lines += [occupation_row(row, rows[row]) for row in EXTREME]
        lines += [mean_row(f"mean of the {len(EXTREME)}", rows, EXTREME)]
        if name == "mixture":
            mixed = [row for row in rows if row not in HELD_OUT]
            lines += [mean_row(f"mean of the {len(mixed)} that are in the mixture", rows, mixed)]
            lines += [mean_row(f"mean of the {len(HELD_OUT)} that are not", rows, HELD_OUT)]
        seeds = ", ".join(map(str, results["seeds"]["generate"]))
        text += [
            f"## {TITLES.get(name, name)}",
            "",
            f"Generate seeds {seeds}. Config hashes: {hashes}.",
            "",
            ROW,
            *lines,
            "",
            *_sheet(f"occupations-{name}.png"),
        ]
    return "\n".join([*text, below(next(iter(every.values())))])


def _sheet(file: str) -> list[str]:
    """A link to the sheet that `experiments.sheets` drew; nothing where it has not."""
    shown = f"![The first switched images of each occupation, vanilla above guided, seed {SEEDS[0]}]({file})"
    return [shown, ""] if (RESULTS / file).exists() else []


def below(results: dict) -> str:
    """Say what stands below the table: N, who judged, and what a mean is."""
    row = next(iter(results["rows"].values()))
    judge, seeds = judge_in_words(row), results["seeds"]["generate"]
    images = row["arms"]["guided"]["gender"]["fd_hard"]["n"] // len(seeds)
    return (
        f"N = {images} for each occupation, arm and seed. {judge[:1].upper()}{judge[1:]} "
        f"{INTERVALS} Means give each occupation the same weight, that of precision each switched image for which it is known."
    )


def occupation_row(row: str, results: dict) -> str:
    """Write the row of one occupation."""
    vanilla, guided = (results["arms"][arm] for arm in ("vanilla", "guided"))
    turned = guided["turned"]
    ratio = turned.get(
        "precision_ratio"
    )  # nothing is said of images of other seeds than vanilla's, where an arm chooses
    cells = [
        row.replace("-", " "), *(interval(arm["shares"]["gender"]["man"]) for arm in (vanilla, guided)),
        *(f"{_deviation(arm):.3f}" for arm in (vanilla, guided)), *(f"{_shown(row, arm):.3f}" for arm in (vanilla, guided)),
        _kept(guided["kept_cosine"]["value"]), *((str(turned["n"]), interval(ratio)) if ratio else ("n/a", "n/a")),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def mean_row(name: str, rows: dict, chosen: Sequence[str], arm: str = "guided") -> str:
    """Write the means over occupations, each with the same weight; precision over switched images.

    Args:
        name: of the row.
        rows: results by row of a job.
        chosen: those that are averaged.
        arm: that stands beside vanilla.
    """
    arms = {name: [rows[row]["arms"][it] for row in chosen] for name, it in (("vanilla", "vanilla"), ("guided", arm))}
    turned = [it["turned"] for it in arms["guided"]]
    paired = all("precision_ratio" in it for it in turned)  # not where an arm chooses: its images have other seeds
    known = [it for it in turned if paired and it["precision_ratio"]["value"] is not None]
    values, counts = [it["precision_ratio"]["value"] for it in known], [it["n"] for it in known]
    ratio = f"{np.average(values, weights=counts):.3f}" if known else "n/a"
    deviation = {arm: np.mean([_deviation(it) for it in found]) for arm, found in arms.items()}
    shown = {
        arm: np.mean([_shown(row, it) for row, it in zip(chosen, found, strict=True)]) for arm, found in arms.items()
    }
    cells = [
        f"**{name}**", "", f"{deviation['guided'] / deviation['vanilla']:.2f} of vanilla's deviation",
        *(f"**{deviation[arm]:.3f}**" for arm in arms), *(f"{shown[arm]:.3f}" for arm in arms),
        _kept(np.mean([it["kept_cosine"]["value"] for it in arms["guided"]]) if paired else None),
        str(sum(it["n"] for it in turned)) if paired else "n/a", ratio,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _kept(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _deviation(arm: dict) -> float:
    return arm["gender"]["deviation_ratio"]["value"]


def _shown(row: str, arm: dict) -> float:
    """The share of images in which the judge sees the occupation that was asked for."""
    return arm["shares"]["occupation"][row.replace("-", " ")]["value"]


if __name__ == "__main__":
    main(sys.argv[1:])
