"""Download the pinned npm packages, check their integrity, and unpack what Emoji World needs."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

from omegaconf import DictConfig

from experiments.emoji_world.catalog import Drawing, read_drawings
from experiments.emoji_world.recipe import load_recipe

WANTED = (
    "package/emoji.json",
    "package/img/google/64/",
    "package/img/twitter/64/",
    "package/icons/flat/",
    "package/LICENSE",
)


def fetch(recipe: DictConfig) -> None:
    """Make sure that every package of the recipe lies unpacked under ``<work>/packages``.

    Raises:
        ValueError: if a downloaded package has another integrity hash than the recipe states.
        SystemExit: if a package is missing, and npm, which downloads it, is not installed.
    """
    root = Path(recipe.work) / "packages"
    for vendor, package in recipe.packages.items():
        if not (root / vendor / "package").exists():
            part = root / f"{vendor}.part"  # so that a folder that is there is whole
            shutil.rmtree(part, ignore_errors=True)
            _unpack(_download(package, root), part)
            part.replace(root / vendor)


def _download(package: DictConfig, root: Path) -> Path:
    if shutil.which("npm") is None:
        raise SystemExit(
            "`npm` must be installed: it downloads the drawings (make emoji-world needs it, nothing else does)."
        )
    root.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(["npm", "pack", package.name], cwd=root, check=True, capture_output=True, text=True)
    archive = root / packed.stdout.strip().splitlines()[-1]
    digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != package.integrity:
        raise ValueError(f"`integrity` of {package.name} must be {package.integrity}, got {digest}.")
    return archive


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.name.startswith(WANTED)]
        tar.extractall(folder, members=members, filter="data")


def training_drawings(recipe: DictConfig) -> list[Drawing]:
    """List the drawings of the two vendors that everything is trained on."""
    root = Path(recipe.work) / "packages"
    return [d for vendor in ("google", "twitter") for d in read_drawings(root / vendor / "package", vendor)]


if __name__ == "__main__":
    fetch(load_recipe())
