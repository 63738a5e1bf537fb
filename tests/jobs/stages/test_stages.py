"""Collect, discover, project and generate, on real classes at tiny size."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from selfdebias.backbones import StableDiffusionBackbone
from selfdebias.config.rules import ConfigError
from selfdebias.guidance import NoGuidance, RandomGuidance, TransportGuidance
from selfdebias.jobs.stages.collect import choose_steps
from selfdebias.jobs.stages.collected import CollectedImages, read_embeddings
from selfdebias.jobs.stages.fitted_files import read_semantics
from selfdebias.jobs.stages.generate import _dependence
from selfdebias.jobs.stages.project import embed
from selfdebias.modes.projection import SemanticProjector
from selfdebias.storage.batches import BatchFolder
from tests.jobs.stages.world import (
    STEPS,
    PixelEncoder,
    backbone,
    guided,
    run_collect,
    run_discover,
    run_discover_projected,
    run_generate,
    run_project,
    run_project_first,
)
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def root(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run_collect(model, folder)
    run_discover(folder)
    run_project(folder)
    run_generate(model, folder, "vanilla", NoGuidance())
    run_generate(model, folder, "guided", guided())
    return folder


def test_activations_that_float16_cannot_hold_are_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr("selfdebias.jobs.stages.collect.stored", lambda h: (h.float() * torch.inf).half())
    with pytest.raises(ConfigError, match="`h_t` must be finite and at most 65504, .* choose other `model.blocks`"):
        run_collect(model, tmp_path)


def test_collect_records_a_stratified_subset_of_steps_for_each_image_and_branch(root):
    store = BatchFolder.open(root / "collect")
    tensors = [t for _, t in store.tensors()]
    ids, steps, branch = (torch.cat([t[name] for t in tensors]) for name in ("h_id", "h_step", "h_branch"))
    for i in range(10):
        for b in range(2):
            mine = steps[(ids == i) & (branch == b)].tolist()
            assert len(mine) == 2 and mine[0] < STEPS // 2 <= mine[1]
    assert len({tuple(steps[(ids == i) & (branch == 0)].tolist()) for i in range(10)}) > 1
    said = json.loads((root / "collect" / "collect.json").read_text())
    assert said["branches"] == ["uncond", "cond"]
    assert said["rows"] == 10 * STEPS * 2  # as the UNet saw them: both halves of classifier-free guidance


def test_choose_steps_takes_one_of_each_part():
    for seed in range(20):
        steps = sorted(choose_steps(25, 8, seed))
        assert len(steps) == 8 and 0 <= steps[0] <= 3 and 22 <= steps[-1] <= 24


def test_embeddings_are_those_of_the_images_in_id_order(root):
    store = BatchFolder.open(root / "collect")
    ids, e = read_embeddings(store)
    assert ids == list(range(10))
    assert torch.allclose(PixelEncoder()(store.images()), e, atol=0.05)  # PNG rounds to 8 bits


def test_recorded_activations_carry_their_own_images_embedding_and_mode(root):
    labels = json.loads((root / "discover" / "modes.json").read_text())["labels"]
    images = CollectedImages([root / "collect"])
    data = images.activations([labels[str(i)] for i in range(len(images))])
    _, e = read_embeddings(BatchFolder.open(root / "collect"))
    assert torch.equal(data["e"], e[data["id"]])
    assert data["mode"].tolist() == [labels[str(int(i))] for i in data["id"]]


def test_vanilla_image_k_is_the_same_in_any_batch_size(model, root):
    alone = run_generate(model, root, "vanilla", NoGuidance(), name="vanilla-1", batch_size=1)
    together = BatchFolder.open(root / "vanilla").images()
    assert torch.allclose(together, BatchFolder.open(alone).images(), atol=1.5 / 255)


def test_collect_and_generate_share_no_image_and_another_seed_gives_other_images(model, root):
    vanilla = BatchFolder.open(root / "vanilla").images()
    collected = BatchFolder.open(root / "collect").images()
    other = BatchFolder.open(run_generate(model, root, "vanilla", NoGuidance(), name="vanilla-s2", seed=2)).images()
    distance = torch.cdist(vanilla.flatten(1), torch.cat([collected, other]).flatten(1))
    assert float(distance.min()) > 0.5


def test_guidance_changes_the_images_and_strength_zero_does_not(model, root):
    vanilla, edited = (BatchFolder.open(root / arm).images() for arm in ("vanilla", "guided"))
    assert not torch.allclose(vanilla, edited, atol=2 / 255)
    nothing = BatchFolder.open(run_generate(model, root, "guided", guided(0.0), name="zero")).images()
    assert torch.equal(vanilla, nothing)


def test_the_trace_has_one_row_for_each_guided_step(model, root):
    k = json.loads((root / "discover" / "modes.json").read_text())["k"]
    for name, stop, rows in (("guided", 1.0, STEPS), ("half", 0.5, STEPS // 2)):
        folder = (
            root / name if name == "guided" else run_generate(model, root, "guided", guided(), name=name, stop=stop)
        )
        trace = load_file(folder / "batch-00000.safetensors")
        assert trace["edit_index"].tolist() == list(range(rows))
        assert trace["p_hat"].shape == (rows, k) and trace["edit_norm"].shape == (rows, 4)
        assert torch.allclose(trace["p_hat"].sum(dim=1), torch.ones(rows), atol=1e-5)
        assert float(trace["edit_norm"].max()) > 0


def test_the_random_control_replays_the_sizes_of_the_guided_arm(model, root):
    folder = run_generate(model, root, "random", RandomGuidance(), replayed=root / "guided")
    for batch in range(2):
        wanted, got = (
            load_file(root / arm / f"batch-{batch:05d}.safetensors")["edit_norm"] for arm in ("guided", "random")
        )
        assert torch.allclose(wanted, got, rtol=1e-3, atol=1e-6)
    assert not torch.equal(BatchFolder.open(folder).images(), BatchFolder.open(root / "guided").images())


class Stops(type(backbone(Path()))):
    """Is killed at its third batch."""

    calls = 0

    def generate(self, *args):
        self.calls += 1
        if self.calls > 2:
            raise KeyboardInterrupt
        return super().generate(*args)


def stopped_and_whole(model, root, guidance, name, **options):
    """Both folders of an arm that was stopped and went on, and of one that was not."""
    whole = run_generate(model, root, "guided", guidance, name=f"whole-{name}", **options)
    options["name"] = f"stopped-{name}"
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run_generate(model, root, "guided", guidance, backbone=Stops(str(model), STEPS, 3.0), **options)
    assert len(BatchFolder.open(root / options["name"]).ids()) == 2 * options["batch_size"]
    return BatchFolder.open(run_generate(model, root, "guided", guidance, **options)), BatchFolder.open(whole)


def test_a_stopped_arm_goes_on_with_its_memory_and_ends_with_the_same_images(model, root):
    second, first = stopped_and_whole(model, root, guided(decay=0.9), "memory", n_images=6, batch_size=2)
    assert second.ids() == list(range(6))
    assert torch.equal(first.images(), second.images())
    memories = [load_file(folder.path / "batch-00002.safetensors")["memory"] for folder in (first, second)]
    assert torch.equal(*memories) and float(memories[0][:, -1].min()) > 2  # more than one batch is remembered


def test_the_time_of_an_image_is_without_that_of_loading(model, root, monkeypatch):
    load = StableDiffusionBackbone.load

    def slow(self):
        time.sleep(3.0)
        return load(self)

    monkeypatch.setattr(StableDiffusionBackbone, "load", slow)
    folder = run_generate(model, root, "vanilla", NoGuidance(), name="slow", n_images=1)
    found = json.loads((folder / "generate.json").read_text())
    assert found["timed_images"] == 1 and found["seconds_per_image"] < 2.5


def test_the_images_of_a_damaged_batch_are_drawn_anew_and_timed(model, root):
    folder = run_generate(model, root, "vanilla", NoGuidance(), name="damaged", batch_size=4)
    first = json.loads((folder / "generate.json").read_text())
    picture = next(folder.glob("images/*.png"))
    picture.write_bytes(picture.read_bytes()[:40])
    run_generate(model, root, "vanilla", NoGuidance(), name="damaged", batch_size=4)
    again = json.loads((folder / "generate.json").read_text())
    assert first["timed_images"] == len(BatchFolder.open(folder).ids()) > 4 == again["timed_images"]
    assert again["seconds_per_image"] > 0 and again["rows_per_image"] == first["rows_per_image"]


def transport(strength: float = 3.0, **options) -> TransportGuidance:
    return TransportGuidance(strength, 0.1, settled=1.0, **options)


def test_a_stopped_transport_goes_on_with_what_was_owed(model, root):
    second, first = stopped_and_whole(model, root, transport(), "transport", n_images=5, batch_size=1)
    assert torch.equal(first.images(), second.images())
    kept = [[tensors for _, tensors in folder.tensors()] for folder in (first, second)]
    assert [one["owed"].tolist() for one in kept[0]] == [one["owed"].tolist() for one in kept[1]]
    given = torch.cat([one["assigned"] for one in kept[1]])
    counts = torch.bincount(given, minlength=len(kept[0][0]["owed"]))
    assert (counts - 5 / len(counts)).abs().max() < 1


def test_a_models_negative_prompt_leaves_what_is_owed_under_the_prompt(model, root):
    """Each batch is an attachment of its own, and goes on from what the one before it wrote."""
    asked = StableDiffusionBackbone(str(model), steps=STEPS, guidance_scale=3.0, negative_prompt="bad")
    folder = run_generate(model, root, "guided", transport(), name="negative", n_images=5, batch_size=1, backbone=asked)
    kept = [tensors for _, tensors in BatchFolder.open(folder).tensors()]
    counts = torch.bincount(torch.cat([one["assigned"] for one in kept]), minlength=len(kept[0]["owed"]))
    assert (counts - 5 / len(counts)).abs().max() < 1
    assert torch.allclose(kept[-1]["owed"], 5 / len(counts) - counts.double(), atol=1e-6)


@pytest.mark.parametrize(
    ("target", "size", "wanted"), [([0.5, 0.5], 2, "batch"), ([0.6, 0.4], 2, "run"), ([0.6, 0.4], 4, "batch")]
)
def test_batches_depend_on_each_other_where_rounding_leaves_something_owed(model, root, target, size, wanted):
    k = json.loads((root / "discover" / "modes.json").read_text())["k"]
    guidance = transport(target=[*target, *[0.0] * (k - 2)])
    folder = run_generate(model, root, "guided", guidance, name=f"owed-{wanted}-{size}", n_images=4, batch_size=size)
    facts = json.loads((folder / "generate.json").read_text())
    assert facts["dependence"] == wanted
    assert facts["guidance"]["target"] == pytest.approx(guidance.target)


@pytest.mark.parametrize(("left", "wanted"), [(0.4, "run"), (0.0, "batch")])
def test_what_one_of_several_axes_is_owed_makes_batches_depend_on_each_other(left, wanted):
    none, some = torch.zeros(2), torch.tensor([left, -left])
    batches = [{"axis-0/owed": none, "axis-1/owed": own, "e": none} for own in (some, some + 1)]
    assert _dependence(transport(), None, batches) == wanted


class Overflowing(type(guided())):
    """Has no finite gradient anywhere."""

    def pi(self, state):
        return super().pi(state) * float("nan")


def test_edits_that_are_not_finite_are_left_out_and_counted(model, root):
    folder = run_generate(model, root, "guided", Overflowing(0.6, 0.1), name="overflowing")
    assert json.loads((folder / "generate.json").read_text())["skipped_edits"] == 2 * STEPS
    assert torch.equal(BatchFolder.open(folder).images(), BatchFolder.open(root / "vanilla").images())


def test_discover_numbers_modes_by_size_and_leaves_a_sheet_of_each(root):
    modes = json.loads((root / "discover" / "modes.json").read_text())
    assert modes["sizes"] == sorted(modes["sizes"], reverse=True) and sum(modes["sizes"]) == 10
    assert len(list((root / "discover").glob("mode-*.png"))) == modes["k"]
    centers = load_file(root / "discover" / "centers.safetensors")["centers"]
    assert torch.allclose(centers.norm(dim=1), torch.ones(modes["k"]), atol=1e-5)


def test_modes_of_projected_vectors_come_after_the_projector_and_guide(model, tmp_path):
    """All steps are recorded here, so that each timestep is seen of each image."""
    run_collect(model, tmp_path, timesteps=STEPS)
    run_project_first(tmp_path)
    run_discover_projected(tmp_path)
    modes = json.loads((tmp_path / "discover" / "modes.json").read_text())
    assert modes["space"] == "projected" and sum(modes["sizes"]) == 10
    assert modes["sizes"] == sorted(modes["sizes"], reverse=True)
    semantics = read_semantics(tmp_path / "project", tmp_path / "discover")
    bank = semantics.bank
    assert bank.timesteps.tolist() == modes["timesteps"]["clustered"] and len(bank.timesteps) == STEPS
    assert not (tmp_path / "project" / "bank.safetensors").exists() and bank.depths.tolist() == modes["depths"]
    data = CollectedImages([tmp_path / "collect"]).activations([modes["labels"][str(i)] for i in range(10)])
    last = (data["timestep"] == modes["timesteps"]["reference"]) & (data["branch"] == 1)
    z = embed(semantics.projector, data)
    for k in range(modes["k"]):
        mean = z[last & (data["mode"] == k)].mean(dim=0)
        assert torch.allclose(bank.at(modes["timesteps"]["reference"], "cond")[k], mean / mean.norm(), atol=1e-5)
    folder = run_generate(model, tmp_path, "guided", guided(), discovered=tmp_path / "discover")
    assert float(load_file(folder / "batch-00000.safetensors")["edit_norm"].max()) > 0


def test_projector_and_bank_fit_each_other_and_are_reproducible(model, root, tmp_path):
    semantics = read_semantics(root / "project")
    assert isinstance(semantics.projector, SemanticProjector)
    for name in ("collect", "discover"):
        (tmp_path / name).symlink_to(root / name)
    run_project(tmp_path)
    for name in ("projector.safetensors", "bank.safetensors", "means.safetensors"):
        first, second = load_file(root / "project" / name), load_file(tmp_path / "project" / name)
        assert all(torch.equal(first[key], second[key]) for key in first)
