"""Images of one prompt are balanced together only where all that they are drawn from is the same."""

from __future__ import annotations

import pytest
import torch

from selfdebias.guidance import GuidanceState, SelfDebiasGuidance, TransportGuidance
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.groups import conditions_of, groups_of
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.self_debias import AssignmentMemory
from selfdebias.guidance.transport import TransportState
from tests.guidance.test_attachment import Noted, attachment, semantics
from tests.tiny import tiny_pipeline

PROMPT = "a person"


def draw(pipeline, prompts, seeds, **call):
    return torch.from_numpy(
        pipeline(
            prompts, num_inference_steps=3, output_type="np", guidance_scale=3.0,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds], **call,
        ).images
    )  # fmt: skip


def groups(noted) -> dict[str, set]:
    """The seeds of each group that was edited."""
    return {name: set(seeds) for name, seeds, _ in noted.seen}


def test_other_negative_prompts_are_groups_of_their_own_and_the_first_one_has_the_plain_name():
    pipeline, noted = tiny_pipeline(), Noted()
    with attachment(pipeline, guidance=noted):
        draw(pipeline, [PROMPT] * 4, range(4), negative_prompt=["bad", "old", "bad", "old"])
        first = groups(noted)
        assert first.pop(PROMPT) == {0, 2}
        (other,) = first
        assert first[other] == {1, 3} and other.startswith(PROMPT) and other != PROMPT
        noted.seen.clear()
        draw(pipeline, [PROMPT] * 3, range(3), negative_prompt=["old"] * 3)
        draw(pipeline, [PROMPT] * 3, range(3, 6), negative_prompt=["bad", "bad", "worse"])
        again = groups(noted)
        assert again.pop(other) == {0, 1, 2} and again.pop(PROMPT) == {3, 4} and list(again.values()) == [{5}]
    with attachment(pipeline, guidance=noted):  # another context sees another one first
        noted.seen.clear()
        draw(pipeline, PROMPT, [0], negative_prompt="old")
        assert groups(noted) == {PROMPT: {0}}


def test_images_per_prompt_go_with_their_prompts():
    pipeline, noted = tiny_pipeline(), Noted()
    with attachment(pipeline, guidance=noted):
        draw(pipeline, [PROMPT] * 2, range(4), negative_prompt=["bad", "old"], num_images_per_prompt=2)
        assert sorted(map(sorted, groups(noted).values())) == [[0, 1], [2, 3]]


def test_negative_embeddings_count_and_the_prompt_may_be_embeddings_as_well():
    pipeline, noted = tiny_pipeline(), Noted()
    embeddings, negative = pipeline.encode_prompt([PROMPT] * 4, "cpu", 1, True, negative_prompt=["a", "b", "b", "a"])
    with attachment(pipeline, guidance=noted):
        draw(pipeline, None, range(4), prompt_embeds=embeddings, negative_prompt_embeds=negative)
        found = groups(noted)
        assert sorted(map(sorted, found.values())) == [[0, 3], [1, 2]]
        plain = groups_of({"prompt_embeds": embeddings})[0]
        assert found[plain] == {0, 3} and all(name.startswith(plain) for name in found)


def test_each_condition_is_balanced_and_owed_for_itself():
    """In one call or in two, the images are the same."""
    pipeline, rule = tiny_pipeline(), TransportGuidance(6.0, 0.1)
    drawn, owed = [], []
    for calls in ([[0, 1, 2, 3, 4]], [[0, 2, 4], [1, 3]]):
        images = torch.zeros(5, 32, 32, 3)
        with Attachment(pipeline, rule, GuidanceWindow(), GuidanceState(semantics())) as attached:
            for places in calls:
                negative = [("bad", "old")[i % 2] for i in places]
                images[places] = draw(pipeline, [PROMPT] * len(places), places, negative_prompt=negative)
        drawn.append(images)
        plans = attached.state.of(TransportState).plans
        owed.append({name: plan.left.tolist() for name, plan in plans.items()})
    assert torch.allclose(*drawn, atol=1e-5) and owed[0] == owed[1] and len(owed[0]) == 2
    assert owed[0][PROMPT] in ([0.5, -0.5], [-0.5, 0.5])


def test_memory_is_kept_by_condition():
    pipeline = tiny_pipeline()
    with attachment(pipeline, decay=1.0) as attached:
        draw(pipeline, [PROMPT] * 3, range(3), negative_prompt=["bad", "old", "old"])
        sums = attached.state.of(AssignmentMemory).sums
        counts = {group: float(values[-1]) for (group, _), values in sums.items()}
        assert counts.pop(PROMPT) == 1 and list(counts.values()) == [2]


def test_the_modes_of_each_group_are_those_of_its_prompt():
    pipeline, rule = tiny_pipeline(), SelfDebiasGuidance(0.8, 0.1, slack=10.0)
    known = semantics()
    asked = []
    known.of_prompt = lambda prompt: asked.append(prompt) or known
    with Attachment(pipeline, rule, GuidanceWindow(), GuidanceState(known)):
        draw(pipeline, [PROMPT, "a cat", PROMPT], range(3), negative_prompt=["bad", "old", "old"])
    assert set(asked) == {PROMPT, "a cat"}


def test_whoever_asks_for_the_prompts_of_a_call_gets_them_with_their_smallest_group():
    pipeline, seen = tiny_pipeline(), []
    rule, state = Noted(), GuidanceState(semantics())
    with Attachment(pipeline, rule, GuidanceWindow(), state, on_prompts=seen.append):
        draw(pipeline, [PROMPT] * 3 + ["a cat"], range(4), negative_prompt=["bad", "old", "old", "old"])
    assert seen == [{PROMPT: 1, "a cat": 1}]


@pytest.mark.parametrize(
    ("arguments", "equal"),
    [
        ({}, [True] * 3),
        ({"negative_prompt": None, "guidance_scale": 3.0}, [True] * 3),
        ({"negative_prompt": "bad"}, [True] * 3),
        ({"negative_prompt": ["bad", "bad", "old"]}, [True, True, False]),
        ({"prompt_2": ["x", "y", "x"]}, [True, False, True]),
        ({"prompt_3": ["x", "y", "x"]}, [True, False, True]),
        ({"negative_prompt_2": ["x", "y", "x"]}, [True, False, True]),
        ({"negative_prompt_embeds": torch.tensor([[[1.0]], [[2.0]], [[1.0]]])}, [True, False, True]),
        ({"pooled_prompt_embeds": torch.tensor([[1.0], [1.0], [3.0]])}, [True, True, False]),
        ({"negative_prompt_embeds": torch.ones(1, 1, 1)}, [True] * 3),
    ],
)
def test_what_counts_as_another_condition(arguments, equal):
    found = conditions_of({"prompt": [PROMPT] * 3, **arguments})
    assert [it == found[0] for it in found] == equal
