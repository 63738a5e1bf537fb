"""What a command line asks for. Hydra parses it, composes it and calls `task`, once for each job; what Hydra has no words for (a
job again from its folder, a commented configuration, mistakes in one line) is here.

Torch and all that needs it are imported once a job really starts.
"""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from selfdebias.config.compose import load, load_sweep, settings_of_hydra
from selfdebias.config.hydra_settings import PLACES
from selfdebias.config.overrides import parse, refuse_doubles, split_settings, with_names_of_today
from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.sources import Sources, sources_of
from selfdebias.config.targets import check_names
from selfdebias.jobs.failures import Ended, exit_code, explained, is_rank, sigterm_as_ctrl_c, tell_outcome
from selfdebias.jobs.job_record import FLAG, load_again, note_on_versions, notes_on_weights, words_of
from selfdebias.jobs.task import run_in_ranks, task

ONE_FOLDER = f"`{FLAG}` must be followed by one folder of a job, such as runs/jobs/0123456789abcdef."
OF_SWEEPS = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper")
WORDS = {  # of lightning-hydra-template and plain Hydra: what they are called here
    "seed": "collect.seed and generate.seed",
    "ckpt_path": "--from FOLDER, a job again from its folder",
    "task_name": "tags=[name]",
    "data": "prompts",
    "callbacks": "none: stages are found again by their key, and nothing is trained long enough to be stopped early",
    "train": "stages=[collect,discover,project]",
    "test": "stages=[evaluate]",
    "optimized_metric": "hydra.sweeper.objectives with hydra/sweeper=search",
    "hparams_search": "hydra/sweeper=search",
    "extras": "none",
}


def outcome(arguments: Sequence[str], help_text: Callable[[Sources], str]) -> tuple[int, str]:
    """Does what the arguments ask for.

    Args:
        arguments: The command line.
        help_text: What `--help` prints, by the folders that the command line adds.

    Returns:
        The exit code, and the line that says what was wrong, "" where nothing was.
    """
    try:
        with sigterm_as_ctrl_c():
            return _run_or_print(with_names_of_today(arguments), help_text)
    except BaseException as ended:
        error = ended.error if isinstance(ended, Ended) else ended
        found = explained(error)
        if found is None:
            raise error from error.__cause__
        return (found[0], "") if tell_outcome(*found) else found


def _run_or_print(words: list[str], help_text: Callable[[Sources], str]) -> tuple[int, str]:
    flags = _flags(words)
    refuse_doubles(flags.overrides)
    own, settings = split_settings(flags.overrides)
    check_words(flags.overrides)
    if flags.folders:
        return _run_again(flags)
    searched = next((parse([it])[0].value() for it in settings if it.startswith("hydra.searchpath=")), [])
    sources = sources_of(flags, [str(it) for it in (searched if isinstance(searched, list) else [searched])])
    if flags.help:
        return print_out(help_text(sources) + "\n"), ""
    if flags.multirun or "hydra.mode=MULTIRUN" in settings:
        if flags.cfg:
            return print_out(_jobs_of(flags.overrides, sources)), ""
        return _sweep(words, flags.overrides, sources)
    of_sweeps = [it.partition("=")[0] for it in settings if it.lstrip("+").startswith(OF_SWEEPS)]
    if of_sweeps and flags.cfg is None and flags.info is None:
        raise ConfigError(f"`{of_sweeps[0]}` is for sweeps: start one with -m.")
    if flags.shell_completion:
        return _hydra(words, sources)
    config = load(flags.overrides, sources)
    check_names(config)
    if flags.cfg == "job" and flags.package is None and not flags.resolve:
        from selfdebias.config.files import commented_yaml

        return print_out(commented_yaml(config, own, sources)), ""
    return _hydra(words, sources)


