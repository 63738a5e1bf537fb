"""A bank for several prompts from collect to generate on a tiny pipeline, and a bank from a judge's labels."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch

from selfdebias.config.prompts import Prompts
from selfdebias.config.rules import ConfigError
from selfdebias.guidance import ClassifierGuidance
from selfdebias.jobs.stages.collected import CollectedImages
from selfdebias.jobs.stages.discover import discover, discover_carried, discover_supervised
from selfdebias.jobs.stages.fitted_files import read_semantics
from selfdebias.jobs.stages.project import project
from selfdebias.modes import SpectralModes
from selfdebias.modes.bank import ModeBank
from selfdebias.modes.banks import SupervisedBank
from selfdebias.modes.naming import NoVocabulary
from selfdebias.modes.projector_fit import ProjectorFit
from selfdebias.storage.batches import BatchFolder
from tests.jobs.stages.world import TRAINER, PixelEncoder, guided, run_collect, run_generate
from tests.tiny import tiny_pipeline

TEXTS = ("a person", "a doctor")
MODES = SpectralModes(k_min=2, k_max=3, n_neighbors=(3,))
FIT = partial(
    ProjectorFit, reader="flattened", hidden=16, noise=0.1, temperature=0.1, steps=60, batch_size=16, learning_rate=3e-3,
    weight_decay=0.0, dropout=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model, and what it draws from two prompts."""
    root = tmp_path_factory.mktemp("banks")
    tiny_pipeline().save_pretrained(root / "model")
    folders = {}
    for text in TEXTS:
        place = root / text.replace(" ", "-")
        place.mkdir()
        folders[text] = run_collect(root / "model", place, prompts=Prompts(text, ["gender"]), timesteps=4)
    return root, folders


def _find(root, folders, kind, k=None):
    found = root / f"found-{kind}"
    modes = SpectralModes(k_min=2, k_max=3, n_neighbors=(3,), k=k)
    if kind == "mixture":
        discover(found, modes, NoVocabulary(), PixelEncoder(), fitted=folders)
    else:
        discover(found, modes, NoVocabulary(), PixelEncoder(), folders[TEXTS[0]])
    return found


def test_several_folders_are_read_as_one(world):
    _, folders = world
    images = CollectedImages([*folders.values()])
    assert len(images) == 20 and images.prompts == TEXTS and images.branches == ("uncond", "cond")
    second = BatchFolder.open(folders[TEXTS[1]])
    assert torch.equal(images.images([10, 13]), second.images([0, 3]))
    labels = np.arange(20) % 2
    data = images.activations(labels)
    assert len(data["id"]) == 2 * 10 * 4 * 2
    assert torch.equal(images.prompt_index[data["id"]], (data["id"] >= 10).long()) and torch.equal(
        data["mode"], data["id"] % 2
    )
    own = torch.from_numpy(images.e).float()[data["id"]]
    assert torch.allclose(data["e"], own, atol=1e-6)


@pytest.mark.parametrize("kind, k", [("carried", 2), ("carried", 3), ("mixture", 2), ("mixture", 3)])
def test_from_the_modes_to_guided_images_of_both_prompts(world, tmp_path, kind, k):
    root, folders = world
    found = _find(tmp_path, folders, kind, k)
    project(tmp_path / "project", found, PixelEncoder(), FIT, seed=0, trainer=TRAINER, fitted=folders)
    bank = ModeBank.load(tmp_path / "project" / "bank.safetensors")
    by_axis = k == 2
    assert bank.prompts == (() if by_axis else TEXTS) and (bank.scales is not None) == by_axis
    assert len(bank.target) == k and bank.temperatures is not None
    row = tmp_path / "row"
    discover_carried(row, folders[TEXTS[1]], found)
    modes = json.loads((row / "modes.json").read_text())
    assert modes["k"] == k and sum(modes["sizes"]) == 10 and set(modes["labels"]) == {str(i) for i in range(10)}
    vanilla = run_generate(root / "model", tmp_path, "vanilla", guided(0.0), prompts=Prompts(TEXTS[1], ["gender"]))
    edited = run_generate(root / "model", tmp_path, "guided", guided(2.0), prompts=Prompts(TEXTS[1], ["gender"]))
    assert not torch.equal(BatchFolder.open(vanilla).images(), BatchFolder.open(edited).images())


