"""The page of a finished job: one self-contained HTML file, without scripts and without anything to fetch."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from selfdebias.metrics.number import Number, number_at
from selfdebias.report.comparisons import grids, verdicts_in_short
from selfdebias.report.explanations import explanations, interval_in_words
from selfdebias.report.job_table import cost_rows, sections, shown_in
from selfdebias.report.material import Material, settings
from selfdebias.report.measures import arms_of, attributes_of, class_shares, images_of
from selfdebias.report.wording import Notes, plain, prompt_of, written
from selfdebias.storage.hidden import hidden, redacted_command
from selfdebias.storage.provenance import in_words

if TYPE_CHECKING:
    from selfdebias.report.gallery import Chart, Pair

NO_BREAK = chr(0xA0)


@dataclass(frozen=True)
class ArmPairs:
    """The pairs of one arm that the page shows; of all its `twins` pairs, `turned` are of two modes, and `others` of two seeds."""

    arm: str
    pairs: list[Pair]
    turned: int
    twins: int
    others: int = 0


@dataclass(frozen=True)
class Pictures:
    """All that is seen on a page.

    Attributes:
        files: PNG files by name: `mode-<k>`, `<arm>-<id>` for pairs, `vanilla` for a job of one arm.
        pairs: The pairs of each arm but vanilla.
        charts: Charts by section: `shares`, `p_hat`, `curves`, `maps`.
    """

    files: dict[str, bytes]
    pairs: list[ArmPairs]
    charts: dict[str, list[Chart]]


def environment() -> Environment:
    """What fills the templates of pages: everything is escaped, and nothing that is not there is passed over."""
    loader = PackageLoader("selfdebias", "report")
    found = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    found.filters |= {"data_uri": data_uri, "unbroken": unbroken}
    return found


def data_uri(png: bytes) -> str:
    """A PNG file as the address of an image that needs no request.

    >>> data_uri(b"abc")
    'data:image/png;base64,YWJj'
    """
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def unbroken(cell: str) -> str:
    """A cell of a table in which lines break between an interval and what is around it, and nowhere else.

    >>> ascii(unbroken("0.5 [0.4, 0.6] / n/a [1]"))
    "'0.5 [0.4,\\\\xa00.6] / n/a\\\\xa0[1]'"
    """
    inside = re.sub(r"[\[(][^\])]*[\])]", lambda found: found[0].replace(" ", NO_BREAK), cell)
    return inside.replace("n/a [", f"n/a{NO_BREAK}[")


def render_page(material: Material, pictures: Pictures) -> str:
    """Fills the template.

    Args:
        material: What the stages left.
        pictures: All pictures and charts.

    Returns:
        An HTML document; every foreign text in it is escaped.
    """
    results, trained, notes = material.results, material.trained, Notes()
    tables, extra = sections(results, notes), grids(results, notes)
    return environment().get_template("page.html.j2").render(
        asked=asked(material),
        command=plain(redacted_command(str(material.job.get("command") or "selfdebias"))),
        config_hash=results.get("config_hash", ""),
        made_with=in_words(material.job.get("made_with", {})),
        tags=", ".join(plain(it) for it in hidden(material.job.get("tags", []))),
        prompt=prompt_of(results),
        modes=mode_rows(material, notes),
        found=found_in_words(material.found),
        agreement=agreement_rows(results, notes),
        axes="axes" in material.found,
        place=partial(place_in_words, material.found),
        stability=written(number_at(results.get("modes"), "stability"), notes, ".2f"),
        silhouette=written(number_at(results.get("modes"), "silhouette"), notes),
        pictures=pictures,
        arms=arms_of(results),
        sections=tables,
        shares=share_rows(results, notes),
        cost=cost_rows(results, notes),
        cosine=written(number_at(trained, "cosine_held_out"), notes) if trained else "",
        verdicts=verdicts_in_short(results),
        grids=extra,
        interval=interval_in_words(results),
        warnings=warnings(results),
        notes=[*explanations(results, shown_in(tables, extra)), *notes.lines()],
    )  # fmt: skip


def warnings(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know before any number."""
    judge = results.get("judge", {})
    if not judge.get("circular"):
        return []
    return [
        f"The judge rests on the encoder that the modes were found with ({plain(judge.get('encoder_id'))}): "
        "that the two agree is circular."
    ]


def asked(material: Material) -> list[tuple[str, str]]:
    """What was asked of the job: pairs of a name and a value."""
    results = material.results
    seeds, templates = results.get("seeds", {}), results.get("prompts", {}).get("templates") or []
    counts = ", ".join(f"{plain(arm)} {images_of(results, arm) or '?'}" for arm in arms_of(results))
    return [
        ("Prompt", prompt_of(results)),
        *([("Templates", "; ".join(map(plain, templates)))] if templates else []),
        ("Images (N)", f"{counts}; modes from {len(material.found['labels'])} other vanilla images"),
        ("Seeds", f"collect {seeds.get('collect', '?')}, generate {seeds.get('generate', '?')} (the same in all arms)"),
        ("Target", target_of(material.found)),
        *settings(material.job.get("config", {})),
    ]


