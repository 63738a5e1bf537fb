"""Calls in which some images are left out: what is kept is as if it were alone, and nobody else's call is touched."""

from __future__ import annotations

from threading import Thread

import pytest
import torch

from selfdebias.backbones.rows import Call, FewerRows, RowCount
from selfdebias.storage.images import generators
from tests.tiny import tiny_pipeline


def draw(pipeline, seeds):
    return torch.from_numpy(
        pipeline(
            ["a person"] * len(seeds),
            num_inference_steps=3,
            guidance_scale=3.0,
            generator=generators(seeds),
            output_type="np",
        ).images
    )


def test_a_call_in_another_thread_that_shares_denoiser_and_vae_keeps_all_of_its_images():
    pipeline = tiny_pipeline()
    other = type(pipeline).from_pipe(pipeline)
    other.set_progress_bar_config(disable=True)
    alone, theirs = draw(pipeline, [1, 3]), draw(other, [5, 6, 7, 8])
    found = []

    def meanwhile(module, args, output):
        if not found:  # once, while this thread's denoiser runs
            found.append(None)
            thread = Thread(target=lambda: found.append(draw(other, [5, 6, 7, 8])))
            thread.start()
            thread.join()

    with FewerRows(pipeline, 4) as fewer, RowCount(pipeline) as count:
        fewer.kept = [0, 2]
        pipeline.unet.mid_block.register_forward_hook(meanwhile)
        images = draw(pipeline, [1, 2, 3, 4])
    assert torch.equal(found[1], theirs)
    assert torch.allclose(images[[0, 2]], alone, atol=1e-5)
    assert count.rows == 2 * 3 * (2 + 4)  # of this call, and of the other


@pytest.mark.parametrize("kind", ["method", "module"])
def test_a_compiled_decoder_is_left_as_it_is_and_decodes_all_images(kind):
    pipeline, decoded = tiny_pipeline(), []
    pipeline.vae.decoder.conv_in.register_forward_hook(lambda module, args, x: decoded.append(len(x)))
    if kind == "module":
        pipeline.vae.decoder.compile(backend="eager")
    else:
        pipeline.vae.decode = torch.compile(pipeline.vae.decode, backend="eager")
    before = len(pipeline.vae.decoder._forward_pre_hooks)
    with FewerRows(pipeline, 4) as fewer:
        fewer.kept = [0, 2]
        assert len(pipeline.vae.decoder._forward_pre_hooks) == before
        images = draw(pipeline, [1, 2, 3, 4])
    assert decoded == [4]
    assert torch.allclose(images[[0, 2]], draw(pipeline, [1, 3]), atol=1e-4)


@pytest.mark.parametrize("name", ["latents", "image_embeds", "class_labels"])
def test_what_further_images_would_need_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be left out where seeds are chosen"):
        Call.of(None, {name: [1, 2], "generator": generators([1, 2])}, 2)
