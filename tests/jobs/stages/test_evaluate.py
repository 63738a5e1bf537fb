"""The evaluate stage end to end: real image folders, a real Trainer, and a judge that reads colours."""

from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from selfdebias.config.prompts import Prompts
from selfdebias.encoders import ClipEncoder
from selfdebias.jobs.stages.evaluate import _read_modes, describe_judge, evaluate
from selfdebias.jobs.stages.looking import blocks_of
from selfdebias.judges import Confusion
from selfdebias.judges.clip_zeroshot import ClipZeroShotJudge
from selfdebias.metrics import MetricSuite
from selfdebias.metrics.arms import load_arm, pool
from selfdebias.metrics.features import pixel_averages
from selfdebias.storage.atomic import write_json, write_tensors
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import encode_png
from tests.metrics.references import cmmd, kid

TRAINER = partial(
    pl.Trainer,
    accelerator="cpu",
    devices=1,
    enable_checkpointing=False,
    enable_model_summary=False,
    enable_progress_bar=False,
    inference_mode=False,
)
DEPENDENCE = {"vanilla": "image", "guided": "batch"}
CENTERS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class RedOrGreen:
    """A judge that goes by the mean colour; the lightness of an image is its second attribute."""

    def __init__(self, encoder_id: str | None = None) -> None:
        self.classes = {"colour": ("red", "green"), "light": ("dark", "bright")}
        self.threshold = 0.5
        self.encoder_id = encoder_id

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        means = images.mean((2, 3))
        colour = means[:, :2] / means[:, :2].sum(1, keepdim=True)
        return {"colour": colour, "light": torch.stack([1 - means.mean(1), means.mean(1)], 1)}


class MeanColour(torch.nn.Module):
    """An encoder whose embedding is the mean colour, made a unit vector."""

    encoder_id = "mean-colour"
    dim = 3

    def forward(self, images: Tensor) -> Tensor:
        return torch.nn.functional.normalize(images.mean((2, 3)), dim=1)


