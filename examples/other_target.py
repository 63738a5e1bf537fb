"""Ask for other shares than even ones: 90 : 10, the largest mode first."""

from diffusers import StableDiffusionPipeline
from diffusers.utils import make_image_grid

from selfdebias import SelfDebias
from selfdebias.modes import SpectralModes
from selfdebias.testbed import shipped

PROMPT, CALL = "an emoji of a person", {"num_inference_steps": 25, "guidance_scale": 3.0}
N_IMAGES = 128
TARGET = [0.9, 0.1]  # one share for each mode; they sum to 1

pipe = StableDiffusionPipeline.from_pretrained(shipped("emoji"))
clustering = SpectralModes(k_min=2, k_max=2)  # two modes; of axes, each has two sides
encoder = "shipped:emoji_clip_informed"  # it was told the attributes of its drawings, so that these modes are genders
debiaser = SelfDebias.fit(pipe, PROMPT, encoder=encoder, clustering=clustering, n_images=N_IMAGES, call=CALL)
with debiaser.attach(pipe, target=TARGET):
    images = pipe([PROMPT] * 16, generator=debiaser.generators(range(16)), **CALL).images
make_image_grid(images, rows=2, cols=8).save("other_target.png")
