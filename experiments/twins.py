"""The twins on Emoji World of the paper's protocols and of the ablations. Each one's table, plot and numbers are kept."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.pooled import RESULTS
from selfdebias.config.compose import load_sweep
from selfdebias.config.sources import conf_folder
from selfdebias.jobs.sweeps.launching import sweep_of
from selfdebias.jobs.sweeps.table import PLOT, TABLE
from selfdebias.jobs.sweeps.table import RESULTS as NUMBERS
from selfdebias.main import main as selfdebias
from selfdebias.storage.atomic import write_text

USAGE = """\
python -m experiments.twins [NAME or FOLDER ...] [KEY=VALUE ...]

Runs the twins of these names, or all of a folder, ablation or paper, or all.
Overrides hold for every job: generate.n_images=32 collect.n_images=64 is a
first look. Tables, plots and numbers go to experiments/results.
"""
EXPERIMENTS = conf_folder() / "experiment"
FOLDERS = {it: sorted(file.stem for file in (EXPERIMENTS / it).glob("*.yaml")) for it in ("ablation", "paper")}
SEEDS = "generate.seed=301,302"  # development seeds; ablations name them themselves


def run_twin(folder: str, name: str, overrides: Sequence[str] = (), results: Path = RESULTS) -> None:
    """Run `experiment=emoji/<name>` as a sweep, and keep what it leaves as `<folder>/<name>.{md,png,json}`.

    Args:
        folder: of the experiment whose twin it is: ablation or paper.
        name: of the experiment.
        overrides: of the command line, for all jobs.
        results: folder of all results.

    Raises:
        SystemExit: If a job fails.
    """
    asked = [*sweep_command(folder, name), "logger=none", *overrides]
    own = [*{text.partition("=")[0]: text for text in asked}.values()]  # of a key that is there twice the later value
    code = selfdebias(["-m", *own])
    if code:
        raise SystemExit(code)
    jobs = load_sweep(own)
    sweep = sweep_of(
        Path(jobs[0].config["paths"]["root"]), [job.overrides for job in jobs], [job.config for job in jobs]
    ).path
    write_text(results / folder / f"{name}.md", _page(folder, name, (sweep / TABLE).read_text()))
    for file, kind in ((PLOT, "png"), (NUMBERS, "json")):
        if (sweep / file).exists():  # there is no plot where no image kept its mode
            shutil.copyfile(sweep / file, results / folder / f"{name}.{kind}")


def sweep_command(folder: str, name: str) -> list[str]:
    """What follows `selfdebias -m`.

    Example:
        >>> sweep_command("ablation", "strength"), sweep_command("paper", "pets")
        (['experiment=emoji/strength'], ['experiment=emoji/pets', 'generate.seed=301,302'])
    """
    return [f"experiment=emoji/{name}", *([SEEDS] if folder == "paper" else [])]


def comment_of(experiment: str) -> str:
    """What an experiment's file says of itself, without the command.

    Example:
        >>> comment_of("ablation/strength")
        "How strongly is `h` edited, as a fraction of its norm? A sweep on Stable Diffusion 1.5's faces."
    """
    lines = (EXPERIMENTS / f"{experiment}.yaml").read_text().splitlines()[1:]
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("# ") and not line.startswith("#  "))


def _page(folder: str, name: str, table: str) -> str:
    """The sweep's table under a head of its own; its plot lies beside it."""
    body = table.partition("\n\n")[2]  # without the sweep's headline, which names its folder on this computer
    command = " ".join(sweep_command(folder, name))
    head = f"`python -m experiments.twins {name}` keeps what `selfdebias -m {command}` leaves."
    return "\n\n".join(
        [f"# {folder}/{name}", comment_of(f"emoji/{name}"), head, body.replace(f"({PLOT})", f"({name}.png)")]
    )


def chosen(words: Sequence[str]) -> list[tuple[str, str]]:
    """The twins that words name, each by the folder and the name of the experiment: names, or folders for all in them.

    Example:
        >>> chosen(["pets", "strength"])
        [('paper', 'pets'), ('ablation', 'strength')]
        >>> len(chosen(["ablation"]))
        12
    """
    found = []
    for word in words or list(FOLDERS):
        pairs = [(folder, name) for folder, names in FOLDERS.items() for name in names if word in (folder, name)]
        if not pairs:
            names = ", ".join([*FOLDERS, *(name for names in FOLDERS.values() for name in names)])
            raise SystemExit(f"`{word}` must be one of {names}.")
        found += pairs
    return found


def main(arguments: Sequence[str]) -> None:
    """Run the twins that are named, or all, with the overrides among the arguments."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return
    overrides = [word for word in arguments if "=" in word]
    for folder, name in chosen([word for word in arguments if word not in overrides]):
        run_twin(folder, name, overrides)


if __name__ == "__main__":
    main(sys.argv[1:])
