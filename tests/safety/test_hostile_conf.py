"""A folder of YAML files that somebody else wrote is data: whatever it says, Hydra runs no code and writes no file for it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from selfdebias.main import main

TOUCH = "_target_: os.system, command: touch {canary}"
HYDRA = {  # what an experiment says of `hydra`, and the key that the refusal names
    "callback": ("callbacks: {{evil: {{%s}}}}", "hydra.callbacks.evil._target_"),
    "callback_that_adds_a_site": ("callbacks: {{evil: {{_target_: site.addsitedir, sitedir: {folder}}}}}", "callbacks.evil"),
    "callback_in_a_callback": (
        "callbacks: {{evil: {{_target_: hydra.experimental.callbacks.LogJobReturnCallback, x: {{%s}}}}}}",
        "hydra.callbacks.evil.x",
    ),
    "callback_in_a_list": (
        "callbacks: {{evil: {{_target_: stand_ins.parts.Model, weights: [{{%s}}], steps: 1}}}}",
        "hydra.callbacks.evil.weights.0._target_",
    ),
    "callback_elsewhere": ("callbacks: {{evil: '${{stash}}'}}", "hydra.callbacks.evil"),
    "callbacks_elsewhere": ("callbacks: '${{stash}}'", "hydra."),
    "callback_with_a_value_elsewhere": (
        "callbacks: {{evil: {{_target_: stand_ins.parts.Model, weights: '${{stash}}', steps: 1}}}}",
        "hydra.callbacks.evil.weights",
    ),
    "target_elsewhere": ("callbacks: {{evil: {{_target_: '${{stash._target_}}'}}}}", "evil._target_"),
    "launcher": ("launcher: {{%s}}", "hydra.launcher"),
    "launcher_of_ours": ("launcher: {{_target_: selfdebias.jobs.task.task}}", "hydra.launcher._target_"),
    "sweeper": ("sweeper: {{%s}}", "hydra.sweeper"),
    "sweeper_with_a_part": ("sweeper: {{max_batch_size: {{%s}}}}", "hydra.sweeper"),
    "sweeper_of_settings": ("sweeper: {{params: {{hydra.launcher.setup: a}}}}", "hydra.sweeper.params"),
    "sweeper_of_variables": ("sweeper: {{params: {{+hydra.job.env_set.LD_PRELOAD: evil.so}}}}", "hydra.sweeper.params"),
    "handler": ("job_logging: {{handlers: {{e: {{class: evil_package.Handler}}}}}}", "hydra.job_logging.handlers.e.class"),
    "handler_made": ("hydra_logging: {{handlers: {{e: {{(): os.system, command: touch {canary}}}}}}}", "handlers.e.()"),
    "formatter": ("job_logging: {{formatters: {{e: {{(): evil_package.make}}}}}}", "formatters.e.()"),
    "formatter_class": ("job_logging: {{formatters: {{e: {{class: evil_package.Handler}}}}}}", "formatters.e.class"),
    "filter": ("job_logging: {{filters: {{e: {{(): evil_package.make}}}}}}", "hydra.job_logging.filters"),
    "stream": (
        "job_logging: {{handlers: {{e: {{class: logging.StreamHandler, stream: ext://evil_package.x}}}}}}",
        "handlers.e.stream",
    ),
    "name_in_a_list": ("job_logging: {{root: {{level: INFO, handlers: ['ext://evil_package.x']}}}}", "root.handlers.0"),
    "own_configuration": ("job_logging: {{root: {{level: 'cfg://handlers'}}}}", "root.level"),
    "log_file": (
        "job_logging: {{handlers: {{e: {{class: logging.FileHandler, filename: {canary}}}}}, root: {{handlers: [e]}}}}",
        "handlers.e.filename",
    ),
    "log_file_by_attribute": (
        "job_logging: {{handlers: {{e: {{class: logging.NullHandler, '.': {{baseFilename: {canary}}}}}}}}}",
        "handlers.e..",
    ),
    "log_file_by_name": ("job: {{name: ../../{canary}}}", "hydra.job.name"),
    "logging_elsewhere": ("job_logging: '${{stash}}'", "hydra.job_logging"),
    "sampler_elsewhere": ("sweeper: {{sampler: '${{stash}}'}}", "hydra.sweeper.sampler"),
    "path": ("job: {{env_set: {{PYTHONPATH: {folder}}}}}", "hydra.job.env_set.PYTHONPATH"),
    "library": ("job: {{env_set: {{LD_PRELOAD: {folder}/evil.so}}}}", "LD_PRELOAD"),
    "server": ("job: {{env_set: {{WANDB_BASE_URL: 'http://127.0.0.1:9'}}}}", "WANDB_BASE_URL"),
    "hub": ("job: {{env_set: {{HF_ENDPOINT: 'http://127.0.0.1:9'}}}}", "HF_ENDPOINT"),
    "library_of_nccl": ("job: {{env_set: {{NCCL_NET_PLUGIN: {folder}/evil.so}}}}", "NCCL_NET_PLUGIN"),
    "environment": ("job: {{env_copy: [HOME]}}", "hydra.job.env_copy"),
    "directory": ("job: {{chdir: true}}", "hydra.job.chdir"),
    "place": ("run: {{dir: {canary}}}", "hydra.run"),
    "place_of_sweeps": ("sweep: {{dir: {canary}}}", "hydra.sweep"),
    "place_of_jobs": ("sweep: {{subdir: ../../../x}}", "hydra.sweep"),
    "place_of_files": ("output_subdir: {canary}", "hydra.output_subdir"),
    "mode": ("mode: MULTIRUN", "hydra.mode"),
    "overrides": ("overrides: {{task: ['paths.root={canary}']}}", "hydra.overrides"),
    "search_path": ("searchpath: ['pkg://evil_package']", "hydra.searchpath"),
}  # fmt: skip
OF_LAUNCHERS = {  # what an experiment says of an installed launcher, which a command chooses
    "setup": ("setup: ['touch {canary}']", "hydra.launcher.setup"),
    "python": ("python: {folder}/evil", "hydra.launcher.python"),
    "srun": ("srun_args: ['--prolog={folder}/evil']", "hydra.launcher.srun_args"),
    "line": ('partition: "a\\ntouch {canary} #"', "hydra.launcher.partition"),
    "line_elsewhere": ("partition: '${{prompts.text}}'", "hydra.launcher.partition"),
    "folder": ("submitit_folder: {canary}", "hydra.launcher.submitit_folder"),
    "flags": ("additional_parameters: {{wrap: touch {canary}}}", "hydra.launcher.additional_parameters"),
}
GLOBAL = "# @package _global_\n"


@pytest.fixture
def hostile(stand_ins, tmp_path, monkeypatch):
    """A function that writes files into the folder; nothing may come of it."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr("shutil.which", lambda _: "/bin/false")  # a cluster
    folder, canary = tmp_path / "hostile", tmp_path / "canary"
    package = tmp_path / "site" / "evil_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(canary)!r}, 'w').close()\nmake = Handler = x = print\n")

    def write(**files: str) -> None:
        for name, text in {"experiment__good": GLOBAL, "experiment__fine": GLOBAL, **files}.items():
            file = folder.joinpath(*name.split("__")).with_suffix(".yaml")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.replace("%s", TOUCH).format(canary=canary, folder=folder))

    before, environment = set(tmp_path.iterdir()) | {folder}, _environment()
    yield write
    assert set(tmp_path.iterdir()) == before and stand_ins == []
    assert "evil_package" not in sys.modules and str(folder) not in sys.path
    assert _environment() == environment and not logging.getLogger().filters


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def refused(capsys, words: str, *arguments: str) -> None:
    assert main(["--config-dir", "hostile", *arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("selfdebias: ") and err.count("\n") == 1 and words in err and out == "", err


def said(name: str, table=HYDRA) -> tuple[str, str]:
    text, words = table[name]
    inner = f"launcher: {{{{{text}}}}}" if table is OF_LAUNCHERS else text
    return f"{GLOBAL}hydra: {{{{{inner}}}}}\nstash: {{{{%s}}}}\n", words


@pytest.mark.parametrize("name", HYDRA)
def test_an_experiment_is_refused(hostile, capsys, name):
    text, words = said(name)
    hostile(experiment__evil=text)
    refused(capsys, words, "experiment=evil")


@pytest.mark.parametrize(
    "name", ["callback", *(pytest.param(it, marks=pytest.mark.slow) for it in ("handler", "path", "overrides"))]
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "experiment=evil", "guidance.strength=0.1,0.2"],
        ["-m", "experiment=good,evil,fine"],
        ["-m", "experiment=glob(*)"],
        ["-m", "experiment=good,evil,fine", "hydra/launcher=submitit_local"],
        ["-m", "experiment=good,evil,fine", "guidance.strength=interval(0.1, 0.2)", "hydra/sweeper=search"],
        ["--cfg", "hydra", "experiment=evil"],
        ["--info", "config", "experiment=evil"],
        ["--hydra-help", "experiment=evil"],
    ],
)
def test_it_is_refused_whichever_way_it_is_asked_for(hostile, capsys, name, arguments):
    text, words = said(name)
    hostile(experiment__evil=text)
    refused(capsys, words, *arguments)


