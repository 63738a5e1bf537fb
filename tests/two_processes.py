"""What each of two real processes does in `tests/jobs/test_distributed.py`; a module of its own, which they import."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.distributed import TCPStore

from selfdebias.config.compose import load
from selfdebias.config.targets import make
from selfdebias.guidance import GuidanceState, SelfDebiasGuidance
from selfdebias.guidance.collective import Collective
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.jobs.processes import SeveralProcesses
from selfdebias.jobs.stages.fitted_files import read_semantics
from selfdebias.jobs.stages.generate import ArmSampler
from selfdebias.storage.batches import BatchFolder

N_IMAGES, BATCH_SIZE, STEPS = 33, 32, 5  # so that the last batch has an image for one process alone


def exercise(collective: Collective) -> dict[str, object]:
    """Every call of a collective, with uneven and with no rows."""
    part, rows = collective.part, torch.arange(3.0)[: 3 * collective.part, None] + 10
    everyone, own = collective.gather(rows)
    found = {
        "everyone": everyone.flatten().tolist(),
        "own": torch.equal(everyone[own], rows),
        "sum": collective.sum(torch.tensor([1.0, float(part)], dtype=torch.float64)).tolist(),
        "any": [collective.any(part == 1), collective.any(False)],
        "share": collective.share([5, 6, 7]),
        "first": [(team.among, team.share([8])) for team in (collective.first(1), collective.first(9))],
    }
    first = collective.first(1)
    if part == 0:
        found["first alone"] = [*first.gather(rows + part)[0].flatten().tolist(), first.any(True)]
    collective.wait()
    return found


class Recorded(ArmSampler):
    """Also keeps images as they are before they are rounded to 8 bits."""

    def keep(self, batch, ids, images, tensors, along):
        super().keep(batch, ids, images, tensors, along)
        torch.save(dict(zip(ids, images, strict=True)), self.folder.path / f"floats-{batch}-{self.team.part}.pt")


def draw(folder: Path, project: Path, collective: Collective) -> None:
    """Draw guided images of the shipped model, under a memory that goes from batch to batch."""
    config = load([f"model.steps={STEPS}", "guidance=self_debias", "guidance.decay=0.9"])
    guidance, backbone = make(config, "guidance"), make(config, "model")
    assert isinstance(guidance, SelfDebiasGuidance)
    state, store = GuidanceState(read_semantics(project)), BatchFolder(folder, "key", collective.part)
    prompts = ["an emoji of a person"] * N_IMAGES
    sampler = Recorded(
        guidance, GuidanceWindow(), state, None, store, backbone, prompts, BATCH_SIZE, "generate", 1, collective
    )
    sampler.pipeline = backbone.load()
    for batch in range(len(sampler.batches)):
        sampler.predict_step(batch, batch)
    sampler._merge()


def work(part: int, port: int, folder: str, project: str) -> None:
    """One of the two processes."""
    torch.set_num_threads(1)
    store = TCPStore("127.0.0.1", port, 2, is_master=part == 0)
    processes = SeveralProcesses(store, part, 2)
    for time in range(2):  # a second group over the same store
        with processes.together() as collective:
            torch.save(exercise(collective), Path(folder) / f"exercise-{time}-{part}.pt")
    with processes.together() as collective:
        draw(Path(folder) / "images", Path(project), collective)
