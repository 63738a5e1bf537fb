"""Several templates of one prompt: no guided batch spans two of them, and a killed arm goes on as if it had not been."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from selfdebias.config.prompts import Prompts
from selfdebias.guidance import NoGuidance, RandomGuidance
from selfdebias.storage.batches import BatchFolder
from tests.jobs.stages.world import STEPS, backbone, guided, run_collect, run_discover, run_generate, run_project
from tests.tiny import tiny_pipeline

TWO = Prompts("a person", ["gender"], ["Image of {}", "Photo of {}"])
DECAY = 0.9
OPTIONS = {"prompts": TWO, "n_images": 9, "batch_size": 2}  # 5 and 4 images: batches of 2 + 2 + 1 and 2 + 2


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def root(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run_collect(model, folder, prompts=TWO)
    run_discover(folder)
    run_project(folder)
    run_generate(model, folder, "guided", guided(decay=DECAY), name="whole", **OPTIONS)
    return folder


def test_collect_takes_all_templates(root):
    prompts = [record["prompt"] for record in BatchFolder.open(root / "collect").records()]
    assert prompts == ["Image of a person"] * 5 + ["Photo of a person"] * 5


def test_no_guided_batch_spans_two_prompts(root):
    records = BatchFolder.open(root / "whole").records()
    assert [record["prompt"] for record in records] == ["Image of a person"] * 5 + ["Photo of a person"] * 4
    assert [record["batch"] for record in records] == [0, 0, 1, 1, 2, 3, 3, 4, 4]


def test_memory_is_of_one_prompt(root):
    counts = [load_file(root / "whole" / f"batch-{batch:05d}.safetensors")["memory"][:, -1] for batch in range(5)]
    expected = []
    for sizes in ([2, 2, 1], [2, 2]):
        memory = 0.0
        for size in sizes:
            memory = DECAY * (memory + size)
            expected.append(memory)
    assert [float(count[0]) for count in counts] == pytest.approx(expected)
    assert all(bool((count == count[0]).all()) for count in counts)


def test_an_image_does_not_depend_on_the_other_template(model, root):
    """The same ids with nothing before them: the second template's images are those of a job that has it alone."""
    alone = Prompts("a person", ["gender"], ["Drawing of {}", "Photo of {}"])
    folder = run_generate(model, root, "guided", guided(decay=DECAY), name="other", **{**OPTIONS, "prompts": alone})
    first, second = BatchFolder.open(root / "whole").images(), BatchFolder.open(folder).images()
    assert torch.equal(first[5:], second[5:]) and not torch.equal(first[:5], second[:5])


@pytest.mark.reliability
@pytest.mark.parametrize("finished", range(1, 5))
def test_an_arm_stopped_between_any_two_batches_ends_with_the_same_images(model, root, finished):
    class Stops(type(backbone(model))):
        calls = 0

        def generate(self, *args):
            self.calls += 1
            if self.calls > finished:
                raise KeyboardInterrupt
            return super().generate(*args)

    options = {"name": f"stopped-{finished}", **OPTIONS}
    stopping = Stops(str(model), STEPS, 3.0)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run_generate(model, root, "guided", guided(decay=DECAY), backbone=stopping, **options)
    stopped = root / options["name"]
    assert len(list(stopped.glob("batch-*.safetensors"))) == finished
    run_generate(model, root, "guided", guided(decay=DECAY), **options)
    assert torch.equal(BatchFolder.open(root / "whole").images(), BatchFolder.open(stopped).images())
    for batch in range(5):
        memories = [
            load_file(folder / f"batch-{batch:05d}.safetensors")["memory"] for folder in (root / "whole", stopped)
        ]
        assert torch.equal(*memories)


def test_the_random_control_replays_each_batch(model, root):
    folder = run_generate(model, root, "random", RandomGuidance(), name="random", replayed=root / "whole", **OPTIONS)
    for batch in range(5):
        wanted, got = (
            load_file(path / f"batch-{batch:05d}.safetensors")["edit_norm"] for path in (root / "whole", folder)
        )
        assert torch.allclose(wanted, got, rtol=1e-3, atol=1e-6)


def test_vanilla_images_are_those_of_the_single_prompts(model, root):
    both = BatchFolder.open(run_generate(model, root, "vanilla", NoGuidance(), name="both", **OPTIONS)).images()
    photo = {**OPTIONS, "prompts": Prompts("Photo of a person", ["gender"])}
    single = BatchFolder.open(run_generate(model, root, "vanilla", NoGuidance(), name="photo", **photo)).images()
    assert torch.allclose(both[5:], single[5:], atol=1.5 / 255)
