"""The command runs the stages in order, skips what is finished, and gathers the job's folder."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from PIL import Image

from selfdebias.config.compose import load
from selfdebias.jobs import run
from selfdebias.jobs.job import hash_of_job
from selfdebias.main import main

LATE = {  # what only the parts themselves used to find
    "collect.n_images=0": "`collect.n_images` must be a whole number",
    "prompts.attributes=[gendr, tone]": "`prompts.attributes` must be some of gender",
    "judge=clip_zeroshot|judge.encoder.pretrained=shipped:emoji_clip|prompts.attributes=[tone]": "some of gender, race, age",
    "evaluate.labelled={}/empty": "without an image",
    "evaluate.labelled={}/wrong": "got the class 'gender/child'",
}
ORDER = ["collect", "discover", "project", "generate", "generate", "evaluate", "report"]


def names(calls):
    return [call["stage"] for call in calls]


def the_job(root="runs"):
    (job,) = Path(root, "jobs").iterdir()
    return job


def test_all_stages_run_once_and_are_found_again(stand_ins, capsys):
    assert main([]) == 0
    assert names(stand_ins) == ORDER
    out = capsys.readouterr().out
    assert "collect: done in" in out
    assert out.count(f"report: {the_job()}/report.html") == 1 and f"picture: {the_job()}/first.png" in out
    assert main([]) == 0
    assert names(stand_ins) == ORDER
    assert capsys.readouterr().out.count(": found, skipped") == len(ORDER)


def test_each_stage_gets_what_the_contract_says(stand_ins):
    assert main(["guidance=random", "guidance.of.strength=0.25"]) == 0
    calls = {call["stage"] + ("/" + call["arm"] if "arm" in call else ""): call for call in stand_ins}
    expected = {
        "collect": {"key", "backbone", "encoder", "prompts", "n_images", "batch_size", "timesteps", "seed", "trainer"},
        "discover": {"collected", "clustering", "vocabulary", "encoder"},
        "project": {"collected", "discovered", "encoder", "projector", "seed", "trainer"},
        "generate/guided": {"key", "arm", "backbone", "guidance", "schedule", "prompts", "n_images", "batch_size"}
        | {"seed", "projected", "discovered", "replayed", "trainer"},
        "evaluate": {"arms", "collected", "discovered", "judge", "encoder", "metrics", "prompts", "batch_size"}
        | {"bootstrap", "seed", "trainer", "reference", "drawn", "labelled"},
        "report": {"job", "arms", "collected", "discovered", "projected", "evaluated", "images"},
    }
    for name, arguments in expected.items():
        assert calls[name].keys() - {"stage"} == arguments, name
    vanilla, guided, random = (calls[f"generate/{arm}"] for arm in ("vanilla", "guided", "random"))
    assert [type(call["guidance"]).__name__ for call in (vanilla, guided, random)] == [
        "NoGuidance",
        "Guidance",
        "RandomGuidance",
    ]
    assert guided["guidance"].strength == 0.25
    assert vanilla["projected"] is None
    assert vanilla["replayed"] is None
    assert random["replayed"] == calls["report"]["arms"]["guided"]
    assert guided["replayed"] is None
    assert guided["projected"] == calls["report"]["projected"]
    assert list(calls["evaluate"]["arms"]) == ["vanilla", "guided", "random"]
    assert calls["project"]["projector"]().width == 8
    assert calls["collect"]["trainer"].keywords["inference_mode"] is False


def test_no_guidance_means_one_arm(stand_ins):
    assert main(["guidance=none", "logger=none"]) == 0
    assert [call["arm"] for call in stand_ins if call["stage"] == "generate"] == ["vanilla"]


def record_of_last() -> dict:
    return json.loads(max(Path("runs/jobs").glob("*/job.json"), key=lambda it: it.stat().st_mtime_ns).read_text())


def test_a_job_says_where_all_that_it_read_is_also_what_another_command_made(stand_ins):
    assert main(["logger=none"]) == 0
    whole = record_of_last()["stages"]
    assert main(["logger=none", "stages=[evaluate,report]"]) == 0
    assert record_of_last()["stages"] == whole and {"discover", "generate/vanilla"} <= whole.keys()


def test_the_page_is_written_again_for_other_tags_and_for_nothing_else(stand_ins):
    assert main(["logger=none", "tags=[draft]"]) == 0
    stand_ins.clear()
    assert main(["logger=none", "tags=[draft]"]) == 0 and names(stand_ins) == []
    assert main(["logger=none", "tags=[final]"]) == 0 and names(stand_ins) == ["report"]


def test_a_second_job_shares_what_it_can(stand_ins, capsys):
    main([])
    stand_ins.clear()
    assert main(["guidance.strength=0.9"]) == 0
    assert names(stand_ins) == ["generate", "evaluate", "report"]
    assert stand_ins[0]["arm"] == "guided"
    assert len(list(Path("runs/jobs").iterdir())) == 2


def test_the_jobs_folder_holds_everything(stand_ins):
    main(["collect.n_images=64", "paths.root=some/where"])
    job = the_job("some/where")
    assert {p.name for p in job.iterdir()} >= {
        "config.yaml",
        "job.json",
        "results.json",
        "metrics.jsonl",
        "report.html",
        "table.md",
    }
    assert yaml.safe_load((job / "config.yaml").read_text())["collect"]["n_images"] == 64
    lines = [json.loads(line)["stage"] for line in (job / "metrics.jsonl").read_text().splitlines()]
    assert lines == ORDER
    results = json.loads((job / "results.json").read_text())
    assert (results["config_hash"], results["seeds"]) == (job.name, {"collect": 0, "generate": 1})
    assert hash_of_job(load(["collect.n_images=64", "paths.root=some/where"])) == job.name
    assert hash_of_job(load(["collect.n_images=65", "paths.root=some/where"])) != job.name
    for name, path in json.loads((job / "job.json").read_text())["stages"].items():
        mark = json.loads((Path("some/where") / path / "stage.json").read_text())
        assert (mark["name"], mark["key"]) == (name.split("/")[0], Path(path).name)


def test_the_command_of_a_job_is_one_that_a_shell_takes(stand_ins):
    arguments = ["prompts.text='a doctor; smiling'", "prompts.attributes=[gender, tone]"]
    assert main(arguments) == 0
    command = json.loads((the_job() / "job.json").read_text())["command"]
    assert shlex.split(command) == ["selfdebias", *arguments]


def test_no_secret_reaches_a_file(stand_ins, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef-secret")
    assert main(["prompts.text='a 0123456789abcdef-secret'", "logger=none"]) == 0
    files = [path for path in Path("runs/jobs").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"0123456789abcdef" in path.read_bytes()]


@pytest.mark.reliability
def test_a_stage_that_fails_is_done_again_and_the_others_are_not(stand_ins, monkeypatch):
    module = run.project
    works = module.project

    def fails(folder, **_):
        (folder / "half").write_text("written before the failure")
        raise RuntimeError("out of memory")

    monkeypatch.setattr(module, "project", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        main([])
    assert names(stand_ins) == ["collect", "discover"]
    monkeypatch.setattr(module, "project", works)
    assert main([]) == 0
    assert names(stand_ins) == ORDER


@pytest.mark.manners
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_sigterm_says_how_to_go_on_and_leaves_the_handlers_alone(stand_ins, monkeypatch, capsys, sent, code):
    before, deaf = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(run.discover, "discover", lambda **_: signal.raise_signal(sent))
    assert main([]) == code
    signal.signal(signal.SIGINT, deaf)  # as tests in the background are
    assert capsys.readouterr().err == "selfdebias: interrupted; run the same command again to resume.\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_a_thread_that_may_not_handle_signals_a_job_runs_all_the_same(stand_ins):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, []).result() == 0


def test_some_stages_only(stand_ins, capsys):
    assert main(["stages=[collect,discover]"]) == 0
    assert names(stand_ins) == ["collect", "discover"]
    assert capsys.readouterr().out.endswith(f"job: {the_job()}\n")
    assert main(["stages=[discover,project]"]) == 0
    assert names(stand_ins) == ["collect", "discover", "project"]


def test_a_sweep_runs_each_job_and_shares_stages(stand_ins, tmp_path):
    assert main(["-m", "guidance.strength=0.2,0.4", "logger=none"]) == 0
    assert names(stand_ins).count("collect") == 1
    assert [call["arm"] for call in stand_ins if call["stage"] == "generate"] == ["vanilla", "guided", "guided"]
    assert len(list(Path("runs/jobs").iterdir())) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["conf", "runs"]


@pytest.mark.manners
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "generate.n_images=0,1"], "`generate.n_images` must be a whole number in [1, 10000000], got 0"),
        (["-m", "guidance.strength=3,x"], "`guidance.strength` must be a number"),
        (["n_images=64"], "`n_images` is not an option. Did you mean `collect.n_images` or `generate.n_images`?"),
        (["-m", "guidance.strengh=3,6"], "`guidance.strengh` is not an option. Did you mean `guidance.strength`?"),
        (["generate.seed=1", "-m", "guidance=none,fair"], "`guidance` must be one of"),
    ],
)
def test_a_sweep_with_one_wrong_job_starts_none(stand_ins, capsys, tmp_path, arguments, words):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert words in err and err.startswith("selfdebias: ") and err.count("\n") == 1 and out == ""
    assert stand_ins == [] and not (tmp_path / "runs").exists()


def test_python_m_selfdebias_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "selfdebias", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith("selfdebias ")


def test_each_job_of_a_sweep_says_which_it_is_wherever_the_flag_stands(stand_ins, capsys):
    assert main(["logger=none", "-m", "guidance.strength=0.2,0.4", "generate.seed=range(1,3)"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("job ") and "guidance" in line]
    assert len(said) == 4 and "guidance.strength=0.2 generate.seed=1" in said[0]


@pytest.mark.manners
@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_answers_at_once_and_imports_nothing_heavy(argument):
    code = (
        "import sys; from selfdebias.main import main; code = main([sys.argv[1]]);"
        "heavy = {'torch', 'diffusers', 'transformers', 'pytorch_lightning', 'wandb', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 1.5  # s of processor time; 0.5 where nothing else runs
    assert "selfdebias" in done.stdout


@pytest.mark.manners
def test_help_may_be_read_in_part():
    read, write = os.pipe()
    os.close(read)  # a reader that went away, as `head` does
    code = "import sys; from selfdebias.main import main; sys.exit(main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.manners
def test_help_names_groups_and_values(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "guidance" in text
    assert "n_images: 512" in text
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "null: those of collect" in " ".join(text.replace("#", "").split())  # a comment that is wrapped is whole


@pytest.mark.manners
def test_help_names_the_options_of_a_folder_of_ones_own(tmp_path, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "of_my_own.yaml").write_text("# @package _global_\n")
    for flags in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"], ["-cd", str(tmp_path)]):
        assert main([*flags, "--help"]) == 0 and "of_my_own" in capsys.readouterr().out
    assert main(["--config-dir", str(tmp_path / "none"), "--help"]) == 2
    assert capsys.readouterr().err.startswith("selfdebias: `--config-dir` must be a folder, got ")


@pytest.mark.manners
def test_an_experiment_without_its_first_line_is_told_so(tmp_path, capsys):
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "bare.yaml"
    file.write_text("defaults:\n  - override /clustering: spectral\n")
    assert main(["--config-dir", str(tmp_path), "experiment=bare", "--cfg", "job"]) == 2
    words = f"selfdebias: `experiment` must begin with the line `# @package _global_`, and {file} does not.\n"
    assert capsys.readouterr().err == words


@pytest.mark.manners
def test_a_bad_command_line_is_answered_without_importing_torch(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong" / "gender" / "child").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "wrong" / "gender" / "child" / "0.png")
    code = (
        "import json, sys; from selfdebias.main import main; print([main(it) for it in json.loads(sys.argv[1])]);"
        "assert 'torch' not in sys.modules"
    )
    commands = [arguments.format(tmp_path).split("|") for arguments in LATE]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and json.loads(done.stdout) == [2] * len(LATE), done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(LATE)
    for line, words in zip(said, LATE.values(), strict=True):
        assert words in line