class SeeingJudge(RedOrGreen):
    """The same judge, which says what it sees: the mean colour."""

    def features(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class ColourAndText(MeanColour):
    """The same, which takes "red" and "green" for these colours."""

    def embed_text(self, texts: list[str]) -> Tensor:
        return torch.tensor([[1.0, 0.0, 0.0] if "red" in text else [0.0, 1.0, 0.0] for text in texts])


class Grid:
    """An extractor: four mean colours an image, no unit vector."""

    dim = 12
    resize_rule = "means over quarters"

    def __call__(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)

    def fingerprint(self) -> str:
        return "grid"


def images(seed: int, green: list[bool]) -> Tensor:
    noise = torch.rand(len(green), 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 0.3
    noise[torch.arange(len(green)), torch.tensor(green).long()] += 0.6
    return noise.clamp(0, 1)


def fill(path: Path, pictures: Tensor, first_seed: int, batch_size: int = 4, prompt: str = "red") -> Path:
    """A folder of batches, written last batch first, as a resumed run may do."""
    folder = BatchFolder(path, "key")
    for batch in reversed(range(len(pictures) // batch_size)):
        ids = list(range(batch * batch_size, (batch + 1) * batch_size))
        records = [{"id": i, "seed": first_seed + i, "prompt": prompt, "batch": batch, "blanked": False} for i in ids]
        folder.add(batch, ids, pictures[ids], {}, records)
    return path


@pytest.fixture
def run(tmp_path):
    """Folders of a small job: 24 reference images, 16 vanilla with 4 green, 16 guided with 8 green."""
    vanilla = images(1, [False] * 12 + [True] * 4)
    guided = vanilla.clone()
    guided[:4] = images(2, [True] * 4)
    labels = [i % 3 == 0 for i in range(24)]
    fill(tmp_path / "collect", images(0, labels), 10_000)
    arms = {
        "vanilla": fill(tmp_path / "vanilla", vanilla, 2**62),
        "guided": fill(tmp_path / "guided", guided, 2**62),
    }
    for arm, path in arms.items():
        cost = {"seconds_per_image": 1.0 + 0.1 * (arm == "guided"), "peak_memory_mb": 10.0, "guidance_share": 0.05}
        write_json(path / "generate.json", {"arm": arm, "dependence": DEPENDENCE[arm], **cost})
    write_tensors(tmp_path / "discover" / "centers.safetensors", {"centers": CENTERS})
    modes = {"k": 2, "sizes": [16, 8], "silhouette": 0.5, "stability": {"value": 1.0, "n": 24}, "target": [0.5, 0.5]}
    write_json(tmp_path / "discover" / "modes.json", modes | {"labels": {str(i): int(g) for i, g in enumerate(labels)}})

    def call(folder: Path, judge: RedOrGreen | None = None, batch_size: int = 5, **options) -> dict:
        evaluate(
            folder=folder,
            arms=arms,
            collected=tmp_path / "collect",
            discovered=tmp_path / "discover",
            judge=judge or RedOrGreen(),
            encoder=options.pop("encoder", MeanColour()),
            metrics=options.pop("metrics", MetricSuite()),
            prompts=Prompts("a colour", ["colour"]),
            batch_size=batch_size,
            bootstrap=100,
            seed=0,
            trainer=TRAINER,
            **options,
        )
        return json.loads((folder / "results.json").read_text())

    return call


def test_numbers_are_those_that_were_planted(run, tmp_path):
    results = run(tmp_path / "out")
    vanilla, guided = results["arms"]["vanilla"], results["arms"]["guided"]
    assert vanilla["shares"]["colour"]["green"]["value"] == 4 / 16
    assert guided["colour"]["fd_hard"]["value"] == guided["mode_fd"]["value"] == 0
    assert vanilla["colour"]["fd_hard"]["blocks"] == 16  # unguided images do not depend on each other
    assert guided["colour"]["fd_hard"]["blocks"] == 4
    assert guided["turned"]["n"] == 4
    assert guided["kept_cosine"]["value"] == pytest.approx(1)
    assert guided["psnr"]["n"] == 4
    assert guided["psnr"]["identical"] == 12
    assert results["modes"]["nmi"]["colour"] == pytest.approx(1)
    assert results["cost"]["ratio"] == pytest.approx(1.1)
    assert results["prompts"] == {"text": "a colour", "attributes": ["colour"]}
    assert "light" not in guided  # judged, but not asked for


def test_rows_are_in_the_order_of_ids_whatever_the_batch_size(run, tmp_path):
    run(tmp_path / "a", batch_size=5)
    run(tmp_path / "b", batch_size=16)
    for arm in ("reference", "vanilla", "guided"):
        a, b = load_arm(tmp_path / "a", arm), load_arm(tmp_path / "b", arm)
        assert np.array_equal(a.ids, np.arange(len(a)))
        assert np.allclose(a.e, b.e, atol=1e-6)
        assert np.array_equal(a.modes, b.modes)
    guided = load_arm(tmp_path / "a", "guided")
    assert guided.modes.tolist() == [1] * 4 + [0] * 8 + [1] * 4
    assert guided.seeds.tolist() == [2**62 + i for i in range(16)]
    assert np.isinf(guided.psnr).tolist() == [False] * 4 + [True] * 12
    assert set(guided.probabilities) == {"colour", "light"}
    with pytest.raises(ValueError, match="share a seed"):
        pool([guided, load_arm(tmp_path / "b", "guided")])


def test_lines_of_metrics_are_the_numbers_of_the_results(run, tmp_path):
    run(tmp_path / "out")
    results = run(tmp_path / "out")  # a second attempt replaces the lines of the first
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    by_name = {line["name"]: line for line in lines}
    assert len(by_name) == len(lines)
    assert by_name["guided/colour/fd_hard"]["value"] == results["arms"]["guided"]["colour"]["fd_hard"]["value"]
    assert by_name["vanilla/turned"]["reason"]
    assert {line["stage"] for line in lines} == {"evaluate"}


def test_shared_encoder_of_judge_and_modes_is_called_circular(run, tmp_path):
    with pytest.warns(UserWarning, match="share the encoder mean-colour"):
        results = run(tmp_path / "out", RedOrGreen("mean-colour"))
    assert results["judge"]["circular"] is True
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*share the encoder.*")
        assert run(tmp_path / "other", RedOrGreen("another"))["judge"]["circular"] is False


def test_images_under_one_memory_are_one_block_and_unguided_ones_are_blocks_of_their_own():
    records = [
        {"id": 7 + i, "batch": b, "prompt": p} for i, (b, p) in enumerate([(0, "a"), (0, "a"), (1, "a"), (2, "b")])
    ]
    by = {name: blocks_of(records, {"dependence": name}).tolist() for name in ("image", "batch", "run")}
    assert by == {"image": [7, 8, 9, 10], "batch": [0, 0, 1, 2], "run": [0, 0, 0, 1]}  # a memory is of one prompt


@pytest.mark.parametrize("own", [None, "axes"])
def test_axes_that_an_arm_left_alone_are_left_alone_in_its_folder_too(tmp_path, own):
    (tmp_path / "modes.json").write_text(json.dumps({"axes": [{}, {}], "target": [0.5] * 4}))
    guided = {"guidance": {"axes": [1], "target": [0.5, 0.5, 0.3, 0.7]}}
    found = _read_modes(tmp_path, {"vanilla": {"guidance": {}}, "guided": guided}, own)
    assert found["balanced"] == [1] and found["target"] == [0.5, 0.5, 0.3, 0.7]
    assert "balanced" not in _read_modes(tmp_path, {"guided": {"guidance": {}}}, own)


def test_the_judges_error_is_measured_on_labelled_images_and_stated_elsewhere(run, tmp_path):
    assert all("reason" in it for it in run(tmp_path / "none")["judge"]["error"].values())
    for i, green in enumerate([False, False, True, True, True]):  # two labels of five are wrong
        file = tmp_path / "labelled" / "colour" / ("red" if i < 3 else "green") / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_png(images(i, [green != (i == 4)])[0]))
    judge = RedOrGreen()
    judge.confusion = {name: Confusion([[9, 1], [0, 10]], 0, 0, "old ones") for name in ("colour", "light")}
    (tmp_path / "labelled" / "colour" / "red" / "x.png").write_bytes(b"")
    found = run(tmp_path / "out", judge, labelled=str(tmp_path / "labelled"))
    error, unread = found["judge"]["error"], {"file": "colour/red/x.png", "reason": "the file is empty"}
    assert found["skipped"] == {"labelled": {"n": 1, "files": [unread]}}
    assert error["colour"]["counts"] == [[2, 1], [1, 1]] and error["colour"]["accuracy"] == 3 / 5
    assert error["colour"]["source"] == "labelled folder `labelled`"
    assert error["light"]["accuracy"] == 0.95 and error["light"]["source"] == "stated by the judge: old ones"


def test_a_zero_shot_judge_on_the_encoder_of_the_modes_is_called_circular(run, tmp_path):
    encoder = ClipEncoder("shipped:emoji_clip")
    attributes = {"gender": {"man": "an emoji of a man", "woman": "an emoji of a woman"}}
    judge = ClipZeroShotJudge(encoder, attributes, ["{}"], temperature=0.07)
    with pytest.warns(UserWarning, match="share the encoder shipped:emoji_clip"):
        assert describe_judge(judge, ClipEncoder("shipped:emoji_clip"))["circular"] is True
    assert describe_judge(judge, MeanColour())["circular"] is False


def test_twins_with_other_ids_are_refused(run, tmp_path):
    extra = BatchFolder.open(tmp_path / "guided")
    extra.add(4, [16], images(3, [True]), {}, [{"id": 16, "seed": 5, "batch": 4, "blanked": False}])
    with pytest.raises(ValueError, match="`arms` must have the same image ids"):
        run(tmp_path / "out")


def test_images_are_compared_by_the_extractor_where_there_is_one(run, tmp_path):
    results = run(tmp_path / "out", metrics=MetricSuite(features=Grid()))
    described = {"name": "Grid", "dim": 12, "resize": "means over quarters", "weights": "grid"}
    assert results["features"] == described
    guided, reference = (load_arm(tmp_path / "out", arm) for arm in ("guided", "reference"))
    pictures = BatchFolder.open(tmp_path / "guided").images(list(range(16)))
    assert np.allclose(guided.features, Grid()(pictures), atol=1e-6)
    entries = results["arms"]["guided"]
    assert {key: entries[key]["features"] for key in ("frechet_distance", "kid", "cmmd", "precision", "recall")} == {
        "frechet_distance": 12, "kid": 12, "cmmd": 3, "precision": 12, "recall": 12,
    }  # fmt: skip
    assert entries["kid"]["value"] == pytest.approx(kid(guided.features, reference.features))
    assert entries["cmmd"]["value"] == pytest.approx(cmmd(guided.e, reference.e))
    plain = run(tmp_path / "plain")
    assert (
        plain["features"] == {"name": "mean-colour", "dim": 3}
        and load_arm(tmp_path / "plain", "guided").features is None
    )


def test_clip_score_is_of_each_image_and_its_prompt(run, tmp_path):
    results = run(tmp_path / "out", encoder=ColourAndText())
    guided = load_arm(tmp_path / "out", "guided")
    assert np.allclose(guided.clip_score, 100 * guided.e[:, 0])  # all prompts say red
    entry = results["arms"]["guided"]["clip_score"]
    assert entry["value"] == pytest.approx(guided.clip_score.mean()) and entry["n"] == 16
    assert entry["low"] < entry["value"] < entry["high"]
    without = run(tmp_path / "without")["arms"]["guided"]["clip_score"]
    assert without["value"] is None and without["reason"] == "the encoder embeds no text"


def test_quality_is_also_measured_by_what_the_judge_sees_and_by_pixels(run, tmp_path):
    results = run(tmp_path / "out", SeeingJudge())
    pictures = BatchFolder.open(tmp_path / "guided").images(list(range(16)))
    for arm in ("reference", "vanilla", "guided"):
        spaces = load_arm(tmp_path / "out", arm).spaces
        assert {name: (x.shape[1], x.dtype) for name, x in spaces.items()} == {
            "judge": (3, np.float16), "pixels": (768, np.float16)
        }  # fmt: skip
    guided = load_arm(tmp_path / "out", "guided").spaces
    assert np.allclose(guided["judge"], pictures.mean((2, 3)), atol=1e-3)
    assert np.allclose(guided["pixels"], pixel_averages(pictures), atol=1e-3)
    quality = results["arms"]["guided"]["quality"]
    assert list(quality) == ["encoder", "judge", "pixels"] and quality["pixels"]["kept"]["value"] == pytest.approx(1)
    assert results["spaces"]["judge"] == {"name": "SeeingJudge", "dim": 3}
    agreement = results["arms"]["guided"]["paired_agreement"]["colour"]
    assert (agreement["switched"]["value"], agreement["unswitched"]["value"]) == (0, 1)
    composition = results["arms"]["guided"]["composition"]["colour"]
    assert composition["predicted_shares"]["green"]["value"] == 0.5  # a mode is a colour here
    assert list(run(tmp_path / "plain")["arms"]["guided"]["quality"]) == ["encoder", "pixels"]
    with pytest.warns(UserWarning, match="share the encoder"):  # what such a judge sees is the encoder's
        shared = run(tmp_path / "shared", SeeingJudge("mean-colour"))
    assert list(shared["arms"]["guided"]["quality"]) == ["encoder", "pixels"]
