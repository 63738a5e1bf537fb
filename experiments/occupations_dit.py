"""The 20 occupations on the transformer of Emoji World, `model=emoji_dit`: modes found on "a person", transferred to each.

    python -m experiments.occupations_dit [WORD ...]

Words choose the variants whose names hold one of them, all without a word. Settings are those of "a person"
(`person_dit`): of the default before, with edits after block 5, and of the one now, after block 3.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from experiments import occupations_axes
from experiments.occupations_axes import EXTREME, FEWER, HONEST, TOLD, USUAL, tables
from experiments.pooled import ROOT, picked, run_jobs
from experiments.variants import Every, run_variants
from selfdebias.jobs.sweeps.pooling import pool_jobs, stages_of
from selfdebias.storage.atomic import read_json
from selfdebias.storage.batches import BatchFolder

NAME, SEEDS, LATER, LAST = "occupations_dit", (1011, 1012, 1013), (1021, 1022, 1023), (1031, 1032)
NEWEST = (1033, 1034, 1035)
COMMON = [*occupations_axes.COMMON, "model=emoji_dit", "bank=carried"]
BLOCK_5 = ["model.blocks=[5]"]
AXES = [*COMMON, *BLOCK_5, HONEST, "clustering=axes", "collect.n_images=256"]  # axes need as many
MODES = [*COMMON, TOLD, "clustering=spectral", FEWER]
PARTITION = [*MODES, *BLOCK_5]
# Found on development seed 301 (`dit_occupation_levers`) after what has no threshold had been reported.
APART = "bank.threshold=prompt"
MIDDLE = [*MODES, "model.blocks=[3]", APART]
BEFORE = ("guidance.strength=12", "guidance.slack=1")  # the default when these were measured, with edits after block 5
NOW = (
    "guidance.strength=8",
    "guidance.slack=1.5",
)  # the default now, found on development seeds (`dit_slack`), with MIDDLE


def then_resample(values: Sequence[str]) -> list[str]:
    """The overrides of `transport_then_resample`, whose transport has these values of the default form for tokens."""
    steered = [value.replace("guidance.", "guidance.steer.", 1) for value in values]
    return ["guidance=transport_then_resample", *steered]


VARIANTS = {
    "captions, axes": [*AXES, *BEFORE],
    "attributes, partition": [*PARTITION, *BEFORE],
    "captions, axes, a threshold for each prompt": [*AXES, APART, *BEFORE],
    "attributes, partition, a threshold for each prompt": [*PARTITION, APART, *BEFORE],
    "attributes, partition, a threshold for each prompt; transport, then resample": [
        *PARTITION, APART, *then_resample(BEFORE),
    ],
    "after block 3: attributes, partition, a threshold for each prompt; transport, then resample": [
        *MIDDLE, *then_resample(NOW),
    ],
    "after block 3: attributes, partition, a threshold for each prompt": [*MIDDLE, *NOW],
    "after block 3: captions, axes": [
        *COMMON, HONEST, "clustering=axes_many", "collect.n_images=512", "model.blocks=[3]",
    ],
}  # fmt: skip
SEEDS_OF = dict(zip(VARIANTS, (SEEDS, SEEDS, LATER, LATER, LAST, *[NEWEST] * 3), strict=True))
# What is kept of the numbers of an arm on a prompt.
KEPT = ("gender", "occupation", "shares", "mode_fd", "mode_shares", "axes", "turned", "kept_cosine", "precision")
QUALITY = (
    "| Precision, vanilla to guided | judge's features, mean of the 17 | of the 3 extreme ones | pixels, mean of the 17 | of the 3 "
    "extreme ones |\n|" + "---|" * 5
)
WHY = (
    "| Occupation | ARI of modes and gender | mode 0, vanilla | told at the first guided step | mode 0, guided | "
    "distance from even, vanilla | guided |\n|" + "---|" * 7
)


def measure(overrides: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """As `run_rows`, with what the projector told and how well images fit.

    Returns:
        Beside that, in each row: ``told``, the shares that the projector told at the first guided step, the mean over guided images
        (of each mode; of axes of each side, one axis after the other), not where seeds are chosen; of each arm ``precision`` of its
        images, by feature space. Over all rows: ``rows_over_vanilla``, of the denoiser for a delivered image, over
        vanilla's, the mean over prompts and jobs; and ``accuracy``, the share of held-out images, of all prompts, whose mode (of
        axes: side, the mean over axes) the projector tells, conditional branch, the mean over steps.
    """
    jobs = run_jobs(overrides, seeds)
    found = {**pool_jobs(jobs, Path(ROOT)), "config_hashes": [job.name for job in jobs]}
    fitted = stages_of(jobs[0], Path(ROOT), found["row_names"][0])["project"]  # that of all rows
    said = read_json(fitted / "project.json")["accuracy_by_timestep"]["cond"]
    found["accuracy"] = mean(said.values())
    counted = [
        its["cost"]["rows_per_image"] for job in jobs for its in read_json(job / "results.json")["rows"].values()
    ]
    found["rows_over_vanilla"] = mean(it["guided"] / it["vanilla"] for it in counted)
    for row, its in found["rows"].items():
        folders = [stages_of(job, Path(ROOT), row)["generate/guided"] for job in jobs]
        every = [tensors for folder in folders for _, tensors in BatchFolder.open(folder).tensors()]
        if all("p_hat" in tensors for tensors in every):
            its["told"] = torch.stack([tensors["p_hat"][0] for tensors in every]).mean(dim=0).tolist()
        for own in its["arms"].values():
            own["precision"] = {space: it["precision"]["value"] for space, it in own["quality"].items()}
    return {**found, "rows": picked(found["rows"], KEPT, ("judge", "modes", "told"))}


def told_rows(rows: Mapping[str, Any]) -> list[str]:
    """A row for each occupation: what the encoder finds of the first of two modes, and what the projector told of it."""
    lines = []
    for name in sorted(rows, key=lambda name: (-rows[name]["arms"]["guided"]["mode_fd"]["value"], name)):
        it, arms = rows[name], rows[name]["arms"]
        shares = [arms[arm]["mode_shares"]["0"]["value"] for arm in ("vanilla", "guided")]
        far = [arms[arm]["mode_fd"]["value"] for arm in ("vanilla", "guided")]
        cells = [it["modes"]["ari"]["gender"], shares[0], it["told"][0], shares[1], *far]
        lines.append(f"| {name.replace('-', ' ')} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    return lines


def axis_rows(rows: Mapping[str, Any]) -> list[str]:
    """A table with a row for each occupation: the share on side 0 of each axis, vanilla, as predicted, and guided."""
    count = len(next(iter(rows.values()))["told"]) // 2
    lines = [f"| Occupation | {' | '.join(f'axis {a}' for a in range(count))} |", f"|{'---|' * (count + 1)}"]
    for name, it in sorted(rows.items()):
        vanilla, guided = (it["arms"][arm]["axes"] for arm in ("vanilla", "guided"))
        each = zip(vanilla, it["told"][::2], guided, strict=True)
        three = ((1 - v["share"]["value"], told, 1 - g["share"]["value"]) for v, told, g in each)
        cells = [" / ".join(f"{share:.2f}" for share in shares) for shares in three]
        lines.append(f"| {name.replace('-', ' ')} | {' | '.join(cells)} |")
    return lines


def quality_row(name: str, rows: Mapping[str, Any]) -> str:
    """How well all images of an arm fit among vanilla ones of other seeds, beside how well vanilla's own do."""
    cells = []
    for space in ("judge", "pixels"):
        for chosen in (USUAL, EXTREME):
            values = [
                mean(rows[row]["arms"][arm]["precision"][space] for row in chosen) for arm in ("vanilla", "guided")
            ]
            cells.append(f"{values[0]:.3f} to {values[1]:.3f}")
    return f"| {name} | {' | '.join(cells)} |"


