"""Folders of images as arms: the command on files of which some are damaged, and the numbers of the ordinary stage."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from selfdebias.config.prompts import NoPrompt, Prompts
from selfdebias.jobs.stages.chunks import Chunks
from selfdebias.jobs.stages.evaluate import evaluate
from selfdebias.jobs.stages.report import page_of_folders
from selfdebias.main import main
from selfdebias.metrics import MetricSuite
from selfdebias.metrics.arms import load_arm
from selfdebias.report.verdict import verdict
from selfdebias.storage.atomic import write_json, write_tensors
from selfdebias.storage.image_folder import ImageFolder
from selfdebias.storage.images import contact_sheet
from tests.jobs.stages.test_evaluate import CENTERS, TRAINER, MeanColour, RedOrGreen, SeeingJudge, fill, images
from tests.report.test_page import Page

QUIET = ["stages=[evaluate]", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "evaluate.bootstrap=50"]


def picture(seed: int, side: int = 8) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8))


def png(it: Image.Image) -> bytes:
    file = io.BytesIO()
    it.save(file, "PNG")
    return file.getvalue()


def folder_of(path: Path, n: int, first: int = 0) -> Path:
    path.mkdir(parents=True)
    for i in range(n):
        (path / f"{i}.png").write_bytes(png(picture(first + i)))
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of 120 PNGs; `peer` has three damaged ones, a grey one, a transparent one and two of another size."""
    root = tmp_path_factory.mktemp("folders")
    vanilla, peer = folder_of(root / "vanilla", 120), folder_of(root / "peer", 120, first=5000)
    (peer / "10.png").write_bytes((peer / "10.png").read_bytes()[:-30])
    (peer / "20.png").write_text("not an image")
    (peer / "119.png").write_bytes(b"")
    grey = picture(1).convert("L")
    (peer / "3.png").write_bytes(png(grey))
    (vanilla / "3.png").write_bytes(png(Image.merge("RGB", [grey] * 3)))
    clear = picture(2)
    clear.putalpha(0)
    (peer / "4.png").write_bytes(png(clear))
    (vanilla / "4.png").write_bytes(png(Image.new("RGB", (8, 8), "white")))
    for i in (5, 6):
        (peer / f"{i}.png").write_bytes(png(picture(i, side=12)))
    command = [*QUIET, f"evaluate.folders=[{vanilla},{peer}]", f"paths.root={root}/runs"]
    return root, command


def test_two_folders_with_damaged_files(folders, capsys):
    root, command = folders
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "evaluation of the folders vanilla (120 images), peer (117 images)" in out
    assert "skipped 3 files that cannot be read (peer 3):" in out
    assert "  peer: 20.png: no PNG, JPEG, WEBP or BMP image" in out and "  peer: 119.png: the file is empty" in out
    assert max(len(line) for line in out.splitlines() if str(root) not in line) <= 80
    (job,) = (root / "runs" / "jobs").iterdir()
    results = json.loads((job / "results.json").read_text())
    assert [entry["file"] for entry in results["skipped"]["peer"]["files"]] == ["10.png", "20.png", "119.png"]
    assert "truncated" in results["skipped"]["peer"]["files"][0]["reason"]
    assert results["skipped"]["vanilla"] == {"n": 0, "files": []}
    assert {arm: it["images"] for arm, it in results["sources"].items()} == {"vanilla": 120, "peer": 117}
    assert {arm: it["without_colour"] for arm, it in results["sources"].items()} == {"vanilla": 2, "peer": 2}
    table = (job / "table.md").read_text()
    assert "vanilla: 2 without colour, peer: 2 without colour; images of greys alone" in table
    for absent in ("Only the modes are balanced", "mode\\_fd: distance", "kept cosine:", "floor of these"):
        assert absent not in table, absent
    assert results["sources"]["peer"]["sha256"] == ImageFolder(root / "peer").sha256
    assert (results["baseline"], results["twins"]) == ("vanilla", {"peer": 117})
    peer = results["arms"]["peer"]
    blanked = [results["arms"][arm]["blanked"] for arm in ("vanilla", "peer")]
    assert [(it["value"], it["n"], it["blocks"]) for it in blanked] == [(0, 120, 120), (0, 117, 117)]
    assert (peer["psnr"]["identical"], peer["psnr"]["other_size"], peer["psnr"]["n"]) == (2, 2, 113)
    assert peer["gender"]["fd_soft"]["n"] == 117
    assert "evaluate.modes" in peer["mode_fd"]["reason"] and "evaluate.reference" in peer["frechet_distance"]["reason"]
    assert (results["seeds"], results["prompts"]["text"]) == ({}, "")
    assert "skipped 3 files" in (job / "table.md").read_text()
    page = Page((job / "report.html").read_text())
    assert page.open == [] and verdict(results).sentence in page.within("header")
    assert "evaluation of the folders vanilla (120 images), peer (117 images)" in page.within("h1")
    alts = [image["alt"] for image in page.all("img")]
    pairs = [alt for alt in alts if alt.endswith(": vanilla above peer")]
    assert len(pairs) == 32 and "Image 0: vanilla above peer" in pairs
    assert "Image 10: vanilla above peer" not in pairs  # which cannot be read
    assert "peer: 20.png: no PNG, JPEG, WEBP or BMP image" in page.within("#pairs")
    assert f"{root}/peer: 117 images (sha256 {results['sources']['peer']['sha256'][:12]}...)" in page.within("#asked")
    assert "is not known without modes" in page.within("header") and "#modes" not in {
        f"#{it.get('id')}" for _, it in page.elements
    }
    assert not [link["href"] for link in page.all("a") if link["href"] == "#modes"]
    assert {path.name for path in (root / "runs" / "stages").iterdir()} == {"evaluate"}
    capsys.readouterr()
    assert main(command) == 0
    assert "evaluate: found, skipped" in capsys.readouterr().out


