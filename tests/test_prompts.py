"""Prompts refuse what cannot be drawn or reported."""

from __future__ import annotations

import pytest

from selfdebias.prompts import NoPrompt, Prompts


@pytest.mark.parametrize("text", ["", "   ", None, 3])
def test_a_blank_prompt_is_refused(text):
    with pytest.raises(ValueError, match=r"`prompts\.text` must be"):
        Prompts(text, ["gender"])


@pytest.mark.parametrize("attributes", [[], ["gender", "gender"], "gender"])
def test_attributes_are_a_list_of_different_names(attributes):
    with pytest.raises(ValueError, match=r"`prompts\.attributes` must be"):
        Prompts("a cat", attributes)


def test_two_equal_prompts_are_equal_and_hashable():
    assert hash(Prompts("a cat", ["animal"])) == hash(Prompts("a cat", ("animal",)))


def test_no_prompt_takes_no_text():
    assert NoPrompt(["gender"]).for_images(2) == ["", ""] and NoPrompt(["gender"]).text == ""
    with pytest.raises(ValueError, match="`prompts.text` must be empty for prompts=unconditional, got 'a man'"):
        NoPrompt(["gender"], "a man")
    with pytest.raises(ValueError, match="`prompts.attributes` must be a list of different names"):
        NoPrompt(["gender", "gender"])
