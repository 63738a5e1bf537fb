"""What the pages of docs/ say is so: commands compose and run, Python runs, figures are those that were measured, links lead on."""

from __future__ import annotations

import math
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from docs import results_pages
from docs.links import copied, for_the_site
from selfdebias.config.compose import load, load_sweep
from selfdebias.config.overrides import split_settings, with_names_of_today
from selfdebias.config.sources import Sources
from selfdebias.jobs.sweeps.launchers import check_launcher
from selfdebias.main import main
from tests import small_jobs
from tests.tiny import tiny_pipeline

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EVERY = [it.relative_to(DOCS).as_posix() for it in sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in EVERY if not page.startswith("reference/")]  # whose own tests are elsewhere
ELSEWHERE = re.compile(r"#.*\bneeds\b")  # the word by which a page says that a line does not run just anywhere


def text_of(page: str) -> str:
    return (DOCS / page).read_text()


def blocks(page: str, kind: str = "") -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == kind]


def commands(page: str) -> list[str]:
    """The command lines of a page, each with the comment that stands above it and those up to the next blank line."""
    found, comment = [], ""
    for line in "\n\n".join(blocks(page)).splitlines():
        comment = line if line.startswith("#") else comment if line else ""
        found += [f"{line}  {comment}"] if line.startswith("selfdebias") else []
    return found


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]


def marked(page: str, name: str) -> str:
    (text,) = re.findall(rf"<!-- {name} -->\n(.*?)(?:<!-- end -->|\n\n(?!#))", text_of(page), re.DOTALL)
    return text


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    """A folder with the YAML files that howto/configs.md shows."""
    folder = tmp_path_factory.mktemp("files")
    for block in blocks("howto/configs.md", "yaml"):
        (path,) = re.findall(r"^# (mine/\S+\.yaml)$", block, re.MULTILINE)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(block)
    return folder


def composed(line: str, mine: Path) -> dict[str, Any] | None:
    """The configuration of a line, of a sweep that of its first job; None for a line that composes nothing."""
    words = words_of(line)
    sources = Sources(more=(f"file://{mine / 'mine'}",)) if "--config-dir" in words else Sources()
    own = with_names_of_today([word for word in words if "=" in word])
    if "--from" in words or "--help" in words:
        return None
    if "-m" not in words:
        return load(own, sources)
    check_launcher(split_settings(own)[1], sources)
    seed = ["generate.seed=1"] if own[0].startswith("experiment=") else []  # of several, one is enough
    jobs = load_sweep([*own, *seed], sources, ends="hydra/sweeper=search" in own)
    assert len(jobs) > 1, line
    return jobs[0].config


def from_elsewhere(config: dict[str, Any]) -> bool:
    """Whether weights come from the model hub or a folder of the user's, or a GPU is asked for."""
    parts = config["model"], config["encoder"], config["judge"].get("encoder", {})
    return config["model"]["device"] == "cuda" or any("/" in str(part.get("pretrained")) for part in parts)


def of_kind(sweeps: bool) -> list[Any]:
    """The pages that have such commands; sweeps, which compose each job, are slow but for the page about them."""
    found = {page: [line for line in commands(page) if (" -m " in line) == sweeps] for page in PAGES}
    slow = {page: [pytest.mark.slow] * (sweeps and page != "howto/sweeps.md") for page in found}
    return [pytest.param(lines, id=page, marks=slow[page]) for page, lines in found.items() if lines]


@pytest.mark.parametrize("lines", [*of_kind(sweeps=False), *of_kind(sweeps=True)])
def test_each_command_composes_and_says_where_it_does_not_run(lines, mine, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: name)  # as on a cluster
    for line in lines:
        config = composed(line, mine)
        if config:
            assert not from_elsewhere(config) or ELSEWHERE.search(line), line
            batches = config["generate"]["n_images"] / config["generate"]["batch_size"]
            assert batches >= 2 or config["stages"] != [*load([])["stages"]], f"no interval: {line}"


