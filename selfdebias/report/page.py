"""The page of a finished job: one self-contained HTML file, without scripts and without anything to fetch."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from selfdebias.config.arms import guidance_of_arms
from selfdebias.report.explanations import explanations, interval_in_words, verdicts_in_words
from selfdebias.report.gallery import Chart, Pair
from selfdebias.report.grids import grids
from selfdebias.report.job_table import sections, shown_in
from selfdebias.report.material import Material
from selfdebias.report.measures import Measure, arms_of, attributes_of, class_shares, images_of, measure
from selfdebias.report.wording import Notes, plain, prompt_of, written
from selfdebias.storage.hidden import redacted, redacted_command
from selfdebias.storage.provenance import in_words

NO_BREAK = chr(0xA0)


@dataclass(frozen=True)
class ArmPairs:
    """The pairs of one arm that the page shows; `turned` of `twins` images changed their mode in the whole arm."""

    arm: str
    pairs: list[Pair]
    turned: int
    twins: int


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


def render_page(material: Material, pictures: Pictures) -> str:
    """Fills the template.

    Args:
        material: What the stages left.
        pictures: All pictures and charts.

    Returns:
        An HTML document; every foreign text in it is escaped.
    """
    notes = Notes()
    results = material.results
    found, extra = sections(results, notes), grids(results, notes)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            asked=asked(material),
            command=plain(redacted_command(str(material.job.get("command") or "selfdebias"))),
            config_hash=results.get("config_hash", ""),
            made_with=in_words(material.job.get("made_with", {})),
            prompt=prompt_of(results),
            modes=mode_rows(material, notes),
            found=found_in_words(material.found),
            agreement=agreement_rows(results, notes),
            axes="axes" in material.found,
            place=partial(place_in_words, material.found),
            stability=written(measure(results, "modes", "stability"), notes, ".2f"),
            silhouette=written(measure(results, "modes", "silhouette"), notes),
            pictures=pictures,
            arms=arms_of(results),
            sections=found,
            shares=share_rows(results, notes),
            cost=cost_rows(results, notes),
            cosine=written(measure(material.trained, "cosine_held_out"), notes) if material.trained else "",
            verdicts=verdicts_in_words(results),
            grids=extra,
            explanations=explanations(results, shown_in(found, extra)),
            interval=interval_in_words(results),
            warnings=warnings(results),
            notes=notes.lines(),
        )
    )


def environment() -> Environment:
    """What fills the templates of pages: everything is escaped, and nothing that is not there is passed over."""
    found = Environment(
        loader=PackageLoader("selfdebias", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
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


def asked(material: Material) -> list[tuple[str, str]]:
    """What was asked of the job: pairs of a name and a value."""
    results = material.results
    seeds, arms = results.get("seeds", {}), arms_of(results)
    counts = ", ".join(f"{plain(arm)} {images_of(results, arm) or '?'}" for arm in arms)
    rows = [
        ("Prompt", prompt_of(results)),
        ("Images (N)", f"{counts}; modes from {len(material.found['labels'])} other vanilla images"),
        ("Seeds", f"collect {seeds.get('collect', '?')}, generate {seeds.get('generate', '?')} (the same in all arms)"),
        ("Target", target_of(material.found)),
    ]
    templates = results.get("prompts", {}).get("templates") or []
    rows[1:1] = [("Templates", "; ".join(plain(template) for template in templates))] if templates else []
    return rows + settings(material.job.get("config", {}))


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


def settings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The parts of a job with their settings: pairs of a name and a value; an arm beside the guided one has its own."""
    config = redacted(config)
    if config.get("guidance"):
        arms = {arm: part for arm, part in guidance_of_arms(config["guidance"]).items() if arm != "vanilla"}
        config = {**config, "guidance": arms.pop("guided", None), **arms}
    names = {"random": "Random control", "attribute_prompts": "Attribute prompts"}
    parts = ("model", "encoder", "clustering", "projector", "guidance", *names, "schedule", "judge")
    return [(names.get(part, part.capitalize()), described(config[part])) for part in parts if config.get(part)]


def described(part: Any) -> str:
    """One part of the configuration in one line: its class and its settings.

    >>> described({"_target_": "selfdebias.guidance.self_debias.SelfDebiasGuidance", "strength": 0.5})
    'SelfDebiasGuidance (strength 0.5)'
    """
    if not isinstance(part, Mapping):
        return plain(part)
    settings = {key: value for key, value in part.items() if not str(key).startswith("_") and is_set(value)}
    words = ", ".join(f"{key} {described(value)}" for key, value in settings.items())
    name = plain(str(part.get("_target_", "")).rsplit(".", 1)[-1])
    return f"{name} ({words})" if name and words else name or words


def is_set(value: Any) -> bool:
    """Whether a setting says anything: None, an empty one, and a part with no setting of its own do not.

    >>> is_set(0), is_set(None), is_set({"_target_": "a.B", "name": None, "options": {}})
    (True, False, False)
    """
    if isinstance(value, Mapping):
        return any(is_set(item) for key, item in value.items() if not str(key).startswith("_"))
    return value is not None and value != []


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
        shares = {name: measure(results["arms"][name], "mode_shares", str(mode)) for name in arms_of(results)}
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
    axes = results.get("modes", {}).get("axes", [])
    if axes:
        return [_axis_row(name, a, axis, notes) for name in attributes_of(results) for a, axis in enumerate(axes)]
    known = [key for name in ("nmi", "ari") for key in _keys(results.get("modes", {}).get(name))]
    wanted = [name for name in attributes_of(results) if name in known]

    def cell(kind: str, name: str) -> str:
        return written(measure(results, "modes", kind, name), notes)

    return [(plain(name), cell("nmi", name), cell("ari", name)) for name in dict.fromkeys([*wanted, *known])]


def _axis_row(name: str, a: int, axis: Mapping[str, Any], notes: Notes) -> tuple[str, ...]:
    cells = (written(measure(axis, kind, name), notes) for kind in ("homogeneity", "ari", "auc"))
    return f"{plain(name)}, axis {a}", *cells


def share_rows(results: Mapping[str, Any], notes: Notes) -> list[tuple[str, str, list[str]]]:
    """Share of each class with its interval: attribute, class, one cell for each arm."""
    rows = []
    for attribute in attributes_of(results):
        by_arm = {arm: class_shares(results, arm, attribute) for arm in arms_of(results)}
        for name in dict.fromkeys(name for entries in by_arm.values() for name in entries):
            absent = Measure(reason=f"the shares of {attribute} were not computed")
            cells = [written(entries.get(name, absent), notes) for entries in by_arm.values()]
            rows.append((plain(attribute), plain(name), cells))
    return rows


def cost_rows(results: Mapping[str, Any], notes: Notes) -> list[tuple[str, str]]:
    """What guidance costs beside vanilla sampling."""
    names = {
        "ratio": "Time of guided over vanilla sampling",
        "guidance_share": "Share of the guided time spent in guidance itself",
        "peak_memory_ratio": "Peak memory of guided over vanilla sampling",
    }
    return [(text, written(measure(results, "cost", key), notes)) for key, text in names.items()]


def warnings(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know before any number."""
    found = []
    judge = results.get("judge", {})
    if judge.get("circular"):
        found.append(
            f"The judge rests on the encoder that the modes were found with ({plain(judge.get('encoder_id'))}): "
            "that the two agree is circular."
        )
    return found


def _keys(tree: Any) -> list[str]:
    return list(tree) if isinstance(tree, Mapping) else []
