"""Prompts refuse what cannot be drawn or reported."""

from __future__ import annotations

import pytest

from selfdebias.prompts import Prompts


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
