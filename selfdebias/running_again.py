"""A job once more from its folder: the configuration that stands there, with further values changed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdebias.job_record import CONFIG, read_record
from selfdebias.provenance import differences, in_words, made_with
from selfdebias.rules import ConfigError, walk

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
    if not words or FLAG in rest[at + 1 :] or words[0].startswith("-") or not words[0]:
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

    Where the folder lies among the jobs of a root, the job runs under that root, wherever the command is called.

    Args:
        folder: The job's folder.
        overrides: In Hydra's grammar; values alone, since the folder does not say what an option of a group would bring.

    Raises:
        ConfigError: With one line about the folder, or the option, the rule and the value.
    """
    from selfdebias.config import change_values, check_resolved

    stored = read_config(folder)
    try:
        check_resolved(stored, stored)
    except ConfigError as error:
        made = in_words(read_record(folder).get("made_with", {})) or "versions that it does not say"
        words = f"a job that this version of selfdebias can run, got {folder}, made with {made}"
        raise ConfigError(f"`{FLAG}` must be {words}: {error}") from None
    config = change_values(stored, overrides)
    _refuse_hidden(config, folder)
    return check_resolved(config, stored)


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a job's folder, under the root that it lies in.

    Raises:
        ConfigError: If there is no configuration.
    """
    import yaml

    file, root = Path(folder) / CONFIG, _root_of(Path(folder))
    try:
        config = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        config = None
    if not isinstance(config, dict):
        raise ConfigError(f"`{FLAG}` must be a job's folder with its {CONFIG}, got {folder}.")
    return config if root is None else {**config, "paths": {"root": str(root)}}


def words_of(folder: Path, overrides: Sequence[str]) -> list[str]:
    """The command line that asks for the same: that of the folder, and what was changed since."""
    command = read_record(folder).get("command")
    return [*(shlex.split(command)[1:] if command else [FLAG, str(folder)]), *overrides]


def note_on_versions(folder: Path) -> str:
    """A line that says which versions are not those of the folder, "" where all are."""
    before = read_record(folder).get("made_with")
    if before is None:
        return f"{folder} does not say which versions it was made with."
    changed = differences(before, made_with())
    return f"not as when {folder} was made: {'; '.join(changed)}" if changed else ""


def _root_of(folder: Path) -> Path | None:
    """The root of runs that a job's folder lies in; None for one that was copied out of it."""
    place = folder.absolute().parent
    return folder.parent.parent if place.name == "jobs" and (place.parent / "stages").is_dir() else None


def _refuse_hidden(config: Mapping[str, Any], folder: Path) -> None:
    from selfdebias.report.redact import HIDDEN

    for path, value in walk(config):
        if any(isinstance(it, str) and HIDDEN in it for it in (value if isinstance(value, list) else [value])):
            raise ConfigError(
                f"`{path}` must be given again ({path}=...): it is a secret, which {folder} does not hold."
            )
