"""Prompts refuse what cannot be drawn or reported."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfdebias.config.prompts import NoPrompt, PromptList, Prompts, row_names
from selfdebias.jobs.prompts import facts_of


@pytest.mark.parametrize("text", ["", "   ", None, 3])
def test_a_blank_prompt_is_refused(text):
    with pytest.raises(ValueError, match=r"`prompts\.text` must be"):
        Prompts(text, ["gender"])


@pytest.mark.parametrize("attributes", [[], ["gender", "gender"], "gender", ["gender x gender"], ["tone x age x tone"]])
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


@given(st.integers(1, 6), st.integers(0, 40))
def test_images_are_split_into_equal_contiguous_parts(count, more):
    templates, n = [f"{name} {{}}" for name in "ABCDEF"[:count]], count + more
    drawn = Prompts("it", ["gender"], templates).for_images(n)
    assert drawn == sorted(drawn) and len(drawn) == n
    sizes = Counter(drawn).values()
    assert len(sizes) == count and max(sizes) - min(sizes) <= 1


def test_fewer_images_than_templates_are_refused():
    with pytest.raises(ValueError, match="`n_images` must be at least 2, one for each template, got 1"):
        Prompts("it", ["gender"], ["a {}", "b {}"]).for_images(1)


@pytest.mark.parametrize(
    "templates, words",
    [
        ([], "`prompts.templates` must be a list of different texts that are not blank, got \\[\\]"),
        ("{}", "`prompts.templates` must be a list"),
        (
            ["Image of X"],
            "`prompts.templates` must be texts with {} once, where the subject is put in, got 'Image of X'",
        ),
        (["{} and {}"], "`prompts.templates` must be texts with {} once"),
        (["{}", "{}"], "got '{}' twice"),
    ],
)
@pytest.mark.parametrize("make", [lambda it: Prompts("x", ["a"], it), lambda it: PromptList(["x"], ["a"], it)])
def test_templates_have_one_place(make, templates, words):
    with pytest.raises(ValueError, match=words.replace("{}", "\\{\\}")):
        make(templates)


@pytest.mark.parametrize("subjects", [[], "a cook", None, ["a cook", " "], ["a cook", "A  cook"], ["a cook", 3]])
def test_subjects_are_a_list_of_different_texts(subjects):
    with pytest.raises(ValueError, match=r"`prompts\.subjects` must be a list of different texts that are not blank"):
        PromptList(subjects, ["gender"])


def test_a_row_of_one_template_is_the_plain_prompt_and_of_several_states_them():
    one = PromptList(["a cook"], ["gender"], ["an emoji of {}"]).rows()
    assert one == {"cook": Prompts("an emoji of a cook", ["gender"])}
    assert facts_of(one["cook"]) == {"text": "an emoji of a cook", "attributes": ["gender"]}
    two = PromptList(["a cook"], ["gender"], ["Image of {}", "Photo of {}"]).rows()
    assert facts_of(two["cook"]) == {
        "text": "a cook",
        "attributes": ["gender"],
        "templates": ["Image of {}", "Photo of {}"],
    }


@given(st.lists(st.text(), max_size=12))
def test_row_names_are_distinct_file_names(subjects):
    names = row_names(subjects)
    assert len({name.casefold() for name in names}) == len(subjects)
    for name in names:
        assert name and "/" not in name and "\\" not in name and not name.startswith(".") and "\0" not in name
        assert len(name.encode()) < 250
