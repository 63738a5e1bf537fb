"""The command `selfdebias`: compose the configuration, check it, run the stages, print the table.

Torch and all that needs it are imported once a job really starts.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.rules import ConfigError

if TYPE_CHECKING:
    from selfdebias.parts import Parts
    from selfdebias.plan import Step
    from selfdebias.storage.stage_folder import StageFolder

USAGE = """\
selfdebias: finds the semantic modes of what a diffusion model generates, without labels, and balances them.

  selfdebias                         the quickstart: the shipped model, vanilla against guided, and a report
  selfdebias key=value ...           change values:          selfdebias collect.n_images=512 guidance.strength=0.5
  selfdebias group=option ...        choose another part:    selfdebias guidance=random
  selfdebias ... --cfg job           print the resolved configuration and stop
  selfdebias -m key=a,b ...          a sweep; stages with the same key are shared
  selfdebias --version | --help

Finished stages are found again and skipped; a stopped job goes on where it was when the same command is given again.
Exit code: 0 done, 2 the command line or configuration is wrong, 130 stopped, 1 anything else.

Groups and their options:
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(arguments):
        print(_help())
        return 0
    if "--version" in arguments:
        print(f"selfdebias {import_module('selfdebias').__version__}")
        return 0
    if {"-m", "--multirun"} & set(arguments):
        return _sweep(arguments)
    try:
        return _run_or_print(arguments)
    except ConfigError as error:
        print(f"selfdebias: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("selfdebias: stopped; the same command goes on from here.", file=sys.stderr)
        return 130


def run_job(config: Mapping[str, Any], overrides: Sequence[str]) -> Path:
    """Runs the stages that `config` asks for, skipping finished ones, and gathers the job's folder.

    Args:
        config: A configuration that `selfdebias.config.load` has checked.
        overrides: The command line, for the report.

    Returns:
        The folder of the job.

    Raises:
        ConfigError: If a part refuses its values, before anything is run or any folder made.
    """
    from selfdebias import config as configuration
    from selfdebias import plan as planning
    from selfdebias.parts import Parts
    from selfdebias.storage.stage_folder import StageFolder

    root = Path(config["paths"]["root"])
    configuration.check_writable(root)
    parts = Parts(config)
    plan = planning.make_plan(config, parts.fingerprints())
    folders = {step.name: StageFolder(root, step.stage, step.key) for step in plan.values()}
    steps = planning.chosen_steps(plan, config["stages"])
    planning.check_inputs(steps, {name for name, folder in folders.items() if folder.finished})
    config_hash = planning.config_hash(plan, config["stages"])
    job = root / "jobs" / config_hash
    record = {
        "config_hash": config_hash,
        "command": " ".join(["selfdebias", *overrides]),
        "stages": {step.name: str(folders[step.name].path.relative_to(root)) for step in steps},
    }
    _start_job(job, config, record)
    for step in steps:
        _run_step(step, folders, parts, {**record, "config": dict(config), "folder": str(job)})
    paths = {step.name: folders[step.name].path for step in steps}
    _gather(job, config, paths, record)
    if "report" in paths and not (job / "wandb").exists():
        _log(job, config, paths["report"], parts)
    return job


def _run_or_print(arguments: list[str]) -> int:
    """`--cfg job` prints; anything else runs and prints the table and where the report is."""
    from selfdebias.config import load, to_yaml
    from selfdebias.targets import check_names

    overrides, show = _split(arguments)
    config = load(overrides)
    check_names(config)
    if show:
        print(to_yaml(config), end="")
        return 0
    _settle_libraries()
    job = run_job(config, overrides)
    _print_outcome(job)
    return 0


def _split(arguments: Sequence[str]) -> tuple[list[str], bool]:
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


def _run_step(step: Step, folders: Mapping[str, StageFolder], parts: Any, job: Mapping[str, Any]) -> None:
    """Runs one step under its lock, unless it is finished, by this job or by one that it waited for."""
    folder = folders[step.name]
    if not folder.finished:
        with folder.lock():
            if not folder.finished:
                print(f"{step.name} ...", flush=True)
                start = time.monotonic()
                _function(step)(**_arguments(step, folders, parts, job))
                seconds = round(time.monotonic() - start, 3)
                folder.finish({**step.record, "seconds": seconds})
                print(f"{step.name}: done in {seconds:.1f} s", flush=True)
                return
    print(f"{step.name}: found, skipped", flush=True)


def _function(step: Step) -> Any:
    from selfdebias.plan import STAGES

    return getattr(STAGES[step.stage].module, STAGES[step.stage].function.rpartition(".")[2])


def _arguments(step: Step, folders: Mapping[str, StageFolder], parts: Any, job: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of the step's function."""
    from selfdebias.plan import ARGUMENTS, STAGES

    stage = STAGES[step.stage]
    arguments: dict[str, Any] = {"folder": folders[step.name].path, **job["config"][step.stage]}
    for group in stage.parts:
        arguments[ARGUMENTS.get(group, group)] = parts.get(group, step.guidance, Path(job["folder"]))
    for argument, name in step.inputs.items():
        arguments[argument] = folders[name].path
    if stage.keyed:
        arguments["key"] = step.key
    if step.arms:
        arguments["arms"] = {arm: folders[name].path for arm, name in step.arms.items()}
    if step.arm:
        arguments = {"projected": None, "replayed": None, **arguments, "arm": step.arm}
    if step.stage == "report":
        arguments["job"] = dict(job)
    return arguments


def _start_job(job: Path, config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Writes what was asked for, without secrets, so that a job that is killed can be told apart from the others."""
    from selfdebias.config import to_yaml
    from selfdebias.report.redact import redacted
    from selfdebias.storage.atomic import write_json, write_text

    write_text(job / "config.yaml", to_yaml(redacted(config)))
    write_json(job / "job.json", redacted(record))


def _gather(job: Path, config: Mapping[str, Any], paths: Mapping[str, Path], record: Mapping[str, Any]) -> None:
    """Copies what a reader of the job wants into its folder."""
    from selfdebias.storage.atomic import write_bytes, write_json

    curves = [path / "metrics.jsonl" for path in paths.values()]
    write_bytes(job / "metrics.jsonl", b"".join(path.read_bytes() for path in curves if path.exists()))
    if "evaluate" in paths:
        results = json.loads((paths["evaluate"] / "results.json").read_text())
        seeds = {stage: config[stage]["seed"] for stage in ("collect", "generate")}
        write_json(job / "results.json", {**results, "config_hash": record["config_hash"], "seeds": seeds})
    if "report" in paths:
        for name in ("report.html", "table.md"):
            write_bytes(job / name, (paths["report"] / name).read_bytes())


def _log(job: Path, config: Mapping[str, Any], report: Path, parts: Parts) -> None:
    """Hands the finished job to its logger, once."""
    from selfdebias.report.wandb_log import log_job
    from selfdebias.stages.report import read_figures
    from selfdebias.storage.atomic import read_lines

    results = json.loads((job / "results.json").read_text())
    log_job(parts.get("logger", {}, job), results, read_figures(report), read_lines(job / "metrics.jsonl"), config)


def _print_outcome(job: Path) -> None:
    results = job / "results.json"
    if results.exists():
        print(import_module("selfdebias.report.table").render_table(json.loads(results.read_text()), width=80))
    page = job / "report.html"
    print(f"report: {page}" if page.exists() else f"job: {job}")


def _settle_libraries() -> None:
    """Keeps the libraries from loading code of others and from talking over the progress bars."""
    os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import pytorch_lightning  # noqa: F401  (sets the level of its logger when it is imported)
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")


def _sweep(arguments: Sequence[str]) -> int:
    """Hands a sweep to Hydra, which calls each job with its own overrides."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from selfdebias.config import conf_folder

    @hydra.main(config_path=str(conf_folder()), config_name="config", version_base="1.3")
    def job(_: Any) -> None:
        code = main(list(HydraConfig.get().overrides.task))
        if code:
            raise SystemExit(code)

    before, sys.argv = sys.argv, ["selfdebias", *arguments]
    try:
        job()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.argv = before
    return 0


def _help() -> str:
    """The usage, the options of each group, and the commented values of config.yaml."""
    from selfdebias.config import conf_folder

    folder = conf_folder()
    text = (folder / "config.yaml").read_text()
    groups = sorted(path for path in folder.iterdir() if path.is_dir())
    options = [f"  {group.name:<11}{', '.join(sorted(file.stem for file in group.glob('*.yaml')))}" for group in groups]
    values = text[text.index("\nstages:") : text.index("\nhydra:")].strip()
    return f"{USAGE}{chr(10).join(options)}\n\nValues, with their defaults:\n\n{values}"


if __name__ == "__main__":
    sys.exit(main())
