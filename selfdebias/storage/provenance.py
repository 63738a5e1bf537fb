"""What a job was made with: versions, the commit of this package, the kind of computer, and for an evaluated arm what judged it.

No name of a host or user is noted.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from selfdebias.config.rules import refuse

LIBRARIES = (
    "torch", "diffusers", "transformers", "numpy", "scipy", "scikit-learn", "hydra-core", "pytorch-lightning",
)  # fmt: skip
ORIGIN = ("judge", "encoder", "features", "sha256", "key")  # what is noted in the file of an arm


@lru_cache(maxsize=1)
def made_with() -> dict[str, Any]:
    """State what this process works with, importing none of it.

    Returns:
        `selfdebias`, `git` (of this package's own checkout: `commit`, and whether its files are `changed`; None where there is
        none), `python`, `platform` and `libraries`, versions by distribution.

    Example:
        >>> sorted(made_with())
        ['git', 'libraries', 'platform', 'python', 'selfdebias']
    """
    from selfdebias.config.compose import conf_folder

    return {
        "selfdebias": _version("selfdebias"),
        "git": commit_of(Path(__file__).resolve().parent.parent, conf_folder()),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libraries": {name: found for name in LIBRARIES if (found := _version(name)) is not None},
    }


def commit_of(package: Path, *more: Path) -> dict[str, Any] | None:
    """Return the commit of the checkout that a package is part of.

    Args:
        package: Folder with an `__init__.py`. A package that is merely installed somewhere below a checkout is no part of it.
        more: Other folders of the checkout that are asked for changes.

    Returns:
        `commit`, 40 hexadecimal digits, and whether anything in those folders is `changed`, new files among it; None
        where there is no checkout, or no git.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".", *(str(path) for path in more))
    return None if commit is None or changes is None else {"commit": commit, "changed": bool(changes)}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what is not as it was, one text for each version.

    Example:
        >>> before = {"python": "3.11.2", "git": {"commit": "a" * 40, "changed": False}, "libraries": {"torch": "2.10.0"}}
        >>> differences(before, {"python": "3.11.2", "git": None, "libraries": {"torch": "2.11.0"}})
        ['commit aaaaaaaa, now none', 'torch 2.10.0, now 2.11.0']
    """
    old, new = dict(_versions(before)), dict(_versions(now))
    changed = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return [f"{name} {old.get(name, 'none')}, now {new.get(name, 'none')}" for name in changed]


def read_versions(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says that it was made with, {} where it says nothing, or something else than `made_with` does.

    Example:
        >>> read_versions({"made_with": {"python": "3.11.2", "git": [], "libraries": {"torch": "2.10.0", "numpy": 2}}})
        {'python': '3.11.2', 'libraries': {'torch': '2.10.0'}}
    """
    said = record.get("made_with")
    if not isinstance(said, Mapping):
        return {}
    found = {name: said[name] for name in ("selfdebias", "python", "platform") if isinstance(said.get(name), str)}
    git, libraries = said.get("git"), said.get("libraries")
    if isinstance(git, Mapping) and isinstance(git.get("commit"), str):
        found["git"] = {"commit": git["commit"], "changed": bool(git.get("changed"))}
    if isinstance(libraries, Mapping):
        found["libraries"] = {str(name): it for name, it in libraries.items() if isinstance(it, str)}
    return found


def in_words(found: Mapping[str, Any]) -> str:
    """What a job was made with, in one line.

    Example:
        >>> in_words({"selfdebias": "0.1.0", "git": None, "python": "3.11.2", "libraries": {"torch": "2.10.0"}})
        'selfdebias 0.1.0, Python 3.11.2, torch 2.10.0'
    """
    names = {"python": "Python"}
    return ", ".join(f"{names.get(name, name)} {said}" for name, said in _versions(found))


def read_origin(path: str | Path) -> dict[str, str]:
    """What an earlier evaluation noted in its file `probabilities-<arm>.safetensors`.

    Raises:
        ConfigError: If the file is none of these, or from a version that noted nothing.
    """
    from safetensors import SafetensorError, safe_open

    words = "a folder, a job, or a probabilities-<arm>.safetensors of a finished evaluate stage"
    try:
        with safe_open(path, framework="numpy") as file:
            origin = dict(file.metadata() or {})
    except SafetensorError:
        raise refuse("evaluate.reference", words, str(path)) from None
    if not {*ORIGIN} <= origin.keys():
        raise refuse("evaluate.reference", f"{words}, with a note of its encoder (evaluate again)", str(path))
    return origin


def _versions(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    git = found.get("git")
    changed = " with changes" if git and git["changed"] else ""
    named = {
        "selfdebias": found.get("selfdebias"),
        "commit": git and git["commit"][:8] + changed,
        "python": found.get("python"),
        **found.get("libraries", {}),
    }
    return ((name, said) for name, said in named.items() if said)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says of a folder; None where it fails or is not there. A hook's variables would lead to another checkout."""
    free = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, env=free, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
