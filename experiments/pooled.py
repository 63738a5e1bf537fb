"""Run one configuration over several generate seeds, and measure the arms pooled over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from selfdebias.config.compose import load
from selfdebias.jobs.failures import sigterm_as_ctrl_c
from selfdebias.jobs.job import hash_of_job, run_job
from selfdebias.jobs.sweeps.pooling import pool_jobs, stages_of
from selfdebias.metrics.number import number_at
from selfdebias.report.explanations import judge_in_words
from selfdebias.report.wording import Notes, written
from selfdebias.storage.atomic import write_json, write_text

INTERVALS = (
    "Intervals: 95%, over batches of 32 (over images where nothing is guided); *at the floor, <= b*: within sampling "
    "noise of a perfectly fair sampler, b being the upper bound."
)
PREVIOUS = {"encoder": "emoji_clip_informed", "clustering": "spectral"}
RESULTS = Path(__file__).parent / "results"
ROOT = "runs"


def run_pooled(overrides: Sequence[str], seeds: Sequence[int], root: str = ROOT) -> dict:
    """Run a job for each seed (finished stages are found again), and measure all arms pooled.

    Args:
        overrides: of the command line, without the seed.
        seeds: generate seeds.
        root: folder for stages and jobs.

    Returns:
        A results object as in ``results.json``, over all seeds; blocks are batches, and no batch spans two seeds. Beside it
        ``config_hashes``, one for each seed, ``overrides``, and of the first job ``mode_words``, those of its modes, and
        ``axis_accuracy``: in how many held-out images its projector tells the sides of each axis, the mean over timesteps and
        branches; [] for a partition.
    """
    jobs = run_jobs(overrides, seeds, root)
    costs = [json.loads((job / "results.json").read_text())["cost"] for job in jobs]
    hashes = [job.name for job in jobs]
    beside = {"config_hashes": hashes, "overrides": list(overrides), "mode_words": _mode_words(jobs[0], Path(root))}
    beside["axis_accuracy"] = _axis_accuracy(jobs[0], Path(root))
    return {**pool_jobs(jobs, Path(root)), "cost": costs, **beside}


def run_rows(overrides: Sequence[str], seeds: Sequence[int], root: str = ROOT) -> dict:
    """Run a job of several prompts for each seed, and measure each prompt's arms pooled.

    Returns:
        A results object over prompts, with one for each prompt in its ``rows``, over all seeds, and ``config_hashes``.
    """
    jobs = run_jobs(overrides, seeds, root)
    return {**pool_jobs(jobs, Path(root)), "config_hashes": [job.name for job in jobs]}


def _mode_words(job: Path, root: Path) -> list[list[str]]:
    """The captions of each mode that a job found, strongest first."""
    modes = json.loads((stages_of(job, root)["discover"] / "modes.json").read_text())
    return [[word["caption"] for word in words] for words in modes["words"]]


def _axis_accuracy(job: Path, root: Path) -> list[float]:
    """By axis, the mean of the projector's accuracy over timesteps and branches; [] where there are no axes."""
    said = json.loads((stages_of(job, root)["project"] / "project.json").read_text())
    return [mean(mean(steps.values()) for steps in axis.values()) for axis in said.get("accuracy_by_axis", [])]


def picked(
    rows: Mapping[str, Mapping], of_arm: Sequence[str], of_row: Sequence[str] = ("judge",)
) -> dict[str, dict]:  # fmt: skip
    """Keep of the results of each prompt, and of each of its arms, what is named."""
    return {
        row: {
            **{key: it[key] for key in of_row if key in it},
            "arms": {arm: {key: own[key] for key in of_arm if key in own} for arm, own in it["arms"].items()},
        }
        for row, it in rows.items()
    }


def rows_to_fit(job: Path, root: str = ROOT) -> int:
    """Return the rows that the denoiser evaluated for the images that modes, projector and bank of a job were fitted on.

    Raises:
        ValueError: if they were not counted, by an earlier version.
    """
    stages = json.loads((job / "job.json").read_text())["stages"]
    found = {
        path for name, path in stages.items() if name.split("/")[0] == "collect" and not name.endswith("/reference")
    }
    rows = {path: json.loads((Path(root) / path / "collect.json").read_text()).get("rows") for path in found}
    if left := sorted(path for path, count in rows.items() if count is None):
        raise ValueError(f"`rows` were not counted in {', '.join(left)}: remove these folders, and run the job again.")
    return sum(rows.values())


def run_jobs(overrides: Sequence[str], seeds: Sequence[int], root: str = ROOT) -> list[Path]:
    """Run a job for each seed, and return their folders; finished stages are found again."""
    with sigterm_as_ctrl_c(unless_handled=True):
        return [run_job(load(command), command) for command in _commands(overrides, seeds, root)]


