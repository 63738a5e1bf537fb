"""Every experiment composes, fixes what it says, and has a twin that runs on Emoji World with a few images."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from selfdebias.config import compose as config
from selfdebias.config import sources
from selfdebias.jobs.job import run_job
from selfdebias.jobs.parts import Parts
from selfdebias.main import main
from selfdebias.storage.batches import BatchFolder
from tests.test_quickstart import SMALL

FOLDER = sources.conf_folder() / "experiment"
NAMES = sorted(file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.rglob("*.yaml"))
PRESETS = [name for name in NAMES if "/" not in name]
PAPER, ABLATION, EMOJI = (
    [name for name in NAMES if name.startswith(f"{it}/")] for it in ("paper", "ablation", "emoji")
)
TWIN = {name: f"emoji/{name.partition('/')[2]}" for name in PAPER + ABLATION}
OWN_TARGET = [name for name in PAPER if "target" in name]
TINY = [
    *(it for it in SMALL if not it.startswith("encoder=")),
    "model.steps=4", "generate.n_images=8", "generate.batch_size=4", "evaluate.bootstrap=20", "logger=none",
    "stages=[collect,discover,project,generate,evaluate]",
]  # fmt: skip
FEWER = {
    "emoji/winobias": ["prompts.subjects=[a farmer, a judge]"],
    "emoji/winobias_successful": ["prompts.subjects=[a doctor with dark skin]"],
}


@cache
def load(*overrides: str) -> dict:
    """The configuration of a command line, which nobody may change."""
    return config.load(overrides)


def written(name: str) -> dict:
    """The content of an experiment's file, of its comments rid."""
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def swept(name: str) -> dict[str, list[str]]:
    """The values of each key that an experiment, or the one that it is built on, sweeps; none where it is one job."""
    base = [it for it in written(name)["defaults"] if str(it).startswith("/experiment/")]
    inherited = swept(base[0].removeprefix("/experiment/")) if base else {}
    params = written(name).get("hydra", {}).get("sweeper", {}).get("params", {})
    return inherited | {key: str(values).split(",") for key, values in params.items()}


def jobs(name: str) -> list[list[str]]:
    """The command line of the first job, and for a sweep of the one where each key has its second value, by one seed."""
    values = swept(name)
    both = [[f"{key}={them[at]}" for key, them in values.items() if key != "generate.seed"] for at in (0, 1)]
    return [[f"experiment={name}", *job, "generate.seed=301"] for job in both] if values else [[f"experiment={name}"]]


def test_what_was_promised_is_there():
    assert PRESETS == ["official", "paper", "paper_tuned"]
    assert {name.partition("/")[2] for name in ABLATION} == {
        "batch_size", "window", "strength", "temperature", "collect_images", "encoder", "clustering", "fitting_scale", "noise",
        "guidance_scale", "sampler", "steps",
    }  # fmt: skip
    assert {name.partition("/")[2] for name in PAPER} == {
        "faces", "faces_sd2", "winobias", "winobias_successful", "peaceful", "fantasy", "pets", "target_90_10",
        "target_75_25", "unconditional", "openclip",
    }  # fmt: skip


def test_each_has_one_twin():
    assert len(set(TWIN.values())) == len(TWIN), "a name in both folders"
    assert sorted(TWIN.values()) == EMOJI


@pytest.mark.parametrize("name", NAMES)
def test_it_composes_and_makes_all_parts(name):
    seed = ["generate.seed=301"] if swept(name) else []
    jobs = config.load_sweep([f"experiment={name}", *seed, "model.device=cpu", "model.dtype=float32"])
    for job in jobs if {*swept(name)} & {"encoder", "clustering"} else [jobs[0], jobs[-1]]:
        Parts(job.config)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_and_how_it_is_started(name):
    first, *comment = (FOLDER / f"{name}.yaml").read_text().split("\ndefaults:")[0].splitlines()
    assert first == "# @package _global_" and all(line.startswith("# ") for line in comment)
    if "/" in name:
        assert comment[-1] == f"#   selfdebias {'-m ' if swept(name) else ''}experiment={name}"


@pytest.mark.parametrize("name", NAMES)
def test_it_changes_what_it_names(name):
    default, own = load(), load(*jobs(name)[0])
    if name in PRESETS:  # which also fix what the default has today
        default = load("guidance=self_debias", "schedule.start=0.5", "collect.relative_scale=0.9")
    for group in written(name).keys() - {"defaults", "hydra"}:
        assert own[group] != default[group], f"{name} does not change {group}"


@pytest.mark.parametrize("name", ABLATION)
def test_a_sweep_has_no_default_job(name, capsys):
    assert main([f"experiment={name}"]) == 2
    assert "start it with -m" in capsys.readouterr().err


@pytest.mark.parametrize("name", ABLATION)
def test_a_sweep_and_its_twin_ask_the_same(name):
    here, there = swept(name), swept(TWIN[name])
    assert here.keys() == there.keys() and here["generate.seed"] == there["generate.seed"] == ["301", "302"]
    counts = [len(values) for key, values in here.items() if key != "generate.seed"]
    assert all(2 <= count <= 6 for count in counts)
    if name not in (
        "ablation/encoder",
        "ablation/fitting_scale",
        "ablation/guidance_scale",
    ):  # whose values are the model's own
        assert here == there


