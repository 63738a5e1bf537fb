"""Projector and bank in a folder; where `h_t` is edited after several blocks, with a folder for each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from selfdebias.backbones.calling import normal_tensors
from selfdebias.modes.bank import AxesBank, load_bank
from selfdebias.modes.classifier import ActivationClassifier
from selfdebias.modes.means import ModeMeans
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.semantics import AxesSemantics, Semantics
from selfdebias.storage.atomic import link_or_copy, read_json, write_json

PROJECTOR, BANK = "projector.safetensors", "bank.safetensors"
MEANS = "means.safetensors"  # of the modes in the activations; a folder may lack it
CLASSIFIER = "classifier.safetensors"  # of labelled modes; only where they are a judge's classes
TENSORS = (PROJECTOR, BANK, MEANS, CLASSIFIER)
FOLDER = "block-"


def folder_of_block(folder: Path, block: int) -> Path:
    """Return the folder of one block in a project stage, or in a debiaser's folder, that has several.

    Example:
        >>> folder_of_block(Path("stage"), 4).as_posix()
        'stage/block-4'
    """
    return folder / f"{FOLDER}{block}"


def blocks_in(folder: Path) -> list[int]:
    """Return the blocks that have a folder of their own, ascending; none where `h_t` is edited in one place."""
    names = [path.name.removeprefix(FOLDER) for path in folder.glob(f"{FOLDER}*") if path.is_dir()]
    return sorted(int(name) for name in names if name.isdecimal())


def tensors_of(folder: Path) -> list[str]:
    """Return the names that tensors may have in a debiaser's folder: its own, those of the best block, and those of each other one.

    In a project stage the best block has a folder as well, which is passed over.
    """
    measured = folder / "project.json"
    best = read_json(measured).get("block") if measured.exists() else None
    blocks = [folder_of_block(Path(), block) for block in blocks_in(folder) if block != best]
    return [*TENSORS, *((block / name).as_posix() for block in blocks for name in TENSORS)]


def choose_block(folder: Path, blocks: Sequence[int]) -> None:
    """Give the folder itself the files of the block whose projector tells the modes of held-out images best.

    ``project.json`` holds that ``block``, beside its measures, and ``accuracy_by_block``: of each one ``accuracy_by_timestep``.

    Args:
        folder: of the project stage, with a folder for each block.
        blocks: those blocks.
    """
    measured = {block: read_json(folder_of_block(folder, block) / "project.json") for block in blocks}
    by_block = {block: it["accuracy_by_timestep"] for block, it in measured.items()}
    best = max(blocks, key=lambda block: sum(by_block[block]["cond"].values()) / len(by_block[block]["cond"]))
    for path in sorted(folder_of_block(folder, best).iterdir()):
        link_or_copy(path, folder / path.name)
    of_all = {str(block): it for block, it in by_block.items()}
    write_json(folder / "project.json", {**measured[best], "block": best, "accuracy_by_block": of_all})


def read_semantics(projected: Path, discovered: Path | None = None) -> Semantics | AxesSemantics:
    """Read projector and bank of a finished project stage, or of a debiaser's folder; means and classifier if they are there.

    Args:
        projected: that folder.
        discovered: folder of the discover stage, where that was the later one and has the bank.
    """
    found = _read_semantics(projected, discovered)
    others = [block for block in blocks_in(projected) if block != found.projector.block]
    found.elsewhere = {block: _read_semantics(folder_of_block(projected, block)) for block in others}
    if others and found.projector.block is None:
        raise ValueError(
            f"`{projected}` must hold no {FOLDER}{others[0]}, as its projector reads a UNet: remove that folder."
        )
    for block, it in found.elsewhere.items():
        told, own = _fits(found, block), _fits(it, it.projector.block)
        if told != own:
            raise ValueError(
                f"`{folder_of_block(projected, block)}` must hold {told}, got {own}: copy the whole folder again."
            )
    return found


def _fits(semantics: Semantics | AxesSemantics, block: int | None) -> str:
    """Say what the projectors and banks of several blocks have in common."""
    bank, phi = semantics.bank, semantics.projector
    return f"block {block}, {phi.shape[0]} channels, encoder {phi.encoder!r}, target {bank.target.tolist()}"


def _read_semantics(projected: Path, discovered: Path | None = None) -> Semantics | AxesSemantics:
    means, labelled = projected / MEANS, projected / CLASSIFIER
    with normal_tensors():
        projector = SemanticProjector.load(projected / PROJECTOR)
        bank = load_bank((discovered or projected) / BANK)
        fitted = ModeMeans.load(means) if means.exists() else None
        if isinstance(bank, AxesBank):
            return AxesSemantics(projector, bank, fitted)
        classifier = ActivationClassifier.load(labelled) if labelled.exists() else None
        return Semantics(projector, bank, fitted, classifier)


def save_semantics(semantics: Semantics | AxesSemantics, folder: Path) -> None:
    """Write what `read_semantics` reads, each file whole or not at all; what an earlier one has beside it is removed."""
    for block in blocks_in(folder):
        if block not in semantics.elsewhere:
            _remove(folder_of_block(folder, block))
    _save(semantics, folder)
    for block, own in semantics.elsewhere.items():
        _save(own, folder_of_block(folder, block))


def _remove(folder: Path) -> None:
    """Remove the tensors of a block, and their folder if nothing else is in it."""
    for name in TENSORS:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _save(semantics: Semantics | AxesSemantics, folder: Path) -> None:
    semantics.projector.save(folder / PROJECTOR)
    semantics.bank.save(folder / BANK)
    for name, part in ((MEANS, semantics.means), (CLASSIFIER, getattr(semantics, "classifier", None))):
        if part is None:
            (folder / name).unlink(missing_ok=True)
        else:
            part.save(folder / name)