def kept(study: str, hashes: Mapping[str, Sequence[str]]) -> dict[str, dict]:
    """Read which of a study's results are those that its variants would give today: their config hashes are the same.

    Args:
        study: name of its files.
        hashes: config hashes of the jobs by variant, as `hashes_of` gives them.

    Returns:
        Pooled results by variant, without the variants whose results are missing or of another configuration.
    """
    every = read_results(study)
    return {name: every[name] for name in hashes if every.get(name, {}).get("config_hashes") == hashes[name]}


def hashes_of(overrides: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """Return the config hashes of the jobs of `overrides`, one for each seed; nothing is run."""
    return [hash_of_job(load(command)) for command in _commands(overrides, seeds)]


def _commands(overrides: Sequence[str], seeds: Sequence[int], root: str = ROOT) -> list[list[str]]:
    """The command line of the job of each seed."""
    filled = with_previous_defaults(overrides)
    return [[*filled, "logger=none", f"paths.root={root}", f"generate.seed={seed}"] for seed in seeds]


def with_previous_defaults(overrides: Sequence[str]) -> list[str]:
    """Return overrides with the encoder and clustering of the previous default, where they name none: the committed studies' jobs.

    Example:
        >>> with_previous_defaults(["guidance=self_debias"])
        ['encoder=emoji_clip_informed', 'clustering=spectral', 'guidance=self_debias']
        >>> with_previous_defaults(["experiment=paper", "encoder=emoji_clip"])  # which brings a clustering
        ['experiment=paper', 'encoder=emoji_clip']
    """
    named = {text.partition("=")[0] for text in overrides}
    then = {name: value for name, value in PREVIOUS.items() if name not in named}
    if "experiment" in named:
        then.pop("clustering", None)
    return [*(f"{name}={value}" for name, value in then.items()), *overrides]


def quality_table(arms: Mapping[str, tuple[dict, str]]) -> list[str]:
    """Write quality by the features of each space, of arms that are named with their results and the arm in these."""
    lines = [
        "| Arm | Features | precision of switched, of vanilla's own | KID (floor) | kept (that of different images) |",
        "|" + "---|" * 5,
    ]
    for name, (results, arm) in arms.items():
        for space, it in results["arms"][arm].get("quality", {}).items():
            told = results["spaces"][space]
            kid, like = f"{interval(it['kid'])} ({number(it['kid'].get('floor'))})", it["kept"]
            lines.append(
                f"| {name} | {space}: {told['name']}, {told['dim']}-d | {interval(it['turned_precision_ratio'])} | {kid} | "
                f"{interval(like)} ({number(like.get('floor'))}) |"
            )
    return lines


def who_judged(results: dict) -> str:
    """Say who judged and how often it errs, what the intervals are, and the floor: what stands below each table."""
    attribute = results["prompts"]["attributes"][0]
    floor = results["arms"]["vanilla"][attribute]["fd_hard"]["floor"]
    of = "" if attribute == "gender" else f" of {attribute}"
    return (
        f"{_sentence(judge_in_words(results))} {INTERVALS} Floor of `fd_hard`{of} for a fair independent sampler at this "
        f"N: {floor:.3f}."
    )


def modes_in_words(results: dict) -> str:
    """Say how many modes were found, and how they agree with what is judged."""
    modes, ari = results["modes"], results["modes"]["ari"]
    return (
        f"Modes: k = {modes['k']} by silhouette ({modes['silhouette']:.3f}), agreement with gender ARI {ari['gender']:.3f}, "
        f"with tone {ari['tone']:.3f}, with age {ari['age']:.3f}."
    )


def mode_shares(arm: dict) -> str:
    """Write the shares that the modes have in an arm, the largest mode first."""
    shares = arm["mode_shares"]
    return " / ".join(f"{shares[key]['value']:.2f}" for key in sorted(shares, key=int))


def mode_lines(results: dict) -> list[str]:
    """Say what each mode is, by the captions that fit it better than the others, and how many collected images it has."""
    sizes = results["modes"]["sizes"]
    return [
        f"Mode {mode}, {size} of {sum(sizes)} collected images: "
        + ("; ".join(captions[:4]) or "no caption fits it better than the others")
        + "."
        for mode, (size, captions) in enumerate(zip(sizes, results["mode_words"], strict=True))
    ]


def read_results(name: str) -> dict[str, Any]:
    """Read the numbers of a study as they are now, empty where there are none: another process may have added some."""
    file = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def write_study(name: str, text: str, results: object) -> None:
    """Write a study's table and its numbers to ``experiments/results``."""
    write_text(RESULTS / f"{name}.md", text.rstrip() + "\n")
    write_json(RESULTS / f"{name}.json", results)
    print(text)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def interval(entry: dict | None) -> str:
    """Write a measured value with its interval, without one where there is none, and n/a where there is no value."""
    if entry is None or entry.get("low") is None:
        return number(entry)
    return written(number_at(entry), Notes())


def number(entry: dict | float | None, digits: int = 3) -> str:
    """Write a measured value without its interval, and n/a where there is none."""
    value = entry["value"] if isinstance(entry, dict) else entry
    return "n/a" if value is None else f"{value:.{digits}f}"
