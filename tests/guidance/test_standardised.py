"""Edits in standardised coordinates: sizes, what a layer norm does not see, and a debiaser on a transformer."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from selfdebias import SelfDebias
from selfdebias.backbones.calling import Step
from selfdebias.guidance import DcGuidance, GuidanceState, RandomGuidance, Select, TransportGuidance
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.baselines import ReplayedSizes
from selfdebias.guidance.over_axes import edit_all
from selfdebias.guidance.selecting import Selecting
from selfdebias.guidance.standardised import edit_standardised
from selfdebias.jobs.parts import default
from selfdebias.modes import ModeBank
from selfdebias.modes.bank import AxesBank
from selfdebias.modes.classifier import ActivationClassifier
from selfdebias.modes.means import ModeMeans
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.readers import PLACES, stored
from selfdebias.modes.semantics import AxesSemantics, of_standardised, on_device
from tests.transformers import CALLS, MAKERS, sample

BRANCHES = ("uncond", "cond")
STEP = Step(500.0, 0, 1, BRANCHES, 3.0)


def projector(shape=(6, 4, 4), **options) -> SemanticProjector:
    torch.manual_seed(0)
    phi = SemanticProjector(shape, 5, 8, BRANCHES, torch.tensor([500.0]), reader="pooled", **options)
    phi.centers[:] = torch.randn(2, 1, shape[0])
    phi.scales[:] = torch.rand(2, 1, shape[0]) + 0.5
    phi.scales[:, :, 0] = 1000.0  # one channel is far larger than the others
    return phi.eval()


def activations(phi: SemanticProjector) -> torch.Tensor:
    center, scale = phi.moments(torch.full((4,), 500.0), torch.tensor([0, 0, 1, 1]))
    return center + scale * torch.randn(4, *phi.shape, generator=torch.Generator().manual_seed(1))


def test_an_edit_has_its_size_in_standardised_coordinates():
    phi, seen = projector(), []
    h = activations(phi)

    def double(x):
        seen.append(x)
        return x + torch.where(torch.arange(4)[:, None, None, None] == 3, x, 0.0)

    edited = edit_standardised(phi, h, STEP, double)
    assert torch.allclose(seen[0], phi.standardise(h, torch.full((4,), 500.0), torch.tensor([0, 0, 1, 1])), atol=1e-4)
    assert torch.equal(edited[:3], h[:3])
    change = edited[3] - h[3]
    center, _ = phi.moments(torch.full((4,), 500.0), torch.tensor([0, 0, 1, 1]))
    wanted = h[3] - center[3]
    assert torch.allclose(change, wanted - wanted.mean(dim=0), atol=1e-3)
    assert torch.allclose(change.mean(dim=0), torch.zeros(4, 4), atol=1e-3)


def test_a_projector_is_copied_to_another_device_and_stays_where_it_is():
    phi = projector()
    plain = of_standardised(phi)
    there = on_device(phi, torch.device("meta"))
    assert {it.device.type for it in (*phi.parameters(), *phi.buffers(), *plain.buffers())} == {"cpu"}
    assert {it.device.type for it in (*there.parameters(), *there.buffers())} == {"meta"}
    assert on_device(phi, torch.device("meta")) is there and on_device(phi, torch.device("cpu")) is phi
    assert on_device(plain, torch.device("meta")) is not there and of_standardised(phi) is plain
    assert phi.standardised and there.standardised and not plain.standardised


def test_rows_that_stand_twice_have_the_moments_of_the_one_branch_that_was_fitted():
    phi = SemanticProjector((6, 4, 4), 5, 8, ("cond",), torch.tensor([500.0]), reader="pooled")
    phi.centers[:] = 3.0
    h = torch.randn(4, 6, 4, 4, generator=torch.Generator().manual_seed(1))
    seen = []
    edit_standardised(phi, h, STEP, lambda x: seen.append(x) or x)
    assert torch.allclose(seen[0], h - 3.0, atol=1e-6)


def test_an_edit_that_changes_nothing_returns_the_activation_itself():
    phi = projector()
    h = activations(phi)
    assert edit_standardised(phi, h, STEP, lambda x: x) is h


def test_the_same_for_all_channels_is_left_out_as_a_layer_norm_does_not_see_it():
    phi = projector()
    phi.scales[:] = 1.0
    h = activations(phi)
    assert torch.allclose(edit_standardised(phi, h, STEP, lambda x: x + 7.0), h, atol=1e-4)


def test_a_classifier_says_of_standardised_activations_what_it_says_of_those_themselves():
    phi = projector()
    phi.scales[:, :, 0] = 2.0
    timesteps = torch.tensor([500.0, 900.0])
    classifier = ActivationClassifier(timesteps, torch.randn(2, 2, 3, *phi.shape), torch.randn(2, 2, 3))
    over, h = classifier.over(phi), activations(phi)
    for branch in (0, 1):
        own = torch.full((4,), branch)
        x = phi.standardise(h, torch.full((4,), 500.0), own)
        for timestep in timesteps.tolist():  # the moments are those of 500, the only timestep that was recorded
            assert torch.allclose(over.logits(x, timestep, branch), classifier.logits(h, timestep, branch), atol=1e-3)
    finer = h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.allclose(classifier.logits(finer, 500.0, 1), classifier.logits(h, 500.0, 1), atol=1e-4)


def test_of_more_places_than_were_fitted_an_edit_has_its_size_in_the_means_of_places():
    """So that a strength means the same at every image size."""
    phi = projector()
    phi.scales[:, :, 0] = 2.0
    h = activations(phi).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    h = h + torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)  # which the mean over a place does not see
    seen = []
    edited = edit_standardised(phi, h, STEP, lambda x: seen.append(x) or 2 * x)
    assert seen[0].shape == (4, *phi.shape)
    change = edited - h
    assert torch.allclose(
        change, change[:, :, ::2, ::2].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), atol=1e-4
    )
    wanted = phi.moments(torch.full((4,), 500.0), torch.tensor([0, 0, 1, 1]))[1] * seen[0]
    assert torch.allclose(change[:, :, ::2, ::2], wanted - wanted.mean(dim=1, keepdim=True), atol=1e-4)


def test_rows_that_stand_twice_have_the_moments_of_the_conditional_branch():
    phi, seen = projector(), []
    h = activations(phi)
    edit_standardised(phi, h, replace(STEP, doubled=True), lambda x: seen.append(x) or x)
    assert torch.allclose(seen[0], phi.standardise(h, torch.full((4,), 500.0), torch.ones(4, dtype=torch.long)))


def test_an_edit_stays_within_the_range_of_half_precision():
    phi = projector()
    h = activations(phi).half()
    edited = edit_standardised(phi, h, STEP, lambda x: x + 1e5 * torch.randn(x.shape))
    assert edited.dtype == torch.float16 and edited.isfinite().all()


def test_the_mean_that_images_have_in_common_is_attenuated_in_the_activations_themselves():
    phi = projector(relative_to="standardised")
    state = GuidanceState(None)
    state.projector = phi
    h = activations(phi) + 5.0
    edited = edit_all(DcGuidance(strength=1.0), h, STEP, state)
    assert torch.allclose(edited.mean(dim=(2, 3)), torch.zeros(4, 6), atol=1e-3)


def test_the_control_of_a_projector_that_reads_means_alone_edits_all_places_alike():
    phi, state = projector(relative_to="standardised"), GuidanceState(None, seeds=(1, 2))
    state.projector = phi
    state.of(ReplayedSizes).sizes = {0: torch.tensor([0.5, 0.1])}
    x = torch.randn(4, *phi.shape)
    change = RandomGuidance().edit(x, STEP, state) - x
    assert torch.allclose(change, change[:, :, :1, :1].expand_as(change), atol=1e-6)
    sizes = change[2:].flatten(1).norm(dim=1) / x[2:].flatten(1).norm(dim=1)
    assert torch.allclose(sizes, torch.tensor([0.5, 0.1]), rtol=1e-3)


def test_a_projector_on_plain_activations_has_no_standardised_edits():
    with pytest.raises(ValueError, match="`projector.relative_to` must be activation without `projector.standardised`"):
        projector(standardised=False, relative_to="standardised")


def test_more_places_than_are_stored_are_averaged_inside_the_gradient():
    phi = projector((6, PLACES, PLACES))
    h = torch.randn(2, 6, 2 * PLACES, 2 * PLACES, generator=torch.Generator().manual_seed(0))
    timestep, branch = torch.full((2,), 500.0), torch.tensor([1, 1])
    assert stored(h).shape == (2, 6, PLACES, PLACES)
    assert torch.allclose(phi(h, timestep, branch), phi(stored(h), timestep, branch), atol=1e-3)
    leaf = h.clone().requires_grad_(True)
    phi(leaf, timestep, branch)[:, 0].sum().backward()
    blocks = leaf.grad.unfold(2, 2, 2).unfold(3, 2, 2)
    assert blocks.abs().max() > 0
    assert torch.allclose(blocks, blocks[..., :1, :1].expand_as(blocks))


def test_places_that_do_not_divide_evenly_are_averaged_as_the_stored_ones_were():
    torch.manual_seed(0)
    phi = SemanticProjector((6, 2, 2), 5, 8, BRANCHES, torch.tensor([500.0]), reader="flattened").eval()
    h = torch.randn(2, 6, 11, 11)  # to 8 x 8 by windows that overlap, then to 2 x 2
    timestep, branch = torch.full((2,), 500.0), torch.tensor([1, 1])
    assert torch.allclose(phi(h, timestep, branch), phi(stored(h), timestep, branch), atol=1e-3)
    assert not torch.allclose(F.adaptive_avg_pool2d(h, 2), F.adaptive_avg_pool2d(stored(h).float(), 2), atol=1e-2)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    pipeline = MAKERS["sd3"]()
    call = {**CALLS["sd3"], "num_inference_steps": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        debiaser = SelfDebias.fit(
            pipeline, "a person", encoder=lambda x: torch.nn.functional.normalize(x.mean(dim=(2, 3)) - 0.5, dim=1),
            n_images=16, batch_size=8, timesteps=4, clustering="kmeans", call=call, projector={"steps": 40},
        )  # fmt: skip
    return pipeline, debiaser, tmp_path_factory.mktemp("debiaser")


def test_a_debiaser_on_a_transformer_edits_the_block_that_was_fitted(fitted):
    pipeline, debiaser, folder = fitted
    projector = debiaser.semantics.projector
    assert (projector.block, projector.relative_to, projector.reader) == (2, "standardised", "flattened")
    assert (projector.shape, projector.places) == ((16, 2, 2), (8, 8))
    assert (debiaser.schedule.start, debiaser.schedule.first, debiaser.schedule.last) == (0.16, 0.4, 0.0)
    assert (debiaser.guidance.strength, debiaser.guidance.slack) == (8.0, 1.5)  # measured for a partition
    before = sample("sd3", pipeline, [*range(8)], steps=4)
    with debiaser.attach(pipeline, guidance="transport", strength=2.0) as attached:
        after = sample("sd3", pipeline, [*range(8)], steps=4)
        trace = attached.state.trace
    assert torch.equal(before, sample("sd3", pipeline, [*range(8)], steps=4))
    assert not torch.equal(before, after)
    untouched = torch.stack(trace.edit_norm).amax(dim=0) == 0
    assert torch.allclose(after[untouched], before[untouched], atol=1e-5)
    debiaser.save_pretrained(folder)
    again = SelfDebias.from_pretrained(folder)
    with again.attach(pipeline, guidance="transport", strength=2.0):
        assert torch.equal(after, sample("sd3", pipeline, [*range(8)], steps=4))


@pytest.mark.parametrize("guidance", [None, "select"])
def test_another_size_is_refused_also_where_it_would_be_averaged_to_the_same_places(fitted, guidance):
    pipeline, debiaser, _ = fitted
    with (
        debiaser.attach(pipeline, guidance=guidance),
        pytest.raises(ValueError, match=r"shape \(16, 8, 8\) .* got \(16, 16, 16\)"),
    ):
        sample("sd3", pipeline, [*range(8)], steps=4, height=64, width=64)


def test_choosing_reads_the_block_that_was_fitted(fitted):
    pipeline, debiaser, _ = fitted
    seen = set()
    projector = debiaser.semantics.projector
    before, projector.block = projector.block, 1
    handle = pipeline.transformer.transformer_blocks[1].register_forward_pre_hook(lambda *_: None)
    try:
        with debiaser.attach(pipeline, guidance="select") as context:
            hooked = pipeline.transformer.transformer_blocks[1]._forward_hooks
            pipeline.transformer.transformer_blocks[1].register_forward_pre_hook(lambda *_: seen.add(len(hooked)))
            sample("sd3", pipeline, [*range(8)], steps=4)
    finally:
        projector.block = before
        handle.remove()
        pipeline.transformer.transformer_blocks[1]._forward_pre_hooks.clear()
    assert 1 in seen and len(context.seeds) == 8


@pytest.mark.parametrize("guidance", ["mean_transport", "self_debias", "particle", "cads", "dc"])
def test_the_other_guidances_work_there_too(fitted, guidance):
    pipeline, debiaser, _ = fitted
    before = sample("sd3", pipeline, [*range(8)], steps=4)
    with debiaser.attach(pipeline, guidance=guidance):
        after = sample("sd3", pipeline, [*range(8)], steps=4)
    assert torch.isfinite(after).all()
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    "device",
    [
        pytest.param(
            "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
        ),
        "cpu",
    ],
)
@pytest.mark.parametrize("rule", ["transport", "select_then_transport"])
def test_several_axes_are_balanced_on_a_transformer(rule, device):
    phi = projector((16, 2, 2), relative_to="standardised", block=2, places=(8, 8)).requires_grad_(False)
    means = ModeMeans(torch.tensor([500.0]), torch.randn(1, 4, 16, 2, 2).half())
    centroids = F.normalize(torch.randn(2, 2, 1, 2, 5), dim=-1)
    grid, counts, even = torch.tensor([500.0]), torch.ones(2), torch.full((2,), 0.5)
    axes = AxesBank(tuple(ModeBank(BRANCHES, grid, it, counts, even) for it in centroids))
    state, pipeline = GuidanceState(AxesSemantics(phi, axes, means)), MAKERS["sd3"]().to(device)
    schedule = default("schedule", "tokens")
    if rule == "transport":
        context = Attachment(pipeline, TransportGuidance(6.0, 0.1), schedule, state)
    else:
        chosen = Select(at=0.5, limit=1.0, steer=TransportGuidance(6.0, 0.1))
        context = Selecting(pipeline, chosen, schedule, state)
    before = sample("sd3", pipeline, [*range(8)])
    with context:
        after = sample("sd3", pipeline, [*range(8)])
    assert not torch.equal(before, after) and phi.timesteps.device.type == "cpu"
