"""The model card of a fitted debiaser, filled in from its facts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.config.combinations import guidance_of_arms, model_of_arms
from selfdebias.config.files import check_plain
from selfdebias.config.prompts import PLACE, filled
from selfdebias.encoders.base import told_of
from selfdebias.jobs.card_example import example
from selfdebias.jobs.stages.collected import read_identity
from selfdebias.jobs.stages.fitted_files import BANK, PROJECTOR, tensors_of
from selfdebias.jobs.stages.project import name_of
from selfdebias.modes.banks import PROMPT
from selfdebias.report.privacy import without_places
from selfdebias.report.trial import trial_in, trial_verdict
from selfdebias.report.wording import plain
from selfdebias.storage.atomic import check_inside, hash_file, link_or_copy, read_json, write_json, write_text
from selfdebias.storage.hidden import hidden
from selfdebias.storage.stage_folder import read_header
from selfdebias.testbed import HERE as TESTBED

FACTS, CARD = "debiaser.json", "README.md"
FORMAT = 1


def facts_of_run(
    config: Mapping[str, Any], paths: Mapping[str, Path], encoder: Any, command: str = ""
) -> dict[str, Any]:
    """Gather the facts of a finished run: what was fitted on what, the guided arm's settings, and fairness where measured.

    Args:
        config: the run's configuration.
        paths: folders of its finished steps, by name.
        encoder: the encoder, for its name.
        command: the command line, which may be that of a trial.
    """
    modes, projected = (read_json(paths[step] / f"{name}.json") for step, name in _FILES.items())
    arms, drawn = guidance_of_arms(config["guidance"]), model_of_arms(config)
    facts = {
        "model": without_places(config["model"]["pretrained"], "pretrained"), "encoder": name_of(encoder), "told": told_of(encoder),
        "prompts": filled(config["prompts"]["text"], config["prompts"].get("templates", [PLACE])),
        "n_images": config["collect"]["n_images"], "projector_cosine": projected["cosine_held_out"],
        "modes": {name: modes[name] for name in TOLD if name in modes},
        "call": {**{name: drawn[key] for name, key in _CALL.items() if drawn.get(key) is not None}, **(drawn.get("call") or {})},
        "guidance": arms.get("guided", arms["vanilla"]), "schedule": dict(config["schedule"]),
    }  # fmt: skip
    if "pipeline" in config["model"]:
        facts["pipeline"] = config["model"]["pipeline"]
    if identity := read_identity(paths["collect"]):
        facts["unet"] = identity
    if trial := trial_in(command):
        facts["trial"] = trial
    if "source" in config["bank"]:
        facts["carried_from"] = config["bank"]["source"]
        facts |= {"threshold": PROMPT} if config["bank"].get("threshold") == PROMPT else {}
    if "evaluate" in paths:
        measured = read_json(paths["evaluate"] / "results.json")["arms"]
        attributes = config["prompts"]["attributes"]
        facts["results"] = {arm: {name: it[name]["fd_hard"] for name in attributes} for arm, it in measured.items()}
    return facts


def known_as(name: str) -> str:
    """Return a model's name as others may read it: of a folder of this computer its last part, of one that ships its name."""
    if Path(name).resolve().parent == TESTBED:
        return f"shipped:{Path(name).name}"
    return without_places(name, "pretrained")


_CALL = {  # argument of the pipeline: option of the model
    "num_inference_steps": "steps", "guidance_scale": "guidance_scale", "eta": "eta", "negative_prompt": "negative_prompt",
    "height": "height", "width": "width",
}  # fmt: skip
_FILES = {"discover": "modes", "project": "project"}
TOLD = ("k", "sizes", "silhouette", "words", "axes")  # what a card says of the modes