def test_without_vanilla_the_first_folder_is_the_baseline_and_other_names_are_no_twins(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "zeta", 6)
    folder_of(tmp_path / "alpha", 6, first=50)
    for file in (tmp_path / "alpha").iterdir():
        file.rename(file.with_name(f"x{file.name}"))
    # The model of the configuration would have to come from the hub; nothing is drawn, so it is not looked for.
    parts = ["model=sd15", "encoder=emoji_clip", "judge=emoji", "prompts=person"]
    assert main([*QUIET, *parts, "evaluate.folders=[zeta,alpha]", "evaluate.drawn_together=4"]) == 0
    (job,) = Path("runs/jobs").iterdir()
    results = json.loads((job / "results.json").read_text())
    assert (results["baseline"], results["twins"]) == ("zeta", {"alpha": 0})
    assert results["arms"]["alpha"]["psnr"]["reason"] == "the arm's names are not those of the zeta arm"
    assert results["arms"]["alpha"]["gender"]["fd_soft"]["blocks"] == 2
    page = Page((job / "report.html").read_text())
    grids = [image["alt"] for image in page.all("img") if image["alt"].startswith("Contact sheet")]
    assert grids == ["Contact sheet of the first zeta images", "Contact sheet of the first alpha images"]
    assert "4 drawn together" in page.within("#asked")
    lines = [line for line in capsys.readouterr().out.splitlines() if " against " not in line]
    rows = [line.split()[0] for line in lines if line.startswith(("alpha ", "zeta "))]
    assert rows == ["zeta", "alpha"] * (len(rows) // 2)
    assert main([*QUIET, *parts, "evaluate.folders=[alpha,zeta]", "evaluate.drawn_together=4"]) == 0
    assert len(list(Path("runs/jobs").iterdir())) == 2  # another baseline is another question


def test_an_evaluation_of_folders_is_logged(tmp_path):
    given = [folder_of(tmp_path / name, 6, first) for name, first in (("vanilla", 0), ("other", 50))]
    command = [it for it in QUIET if not it.startswith("logger=")]
    own = [f"evaluate.folders=[{given[0]},{given[1]}]", f"paths.root={tmp_path}/runs", "evaluate.drawn_together=3"]
    assert main([*command, *own, "logger=[csv,wandb]"]) == 0
    (job,) = (tmp_path / "runs" / "jobs").iterdir()
    logged = next((job / "csv").glob("metrics.csv")).read_text()
    assert "other/gender/fd_hard" in logged and list(job.rglob("*.wandb"))


def test_another_byte_is_another_key(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "a", 3)
    command = [*QUIET, "evaluate.folders={only: a}"]
    assert main(command) == 0
    (tmp_path / "a" / "1.png").write_bytes(png(picture(77)))
    assert main(command) == 0
    assert "found, skipped" not in capsys.readouterr().out
    assert main([*QUIET, "evaluate.folders={other: a}"]) == 0
    assert "found, skipped" not in capsys.readouterr().out
    assert main(command) == 0
    assert "found, skipped" in capsys.readouterr().out


@pytest.mark.manners
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate.folders=[a]", "stages=[collect,evaluate]"], "`stages` must be [evaluate] where `evaluate.folders`"),
        (["evaluate.folders=[a,nowhere]"], "`evaluate.folders.nowhere` must be a folder of images, got 'nowhere'"),
        (
            ["evaluate.folders=[a/0.png]"],
            "`evaluate.folders.0.png` must be a folder of images, got 'a/0.png', which is",
        ),
        (["evaluate.folders=[a,empty]"], "`evaluate.folders.empty` must be a folder with images"),
        (["evaluate.folders=[a,damaged]"], "`evaluate.folders.damaged` must hold an image that can be read"),
        (["evaluate.folders=[a,./b/../a]"], "`evaluate.folders` must be folders with different names (name them:"),
        (["evaluate.folders={reference: a}"], "`evaluate.folders` must be folders whose names are letters"),
        (["evaluate.folders=a"], "`evaluate.folders` must be null, a list of folders, or a dictionary"),
        (
            ["evaluate.folders=[a]", "evaluate.drawn_together=0"],
            "`evaluate.drawn_together` must be a whole number in [1",
        ),
        (["evaluate.folders=[a]", "evaluate.modes=a"], "`evaluate.modes` must be the folder of a finished job"),
        (["evaluate.folders=[a]", "evaluate.reference=none"], "`evaluate.reference` must be a folder of images"),
        (
            ["evaluate.folders=[a]", "evaluate.reference=a/0.png"],
            "`evaluate.reference` must be a folder, a job, or a prob",
        ),
        (["evaluate.folders=[a]", "prompts.attributes=[race]"], "`prompts.attributes` must be some of gender"),
        (["evaluate.modes=a"], "`evaluate.modes` must be null without `evaluate.folders`"),
        (["evaluate.drawn_together=2"], "`evaluate.drawn_together` must be 1 without `evaluate.folders`"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "a", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "x.png").write_bytes(b"no")
    stages = [] if any(text.startswith("stages=") for text in arguments) else ["stages=[evaluate]"]
    assert main([*stages, *arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err and err.count("\n") == 1 and out == ""
    assert not (tmp_path / "runs").exists()


def test_each_image_is_handed_on_once_with_others_of_its_size(tmp_path):
    vanilla, peer = folder_of(tmp_path / "vanilla", 7), folder_of(tmp_path / "peer", 5, first=9)
    (peer / "1.png").write_bytes(png(picture(1, side=5)))
    (peer / "x.png").write_bytes(png(picture(1)))
    (peer / "2.png").write_bytes(b"")
    chunks = Chunks([ImageFolder(vanilla), ImageFolder(peer)], 3)
    seen, skipped = [], []
    for k in range(len(chunks)):
        chunk = chunks[k]
        skipped += chunk["skipped"]
        for part in chunk["parts"]:
            assert len(part["rows"]) == len(part["image"]) <= 3 and part["image"].dtype == torch.float32
            seen += [(part["set"], row) for row in part["rows"].tolist()]
    assert sorted(seen) == [(0, i) for i in range(7)] + [(1, 0), (1, 1), (1, 3), (1, 4), (1, 5)]
    assert skipped == [(1, 2, "the file is empty")]


@pytest.fixture
def job(tmp_path):
    """Stages of a small job in a folder of runs, as `test_evaluate.run` makes them, with the marks that stages leave."""
    stages = tmp_path / "runs" / "stages"
    vanilla = images(1, [False] * 12 + [True] * 4)
    guided = vanilla.clone()
    guided[:4] = images(2, [True] * 4)
    labels = [i % 3 == 0 for i in range(24)]
    paths = {name: stages / name / "key" for name in ("collect", "discover", "vanilla", "guided")}
    fill(paths["collect"], images(0, labels), 10_000)
    for arm, pictures in (("vanilla", vanilla), ("guided", guided)):
        fill(paths[arm], pictures, 2**62)
        cost = {"seconds_per_image": 1.0 + 0.1 * (arm == "guided"), "peak_memory_mb": 10.0, "guidance_share": 0.05}
        write_json(
            paths[arm] / "generate.json", {"arm": arm, "dependence": "image" if arm == "vanilla" else "batch", **cost}
        )
    write_tensors(paths["discover"] / "centers.safetensors", {"centers": CENTERS})
    modes = {"k": 2, "sizes": [16, 8], "silhouette": 0.5, "target": [0.5, 0.5]}
    write_json(paths["discover"] / "modes.json", modes | {"labels": {str(i): int(g) for i, g in enumerate(labels)}})
    write_json(paths["discover"] / "stage.json", {"inputs": {"collected": "key"}})
    record = {"stages": {name: str(path.relative_to(tmp_path / "runs")) for name, path in paths.items()}}
    write_json(tmp_path / "runs" / "jobs" / "hash" / "job.json", record)
    return paths | {"job": tmp_path / "runs" / "jobs" / "hash"}


FIXED = {
    "judge": RedOrGreen(), "encoder": MeanColour(), "metrics": MetricSuite(), "prompts": Prompts("a", ["colour"]),
    "bootstrap": 100, "seed": 0, "trainer": TRAINER,
}  # fmt: skip


def ordinary(job, out: Path, **more) -> dict:
    arms = {arm: job[arm] for arm in ("vanilla", "guided")}
    evaluate(out, arms=arms, collected=job["collect"], discovered=job["discover"], batch_size=5, **{**FIXED, **more})
    return json.loads((out / "results.json").read_text())


def given(folders: dict, out: Path, reference=None, modes=None, **more) -> dict:
    paths = {name: str(path) for name, path in folders.items()}
    reference, modes = (None if path is None else str(path) for path in (reference, modes))
    values = {"drawn_together": 1, "batch_size": 5, **FIXED, "prompts": NoPrompt(FIXED["prompts"].attributes), **more}
    evaluate(out, folders=paths, reference=reference, modes=modes, **values)
    return json.loads((out / "results.json").read_text())


@pytest.mark.parametrize("how", ["stages", "job", "file"])
def test_own_arms_have_the_numbers_of_the_ordinary_stage(job, tmp_path, how):
    expected = ordinary(job, tmp_path / "a")
    cached = tmp_path / "a" / "probabilities-reference.safetensors"
    reference = {"stages": job["collect"], "job": job["job"], "file": cached}[how]
    modes = job["discover"] if how == "stages" else job["job"]
    results = given({arm: job[arm] for arm in ("vanilla", "guided")}, tmp_path / "b", reference, modes)
    for key in ("arms", "modes", "cost", "judge", "baseline", "twins"):
        assert results[key] == expected[key], key
    assert results["reference"]["sha256"] == ImageFolder(job["collect"]).sha256
    assert results["reference"]["images"] == 24
    assert results["skipped"] == {arm: {"n": 0, "files": []} for arm in results["skipped"]}


def test_an_arm_against_itself_is_kept_whole(job, tmp_path):
    results = given({"vanilla": job["vanilla"], "again": job["vanilla"]}, tmp_path / "b", modes=job["job"])
    again = results["arms"]["again"]
    assert (again["kept_share"]["value"], again["turned"]["n"], results["twins"]) == (1, 0, {"again": 16})
    assert again["psnr"] == {"value": None, "reason": "each image is identical to its twin", "n": 0, "identical": 16}
    assert again["kept_cosine"]["value"] == pytest.approx(1)
    assert again["kept_share"]["blocks"] == 16  # unguided, as its stage noted, whatever `drawn_together` says


def test_with_modes_the_page_shows_them_and_frames_what_changed(job, tmp_path):
    for mode in range(2):
        contact_sheet(images(0, [bool(mode)] * 4), columns=4).save(job["discover"] / f"mode-{mode}.png")
    arms = {arm: str(job[arm]) for arm in ("vanilla", "guided")}
    results = given(arms, tmp_path / "b", modes=job["job"])
    asked = {"folders": arms, "drawn_together": 1, "modes": str(job["job"]), "reference": None}
    page = Page(page_of_folders({"config": {"evaluate": asked}}, tmp_path / "b", job["discover"], 32))
    changed = [image["alt"] for image in page.all("img") if image["alt"].endswith("mode changed")]
    assert len(changed) == results["arms"]["guided"]["turned"]["n"] > 0
    assert "Mode 0" in page.within("#modes") and "Modes of" in page.within("#asked")
    assert verdict(results).sentence in page.within("header")


def test_plain_copies_of_the_images_give_the_same_shares_and_twins(job, tmp_path):
    expected = ordinary(job, tmp_path / "a")["arms"]["guided"]
    for arm in ("vanilla", "guided"):
        shutil.copytree(job[arm] / "images", tmp_path / "plain" / arm)
    folders = {arm: tmp_path / "plain" / arm for arm in ("vanilla", "guided")}
    results = given(folders, tmp_path / "b", job["collect"], job["discover"], drawn_together=4, batch_size=64)
    guided = results["arms"]["guided"]
    assert (
        guided["kept_share"] == expected["kept_share"] and guided["colour"]["fd_hard"] == expected["colour"]["fd_hard"]
    )
    for key in ("frechet_distance", "kid", "psnr", "kept_cosine"):
        assert guided[key]["value"] == pytest.approx(expected[key]["value"], rel=1e-5)
    assert results["cost"]["ratio"]["reason"] == "folders of images do not say what drawing them took"
    assert json.loads((tmp_path / "b" / "images.json").read_text())["guided"][3] == "000003"


def test_images_that_are_black_all_over_are_blanked(job, tmp_path):
    shutil.copytree(job["vanilla"] / "images", tmp_path / "peer")
    (tmp_path / "peer" / "000002.png").write_bytes(png(Image.new("RGB", (8, 8))))
    results = given({"peer": tmp_path / "peer"}, tmp_path / "b")
    assert results["arms"]["peer"]["blanked"]["value"] == 1 / 16
    assert results["sources"]["peer"]["without_colour"] == 0  # blanked, and nothing else
    assert results["arms"]["peer"]["colour"]["fd_soft"]["n"] == 15


def test_an_ordinary_job_takes_another_reference_in_its_quality_alone(job, tmp_path):
    shutil.copytree(job["collect"] / "images", tmp_path / "real")
    (tmp_path / "real" / "broken.png").write_bytes(b"")
    before, after = ordinary(job, tmp_path / "a"), ordinary(job, tmp_path / "b", reference=str(tmp_path / "real"))
    assert after["arms"] == before["arms"] and after["modes"] == before["modes"]  # the same images under other names
    assert after["reference"]["images"] == 24 and after["skipped"]["reference"]["files"][0]["file"] == "broken.png"
    collected = load_arm(tmp_path / "b", "collected")
    assert np.array_equal(collected.e, load_arm(tmp_path / "a", "reference").e) and collected.psnr is None
    for i in range(12):
        (tmp_path / "real" / f"{i:06d}.png").unlink()
    fewer = ordinary(job, tmp_path / "c", reference=str(tmp_path / "real"))
    assert fewer["arms"]["guided"]["kid"]["reference_n"] == 12
    assert fewer["arms"]["guided"]["kid"]["value"] != before["arms"]["guided"]["kid"]["value"]
    assert fewer["arms"]["guided"]["colour"] == before["arms"]["guided"]["colour"] and fewer["modes"] == before["modes"]


def test_labels_of_other_images_are_not_taken_for_those_of_the_reference(job, tmp_path):
    shutil.copytree(job["collect"] / "images", tmp_path / "real")
    results = given({"vanilla": job["vanilla"]}, tmp_path / "b", tmp_path / "real", job["discover"])
    assert results["modes"]["k"] == 2 and results["modes"]["nmi"]["colour"]["value"] is None
    assert results["arms"]["vanilla"]["mode_fd"]["value"] is not None


def test_a_cached_reference_lends_its_pixels_and_what_the_same_judge_saw(job, tmp_path):
    judge = SeeingJudge()
    ordinary(job, tmp_path / "a", judge=judge)
    cached, folders = tmp_path / "a" / "probabilities-reference.safetensors", {"vanilla": job["vanilla"]}
    same = given(folders, tmp_path / "b", cached, job["job"], judge=judge)["arms"]["vanilla"]["quality"]
    assert same["judge"]["kid"]["value"] is not None and same["pixels"]["kid"]["value"] is not None
    other = SeeingJudge()
    other.classes = {"colour": ("green", "red")}
    found = given(folders, tmp_path / "c", cached, job["job"], judge=other)["arms"]["vanilla"]["quality"]
    assert "not all arms and the reference" in found["judge"]["kid"]["reason"]
    assert found["pixels"]["kid"] == same["pixels"]["kid"]
