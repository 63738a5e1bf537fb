"""The columns of the studies' tables: of each its title, and how its cell is written for one arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.pooled import interval, mode_shares, number
from selfdebias.metrics.distances import FRECHET, KID
from selfdebias.report.measures import frechet_key, title_of

Cell = Callable[[dict, str], str]  # from pooled results and the name of an arm
USUAL = (
    "n", "men", "gender", "tone_shift", "kept", "switched", "turned_precision", "frechet", "kid", "kid_within",
)  # fmt: skip
AXES = (
    "n", "men", "gender", "tone_composition", "age_composition", "sides", "switched", "switched_precision", "kept",
    "unclassified",
)  # fmt: skip


def header(columns: Sequence[str], every: Mapping[str, dict], names: str = "Arm") -> str:
    """Return the titles of the columns and the line below them; distances are named by their features, where these are known.

    Args:
        columns: keys of `COLUMNS`.
        every: pooled results by variant.
        names: title of the column of names.
    """
    distances = {}
    if every and all("spaces" in results for results in every.values()):
        first = next(iter(every.values()))
        distances = {"frechet": title_of(FRECHET, first), "kid": title_of(KID, first)}
    titles = [names, *(distances.get(key, COLUMNS[key][0]) for key in columns)]
    return f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"


def row(name: str, results: dict, arm: str, columns: Sequence[str] = USUAL) -> str:
    """Return the row of one arm.

    Args:
        name: of the row.
        results: pooled results of a variant.
        arm: such as vanilla or guided.
        columns: keys of `COLUMNS`.
    """
    return f"| {' | '.join([name, *(COLUMNS[key][1](results, arm) for key in columns)])} |"


def _at(found: Any, path: Sequence[str]) -> Any:
    """Return what lies at a path; None where an arm has no such value: vanilla images have no paired vanilla sample."""
    for key in path:
        found = (found or {}).get(key)
    return found


def _value(*path: str, of: str = "") -> Cell:
    """A value with its interval, of the row's arm or of the arm that is named."""
    return lambda results, arm: interval(_at(results["arms"][of or arm], path))


def _count(*path: str) -> Cell:
    return lambda results, arm: number(_at(results["arms"][arm], path), 0)


def _mode(index: int) -> Cell:
    return _value("mode_shares", str(index))


def _composition(attribute: str) -> Cell:
    """The distance, and in brackets the one that the new mix of modes predicts."""

    def cell(results: dict, arm: str) -> str:
        it = results["arms"][arm]
        predicted = _at(it, ("composition", attribute, "predicted_fd_hard")) if arm != "vanilla" else None
        return interval(it[attribute]["fd_hard"]) + (f" ({interval(predicted)})" if predicted else "")

    return cell


def _attribute(of: str) -> Cell:
    """The distance of the prompt's first attribute, in the arm that is named."""
    return lambda results, arm: interval(results["arms"][of][results["prompts"]["attributes"][0]]["fd_hard"])


def _ari(attribute: str) -> Cell:
    return lambda results, arm: f"{results['modes']['ari'][attribute]:.2f}"


def _agreement(results: dict, arm: str) -> str:
    return ", ".join(f"{key} {value:.2f}" for key, value in sorted(results["modes"]["ari"].items()))


def _tone_shift(results: dict, arm: str) -> str:
    own, vanilla = (results["arms"][it]["shares"]["tone"] for it in (arm, "vanilla"))
    return f"{max(abs(own[tone]['value'] - vanilla[tone]['value']) for tone in own):.3f}"


def _sides(results: dict, arm: str) -> str:
    """The share of side 1 of each axis; of a partition the share of each mode."""
    it = results["arms"][arm]
    shares = [axis["share"] for axis in it.get("axes", [])] or it["mode_shares"].values()
    return " / ".join(f"{share['value']:.2f}" for share in shares)


def _distance_of_sides(results: dict, arm: str) -> str:
    sides = [axis["share"]["value"] for axis in results["arms"][arm]["axes"]]
    return f"{sum(abs(side - 0.5) for side in sides) / len(sides):.3f}"


def _from_target(results: dict, arm: str) -> str:
    it = results["arms"][arm]
    return " / ".join(number(axis["fd"]) for axis in it["axes"]) if it.get("axes") else interval(it["mode_fd"])


def _gender_less(other: str) -> Cell:
    """The paired difference of the distance from that of another arm; n/a of an arm that is not held against it.

    Prompts that state gender are sampled one class after the other, so each block of a guided arm meets one class alone: n/a.
    """

    def cell(results: dict, arm: str) -> str:
        if (arm, other) == ("attribute_prompts", "guided"):
            return "n/a"
        it = _at(results["arms"][arm], ("difference", other, "gender", "fd_hard"))
        return interval(it) if it else "n/a"

    return cell