def target_of(found: Mapping[str, Any]) -> str:
    """The shares that were asked for; of axes those of both sides of each that was balanced.

    Args:
        found: The contents of `modes.json`, with the target that was asked for, and `balanced`.

    Example:
        >>> target_of({"target": [0.25, 0.75]})
        'mode shares 0.25, 0.75'
        >>> target_of({"axes": [{}, {}], "target": [0.5, 0.5, 0.25, 0.75], "balanced": [1]})
        'axis 1: 0.25 / 0.75; axes left alone: 0'
    """
    shares = [f"{float(share):.2f}" for share in found["target"]]
    if "axes" not in found:
        return f"mode shares {', '.join(shares)}"
    count = len(found["axes"])
    balanced = found.get("balanced", range(count))
    sides = [f"axis {a}: {' / '.join(shares[2 * a : 2 * a + 2])}" for a in balanced]
    alone = ", ".join(str(a) for a in range(count) if a not in balanced)
    return "; ".join([*sides, *([f"axes left alone: {alone}"] if alone else [])])


def found_in_words(found: Mapping[str, Any]) -> str:
    """What the modes are, in one sentence."""
    if "axes" in found:
        return (
            "Axes of the vanilla images' embeddings, found without a label: each image is on one of two sides of every axis. Where "
            "images are compared by their mode, that is the sides of all axes together."
        )
    if found.get("space") == "projected":
        return "Clusters of the vanilla images' projected activations at each timestep, found without a label."
    return "Clusters of the vanilla images' embeddings, found without a label."


def mode_rows(material: Material, notes: Notes) -> list[dict[str, Any]]:
    """Each discovered mode: size and share among the collected images, share in each arm, and words with effect sizes."""
    sizes, results, words = material.found["sizes"], material.results, material.found["words"]
    rows = []
    for mode, size in enumerate(sizes):
        shares = {name: number_at(results["arms"][name], "mode_shares", str(mode)) for name in arms_of(results)}
        in_arms = [(plain(name), written(share, notes, ".2f")) for name, share in shares.items()]
        told = [(plain(word["caption"]), f"{word['effect']:.1f}") for word in words[mode]]
        share = f"{size / max(1, len(material.found['labels'])):.2f}"
        name = f"Axis {mode // 2}, side {mode % 2}" if "axes" in material.found else f"Mode {mode}"
        rows.append({"mode": mode, "name": name, "size": size, "share": share, "arms": in_arms, "words": told})
    return rows


def place_in_words(found: Mapping[str, Any], mode: int, kind: str | None = None) -> str:
    """Name the mode of an image; where there are axes, its sides of axis 0, 1 and so on.

    Args:
        found: what discover says of the modes.
        mode: of the image; of axes its cell.
        kind: the word before it; None for ``mode`` or ``sides``.

    Example:
        >>> place_in_words({}, 3), place_in_words({"axes": [{}, {}, {}]}, 3), place_in_words({}, 3, "")
        ('mode 3', 'sides 1 1 0', '3')
    """
    axes = found.get("axes", [])
    name = " ".join(str(mode >> a & 1) for a in range(len(axes))) if axes else str(mode)
    kind = kind if kind is not None else "sides" if axes else "mode"
    return f"{kind} {name}".strip()


def agreement_rows(results: Mapping[str, Any], notes: Notes) -> list[tuple[str, ...]]:
    """Agreement of the modes with each judged attribute: name, NMI, ARI; of axes with each of them homogeneity, ARI, AUC."""
    modes, attributes = results.get("modes", {}), attributes_of(results)
    if modes.get("axes"):
        kinds: tuple[str, ...] = ("homogeneity", "ari", "auc")
        held = {f"{plain(name)}, axis {a}": (axis, name) for name in attributes for a, axis in enumerate(modes["axes"])}
    else:
        kinds = ("nmi", "ari")
        known = [name for kind in kinds if isinstance(modes.get(kind), Mapping) for name in modes[kind]]
        held = {plain(name): (modes, name) for name in [*(name for name in attributes if name in known), *known]}
    return [
        (title, *(written(number_at(tree, kind, name), notes) for kind in kinds))
        for title, (tree, name) in held.items()
    ]


def share_rows(results: Mapping[str, Any], notes: Notes) -> list[tuple[str, str, list[str]]]:
    """Share of each class with its interval: attribute, class, one cell for each arm."""
    rows = []
    for attribute in attributes_of(results):
        by_arm = {arm: class_shares(results, arm, attribute) for arm in arms_of(results)}
        for name in dict.fromkeys(name for entries in by_arm.values() for name in entries):
            absent = Number(reason=f"the shares of {attribute} were not computed")
            rows.append(
                (plain(attribute), plain(name), [written(it.get(name, absent), notes) for it in by_arm.values()])
            )
    return rows
