"""Debias a transformer, shaped as Stable Diffusion 3: by edits, and by choosing seeds and editing only what no seed gives."""

from diffusers import StableDiffusion3Pipeline
from diffusers.utils import make_image_grid

from selfdebias import SelfDebias
from selfdebias.testbed import shipped

PROMPT, ENCODER, N_IMAGES = "an emoji of a person", "shipped:emoji_clip", 512
call = {"num_inference_steps": 25, "guidance_scale": 1.5, "max_sequence_length": 16}  # as the model was trained

pipe = StableDiffusion3Pipeline.from_pretrained(shipped("emoji_dit"))
# `h_t` is read and edited after the middle block. axes_many finds axes whose second side is rare, of 512 images.
# relative_scale: that of the guidance scale, which has to stay above 1
own = {"clustering": "axes_many", "vocabulary": "emoji", "relative_scale": 0.75}
debiaser = SelfDebias.fit(pipe, PROMPT, encoder=ENCODER, n_images=N_IMAGES, call=call, **own)
vanilla = pipe([PROMPT] * 16, generator=debiaser.generators(range(16)), **call).images
with debiaser.attach(pipe):
    edited = pipe([PROMPT] * 16, generator=debiaser.generators(range(16)), **call).images
with debiaser.attach(pipe, guidance="select_then_transport") as context:
    chosen = pipe([PROMPT] * 16, generator=debiaser.generators(range(16)), **call).images
print(context)
make_image_grid(vanilla + edited + chosen, rows=3, cols=16).save("transformer.png")
