"""The lines of Python in a model card are Python, and ask for what the model and its guidance need."""

from __future__ import annotations

import ast

import pytest

from selfdebias.config.compose import load
from selfdebias.jobs.card_example import example

FACTS = {"model": "shipped:emoji_dit", "prompts": ["a person"], "pipeline": "StableDiffusion3Pipeline"}


def lines(guidance: str, **call) -> str:
    text = example({**FACTS, "guidance": load([f"guidance={guidance}"])["guidance"], "call": call})
    python = text.removeprefix("```python\n").removesuffix("```")
    ast.parse(python)
    return python


@pytest.mark.parametrize(
    "guidance, attached, chosen",
    [
        ("transport", "attach(pipe)", False),
        ("select", "attach(pipe)", True),
        ("select_then_transport", "attach(pipe)", True),
        ("resample", "attach(pipe, guidance='select')", True),
        ("transport_then_resample", "attach(pipe, guidance='select_then_transport')", True),
    ],
)
def test_seeds_are_given_where_some_are_chosen_and_what_is_for_jobs_is_replaced(guidance, attached, chosen):
    python = lines(guidance)
    assert attached in python
    assert ("generator=debiaser.generators(range(16))" in python) is chosen


def test_a_call_has_all_that_the_model_was_fitted_with():
    python = lines("transport", num_inference_steps=25, max_sequence_length=16, negative_prompt="blurry")
    assert (
        "pipe(['a person'] * 16, num_inference_steps=25, max_sequence_length=16, negative_prompt=['blurry'] * 16)"
        in python
    )
    assert "StableDiffusion3Pipeline.from_pretrained(shipped('emoji_dit'))" in python