def test_each_prompt_has_its_own_threshold_where_that_is_asked_for_and_others_share_one(world, tmp_path):
    root, folders = world
    found = _find(tmp_path, folders, "carried", 2)
    project(tmp_path / "project", found, PixelEncoder(), FIT, 0, TRAINER, fitted=folders, threshold="prompt")
    bank = ModeBank.load(tmp_path / "project" / "bank.safetensors")
    assert bank.prompts == (*TEXTS, "") and bank.temperatures is not None
    assert not torch.equal(bank.of_prompt(TEXTS[0]).origins, bank.of_prompt(TEXTS[1]).origins)
    drawn = [
        run_generate(root / "model", tmp_path, str(k), it, prompts=Prompts("a nurse", ["gender"]))
        for k, it in enumerate((guided(0.0), guided(2.0)))
    ]
    assert not torch.equal(*(BatchFolder.open(folder).images() for folder in drawn))


def test_a_prompt_that_a_bank_by_means_does_not_know_is_refused_before_an_image_is_drawn(world, tmp_path):
    root, folders = world
    found = _find(tmp_path, folders, "carried", 3)
    project(tmp_path / "project", found, PixelEncoder(), FIT, seed=0, trainer=TRAINER, fitted=folders)
    with pytest.raises(ConfigError, match="`prompts` must be one that the bank was fitted on .*, got 'a nurse'"):
        run_generate(root / "model", tmp_path, "guided", guided(), prompts=Prompts("a nurse", ["gender"]))
    assert not list((tmp_path / "guided").glob("images/*"))


class BrightnessJudge:
    """Three classes by mean brightness, of which no image is ``bright``; sure where it is clear."""

    classes = {"light": ("dark", "bright", "pale"), "other": ("a", "b")}  # noqa: RUF012
    threshold, encoder_id = 0.6, None

    def __init__(self, middle: float):
        self.middle = middle

    def __call__(self, images):
        pale = torch.sigmoid(400 * (images.mean(dim=(1, 2, 3)) - self.middle))
        light = torch.stack([1 - pale, torch.zeros_like(pale), pale], dim=1)
        return {"light": light, "other": torch.tensor([[1.0, 0.0]]).expand(len(images), 2)}


def test_supervised_modes_are_the_classes_that_occur_the_largest_first(world, tmp_path):
    _, folders = world
    images = BatchFolder.open(folders[TEXTS[0]]).images()
    means = images.mean(dim=(1, 2, 3))
    judge = BrightnessJudge(float(means.sort().values[2:4].mean()))  # three of ten are dark
    discover_supervised(tmp_path, folders[TEXTS[0]], SupervisedBank("light"), judge)
    modes = json.loads((tmp_path / "modes.json").read_text())
    assert modes["classes"] == ["pale", "dark"] and modes["absent"] == ["bright"] and modes["sizes"] == [7, 3]
    assert [modes["labels"][str(i)] for i in range(10)] == (means < judge.middle).long().tolist()
    unsure = (judge(images)["light"].max(dim=1).values < 0.6).sum()
    assert modes["unclassified"] == int(unsure) and modes["stability"]["value"] is None


def test_a_judges_classes_bring_a_classifier_which_guides_and_is_said_to_be_told(world, tmp_path):
    root, folders = world
    means = BatchFolder.open(folders[TEXTS[0]]).images().mean(dim=(1, 2, 3))
    judge = BrightnessJudge(float(means.sort().values[4:6].mean()))
    discover_supervised(tmp_path / "found", folders[TEXTS[0]], SupervisedBank("light"), judge)
    project(tmp_path / "project", tmp_path / "found", PixelEncoder(), FIT, 0, TRAINER, folders[TEXTS[0]])
    classifier = read_semantics(tmp_path / "project").classifier
    assert classifier.weights.shape[0] == 2 and classifier.weights.shape[2] == 2
    guidance, still = ClassifierGuidance(1e3, limit=1.0), ClassifierGuidance(0.0)
    drawn = [run_generate(root / "model", tmp_path, arm, it) for arm, it in (("none", still), ("guided", guidance))]
    assert not torch.equal(*(BatchFolder.open(folder).images() for folder in drawn))
    assert json.loads((drawn[1] / "generate.json").read_text())["told"] == guidance.told
    plain = run_generate(root / "model", tmp_path, "plain", guided())
    assert "told" not in json.loads((plain / "generate.json").read_text())


def test_an_attribute_with_one_class_is_refused(world, tmp_path):
    _, folders = world
    with pytest.raises(ValueError, match="`bank.attribute` must be one with two classes .*, got 'other', .* show 'a'"):
        discover_supervised(tmp_path, folders[TEXTS[0]], SupervisedBank("other"), BrightnessJudge(0.5))