def _precision_less(results: dict, arm: str) -> str:
    it = _at(results["arms"][arm], ("difference", "vanilla", "quality", "judge", "precision"))
    return interval(it) if it else "n/a"


def _rows(results: dict, arm: str) -> str:
    return f"{results['rows_per_image'][arm] / results['rows_per_image']['vanilla']:.2f}"


def _kid_within(results: dict, arm: str) -> str:
    kid = results["arms"][arm]["within_modes"]["kid"]
    return f"{number(kid)} ({number(kid.get('floor'))})"


def _kid_within_interval(results: dict, arm: str) -> str:
    kid = results["arms"][arm]["within_modes"]["kid"]
    return f"{interval(kid)} ({number(kid['floor'])})"


def _n_kept(results: dict, arm: str) -> str:
    it = results["arms"][arm]
    return str((it["axes"][0]["share"] if arm == "vanilla" else it["kept_cosine"])["n"])


def _shares(of: str) -> Cell:
    return lambda results, arm: mode_shares(results["arms"][of])


COLUMNS: dict[str, tuple[str, Cell]] = {
    "n": ("N", _count("gender", "fd_hard", "n")),
    "men": ("men", _value("shares", "gender", "man")),
    "gender": ("gender `fd_hard`", _value("gender", "fd_hard")),
    "less_vanilla": ("less vanilla's", _gender_less("vanilla")),
    "less_default": ("less the default's", _gender_less("guided")),
    "tone": ("tone `fd_hard`", _value("tone", "fd_hard")),
    "tone_shift": ("largest shift of a tone's share", _tone_shift),
    "kept": ("`kept_cosine`", _value("kept_cosine")),
    "turned_precision": ("precision of switched, of vanilla's own", _value("turned", "precision_ratio")),
    "frechet": ("FID", lambda results, arm: number(results["arms"][arm][frechet_key(results["arms"][arm])])),
    "kid": ("KID", _value("kid")),
    "kid_within": ("KID within modes (floor)", _kid_within),
    "tone_composition": ("tone `fd_hard` (predicted by composition)", _composition("tone")),
    "age_composition": ("age `fd_hard` (predicted)", _composition("age")),
    "sides": ("side 1 of each axis", _sides),
    "switched": ("switched", _count("turned", "n")),
    "switched_precision": (
        "precision of switched, judge's features",
        _value("quality", "judge", "turned_precision_ratio"),
    ),
    "unclassified": ("unclassified, gender", _value("unclassified", "gender")),
    "n_kept": ("N", _n_kept),
    "distance_of_sides": ("mean distance of a side from 1/2", _distance_of_sides),
    "kept_pixels": ("kept, pixels", _value("quality", "pixels", "kept")),
    "kept_encoder": ("kept, encoder", _value("kept_cosine")),
    "switched_precision_encoder": (
        "precision of switched, encoder",
        _value("quality", "encoder", "turned_precision_ratio"),
    ),
    "kid_within_interval": ("KID within cells (floor)", _kid_within_interval),
    "n_modes": ("N", _count("mode_fd", "n")),
    **{f"mode_{index}": (f"mode {index}", _mode(index)) for index in range(4)},
    "from_target": ("modes: distance from the target", _from_target),
    "precision": ("precision, judge's features", _value("quality", "judge", "precision")),
    "precision_less": ("less vanilla's", _precision_less),
    "edited": ("edited", lambda results, arm: str(results["edited"][arm])),
    "rows": ("rows", _rows),
    "mode_fd": ("`mode_fd`", _value("mode_fd")),
    "modes": ("modes", lambda results, arm: str(results["modes"]["k"])),
    "silhouette": ("silhouette", lambda results, arm: f"{results['modes']['silhouette']:.2f}"),
    "agreement": ("ARI with", _agreement),
    "ari_gender": ("ARI with gender", _ari("gender")),
    "ari_tone": ("with tone", _ari("tone")),
    "ari_age": ("with age", _ari("age")),
    "shares_vanilla": ("shares of the modes, vanilla", _shares("vanilla")),
    "shares_guided": ("guided", _shares("guided")),
    "mode_fd_vanilla": ("`mode_fd`, vanilla", _value("mode_fd", of="vanilla")),
    "mode_fd_guided": ("guided", _value("mode_fd", of="guided")),
    "attribute_vanilla": ("`fd_hard` of the attribute, vanilla", _attribute("vanilla")),
    "attribute_guided": ("guided", _attribute("guided")),
}