RUN = [  # of each page that shows commands, one that stands for them
    ("index.md", 'selfdebias prompts.text="an emoji of a farmer"'),
    ("concepts/modes.md", "selfdebias encoder=emoji_clip_informed clustering=spectral"),
    ("concepts/guidance.md", "selfdebias guidance=random"),
    (
        "concepts/target.md",
        'selfdebias encoder=emoji_clip_informed clustering=spectral clustering.k=2 "guidance.target=[0.9,0.1]"',
    ),
    ("concepts/choosing.md", "selfdebias encoder=emoji_clip_informed clustering=spectral guidance=select"),
    ("howto/configs.md", "selfdebias --config-dir mine experiment=mine guidance.strength=6"),
    ("howto/encoder.md", "selfdebias encoder=pixels clustering=spectral"),
    ("howto/nothing-changed.md", "selfdebias paths.root=runs/again"),
    ("howto/report.md", "selfdebias debug=tiny"),
    (
        "howto/slurm.md",
        "selfdebias -m guidance.strength=3,6 hydra/launcher=submitit_local hydra.launcher.timeout_min=600",
    ),
    ("howto/stable-diffusion.md", "selfdebias model.scheduler.name=DPMSolverMultistepScheduler model.steps=20"),
    ("howto/strength.md", "selfdebias -m guidance.strength=1.5,3,6,12 generate.seed=301,302"),
    ("howto/sweeps.md", "selfdebias --config-dir mine -m experiment=mine guidance.strength=3,6,12"),
    ("howto/wandb.md", "selfdebias 'logger=[wandb,csv]' 'tags=[draft]'"),
]
SIZES = {
    "generate.n_images": "8",
    "generate.batch_size": "4",
    "evaluate.bootstrap": "20",
    "evaluate.reference_images": "8",
}
ENDS = {"howto/strength.md": ["stages=[collect,discover,project]"]}  # where all stages are too many jobs


def test_a_command_of_each_page_is_run():
    skipped = {"howto/folders.md"}  # whose own test is below
    assert {page for page, _ in RUN} | skipped == {page for page in PAGES if commands(page)}
    for page, line in RUN:
        assert any(shown.startswith(line) for shown in commands(page)), line


def at_small_size(page: str, line: str, folder: Path) -> list[str]:
    """The words of a line, with few images and steps and a tiny pipeline: what the line itself chooses stays."""
    small = small_jobs.command(folder / "model", folder / "runs", *ENDS.get(page, []))
    own = words_of(line)
    chosen = {word.partition("=")[0] for word in own}
    group = {"encoder", "prompts.text", "logger", "clustering"} & chosen
    drop = {*SIZES, *(it.partition("=")[0] for it in small)} - group
    keys = chosen - (drop - {"paths.root"}) | {"paths.root"}
    sizes = [f"{key}={value}" for key, value in SIZES.items()]
    without = {"guidance.decay"} | ({"clustering.k_max"} if "experiment=mine" in line else set())
    kept = [word for word in own if "=" not in word or word.partition("=")[0] in keys]
    given = {word.partition("=")[0] for word in kept}
    return [*kept, *(word for word in [*small, *sizes] if word.partition("=")[0] not in given | without)]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), RUN, ids=[page for page, _ in RUN])
def test_it_runs_at_small_size(page, line, mine, tmp_path, monkeypatch, capsys):
    tiny_pipeline().save_pretrained(tmp_path / "model")
    monkeypatch.chdir(mine)
    assert main(at_small_size(page, line, tmp_path)) == 0, capsys.readouterr().err


def test_each_line_that_evaluates_folders_samples_nothing():
    lines = [line for line in marked("howto/folders.md", "folders").splitlines() if line.startswith("selfdebias")]
    assert len(lines) == 8
    for line in lines:
        config = load(words_of(line))
        assert "evaluate" in config["stages"] and config["evaluate"]["folders"], line
        assert not {"collect", "discover", "project", "generate"} & {*config["stages"]}, line


FEWER = {
    '"num_inference_steps": 25': '"num_inference_steps": 4',
    "n_images=256": 'n_images=24, clustering=KMeansModes(k=2), projector={"steps": 40}',
    'clustering="axes_many"': 'clustering=KMeansModes(k=2), projector={"steps": 40}',
    "n_images=512": "n_images=24",
    "attach(pipe, axes=[0])": "attach(pipe)",  # clusters have none
    "n_images=64": "n_images=16",
    '"debug=tiny"': '"debug=tiny", "model.steps=2", "stages=[collect]"',
}
PYTHON = [["howto/pipeline.md", "howto/nothing-changed.md"], ["howto/encoder.md"], ["howto/sweeps.md"]]  # in this order


def test_all_python_is_run():
    assert {page for group in PYTHON for page in group} == {page for page in PAGES if blocks(page, "python")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pages", PYTHON, ids=lambda pages: pages[0])
def test_python_runs_with_fewer_images(pages, tmp_path, monkeypatch):
    from selfdebias.modes import KMeansModes

    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"KMeansModes": KMeansModes}
    for page in pages:
        for code in blocks(page, "python"):
            for value, smaller in FEWER.items():
                code = code.replace(value, smaller)
            exec(compile(code, page, "exec"), names)  # the page's own code is what is tested
    assert (tmp_path / "before_after.png").exists() == (pages[0] == "howto/pipeline.md")


