"""What an evaluation takes from outside its job: folders of images as arms, a reference, and the modes of another job.

All of it is looked at, and hashed for the key, before anything slow is imported.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.config.rules import ConfigError, refuse
from selfdebias.jobs.job_record import read_record
from selfdebias.judges.labelled import check_layout
from selfdebias.storage import StorageError
from selfdebias.storage.atomic import check_inside, read_json, sha256_of
from selfdebias.storage.image_folder import ImageFolder
from selfdebias.storage.provenance import read_origin
from selfdebias.storage.stage_folder import check_left

KEY = re.compile(r"[\w-]+")
STAGE = re.compile(rf"stages/\w+/{KEY.pattern}")


def check_inputs(evaluate: Mapping[str, Any]) -> None:
    """Refuses folders, labelled images, a reference or modes that are not there, or of which no image can be read.

    Raises:
        ConfigError: With the first of them.
    """
    try:
        for folder in _folders(evaluate):
            folder.check()
        if evaluate["labelled"]:
            check_layout(Path(evaluate["labelled"]))
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(str(error)) from error
    if is_file(evaluate["reference"]):
        read_origin(evaluate["reference"])
    if evaluate["modes"]:
        discover_folder(evaluate["modes"])


def fingerprint_inputs(evaluate: Mapping[str, Any]) -> dict[str, str]:
    """Hash of all that comes from outside, as the weights of `evaluate` in its key; empty if nothing does."""
    parts: list[Any] = [[it.option, it.sha256, [f.facts for f in it.files], it.drawing] for it in _folders(evaluate)]
    if is_file(evaluate["reference"]):
        parts.append(sha256_of(Path(evaluate["reference"])))
    if evaluate["modes"]:
        folder = discover_folder(evaluate["modes"])
        parts += [sha256_of(folder / name) for name in ("modes.json", "centers.safetensors")]
    if not parts:
        return {}
    return {"evaluate": hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}


def check_encoder(evaluate: Mapping[str, Any], identity: str, features: str, fingerprint: str) -> None:
    """Refuses a cached reference, or modes, that another encoder made.

    Args:
        evaluate: The section of the configuration.
        identity: What `selfdebias.metrics.features.identity` says of the job's encoder.
        features: The same of the metrics' feature extractor, "" without one.
        fingerprint: Hash of its weights, "" if it has none.

    Raises:
        ConfigError: If it was another one.
    """
    made = read_origin(evaluate["reference"]) if is_file(evaluate["reference"]) else None
    for name, own in (("encoder", identity), ("features", features)):
        if made is not None and made[name] != own:
            whose = {"encoder": "encoder", "features": "metrics.features"}[name]
            words = f"a file made with this job's {whose} (give the folder of images instead, or the {whose} that made the file)"
            raise refuse("evaluate.reference", words, evaluate["reference"])
    if evaluate["modes"]:
        key = collected_by(discovered := discover_folder(evaluate["modes"]))
        mark = discovered.parent.parent / "collect" / (key if KEY.fullmatch(key) else "?") / "stage.json"
        found_with = _mark(mark, "weights").get("encoder")
        of_fit = str(_mark(discovered / "stage.json", "asked").get("encoder", ""))  # ends as `name_of` an encoder does
        other = (of_fit and not of_fit.endswith(f"@{fingerprint[:12]}")) or (found_with and found_with != fingerprint)
        if fingerprint and other:
            raise refuse(
                "evaluate.modes", "modes that were found with this job's encoder (choose it with encoder=...)", evaluate["modes"]
            )  # fmt: skip


def is_file(reference: str | None) -> bool:
    """Whether the reference is cached, and no folder."""
    return reference is not None and Path(reference).is_file()


def reference_folder(reference: str) -> Path:
    """The folder of reference images: the one that is given, or of a job those that its own arms are held against."""
    path = Path(reference)
    stages = _stages_of(path)
    stage = "collect/reference" if "collect/reference" in stages else "collect"
    return _stage_of_job(path, stage, "evaluate.reference") or path


def discover_folder(modes: str) -> Path:
    """The discover stage that `evaluate.modes` means.

    Raises:
        ConfigError: If it is neither a finished job, nor the folder of one `fit`, nor a finished discover stage.
    """
    path = _stage_of_job(Path(modes), "discover", "evaluate.modes") or Path(modes)
    of_fit = [file.parent for file in path.glob("stages/discover/*/modes.json")]
    path = of_fit[0] if len(of_fit) == 1 else path
    if not (path / "modes.json").exists() or not (path / "centers.safetensors").exists():
        words = "the folder of a finished job (runs/jobs/...), fit or discover stage (runs/stages/discover/...)"
        raise refuse("evaluate.modes", words, modes)
    try:
        check_inside(path, ("modes.json", "centers.safetensors", "stage.json"))
        check_left(path)
    except (StorageError, ValueError) as error:
        raise ConfigError(f"`evaluate.modes`: {error}") from None
    return path


def collected_by(discovered: Path) -> str:
    """Key of the collect stage whose images the modes were found on, "" where nothing says so."""
    return str(_mark(Path(discovered) / "stage.json", "inputs").get("collected", ""))


def _folders(evaluate: Mapping[str, Any]) -> list[ImageFolder]:
    folders = [
        ImageFolder(Path(path), f"evaluate.folders.{name}", evaluate["drawn_together"])
        for name, path in (evaluate["folders"] or {}).items()
    ]
    if evaluate["reference"] and not is_file(evaluate["reference"]):
        folders.append(ImageFolder(reference_folder(evaluate["reference"]), "evaluate.reference"))
    return folders


def _stage_of_job(path: Path, stage: str, option: str) -> Path | None:
    """The stage's folder, of a job's folder; None for any other folder."""
    if not (path / "job.json").exists():
        return None
    stages = _stages_of(path)
    folder = path.parent.parent / str(stages.get(stage, ""))
    if not STAGE.fullmatch(str(stages.get(stage))) or not folder.is_dir():
        raise refuse(option, f"a job with its {stage} stage", str(path))
    return folder


def _stages_of(job: Path) -> Mapping[str, Any]:
    """The folder of each stage, from its root, as a job's folder names them; what it says may be a stranger's."""
    try:
        stages = read_record(job).get("stages")
    except StorageError as error:
        raise ConfigError(str(error)) from None
    return stages if isinstance(stages, Mapping) else {}


def _mark(file: Path, section: str) -> Mapping[str, Any]:
    """A section of a `stage.json`; empty where there is none."""
    found = read_json(file).get(section) if file.exists() else None
    return found if isinstance(found, Mapping) else {}
