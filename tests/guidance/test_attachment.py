"""Attached guidance: groups, memory, and everything as before once the context is closed."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from diffusers import StableDiffusionPipeline

from selfdebias.guidance import Guidance, GuidanceState, SelfDebiasGuidance, Semantics
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.groups import groups_of
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.self_debias import AssignmentMemory
from selfdebias.modes import ModeBank
from selfdebias.modes.projection import SemanticProjector
from tests.tiny import sample, tiny_pipeline, tiny_unet

BRANCHES = ("uncond", "cond")


def semantics(shape=(16, 4, 4), target=(0.5, 0.5)) -> Semantics:
    """A random projector and two modes: enough to change images."""
    torch.manual_seed(0)
    timesteps = torch.tensor([100.0, 900.0])
    projector = SemanticProjector(shape, 6, 16, BRANCHES, timesteps).eval().requires_grad_(False)
    centroids = torch.nn.functional.normalize(torch.randn(2, 2, 2, 6), dim=-1)
    return Semantics(
        projector, ModeBank(BRANCHES, timesteps, centroids, torch.tensor([3.0, 1.0]), torch.tensor(target))
    )


def attachment(pipeline, decay: float = 0.0, guidance: Guidance | None = None) -> Attachment:
    rule = guidance or SelfDebiasGuidance(0.8, 0.1, decay=decay, slack=10.0)
    return Attachment(pipeline, rule, GuidanceWindow(), GuidanceState(semantics(target=(0.01, 0.99))))


def remembered(attached: Attachment) -> float:
    """Images that the current group remembers of its first step."""
    return float(attached.state.of(AssignmentMemory).recall(attached.state.group, 0, 2)[-1])


def one_mode() -> Semantics:
    two = semantics()
    bank = two.bank
    sizes, target = torch.tensor([4.0]), torch.tensor([1.0])
    return Semantics(two.projector, ModeBank(BRANCHES, bank.timesteps, bank.centroids[:, :, :1], sizes, target))


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_of_one_mode_no_image_is_edited_by_any_guidance(scale):
    pipeline = tiny_pipeline()
    before = sample(pipeline, [1, 2])
    with Attachment(pipeline, Noted(), GuidanceWindow(), GuidanceState(semantics())):
        assert not torch.equal(before, sample(pipeline, [1, 2]))
    noted = Noted()
    noted.extrapolation = lambda step: scale
    with Attachment(pipeline, noted, GuidanceWindow(), GuidanceState(one_mode())):
        assert torch.equal(before, sample(pipeline, [1, 2]))
    assert noted.seen == []


class Noted(Guidance):
    """Adds one to every activation, and notes which rows of which group it was given."""

    def __init__(self):
        self.seen = []

    def edit(self, h, step, state):
        self.seen.append((state.group, state.seeds, len(h)))
        return h + 1.0


def test_inside_the_images_change_and_outside_they_are_bit_identical():
    pipeline = tiny_pipeline()
    before = sample(pipeline, [1, 2])
    with attachment(pipeline):
        assert not torch.equal(before, sample(pipeline, [1, 2]))
    assert torch.equal(before, sample(pipeline, [1, 2]))
    with pytest.raises(RuntimeError, match="inside"), attachment(pipeline):
        raise RuntimeError("inside")
    assert torch.equal(before, sample(pipeline, [1, 2]))
    assert type(pipeline) is StableDiffusionPipeline


@pytest.mark.parametrize("closed_first", [0, 1])
def test_nested_contexts_on_two_pipelines_that_share_one_unet(closed_first):
    unet = tiny_unet()
    pipelines = [tiny_pipeline(seed, unet) for seed in (1, 2)]
    before = [sample(pipeline, [3]) for pipeline in pipelines]
    alone = []
    for pipeline in pipelines:
        with attachment(pipeline):
            alone.append(sample(pipeline, [3]))
    with ExitStack() as outer, ExitStack() as inner:
        stacks = [outer, inner]
        for stack, pipeline in zip(stacks, pipelines, strict=True):
            stack.enter_context(attachment(pipeline))
        for pipeline, image in zip(pipelines, alone, strict=True):
            assert torch.equal(image, sample(pipeline, [3]))
        stacks[closed_first].close()
        assert torch.equal(before[closed_first], sample(pipelines[closed_first], [3]))
        assert torch.equal(alone[1 - closed_first], sample(pipelines[1 - closed_first], [3]))
    for pipeline, image in zip(pipelines, before, strict=True):
        assert torch.equal(image, sample(pipeline, [3]))


def test_a_pipeline_is_attached_once_at_a_time():
    pipeline = tiny_pipeline()
    before = sample(pipeline, [1])
    with (
        attachment(pipeline),
        pytest.raises(ValueError, match="must not be attached already, got StableDiffusionPipeline"),
    ):
        attachment(pipeline).__enter__()
    assert torch.equal(before, sample(pipeline, [1]))


def test_equal_prompts_form_a_group_and_each_is_guided_by_itself():
    pipeline, noted = tiny_pipeline(), Noted()
    with attachment(pipeline, guidance=noted):
        pipeline(
            ["a cat", "a dog", "a cat"], num_inference_steps=1, num_images_per_prompt=2, output_type="np",
            generator=[torch.Generator().manual_seed(seed) for seed in range(6)],
        )  # fmt: skip
    assert noted.seen == [("a cat", (0, 1, 4, 5), 8), ("a dog", (2, 3), 4)]


def test_a_mixed_call_gives_each_group_what_it_gets_alone():
    def draw(pipeline, prompts, seeds):
        with attachment(pipeline):
            images = pipeline(
                prompts, num_inference_steps=3, output_type="np", guidance_scale=3.0,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            ).images  # fmt: skip
        return torch.from_numpy(images)

    pipeline = tiny_pipeline()
    mixed = draw(pipeline, ["a cat", "a dog", "a cat"], [0, 1, 2])
    assert torch.allclose(mixed[[0, 2]], draw(pipeline, ["a cat"] * 2, [0, 2]), atol=1e-5)
    assert torch.allclose(mixed[[1]], draw(pipeline, ["a dog"], [1]), atol=1e-5)


def test_memory_lives_as_long_as_the_context_and_is_kept_by_prompt():
    pipeline = tiny_pipeline()
    with attachment(pipeline, decay=1.0) as attached:
        sample(pipeline, [1, 2])
        assert remembered(attached) == 2.0
        sample(pipeline, [3])
        assert remembered(attached) == 3.0
        pipeline("a cat", num_inference_steps=1, output_type="np")
        assert remembered(attached) == 1.0
    with attachment(pipeline, decay=1.0) as attached:
        assert remembered(attached) == 0.0


def test_embeddings_in_place_of_prompts_are_grouped_by_what_they_are():
    rows = torch.tensor([[[1.0]], [[2.0]], [[1.0]]])
    names = groups_of({"prompt": None, "prompt_embeds": rows})
    assert names[0] == names[2] != names[1]


class ThreeBranches(StableDiffusionPipeline):
    """Stacks a third branch, as perturbed-attention pipelines do, without any of their names."""

    def __call__(self, prompt, **kwargs):
        return super().__call__([prompt] * 3, **kwargs)


def test_more_branches_are_refused_before_and_during_the_call():
    pipeline = tiny_pipeline()
    perturbed = type("Perturbed", (StableDiffusionPipeline,), {"do_perturbed_attention_guidance": True})
    pipeline.__class__ = perturbed
    with pytest.raises(
        ValueError, match="at most two branches, got Perturbed, whose `do_perturbed_attention_guidance`"
    ):
        attachment(pipeline)
    pipeline.__class__ = ThreeBranches
    with attachment(pipeline), pytest.raises(ValueError, match="must stack 2 branches of 1 images .* got 6 rows"):
        pipeline("a cat", num_inference_steps=1, output_type="np")


def test_another_width_and_another_size_are_refused():
    pipeline, state = tiny_pipeline(), GuidanceState(semantics((8, 4, 4)))
    with pytest.raises(
        ValueError, match="`h_t` of 8 channels, which the projector was fitted on, got 16 in its UNet: fit"
    ):
        Attachment(pipeline, SelfDebiasGuidance(0.5, 0.1), GuidanceWindow(), state)
    state = GuidanceState(semantics((16, 8, 8)))
    with (
        Attachment(pipeline, SelfDebiasGuidance(0.5, 0.1), GuidanceWindow(), state),
        pytest.raises(ValueError, match=r"shape \(16, 8, 8\) .* got \(16, 4, 4\): sample at the same height"),
    ):
        sample(pipeline, [1])


def test_another_encoders_bank_is_refused():
    fine = semantics()
    fine.projector.encoder = "clip@1234"
    with pytest.raises(ValueError, match="of the projector's encoder, 'clip@1234', got one of ''"):
        Semantics(fine.projector, fine.bank)
