"""The 20 occupations: choosing among seeds, editing, and both, at what cost, by how rare the rarer gender is.

    python -m experiments.occupations_choosing [WORD ...]

Words choose the parts whose names hold one of them, and arms by their whole names, all without a word; arms that are not named
keep their numbers, as long as vanilla comes out as it did, and are held against the default of now. Modes are transferred from
"a person", and settings are those of "a person".
On development seed 301 `select_then_transport` left 0.34 men among teachers, of whom 0.03 are: since then, steered images that
did not come to their mode are drawn again. On seven occupations of seed 1001 it left up to 0.34 where the projector had told
the early mode wrongly: since then finished images are looked at, and that seed is spent. Reported are seeds 1002 to 1004.
`select` may draw 4 seeds for each image (2 in the first of the two batches of a prompt and seed), `resample` 8,
`select_then_transport` 2 and `transport_then_resample` 3. Cost is counted in rows that the denoiser evaluates, by a hook on it.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.occupations import EXTREME
from experiments.person_axes import HONEST, TOLD
from experiments.person_choosing import LABEL_FREE, TITLES, edited, ordered, refuse_unknown
from experiments.pooled import (
    INTERVALS,
    RESULTS,
    ROOT,
    interval,
    picked,
    read_results,
    rows_to_fit,
    run_jobs,
    write_study,
)
from selfdebias.jobs.sweeps.pooling import pool_jobs
from selfdebias.metrics.comparison import GUIDED
from selfdebias.metrics.number import json_of
from selfdebias.metrics.prompts import paired_over_prompts
from selfdebias.metrics.verdicts import holm
from selfdebias.report.explanations import judge_in_words
from selfdebias.report.figures import LIGHT, MARKERS, to_png
from selfdebias.storage.atomic import write_bytes

NAME, SEEDS = "occupations_choosing", (1002, 1003, 1004)
COMMON = [
    "prompts=emoji_occupations", "prompts.attributes=[gender, tone, occupation]", "bank=carried", "generate.n_images=64",
    "evaluate.reference_images=32", "stages=[collect,discover,project,generate,evaluate]",
]  # fmt: skip
PARTITION = [*COMMON, *TOLD, "clustering=spectral", "collect.n_images=128"]  # of each prompt, as in `occupations`
TOLD_CLASSES = [*(it for it in PARTITION if it != "bank=carried"), "bank=supervised"]  # of each prompt's own images
AXES = [*COMMON, *HONEST, "clustering=axes", "collect.n_images=256"]  # axes need as many
SETTINGS = {
    "attributes, partition": {
        "default": [*PARTITION, "guidance=attribute_prompts"],  # whose guided arm is transport
        "select": [*PARTITION, "guidance=select"],
        "resample": [*PARTITION, "guidance=resample"],
        "select, then transport": [*PARTITION, "guidance=select_then_transport"],
        "transport, then resample": [*PARTITION, "guidance=transport_then_resample"],
        **{name: [*PARTITION, *own] for name, own in LABEL_FREE.items()},
        "mean difference under transport's gate": [*PARTITION, "guidance=mean_transport", "guidance.slack=2.5"],
        "told the attribute: classifier guidance": [*TOLD_CLASSES, "guidance=classifier"],
    },
    "captions, axes": {
        "default": [*AXES, "guidance=transport"],
        "select": [*AXES, "guidance=select"],
        "resample": [*AXES, "guidance=resample"],
        "select, then transport": [*AXES, "guidance=select_then_transport"],
        "transport, then resample": [*AXES, "guidance=transport_then_resample"],
        **{name: [*AXES, *own] for name, own in LABEL_FREE.items()},
    },
}
# What is kept of the numbers of an arm on a prompt.
KEPT = ("gender", "occupation", "shares", "by_run", "mode_fd", "turned", "kept_cosine", "clip_score")
WITHOUT_FIT = ("vanilla", "attribute_prompts", "cads", "dc")
DELIVERED = (1, 10, 100, 1000)  # batches of 32
RARITY = {"at most 0.05": (0.0, 0.05), "0.05 to 0.25": (0.05, 0.25), "more than 0.25": (0.25, 0.5)}
HEAD = (
    "| Arm | deviation ratio, mean of 20 | less vanilla's | less the default's | better than the default | "
    + " | ".join(f"rarer gender {it}" for it in RARITY)
    + " | the 3 extreme ones | occupation shown | edited | rows |\n|"
    + "---|" * (9 + len(RARITY))
)


def measure(arms: Mapping[str, Sequence[str]], seeds: Sequence[int]) -> dict[str, Any]:
    """Run the jobs of all arms, and measure them pooled over the seeds, prompt by prompt, beside vanilla and the default.

    Returns:
        A results object as `pool_jobs` gives it, with `config_hashes` and `jobs`, the hashes by arm; by arm and prompt
        `rows_per_image` and `edited`, and by arm `rows_to_fit`, those that the denoiser evaluated for all that was fitted.
    """
    jobs = {name: run_jobs(overrides, seeds) for name, overrides in arms.items()}
    default = jobs.pop("default")
    found = pool_jobs(default, Path(ROOT), beside=jobs)
    costs: dict[str, dict[str, Any]] = {"rows_per_image": {}, "edited": {}, "rows_to_fit": {}}
    for arm in found["over_prompts"]:
        own, name = (jobs[arm], "guided") if arm in jobs else (default, arm)
        costs["rows_to_fit"][arm] = 0 if arm in WITHOUT_FIT else rows_to_fit(own[0])
        told = [json.loads((job / "results.json").read_text())["rows"] for job in own]
        costs["rows_per_image"][arm] = {
            row: float(np.mean([rows[row]["cost"]["rows_per_image"][name] for rows in told]))
            for row in found["row_names"]
        }
        costs["edited"][arm] = {row: sum(edited(job, name, row) for job in own) for row in found["row_names"]}
    made = {arm: [job.name for job in jobs.get(arm, default)] for arm in found["over_prompts"]}
    return {**found, **costs, "jobs": made, "config_hashes": each_once(made)}


def each_once(jobs: Mapping[str, Sequence[str]]) -> list[str]:
    """The hashes of all arms' jobs; several arms may be of one."""
    return [*dict.fromkeys(itertools.chain(*jobs.values()))]