@pytest.mark.parametrize("name", OF_LAUNCHERS)
def test_an_installed_launcher_gets_commands_and_places_from_the_command_line_alone(hostile, capsys, name):
    text, words = said(name, OF_LAUNCHERS)
    hostile(experiment__evil=text)
    refused(capsys, words, "-m", "experiment=evil", "hydra/launcher=submitit_slurm", "guidance.strength=0.1,0.2")


def test_what_is_typed_beside_it_does_not_let_a_files_commands_through(hostile, capsys):
    text, words = said("flags", OF_LAUNCHERS)
    hostile(experiment__evil=text)
    typed = ["hydra/launcher=submitit_slurm", "+hydra.launcher.additional_parameters.mail=me"]
    refused(capsys, words, "-m", "experiment=evil", "guidance.strength=0.1,0.2", *typed)


@pytest.mark.parametrize(
    ("group", "option", "more"),
    [
        ("launcher", "submitit_local", "-m"),
        ("launcher", "basic", "-m"),
        ("launcher", "mine", "-m"),
        ("sweeper", "search", "-m"),
        ("sweeper", "basic", "-m"),
        ("callbacks", "mine", "-m"),
        ("job_logging", "mine", ""),
        ("hydra_logging", "mine", "--hydra-help"),
        ("hydra_logging", "mine", "--info=all"),
    ],
)
def test_an_option_of_hydras_own_groups_is_refused_when_it_is_chosen(hostile, capsys, group, option, more):
    body = "{{evil: {{%s}}}}" if group == "callbacks" else "{{%s}}"
    if group.endswith("logging"):
        body = "{{version: 1, root: {{}}, handlers: {{e: {{(): os.system, command: touch {canary}}}}}}}"
    hostile(**{f"hydra__{group}__{option}": body})
    flags = [more] if more else []
    refused(capsys, group, *flags, f"hydra/{group}={option}", *(["prompts.text=a,b"] if more == "-m" else []))


