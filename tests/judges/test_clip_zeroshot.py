from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from selfdebias.encoders import ClipEncoder, Dinov2Encoder
from selfdebias.judges import Judge
from selfdebias.judges.clip_zeroshot import ClipZeroShotJudge
from selfdebias.storage.images import read_picture_file, to_tensor
from selfdebias.testbed import shipped

GENDER = {"man": "an emoji of a man", "woman": "an emoji of a woman"}


def judge(**options) -> ClipZeroShotJudge:
    encoder = ClipEncoder("shipped:emoji_clip")
    return ClipZeroShotJudge(
        **{"encoder": encoder, "attributes": {"gender": GENDER}, "templates": ["{}"], "temperature": 0.07, **options}
    )


def drawings() -> torch.Tensor:
    """The first row of the sample sheet: twelve people."""
    sheet = to_tensor(read_picture_file(shipped("emoji") / "samples.png"))
    return torch.stack([sheet[:, 2:66, 2 + 66 * i : 66 + 66 * i] for i in range(12)])


def test_probabilities_are_the_softmax_of_cosines():
    images, encoder = drawings(), ClipEncoder("shipped:emoji_clip")
    it = judge()
    assert (
        isinstance(it, Judge) and it.classes == {"gender": ("man", "woman")} and it.encoder_id == "shipped:emoji_clip"
    )
    p = it(images)["gender"]
    wanted = (encoder(images) @ encoder.embed_text(list(GENDER.values())).T / 0.07).softmax(dim=1)
    assert p.shape == (12, 2) and torch.allclose(p, wanted, atol=1e-6)


def test_it_agrees_with_the_trained_judge_on_most_drawings():
    from selfdebias.judges.emoji import EmojiJudge

    images = drawings()
    agree = judge()(images)["gender"].argmax(dim=1) == EmojiJudge()(images)["gender"].argmax(dim=1)
    assert float(agree.float().mean()) >= 0.75


def test_templates_are_averaged():
    encoder = ClipEncoder("shipped:emoji_clip")
    templates = ["an emoji of a {}", "an emoji of an older {}"]
    texts = torch.stack([encoder.embed_text([t.format(noun) for noun in ("man", "woman")]) for t in templates]).mean(
        dim=0
    )
    it = judge(attributes={"gender": {"man": "man", "woman": "woman"}}, templates=templates)
    wanted = (encoder(drawings()) @ F.normalize(texts, dim=1).T / 0.07).softmax(dim=1)
    assert torch.allclose(it(drawings())["gender"], wanted, atol=1e-6)


def test_a_template_may_hold_other_braces():
    probabilities = judge(templates=["a photo of {}, {smiling}"])(drawings())["gender"]
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(len(probabilities)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, r"`judge.threshold` must be a number in \[0, 1\], got 1.5"),
        ({"temperature": 0.0}, "`judge.temperature` must be a number in \\(0, 10000\\]"),
        ({"templates": []}, "`judge.templates` must be texts that hold {}"),
        ({"templates": ["a photo"]}, "`judge.templates` must be texts that hold {}"),
        ({"attributes": {"gender": {"man": "a man"}}}, "`judge.attributes.gender` must have at least two classes"),
        ({"encoder": Dinov2Encoder("x")}, "`judge.encoder` must have a text tower, got Dinov2Encoder"),
    ],
)
def test_bad_values_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        judge(**options)
