"""The README's table: the headline numbers of the committed studies, vanilla's beside those of each arm.

    python -m experiments.headline

Nothing is run. Arms of different studies have different seeds, so each cell names the vanilla images of its own seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.notebook import filled
from experiments.pooled import RESULTS
from selfdebias.storage.atomic import write_text

README = Path(__file__).parent.parent / "README.md"
HEAD = f"| Arm | told | men | occupations: deviation | precision | cost: person; occupations |\n|{'---|' * 6}"


class Place(NamedTuple):
    """An arm of one part of a study."""

    study: str
    part: str
    arm: str


class Row(NamedTuple):
    """A row: what is measured on "a person", and on the occupations."""

    name: str
    told: str
    person: Place
    occupations: Place


PERSON, CAPTIONS, ATTRIBUTES = "person_choosing", "captions, axes", "attributes, partition"
MANY = "occupations_choosing"
ROWS = (
    Row(
        "`transport`, the default", "captions",
        Place(PERSON, CAPTIONS, "guided"), Place(MANY, CAPTIONS, "guided"),
    ),
    Row(
        "`transport` on a transformer, `model=emoji_dit`", "captions",
        Place("person_dit", f"{CAPTIONS}: transport", "guided"), Place("occupations_dit", f"after block 3: {CAPTIONS}", "guided"),
    ),
    Row("`resample`", "captions", Place(PERSON, CAPTIONS, "resample"), Place(MANY, CAPTIONS, "resample")),
    Row(
        "the paper's method, tuned", "captions",
        Place("person_encoders", "captions: `experiment=paper_tuned`", "guided"),
        Place("occupations_axes", "captions, `paper_tuned`, own modes", "guided"),
    ),
    Row(
        "the paper's method, tuned", "attributes",
        Place("person_encoders", "attributes: `experiment=paper_tuned`", "guided"),
        Place("occupations_axes", "attributes, `paper_tuned`, own modes", "guided"),
    ),
    Row("`transport`", "attributes", Place(PERSON, ATTRIBUTES, "guided"), Place(MANY, ATTRIBUTES, "guided")),
    Row(
        "`transport_then_resample`", "attributes",
        Place(PERSON, ATTRIBUTES, "transport, then resample"), Place(MANY, ATTRIBUTES, "transport, then resample"),
    ),
    Row(
        "prompts that state it", "gender",
        Place(PERSON, ATTRIBUTES, "attribute_prompts"), Place(MANY, ATTRIBUTES, "attribute_prompts"),
    ),
)  # fmt: skip


def line(row: Row, results: Path = RESULTS) -> str:
    """One row of the table."""
    person, occupations = (_part(place, results) for place in (row.person, row.occupations))
    of_person = (person or {}).get("arms", {})
    of_many = (occupations or {}).get("over_prompts", {})
    cells = [
        row.name, row.told,
        _change(of_person, row.person.arm, "shares", "gender", "man"),
        _change(of_many, row.occupations.arm, "gender", "deviation_ratio"),
        _change(of_person, row.person.arm, "quality", "judge", "precision"),
        f"{_cost(person, row.person.arm)}; {_cost(occupations, row.occupations.arm)}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _part(place: Place, results: Path) -> Mapping[str, Any] | None:
    file = results / f"{place.study}.json"
    part = json.loads(file.read_text()).get(place.part) if file.exists() else None
    arms = (part or {}).get("arms") or (part or {}).get("over_prompts") or {}
    return part if place.arm in arms else None


def _change(arms: Mapping[str, Any], arm: str, *path: str) -> str:
    """Vanilla's value and the arm's; n/a where the arm was not measured."""
    found = []
    for it in ("vanilla", arm):
        value: Any = arms.get(it, {})
        for name in path:
            value = value.get(name, {})
        found.append(value.get("value"))
    return "n/a" if None in found else f"{found[0]:.3f} to {found[1]:.3f}"


def _cost(part: Mapping[str, Any] | None, arm: str) -> str:
    """Rows of the denoiser for a delivered image, over vanilla's; over prompts the mean."""
    counted = (part or {}).get("rows_per_image")
    if not counted:
        return "n/a"
    if not isinstance(counted[arm], Mapping):
        return f"{counted[arm] / counted['vanilla']:.2f}"
    ratios = [counted[arm][prompt] / counted["vanilla"][prompt] for prompt in counted[arm]]
    return f"{sum(ratios) / len(ratios):.2f}"


def table(name: str = "headline") -> str:
    """The table as the README has it; `name` is that of its mark."""
    return "\n".join([HEAD, *(line(row) for row in ROWS), ""]) if name == "headline" else ""


def main() -> None:
    """Write the table into the README."""
    write_text(README, filled(README.read_text(), "table", table))
    print(table())


if __name__ == "__main__":
    main()