@pytest.mark.parametrize("group", ["launcher", "callbacks"])
def test_a_defaults_list_may_choose_such_an_option_no_more_than_a_command(hostile, capsys, group):
    prefix = "" if group == "callbacks" else "override "
    body = "{{evil: {{%s}}}}" if group == "callbacks" else "{{%s}}"
    hostile(
        experiment__evil=f"{GLOBAL}defaults: [{{{{{prefix}/hydra/{group}: mine}}}}]", **{f"hydra__{group}__mine": body}
    )
    refused(capsys, group, "experiment=evil")
    refused(capsys, group, "-m", "experiment=good,evil")


@pytest.mark.parametrize(
    "flags", [[], ["--info=all"], ["--hydra-help"], ["--cfg", "hydra"], ["--shell-completion", "install=bash"]]
)
@pytest.mark.parametrize(
    "text",
    [
        "hydra: {{searchpath: ['pkg://evil_package']}}",
        "x: {{searchpath: ['pkg://evil_package']}}\nhydra: '${{x}}'",
        "hydra:\n  searchpath: '${{x}}'\nx: ['pkg://evil_package.conf']",
    ],
)
def test_a_primary_configuration_imports_no_package(hostile, capsys, flags, text):
    hostile(evil=f"defaults: [config, _self_]\n{text}")
    refused(capsys, "`hydra.searchpath` must be given on the command line", "--config-name", "evil", *flags)


def test_a_primary_configuration_without_ours_starts_no_sweep(hostile, capsys):
    hostile(evil="guidance: {{strength: 1}}")
    refused(capsys, "hydra.", "--config-name", "evil", "-m", "guidance.strength=1,2")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch {canary}']",
        "model: {{_target_: os.system, command: touch {canary}}}",
        "guidance: {{_target_: '${{oc.env:HOME}}'}}",
        "a: [",
        "- a list",
        "hydra: 3",
        "hydra: {{job: 3}}",
    ],
)
def test_what_else_it_says_is_one_line_too(hostile, capsys, text):
    hostile(experiment__evil=GLOBAL + text)
    refused(capsys, "", "experiment=evil")
    refused(capsys, "", "-m", "experiment=evil", "prompts.text=a,b")


def test_a_folder_that_replaces_hydras_own_section_is_refused(hostile, capsys):
    hostile(hydra__config="defaults: []\ncallbacks: {{evil: {{%s}}}}\n")
    refused(capsys, "hydra")
    refused(capsys, "hydra", "-m", "prompts.text=a,b")


def test_what_a_good_folder_says_is_taken(stand_ins, tmp_path):
    experiment = tmp_path / "mine" / "experiment"
    experiment.mkdir(parents=True)
    text = """hydra:
  job: {name: my-job, env_set: {OMP_NUM_THREADS: "1", WANDB_MODE: offline}}
  callbacks: {log: {_target_: hydra.experimental.callbacks.LogJobReturnCallback}}
  sweeper: {params: {prompts.text: "a,b"}}
"""
    (experiment / "x.yaml").write_text(GLOBAL + text)
    assert main(["--config-dir", "mine", "-m", "experiment=x", "logger=none"]) == 0
    assert len([call for call in stand_ins if call["stage"] == "collect"]) == 2
    assert sorted(it.name for it in tmp_path.iterdir()) == ["conf", "mine", "runs"]


def test_completion_reads_a_hostile_folder_and_runs_nothing(hostile, tmp_path):
    hostile(experiment__evil=said("callback")[0], evil="hydra: {{searchpath: ['pkg://evil_package']}}")
    line = "selfdebias --config-dir hostile experiment=evil guidance."
    environment = {
        **os.environ,
        "COMP_LINE": line,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), "site"]),
    }
    words = [sys.executable, "-m", "selfdebias", "--config-dir", "hostile", "--shell-completion", "query=bash"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
