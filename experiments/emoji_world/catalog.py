"""The drawings of Emoji World: which files of the npm packages show what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

GENDERS = ("man", "woman")
TONES = ("pale", "light", "tan", "brown", "dark")
AGES = ("child", "adult", "older")
OCCUPATIONS = (
    "farmer", "cook", "student", "singer", "artist", "teacher", "factory worker", "technologist", "office worker",
    "mechanic", "scientist", "astronaut", "firefighter", "doctor", "judge", "pilot", "police officer",
    "construction worker", "guard", "detective",
)  # fmt: skip
CREATURES = ("mage", "fairy", "vampire", "merperson", "elf", "genie", "zombie", "superhero")
PLACES = ("sunrise", "beach", "park", "camping", "night")
ANIMALS = ("dog", "cat")

TONE_CODES = dict(zip(("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"), TONES, strict=True))

PEOPLE = {
    "man": ("man", "adult", ""), "woman": ("woman", "adult", ""),
    "older_man": ("man", "older", ""), "older_woman": ("woman", "older", ""),
    "boy": ("man", "child", ""), "girl": ("woman", "child", ""),
    "red_haired_man": ("man", "adult", "red"), "red_haired_woman": ("woman", "adult", "red"),
    "curly_haired_man": ("man", "adult", "curly"), "curly_haired_woman": ("woman", "adult", "curly"),
    "white_haired_man": ("man", "adult", "white"), "white_haired_woman": ("woman", "adult", "white"),
    "blond-haired-man": ("man", "adult", "blond"), "blond-haired-woman": ("woman", "adult", "blond"),
}  # fmt: skip
PETS = {
    "dog": "dog", "dog2": "dog", "poodle": "dog", "guide_dog": "dog", "service_dog": "dog",
    "cat": "cat", "cat2": "cat", "black_cat": "cat", "smiley_cat": "cat", "smile_cat": "cat",
}  # fmt: skip
MOMENTS = {
    "sunrise": "sunrise", "sunrise_over_mountains": "sunrise", "city_sunrise": "sunrise",
    "beach_with_umbrella": "beach", "desert_island": "beach", "national_park": "park", "mount_fuji": "park",
    "camping": "camping", "night_with_stars": "night", "milky_way": "night", "bridge_at_night": "night",
}  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """One image file and what it shows.

    Attributes:
        path: a 64 x 64 PNG with an alpha channel.
        vendor: the npm package that it comes from.
        kind: ``person``, ``occupation``, ``pet``, ``creature`` or ``place``.
        attributes: the classes that apply, by attribute name (``gender``, ``tone``, ``age``, ``occupation``, ...).
    """

    path: Path
    vendor: str
    kind: str
    attributes: dict[str, str] = field(hash=False)

    def get(self, attribute: str) -> str:
        """Return the class of an attribute, or an empty string where it does not apply."""
        return self.attributes.get(attribute, "")


def read_drawings(folder: Path, vendor: str) -> list[Drawing]:
    """List the drawings that Emoji World uses from one unpacked ``emoji-datasource-*`` package.

    Args:
        folder: the unpacked package, with ``emoji.json`` and ``img/<vendor>/64``.
        vendor: ``google`` or ``twitter``.

    Returns:
        The drawings in the order of ``emoji.json``; only files that exist.
    """
    entries = json.loads((folder / "emoji.json").read_text())
    images = folder / "img" / vendor / "64"
    found = [
        Drawing(images / image, vendor, kind, attributes)
        for entry in entries
        for kind, base in _describe(entry["short_name"])
        for image, attributes in _by_tone(entry, kind, base)
    ]
    return [drawing for drawing in found if drawing.path.exists()]


def _describe(name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (kind, attributes without tone) for an emoji's short name; nothing for those that are not used."""
    if name in PEOPLE:
        gender, age, hair = PEOPLE[name]
        base = {"gender": gender, "age": age, "occupation": "none"}
        yield "person", base | ({"hair": hair} if hair else {})
    elif name in PETS:
        yield "pet", {"animal": PETS[name]}
    elif name in MOMENTS:
        yield "place", {"place": MOMENTS[name]}
    elif name in ("mermaid", "merman"):
        yield "creature", {"creature": "merperson", "gender": "woman" if name == "mermaid" else "man"}
    else:
        yield from _describe_gendered(name)


def _describe_gendered(name: str) -> Iterator[tuple[str, dict[str, str]]]:
    prefix, _, rest = name.replace("_", "-").partition("-")
    role = rest.replace("-", " ")
    if prefix not in ("male", "female"):
        return
    gender = "man" if prefix == "male" else "woman"
    if role in OCCUPATIONS:
        yield "occupation", {"gender": gender, "age": "adult", "occupation": role}
    elif role in CREATURES:
        yield "creature", {"gender": gender, "creature": role}


def _by_tone(entry: dict, kind: str, base: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield one (file, attributes) for each skin tone; a person without a tone (the yellow one) is left out."""
    variations = entry.get("skin_variations", {})
    toned = {TONE_CODES[code]: item["image"] for code, item in variations.items() if code in TONE_CODES}
    for tone, image in toned.items():
        yield image, base | {"tone": tone}
    if not toned and kind not in ("person", "occupation"):
        yield entry["image"], base
