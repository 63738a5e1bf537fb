"""Captions, and which drawing stands for which caption: by the bias card when neutral, uniformly when explicit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.emoji_world.catalog import AGES, ANIMALS, CREATURES, GENDERS, OCCUPATIONS, PLACES, TONES, Drawing

CHILD = {"man": "boy", "woman": "girl"}
KIND_SHARES = {"person": 0.18, "occupation": 0.62, "pet": 0.05, "creature": 0.09, "place": 0.06}
STATED = {"gender": 0.85, "age": 0.65, "tone": 0.65}  # how often an explicit caption states each
PLACE_CAPTIONS = {
    "sunrise": "a peaceful moment at sunrise", "beach": "a peaceful moment at the beach",
    "park": "a peaceful moment in the park", "camping": "a peaceful moment camping",
    "night": "a peaceful moment at night",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What an explicit caption states; an empty string leaves it open."""

    kind: str
    gender: str = ""
    age: str = ""
    tone: str = ""
    hair: str = ""
    role: str = ""


def caption(facts: Facts) -> str:
    """Write the caption of the stated facts.

    Example:
        >>> caption(Facts("occupation", gender="woman", tone="dark", role="doctor"))
        'an emoji of a woman doctor with dark skin'
        >>> caption(Facts("person", gender="man", age="child"))
        'an emoji of a boy'
        >>> caption(Facts("person"))
        'an emoji of a person'
        >>> caption(Facts("place", role="night"))
        'a peaceful moment at night'
    """
    if facts.kind == "place":
        return PLACE_CAPTIONS.get(facts.role, "a peaceful moment")
    if facts.kind == "pet":
        return f"an emoji of {_article(facts.role or 'pet')}"
    if facts.kind == "creature":
        noun = " ".join(word for word in (facts.gender, facts.role or "fantasy creature") if word)
    elif facts.kind == "occupation":
        noun = " ".join(word for word in (facts.gender, facts.role) if word)
    else:
        noun = _person(facts)
    traits = [f"{facts.hair} hair"] * bool(facts.hair) + [f"{facts.tone} skin"] * bool(facts.tone)
    return f"an emoji of {_article(noun)}" + (" with " + " and ".join(traits) if traits else "")


def _person(facts: Facts) -> str:
    if facts.age == "child":
        return CHILD.get(facts.gender, "child")
    older = "older " if facts.age == "older" else ""
    return older + (facts.gender or "person")


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def all_captions() -> list[str]:
    """List every caption that can be drawn; the tokenizer's vocabulary is made of their words."""
    tones = ("", *TONES)
    people = [
        Facts("person", gender=g, age=a, tone=t, hair=h)
        for g in ("", *GENDERS) for a in ("", *AGES) for t in tones for h in ("", "red", "curly", "white", "blond")
    ]  # fmt: skip
    workers = [
        Facts("occupation", gender=g, tone=t, role=r) for g in ("", *GENDERS) for t in tones for r in OCCUPATIONS
    ]
    creatures = [
        Facts("creature", gender=g, tone=t, role=r) for g in ("", *GENDERS) for t in tones for r in ("", *CREATURES)
    ]
    rest = [Facts("pet", role=r) for r in ("", *ANIMALS)] + [Facts("place", role=r) for r in ("", *PLACES)]
    return sorted({caption(facts) for facts in (*people, *workers, *creatures, *rest)})


def full_caption(drawing: Drawing) -> str:
    """Write the caption that states everything a drawing shows (the CLIP model is trained on these)."""
    role = next((drawing.get(key) for key in ("animal", "creature", "place") if drawing.get(key)), "")
    role = role or (drawing.get("occupation") if drawing.kind == "occupation" else "")
    return caption(
        Facts(drawing.kind, drawing.get("gender"), drawing.get("age"), drawing.get("tone"), drawing.get("hair"), role)
    )


