"""The lab notebook: its tables are those that were measured, its commands are there, and it has a section for each study."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from experiments import notebook
from experiments.notebook import NOT_RUN, NOTEBOOK, cost_of, filled, head_of, table_of
from experiments.pooled import RESULTS
from experiments.study import names
from experiments.twins import FOLDERS
from selfdebias.config.compose import load, load_sweep
from selfdebias.config.sources import conf_folder

TEXT = NOTEBOOK.read_text()
STUDIES = [f"{folder}/{name}" for folder, names in FOLDERS.items() for name in names]
TABLES = re.findall(notebook.MARK.format("table"), TEXT, re.DOTALL)


def test_its_tables_are_what_its_script_writes():
    assert filled(TEXT, "table", table_of) == TEXT


def test_a_study_that_is_a_file_has_its_section_as_its_file_says():
    assert {*re.findall(r"^<!-- study: (\w+) -->$", TEXT, re.MULTILINE)} == {*names()}
    assert filled(TEXT, "study", head_of) == TEXT


@pytest.mark.parametrize("name", [name for name, _ in TABLES if (RESULTS / f"{name}.md").exists()])
def test_each_row_is_a_measured_one(name):
    measured = (RESULTS / f"{name}.md").read_text().splitlines()
    shown = dict(TABLES)[name].splitlines()
    rows = [line for line in shown if line.startswith("|")]
    assert rows == [line for line in measured if line.startswith("|")]
    listed = re.findall(r'"config_hashes": \[(.*?)\]', (RESULTS / f"{name}.json").read_text(), re.DOTALL)
    hashes = set(re.findall(r"[0-9a-f]{16}", " ".join(listed)))
    said = f"Config hashes: [{len(hashes)}](results/{name}.json)."
    assert (said in shown[-1]) if hashes else ("Config hashes" not in shown[-1])


def test_each_result_and_each_experiment_has_its_table():
    measured = {file.relative_to(RESULTS).with_suffix("").as_posix() for file in RESULTS.rglob("*.md")}
    tables = {name for name, _ in TABLES}
    assert measured | set(STUDIES) <= tables
    scripts = NOTEBOOK.parent
    assert all((scripts / f"{name}.py").exists() for name in tables - measured - set(STUDIES))


def test_a_claim_is_made_where_there_is_a_table_and_only_there():
    for section in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]:
        (claim,) = re.findall(r"\*\*Claim\.\*\* (.*)", section)
        shown = [content for _, content in re.findall(notebook.MARK.format("table"), section, re.DOTALL)]
        assert (claim == "Not run yet.") == all(content == NOT_RUN for content in shown), section[:40]


def test_each_command_is_there():
    for module in re.findall(r"python -m (experiments[.\w]+)", TEXT):
        assert (NOTEBOOK.parents[1] / (module.replace(".", "/") + ".py")).exists(), module
    assert {*re.findall(r"experiments\.study ([a-z]\w*)", TEXT)} <= {*names()}
    for name in re.findall(r"experiments\.twins ([\w ]+)`", TEXT):
        assert all(word in [*FOLDERS, *(it.partition("/")[2] for it in STUDIES)] for word in name.split())
    for command in re.findall(r"^\*\*On a GPU:\*\* `selfdebias (.*)`$", TEXT, re.MULTILINE):
        first, *words = shlex.split(command)
        if first == "-m" and "ablation" not in command:  # ablations compose in a test of their own
            assert load_sweep([*words, "generate.seed=1"])
        elif first != "-m":
            load([first, *words])
        else:
            assert (conf_folder() / f"{words[0].replace('=', '/')}.yaml").exists()


def test_each_cost_is_of_the_command_above_it():
    pairs = re.findall(r"\*\*On a GPU:\*\* `(.*)`\n(?:<!-- end -->\n)?\n<!-- cost: (.*) -->", TEXT)
    assert len(pairs) >= len(STUDIES)
    assert all(command == priced for command, priced in pairs)


def test_costs_count_a_stage_that_jobs_share_once():
    text = dict(re.findall(notebook.MARK.format("cost"), TEXT, re.DOTALL))
    one = "selfdebias experiment=paper/faces"
    assert text[one] == cost_of(one) and text[one].startswith("1,024 images, about 0.5 hours")  # 512 + 256 + 2 x 128
    two = cost_of("selfdebias -m experiment=paper/faces guidance.strength=3,6")
    assert two.startswith("1,152 images")  # one guided arm more
    assert "no log" in cost_of("selfdebias experiment=paper/unconditional")


def test_a_table_is_taken_as_it_was_written(tmp_path):
    (tmp_path / "a.md").write_text("# A\n\n| x |\n|---|\n| 1 |\n\nSaid.\n")
    (tmp_path / "a.json").write_text(json.dumps({"rows": [{"config_hashes": ["0123456789abcdef"]}]}))
    table, said = table_of("a", tmp_path).split("\n\n")
    assert table == "| x |\n|---|\n| 1 |" and "Config hashes: [1](results/a.json)" in said and "(results/a.md)" in said
    assert table_of("b", tmp_path) == NOT_RUN
