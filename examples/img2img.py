"""Debias an image-to-image pipeline: fit on the calls that you make, with their image and strength."""

from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from diffusers.utils import make_image_grid

from selfdebias import SelfDebias
from selfdebias.testbed import shipped

PROMPT, STEPS, N_IMAGES = "an emoji of a person", 25, 256

text_to_image = StableDiffusionPipeline.from_pretrained(shipped("emoji"))
(sketch,) = text_to_image(PROMPT, num_inference_steps=STEPS, guidance_scale=3.0).images
pipe = StableDiffusionImg2ImgPipeline(**text_to_image.components, requires_safety_checker=False)
call = {"image": sketch, "strength": 0.9, "num_inference_steps": STEPS, "guidance_scale": 3.0}
debiaser = SelfDebias.fit(pipe, PROMPT, encoder="shipped:emoji_clip", n_images=N_IMAGES, call=call)
with debiaser.attach(pipe):
    images = pipe([PROMPT] * 16, generator=debiaser.generators(range(16)), **call).images
make_image_grid(images, rows=2, cols=8).save("img2img.png")
