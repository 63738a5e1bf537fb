"""Find modes with an encoder of your own: any callable from images to unit vectors."""

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import make_image_grid

from selfdebias import SelfDebias
from selfdebias.modes import SpectralModes
from selfdebias.testbed import shipped

PROMPT, CALL = "an emoji of a person", {"num_inference_steps": 25, "guidance_scale": 3.0}
N_IMAGES = 128


def brightness(images: torch.Tensor) -> torch.Tensor:
    """The mean colour of 4 x 4 fields, (B, 3, H, W) in [0, 1] to (B, 48): it sees light and dark, and nothing else."""
    fields = torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
    return torch.nn.functional.normalize(fields - fields.mean(dim=1, keepdim=True), dim=1)


pipe = StableDiffusionPipeline.from_pretrained(shipped("emoji"))
clustering = SpectralModes(k_min=2, k_max=4)
debiaser = SelfDebias.fit(pipe, PROMPT, encoder=brightness, clustering=clustering, n_images=N_IMAGES, call=CALL)
with debiaser.attach(pipe):
    images = pipe([PROMPT] * 16, generator=debiaser.generators(range(16)), **CALL).images
make_image_grid(images, rows=2, cols=8).save("own_encoder.png")
