"""The shipped sweep of W&B: what its agent would call is a command line of ours, and its metric is a number that we log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from selfdebias.config.compose import load
from selfdebias.report.measures import flat_numbers
from selfdebias.report.privacy import check_wandb
from tests.report.example import example_results

FILE = Path(__file__).parents[1] / "experiments" / "wandb_sweep.yaml"


@pytest.fixture(scope="module")
def sweep():
    return yaml.safe_load(FILE.read_text())


def values_of(parameter) -> list:
    """The values of a parameter, or the ends of its range."""
    return parameter.get("values") or [parameter["min"], parameter["max"]]


def command_of(sweep, values) -> list[str]:
    """The words that `wandb agent` starts for a run with these values: its own functions, and its loop over `command`."""
    args = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    macros = {**args, "env": ["/usr/bin/env"], "program": [sweep["program"]], "interpreter": ["python"]}
    words: list[str] = []
    for word in create_sweep_command(sweep["command"]):
        words += macros[word[2:-1]] if word.startswith("${") else [word]
    return words


def test_each_value_makes_a_command_line_that_composes(sweep):
    names = list(sweep["parameters"])
    assert len(names) > 2
    for k in range(max(len(values_of(it)) for it in sweep["parameters"].values())):
        values = {name: values_of(it)[k % len(values_of(it))] for name, it in sweep["parameters"].items()}
        env, program, *overrides = command_of(sweep, values)
        assert (env, program) == ("/usr/bin/env", "selfdebias") and "-m" not in overrides
        config = load(overrides)
        for name in set(names) - {"clustering"}:
            group, option = name.split(".")
            assert config[group][option] == values[name]
        assert config["logger"]["wandb"]["mode"] == "online"
    check_wandb(config["logger"]["wandb"])


def test_a_value_with_many_digits_arrives_as_it_is(sweep):
    words = command_of(sweep, {"guidance.strength": 5.123456789012345e-05, "guidance.limit": 3})
    assert load(words[2:])["guidance"]["strength"] == 5.123456789012345e-05


def test_its_metric_is_a_number_of_the_runs_summary(sweep):
    assert sweep["metric"]["name"] in flat_numbers(example_results())
    assert sweep["metric"]["goal"] in ("minimize", "maximize") and sweep["method"] in ("grid", "random", "bayes")


def test_the_command_runs_as_the_agent_starts_it(sweep, tmp_path):
    """With `--cfg job` at its end, which prints the configuration: the words reach the installed program."""
    words = command_of(sweep, {name: values_of(it)[0] for name, it in sweep["parameters"].items()})
    script = tmp_path / "selfdebias"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom selfdebias.main import main\nsys.exit(main())\n")
    script.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([*words, "--cfg", "job"], capture_output=True, text=True, env=path, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["guidance"]["strength"] == 2