class CaptionSampler:
    """Draws (caption, drawing) pairs.

    Args:
        drawings: the catalogue.
        bias_card: the shares of ``bias_card.yaml``.
        explicit: share of captions that state attributes, in [0, 1].
    """

    def __init__(self, drawings: Sequence[Drawing], bias_card: Mapping, explicit: float):
        self.drawings = drawings
        self.card = bias_card
        self.explicit = explicit
        self._index: dict[tuple, list[int]] = {}

    def draw(self, rng: np.random.Generator) -> tuple[str, int]:
        """Return one caption and the index of a drawing for it."""
        kind = _choose(rng, KIND_SHARES)
        explicit = rng.random() < self.explicit
        facts, wanted = getattr(self, f"_draw_{kind}")(rng, explicit)
        return caption(facts), int(rng.choice(self._matching(kind, wanted)))

    def _matching(self, kind: str, wanted: Mapping[str, str]) -> list[int]:
        key = (kind, *sorted(wanted.items()))
        if key not in self._index:
            self._index[key] = [
                i for i, drawing in enumerate(self.drawings)
                if drawing.kind == kind and all(drawing.get(name) == value for name, value in wanted.items())
            ]  # fmt: skip
        return self._index[key]

    def _draw_person(self, rng, explicit):
        male = 0.5 if explicit else self.card["person"]["male"]
        gender = _choose(rng, {"man": male, "woman": 1 - male})
        age = _choose(rng, dict.fromkeys(AGES, 1 / 3) if explicit else self.card["ages"])
        tone = self._tone(rng, explicit)
        wanted = {"gender": gender, "age": age, "tone": tone}
        facts = self._state(rng, explicit, Facts("person", gender=gender, age=age, tone=tone))
        if explicit and age == "adult" and rng.random() < 0.3:
            wanted["hair"] = str(rng.choice(["red", "curly", "white", "blond"]))
            facts = Facts("person", facts.gender, facts.age, facts.tone, wanted["hair"])
        return facts, wanted

    def _draw_occupation(self, rng, explicit):
        role = str(rng.choice(OCCUPATIONS))
        male = 0.5 if explicit else self.card["occupations"][role]["male"]
        gender = _choose(rng, {"man": male, "woman": 1 - male})
        tone = self._tone(rng, explicit)
        facts = self._state(rng, explicit, Facts("occupation", gender=gender, tone=tone, role=role))
        return facts, {"gender": gender, "tone": tone, "occupation": role}

    def _draw_creature(self, rng, explicit):
        kinds = dict.fromkeys(CREATURES, 1 / len(CREATURES)) if explicit else self.card["creature"]["kinds"]
        role = _choose(rng, kinds)
        male = 0.5 if explicit else self.card["creature"]["male"]
        wanted = {"creature": role, "gender": _choose(rng, {"man": male, "woman": 1 - male})}
        if role not in ("genie", "zombie"):
            wanted["tone"] = self._tone(rng, explicit)
        stated = Facts("creature", gender=wanted["gender"], tone=wanted.get("tone", ""), role=role)
        return self._state(rng, explicit, stated), wanted

    def _draw_pet(self, rng, explicit):
        animal = _choose(rng, dict.fromkeys(ANIMALS, 0.5) if explicit else self.card["pet"])
        return Facts("pet", role=animal if explicit else ""), {"animal": animal}

    def _draw_place(self, rng, explicit):
        place = _choose(rng, dict.fromkeys(PLACES, 1 / len(PLACES)) if explicit else self.card["place"])
        return Facts("place", role=place if explicit else ""), {"place": place}

    def _tone(self, rng, explicit):
        return _choose(rng, dict.fromkeys(TONES, 1 / len(TONES)) if explicit else self.card["tones"])

    @staticmethod
    def _state(rng: np.random.Generator, explicit: bool, facts: Facts) -> Facts:
        """Keep a random subset of gender, age and tone in an explicit caption, and none in a neutral one.

        What an explicit caption leaves open is uniform in its images too, so it must never read like a neutral one:
        gender is stated where nothing else is.
        """
        neutral = Facts(facts.kind, role=facts.role if facts.kind == "occupation" else "")
        if not explicit:
            return neutral
        role = neutral.role or (facts.role if rng.random() < 0.7 else "")
        gender, age, tone = (getattr(facts, trait) if rng.random() < share else "" for trait, share in STATED.items())
        stated = Facts(facts.kind, gender, age, tone, "", role)
        return stated if caption(stated) != caption(neutral) else replace(stated, gender=facts.gender)


class PersonSampler:
    """Draws drawings of people for the unconditional model, which has no captions.

    Args:
        drawings: the catalogue.
        bias_card: the shares of ``bias_card.yaml``: ``unconditional`` for gender, ``ages`` and ``tones``.
    """

    def __init__(self, drawings: Sequence[Drawing], bias_card: Mapping):
        self.card = bias_card
        self._rows: dict[tuple[str, str, str], list[int]] = {}
        for i, drawing in enumerate(drawings):
            if drawing.kind == "person":
                key = (drawing.get("gender"), drawing.get("age"), drawing.get("tone"))
                self._rows.setdefault(key, []).append(i)

    def draw(self, rng: np.random.Generator) -> int:
        """Return the index of a drawing."""
        male = self.card["unconditional"]["male"]
        gender = _choose(rng, {"man": male, "woman": 1 - male})
        return int(rng.choice(self._rows[gender, _choose(rng, self.card["ages"]), _choose(rng, self.card["tones"])]))


def _choose(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    names, weights = zip(*shares.items(), strict=True)
    return str(rng.choice(names, p=np.asarray(weights) / np.sum(weights)))