def model_card(facts: Mapping[str, Any]) -> str:
    """Write the card in Markdown.

    Args:
        facts: the contents of ``debiaser.json``; what it lacks is left out, never guessed.
    """
    modes, prompts, alone = facts["modes"], facts["prompts"], facts["modes"]["silhouette"]
    lines = [
        "---", "library_name: selfdebias", "tags: [diffusion, fairness]", "---", "",
        f"# SelfDebias for {_cell(facts['model'])}", "",
        *([f"**A trial. {trial_verdict(_cell(facts['trial'])).sentence}**", ""] if facts.get("trial") else []),
        "Balances the modes that a diffusion model generates. They were found without labels, so a mode has a number and no "
        "name: look at its images before you choose a target.", "",
        "## Use", "", example(facts), "",
        "## Fitted on", "",
        "| | |", "|---|---|",
        f"| prompts | {_cell('; '.join(prompts)) or 'none'} |",
        *([f"| modes transferred from | {_cell(facts['carried_from'])} |"] if "carried_from" in facts else []),
        *([f"| transferred to | {_cell('; '.join(facts['fitting_prompts']))} |"] if facts.get("fitting_prompts") else []),
        *([f"| threshold between the sides | {_threshold(modes)} |"] if facts.get("threshold") == PROMPT else []),
        f"| images of each | {facts['n_images']} |" if facts.get("fitting_prompts") else f"| images | {facts['n_images']} |",
        f"| arguments of each call | {_cell(', '.join(f'{key} {value}' for key, value in facts['call'].items()) or 'none')} |",
        f"| encoder | {_cell(facts['encoder'])} |",
        *([f"| which was told | {_cell(facts['told'])} |"] if facts.get("told") else []),
        f"| modes | {_counted(modes)} |",
        *(f"| {_name_of(k, modes)} | {_words(words)} |" for k, words in enumerate(modes["words"]) if words),
        f"| silhouette of the modes | {_cell(alone['reason']) if isinstance(alone, Mapping) else f'{alone:.3f}'} |",
        f"| projector: cosine to the embedding, held-out images | {facts['projector_cosine']:.3f} |",
        "", "## Settings", "", "| | |", "|---|---|",
        *(f"| {part}: {_cell(key)} | {_cell(value)} |" for part in ("guidance", "schedule") for key, value in facts[part].items()),
        *_measured(facts),
        "", "## Limits", "",
        "It holds for this model, these prompts, this image size and this guidance scale. A mode that the model did not show "
        "among the fitted images is not known. Method: arXiv 2512.03749.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _counted(modes: Mapping[str, Any]) -> str:
    """Return how many modes, or axes, there are, and of how many images each."""
    sizes = modes["sizes"]
    if not modes.get("axes"):
        return f"{modes['k']}, of {' / '.join(str(size) for size in sizes)} images"
    sides = ", ".join(f"{first} / {second}" for first, second in zip(sizes[::2], sizes[1::2], strict=True))
    return f"{len(modes['axes'])} axes, with {sides} images on their two sides"


def _threshold(modes: Mapping[str, Any]) -> str:
    """Return what `threshold=prompt` came to: a partition of more than two modes has no threshold."""
    two = modes.get("axes") or modes["k"] == 2
    return "each prompt's own" if two else f"none, as there are {modes['k']} modes; each prompt's own mean"


def _name_of(mode: int, modes: Mapping[str, Any]) -> str:
    return f"axis {mode // 2}, side {mode % 2}" if modes.get("axes") else f"mode {mode}"


def _cell(value: object) -> str:
    """What somebody else wrote, on one line of Markdown that shows it as it stands."""
    return re.sub(r"([\\`*|<>\[\]])", r"\\\1", plain(value))


def _words(words: list[Mapping[str, Any]]) -> str:
    return ", ".join(f"{_cell(word['caption'])} (d {word['effect']:.1f})" for word in words)


def _number(value: float | None) -> str:
    """Return a measured value; n/a where there is none, such as of images that the judge could tell nothing of."""
    return "n/a" if value is None else f"{value:.3f}"


def _measured(facts: Mapping[str, Any]) -> list[str]:
    """Return the section of results, if the run has measured any."""
    results = facts.get("results")
    if not results:
        return []
    rows = [
        f"| {_cell(arm)} | {_cell(attribute)} | {_number(entry.get('value'))} | {entry.get('n', 'n/a')} |"
        for arm, attributes in sorted(results.items(), key=lambda item: (item[0] != "vanilla", item[0]))
        for attribute, entry in attributes.items()
    ]
    return ["", "## Measured", "", "| arm | attribute | `fd_hard` | images |", "|---|---|---|---|", *rows]


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Write ``debiaser.json``, with the hashes of the tensors that lie beside it, and the model card."""
    facts = hidden(facts)
    files = {name: hash_file(folder / name) for name in tensors_of(folder) if (folder / name).is_file()}
    write_json(folder / FACTS, {**facts, "format": FORMAT, "files": files})
    write_text(folder / CARD, model_card(facts))


def gather_debiaser(
    place: Path, config: Mapping[str, Any], paths: Mapping[str, Path], encoder: Any, command: str
) -> None:
    """Link the tensors of a debiaser from the stages' folders, and write the model card; arguments as in `facts_of_run`."""
    for name in tensors_of(paths["project"]):
        left = [paths[stage] / name for stage in ("project", "discover") if (paths[stage] / name).exists()]
        for path in left[:1]:  # modes found among projected vectors have no means
            (place / name).parent.mkdir(exist_ok=True)
            link_or_copy(path, place / name)
    write_facts(place, facts_of_run(config, paths, encoder, command))


def read_facts(folder: Path) -> dict[str, Any]:
    """Read ``debiaser.json``, and hold the tensors beside it against their hashes.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the folder is of another format, a file is damaged or not the one that was saved.
    """
    for name in (FACTS, PROJECTOR, BANK):
        if not (folder / name).is_file():
            words = "give a finished run that sampled, runs/jobs/<hash>, or a folder that save_pretrained wrote"
            if (folder / "stages").is_dir():
                words = (
                    "the stages of a fit are there: give SelfDebias.fit the same arguments and folder, it finds them"
                )
            raise FileNotFoundError(f"`folder` must hold a {name}, got {folder}: {words}.")
    check_inside(folder, (FACTS, *tensors_of(folder)))
    facts = read_json(folder / FACTS)
    check_plain(facts, folder / FACTS)
    if facts.get("format") != FORMAT:
        raise ValueError(
            f"`folder` must be of format {FORMAT}, got {facts.get('format')}: {folder} is of another version."
        )
    _check_files(folder, facts.pop("files", None))
    for name in ("guidance", "schedule"):
        if not isinstance(facts.get(name), Mapping):
            raise ValueError(f"`{folder / FACTS}` must describe a {name}, got {facts.get(name)!r}.")
    return facts


def _check_files(folder: Path, files: Any) -> None:
    """Hold the tensors of a debiaser's folder against their hashes; those of before have none, which is said."""
    if not isinstance(files, Mapping):
        warnings.warn(
            f"{folder} is of an earlier version, without hashes: its files and its model are not checked.", stacklevel=4
        )
    told = files if isinstance(files, Mapping) else {}
    if left := sorted(name for name in told if "/" in name and not (folder / name).is_file()):
        raise FileNotFoundError(
            f"`folder` must hold {left[0]}, as was saved, got {folder}: copy the whole folder again."
        )
    for name in tensors_of(folder):
        path = folder / name
        if not path.is_file():
            continue
        read_header(path)
        if isinstance(files, Mapping) and hash_file(path) != files.get(name):
            raise ValueError(
                f"`{path}` must be the file that was saved, got one with another sha256: copy the folder again."
            )
