"""Two processes that are really started, on the shipped model, against one that draws everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch.multiprocessing import start_processes

from selfdebias.guidance.collective import ALONE
from selfdebias.main import main
from selfdebias.storage.batches import BatchFolder
from tests.two_processes import BATCH_SIZE, N_IMAGES, STEPS, draw, work

pytestmark = pytest.mark.slow  # a whole job in two processes is in `tests/jobs/test_processes.py`

FIT = [
    "collect.n_images=32", "collect.batch_size=16", "collect.timesteps=4", f"model.steps={STEPS}", "projector.steps=40",
    "clustering=spectral", "clustering.k_max=4", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "logger=none",
    "stages=[collect,discover,project]",
    "projector.noise=0.3",  # what 40 steps on 32 images can learn through
]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folder of two processes, and that of one."""
    root = tmp_path_factory.mktemp("two")
    assert main([*FIT, f"paths.root={root / 'runs'}"]) == 0
    (project,) = (path.parent for path in (root / "runs").glob("stages/project/*/stage.json"))
    arguments = (find_free_network_port(), str(root), str(project))
    start_processes(work, arguments, nprocs=2, start_method="spawn")
    draw(root / "one", project, ALONE)
    return root, root / "images", root / "one"


def floats(folder: Path) -> torch.Tensor:
    found: dict[int, torch.Tensor] = {}
    for path in folder.glob("floats-*.pt"):
        found |= torch.load(path, weights_only=True)
    assert sorted(found) == list(range(N_IMAGES))
    return torch.stack([found[i] for i in range(N_IMAGES)])


def test_two_processes_with_16_images_each_give_what_one_with_32_gives(folders):
    _, two, one = folders
    assert float((floats(two) - floats(one)).abs().max()) < 1e-3


def test_no_id_is_lost_or_doubled_and_the_folder_is_that_of_one_process(folders):
    _, two, one = folders
    both, alone = BatchFolder.open(two), BatchFolder.open(one)
    assert both.ids() == list(range(N_IMAGES)) and both.records() == alone.records() and both.finished == {0, 1}
    assert float((both.images() - alone.images()).abs().max()) < 1.5 / 255  # rounded to 8 bits, some another way
    assert [path.name for path in two.glob("manifest-*.jsonl")] == ["manifest-0.jsonl"]
    parts = [line["ids"] for line in map(json.loads, (two / "manifest-0.jsonl").read_text().splitlines())]
    assert parts == [list(range(16)), list(range(16, BATCH_SIZE)), [32]]  # 16 each; the last batch is of one process


def test_traces_and_memory_are_those_of_the_whole_batch(folders):
    _, two, one = folders
    for batch in (0, 1):
        both, alone = (BatchFolder.open(folder).tensors_of(batch) for folder in (two, one))
        assert both.keys() == alone.keys() and len(alone["edit_index"]) == STEPS
        for name, values in alone.items():
            assert torch.allclose(both[name].double(), values.double(), atol=1e-3), name
        assert float(alone["edit_norm"].max()) > 0.1  # there is something to compare
    assert float(alone["memory"][:, -1].min()) == pytest.approx(0.9 * (0.9 * BATCH_SIZE + 1))  # of both batches


@pytest.mark.parametrize("time", [0, 1])
def test_every_call_of_a_collective(folders, time):
    root = folders[0]
    first, second = (torch.load(root / f"exercise-{time}-{part}.pt", weights_only=True) for part in (0, 1))
    for found in (first, second):
        assert found["everyone"] == [10.0, 11.0, 12.0] and found["own"]  # all three are of the second process
        assert found["sum"] == [2.0, 1.0] and found["any"] == [True, False]
    assert (first["share"], second["share"]) == ([5, 6], [7])
    assert (first["first"], second["first"]) == ([(1, [8]), (2, [8])], [(1, []), (2, [])])
    assert first["first alone"] == [True]
