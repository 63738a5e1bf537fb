"""What a job's folder says of it: its configuration, without where on this computer it ran, and in `job.json` its command, seeds
and versions; and the job once more from there, with further values changed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.config.files import HERE, LOCAL, WEIGHTS, local_files, read_plain_yaml
from selfdebias.config.keys import digest
from selfdebias.config.rules import ConfigError, mapped, walk
from selfdebias.config.schema import STAGES
from selfdebias.report.wording import plain
from selfdebias.storage.atomic import check_inside, hash_file, read_json, swept, write_json, write_text
from selfdebias.storage.hidden import HIDDEN, hidden, redacted, redacted_words
from selfdebias.storage.model_files import CONFIGS, PICKLES, TENSORS, hash_files
from selfdebias.storage.provenance import differences, in_words, made_with, read_versions

if TYPE_CHECKING:
    from selfdebias.jobs.stage import Stage  # which brings what is slow to come

CONFIG, RECORD = "config.yaml", "job.json"
FLAG = "--from"  # of the command that runs a job once more from its folder


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
        `config_hash`, `command`, `stages`, `seeds` by stage, `tags` and `made_with` (`selfdebias.storage.provenance.made_with`).
    """
    earlier = read_record(job).get("made_with") if is_done else None
    return {
        "config_hash": job.name,
        "command": redacted_words(["selfdebias", *words]),
        "stages": dict(stages),
        "seeds": seeds_of(config),
        "tags": hidden(config["tags"]),
        "made_with": earlier or made_with(),
    }


def signed(stage: Stage, record: Mapping[str, Any]) -> Stage:
    """A stage that is written again by other code is so for another job or other tags too: its page shows them."""
    shown = digest([record["config_hash"], record["tags"]])
    return replace(stage, writer=f"{stage.writer} {shown}") if stage.writer else stage


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
    from selfdebias.config.files import to_yaml

    job.mkdir(parents=True, exist_ok=True)
    with swept(job):  # so that another process that starts the job leaves what is being written
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
        if path not in files or value.startswith(LOCAL):  # one that is named already stays
            return value
        place = Path(value)
        name = LOCAL + (place.absolute().name or "root")
        if path.split(".")[-1] not in WEIGHTS or not place.exists():
            return name
        hashed = hash_file(place) if place.is_file() else hash_files(place, (*TENSORS, *CONFIGS, *PICKLES))
        return f"{name}@{hashed[:12]}"

    return {key: mapped(item, named, key) for key, item in config.items() if key not in HERE}


def load_again(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Reads a job's resolved configuration, changes values of it, and checks it as any other.

    The folder may be a stranger's, so it is plain data. It does not choose where the job runs, who is told of it and in which words
    (`paths`, `logger` and `tags` are those of this computer), or files of this computer: these have to be given again. Where the
    folder lies among the jobs of a root, the job runs under that root, wherever the command is called.

    Args:
        folder: The job's folder.
        overrides: In Hydra's grammar; values alone, since the folder does not say what an option of a group would bring. The
            groups of `HERE` alone can be chosen.

    Raises:
        ConfigError: With one line about the folder, or the option, the rule and the value.
    """
    from selfdebias.config.compose import change_values, check_resolved, compose_groups

    stored = read_config(folder)
    here = [text for text in overrides if text.lstrip("+").partition("=")[0] in HERE]
    values = [text for text in overrides if text not in here]
    mine = compose_groups(here)
    place = Path(folder).absolute().parent
    if place.name == "jobs" and (place.parent / "stages").is_dir():  # else it was copied out of its root
        mine = {**mine, "paths": {**mine["paths"], "root": os.path.relpath(place.parent)}}
    merged = {**stored, **{section: mine[section] for section in HERE}}
    order = dict.fromkeys([*mine, *merged])  # that of a composed one
    whole = {key: merged[key] for key in order if key in merged}
    try:
        check_resolved(whole, whole)
    except ConfigError as error:
        made = plain(in_words(read_versions(read_record(folder)))) or "versions that it does not say"
        words = f"a job that this version of selfdebias can run, got {folder}, made with {made}"
        raise ConfigError(f"`{FLAG}` must be {words}: {error}") from None
    if any(
        text.startswith("evaluate.folders=") for text in values
    ):  # a list or dictionary that takes the place of the old one
        whole = {**whole, "evaluate": {**whole["evaluate"], "folders": None}}
    config = change_values(whole, values)
    _refuse_missing(stored, config, values, folder)
    return check_resolved(config, whole)


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a job's folder, without what a folder does not choose.

    Raises:
        ConfigError: If there is no configuration, or it is no plain data.
    """
    file = Path(folder) / CONFIG
    if not file.is_file():
        raise ConfigError(f"`{FLAG}` must be a job's folder with its {CONFIG}, got {folder}.")
    try:
        check_inside(Path(folder), (CONFIG, RECORD))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return {key: item for key, item in read_plain_yaml(file).items() if key not in HERE}


def words_of(folder: Path, overrides: Sequence[str]) -> list[str]:
    """The command line that asks for the same: that of the folder, and what was changed since."""
    command = read_record(folder).get("command")
    try:
        words = shlex.split(plain(command))[1:] if isinstance(command, str) else []
    except ValueError:  # quotes that do not close
        words = []
    return [*(words or [FLAG, str(folder)]), *(text for text in overrides if text not in words)]


def note_on_versions(folder: Path) -> str:
    """A line that says which versions are not those of the folder, "" where all are."""
    before = read_versions(read_record(folder))
    if not before:
        return f"{folder} does not say which versions it was made with."
    changed = differences(before, made_with())
    return plain(f"not as when {folder} was made: {'; '.join(changed)}") if changed else ""


def notes_on_weights(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """A line for each local file of weights that is not the one that the folder names, by its hash.

    Args:
        folder: The job's folder.
        config: What runs in its place.
    """
    before, now = (dict(walk(it)) for it in (read_config(folder), portable(config)))
    pairs = [(path, value, now.get(path)) for path, value in before.items() if str(value).startswith(LOCAL)]
    return [
        plain(f"`{path}` is {here}, and was {there} when {folder} was made: other weights, so all is made anew.")
        for path, there, here in pairs
        if str(there).partition("@")[2] != str(here).partition("@")[2]
    ]


def _refuse_missing(
    stored: Mapping[str, Any], config: Mapping[str, Any], overrides: Sequence[str], folder: Path
) -> None:
    """Refuses to run without what the folder does not hold, or may not choose, and the command line did not give."""
    given = [text.lstrip("+~").partition("=")[0] for text in overrides]

    def missing(path: str) -> bool:
        return not any(path == key or path.startswith(f"{key}.") for key in given)

    for path, value in walk(stored):
        if any(isinstance(it, str) and HIDDEN in it for it in (value if isinstance(value, list) else [value])):
            if missing(path):
                raise _again(path, f"it holds a secret, which {folder} does not")
        elif path.endswith("allow_pickle") and value and missing(path):
            raise _again(path, f"{folder} asks for pickles, which only you can allow")
    for path, value in local_files(stored):
        if missing(path):
            raise _again(path, f"{folder} names {value!r}, and does not hold it; give the path that it has here")
    for path, value in local_files(config):
        if value.startswith(LOCAL):
            raise _again(path, f"{value!r} only names what was there")


def _again(path: str, reason: str) -> ConfigError:
    return ConfigError(f"`{path}` must be given again ({path}=...): {reason}.")
