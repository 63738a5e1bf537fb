"""All arms, with the encoder that was told captions alone and with the one that was told attributes: "an emoji of a person".

Seeds that nothing was looked at on. Settings are those that development seeds gave: of axes `axes_levers`, of the presets
`paper_levers`, of a partition the earlier studies. The bar, set before a seed of this study was drawn: with captions alone, gender
`fd_hard` at most 0.10 on the mean of the three fits and none above 0.15, and tone and age not worse than vanilla beyond
composition. The three fits of each encoder are drawn on all five seeds, all other rows on two of them. Further arms with the
encoder that was told attributes are in `person_arms` and `person_paper`, on other seeds.
"""

from __future__ import annotations

import sys

import numpy as np

from experiments.person_axes import HEADER, HONEST, TOLD, fitted, line
from experiments.pooled import quality_table
from experiments.variants import Every, Study

SEEDS, FEW = (711, 712, 713, 714, 715), (711, 712)
AXES, PARTITION = "clustering=axes", "clustering=spectral"
TRIALS, TRIALS_OF = "guidance.slack=1.5", "guidance.of.slack=1.5"  # for axes, by `axes_levers`
RANDOM = "edits as large, in random directions"
ARMS = {"self_debias": ["guidance=self_debias"], "mean_difference": ["guidance=mean_difference"]}
ORACLE = "told gender while guiding:"
PRESETS = {f"`experiment={name}`": [f"experiment={name}"] for name in ("paper", "paper_tuned", "official")}
VARIANTS = {
    **{f"captions, axes: transport, fit {fit}": [*HONEST, AXES, *fitted(fit), TRIALS] for fit in (0, 1, 2)},
    **{f"attributes, partition: transport, fit {fit}": [*TOLD, PARTITION, *fitted(fit)[:2]] for fit in (0, 1, 2)},
    **{f"captions, axes: {name}": [*HONEST, AXES, *more] for name, more in ARMS.items()},
    f"captions, axes: {RANDOM}": [*HONEST, AXES, "guidance=random", TRIALS_OF],
    "captions, partition: transport": [*HONEST, PARTITION],
    **{f"captions: {name}": [*HONEST, *more] for name, more in PRESETS.items()},
    "attributes, axes: transport": [*TOLD, AXES, TRIALS],
    "attributes: `experiment=paper_tuned`": [*TOLD, "experiment=paper_tuned"],
    f"{ORACLE} the judge's classes in place of modes": [*TOLD, PARTITION, "bank=supervised"],
    f"{ORACLE} prompts that state it": [*TOLD, PARTITION, "guidance=attribute_prompts"],
}
THIRD = {
    name: arm
    for name in VARIANTS
    for word, arm in ((RANDOM, "random"), ("prompts that state it", "attribute_prompts"))
    if word in name
}
THREE_FITS = [name for name in VARIANTS if "fit " in name]


def rows(every: Every) -> list[str]:
    """The vanilla images of both samplers, each above the arms that are drawn with it."""
    first = next(iter(every.values()))
    own = [name for name in every if "experiment=" not in name]
    preset = [name for name in every if "experiment=" in name]
    lines = [line("vanilla", first, "vanilla"), *(line(name, every[name], THIRD.get(name, "guided")) for name in own)]
    if preset:
        lines.append(line("vanilla, with the sampler of the presets", every[preset[0]], "vanilla"))
    return [*lines, *(line(name, every[name], "guided") for name in preset)]


def notes(every: Every) -> list[str]:
    """The mean of the three fits, what each fit found, and quality by the features of each space."""
    lines = []
    for kind in ("captions, axes", "attributes, partition"):
        fits = [every[name] for name in THREE_FITS if name.startswith(kind) and name in every]
        if len(fits) == 3:
            lines.append(f"- {kind}, mean of three fits: {over_fits([it['arms']['guided'] for it in fits])}")
    for name, results in every.items():
        for a, axis in enumerate(results["modes"].get("axes", []) if "fit " in name else []):
            agreement = ", ".join(
                f"{key} ARI {axis['ari'][key]:.2f}, AUC {axis['auc'][key]:.2f}" for key in ("gender", "tone", "age")
            )
            lines.append(f"- {name}: axis {a}, back in {axis['recurrence']:.2f} of the runs, {agreement}")
    table = quality_table({name: (it, THIRD.get(name, "guided")) for name, it in every.items()})
    return [*lines, "", *table]


def over_fits(arms: list[dict]) -> str:
    """The mean and the range over fits of what the bar asks for."""
    men = [arm["shares"]["gender"]["man"]["value"] for arm in arms]
    words = [f"men {np.mean(men):.3f} ({min(men):.3f} to {max(men):.3f})"]
    for attribute in ("gender", "tone", "age"):
        values = [arm[attribute]["fd_hard"]["value"] for arm in arms]
        words.append(f"{attribute} `fd_hard` {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    return ", ".join(words)


STUDY = Study(
    name="person_encoders",
    title='All arms, by what the encoder was told, "an emoji of a person"',
    seeds=SEEDS,
    seeds_of={name: FEW for name in VARIANTS if name not in THREE_FITS},
    variants=VARIANTS,
    header=HEADER,
    rows=rows,
    notes=notes,
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
