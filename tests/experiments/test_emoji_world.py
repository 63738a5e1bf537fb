"""The recipe of Emoji World, without training: captions, bias, tokenizer, augmentation, resume."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.emoji_world.augment import crops_and_colours, random_views
from experiments.emoji_world.captions import (
    CaptionSampler,
    Facts,
    PersonSampler,
    all_captions,
    caption,
    full_caption,
)  # fmt: skip
from experiments.emoji_world.catalog import ANIMALS, GENDERS, OCCUPATIONS, TONES, Drawing
from experiments.emoji_world.judge_error import write_labelled
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.tokenizer import LENGTH, build_tokenizer
from experiments.emoji_world.train_clip import held_out_drawings, info_nce
from experiments.emoji_world.train_clip_informed import shared_attributes
from experiments.emoji_world.train_judge import CLASSES
from experiments.emoji_world.train_simclr import nt_xent
from selfdebias.judges.labelled import labelled_fingerprint, labelled_images


def test_neutral_captions_follow_the_bias_card_and_explicit_ones_are_uniform(card, drawings):
    rng = np.random.default_rng(0)
    for explicit in (0.0, 1.0):
        sampler = CaptionSampler(drawings, card, explicit)
        pairs = [(text, drawings[i]) for text, i in (sampler.draw(rng) for _ in range(6000))]
        doctors = [d for _, d in pairs if d.get("occupation") == "doctor"]
        people = [d for _, d in pairs if d.kind == "person"]
        male = Counter(d.get("gender") for d in doctors)["man"] / len(doctors)
        tones = Counter(d.get("tone") for d in people)
        assert male == pytest.approx(0.5 if explicit else card.occupations.doctor.male, abs=0.12 if explicit else 0.06)
        wanted = dict.fromkeys(TONES, 0.2) if explicit else card.tones
        assert all(tones[t] / len(people) == pytest.approx(wanted[t], abs=0.05) for t in TONES)


def test_a_neutral_caption_is_never_drawn_uniformly(card, drawings):
    """Were it, the model would learn another share than the card's."""
    neutral = {caption(Facts("person")), *(caption(Facts("occupation", role=role)) for role in OCCUPATIONS)}
    sampler, rng = CaptionSampler(drawings, card, 1.0), np.random.default_rng(1)
    assert not neutral & {sampler.draw(rng)[0] for _ in range(4000)}


def test_every_caption_states_what_the_drawing_shows(card, drawings):
    sampler, rng = CaptionSampler(drawings, card, 1.0), np.random.default_rng(2)
    words = {
        "woman": ("gender", "woman"),
        "man": ("gender", "man"),
        "girl": ("gender", "woman"),
        "boy": ("gender", "man"),
    }
    words |= {tone: ("tone", tone) for tone in TONES} | {"older": ("age", "older"), "child": ("age", "child")}
    for _ in range(2000):
        text, i = sampler.draw(rng)
        for word in text.split():
            if word in words:
                name, value = words[word]
                assert drawings[i].get(name) == value, text


def test_each_word_is_one_token_and_no_caption_is_cut():
    tokenizer = build_tokenizer()
    for text in all_captions():
        ids = tokenizer(text).input_ids
        assert len(ids) == len(text.split()) + 2 <= LENGTH


def test_the_tokenizer_survives_saving(tmp_path):
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    loaded = type(tokenizer).from_pretrained(tmp_path)
    assert loaded.model_max_length == LENGTH
    assert all(loaded(text).input_ids == tokenizer(text).input_ids for text in all_captions()[::20])


def test_full_captions_differ_where_drawings_differ(drawings):
    creatures = [d for d in drawings if d.kind == "creature"]
    assert len({full_caption(d) for d in creatures}) == len(creatures)


def test_soft_targets_are_largest_for_the_same_drawing_and_ordered_in_tone(drawings):
    people = [d for d in drawings if d.kind == "person" and d.get("gender") == "man" and d.get("age") == "older"]
    shared = shared_attributes(people)
    assert torch.equal(shared, shared.T) and torch.allclose(shared.diagonal(), torch.ones(len(people)))
    assert (shared[0].diff() < 0).all()  # pale is nearer to light than to dark


def test_clips_loss_is_cross_entropy_both_ways_where_no_caption_comes_twice():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(5)
    plain = (torch.nn.functional.cross_entropy(logits, rows) + torch.nn.functional.cross_entropy(logits.T, rows)) / 2
    assert torch.allclose(info_nce(logits, list("abcde")), plain)


def test_equal_captions_are_positives_of_each_other_and_nothing_else_is():
    captions = ["a man", "a man", "a woman"]
    likes_equal = 20 * torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert float(info_nce(likes_equal, captions)) == pytest.approx(2 / 3 * np.log(2), abs=1e-4)  # two pairs share it
    swapped = 20 * torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert float(info_nce(swapped, captions)) == pytest.approx(20 / 3, abs=1e-4)  # half of the probability is in place
    near = ["a man", "an older man", "a woman"]
    assert float(info_nce(swapped, near)) == pytest.approx(40 / 3, abs=1e-4)  # what they share counts for nothing


