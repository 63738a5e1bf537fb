"""What a job's folder says of it from the start: its configuration, without where on this computer it ran, and in `job.json` its
command, seeds and versions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdebias.config.local_paths import HERE, LOCAL, WEIGHTS, local_files
from selfdebias.config.rules import mapped
from selfdebias.config.schema import STAGES
from selfdebias.storage.atomic import hash_file, read_json, write_json, write_text
from selfdebias.storage.hidden import redacted, redacted_command
from selfdebias.storage.provenance import made_with
from selfdebias.storage.weights.folders import CONFIGS, PICKLES, TENSORS, hash_files

CONFIG, RECORD = "config.yaml", "job.json"


def record_of(
    job: Path, config: Mapping[str, Any], words: Sequence[str], stages: Mapping[str, str], is_done: bool
) -> dict[str, Any]:
    """Gather what `job.json` holds.

    Args:
        job: The job's folder; its name is the hash of the whole configuration.
        config: The resolved configuration.
        words: The command line.
        stages: Folder of each step, relative to the root of all runs.
        is_done: Whether all steps were finished before: what they were made with is then left as it stands there.

    Returns:
        `config_hash`, `command`, `stages`, `seeds` by stage and `made_with` (`selfdebias.storage.provenance.made_with`).
    """
    earlier = read_record(job).get("made_with") if is_done else None
    return {
        "config_hash": job.name,
        "command": redacted_command(shlex.join(["selfdebias", *words])),
        "stages": dict(stages),
        "seeds": seeds_of(config),
        "made_with": earlier or made_with(),
    }


def seeds_of(config: Mapping[str, Any]) -> dict[str, int]:
    """The seed of each stage that has one; where folders are evaluated, nothing is drawn, found or trained.

    Example:
        >>> seeds_of({"collect": {"seed": 3}, "clustering": {"random_state": 0}, "evaluate": {"seed": 1, "folders": None}})
        {'collect': 3, 'discover': 0, 'evaluate': 1}
        >>> seeds_of({"collect": {"seed": 3}, "clustering": {}, "evaluate": {"seed": 1, "folders": {"a": "b"}}})
        {'evaluate': 1}
    """
    if config["evaluate"]["folders"]:
        return {"evaluate": config["evaluate"]["seed"]}
    every = {stage: config.get(stage, {}).get("seed") for stage in STAGES}
    every["discover"] = config["clustering"].get("random_state")
    return {stage: seed for stage, seed in every.items() if seed is not None}


def read_record(job: Path) -> dict[str, Any]:
    """The contents of `job.json`, empty where there is none.

    Raises:
        StorageError: If it cannot be read, with one line that names it.
    """
    path = Path(job) / RECORD
    return read_json(path) if path.exists() else {}


def start_job(job: Path, config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Writes what was asked for, so that a job that is killed can be told apart from the others.

    The configuration is plain data that runs anywhere: without secrets, without interpolations, without paths of this computer
    (`portable`).
    """
    from selfdebias.config.commented import to_yaml

    write_text(job / CONFIG, to_yaml(redacted(portable(config))))
    write_json(job / RECORD, record)


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as a job's folder holds it: what was done, without where it was done.

    `HERE` is left out; a local file is `local:<its last part>`, weights with `@` and the first digits of their sha256.

    Args:
        config: A resolved configuration.
    """
    files = dict(local_files(config))

    def named(path: str, value: Any) -> Any:
        return _named(path, value) if path in files else value

    return {key: mapped(item, named, key) for key, item in config.items() if key not in HERE}


def _named(path: str, text: str) -> str:
    """The name of a local file that stands in a folder; one that is a name already stays."""
    if text.startswith(LOCAL):
        return text
    place = Path(text)
    name = LOCAL + (place.absolute().name or "root")
    return f"{name}@{_hash(place)[:12]}" if path.split(".")[-1] in WEIGHTS and place.exists() else name


def _hash(place: Path) -> str:
    return hash_file(place) if place.is_file() else hash_files(place, (*TENSORS, *CONFIGS, *PICKLES))
