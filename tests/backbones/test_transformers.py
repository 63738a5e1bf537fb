"""The hooks on transformers: they change nothing by themselves, see what the contract says, and are always removed."""

from __future__ import annotations

import pytest
import torch
from diffusers.hooks import FirstBlockCacheConfig
from diffusers.hooks._helpers import TransformerBlockRegistry

from selfdebias.backbones import TransformerBackbone
from selfdebias.backbones.calling import Step, alpha_bar_of, split_branches
from selfdebias.backbones.denoisers import TRANSFORMERS, find_denoiser
from selfdebias.backbones.hspace import BottleneckHook
from selfdebias.backbones.rows import FewerRows, RowCount
from selfdebias.config.rules import ConfigError
from tests.tiny import tiny_pipeline
from tests.transformers import LAYERS, MAKERS, sample

KINDS = sorted(MAKERS)
TWO_BRANCHES = [kind for kind in KINDS if kind != "flux"]
WIDTHS = {"sd3": 16, "pixart": 16, "sana": 16, "flux": 32}


def _hooks(pipeline) -> int:
    return sum(len(it._forward_pre_hooks) + len(it._forward_hooks) for it in pipeline.transformer.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_recording_leaves_the_images_bit_identical_and_hooks_are_gone(kind):
    pipeline = MAKERS[kind]()
    before, seen = sample(kind, pipeline, [1, 2]), []
    with RowCount(pipeline) as count, BottleneckHook(pipeline, lambda h, step: seen.append((tuple(h.shape), step))):
        inside = sample(kind, pipeline, [1, 2])
    assert torch.equal(before, inside)
    assert torch.equal(before, sample(kind, pipeline, [1, 2]))
    assert _hooks(pipeline) == 0
    steps: list[Step] = [step for _, step in seen]
    branches = ("uncond", "cond") if kind in TWO_BRANCHES else ("cond",)
    assert [step.index for step in steps] == [0, 1, 2]
    assert {step.count for step in steps} == {3}
    assert [step.timestep for step in steps] == pytest.approx(
        [float(t) for t in pipeline.scheduler.timesteps], rel=1e-6
    )
    assert {step.branches for step in steps} == {branches}
    assert {step.guidance_scale for step in steps} == {3.0 if kind in TWO_BRANCHES else 1.0}
    assert {step.block for step in steps} == {len(pipeline.transformer.transformer_blocks) // 2}
    assert {shape for shape, _ in seen} == {(2 * len(branches), WIDTHS[kind], 8, 8)}
    assert count.rows == 3 * 2 * len(branches)
    assert find_denoiser(pipeline).width == WIDTHS[kind]


@pytest.mark.parametrize("kind", TWO_BRANCHES)
def test_without_classifier_free_guidance_there_is_one_branch(kind):
    pipeline, seen = MAKERS[kind](), []
    with BottleneckHook(pipeline, lambda h, step: seen.append((len(h), step.branches, step.guidance_scale))):
        sample(kind, pipeline, [1, 2], guidance_scale=1.0)
    assert set(seen) == {(2, ("cond",), 1.0)}


@pytest.mark.parametrize("kind", ["sd3", "pixart"])
def test_uncond_is_the_first_half(kind):
    """It sees the empty prompt: it is the same whatever the prompt, and the other half is not."""
    pipeline, halves = MAKERS[kind](), {}
    for prompt in ("a cat", "a dog"):
        with BottleneckHook(
            pipeline, lambda h, step, p=prompt: halves.setdefault(p, split_branches(h, step.branches)) and None
        ):
            sample(kind, pipeline, [1], steps=1, prompt=[prompt])
    assert torch.equal(halves["a cat"]["uncond"], halves["a dog"]["uncond"])
    assert not torch.equal(halves["a cat"]["cond"], halves["a dog"]["cond"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_reaches_the_images_and_only_its_own_image(kind):
    pipeline = MAKERS[kind]()
    before = sample(kind, pipeline, [1, 2])

    def edit_first(h, step):
        h = h.clone()
        h[::2][:, : h.shape[1] // 2] += 5.0  # image 0 in each branch; half of the channels, as a layer norm follows
        return h

    with BottleneckHook(pipeline, edit_first):
        edited = sample(kind, pipeline, [1, 2])
    assert not torch.allclose(before[0], edited[0], atol=1e-3)
    assert torch.allclose(before[1], edited[1], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_of_a_row_lie_side_by_side(kind):
    """`h` of an 8 x 8 grid: an edit of its left half, with one block left to run, shows on the left of the prediction."""
    pipeline = MAKERS[kind]()
    denoiser = find_denoiser(pipeline)
    tokens = torch.arange(64.0).reshape(1, 64, 1)
    output = tokens if denoiser.kind.tokens is None else (torch.zeros(1, 3, 1), tokens)
    h = denoiser.read(output, (8, 8))
    assert torch.equal(h[0, 0], torch.arange(64.0).reshape(8, 8))
    written = denoiser.write(output, h)
    assert torch.equal(written if denoiser.kind.tokens is None else written[denoiser.kind.tokens], tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_several_blocks_are_seen_one_after_the_other(kind):
    pipeline, seen = MAKERS[kind](), []
    with BottleneckHook(pipeline, lambda h, step: seen.append((step.index, step.block)), blocks=[1, 3]):
        sample(kind, pipeline, [1], steps=2)
    assert seen == [(0, 1), (0, 3), (1, 1), (1, 3)]


def test_blocks_that_are_not_there_are_refused_by_their_option_when_a_model_is_loaded():
    backbone = TransformerBackbone("shipped:emoji_dit", steps=2, guidance_scale=1.5, blocks=[3, 99])
    with pytest.raises(ConfigError, match="`model.blocks` must be from 0 to 6 for this transformer, got 99"):
        backbone.load()


def test_blocks_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=f"`blocks` must be from 0 to {LAYERS - 1} for this transformer, got 7"):
        BottleneckHook(MAKERS["sd3"](), lambda h, step: None, blocks=[7])
    with pytest.raises(ValueError, match="`blocks` must be left out for a UNet"):
        BottleneckHook(tiny_pipeline(), lambda h, step: None, blocks=[7])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("sd3", {"skip_guidance_layers": [1]}, "`skip_guidance_layers` must be None"),
        ("flux", {"true_cfg_scale": 3.0, "negative_prompt": ["a cat"]}, "`true_cfg_scale` must be 1"),
    ],
)
def test_a_call_that_runs_the_transformer_twice_at_a_step_is_refused(kind, options, message):
    pipeline = MAKERS[kind]()
    with BottleneckHook(pipeline, lambda h, step: None), pytest.raises(ValueError, match=message):
        sample(kind, pipeline, [1], **options)
    assert _hooks(pipeline) == 0


def test_a_cache_of_blocks_is_refused():
    pipeline = MAKERS["flux"]()
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.2))
    with BottleneckHook(pipeline, lambda h, step: None), pytest.raises(ValueError, match="must have no cache"):
        sample("flux", pipeline, [1])


def test_a_block_that_is_left_out_is_an_error():
    pipeline = MAKERS["sd3"]()
    with BottleneckHook(pipeline, lambda h, step: None):
        pipeline.transformer.transformer_blocks[2] = MAKERS["sd3"](1).transformer.transformer_blocks[2]
        with pytest.raises(RuntimeError, match=r"`pipeline.transformer.transformer_blocks\[2\]` must run at each step"):
            sample("sd3", pipeline, [1])


def test_a_pipeline_of_another_class_is_refused():
    class Own:
        transformer = MAKERS["sd3"]().transformer

        def __call__(self):
            pass

    with pytest.raises(ValueError, match="must be a StableDiffusion3Pipeline, .* got a Own"):
        BottleneckHook(Own(), lambda h, step: None)


@pytest.mark.parametrize("kind", sorted({*TRANSFORMERS} - {"SanaTransformer2DModel"}))  # which has none of them
def test_the_places_of_image_tokens_are_those_of_diffusers(kind):
    """diffusers keeps the same table for its own caches, by the class of the block."""
    import diffusers

    pipeline = {"SD3": "sd3", "PixArt": "pixart", "Flux": "flux"}[kind.split("Transformer")[0]]
    module = MAKERS[pipeline]().transformer
    assert type(module) is getattr(diffusers, kind)
    for name in TRANSFORMERS[kind].lists:
        said = TransformerBlockRegistry.get(type(getattr(module, name)[0]))
        place = TRANSFORMERS[kind].tokens
        assert place == (None if said.return_encoder_hidden_states_index is None else said.return_hidden_states_index)


def test_a_negative_prompt_that_flux_would_not_read_is_refused():
    with pytest.raises(ValueError, match="`model.negative_prompt` must be null for FluxPipeline"):
        TransformerBackbone("anywhere", 4, 1.0, "FluxPipeline", negative_prompt="blurry")


def test_without_an_edit_an_extrapolated_call_draws_the_same():
    pipeline = MAKERS["flux"]()
    before, seen = sample("flux", pipeline, [1, 2]), []
    with BottleneckHook(pipeline, lambda h, step: seen.append(step.branches), extrapolate=lambda step: 2.5):
        inside = sample("flux", pipeline, [1, 2])
    assert set(seen) == {("uncond", "cond")}
    assert torch.allclose(before, inside, atol=1e-4)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_call_goes_on_with_fewer_images(kind):
    pipeline = MAKERS[kind]()
    alone = torch.cat([sample(kind, pipeline, [seed]) for seed in (1, 3)])
    with FewerRows(pipeline, 3) as fewer, RowCount(pipeline) as count:
        rows = []

        def after_a_step(module, args, output):
            rows.append(count.rows - sum(rows))
            fewer.kept = [0, 2]

        handle = pipeline.transformer.register_forward_hook(after_a_step)
        images = sample(kind, pipeline, [1, 2, 3])
        handle.remove()
    assert len(rows) > 1 and [it * 3 for it in rows[1:]] == [rows[0] * 2] * (len(rows) - 1)
    assert torch.allclose(images[[0, 2]], alone, atol=1e-5) and torch.isfinite(images[1]).all()
    again = sample(kind, pipeline, [1, 2, 3])  # nothing is left on the pipeline
    assert torch.allclose(again[[0, 2]], alone, atol=1e-5) and not torch.equal(again[1], images[1])


def test_the_share_of_signal_under_flow_matching():
    scheduler = MAKERS["sd3"]().scheduler
    assert alpha_bar_of(scheduler, 1000.0) == 0.0
    assert alpha_bar_of(scheduler, 500.0) == pytest.approx(0.5)
    assert alpha_bar_of(scheduler, 250.0) == pytest.approx(0.75**2 / (0.75**2 + 0.25**2))


def test_the_blocks_of_flux_are_named_by_the_list_that_they_are_in():
    denoiser = find_denoiser(MAKERS["flux"]())
    joint = len(denoiser.module.transformer_blocks)
    assert denoiser.site_name(joint - 1) == f"transformer_blocks[{joint - 1}]"
    assert denoiser.site_name(joint) == "single_transformer_blocks[0]"
