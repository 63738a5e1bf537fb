"""The schedulers, arguments and pipelines that docs/howto/pipeline.md says work, work."""

from __future__ import annotations

import re
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from tests.safety.fitted import PROMPT, tiny_debiaser, tiny_transformer_debiaser
from tests.tiny import tiny_pipeline
from tests.transformers import CALLS, sd3

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
FAST = {
    "FlowMatchHeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "HeunDiscreteScheduler",
    "num_images_per_prompt",
    "prompt_embeds",
    "negative_prompt",
}


def text_of(page: str) -> str:
    return (DOCS / page).read_text()


def marked(page: str, name: str) -> list[str]:
    """The words in code font in the first column of a table that a page marks as tested."""
    (table,) = re.findall(rf"<!-- tested: {name} -->\n(.*?)<!-- end -->", text_of(page), re.DOTALL)
    return [word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", row.split("|")[1])]


@pytest.fixture(scope="module")
def debiaser():
    return tiny_debiaser()[1]


def draw(pipeline, **more):
    asked = {"prompt": [PROMPT] * 8, "num_inference_steps": 4, "guidance_scale": 3.0, "output_type": "np", **more}
    if "generator" not in more:
        asked["generator"] = [torch.Generator().manual_seed(seed) for seed in range(8)]
    output = pipeline(**{name: value for name, value in asked.items() if value is not ...})
    return np.asarray(output[0] if isinstance(output, tuple) else output.images)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [pytest.param(it, marks=[pytest.mark.slow] * (it not in FAST)) for it in marked("howto/pipeline.md", "schedulers")],
)
def test_each_scheduler_of_the_page_is_guided(debiaser, name):
    pipeline = tiny_pipeline()
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)
    call = {"guidance_scale": 1.0} if name == "LCMScheduler" else {}
    before = draw(pipeline, **call)
    with debiaser.attach(pipeline, target=[0.05, 0.95], strength=12.0):
        guided = draw(pipeline, **call)
    assert np.isfinite(guided).all() and np.abs(guided - before).max() > 1e-4
    assert np.array_equal(draw(pipeline, **call), before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(it, marks=[pytest.mark.slow] * (it not in FAST))
        for it in marked("howto/pipeline.md", "flow schedulers")
    ],
)
def test_each_flow_matching_scheduler_of_the_page_is_guided(name):
    pipeline, kind = sd3(), getattr(diffusers, name)
    pipeline.scheduler = kind() if name.startswith("FlowMatch") else kind(**FLOW)
    call = CALLS["sd3"]
    before = draw(pipeline, **call)
    with tiny_transformer_debiaser().attach(pipeline, target=[0.05, 0.95], strength=12.0):
        guided = draw(pipeline, **call)
    assert np.isfinite(guided).all() and np.abs(guided - before).max() > 1e-4
    assert np.array_equal(draw(pipeline, **call), before)


def embeddings():
    torch.manual_seed(0)
    return {"prompt": ..., "prompt_embeds": torch.randn(1, 16, 16).repeat(8, 1, 1), "guidance_scale": 1.0}


ARGUMENTS = {  # by argument, the calls that are tried
    "prompt": [{"prompt": [PROMPT] * 4 + ["a doctor"] * 4}],
    "num_images_per_prompt": [{"prompt": PROMPT, "num_images_per_prompt": 8}],
    "prompt_embeds": [embeddings()],
    "negative_prompt": [{"negative_prompt": ["blurry"] * 4 + [""] * 4}],
    "guidance_scale": [{"guidance_scale": 7.5}, {"guidance_scale": 1.0}],
    "guidance_rescale": [{"guidance_rescale": 0.7}],
    "num_inference_steps": [{"num_inference_steps": 9}],
    "generator": [{}, {"generator": torch.Generator()}, {"generator": ...}],
    "latents": [{"latents": torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(0))}],
    "eta": [{"eta": 0.5}],
    "output_type": [{"output_type": it} for it in ("np", "pt", "latent")],
    "return_dict": [{"return_dict": False}],
    "callback_on_step_end": [{"callback_on_step_end": lambda pipe, index, timestep, tensors: tensors}],
}


def test_each_argument_of_the_page_has_a_call():
    assert sorted(marked("howto/pipeline.md", "arguments")) == sorted(ARGUMENTS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "call"),
    [
        pytest.param(name, it, marks=[pytest.mark.slow] * (name not in FAST))
        for name, calls in ARGUMENTS.items()
        for it in calls
    ],
)
def test_each_argument_of_the_page_is_taken_by_an_attached_call(debiaser, name, call):
    pipeline = tiny_pipeline()

    def images():
        torch.manual_seed(5)
        if isinstance(call.get("generator"), torch.Generator):
            call["generator"].manual_seed(5)
        return draw(pipeline, **call)

    before = images()
    with debiaser.attach(pipeline, target=[0.05, 0.95], strength=12.0):
        guided = images()
    assert len(guided) == 8 and np.isfinite(guided).all() and np.abs(guided - before).max() > 1e-4
    assert np.array_equal(images(), before)


def test_each_pipeline_of_the_page_is_run_by_a_test():
    (section,) = re.findall(r"## Which pipelines work\n(.*?)\n## ", text_of("howto/pipeline.md"), re.DOTALL)
    named = [it for row in re.findall(r"^\|(.*?)\|", section, re.MULTILINE) for it in re.findall(r"`(\w+)`", row)]
    run = "".join((ROOT / "tests" / name).read_text() for name in ("test_own_pipelines.py", "transformers.py"))
    assert len(named) == 14 and all(f"    {name},\n" in run for name in named)