def _flags(words: Sequence[str]) -> Namespace:
    """The command line as Hydra's own parser reads it.

    Raises:
        ConfigError: For what it does not know, and `--experimental-rerun`, which would unpickle a file.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.add_argument(FLAG, dest="folders", action="append", default=[])

    def refused(message: str) -> None:
        if FLAG in message:
            raise ConfigError(ONE_FOLDER)
        unknown = message.removeprefix("unrecognized arguments: ")
        raise ConfigError(
            f"{message}." if unknown == message else f"`{unknown}` is not an option. See `selfdebias --help`."
        )

    parser.error = refused  # type: ignore[assignment, method-assign]
    flags = parser.parse_intermixed_args(list(words))  # overrides and flags in any order
    if flags.experimental_rerun is not None:
        raise ConfigError(f"`--experimental-rerun` is refused, since it unpickles a file: take {FLAG} FOLDER.")
    if flags.cfg is None and (flags.resolve or flags.package is not None):
        raise ConfigError("`--resolve` and `--package` go with --cfg.")
    alone = [f"--{name}" for name in ("info", "run", "resolve", "package") if getattr(flags, name) not in (None, False)]
    if flags.multirun and alone:
        raise ConfigError(f"`{alone[0]}` is not for sweeps: leave out -m, and give each key one value.")
    if flags.multirun and flags.cfg not in (None, "job"):
        raise ConfigError(f"`--cfg` must be job with -m, which lists the jobs of a sweep, got {flags.cfg}.")
    return flags


def check_words(overrides: Sequence[str]) -> None:
    """Names what a key of another project is called here, and refuses settings of Hydra's that mean nothing here."""
    for text in overrides:
        key, _, value = text.lstrip("+~").partition("=")
        if key in WORDS:
            raise ConfigError(f"`{key}` is not an option. Here it is {WORDS[key]}.")
        if key.startswith(tuple(f"hydra.{place}." for place in PLACES)) or key.removeprefix("hydra.") in PLACES:
            raise ConfigError(f"`{key}` cannot be set: `paths.root` says where results go.")
        if key == "hydra.mode" and value != "MULTIRUN":
            raise refuse(key, "MULTIRUN, which is -m, or left out", value)


def _hydra(words: Sequence[str], sources: Sources) -> tuple[int, str]:
    """Hands the command line to Hydra, which calls `task`."""
    import hydra

    entry = hydra.main(version_base="1.3", config_path=str(sources.primary), config_name=sources.name)(task)
    before, said = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # its errors are raised, and not printed over many lines
    sys.argv = ["selfdebias", *sorted(words, key=_is_override)]  # flags first
    try:
        entry()
    except SystemExit as ended:
        if exit_code(ended) is not None:  # Lightning makes one of Ctrl-C and SIGTERM
            raise
        return int(ended.code or 0), ""  # of --info and the like
    finally:
        sys.argv = before
        del os.environ["HYDRA_FULL_ERROR"]
        os.environ |= {} if said is None else {"HYDRA_FULL_ERROR": said}
    return 0, ""


def _is_override(word: str) -> bool:
    """Whether a word is an override and no flag, nor the value of one; `~key` takes a key away."""
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def _jobs_of(overrides: Sequence[str], sources: Sources) -> str:
    """The jobs that a sweep would run, each as its overrides, once all of them are checked.

    Raises:
        ConfigError: If one of them is wrong, or a search chooses them as it goes.
    """
    from selfdebias.jobs.sweeps.launching import SWEEPER

    if settings_of_hydra(overrides, sources)["sweeper"]["_target_"] != SWEEPER:
        raise ConfigError("`--cfg` lists no jobs of hydra/sweeper=search, which chooses each by the ones before it.")
    jobs = [shlex.join(job.overrides) for job in load_sweep(overrides, sources)]
    return "".join(f"{text}\n" for text in [f"# {len(jobs)} jobs, none is started", *jobs])


def _sweep(words: Sequence[str], overrides: Sequence[str], sources: Sources) -> tuple[int, str]:
    from selfdebias.jobs.sweeps.launching import run_sweep

    if is_rank():
        raise ConfigError(
            "`-m` cannot be started by torchrun or srun: start it plainly; each job of trainer=ddp starts its ranks."
        )
    return run_sweep(lambda: _hydra(words, sources), overrides, sources), ""


def _run_again(flags: Namespace) -> tuple[int, str]:
    """Runs a job from what stands in its folder, which is plain data and never seen by Hydra."""
    from selfdebias.config.files import to_yaml

    text = flags.folders[0]
    if len(flags.folders) > 1 or not text or ("=" in text and not Path(text).exists()):
        raise ConfigError(ONE_FOLDER)
    if flags.multirun:
        raise ConfigError(f"`{FLAG}` must be without -m: it runs one job.")
    names = ("help", "hydra_help", "info", "config_dir", "config_name", "config_path")
    beside = [name.replace("_", "-") for name in names if getattr(flags, name, None)]
    if beside or flags.cfg not in (None, "job"):
        word = beside[0] if beside else f"cfg {flags.cfg}"
        raise ConfigError(f"`{FLAG}` must be without --{word}: what the job is stands in its folder.")
    folder = Path(text)
    config = load_again(folder, flags.overrides)
    check_names(config)
    if flags.cfg:
        return print_out(to_yaml(config)), ""
    for note in (note_on_versions(folder), *notes_on_weights(folder, config)):
        if note and not (is_rank() and int(os.environ["RANK"])):
            print(note, flush=True)
    run_in_ranks(config, words_of(folder, flags.overrides), [FLAG, str(folder), *flags.overrides])
    return 0, ""


def print_out(text: str) -> int:
    """Prints what may be long; it ignores a closed pipe, such as that of `head`."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # of which the interpreter would complain again, as it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
