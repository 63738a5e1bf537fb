"""A folder of labelled images, `<folder>/<attribute>/<class>/*.png`. Torch is not needed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from selfdebias.storage.pictures import SUFFIXES
from selfdebias.storage.weights.folders import hash_file

LAYOUT = "a folder of labelled images, <attribute>/<class>/*.png"

Classes = Mapping[str, Sequence[str]]


def check_layout(folder: Path) -> None:
    """Refuse a folder without labelled images, whatever their labels; no image is opened.

    Raises:
        FileNotFoundError: if there is no such folder, or no image where labelled ones are looked for.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"`evaluate.labelled` must be {LAYOUT}, got {str(folder)!r}, which is no folder.")
    if not any(_images(named) for attribute in _folders(folder) for named in _folders(attribute)):
        elsewhere = any(_is_image(path) for path in folder.rglob("*"))
        what = ": its images are not in <attribute>/<class>/" if elsewhere else " without an image"
        raise FileNotFoundError(f"`evaluate.labelled` must be {LAYOUT}, got {str(folder)!r}{what}.")


def labelled_images(folder: Path, classes: Classes) -> dict[str, list[tuple[Path, int]]]:
    """List the labelled images of each attribute that has some, with the number of their class.

    Hidden files and folders, and files of other kinds, are passed over; no image is opened.

    Args:
        folder: the labelled folder.
        classes: the judge's, by attribute.

    Raises:
        FileNotFoundError: as `check_layout` does.
        ValueError: if it names an attribute or class that the judge does not know.
    """
    check_layout(folder)
    found: dict[str, list[tuple[Path, int]]] = {}
    for attribute in _folders(folder):
        if attribute.name not in classes:
            raise _unknown(attribute.name, "attribute", classes)
        for named in _folders(attribute):
            if named.name not in classes[attribute.name]:
                raise _unknown(f"{attribute.name}/{named.name}", "class", classes)
            label = list(classes[attribute.name]).index(named.name)
            found.setdefault(attribute.name, []).extend((path, label) for path in _images(named))
    return {attribute: images for attribute, images in found.items() if images}


def labelled_fingerprint(folder: Path, classes: Classes) -> str:
    """Return a sha256 over the names and bytes of the labelled images; raises as `labelled_images` does."""
    digest = hashlib.sha256()
    for images in labelled_images(folder, classes).values():
        for path, _ in images:
            own = hash_file(path) if path.is_file() else b"no file"
            digest.update(path.relative_to(folder).as_posix().encode() + own)
    return digest.hexdigest()


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_image(path))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _unknown(name: str, kind: str, classes: Classes) -> ValueError:
    known = "; ".join(f"{attribute}: {', '.join(names)}" for attribute, names in classes.items())
    return ValueError(
        f"`evaluate.labelled` must be {LAYOUT}, with the judge's attributes and classes ({known}), got the {kind} {name!r}."
    )