def joined(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Put arms that were measured now beside those of before, and hold these against the default of now if that is another one.

    An arm of before whose numbers by run were not kept has no probability of improvement over another default.

    Raises:
        ValueError: if vanilla came out otherwise on a prompt.
    """
    if row := next((row for row in now["row_names"] if not came_out_as(before, now, "vanilla", row)), None):
        raise ValueError(f"vanilla came out otherwise on {row}: run the part without the names of arms.")
    same = all(came_out_as(before, now, "guided", row) for row in now["row_names"])
    old, new = (picked(it["rows"], KEPT) for it in (before, now))
    rows = {row: {**it, "arms": {**old[row]["arms"], **it["arms"]}} for row, it in new.items()}
    keys = ("over_prompts", "rows_per_image", "edited", "rows_to_fit", "jobs")
    beside = {key: {**before[key], **now[key]} for key in keys}
    beside["over_prompts"] |= {
        arm: {**it, "difference": {**it["difference"], GUIDED: apart_from_default(rows, arm, now)}}
        for arm, it in before["over_prompts"].items()
        if arm not in now["over_prompts"] and not same
    }
    return {**now, **beside, "rows": rows, "config_hashes": each_once(beside["jobs"])}


def came_out_as(before: Mapping[str, Any], now: Mapping[str, Any], arm: str, row: str) -> bool:
    """Whether an arm has the shares of before on a prompt, up to one image of a class: another machine may round differently."""
    then, again = (it["rows"][row]["arms"][arm]["shares"] for it in (before, now))
    pairs = [(it, then[attribute][name]) for attribute, own in again.items() for name, it in own.items()]
    return all(abs(it["value"] - other["value"]) <= 1.5 / it["n"] for it, other in pairs)


def apart_from_default(rows: Mapping[str, Mapping[str, Any]], arm: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """What `paired_over_prompts` says of an arm and the default, by attribute whose numbers were kept."""
    ordered_rows = {row: rows[row] for row in results["row_names"]}
    names = [name for name in results["prompts"]["attributes"] if name in KEPT]
    apart: dict[str, Any] = json_of({it: paired_over_prompts(ordered_rows, arm, GUIDED, it) for it in names})
    if any("by_run" not in row["arms"][arm] for row in rows.values()):
        for it in apart.values():
            del it["probability_of_improvement"]
    return apart


def rarer_share(row: Mapping[str, Any]) -> float:
    """The share of the rarer gender among the vanilla images of a prompt."""
    return min(it["value"] for it in row["arms"]["vanilla"]["shares"]["gender"].values())


def mean_deviation(results: Mapping[str, Any], arm: str, rows: Sequence[str]) -> float:
    """The mean of the gender deviation ratio over prompts."""
    return float(np.mean([results["rows"][row]["arms"][arm]["gender"]["deviation_ratio"]["value"] for row in rows]))


def mean_rows(results: Mapping[str, Any], arm: str, rows: Sequence[str]) -> float:
    """The mean over prompts of the denoiser's rows for a delivered image, over vanilla's."""
    counts = results["rows_per_image"]
    return float(np.mean([counts[arm][row] / counts["vanilla"][row] for row in rows]))


def by_rarity(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """The prompts by how rare the rarer gender is in vanilla images."""
    shares = {row: rarer_share(results["rows"][row]) for row in results["row_names"]}
    return {
        name: [row for row, q in shares.items() if low < q <= high or q == low == 0]
        for name, (low, high) in RARITY.items()
    }


def line(arm: str, results: Mapping[str, Any], title: str = "") -> str:
    """The row of one arm; "" for the title that it has in all tables."""
    means, every = results["over_prompts"][arm], results["row_names"]
    apart = [means.get("difference", {}).get(other, {}).get("gender") for other in ("vanilla", "guided")]
    shown = [results["rows"][row]["arms"][arm]["shares"]["occupation"][row.replace("-", " ")]["value"] for row in every]
    groups = [
        f"{mean_deviation(results, arm, rows):.3f} at {mean_rows(results, arm, rows):.2f}" if rows else "n/a"
        for rows in by_rarity(results).values()
    ]
    cells = [
        title or TITLES.get(arm, arm), interval(means["gender"]["deviation_ratio"]),
        *(interval(it["deviation_ratio"]) if it else "n/a" for it in apart),
        interval((apart[1] or {}).get("probability_of_improvement")), *groups,
        f"{mean_deviation(results, arm, EXTREME):.3f}", f"{np.mean(shown):.3f}", str(sum(results["edited"][arm].values())),
        f"{mean_rows(results, arm, every):.2f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def with_fit(results: Mapping[str, Any]) -> list[str]:
    """What an image costs with its part of the fit, over a vanilla image, by how many batches are delivered; a row for each arm."""
    lines = [
        "| Arm | " + " | ".join(f"{it:,} {'batch' if it == 1 else 'batches'}" for it in DELIVERED) + " |",
        "|" + "---|" * (1 + len(DELIVERED)),
    ]
    vanilla = float(np.mean(list(results["rows_per_image"]["vanilla"].values())))
    for arm in ordered(results["over_prompts"], SETTINGS):
        own, fit = mean_rows(results, arm, results["row_names"]), results["rows_to_fit"][arm]
        cells = [f"{own + fit / (32 * it * vanilla):.2f}" for it in DELIVERED]
        lines.append(f"| {TITLES.get(arm, arm)} | {' | '.join(cells)} |")
    return lines


def prompt_table(results: Mapping[str, Any]) -> list[str]:
    """A row for each prompt, the rarest rarer gender first: men, and the rows, of each arm."""
    arms = ordered(results["over_prompts"], SETTINGS)
    lines = [
        "| Occupation | " + " | ".join(TITLES.get(arm, arm) for arm in arms) + " |",
        "|" + "---|" * (len(arms) + 1),
    ]
    for row in sorted(results["row_names"], key=lambda row: rarer_share(results["rows"][row])):
        own = results["rows"][row]["arms"]
        cells = [
            f"{own[arm]['shares']['gender']['man']['value']:.3f} at {mean_rows(results, arm, [row]):.2f}"
            for arm in arms
        ]
        lines.append(f"| {row.replace('-', ' ')} | {' | '.join(cells)} |")
    return lines


def told_apart(results: Mapping[str, Any]) -> str:
    """Which arms leave less, or more, than the default, with Holm's correction over all arms that are held against it."""
    apart = {
        arm: own["difference"]["guided"]["gender"]["deviation_ratio"]
        for arm, own in results["over_prompts"].items()
        if "guided" in own.get("difference", {})
    }
    found: dict[str, list[str]] = {"less": [], "more": [], "no detectable difference": []}
    arms = ordered(apart, SETTINGS)
    for arm, p in zip(arms, holm([apart[arm]["p"] for arm in arms]), strict=True):
        side = "less" if apart[arm]["value"] < 0 else "more"
        found[side if p is not None and p < 0.05 else "no detectable difference"].append(TITLES.get(arm, arm))
    words = " ".join(f"*{side}*: {'; '.join(names)}." for side, names in found.items() if names)
    return f"Deviation against the default's, Holm's correction over the arms of this table: {words}"


def figure_file(part: str) -> str:
    """The file of the plot of a part."""
    return f"{NAME}-{'-'.join(re.findall(r'[a-z]+', part))}.png"


def draw(results: Mapping[str, Any]) -> Figure:
    """Deviation against cost, a panel for each rarity of the rarer gender, a mark for each arm."""
    groups = {name: rows for name, rows in by_rarity(results).items() if rows}
    figure = Figure(figsize=(4 * len(groups), 3.6), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for panel, (name, rows) in zip(panels, groups.items(), strict=True):
        for place, arm in enumerate(ordered(results["over_prompts"], SETTINGS)):
            point = mean_rows(results, arm, rows), mean_deviation(results, arm, rows)
            hollow = {"mfc": "none"} if place >= len(MARKERS) else {}
            style = {"color": LIGHT.mark(place), "label": TITLES.get(arm, arm), "ms": 8, **hollow}
            panel.plot(*point, MARKERS[place % len(MARKERS)], **style)
        panel.set_title(f"rarer gender {name} ({len(rows)} prompts)", fontsize=9)
        panel.set_xlabel("rows of the denoiser, over vanilla's")
        panel.grid(color=LIGHT.faint, linewidth=0.6)
        panel.set_ylim(bottom=-0.04)
    panels[0].set_ylabel("deviation ratio of gender, mean")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False
    )
    return figure


def page(every: Mapping[str, Mapping[str, Any]]) -> str:
    """Two tables for each part: means by how rare the rarer gender is, and each occupation."""
    first = next(iter(every.values()))
    judge = judge_in_words(next(iter(first["rows"].values())))
    text = [
        "# Choosing among seeds beside editing, 20 occupations",
        "",
        f"`python -m experiments.{NAME}`. {judge[:1].upper()}{judge[1:]} {INTERVALS} "
        "Differences are paired prompt by prompt, their intervals from resampling the prompts. Better than the default: the "
        "probability that on one prompt one run of the arm has the smaller `fd_hard`; n/a of arms that were measured before "
        "another default, whose numbers by run were not kept. Prompts by the share of the rarer gender "
        "among vanilla images: deviation ratio at rows. Rows: rows that the denoiser evaluates for a delivered image, over "
        "vanilla's, counted by a hook; what the fit costs is not in them. Edited: images with an edit of any size; of "
        "`transport, then resample` all, as all are drawn under guidance.",
    ]
    for name, results in every.items():
        one = next(iter(results["rows"].values()))
        images = one["arms"]["vanilla"]["gender"]["fd_hard"]["n"]
        counted = ", ".join(f"{len(rows)} have a rarer gender of {it}" for it, rows in by_rarity(results).items())
        text += [
            "",
            f"## {name[:1].upper()}{name[1:]}",
            "",
            f"{len(results['over_prompts'])} arms, {len(results['config_hashes'])} jobs, generate seeds "
            f"{', '.join(map(str, results['seeds']['generate']))}: N = {images} for each occupation and arm. "
            f"Of the prompts {counted}.",
            "",
            HEAD,
            *(line(arm, results) for arm in ordered(results["over_prompts"], SETTINGS)),
            "",
            told_apart(results),
            "",
            f"Cost of an image with its part of the fit ({results['rows_to_fit']['guided']:,} rows for transport), over a vanilla "
            "one, by how many batches of 32 are delivered:",
            "",
            *with_fit(results),
            "",
            f"![Deviation against cost]({figure_file(name)})",
            "",
            "Men, at rows; the rarest rarer gender first:",
            "",
            *prompt_table(results),
        ]
    return "\n".join(text)


def main(words: Sequence[str]) -> None:
    """Measure the parts and arms that are asked for, keep the other parts' numbers, and write the tables."""
    every_arm = dict.fromkeys(itertools.chain(*SETTINGS.values()))
    others = [word for word in words if word not in every_arm]
    refuse_unknown(others, [*SETTINGS], f"a part, or be an arm ({'; '.join(every_arm)})")
    of_arms = [word for word in words if word in every_arm]
    of_parts = [word for word in words if word not in of_arms]
    for name, arms in SETTINGS.items():
        if not of_parts or any(word in name for word in of_parts):
            asked = {arm: own for arm, own in arms.items() if not of_arms or arm in ("default", *of_arms)}
            if of_arms:  # its prompts that state the attribute have their numbers
                asked["default"] = [*arms["default"][:-1], "guidance=transport"]
            now = measure(asked, SEEDS)
            every = read_results(NAME)
            every[name] = joined(every[name], now) if of_arms and name in every else now
            write_bytes(RESULTS / figure_file(name), to_png(draw(every[name])))
            kept = {it: {**every[it], "rows": picked(every[it]["rows"], KEPT)} for it in SETTINGS if it in every}
            write_study(NAME, page(kept), kept)


if __name__ == "__main__":
    main(sys.argv[1:])
