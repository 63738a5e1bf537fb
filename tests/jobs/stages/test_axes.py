"""Axes through the stages, on real classes at tiny size; random weights have no axes, so two are planted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from selfdebias.config.prompts import Prompts
from selfdebias.config.rules import ConfigError
from selfdebias.guidance import TransportGuidance
from selfdebias.jobs.stages.collected import read_embeddings
from selfdebias.jobs.stages.discover import discover, discover_carried
from selfdebias.jobs.stages.fitted_files import read_semantics
from selfdebias.jobs.stages.looking import read_centers
from selfdebias.jobs.stages.project import project
from selfdebias.modes import FactorialAxes
from selfdebias.modes.naming import NoVocabulary
from selfdebias.modes.placement import AxisSides, cells_of, sides_of
from selfdebias.modes.semantics import AxesSemantics
from selfdebias.storage.batches import BatchFolder
from tests.jobs.stages.world import FIT, TRAINER, PixelEncoder, run_collect, run_generate, run_project
from tests.tiny import tiny_pipeline

IMAGES = 24


class PlantedAxes(FactorialAxes):
    """Divides images in halves along given directions of their embeddings."""

    axes = 2

    def fit(self, X, y=None):
        directions = np.random.default_rng(0).standard_normal((self.axes, X.shape[1]))
        x = X @ directions.T
        self.recurrence_, self.agreement_ = np.full(self.axes, 0.9), np.full(self.axes, 0.8)
        self._place(X, (x > np.median(x, axis=0)).astype(np.int64))
        return self


class NoAxes(PlantedAxes):
    axes = 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def root(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run_collect(model, folder, n_images=IMAGES, batch_size=8)
    discover(folder / "discover", PlantedAxes(), NoVocabulary(), PixelEncoder(), folder / "collect")
    run_project(folder)
    run_generate(model, folder, "guided", TransportGuidance(0.6, 0.3))
    return folder


def test_discover_says_of_each_side_what_it_says_of_a_mode_and_of_each_image_its_cell(root):
    modes = json.loads((root / "discover" / "modes.json").read_text())
    assert modes["k"] == 4 and len(modes["axes"]) == 2 and modes["axes"][0] == {"recurrence": 0.9, "agreement": 0.8}
    assert len(modes["sizes"]) == len(modes["words"]) == len(modes["target"]) == 4 and sum(modes["sizes"]) == 2 * IMAGES
    ids, e = read_embeddings(BatchFolder.open(root / "collect"))
    places = read_centers(root / "discover")
    assert isinstance(places, AxisSides)
    sides = places.sides(e.double().numpy())
    assert [modes["labels"][str(i)] for i in ids] == cells_of(sides).tolist()
    assert [int((sides[:, a] == s).sum()) for a in (0, 1) for s in (0, 1)] == modes["sizes"]
    assert all((root / "discover" / f"mode-{side}.png").exists() for side in range(4))


def test_project_fits_a_bank_of_each_axis_and_measures_it(root):
    semantics = read_semantics(root / "project")
    assert isinstance(semantics, AxesSemantics) and len(semantics.axes) == 2
    assert all(it.bank.temperatures is not None and it.means is not None for it in semantics.axes)
    assert load_file(root / "project" / "means.safetensors")["deviations"].shape[1] == 4
    measured = json.loads((root / "project" / "project.json").read_text())
    assert len(measured["accuracy_by_axis"]) == 2
    mean = measured["accuracy_by_timestep"]["cond"]
    for t, value in mean.items():
        assert value == pytest.approx(np.mean([it["cond"][t] for it in measured["accuracy_by_axis"]]))


def test_guided_batches_keep_the_shares_of_all_sides_and_each_axis_goes_on_from_its_own(root):
    tensors = BatchFolder.open(root / "guided").tensors_of(0)
    assert tensors["p_hat"].shape[1] == 4 and not tensors["p_hat"].isnan().any()
    assert torch.allclose(tensors["p_hat"].reshape(-1, 2, 2).sum(2), torch.ones(1))
    assert (tensors["edit_norm"] > 0).any()
    assert {"axis-0/owed", "axis-1/assigned"} <= tensors.keys()


def test_one_axis_alone_and_one_that_is_not_there(model, root):
    run_generate(model, root, "one", TransportGuidance(0.6, 0.3, axes=[1], target=[0.75, 0.25]))
    p_hat = BatchFolder.open(root / "one").tensors_of(0)["p_hat"]
    assert p_hat[:, :2].isnan().all() and not p_hat[:, 2:].isnan().any()
    facts = json.loads((root / "one" / "generate.json").read_text())["guidance"]
    assert facts["axes"] == [1] and facts["target"] == [0.5, 0.5, 0.75, 0.25]
    with pytest.raises(ConfigError, match="`guidance.axes` must be among the 2 that were found, 0 to 1, got 2"):
        run_generate(model, root, "wrong", TransportGuidance(0.6, 0.3, axes=[2]))


def test_a_model_without_an_axis_has_one_mode(root, tmp_path, capsys):
    (tmp_path / "collect").symlink_to(root / "collect")
    discover(tmp_path / "discover", NoAxes(), NoVocabulary(), PixelEncoder(), tmp_path / "collect")
    modes = json.loads((tmp_path / "discover" / "modes.json").read_text())
    assert modes["k"] == 1 and "axes" not in modes and modes["sizes"] == [IMAGES]
    assert "one mode: nothing to balance" in capsys.readouterr().out


def test_sides_of_cells_are_the_sides():
    sides = np.array([[0, 1], [1, 1], [1, 0]])
    assert np.array_equal(sides_of(cells_of(sides), 2), sides)


def test_axes_are_carried_over_to_another_prompt_that_has_its_own_shares_of_their_sides(model, root, tmp_path):
    """Found on one prompt's images, placed on those of both, and cut among the other prompt's where they were found."""
    (other := tmp_path / "other").mkdir()
    run_collect(model, other, n_images=8, batch_size=8, prompts=Prompts("a doctor", ["gender"]))
    folders = {"source": root / "collect", "a doctor": other / "collect"}
    project(tmp_path / "project", root / "discover", PixelEncoder(), FIT, seed=0, trainer=TRAINER, fitted=folders)
    semantics = read_semantics(tmp_path / "project")
    assert isinstance(semantics, AxesSemantics) and len(semantics.axes) == 2
    discover_carried(tmp_path / "discover", other / "collect", root / "discover")
    modes, found = (json.loads((path / "discover" / "modes.json").read_text()) for path in (tmp_path, root))
    assert [modes[key] for key in ("axes", "words", "k")] == [found[key] for key in ("axes", "words", "k")]
    assert (
        len(modes["labels"]) == 8
        and sum(modes["sizes"]) == 16
        and set(modes) == {*found, "carried"}
        and modes["carried"]
    )
    _, e = read_embeddings(BatchFolder.open(other / "collect"))
    sides = read_centers(root / "discover").sides(e.double().numpy())
    assert [int((sides[:, a] == s).sum()) for a in (0, 1) for s in (0, 1)] == modes["sizes"]
    assert np.array_equal(read_centers(tmp_path / "discover").duals, read_centers(root / "discover").duals)
    assert all((tmp_path / "discover" / f"mode-{side}.png").exists() for side in range(4))
    run_generate(model, tmp_path, "guided", TransportGuidance(0.6, 0.3), prompts=Prompts("a doctor", ["gender"]))
    assert (BatchFolder.open(tmp_path / "guided").tensors_of(0)["edit_norm"] > 0).any()
