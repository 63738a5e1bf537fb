"""What discover writes of the modes, on embeddings whose modes are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import adjusted_rand_score

from selfdebias.jobs.stages.collected import CollectedImages
from selfdebias.jobs.stages.discover import discover
from selfdebias.metrics.features import assign_modes
from selfdebias.modes import HdbscanModes, KMeansModes, SpectralModes, TwoStageModes
from selfdebias.modes.naming import NoVocabulary
from selfdebias.report.explanations import modes_in_words
from selfdebias.storage.batches import BatchFolder
from tests.modes.blobs import blobs
from tests.modes.test_placement import crossed


def collected(folder, X, prompts=None):
    store = BatchFolder(folder, "k")
    ids = list(range(len(X)))
    records = [{"seed": i, "prompt": prompts[i] if prompts else "a person", "batch": 0, "blanked": False} for i in ids]
    store.add(0, ids, torch.zeros(len(X), 3, 4, 4), {"e": torch.from_numpy(X).float()}, records)
    return folder


def discovered(root, clustering, X, prompts=None):
    discover(root / "discover", clustering, NoVocabulary(), None, collected(root / "collect", X, prompts))
    return json.loads((root / "discover" / "modes.json").read_text())


def test_depths_and_noise_are_written(tmp_path):
    X, _ = blobs([40, 30], spread=0.3)
    modes = discovered(tmp_path, TwoStageModes(min_size=10, max_depth=1, k=2, n_neighbors=(5,)), X)
    assert modes["k"] == len(modes["depths"]) > 2 and set(modes["depths"]) == {1} and modes["noise"] == 0
    X, _ = blobs([40, 30], spread=0.05)
    modes = discovered(tmp_path / "noisy", HdbscanModes(), np.concatenate([X, -np.eye(8)[:2]]))
    assert modes["noise"] == 2 and sum(modes["sizes"]) == 72 and modes["depths"] == [0, 0]


def test_one_mode_is_said_and_has_no_silhouette(tmp_path, capsys):
    X, _ = blobs([40], spread=0.3)
    modes = discovered(tmp_path, KMeansModes(choice="stability"), X)
    assert (modes["k"], modes["target"], modes["sizes"]) == (1, [1.0], [40])
    for name in ("silhouette", "stability"):
        assert modes[name]["value"] is None and modes[name]["reason"] == "one mode: nothing to balance"
    assert capsys.readouterr().out == "discover: one mode: nothing to balance\n"
    assert (tmp_path / "discover" / "mode-0.png").exists() and not (tmp_path / "discover" / "mode-1.png").exists()
    assert load_file(tmp_path / "discover" / "centers.safetensors")["centers"].shape == (1, 8)
    assert modes_in_words({"modes": modes})[0].startswith("One mode: nothing to balance.")
    assert modes_in_words({"modes": {"k": 2}}) == []


def test_the_stability_that_chose_k_is_the_one_that_is_written(tmp_path):
    X, _ = blobs([40, 30, 30], spread=0.2)
    modes = discovered(tmp_path, KMeansModes(choice="stability"), X)
    assert modes["k"] == 3 and modes["stability"]["value"] == pytest.approx(modes["stabilities"]["3"])


def test_in_the_residual_space_the_modes_that_prompts_share_are_found(tmp_path):
    X, prompts, _, mode = crossed()
    modes = discovered(tmp_path, SpectralModes(k=2, space="residual"), X, prompts)
    found = [modes["labels"][str(i)] for i in range(len(X))]
    assert adjusted_rand_score(mode, found) > 0.95 and modes["space"] == "residual" and modes["placed"] > 0.95
    centers = load_file(tmp_path / "discover" / "centers.safetensors")["centers"].double().numpy()
    assert adjusted_rand_score(mode, assign_modes(X, centers)) > 0.9  # as evaluate places images, whatever their prompt
    labels = discovered(tmp_path / "image", SpectralModes(k=2), X, prompts)["labels"]
    assert adjusted_rand_score(mode, [labels[str(i)] for i in range(len(X))]) < 0.3


def test_images_that_a_safety_checker_blanked_take_no_part(tmp_path):
    X, _ = blobs([40, 30], spread=0.2)
    folder = collected(tmp_path / "whole", X)
    store = BatchFolder(tmp_path / "collect", "k")
    black = np.zeros((20, X.shape[1]))
    black[:, -1] = 1.0  # all of one embedding, a cluster of their own
    every, ids = np.concatenate([X[:10], black, X[10:]]), list(range(90))
    records = [{"seed": i, "prompt": "a person", "batch": 0, "blanked": 10 <= i < 30} for i in ids]
    store.add(0, ids, torch.zeros(90, 3, 4, 4), {"e": torch.from_numpy(every).float()}, records)
    for name in ("whole", "collect"):
        discover(tmp_path / f"of-{name}", KMeansModes(), NoVocabulary(), None, tmp_path / name)
    whole, shown = (json.loads((tmp_path / f"of-{it}" / "modes.json").read_text()) for it in ("whole", "collect"))
    assert folder == tmp_path / "whole" and (shown["k"], shown["sizes"]) == (2, whole["sizes"])
    assert {*shown["labels"]} == {*map(str, [*range(10), *range(30, 90)])}
    assert [shown["labels"][str(i + 20 * (i >= 10))] for i in range(70)] == [whole["labels"][str(i)] for i in range(70)]
    assert CollectedImages([tmp_path / "collect"]).images([10]).shape == (1, 3, 4, 4)


def test_black_images_alone_are_refused(tmp_path):
    store = BatchFolder(tmp_path, "k")
    store.add(
        0,
        [0],
        torch.zeros(1, 3, 4, 4),
        {"e": torch.ones(1, 2)},
        [{"seed": 0, "prompt": "", "batch": 0, "blanked": True}],
    )
    with pytest.raises(ValueError, match="got black ones alone: see model.safety_checker"):
        CollectedImages([tmp_path])