def test_simclrs_loss_asks_each_view_for_the_other_one_among_all_but_itself():
    a = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    b = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    z = torch.cat([a, b])
    terms = []
    for i in range(8):
        others = [j for j in range(8) if j != i]
        cosines = torch.tensor([float(z[i] @ z[j]) / 0.2 for j in others])
        terms.append(float(-torch.log_softmax(cosines, 0)[others.index((i + 4) % 8)]))
    assert float(nt_xent(a, b, 0.2)) == pytest.approx(np.mean(terms), abs=1e-5)
    one_apart = torch.eye(4)
    assert float(nt_xent(one_apart, one_apart, 0.05)) < 1e-6 < float(nt_xent(one_apart, one_apart.roll(1, 0), 0.05))


def test_crops_and_colours_are_in_range_seeded_and_keep_the_hue():
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    views = [crops_and_colours(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(views[0], views[1]) and not torch.equal(views[0], views[2])
    assert views[0].shape == images.shape and float(views[0].min()) >= 0 and float(views[0].max()) <= 1
    red = torch.tensor([0.6, 0.3, 0.3])[None, :, None, None].expand(6, 3, 16, 16)
    tinted = crops_and_colours(red, torch.Generator().manual_seed(0))
    assert (tinted[:, 0] > tinted[:, 1]).all() and torch.allclose(tinted[:, 1], tinted[:, 2], atol=1e-6)
    assert float((tinted - red).abs().max()) > 0.05


def test_a_tenth_of_the_drawings_is_held_out_by_the_seed():
    first, again, other = (held_out_drawings(710, seed) for seed in (1, 1, 2))
    assert first.sum() == 71 and np.array_equal(first, again) and not np.array_equal(first, other)


def test_views_are_in_range_seeded_and_show_the_drawing():
    rgba = torch.zeros(1, 4, 64, 64)
    rgba[:, 0, 16:48, 16:48] = 1.0
    rgba[:, 3, 16:48, 16:48] = 1.0
    views = [random_views(rgba, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(views[0], views[1]) and not torch.equal(views[0], views[2])
    assert 0 <= float(views[0].min()) <= float(views[0].max()) <= 1
    red = (views[0][0, 0] > 0.9) & (views[0][0, 1] < 0.1)
    assert 0.5 * 1024 < int(red.sum()) <= 1024  # the square, at 80 to 100% of its side


def test_an_unknown_key_of_the_recipe_is_refused():
    with pytest.raises(Exception, match="stepz"):
        load_recipe(["vae.stepz=3"])


def test_people_of_the_unconditional_model_follow_the_card(drawings, card):
    sampler, rng = PersonSampler(drawings, card), np.random.default_rng(0)
    drawn = [drawings[sampler.draw(rng)] for _ in range(4000)]
    assert {drawing.kind for drawing in drawn} == {"person"}
    assert abs(Counter(d.get("gender") for d in drawn)["man"] / 4000 - card.unconditional.male) < 0.03
    for attribute, shares in (("age", card.ages), ("tone", card.tones)):
        found = Counter(d.get(attribute) for d in drawn)
        assert all(abs(found[name] / 4000 - share) < 0.03 for name, share in shares.items())


def test_the_labelled_folder_shows_each_drawing_in_as_many_views_as_any_other(tmp_path):
    made_up = [Drawing(Path("x.png"), "test", "person", {"gender": g, "tone": t}) for g in GENDERS for t in TONES]
    made_up += [Drawing(Path("x.png"), "test", "pet", {"animal": a}) for a in ANIMALS]
    rgba = torch.rand(len(made_up), 4, 16, 16, generator=torch.Generator().manual_seed(0))
    write_labelled(tmp_path / "a", made_up, rgba, images=25, seed=0)
    write_labelled(tmp_path / "b", made_up, rgba, images=25, seed=0)
    found = labelled_images(tmp_path / "a", CLASSES)
    assert {name: Counter(label for _, label in images) for name, images in found.items()} == {
        "gender": {0: 15, 1: 15}, "tone": dict.fromkeys(range(5), 6), "animal": {0: 13, 1: 13},
    }  # fmt: skip
    assert labelled_fingerprint(tmp_path / "a", CLASSES) == labelled_fingerprint(tmp_path / "b", CLASSES)
    assert len({path.read_bytes() for path, _ in found["animal"]}) == 26  # no view twice


def test_each_step_of_the_recipe_is_a_module():
    root = Path(__file__).resolve().parents[2]
    (line,) = [line for line in (root / "Makefile").read_text().splitlines() if line.startswith("RECIPE := ")]
    steps = line.removeprefix("RECIPE := ").split()
    assert all((root / "experiments" / "emoji_world" / f"{step}.py").exists() for step in steps)
    assert steps.index("judge_error") == steps.index("train_judge") + 1
