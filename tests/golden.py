"""A record of what the package gives: images, numbers and keys, to hold a rebuilt one against the one before.

`python -m tests.golden record FOLDER` runs a job of three arms, a job of two prompts with modes carried over, an evaluation of
folders, a sweep of four jobs, a job with axes, and a fit with attach, all small, and writes `record.json`: hashes of all images and
all numbers of each `results.json`, and the keys of the committed studies. `python -m tests.golden compare ONE OTHER` names what
differs between two of them; on one machine nothing may. `python -m tests.golden reference` writes what `tests/test_golden.py` holds
today's package against: few images and numbers of a job of three arms, an evaluation of its folders, and a fit."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COMMON = ["logger=none", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
SMALL = [
    "model.steps=6", "collect.n_images=24", "collect.timesteps=3", "generate.n_images=8", "generate.batch_size=4",
    "projector.steps=40", "evaluate.reference_images=8", "metrics=default", "encoder=emoji_clip_informed", "clustering=spectral",
]  # fmt: skip
NOT_THE_SAME = ("cost", "command", "seconds", "peak", "date")  # of which no two runs have the same
JOBS = {
    "arms": [*SMALL, "guidance=random"],
    "prompts": [
        *SMALL, "prompts=emoji_occupations", "prompts.subjects=[a farmer, a cook]", "bank=carried",
        "prompts.attributes=[gender, tone, occupation]",
    ],
    "sweep": [*SMALL, "-m", "guidance.strength=3,6", "generate.seed=0,1"],
    "axes": [
        "model.steps=4", "collect.n_images=256", "collect.timesteps=2", "generate.n_images=8", "generate.batch_size=8",
        "projector.steps=40", "evaluate.reference_images=8",
    ],
}  # fmt: skip
REFERENCE = Path(__file__).parent / "golden"
FIT = """
import sys
from diffusers import StableDiffusionPipeline
from selfdebias import SelfDebias
from selfdebias.modes import SpectralModes
from selfdebias.testbed import shipped
pipe = StableDiffusionPipeline.from_pretrained(shipped("emoji"))
pipe.set_progress_bar_config(disable=True)
call = {"num_inference_steps": 6, "guidance_scale": 3.0}
debiaser = SelfDebias.fit(
    pipe, "an emoji of a person", encoder="shipped:emoji_clip_informed", clustering=SpectralModes(), n_images=24, timesteps=3,
    call=call, projector={"steps": 40},
)
with debiaser.attach(pipe):
    images = pipe(["an emoji of a person"] * 8, generator=debiaser.generators(range(8)), **call).images
for i, image in enumerate(images):
    image.save(f"{sys.argv[1]}/{i:06d}.png")
"""


def record(folder: Path) -> dict[str, Any]:
    """Run all jobs in a folder, and return what they gave.

    Returns:
        ``images``: by the folder, pixels (N, 3, H, W) uint8; ``numbers``: by the path, job first,
        each number; ``keys``: by study and row, config hashes.
    """
    root = folder / "runs"
    for overrides in JOBS.values():
        _run("-m", "selfdebias.main", *COMMON, f"paths.root={root}", *overrides)
    vanilla, guided = _arms(root)
    _run(
        "-m", "selfdebias.main", *COMMON, f"paths.root={root}", "stages=[evaluate]", "evaluate.drawn_together=4",
        f"evaluate.folders={{vanilla: {vanilla}, peer: {guided}}}", "encoder=emoji_clip_informed",
    )  # fmt: skip
    (folder / "fit").mkdir()
    _run("-c", FIT, str(folder / "fit"))
    return gathered(folder) | {"keys": study_keys()}


def few(folder: Path) -> dict[str, Any]:
    """Run the smallest of all this in this process.

    Returns:
        ``images``: by the arm, pixels (2, 64, 64, 3) uint8; ``numbers``: by the job and the path in its results, each number;
        ``stages``: the key of each stage of the job of three arms; ``files``: what is in its folder.
    """
    main = importlib.import_module("selfdebias.main").main
    root = folder / "runs"
    assert main([*COMMON, f"paths.root={root}", *SMALL, "guidance=random"]) == 0
    (job,) = root.glob("jobs/*")
    vanilla, guided = _arms(root)
    evaluated = [
        "stages=[evaluate]", "evaluate.drawn_together=4", f"evaluate.folders={{vanilla: {vanilla}, peer: {guided}}}",
        "encoder=emoji_clip_informed",
    ]  # fmt: skip
    assert main([*COMMON, f"paths.root={root}", *evaluated]) == 0
    (other,) = set(root.glob("jobs/*")) - {job}
    (folder / "fit").mkdir()
    exec(FIT.replace("sys.argv[1]", repr(str(folder / "fit"))), {})
    stages = json.loads((job / "job.json").read_text())["stages"]
    drawn = {name.rpartition("/")[2]: root / place / "images" for name, place in stages.items() if "generate/" in name}
    return {
        "images": {name: _pixels(it)[:2] for name, it in (drawn | {"fit": folder / "fit"}).items()},
        "numbers": {"arms": _results(job), "folders": _results(other)},
        "stages": stages,
        "files": sorted(it.name for it in job.iterdir()),
    }


def _results(job: Path) -> dict[str, float]:
    """Each number of a job's results by its path, rounded; those of the shipped judge's own error are the same in all jobs."""
    leaves = _leaves(json.loads((job / "results.json").read_text()), "")
    return {path: round(value, 8) for path, value in leaves if not path.startswith("/judge/error")}


def gathered(folder: Path) -> dict[str, Any]:
    """Return ``images`` and ``numbers`` of what has run in a folder."""
    root = folder / "runs"
    places = {str(it.parent.relative_to(root)): it for it in sorted(root.glob("stages/generate/*/images"))}
    images = {name: _pixels(it) for name, it in places.items()} | {"fit": _pixels(folder / "fit")}
    numbers = [_numbers(job) for job in sorted(root.glob("jobs/*"))]
    return {"images": images, "numbers": {path: value for it in numbers for path, value in it.items()}}


def study_keys() -> dict[str, list[str]]:
    """Return the config hash that each row of a committed study has with today's code, at its first seed, by study and row."""
    pooled = importlib.import_module("experiments.pooled")
    keys: dict[str, list[str]] = {}
    for file in sorted(pooled.RESULTS.glob("*.json")):
        for name, seeds, overrides in _rows(json.loads(file.read_text())):
            try:
                keys[f"{file.stem}/{name}"] = pooled._hashes(overrides, seeds[:1])
            except Exception as error:
                keys[f"{file.stem}/{name}"] = [type(error).__name__]
    return keys


