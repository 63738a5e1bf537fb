"""The lines of Python in a model card: load the pipeline, attach the debiaser, sample."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

CODE = """\
```python
from diffusers import {pipeline}
from selfdebias import SelfDebias{extra}

pipe = {pipeline}.from_pretrained({model})
debiaser = SelfDebias.from_pretrained("this/folder")
with debiaser.attach(pipe{by}):
    images = pipe({asked}{call}).images
```"""


def example(facts: Mapping[str, Any]) -> str:
    """Return the lines that load and attach; a model that comes with the package is named as such.

    Args:
        facts: the contents of ``debiaser.json``.
    """
    model, prompt, pipeline = str(facts["model"]), facts["prompts"][0], facts.get("pipeline", "")
    filled_in = {
        "pipeline": pipeline if re.fullmatch(r"\w+Pipeline", pipeline) else "DiffusionPipeline",
        "by": _attached_by(facts["guidance"]),
        "asked": f"[{prompt!r}] * 16" if prompt else "batch_size=16",
        "call": "".join(f", {key}={value}" for key, value in _call(facts).items() if key.isidentifier()),
    }
    if (name := model.removeprefix("shipped:")) == model:
        return CODE.format(model=repr(model), extra="", **filled_in)
    return CODE.format(model=f"shipped({name!r})", extra="\nfrom selfdebias.testbed import shipped", **filled_in)


def _call(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the further arguments of the pipeline call, as Python."""
    call = {str(key): repr(value) for key, value in facts["call"].items()}
    if "negative_prompt" in call:
        call["negative_prompt"] = f"[{call['negative_prompt']}] * 16"  # a list, as the prompt is
    if _class_of(facts["guidance"]) in ("Select", "Resample"):
        call["generator"] = "debiaser.generators(range(16))"  # one for each image
    return call


def _attached_by(guidance: Mapping[str, Any]) -> str:
    """Return what to attach in place of a guidance that looks at finished images, which is for jobs alone."""
    if _class_of(guidance) != "Resample":
        return ""
    return f", guidance={'select_then_transport' if guidance.get('steer') else 'select'!r}"


def _class_of(guidance: Mapping[str, Any]) -> str:
    return str(guidance.get("_target_")).rpartition(".")[2]
