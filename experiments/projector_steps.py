"""How early the projector knows the mode of the finished image: its error at each step, for "a person" and for the occupations.

    python -m experiments.projector_steps [WORD ...] [KEY=VALUE ...]

Unguided images of development seeds, on which neither projector nor bank was fitted; the truth is the mode of the finished image
by the encoder. It is what `at` of guidance=select was chosen by.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import selfdebias
from experiments.occupations import COMMON
from experiments.person_axes import HONEST, TOLD
from experiments.pooled import RESULTS, read_results
from selfdebias.backbones.calling import Step, split_branches
from selfdebias.backbones.hspace import BottleneckHook
from selfdebias.config.compose import load
from selfdebias.config.prompts import NoPrompt, Prompts
from selfdebias.config.targets import make
from selfdebias.guidance.selection import cells_at
from selfdebias.jobs.prompts import rows_of
from selfdebias.jobs.stages.chosen import modes_of_images
from selfdebias.jobs.stages.fitted_files import read_semantics
from selfdebias.jobs.sweeps.pooling import stages_of
from selfdebias.modes.semantics import AxesSemantics
from selfdebias.storage.atomic import write_json, write_text
from selfdebias.storage.images import image_seeds

SEED, BATCH = 301, 32
FITTED = "stages=[collect,discover,project]"
MANY = [*(it for it in COMMON if not it.startswith("collect.")), "collect.n_images=256"]  # as many as axes need
SETTINGS = {
    "a person, attributes, partition": ([*TOLD, "clustering=spectral"], 256),
    "a person, captions, axes": ([*HONEST, "clustering=axes"], 256),
    "no prompt, attributes, partition": (["model=emoji_ddpm", *TOLD, "clustering=spectral"], 256),
    "20 occupations, attributes, partition": ([*TOLD, "clustering=spectral", "bank=carried", *COMMON], 32),
    "20 occupations, captions, axes": ([*HONEST, "clustering=axes", "bank=carried", *MANY], 32),
}
Cells = np.ndarray


def measure(overrides: Sequence[str], images: int) -> list[dict[str, Any]]:
    """Draw images of each prompt, and hold the projector's modes at each step against those of the finished images.

    Returns:
        By step `wrong`, the share of modes (of axes, of sides) that are not those in the end; and `rarer` and `other`, the same
        among images that end in the rarer mode, or side, of their prompt and among all others.
    """
    config = load([*overrides, FITTED, "logger=none"])
    job = selfdebias.run([*overrides, FITTED, "logger=none"])
    root, encoder, backbone = Path(config["paths"]["root"]), make(config, "encoder"), make(config, "model")
    pipeline = backbone.load()
    seen: list[Cells] = []
    ends: list[Cells] = []
    for name, row in rows_of(config).items():
        stages = stages_of(job, root, name)
        semantics = read_semantics(stages["project"])
        prompts = make(row, "prompts")
        assert isinstance(prompts, Prompts | NoPrompt)
        look = modes_of_images(encoder, stages["discover"])
        found, end = zip(
            *(_draw(backbone, pipeline, semantics, prompts, ids, look) for ids in _batches(images)), strict=True
        )
        seen.append(np.concatenate(found, axis=1))
        ends.append(np.concatenate(end))
    return _errors(seen, ends)


def _batches(images: int) -> list[range]:
    return [range(first, min(first + BATCH, images)) for first in range(0, images, BATCH)]


def _draw(
    backbone: Any, pipeline: Any, semantics: Any, prompts: Prompts | NoPrompt, ids: range, look: Any
) -> tuple[Cells, Cells]:  # fmt: skip
    """Return the modes of a batch at each step, (steps, n, A), and in the end, (n, A)."""
    own = semantics.of_prompt(prompts.text)
    axes = list(range(len(own.axes))) if isinstance(own, AxesSemantics) else [0]
    found: list[Cells] = []

    def note(h: Tensor, step: Step) -> None:
        found.append(cells_at(split_branches(h, step.branches)["cond"], step.timestep, own, axes))

    texts = list(prompts.for_images(ids.stop))[ids.start :]
    with BottleneckHook(pipeline, note), torch.no_grad():
        images = backbone.generate(pipeline, texts, image_seeds("generate", SEED, ids))
    return np.stack(found), look(images)[:, axes]


def _errors(seen: Sequence[Cells], ends: Sequence[Cells]) -> list[dict[str, Any]]:
    """As `measure`; from the modes at each step and in the end, one of each prompt."""
    rarer = [np.stack([end[:, a] == _rarest(end[:, a]) for a in range(end.shape[1])], axis=1) for end in ends]
    rare = np.concatenate(rarer).ravel()
    rows = []
    for step in range(len(seen[0])):
        wrong = np.concatenate([(own[step] != end).ravel() for own, end in zip(seen, ends, strict=True)])
        shares = {"wrong": wrong.mean(), "rarer": wrong[rare].mean(), "other": wrong[~rare].mean()}
        rows.append(
            {"step": step + 1, "n": len(wrong), "n_rarer": int(rare.sum()), **{k: float(x) for k, x in shares.items()}}
        )
    return rows


def _rarest(modes: np.ndarray) -> int:
    names, counts = np.unique(modes, return_counts=True)
    return int(names[np.argmin(counts)]) if len(names) > 1 else -1


def page(every: dict[str, list[dict[str, Any]]]) -> str:
    """The page: a row for each step, a column for each setting."""
    names = list(every)
    lines = [
        f"# Error of the projector's mode by step, development seed {SEED}",
        "",
        "`python -m experiments.projector_steps`: share of images whose mode by the projector (conditional branch) is not that of "
        "the finished image by the encoder; in brackets among images that end in the rarer mode of their prompt, and among the "
        "others. Of axes: of sides, over all axes.",
        "",
        "| after step | " + " | ".join(names) + " |",
        "|" + "---|" * (len(names) + 1),
    ]
    for step in range(len(every[names[0]])):
        cells = [every[name][step] for name in names]
        told = [f"{it['wrong']:.3f} ({it['rarer']:.3f}, {it['other']:.3f})" for it in cells]
        lines.append(f"| {step + 1} | " + " | ".join(told) + " |")
    counts = "; ".join(f"{name}: {every[name][0]['n']}, {every[name][0]['n_rarer']} of them rarer" for name in names)
    return "\n".join([*lines, "", f"N: {counts}."]) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure the settings whose names hold one of the words, all without one, and write the table anew after each of them."""
    overrides, words = ([it for it in arguments if ("=" in it) == wanted] for wanted in (True, False))
    file = RESULTS / "projector_steps.json"
    for name, (own, images) in SETTINGS.items():
        if words and not any(word in name for word in words):
            continue
        every = {**read_results(file.stem), name: measure([*own, *overrides], images)}
        every = {name: every[name] for name in SETTINGS if name in every}
        write_json(file, every)
        write_text(file.with_suffix(".md"), page(every))


if __name__ == "__main__":
    main(sys.argv[1:])
