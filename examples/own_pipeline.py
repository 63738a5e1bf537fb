"""Debias a pipeline that is already loaded, and keep what was learned."""

from diffusers import StableDiffusionPipeline
from diffusers.utils import make_image_grid

from selfdebias import SelfDebias
from selfdebias.testbed import shipped

PROMPT, CALL = "an emoji of a person", {"num_inference_steps": 25, "guidance_scale": 3.0}
N_IMAGES = 256  # that the modes are found on

pipe = StableDiffusionPipeline.from_pretrained(shipped("emoji"))  # yours: any diffusers pipeline with a UNet
debiaser = SelfDebias.fit(pipe, PROMPT, encoder="shipped:emoji_clip", n_images=N_IMAGES, call=CALL)
debiaser.save_pretrained("person-modes")

debiaser = SelfDebias.from_pretrained("person-modes")  # in another process, another day
generators = debiaser.generators(range(16))
with debiaser.attach(pipe):
    images = pipe([PROMPT] * 16, generator=generators, **CALL).images
make_image_grid(images, rows=2, cols=8).save("own_pipeline.png")
