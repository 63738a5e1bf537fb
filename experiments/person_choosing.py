"""Choosing among seeds beside editing, at what cost: "an emoji of a person", all arms on the same seeds, paired differences.

    python -m experiments.person_choosing [WORD ...]

Words choose the parts whose names hold one of them, all without a word. Settings are those of development seeds 301 and 302.
`select` was changed (the old one: commit 08fc19e) after a first look at seeds 801 to 805,
where it had left 0.552 men and a `mode_fd` of 0.060: it now asks for more of what its projector tells wrongly. So what
chooses by the projector is reported on seeds 811 to 815, which nobody had looked at. The projector of a model without prompts
tells modes later: `select` failed there at 28% of the steps (seeds 821 to 825, commit 7bf2c77), where it is wrong for 0.344 of
images (`projector_steps`), and at 48% left a `mode_fd` of 0.049 (seeds 831 to 835, commit fd125d8). Of 60%, 68% and 76%, 68% did
best on 256 images of development seed 301 (0.017, 0.011, 0.017, at 1.71, 1.72 and 1.75 rows); it is reported on seeds 871 to 875.
Before, the chosen seeds had been sampled twice there, at 2.19 rows. Cost is counted in rows that the denoiser evaluates, by a
hook on it. After occupations of seeds 301 and 1001, `select, then transport` was changed: steered images that did not come to
their mode are drawn again, and chosen ones that were told wrongly count as lacking. Its row on 811 to 815 was measured again after
that, with the other rows of its part (before, commit 179cdc8: 0.508 men, modes 0.002). `dc` was tried with `schedule.stop=0.3`,
too, on development seed 301, where the whole schedule did better (commit 4b4225c).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.columns import header, row
from experiments.person_axes import HONEST, TOLD
from experiments.pooled import INTERVALS, ROOT, read_results, run_jobs, write_study
from selfdebias.jobs.sweeps.pooling import pool_jobs
from selfdebias.report.explanations import judge_in_words

NAME, SEEDS, LATER = "person_choosing", (801, 802, 803, 804, 805), (811, 812, 813, 814, 815)
NO_PROMPT = (871, 872, 873, 874, 875)
STAGES = "stages=[collect,discover,project,generate,evaluate]"
PARTITION = [*TOLD, "clustering=spectral", STAGES]
AXES = [*HONEST, "clustering=axes", STAGES]
BY_THE_PROJECTOR = {"select": ["guidance=select"], "select, then transport": ["guidance=select_then_transport"]}
BY_THE_IMAGE = {"resample": ["guidance=resample"], "transport, then resample": ["guidance=transport_then_resample"]}
LABEL_FREE = {
    "mean difference under transport's gate": ["guidance=mean_transport"],
    "particle": ["guidance=particle"],
    "cads": ["guidance=cads"],
    "dc": ["guidance=dc"],
}
LATE = "guidance.at=0.68"  # the projector of `emoji_ddpm` tells modes later
SETTINGS = {
    "attributes, partition": {
        "default": [*PARTITION, "guidance=attribute_prompts"],
        **{name: [*PARTITION, *own] for name, own in (BY_THE_IMAGE | LABEL_FREE).items()},
        "mean difference under transport's gate": [*PARTITION, "guidance=mean_transport", "guidance.slack=2.5"],
        "told the attribute: classifier guidance": [*PARTITION, "bank=supervised", "guidance=classifier"],
    },
    "captions, axes": {
        "default": [*AXES, "guidance=attribute_prompts"],
        **{name: [*AXES, *own] for name, own in BY_THE_IMAGE.items()},
        **{name: [*AXES, *own] for name, own in LABEL_FREE.items()},
    },
    "attributes, partition: choosing by the projector": {
        "default": [*PARTITION, "guidance=transport"],
        **{name: [*PARTITION, *own] for name, own in BY_THE_PROJECTOR.items()},
    },
    "captions, axes: choosing by the projector": {
        "default": [*AXES, "guidance=transport"],
        **{name: [*AXES, *own] for name, own in BY_THE_PROJECTOR.items()},
    },
    "attributes, partition: no prompt": {
        "default": ["model=emoji_ddpm", *PARTITION, "guidance=transport"],
        **{name: ["model=emoji_ddpm", *PARTITION, *own, LATE] for name, own in BY_THE_PROJECTOR.items()},
    },
}
SEEDS_OF = {
    name: LATER if "by the projector" in name else NO_PROMPT if "no prompt" in name else SEEDS for name in SETTINGS
}
FIRST = ("vanilla", "guided", "random", "attribute_prompts")
TITLES = {
    "guided": "transport, the default",
    "random": "edits as large, in random directions",
    "attribute_prompts": "told the attribute: prompts that state it",
}
COLUMNS = (
    "n", "men", "gender", "less_vanilla", "less_default", "from_target", "tone", "precision", "precision_less", "kept",
    "edited", "rows",
)  # fmt: skip
EXPLAINED = (
    "Differences are paired: both arms under the same weights of batches. Modes: `mode_fd`, of axes the distance of each. Arms "
    "that look at finished images choose by the encoder that modes are measured with, so they come out even by construction; "
    "gender is the judge's. "
    "Rows: rows that the denoiser evaluates for a delivered image, over vanilla's, counted by a hook; what the fit costs is "
    "not in them. Edited: images with an edit of any size. Images of arms that choose have other seeds than vanilla's, so "
    "that nothing is said of what they keep."
)


def measure(arms: Mapping[str, Sequence[str]], seeds: Sequence[int]) -> dict[str, Any]:
    """Run the jobs of all arms, and measure them pooled over the seeds, each beside vanilla and the default.

    Returns:
        A results object as `pool_jobs` gives it, with `config_hashes`, and `rows_per_image` and `edited` of each arm.
    """
    jobs = {name: run_jobs(overrides, seeds) for name, overrides in arms.items()}
    default = jobs.pop("default")
    found = pool_jobs(default, Path(ROOT), beside=jobs)
    costs: dict[str, dict[str, Any]] = {"rows_per_image": {}, "edited": {}}
    for arm in found["arms"]:
        own, name = (jobs[arm], "guided") if arm in jobs else (default, arm)
        rows = [json.loads((job / "results.json").read_text())["cost"]["rows_per_image"][name] for job in own]
        costs["rows_per_image"][arm] = sum(rows) / len(rows)
        costs["edited"][arm] = sum(edited(job, name) for job in own)
    every = [*default, *(job for own in jobs.values() for job in own)]
    return {**found, **costs, "config_hashes": [job.name for job in every]}


def edited(job: Path, arm: str, row: str = "") -> int:
    """How many images of an arm were edited at all; `row` is the name of a prompt in jobs of several."""
    from selfdebias.storage.batches import BatchFolder

    stage = (
        Path(ROOT)
        / json.loads((job / "job.json").read_text())["stages"]["/".join(filter(None, ("generate", row, arm)))]
    )
    tensors = [own for _, own in BatchFolder.open(stage).tensors()]
    return sum(int((own["edited"] if "edited" in own else own["edit_norm"].any(dim=0)).sum()) for own in tensors)


def ordered(measured: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]] = SETTINGS) -> list[str]:
    """The arms that are measured, in the order of the tables: the default's job first, then as the settings have them."""
    every = [*FIRST, *dict.fromkeys(arm for arms in settings.values() for arm in arms)]
    return [arm for arm in every if arm in measured]


