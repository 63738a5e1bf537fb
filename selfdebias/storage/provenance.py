"""What results were made with: versions, the commit of this package, the kind of computer, what judged an arm, and which denoiser.

No name of a host or user is noted.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from selfdebias.config.rules import refuse

if TYPE_CHECKING:
    from torch import Tensor, nn

LIBRARIES = (
    "torch", "diffusers", "transformers", "numpy", "scipy", "scikit-learn", "hydra-core", "pytorch-lightning",
)  # fmt: skip
ORIGIN = ("judge", "encoder", "features", "sha256", "key")  # what is noted in the file of an arm
SAMPLES = 256  # values of each of a denoiser's tensors
DTYPES = ("float16", "bfloat16")
_ADAPTER = re.compile(r"(^|[._])lora_|\.(ada)?lora|_adapter(\.|$)")  # keys that an adapter adds
_known: WeakKeyDictionary[nn.Module, tuple[Any, dict[str, str] | None]] = WeakKeyDictionary()


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
    from selfdebias.config.sources import conf_folder

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


def identity_of(denoiser: nn.Module) -> dict[str, str] | None:
    """Return what distinguishes a denoiser from others, remembered while its weights are not changed.

    Names, shapes and 256 evenly spaced values of each tensor, rounded to half precision, so that the same weights in float32
    and in float16 are the same; keys of adapters that are not merged are left out.

    Args:
        denoiser: the pipeline's UNet.

    Returns:
        ``dtype`` of the weights, and a digest of the values in ``float16`` and in ``bfloat16``; None where weights cannot be read,
        as they are offloaded or quantised.
    """
    tensors = dict(_tensors(denoiser))
    try:
        seen = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors.values())
    except RuntimeError:  # of tensors made in inference mode, or of none
        seen = None
    if seen is not None and denoiser in _known and _known[denoiser][0] == seen:
        return _known[denoiser][1]
    found = _digests(tensors)
    if seen is not None:
        _known[denoiser] = (seen, found)
    return found


def is_same(fitted: Mapping[str, str], loaded: Mapping[str, str]) -> bool | None:
    """Return whether two identities are of the same weights; None where their roundings cannot be compared.

    Example:
        >>> one = {"dtype": "float32", "float16": "a", "bfloat16": "b"}
        >>> is_same(one, {"dtype": "bfloat16", "float16": "c", "bfloat16": "b"})
        True
        >>> is_same(one, {"dtype": "float16", "float16": "c", "bfloat16": "b"})
        False
    """
    dtypes = {str(fitted.get("dtype")), str(loaded.get("dtype"))}
    if dtypes == {"float16", "bfloat16"}:
        return None
    kind = "bfloat16" if "bfloat16" in dtypes else "float16"
    return fitted.get(kind) == loaded.get(kind)


def _tensors(denoiser: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the denoiser's own tensors by the names that they have without adapters."""
    for name, tensor in sorted(denoiser.state_dict(keep_vars=True).items()):
        if not _ADAPTER.search(name):
            yield name.replace(".base_layer.", "."), tensor.detach()


def _digests(tensors: Mapping[str, Tensor]) -> dict[str, str] | None:
    import torch

    if not tensors or any(tensor.is_meta or not tensor.is_floating_point() for tensor in tensors.values()):
        return None
    hashes = {kind: hashlib.sha256() for kind in DTYPES}
    for name, tensor in sorted(tensors.items()):
        flat = tensor.reshape(-1)  # evenly spaced values, the first and the last one among them
        places = torch.linspace(0, max(0, len(flat) - 1), min(SAMPLES, len(flat)), dtype=torch.float64).round().long()
        values = flat[places.to(flat.device)].float().cpu()
        for kind in DTYPES:
            rounded = values.to(getattr(torch, kind)).view(torch.int16).numpy().tobytes()
            hashes[kind].update(f"{name} {tuple(tensor.shape)}".encode() + rounded)
    loaded = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    return {"dtype": loaded, **{kind: it.hexdigest()[:16] for kind, it in hashes.items()}}