@pytest.mark.parametrize("name", PAPER)
def test_a_protocol_fixes_what_is_asked_for_and_its_twin_runs_on_what_ships(name):
    groups = {str(*line) for line in written(name)["defaults"]}
    own = (
        {"override /clustering"} if name in OWN_TARGET else set()
    )  # a target of shares by mode, of a given number of them
    assert groups == {"override /model", "override /prompts", "override /encoder", *own}
    loaded, twin = (load(f"experiment={it}") for it in (name, TWIN[name]))
    assert loaded["model"]["device"] == "cuda" and not loaded["model"]["pretrained"].startswith("shipped:")
    assert twin["model"]["device"] == "cpu" and twin["model"]["pretrained"].startswith("shipped:")
    assert loaded["clustering"] == twin["clustering"]


@pytest.mark.parametrize("name", sorted(set(PAPER) - set(OWN_TARGET)))
def test_a_method_goes_through_any_protocol_in_either_order(name):
    method = PRESETS[PAPER.index(name) % len(PRESETS)]
    loaded, turned = load(f"experiment=[{name},{method}]"), load(f"experiment=[{method},{name}]")
    protocol, alone = load(f"experiment={name}"), load(f"experiment={method}")
    assert loaded == turned
    for group in ("prompts", "judge", "encoder", "generate", "vocabulary"):
        assert loaded[group] == protocol[group]
    for group in ("projector", "clustering", "guidance", "schedule", "bank"):
        assert loaded[group] == alone[group]
    assert loaded["model"]["pretrained"] == protocol["model"]["pretrained"]
    assert loaded["model"]["scheduler"] == alone["model"]["scheduler"]


@pytest.mark.parametrize(("name", "method"), zip(OWN_TARGET, PRESETS[:2], strict=True))
def test_of_two_targets_the_later_one_holds(name, method):
    assert load(f"experiment=[{method},{name}]")["guidance"]["target"] == written(name)["guidance"]["target"]
    assert load(f"experiment=[{name},{method}]")["guidance"]["target"] == written(method)["guidance"]["target"]


@pytest.mark.parametrize("overrides", [["experiment=[paper,nope]"], ["experiment=[nope]"], ["experiment=emoji/nope"]])
def test_a_wrong_name_in_a_list_is_one_line(overrides, capsys):
    assert main(overrides) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("selfdebias: `experiment` must be one of ") and line.endswith("nope.") and len(line) < 200


def test_a_name_that_is_nearly_right_is_offered(capsys):
    assert main(["experiment=paper/facez"]) == 2
    assert (
        "(near: paper/faces, paper/faces_sd2; `selfdebias --help` lists all), got paper/facez."
        in capsys.readouterr().err
    )


def test_other_groups_take_one_option(capsys):
    assert main(["guidance=[none,random]"]) == 2
    assert "`guidance` must be one of" in capsys.readouterr().err


@pytest.mark.parametrize("name", PRESETS)
def test_what_it_fixes_holds_for_any_model_and_gives_way_to_the_command_line(name):
    fixed = config.load([f"experiment={name}", "model=sd15"])
    assert fixed["projector"]["reader"] == "flattened"  # sd15 alone would take convolutional
    assert fixed["encoder"] == config.load(["model=sd15"])["encoder"]
    assert config.load([f"experiment={name}", "projector.noise=0.2"])["projector"]["noise"] == 0.2


@pytest.mark.parametrize("name", PAPER)
def test_a_protocol_gives_way_to_the_command_line(name):
    changed = config.load([f"experiment={name}", "model=sd14", "encoder=dinov2_base", "generate.n_images=64"])
    assert changed["model"]["pretrained"] == "CompVis/stable-diffusion-v1-4"
    assert changed["encoder"] == config.load(["encoder=dinov2_base"])["encoder"]
    assert changed["generate"]["n_images"] == 64


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("experiments")


QUICK = "emoji/unconditional"
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in (*PRESETS, *EMOJI) if name != QUICK]


@pytest.mark.parametrize("name", [QUICK, *SLOW])
def test_it_runs_on_emoji_world(name, root):
    own = name in PRESETS or "clustering" in swept(name)  # which have a clustering of their own
    tiny = [it for it in TINY if not (own and it.startswith("clustering="))]
    guided = [_guided_arm([*tiny, *job, *FEWER.get(name, []), f"paths.root={root}"], root) for job in jobs(name)]
    assert len({*guided}) == len(guided)  # each value of a sweep makes an arm of its own


def _guided_arm(overrides: list[str], root: Path) -> Path:
    """Run a job; return the folder of its guided images, of a list of prompts those of the first."""
    job = run_job(config.load(overrides), overrides)
    assert json.loads((job / "results.json").read_text())
    stages = json.loads((job / "job.json").read_text())["stages"]
    vanilla, guided = (
        next(root / folder for name, folder in stages.items() if name.startswith("generate/") and name.endswith(arm))
        for arm in ("/vanilla", "/guided")
    )
    before, after = (BatchFolder.open(folder).images() for folder in (vanilla, guided))
    assert before.shape == after.shape and not torch.equal(before, after)
    return guided
