"""Runs a study that has no code of its own: a YAML file of `experiments/studies`.

    python -m experiments.study NAME [WORD ...] [KEY=VALUE ...]

Words choose the variants whose names hold one of them; rows of the others are kept, as long as their configuration is the same.
Overrides hold for all variants. The table and its numbers go to `experiments/results`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from experiments.columns import COLUMNS, USUAL, header, row
from experiments.notes import NOTES
from experiments.variants import Every, Study

FOLDER = Path(__file__).parent / "studies"
GUIDED = {"{}": "guided"}


def names() -> list[str]:
    """The studies that are YAML files."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def read_study(name: str) -> dict[str, Any]:
    """Return the content of a study's file.

    Raises:
        SystemExit: If there is no such study.
    """
    if name not in names() and (FOLDER.parent / f"{name}.py").exists():
        raise SystemExit(f"`{name}` has code of its own: python -m experiments.{name}.")
    if name not in names():
        raise SystemExit(f"`{name}` must be one of {', '.join(names())}.")
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return content


def load_study(name: str) -> Study:
    """Return the study of a YAML file. Its keys:

    - question, claim: for the lab notebook; gpu: the command that asks the same of Stable Diffusion.
    - title: of its page, without the seeds.
    - seeds: generate seeds; seeds_of: those of variants that have others.
    - variants: overrides by the name of the row, as on the command line; common: overrides of all of them, before their own.
    - columns: keys of `experiments.columns.COLUMNS`; names: title of the column of names.
    - vanilla: name of the first row, the vanilla images of the first variant; "" for none.
    - rows: arms by the name of the row, {} being the variant's name; rows_of: those of variants that have others.
    - notes: keys of `experiments.notes.NOTES`, each set apart by an empty line.

    Raises:
        SystemExit: If there is no such study, or it names a column or a note that is not there.
    """
    it = read_study(name)
    for key, known in (("columns", COLUMNS), ("notes", NOTES)):
        for word in it.get(key, ()):
            if word not in known:
                raise SystemExit(f"`{key}` of the study {name} must be some of {', '.join(known)}, got {word}.")
    columns, titles = it.get("columns", USUAL), it.get("names", "Arm")
    rows = {variant: it.get("rows_of", {}).get(variant, it.get("rows", GUIDED)) for variant in it["variants"]}
    return Study(
        name=name,
        title=it["title"],
        seeds=tuple(it["seeds"]),
        seeds_of={variant: tuple(seeds) for variant, seeds in it.get("seeds_of", {}).items()},
        variants={variant: shlex.split(text) for variant, text in it["variants"].items()},
        common=shlex.split(it.get("common", "")),
        header=header(columns, {}, titles) if "columns" in it else "",
        rows=partial(_lines, columns, it.get("vanilla", "vanilla"), rows),
        notes=partial(_notes, it.get("notes", [])),
        command=f"study {name}",
    )


def _lines(columns: Sequence[str], vanilla: str, rows: Mapping[str, Mapping[str, str]], every: Every) -> list[str]:
    lines = [row(vanilla, next(iter(every.values())), "vanilla", columns)] if vanilla else []
    for name, results in every.items():
        lines += [row(title.replace("{}", name), results, arm, columns) for title, arm in rows[name].items()]
    return lines


def _notes(keys: Sequence[str], every: Every) -> list[str]:
    lines: list[str] = []
    for key in keys:
        lines += [*([""] if lines else []), *NOTES[key](every)]
    return lines


def main(arguments: Sequence[str]) -> None:
    """Run the study that is named first."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(f"{__doc__}\nStudies: {', '.join(names())}.")
        return
    load_study(arguments[0]).main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