FIGURE = re.compile(r"(?<![\w.])(?<!Python )-?\d+\.\d{2,}(?![\w.]*\d)|\d+\.\d(?= (?:GB|M|ms)\b)")
SOURCE = re.compile(r"experiments/results/([\w/-]+\.md)")
DERIVED = {
    "howto/stable-diffusion.md": {"4.3", "2.1", "0.6", "1.1", "1.7", "1.86"}
}  # held by the test of the estimates


def prose(page: str) -> list[str]:
    """The paragraphs of a page without code, links and addresses."""
    text = re.sub(r"^```.*?^```$|<!-- table:.*?<!-- end -->", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"https?://\S+|`(?!experiments/)[^`\n]*`|arXiv \d{4}\.\d+", "", text).split("\n\n")


@pytest.mark.parametrize("page", PAGES)
def test_each_figure_is_in_the_results_that_are_named_beside_it(page):
    for paragraph in prose(page):
        names = SOURCE.findall(paragraph)
        measured = "\n".join((ROOT / "experiments/results" / name).read_text() for name in names)
        for figure in {*FIGURE.findall(SOURCE.sub("", paragraph))} - DERIVED.get(page, set()):
            found = re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", measured)
            assert found, f"{figure} is not in {names}: {paragraph}"


def test_the_estimates_for_stable_diffusion_are_what_they_say_they_are():
    page = text_of("howto/stable-diffusion.md")
    assert "59.5 s for a batch of 32" in page and f"{59.5 / 32:.2f} s per image" in page
    total = 0
    for stage, images, minutes in re.findall(r"^\| (\S+) \| (\d+)[^|]* \| (\d+) min \|$", page, re.MULTILINE):
        assert round(int(images) * 59.5 / 32 / 60 * (1.043 if "guided" in stage else 1)) == int(minutes), stage
        total += int(images)
    config = load(["model=sd15"])
    own = [config["collect"]["n_images"], config["evaluate"]["reference_images"], *[config["generate"]["n_images"]] * 2]
    assert total == sum(own) == 1024 and "| **1,024** | **about half an hour** |" in page
    layer = 32 * 256 * 512 * 512 * 2 / 1e9
    assert f"is {layer:.1f} GB" in page and f"{layer / 4:.1f} GB twice" in page
    assert "about 12 GB" in page and math.ceil(2.1 + 2 * layer + 0.6) == 12
    assert "about 5 GB" in page and math.ceil(2.1 + 2 * layer / 4 + 0.6) == 5
    assert f"{1067 * 4 / 1e3:.1f} GB, or {1067 * 2 / 1e3:.1f} GB" in page
    kept = config["collect"]["n_images"] * config["collect"]["timesteps"] * 2 * 1280 * 8 * 8 * 2 / 1e9
    assert f"{kept:.1f} GB" in page


def test_the_table_of_models_is_the_measured_one():
    rows = [line for line in marked("howto/stable-diffusion.md", "table: model_sizes").splitlines() if line]
    measured = (ROOT / "experiments/results/model_sizes.md").read_text().splitlines()
    assert len(rows) > 2 and all(row in measured for row in rows)


@pytest.mark.parametrize(("part", "count"), [("", 4), (": choosing by the projector", 4)])
def test_the_costs_of_choosing_are_the_measured_ones_each_beside_vanilla_of_its_seeds(part, count):
    rows = re.findall(
        r"^\| ([a-z, ]+) \| (0.*) \|$",
        marked("concepts/choosing.md", f"rows of: experiments/results/person_choosing.md: Attributes, partition{part}"),
        re.MULTILINE,
    )
    measured = (ROOT / "experiments/results/person_choosing.md").read_text()
    (seeds, of_part) = re.findall(
        rf"## Attributes, partition{part}\n\nGenerate seeds ([\d, ]+);(.*?)(?=\n## )", f"{measured}\n## ", re.DOTALL
    )[0]
    assert f"**Seeds {seeds[:3]} to {seeds[-3:]}**" in text_of("concepts/choosing.md")
    assert [name for name, _ in rows][:2] == ["vanilla", "transport"] and len(rows) == count
    for name, cells in rows:
        men, modes, precision, edited, rows_of = cells.split(" | ")
        wanted = {"transport": "transport, the default"}.get(name, name)
        (line,) = [line for line in of_part.splitlines() if line.startswith(f"| {wanted} |")]
        assert (
            line.startswith(f"| {wanted} | 640 | {men} [") and f"| {modes} " in line and f"| {precision} [" in line
        ), name
        assert line.endswith(f"| {edited} | {rows_of} |"), name