def page(every: Mapping[str, Mapping[str, Any]]) -> str:
    """A table for each part, and which differences are told apart."""
    parts = [line for name, it in every.items() for line in part(name, it, it["seeds"]["generate"])]
    return "\n".join([*head("Choosing among seeds beside editing", NAME, every), *parts])


def head(title: str, study: str, every: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The first lines of a page of such parts: title, command, judge, and what the columns are."""
    judge = judge_in_words(next(iter(every.values())))
    about = f"`python -m experiments.{study}`. {judge[:1].upper()}{judge[1:]} {INTERVALS} {EXPLAINED}"
    return [f"# {title}", "", about]


def part(
    name: str, results: Mapping[str, Any], seeds: Sequence[int], columns: Sequence[str] = COLUMNS,
    settings: Mapping[str, Mapping[str, Any]] = SETTINGS, titles: Mapping[str, str] = TITLES,
) -> list[str]:  # fmt: skip
    """The lines of a part: its seeds, a row for each arm, and which differences are told apart.

    Args:
        name: of the part.
        results: as `measure` gives them.
        seeds: generate seeds.
        columns: keys of `experiments.columns.COLUMNS`.
        settings: overrides by part and arm, whose order the rows have.
        titles: of arms whose row is not named as they are.
    """
    arms = ordered(results["arms"], settings)
    counted = f"{len(arms)} arms, {len(results['config_hashes'])} jobs."
    return [
        "",
        f"## {name[:1].upper()}{name[1:]}",
        "",
        f"Generate seeds {', '.join(map(str, seeds))}; {counted}",
        "",
        header(columns, {}),
        *(row(titles.get(arm, arm), dict(results), arm, columns) for arm in arms),
        "",
        "Against vanilla, Holm's correction over all comparisons of this part:",
        "",
        *(verdicts(attribute, results["verdicts"], arms[1:], titles) for attribute in ("gender", "tone", "age")),
    ]


def verdicts(
    attribute: str, of_arms: Mapping[str, Mapping[str, str | None]], arms: Sequence[str], titles: Mapping[str, str]
) -> str:
    """A line of a list: which arms are fairer in an attribute than vanilla, which less fair, and which not told apart."""
    words = {"not told apart": "no detectable difference", None: "cannot be told"}
    found: dict[str, list[str]] = {}
    for arm in arms:
        own = of_arms[arm][attribute]
        found.setdefault(words.get(own) or str(own), []).append(titles.get(arm, arm))
    return f"- {attribute}: " + " ".join(f"*{verdict}*: {'; '.join(names)}." for verdict, names in found.items())


def refuse_unknown(words: Sequence[str], names: Sequence[str], what: str) -> None:
    """Refuse a word that is in none of the names.

    Raises:
        SystemExit: with the names, before anything runs.
    """
    for word in words:
        if not any(word in name for name in names):
            raise SystemExit(f"`{word}` must be in the name of {what}: {'; '.join(names)}.")


def run_parts(
    name: str, settings: Mapping[str, Mapping[str, Sequence[str]]], seeds_of: Mapping[str, Sequence[int]],
    page: Callable[[Mapping[str, Mapping[str, Any]]], str], words: Sequence[str],
) -> None:  # fmt: skip
    """Measure the parts that are asked for, keep the other parts' numbers, and write the study anew after each part.

    Args:
        name: of the study's files.
        settings: overrides by part and arm.
        seeds_of: generate seeds by part.
        page: from results by part to the text of the page.
        words: choose the parts whose names hold one of them, all without a word.
    """
    refuse_unknown(words, [*settings], "a part")
    for asked, arms in settings.items():
        if words and not any(word in asked for word in words):
            continue
        found = measure(arms, seeds_of[asked])
        every = read_results(name)
        every = {it: own for it in settings if (own := {**every, asked: found}.get(it))}
        write_study(name, page(every), every)


def main(words: Sequence[str]) -> None:
    """Measure the parts that are asked for, keep the other parts' numbers, and write the tables."""
    run_parts(NAME, SETTINGS, SEEDS_OF, page, words)


if __name__ == "__main__":
    main(sys.argv[1:])
