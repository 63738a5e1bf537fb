"""What a delivered image costs in time where seeds are chosen: "an emoji of a person", all arms on the same seeds, over vanilla.

    python -m experiments.benchmarks.choosing_cost

The default encoder and clustering; four batches of 32 for each seed. Each arm has seeds of its own, so that vanilla images are
sampled just before it; the arms take turns. Seeds that are only timed: nothing is measured of their images, and no study reports
them.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.person_axes import HONEST
from experiments.pooled import ROOT, run_jobs, write_study

NAME, IMAGES = "choosing_cost", 128
SEEDS = tuple(range(891, 901))
BETWEEN = 120.0  # seconds between two stages of one sitting, at most
COMMON = [*HONEST, "clustering=axes", "stages=[collect,discover,project,generate]", f"generate.n_images={IMAGES}"]
ARMS = {
    "transport, the default": ["guidance=transport"],
    "select": ["guidance=select"],
    "select, then transport": ["guidance=select_then_transport"],
    "resample": ["guidance=resample"],
    "transport, then resample": ["guidance=transport_then_resample"],
}
Costs = dict[str, list[dict[str, float]]]  # by arm, one for each seed


def measure(arms: Mapping[str, Sequence[str]], seeds: Sequence[int], root: str = ROOT) -> Costs:
    """Sample each arm on its seeds, and read what the stages have counted and timed, over vanilla's of the seed.

    Args:
        arms: overrides of the command line, by arm.
        seeds: generate seeds, which the arms take turns in.
        root: folder for stages and jobs.

    Returns:
        By arm, for each seed: ``rows`` that the denoiser evaluates and ``seconds`` for a delivered image, over vanilla's;
        ``seconds_per_image``, and ``vanilla_seconds_per_image``.

    Raises:
        SystemExit: if a stage was sampled in several sittings, so that its time is that of the last one alone, or an arm in another
            sitting than its vanilla images, so that other work may have slowed down one of them.
    """
    costs: Costs = {name: [] for name in arms}
    for seed, name in zip(seeds, itertools.cycle(arms)):
        (job,) = run_jobs([*COMMON, *arms[name]], [seed], root)
        vanilla, own = (_counted(job, arm, root) for arm in ("vanilla", "guided"))
        _check_one_sitting(job, own["seconds_per_image"] * IMAGES, root)
        costs[name].append({
            "rows": own["rows_per_image"] / vanilla["rows_per_image"],
            "seconds": own["seconds_per_image"] / vanilla["seconds_per_image"],
            "seconds_per_image": own["seconds_per_image"],
            "vanilla_seconds_per_image": vanilla["seconds_per_image"],
        })  # fmt: skip
    return costs


def _stage(job: Path, arm: str, root: str) -> Path:
    return Path(root) / json.loads((job / "job.json").read_text())["stages"][f"generate/{arm}"]


def _counted(job: Path, arm: str, root: str) -> dict[str, float]:
    stage = _stage(job, arm, root)
    found: dict[str, float] = json.loads((stage / "generate.json").read_text())
    if found.get("timed_images") != IMAGES:
        other = _stage(job, "vanilla" if arm == "guided" else "guided", root)
        raise SystemExit(
            f"{stage} was interrupted, and not timed as a whole: remove it and {other}, and run this again."
        )
    return found


def _check_one_sitting(job: Path, seconds: float, root: str) -> None:
    """Refuse an arm that took `seconds` and was not sampled right after its vanilla images."""
    stages = [_stage(job, arm, root) for arm in ("vanilla", "guided")]
    first, last = ((it / "generate.json").stat().st_mtime for it in stages)
    if not 0 <= last - first < seconds + BETWEEN:
        raise SystemExit(f"{stages[0]} and {stages[1]} were timed in two sittings: remove both, and run this again.")


def page(costs: Costs) -> str:
    """The table: the median over seeds, and the smallest and largest."""
    (seeds,) = {len(own) for own in costs.values()}
    rows = [
        f"| {name} | {_spread(own, 'rows', '.2f')} | {_spread(own, 'seconds', '.2f')} |" for name, own in costs.items()
    ]
    return (
        f"# What choosing costs in time\n\n`python -m experiments.benchmarks.{NAME}`: {IMAGES} images for each of {seeds} seeds of "
        "each arm, in batches of 32, vanilla images of the seed before them. Median over the seeds, smallest and largest. Rows: "
        "those that the denoiser evaluates for a delivered image, counted by a hook. Time: of the whole sampling, with decoding, "
        "the projector and the encoder's looks at finished images. Fitting is in neither.\n\n"
        "| Arm | rows, over vanilla's | time, over vanilla's |\n|---|---|---|\n" + "\n".join(rows)
    )


def _spread(costs: Sequence[Mapping[str, float]], key: str, form: str) -> str:
    values = [it[key] for it in costs]
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def main() -> None:
    """Measure all arms, and write the table."""
    costs = measure(ARMS, SEEDS)
    write_study(NAME, page(costs), costs)


if __name__ == "__main__":
    main()