def _rows(results: Any) -> Iterator[tuple[str, list[int], list[str]]]:
    """Rows of a study's file that say what they were run with."""
    every = results.items() if isinstance(results, Mapping) else ()
    for name, it in every:
        if isinstance(it, Mapping) and "overrides" in it:
            yield name, it["seeds"]["generate"], it["overrides"]


def _arms(root: Path) -> tuple[Path, Path]:
    """The images of the vanilla and of the guided arm of the job that came first."""
    job = min(root.glob("jobs/*/job.json"), key=os.path.getmtime)
    stages = json.loads(job.read_text())["stages"]
    vanilla, guided = (root / stages[f"generate/{arm}"] / "images" for arm in ("vanilla", "guided"))
    return vanilla, guided


def _run(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


def _pixels(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.glob("*.png"))])


def _numbers(job: Path) -> dict[str, float]:
    """Each number of a job's results by its path; times and places are left out."""
    file, command = job / "results.json", json.loads((job / "job.json").read_text())["command"]
    name = "folders" if "evaluate.folders" in command else job.name  # whose key is that of files, with their dates
    return dict(_leaves(json.loads(file.read_text()), name)) if file.exists() else {}


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(tree, Mapping):
        for key, it in tree.items():
            if not any(word in key for word in NOT_THE_SAME):
                yield from _leaves(it, f"{path}/{key}")
    elif isinstance(tree, list):
        for i, it in enumerate(tree):
            yield from _leaves(it, f"{path}/{i}")
    elif isinstance(tree, int | float):
        yield path, float(tree)


def write(found: Mapping[str, Any], folder: Path) -> None:
    """Write a record as `record.json`, with hashes of the images, and `images.npz`, with the images."""
    told = {name: hashlib.sha256(pixels.tobytes()).hexdigest() for name, pixels in found["images"].items()}
    text = json.dumps({**found, "images": told}, indent=0, sort_keys=True)
    (folder / "record.json").write_text(text + "\n")
    np.savez_compressed(folder / "images.npz", **found["images"])


def differences(one: Path, other: Path, pixels: float = 0.0, numbers: float = 1e-9) -> list[str]:
    """Name what differs between two records.

    Args:
        one: folder that `write` wrote.
        other: another.
        pixels: mean absolute difference of two sets of images in [0, 1] that is none.
        numbers: absolute difference of two numbers that is none.
    """
    first, second = (json.loads((it / "record.json").read_text()) for it in (one, other))
    lines = [f"{kind}: {name} is in one alone" for kind in first for name in first[kind].keys() ^ second[kind].keys()]
    lines += [f"key: {name}" for name, key in first["keys"].items() if second["keys"].get(name, key) != key]
    for name, value in first["numbers"].items():
        if not np.isclose(value, second["numbers"].get(name, value), rtol=0, atol=numbers, equal_nan=True):
            lines.append(f"number: {name}: {value} and {second['numbers'][name]}")
    images, others = np.load(one / "images.npz"), np.load(other / "images.npz")
    for name in {*images} & {*others}:
        apart = np.abs(images[name] / 255 - others[name] / 255).mean()
        if apart > pixels:
            lines.append(f"images: {name}: {apart:.2e} apart")
    return lines


if __name__ == "__main__":
    task, *places = sys.argv[1:]
    if task == "record":
        place = Path(places[0])
        place.mkdir(parents=True)
        write(record(place), place)
    elif task == "reference":
        with tempfile.TemporaryDirectory() as place:
            found = few(Path(place))
        np.savez_compressed(REFERENCE.with_suffix(".npz"), **found.pop("images"))
        REFERENCE.with_suffix(".json").write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
    else:
        found = differences(*map(Path, places))
        print("\n".join(found) or "no difference")
        sys.exit(bool(found))