def page(every: Every) -> str:
    """Write a table of means, one with each occupation for each variant, and one with what the projector told of the modes or axes.

    Args:
        every: results of `measure` by variant.
    """
    first, later, last, newest = (", ".join(map(str, seeds)) for seeds in (SEEDS, LATER, LAST, NEWEST))
    counted = (
        f"`python -m experiments.{NAME}`, generate seeds {first}, with a threshold for each prompt {later}, where seeds are chosen "
        f"too {last}, after block 3 {newest}: {len(every)} of its {len(VARIANTS)} variants."
    )
    chosen = {name: its["rows_over_vanilla"] for name, its in every.items() if "then resample" in name}
    rows = "; ".join(f"{count:.2f} ({name})" for name, count in chosen.items())
    after = f" The denoiser evaluates for a delivered image, over vanilla's rows: {rows}." if chosen else ""
    text = tables(every, "Occupations on a transformer", counted, "N = 64 for each occupation, arm and seed.", after)
    rows = [quality_row(name, results["rows"]) for name, results in every.items()]
    text += "\n".join(["", "", "## Quality: do images still look like those of the model", "", QUALITY, *rows])
    for name, results in every.items():
        first_row = next(iter(results["rows"].values()))
        if "axes" not in first_row["modes"] and "told" in first_row:
            words = "what the encoder finds of mode 0, and what the projector told; the worst first"
            head = f"## {name[:1].upper()}{name[1:]}: {words}"
            text += "\n".join(["", "", head, "", WHY, *told_rows(results["rows"])])
        elif "told" in first_row:
            words = "share of images on side 0 of each axis: vanilla / predicted at the first guided step / guided"
            text += "\n".join(["", "", f"## {name[:1].upper()}{name[1:]}: {words}", "", *axis_rows(results["rows"])])
    return text


def main(arguments: Sequence[str]) -> None:
    """Run the variants whose names hold one of the words, all without a word; keep what is measured of the others."""
    asked = [name for name in VARIANTS if any(word in name for word in arguments or [""])]
    run_variants(NAME, VARIANTS, asked, SEEDS_OF, page, measure)


if __name__ == "__main__":
    main(sys.argv[1:])