def test_what_choosing_leaves_by_rarity_is_measured():
    mark = "rows of: experiments/results/occupations_choosing.md: Attributes, partition"
    rows = re.findall(r"^\| ([a-z, ]+) \| (0.*) \|$", marked("concepts/choosing.md", mark), re.MULTILINE)
    measured = (
        (ROOT / "experiments/results/occupations_choosing.md").read_text().split("\n## Attributes, partition\n")[1]
    )
    assert len(rows) == 6
    for name, cells in rows:
        wanted = {"transport": "transport, the default"}.get(name, name)
        (line, *_) = [line for line in measured.splitlines() if line.startswith(f"| {wanted} |")]
        assert " | ".join(reversed(cells.split(" | "))) in line, name


def test_the_parts_are_all_there():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", marked("howto/configs.md", "parts"), re.MULTILINE)
    assert {group for group, _ in rows} == {
        "bank", "guidance", "clustering", "schedule", "projector", "trainer", "experiment",
    }  # fmt: skip
    for group, options in rows:
        folder = ROOT / "conf" / group
        files = [it.relative_to(folder).with_suffix("").as_posix() for it in folder.rglob("*.yaml")]
        names = {it if "/" not in it else f"{it.split('/')[0]}/*" for it in files}
        assert {*re.findall(r"`(\w+(?:/\*)?)`", options)} == names


@pytest.mark.parametrize(("page", "group"), [("concepts/guidance.md", "guidance"), ("concepts/modes.md", "clustering")])
def test_each_option_is_explained(page, group):
    more = text_of("concepts/choosing.md") if group == "guidance" else ""
    for file in (ROOT / "conf" / group).glob("*.yaml"):
        assert f"`{file.stem}`" in text_of(page) + more, file


def test_each_experiment_is_named():
    text = marked("howto/configs.md", "experiments")
    for folder in ("paper", "ablation"):
        (names,) = re.findall(rf"`{folder}/`: (.*?)(?:\n-|$)", text, re.DOTALL)
        assert {*re.findall(r"`(\w+)`", names)} == {
            it.stem for it in (ROOT / "conf/experiment" / folder).glob("*.yaml")
        }


def test_each_set_of_prompts_and_each_encoder_is_named():
    configs, encoders = text_of("howto/configs.md"), text_of("howto/encoder.md")
    assert all(f"`{it.stem}`" in configs for it in (ROOT / "conf/prompts").glob("*.yaml"))
    assert all(f"`{it.stem}`" in encoders for it in (ROOT / "conf/encoder").glob("*.yaml"))


@pytest.mark.parametrize("page", EVERY)
def test_each_link_leads_somewhere_on_a_git_host_and_in_the_site(page):
    """A host shows no page that a build makes, and of a symbolic link only where it leads."""
    made = {*results_pages.pages(), *results_pages.pictures(), *copied(ROOT)}
    made |= {f"reference/{name}.md" for name in ("config", "metrics", "results-json")}
    for target in linked(text_of(page)):
        file = (DOCS / page).parent / target
        assert file.exists() and not file.is_symlink(), target
    for target in linked(for_the_site(text_of(page), f"docs/{page}")):
        place = Path(os.path.normpath(Path(page).parent / target)).as_posix()
        assert place in made or (DOCS / place).is_file(), target


def linked(text: str) -> list[str]:
    return re.findall(r"\]\((?!\w+:|#)([^)#\s]+)[^)]*\)", text)


def test_a_study_that_no_page_shows_and_a_file_outside_are_words_in_the_site():
    text = "[a](../experiments/results/none.md), [b](../SECURITY.md), [c](../experiments/results/ablation/noise.md#x)"
    assert for_the_site(text, "docs/index.md") == "a, b, [c](results/ablation/noise.md#x)"
    assert for_the_site("[e](experiments/README.md)", "CONTRIBUTING.md") == "[e](results/index.md)"
    assert for_the_site("```\n[d](../README.md)\n```", "docs/index.md") == "```\n[d](../README.md)\n```"


@pytest.mark.parametrize("page", PAGES)
def test_each_file_of_the_repository_that_is_named_is_there(page):
    for name in re.findall(r"`((?:experiments|notebooks|conf|examples|selfdebias)/[\w/.-]+\.\w+)`", text_of(page)):
        assert (ROOT / name).exists(), name
