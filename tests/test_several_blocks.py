"""A transformer whose stream is read and edited after several blocks, with a projector for each."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from selfdebias import SelfDebias
from selfdebias.config import compose as config
from selfdebias.config.rules import ConfigError
from selfdebias.guidance import GuidanceState, SelfDebiasGuidance, TransportGuidance
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.selection import wanting
from selfdebias.jobs.stages.fitted_files import read_semantics
from selfdebias.modes import SpectralModes
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.semantics import Semantics
from selfdebias.storage.batches import BatchFolder
from tests.architectures import save_clip, save_model
from tests.jobs.stages.world import PixelEncoder
from tests.test_models import ON_CPU, SMALL, run, with_encoders
from tests.transformers import CALLS, LAYERS, MAKERS

BLOCKS, STEPS = [0, 2], 3
CALL = {**CALLS["sd3"], "num_inference_steps": STEPS}
ALL = GuidanceWindow(0.0, 1.0)
PUSH = SelfDebiasGuidance(strength=2.0, temperature=0.05, kappa=1e-6)


@pytest.fixture(scope="module")
def pipeline():
    return MAKERS["sd3"]()


def fit(pipeline, folder=None, blocks=BLOCKS):
    return SelfDebias.fit(
        pipeline, "a person", encoder=PixelEncoder(), n_images=8, batch_size=4, timesteps=2, call=CALL, folder=folder,
        clustering=SpectralModes(k_min=2, k_max=3, n_neighbors=(3,)), guidance=PUSH, schedule=ALL, blocks=blocks,
        projector={"steps": 40, "hidden": 32, "batch_size": 16},
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    return fit(pipeline, folder), folder


def draw(pipeline, images=3):
    seeds = SelfDebias.generators(range(images))
    return pipeline(prompt=["a person"] * images, generator=seeds, output_type="np", **CALL).images


def test_each_block_has_a_projector_and_an_edit_of_its_own(pipeline, fitted):
    debiaser, _ = fitted
    before, sites = draw(pipeline), debiaser.semantics.sites
    assert sorted(sites) == BLOCKS and all(own.projector.block == block for block, own in sites.items())
    first, second = (sites[block].projector.state_dict() for block in BLOCKS)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    with debiaser.attach(pipeline) as it:
        inside, trace = draw(pipeline), it.state.trace
    assert trace.index == list(range(STEPS * len(BLOCKS))) and trace.skipped == 0
    assert all(float(norms.max()) > 0.01 for norms in trace.edit_norm) and np.abs(inside - before).max() > 1e-4
    assert np.array_equal(before, draw(pipeline))


def test_each_edit_has_its_part_of_the_strength(pipeline, fitted):
    """Of the first block, where nothing was edited before: half of what it is where it is the only one."""
    debiaser, _ = fitted
    own = debiaser.semantics.sites[BLOCKS[0]]
    alone = type(own)(own.projector, own.bank, own.means)
    sizes = []
    for semantics in (debiaser.semantics, alone):
        rule = TransportGuidance(strength=0.1, temperature=0.05, settled=1.0)
        with Attachment(pipeline, rule, ALL, GuidanceState(semantics)) as attached:
            draw(pipeline)
        sizes.append(attached.state.trace.edit_norm[0])
    moved = sizes[1] > 0
    assert moved.any() and torch.allclose(sizes[0][moved], sizes[1][moved] / len(BLOCKS), rtol=1e-3)


def test_the_block_whose_projector_tells_modes_best_stands_for_all(fitted):
    debiaser, folder = fitted
    (stage,) = (folder / "stages" / "project").glob("*/")
    said = json.loads((stage / "project.json").read_text())
    means = {block: np.mean([*it["cond"].values()]) for block, it in said["accuracy_by_block"].items()}
    assert sorted(means) == ["0", "2"] and means[str(said["block"])] == max(means.values())
    assert debiaser.semantics.projector.block == said["block"]
    for block, it in said["accuracy_by_block"].items():
        alone = json.loads((stage / f"block-{block}" / "project.json").read_text())
        assert alone["accuracy_by_timestep"] == it


def test_saved_and_read_again_it_draws_the_same(pipeline, fitted, tmp_path):
    debiaser, _ = fitted
    debiaser.save_pretrained(tmp_path / "saved")
    again = SelfDebias.from_pretrained(tmp_path / "saved")
    assert sorted(again.semantics.sites) == BLOCKS
    images = []
    for it in (debiaser, again):
        with it.attach(pipeline):
            images.append(draw(pipeline))
    assert np.array_equal(*images)
    (other,) = debiaser.semantics.elsewhere
    assert [path.name for path in (tmp_path / "saved").glob("block-*")] == [f"block-{other}"]
    shutil.rmtree(tmp_path / "saved" / f"block-{other}")
    with pytest.raises(FileNotFoundError, match=f"must hold block-{other}/bank.safetensors"):
        SelfDebias.from_pretrained(tmp_path / "saved")


def test_a_file_of_a_block_that_is_another_one_is_refused(fitted, tmp_path):
    fitted[0].save_pretrained(tmp_path)
    (folder,) = tmp_path.glob("block-*")
    shutil.copy(tmp_path / "projector.safetensors", folder / "projector.safetensors")
    with pytest.raises(ValueError, match="must be the file that was saved"):
        SelfDebias.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"{folder.name}` must hold block {folder.name[6:]}, .* got block"):
        read_semantics(tmp_path)


def test_a_folder_of_a_unet_beside_which_a_block_lies_is_refused(fitted, tmp_path):
    fitted[0].save_pretrained(tmp_path)
    (folder,) = tmp_path.glob("block-*")
    projector = SemanticProjector.load(tmp_path / "projector.safetensors")
    projector.block = projector.design["block"] = None
    projector.save(tmp_path / "projector.safetensors")
    with pytest.raises(ValueError, match=f"must hold no {folder.name}, as its projector reads a UNet"):
        read_semantics(tmp_path)


def test_the_modes_of_a_prompt_are_asked_for_after_each_block(fitted):
    """Of banks with an origin for each prompt, as `bank=carried` fits them."""

    def with_origins(it):
        branches, t, _, d = it.bank.centroids.shape
        origins = torch.arange(2.0)[:, None, None, None].expand(2, branches, t, d).clone()
        return Semantics(it.projector, replace(it.bank, origins=origins, prompts=("a doctor", "a pilot")), it.means)

    both, *others = (with_origins(it) for it in fitted[0].semantics.sites.values())
    both.elsewhere = {it.projector.block: it for it in others}
    own = both.of_prompt("a pilot")
    assert sorted(own.sites) == BLOCKS
    assert all(it.bank.origins.unique().tolist() == [1.0] for it in own.sites.values())


def test_blocks_of_an_earlier_debiaser_are_removed_from_a_folder(pipeline, fitted, tmp_path):
    fitted[0].save_pretrained(tmp_path)
    fit(pipeline, blocks=[1]).save_pretrained(tmp_path)
    assert not [*tmp_path.glob("block-*")] and SelfDebias.from_pretrained(tmp_path).semantics.sites == {}


def test_the_best_block_gives_images_their_modes(pipeline, fitted):
    """Edits after the other one go to the same modes, whatever its projector tells."""
    debiaser, _ = fitted
    seen, rule = [], TransportGuidance(strength=0.1, temperature=0.05, freeze=1.0)
    state = GuidanceState(debiaser.semantics)
    choose = rule.modes
    rule.modes = lambda p, step, state: (
        seen.append((step.block, choose(p, step, state)[0].tolist())) or choose(p, step, state)
    )
    with Attachment(pipeline, rule, ALL, state) as attached:
        draw(pipeline, 8)
    assert len(seen) == STEPS * len(BLOCKS)
    best, first = state.best, seen[0][1]
    expected = first  # a block before the best one has nothing to go by but its own projector
    for block, modes in seen:
        expected = modes if block == best else expected
        assert modes == expected
    told = [it for it, block in zip(state.trace.p_hat, state.trace.block, strict=True) if block == best]
    assert torch.allclose(attached.shares["a person"], told[-1])


def test_other_shares_are_asked_for_after_each_block(fitted):
    both = fitted[0].semantics
    k = len(both.bank.target)
    shares = torch.arange(1, k + 1) / sum(range(1, k + 1))
    other = wanting(both, [shares], [0])
    assert sorted(other.sites) == BLOCKS
    assert all(torch.allclose(it.bank.target, shares) for it in other.sites.values())


def test_select_goes_on_with_the_seeds_that_the_best_block_tells_of(pipeline, fitted):
    with fitted[0].attach(pipeline, guidance="select", at=0.4) as selecting:
        images = draw(pipeline, 8)
    assert len(images) == 8 and len(selecting.seeds) == 8


@pytest.mark.parametrize("blocks", [4, [], [1.0], "12", [2, 0]])
def test_what_is_no_list_of_blocks_is_refused(pipeline, blocks):
    with pytest.raises(ValueError, match="`blocks` must be null or a list of whole numbers from 0, the smallest"):
        fit(pipeline, blocks=blocks)


def test_blocks_that_are_not_there_are_refused_before_an_image_is_drawn(pipeline):
    with pytest.raises(ValueError, match=f"`blocks` must be from 0 to {LAYERS - 1} for this transformer, got 9"):
        fit(pipeline, blocks=[0, 9])


@pytest.mark.parametrize("value", ["[]", "[1,1]", "[-1]", "1", "[2,0]"])
def test_values_that_are_no_list_of_blocks_are_refused(value):
    with pytest.raises(ConfigError, match="`model.blocks` must be null or a list of whole numbers from 0"):
        config.load(["model=sd3_medium", f"model.blocks={value}"])


def test_modes_among_projected_vectors_have_one_block():
    words = ["model=sd3_medium", "clustering=spectral", "clustering.space=projected", "projector.balanced=false"]
    with pytest.raises(ConfigError, match="`model.blocks` must be null or one block where `clustering.space`"):
        config.load([*words, "model.blocks=[0,1]"])


@pytest.mark.slow
def test_all_stages_run_and_a_control_edits_after_the_same_blocks(tmp_path):
    encoders = [save_clip(tmp_path / f"clip{seed}", seed) for seed in (0, 1)]
    folder = save_model("sd3_medium", tmp_path / "model")
    more = [*ON_CPU, *with_encoders(encoders), *SMALL, "guidance=random", "guidance.of.strength=8"]
    job = run(tmp_path, ["model=sd3_medium", f"model.pretrained={folder}", "model.blocks=[0,1]", *more])
    assert sorted(SelfDebias.from_pretrained(job).semantics.sites) == [0, 1]
    stages = json.loads((job / "job.json").read_text())["stages"]
    sizes = []
    for arm in ("guided", "random"):
        store = BatchFolder.open(tmp_path / "runs" / stages[f"generate/{arm}"])
        tensors = [it for _, it in store.tensors()]
        assert all(it["edit_index"].tolist() == [2, 3, 4, 5] for it in tensors)  # from the second of 3 steps on
        sizes.append(torch.cat([it["edit_norm"] for it in tensors], dim=1))
    assert sizes[0].max() > 0.01 and torch.allclose(*sizes, rtol=0.05, atol=1e-3)
    assert re.search(
        r"mean of all steps:\s+block 0 [01]\.\d\d, block 1 [01]\.\d\d\.", (job / "report.html").read_text()
    )
