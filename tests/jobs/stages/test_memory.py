"""Projecting works on activations that stay on disk: the same results as in memory, which does not grow with the images."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from selfdebias.jobs.stages.collected import CollectedImages
from selfdebias.jobs.stages.discover import discover_projected
from selfdebias.jobs.stages.project import embed, project, rows
from selfdebias.modes import KMeansModes
from selfdebias.modes.means import fit_means
from selfdebias.modes.naming import NoVocabulary
from selfdebias.modes.projection import SemanticProjector
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.tensor_rows import TensorRows
from tests.jobs.stages.world import FIT, TRAINER, PixelEncoder

SHAPE = (1280 // 20, 32, 32)  # of SDXL at 1024 px, a twentieth as wide
STEPS, MODES, DIM, BATCH = 4, 2, 6, 8


def write_store(root: Path, n_images: int, shape=SHAPE) -> None:
    """What collect and discover leave of images in two modes; the images themselves are grey."""
    store, generator = BatchFolder(root / "collect", "k"), torch.Generator().manual_seed(0)
    for batch in range(n_images // BATCH):
        ids = list(range(batch * BATCH, (batch + 1) * BATCH))
        mode = torch.tensor([i % MODES for i in ids])
        e = F.normalize(torch.eye(DIM)[mode] + 0.2 * torch.randn(BATCH, DIM, generator=generator), dim=1)
        h = torch.randn(STEPS, 2, BATCH, *shape, generator=generator) + 3.0
        h[:, :, :, :2] += mode[:, None, None, None] * torch.arange(1, STEPS + 1)[:, None, None, None, None, None]
        step, branch, own = torch.meshgrid(torch.arange(STEPS), torch.arange(2), torch.tensor(ids), indexing="ij")
        shuffled = torch.randperm(step.numel(), generator=generator)  # as several processes may leave them
        tensors = {
            "h": h.flatten(0, 2).half(),
            "h_id": own,
            "h_step": step,
            "h_branch": branch,
            "h_timestep": 900.0 - 200.0 * step,
        }
        tensors = {name: (value if name == "h" else value.flatten())[shuffled] for name, value in tensors.items()}
        store.add(
            batch,
            ids,
            torch.full((BATCH, 3, 8, 8), 0.5),
            {**tensors, "e": e},
            [{"prompt": "a person", "batch": batch, "blanked": False}] * BATCH,
        )
    (root / "collect" / "collect.json").write_text(json.dumps({"branches": ["uncond", "cond"]}))
    (root / "discover").mkdir()
    modes = {"k": MODES, "labels": {str(i): i % MODES for i in range(n_images)}, "target": [0.5, 0.5], "depths": [0, 0]}
    save_file(
        {name: torch.eye(DIM)[:MODES] for name in ("centers", "offsets")}, root / "discover" / "centers.safetensors"
    )
    (root / "discover" / "modes.json").write_text(json.dumps(modes))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    write_store(folder, 32, (6, 4, 4))
    return folder


@pytest.fixture
def data(root):
    return CollectedImages([root / "collect"]).activations(torch.arange(32).numpy() % MODES)


def in_memory(data):
    return {**data, "h": data["h"][torch.arange(len(data["h"]))]}


def test_activations_stay_on_disk_in_the_order_in_which_one_process_writes_them(root, data):
    assert isinstance(data["h"], TensorRows)
    shards = [tensors for _, tensors in BatchFolder.open(root / "collect").tensors()]
    order = [torch.argsort(2 * it["h_step"] + it["h_branch"], stable=True) for it in shards]
    for name, own in (("h", "h"), ("h_id", "id"), ("h_branch", "branch"), ("h_timestep", "timestep")):
        wanted = torch.cat([it[name][place] for it, place in zip(shards, order, strict=True)])
        assert torch.equal(in_memory(data)[own], wanted)


def test_scales_are_the_means_and_deviations_of_the_channels(data):
    whole = in_memory(data)
    projector = SemanticProjector((6, 4, 4), DIM, 8, ("uncond", "cond"), whole["timestep"].unique())
    for h in (data["h"], whole["h"], whole["h"].float()):
        projector.fit_scales(h, data["timestep"], data["branch"])
        for b in range(2):
            for i, t in enumerate(projector.timesteps):
                mine = whole["h"][(data["branch"] == b) & (data["timestep"] == t)].double().transpose(0, 1).flatten(1)
                assert torch.allclose(projector.centers[b, i].double(), mine.mean(dim=1), rtol=1e-6)
                assert torch.allclose(projector.scales[b, i].double(), mine.std(dim=1, correction=0), rtol=1e-6)


def test_a_dead_channel_and_a_step_that_was_not_recorded_divide_by_nothing_small():
    h = torch.randn(50, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    h[:, 1] = 1000.0
    projector = SemanticProjector((3, 4, 4), DIM, 8, ("uncond", "cond"), torch.tensor([100.0, 200.0]))
    projector.fit_scales(h, torch.full((50,), 200.0), torch.ones(50, dtype=torch.int64))
    assert float(projector.scales[1, 1, 1]) == pytest.approx(1e-3 * 2 / 3, rel=0.1)
    assert torch.equal(projector.scales[:, 0], torch.ones(2, 3)) and not projector.centers[:, 0].any()


def test_means_are_those_of_the_modes(data):
    whole = in_memory(data)
    means = fit_means(data["h"], data["mode"], data["timestep"], MODES)
    for i, t in enumerate(means.timesteps):
        own = torch.stack(
            [whole["h"][(data["timestep"] == t) & (data["mode"] == k)].double().mean(dim=0) for k in range(MODES)]
        )
        assert torch.allclose(means.deviations[i].double(), own - own.mean(dim=0), atol=2e-3)
    again = fit_means(whole["h"], data["mode"], data["timestep"], MODES)
    assert torch.equal(again.deviations, means.deviations)


@pytest.mark.parametrize("balanced", [True, False])
def test_training_sees_the_same_rows_and_noise_as_in_memory(data, balanced):
    held_out = data["id"] % 8 == 0
    fitted = []
    for own in (data, in_memory(data)):
        fit = FIT(
            data=rows(own, ~held_out), branches=("uncond", "cond"), encoder="", seed=3, balanced=balanced, dropout=0.0
        )
        fit.log = lambda *_, **__: None
        optimizer = torch.optim.SGD(fit.projector.parameters(), 0.1)
        for step in range(5):
            optimizer.zero_grad()
            fit.training_step(None, step).backward()
            optimizer.step()
        fitted.append((fit.projector.state_dict(), embed(fit.projector.eval(), own)))
    assert all(torch.equal(value, fitted[1][0][name]) for name, value in fitted[0][0].items())
    assert torch.equal(fitted[0][1], fitted[1][1])


def test_several_folders_are_one_on_disk_as_well(root):
    images = CollectedImages([root / "collect", root / "collect"])
    data = images.activations(torch.arange(64).numpy() % MODES)
    assert isinstance(data["h"], TensorRows) and len(data["h"]) == 2 * 32 * STEPS * 2
    half = len(data["h"]) // 2
    assert torch.equal(data["h"][torch.arange(half)], data["h"][torch.arange(half, 2 * half)])
    assert sorted(data["id"].unique().tolist()) == list(range(64))


def test_each_stage_says_the_same_twice(root, tmp_path):
    for run in ("one", "two"):
        for folder, discovered in ((run, root / "discover"), (f"first-{run}", None)):
            project(
                tmp_path / folder, discovered, PixelEncoder(), FIT, seed=0, trainer=TRAINER, collected=root / "collect"
            )
    for run in ("", "first-"):
        one, two = (load_file(tmp_path / f"{run}{name}" / "projector.safetensors") for name in ("one", "two"))
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert json.loads((tmp_path / "one" / "project.json").read_text())["held_out_images"] == 4


PEAK = """
import resource, sys
from pathlib import Path
from functools import partial
from tests.jobs.stages.test_memory import STAGES
for root in sys.argv[1:]:
    for stage in STAGES:
        stage(Path(root))
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)
"""


SMALL_FIT = partial(FIT, reader="convolutional", batch_size=8, steps=4)


def _project(root: Path) -> None:
    own = root / "collect"
    project(root / "project", root / "discover", PixelEncoder(), SMALL_FIT, seed=0, trainer=TRAINER, collected=own)


def _project_bank(root: Path) -> None:
    folders = {"a person": root / "collect"}
    project(root / "bank", root / "discover", PixelEncoder(), SMALL_FIT, seed=0, trainer=TRAINER, fitted=folders)


def _project_first(root: Path) -> None:
    project(root / "first", None, PixelEncoder(), SMALL_FIT, seed=0, trainer=TRAINER, collected=root / "collect")
    clustering = KMeansModes(k_min=2, k_max=2, k=2, n_init=2, space="projected")
    discover_projected(root / "found", root / "collect", root / "first", clustering, NoVocabulary(), PixelEncoder())


STAGES = (_project, _project_bank, _project_first)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """All stages in one process: twice few images, so that all that has to be there is, then four times as many."""
    sizes = {"few": 24, "many": 96}
    for name, n in sizes.items():
        write_store(tmp_path / name, n)
    written = {
        name: sum(path.stat().st_size for path in (tmp_path / name / "collect").glob("*.safetensors")) for name in sizes
    }
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *(str(tmp_path / name) for name in ("few", "few", "many"))],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    _, few, many = (int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak"))
    grown, more = many - few, (written["many"] - written["few"]) // 2**20
    assert more > 60 and grown < 0.4 * more, f"{few} MiB, then {many} MiB, with {more} MiB more on disk"
