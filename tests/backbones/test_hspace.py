"""The hooks change nothing by themselves, see what the contract says, and are always removed."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
from diffusers import SemanticStableDiffusionPipeline, StableDiffusionPipeline

from selfdebias.backbones.calling import check_branches
from selfdebias.backbones.hspace import BottleneckHook, Step, split_branches
from selfdebias.backbones.layouts import extrapolated, refuse_call
from tests.tiny import sample, tiny_pipeline, tiny_unet


def _hooks(pipeline) -> int:
    unet = pipeline.unet
    return len(unet._forward_pre_hooks) + len(unet._forward_hooks) + len(unet.mid_block._forward_hooks)


def test_recording_leaves_the_images_bit_identical_and_hooks_are_gone():
    pipeline = tiny_pipeline()
    before = sample(pipeline, [1, 2])
    seen: list[tuple[torch.Size, Step]] = []
    with BottleneckHook(pipeline, lambda h, step: seen.append((h.shape, step))):
        inside = sample(pipeline, [1, 2])
    assert torch.equal(before, inside)
    assert torch.equal(before, sample(pipeline, [1, 2]))
    assert _hooks(pipeline) == 0
    assert type(pipeline).__dict__.get("__call__") is type(tiny_pipeline()).__dict__.get("__call__")
    assert [step.index for _, step in seen] == [0, 1, 2]
    assert [step.count for _, step in seen] == [3, 3, 3]
    assert [step.timestep for _, step in seen] == [float(t) for t in pipeline.scheduler.timesteps]
    assert {step.branches for _, step in seen} == {("uncond", "cond")}
    assert {step.guidance_scale for _, step in seen} == {3.0}
    assert {shape for shape, _ in seen} == {torch.Size([4, 16, 4, 4])}


def test_without_classifier_free_guidance_there_is_one_branch():
    pipeline = tiny_pipeline()
    seen: list[Step] = []
    with BottleneckHook(pipeline, lambda h, step: seen.append(step)):
        sample(pipeline, [1, 2], scale=1.0)
    assert {(step.branches, step.guidance_scale) for step in seen} == {(("cond",), 1.0)}


@pytest.mark.filterwarnings("ignore")  # that the class gets no more updates
@pytest.mark.parametrize(("scale", "branches"), [(3.0, ("uncond", "cond")), (1.0, ("cond",))])
def test_of_a_unet_pipeline_that_says_nothing_of_its_branches_the_scale_of_the_call_does(scale, branches):
    parts = tiny_pipeline().components
    del parts["image_encoder"]
    pipeline, seen = SemanticStableDiffusionPipeline(**parts, requires_safety_checker=False), []
    assert not hasattr(pipeline, "do_classifier_free_guidance")
    pipeline.set_progress_bar_config(disable=True)
    with BottleneckHook(pipeline, lambda h, step: seen.append((step.branches, len(h)))):
        pipeline(["a person"] * 2, num_inference_steps=3, guidance_scale=scale, output_type="np")
    assert {*seen} == {(branches, 2 * len(branches))}


def test_more_rows_than_there_are_branches_are_refused():
    check_branches(torch.zeros(4, 1), ("uncond", "cond"), 2)
    with pytest.raises(ValueError, match="must stack 1 branches of 2 images in its denoiser's batch, got 4 rows"):
        check_branches(torch.zeros(4, 1), ("cond",), 2)


def test_steps_are_counted_from_the_start_of_each_call():
    pipeline = tiny_pipeline()
    seen: list[int] = []
    with BottleneckHook(pipeline, lambda h, step: seen.append(step.index)):
        sample(pipeline, [1])
        sample(pipeline, [1], steps=2)
    assert seen == [0, 1, 2, 0, 1]


def test_uncond_is_the_first_half_as_diffusers_stacks_it():
    """The uncond half sees the empty prompt: it is the same whatever the prompt, and the cond half is not."""
    pipeline = tiny_pipeline()
    halves = {}
    for prompt in ("a cat", "a dog"):
        with BottleneckHook(
            pipeline, lambda h, step, p=prompt: halves.setdefault(p, split_branches(h, step.branches)) and None
        ):
            pipeline(prompt, num_inference_steps=1, generator=torch.Generator().manual_seed(0), output_type="np")
    assert torch.equal(halves["a cat"]["uncond"], halves["a dog"]["uncond"])
    assert not torch.equal(halves["a cat"]["cond"], halves["a dog"]["cond"])


def test_hooks_are_gone_after_an_exception_inside_the_call():
    pipeline = tiny_pipeline()
    before = sample(pipeline, [1])

    def fail(h, step):
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), BottleneckHook(pipeline, fail):
        sample(pipeline, [1])
    assert _hooks(pipeline) == 0
    assert torch.equal(before, sample(pipeline, [1]))


def test_an_edit_reaches_the_images_and_only_its_own_image():
    pipeline = tiny_pipeline()
    before = sample(pipeline, [1, 2])

    def edit_first(h, step):
        h = h.clone()
        h[[0, 2]] += 5.0  # image 0 in both branches
        return h

    with BottleneckHook(pipeline, edit_first):
        edited = sample(pipeline, [1, 2])
    assert not torch.allclose(before[0], edited[0], atol=1e-3)
    assert torch.allclose(before[1], edited[1], atol=1e-5)


def test_a_shared_unet_is_edited_only_inside_the_call_of_the_attached_pipeline():
    unet = tiny_unet()
    attached, other = tiny_pipeline(1, unet), tiny_pipeline(1, unet)
    before = sample(other, [3])
    with BottleneckHook(attached, lambda h, step: h + 5.0):
        assert torch.equal(before, sample(other, [3]))
        assert not torch.allclose(before, sample(attached, [3]), atol=1e-3)


def test_image_k_does_not_depend_on_the_batch():
    pipeline = tiny_pipeline()
    together, alone = sample(pipeline, [7, 8, 9]), sample(pipeline, [9])
    assert torch.allclose(together[2], alone[0], atol=1e-5)


def test_a_pipeline_without_unet_is_refused():
    with pytest.raises(ValueError, match="must have a `unet`"):
        BottleneckHook(object(), lambda h, step: None)


def draw_one_branch(pipeline, action, scale=None, schedule=lambda step: True):
    wanted = None if scale is None else lambda step: scale if schedule(step) else 1.0
    with BottleneckHook(pipeline, action, extrapolate=wanted):
        return sample(pipeline, [1, 2], scale=1.0)


def test_an_edit_is_extrapolated_where_there_is_no_classifier_free_guidance():
    """One UNet call by hand: (1 - w) eps(h - d) + w eps(h + d)."""
    pipeline, w = tiny_pipeline(), 3.0
    latents, text = torch.randn(2, 4, 8, 8), torch.randn(2, 16, 16)
    direction = torch.randn(2, 16, 4, 4)
    predicted = {}
    for sign in (-1.0, 1.0):
        handle = pipeline.unet.mid_block.register_forward_hook(lambda m, a, h, sign=sign: h + sign * direction)
        predicted[sign] = pipeline.unet(latents, 500, encoder_hidden_states=text).sample
        handle.remove()
    seen = []

    def contrast(h, step):
        seen.append((len(h), step.branches, step.guidance_scale))
        return h + torch.cat([-direction, direction])

    hook = BottleneckHook(pipeline, contrast, extrapolate=lambda step: w)
    with hook:
        hook._thread = threading.get_ident()
        output = pipeline.unet(latents, 500, encoder_hidden_states=text)
        as_tuple = pipeline.unet(latents, timestep=500, encoder_hidden_states=text, return_dict=False)
    wanted = (1 - w) * predicted[-1.0] + w * predicted[1.0]
    assert torch.allclose(output.sample, wanted, atol=1e-4) and torch.allclose(as_tuple[0], wanted, atol=1e-4)
    assert seen == [(4, ("uncond", "cond"), w)] * 2 and _hooks(pipeline) == 0


def test_extrapolation_without_an_edit_changes_nothing_and_an_edit_counts_more_with_it():
    pipeline = tiny_pipeline()
    plain = sample(pipeline, [1, 2], scale=1.0)
    same = draw_one_branch(pipeline, lambda h, step: None, scale=4.0)
    assert torch.allclose(plain, same, atol=1e-5)

    def edit(h, step):
        return torch.cat([h[:2], h[2:] * 1.2]) if step.branches == ("uncond", "cond") else h * 1.2

    once, more = (draw_one_branch(pipeline, edit, scale) - plain for scale in (None, 4.0))
    assert float(more.norm()) > 2 * float(once.norm()) > 0
    later = draw_one_branch(pipeline, edit, 4.0, schedule=lambda step: step.index == 2)
    assert not torch.equal(later, plain) and torch.equal(plain, sample(pipeline, [1, 2], scale=1.0))


def test_extrapolation_leaves_classifier_free_guidance_alone():
    pipeline, seen = tiny_pipeline(), []
    with BottleneckHook(
        pipeline, lambda h, step: seen.append((len(h), step.guidance_scale)), extrapolate=lambda step: 9.0
    ):
        inside = sample(pipeline, [1, 2])
    assert set(seen) == {(4, 3.0)} and torch.equal(inside, sample(pipeline, [1, 2]))


def test_a_site_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="`site` must be one of bottleneck, text, got 'attention'"):
        BottleneckHook(tiny_pipeline(), lambda h, step: None, site="attention")


@pytest.mark.parametrize(("scale", "branches"), [(1.0, ("cond",)), (3.0, ("uncond", "cond"))])
def test_at_the_site_text_the_unet_is_given_what_the_action_returns(scale, branches):
    pipeline, seen, given = tiny_pipeline(), [], []
    before = sample(pipeline, [1, 2], scale)
    watch = pipeline.unet.mid_block.register_forward_pre_hook(
        lambda block, args, kwargs: given.append(kwargs["encoder_hidden_states"]), with_kwargs=True
    )

    def act(text, step):
        seen.append((step.index, step.branches, tuple(text.shape)))
        return text + 1.0 if step.index == 1 else None

    with BottleneckHook(pipeline, act, site="text"):
        after = sample(pipeline, [1, 2], scale)
    assert [it[:2] for it in seen] == [(0, branches), (1, branches), (2, branches)]
    assert {it[2] for it in seen} == {tuple(given[0].shape)} and len(given[0]) == 2 * len(branches)
    assert torch.equal(given[1], given[0] + 1.0) and torch.equal(given[2], given[0])
    assert not torch.equal(before, after)
    watch.remove()
    with BottleneckHook(pipeline, lambda text, step: text.clone(), site="text"):
        assert torch.equal(before, sample(pipeline, [1, 2], scale))
    assert torch.equal(before, sample(pipeline, [1, 2], scale))


def test_a_pipeline_that_is_made_of_an_attached_one_is_not_hooked():
    pipeline = tiny_pipeline()
    before = sample(pipeline, [1])
    with BottleneckHook(pipeline, lambda h, step: h + 5.0):
        kind = type(pipeline)
        copies = [kind(**pipeline.components), kind.from_pipe(pipeline)]
        assert [type(it) for it in copies] == [StableDiffusionPipeline] * 2 and all(
            torch.equal(sample(it, [1]), before) for it in copies
        )
    for copy in copies:
        with BottleneckHook(copy, lambda h, step: h + 5.0):
            assert not torch.equal(sample(copy, [1]), before)


def test_a_warning_that_is_made_an_error_leaves_the_pipeline_callable(monkeypatch):
    pipeline = tiny_pipeline()
    with BottleneckHook(pipeline, lambda h, step: None) as hook:
        monkeypatch.setattr(hook, "_say_uncompiled", lambda given: warnings.warn("compiled", stacklevel=1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                with pytest.raises(UserWarning, match="compiled"):
                    sample(pipeline, [1])


def test_what_fails_after_a_call_leaves_the_pipeline_callable():
    def fail(whole):
        raise OSError("the disk is full")

    pipeline = tiny_pipeline()
    with BottleneckHook(pipeline, lambda h, step: None, on_close=fail):
        for _ in range(2):
            with pytest.raises(OSError, match="the disk is full"):
                sample(pipeline, [1])


def test_predicted_variances_are_those_without_the_edit():
    """Of a UNet that predicts them (`learned_range`) in as many further channels."""
    noise, variance = torch.randn(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    found = extrapolated(torch.cat([noise, variance], dim=1), 2.5, channels=3)
    assert torch.allclose(found[:, :3], noise[:2] + 2.5 * (noise[2:] - noise[:2])) and torch.equal(
        found[:, 3:], variance[:2]
    )
    assert torch.allclose(extrapolated(noise, 2.5, channels=3), found[:, :3])
    tokens = torch.randn(4, 6, 3)  # (B, L, C): as many tokens as twice the channels are no variances
    assert torch.allclose(extrapolated(tokens, 2.5, channels=3), tokens[:2] + 2.5 * (tokens[2:] - tokens[:2]))


def test_a_call_that_leaves_out_steps_and_does_not_say_how_many_is_refused_before_it_draws():
    """As the image to image pipelines of DeepFloyd IF."""

    class Silent:
        def __call__(self, strength: float = 0.7) -> None: ...

    with pytest.raises(ValueError, match=r"must say how many of its steps it runs .* got a Silent"):
        refuse_call(Silent(), {"strength": 0.7})
    refuse_call(Silent(), {"strength": None})
    refuse_call(tiny_pipeline(), {"strength": 0.7})
