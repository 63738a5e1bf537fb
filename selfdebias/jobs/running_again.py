"""A job once more from its folder: the configuration that stands there, with further values changed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdebias.config.local_paths import HERE, LOCAL, local_files
from selfdebias.config.plain_data import read_plain_yaml
from selfdebias.config.rules import ConfigError, walk
from selfdebias.jobs.job_record import CONFIG, RECORD, portable, read_record
from selfdebias.report.wording import plain
from selfdebias.storage.hidden import HIDDEN
from selfdebias.storage.provenance import differences, in_words, made_with, read_versions
from selfdebias.storage.weights.folders import check_inside

FLAG = "--from"


def split_from(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Takes `--from FOLDER` out of the arguments.

    Returns:
        The folder, None where there is no flag, and the other arguments.

    Raises:
        ConfigError: If no folder follows.

    Example:
        >>> split_from(["--from", "runs/jobs/0123", "generate.seed=2"])
        (PosixPath('runs/jobs/0123'), ['generate.seed=2'])
        >>> split_from(["guidance=none"])
        (None, ['guidance=none'])
    """
    rest = [word for text in arguments for word in (text.split("=", 1) if text.startswith(f"{FLAG}=") else [text])]
    if FLAG not in rest:
        return None, rest
    at = rest.index(FLAG)
    words = rest[at + 1 : at + 2]
    is_override = bool(words) and "=" in words[0] and not Path(words[0]).exists()
    if not words or FLAG in rest[at + 1 :] or words[0].startswith("-") or not words[0] or is_override:
        raise ConfigError(f"`{FLAG}` must be followed by one folder of a job, such as runs/jobs/0123456789abcdef.")
    return Path(words[0]), rest[:at] + rest[at + 2 :]


def refuse_with_sweep(arguments: Sequence[str]) -> None:
    """Refuses a folder for a sweep, whose jobs are composed.

    Raises:
        ConfigError: If there is one.
    """
    if split_from(arguments)[0] is not None:
        raise ConfigError(f"`{FLAG}` must be without -m: it runs one job.")


def load_again(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Reads a job's resolved configuration, changes values of it, and checks it as any other.

    The folder may be a stranger's, so it is plain data. It does not choose where the job runs, who is told of it (`paths` and
    `logger` are those of this computer), or files of this computer: these have to be given again. Where the folder lies among
    the jobs of a root, the job runs under that root, wherever the command is called.

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
    whole = _in_order(stored, compose_groups(here), _root_of(Path(folder)))
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


def _in_order(stored: Mapping[str, Any], here: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
    """The folder's configuration with the sections of this computer, in the order that a composed one has."""
    mine = {**here, "paths": {**here["paths"], **({} if root is None else {"root": str(root)})}}
    merged = {**stored, **{section: mine[section] for section in HERE}}
    return {key: merged[key] for key in dict.fromkeys([*here, *merged]) if key in merged}


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


def _root_of(folder: Path) -> Path | None:
    """The root of runs that a job's folder lies in; None for one that was copied out of it."""
    place = folder.absolute().parent
    return folder.parent.parent if place.name == "jobs" and (place.parent / "stages").is_dir() else None


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
