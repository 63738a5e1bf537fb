"""What a command line without `-m` asks for: a job, a job again from its folder, a table, or the configuration as YAML.

Torch and all that needs it are imported once a job really starts.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from selfdebias.config.overrides import refuse_doubles
from selfdebias.config.rules import ConfigError
from selfdebias.jobs.early_checks import check_early
from selfdebias.jobs.failures import explained, sigterm_as_ctrl_c
from selfdebias.jobs.job_record import (
    FLAG,
    load_again,
    note_on_versions,
    notes_on_weights,
    words_of,
)
from selfdebias.jobs.processes import ONE, Processes, run_in_processes, wants_several


def outcome(arguments: Sequence[str], processes: Processes = ONE) -> tuple[int, str]:
    """Does what the arguments ask for.

    Args:
        arguments: The command line.
        processes: This process among those that do it.

    Returns:
        The exit code, and the line that says what was wrong, "" where nothing was.
    """
    return answered(partial(_run_or_print, arguments, processes))


def answered(run: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    """Calls `run`; what a user can do something about becomes an exit code and a line."""
    try:
        with sigterm_as_ctrl_c():
            return run()
    except BaseException as error:
        found = explained(error)
        if found is None:
            raise
        return found


def _run_or_print(arguments: Sequence[str], processes: Processes) -> tuple[int, str]:
    """`--cfg job` prints; anything else runs, in as many processes as it wants, and prints the table and where the report is."""
    from selfdebias.config.compose import conf_folder, load
    from selfdebias.config.files import commented_yaml, to_yaml
    from selfdebias.config.targets import check_names

    words, show = split_show(arguments)
    folder, overrides = split_from(words)
    refuse_doubles([text for text in overrides if not text.startswith("-")])
    config = load(overrides) if folder is None else load_again(folder, overrides)
    check_names(config)
    if show:
        return print_out(to_yaml(config) if folder else commented_yaml(config, overrides, conf_folder())), ""
    for note in _notes(folder, overrides, config) if processes.part == 0 else ():
        print(note, flush=True)
    if folder is None and config["stages"] == ["table"]:
        from selfdebias.jobs.sweeps.table import remake_table

        remake_table(config["table"])
        return 0, ""
    check_early(config)  # before the slow imports
    if wants_several(config) and processes is ONE:
        return run_in_processes(outcome, words, config["trainer"]["devices"])
    from selfdebias.jobs.job import run_job

    job = run_job(config, overrides if folder is None else words_of(folder, overrides), processes)
    if processes.part == 0:
        _print_outcome(job)
    return 0, ""


def _notes(folder: Path | None, overrides: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """What is to be known of a job before it runs: other subjects than usual, other versions or weights than its folder's."""
    if folder is not None:
        return [note for note in (note_on_versions(folder), *notes_on_weights(folder, config)) if note]
    if not any(text.startswith("prompts.subjects=") for text in overrides):
        return []
    from selfdebias.config.compose import notes_on_subjects

    return notes_on_subjects(overrides, config["prompts"]["subjects"])


def print_out(text: str) -> int:
    """Prints what may be long; it ignores a closed pipe, such as that of `head`."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or the interpreter complains as it flushes at its end
    return 0


def split_show(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Takes `--cfg job` (or `-c job`) out of the arguments: (the rest, whether it was there)."""
    rest = list(arguments)
    for flag in ("--cfg", "-c"):
        if flag in rest:
            at = rest.index(flag)
            if rest[at + 1 : at + 2] != ["job"]:
                raise ConfigError(f"`{flag}` must be followed by job.")
            del rest[at : at + 2]
            return rest, True
    return rest, False


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


def _print_outcome(job: Path) -> None:
    results = job / "results.json"
    if results.exists():
        found = json.loads(results.read_text())
        writer = "prompts" if "rows" in found else "job_table"
        print(import_module(f"selfdebias.report.{writer}").render_table(found, width=80))
        for line in import_module("selfdebias.report.job_table").skipped_in_words(found):
            print(line)
    page = job / "report.html"
    print(f"report: {page}" if page.exists() else f"job: {job}")
