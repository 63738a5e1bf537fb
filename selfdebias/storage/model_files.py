"""The files of a pretrained model: what must be among them, on the disk or on the hub, and a local copy of a commit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from selfdebias.storage.atomic import hash_file

PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth")
TENSORS = ("*.safetensors",)
CONFIGS = ("*.json", "*.txt", "*.model")
WITHOUT_WEIGHTS = ("scheduler", "tokenizer", "tokenizer_2", "tokenizer_3", "feature_extractor", "image_processor")
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")  # of the parts of a pipeline; the last is an old name
SAFETY = ("safety_checker", "feature_extractor")  # parts of a pipeline that are left out, unless they are asked for


def files_of(folder: Path) -> set[str]:
    """Return the files of a folder and of all folders in it, as relative names."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def check_pipeline(
    name: str, index: Mapping[str, Any], files: Collection[str], allow_pickle: bool, without: Collection[str], denoiser: str
) -> None:  # fmt: skip
    """Refuse a diffusers pipeline that lacks a part, has no denoiser of the right kind, or would have to be unpickled.

    Args:
        name: what `model.pretrained` says.
        index: content of its ``model_index.json``.
        files: its files, as relative names.
        allow_pickle: whether pickled weights will do.
        without: parts that are not loaded.
        denoiser: `unet` or `transformer`.

    Raises:
        FileNotFoundError, ValueError: if a part is missing; there is no such denoiser, or weights are pickled without leave.
    """
    parts = [part for part, origin in index.items() if isinstance(origin, list) and origin and origin[0] is not None]
    for part in parts:
        if not part.isidentifier() or index[part][0] not in LIBRARIES:
            raise ValueError(
                f"`model.pretrained` must be a pipeline of parts of {' and '.join(LIBRARIES[:2])}, got {name!r} with the part "
                f"{part!r} of {index[part][0]!r}."
            )
    if denoiser not in parts:
        raise ValueError(
            f"`model.pretrained` must be a pipeline with a `{denoiser}`, got {name!r}, a {index.get('_class_name')} of "
            f"{', '.join(parts)}: choose another model=..., whose pipeline is of that kind."
        )
    for part in parts:
        if part not in without:
            _check_part(name, part, files, allow_pickle)


def check_model(group: str, name: str, files: Collection[str], needed: Iterable[str], allow_pickle: bool) -> None:
    """Refuse a transformers model that lacks a file or would have to be unpickled.

    Args:
        group: the option that named it, without its last part: ``encoder``.
        name: what its ``pretrained`` says.
        files: its files, as relative names.
        needed: files that must be there beside the weights.
        allow_pickle: whether pickled weights will do.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if there are pickled weights alone and that is not allowed.
    """
    for file in needed:
        if file not in files:
            raise FileNotFoundError(f"`{group}.pretrained` must be a model with a {file}, got {name!r} without one.")
    if not _has(files, ("model*.safetensors",)):
        if not _has(files, PICKLES):
            raise FileNotFoundError(
                f"`{group}.pretrained` must be a model with a model.safetensors, got {name!r} without one."
            )
        if not allow_pickle:
            raise _pickled(group, name, "the model")


def hash_files(folder: Path, patterns: Iterable[str] = (*TENSORS, *CONFIGS)) -> str:
    """Return a sha256 over the names and bytes of the files that match, in the folder and in the folders in it.

    Cards, metrics and pictures beside the weights are left out.
    """
    digest = hashlib.sha256()
    for file in sorted(files_of(folder)):
        if _has([Path(file).name], patterns) and file != "metrics.json":
            digest.update(file.encode() + bytes.fromhex(hash_file(folder / file)))
    return digest.hexdigest()


def _check_part(name: str, part: str, every: Collection[str], allow_pickle: bool) -> None:
    """Refuses a part without weights that will do; the files of a UNet and its scheduler may also lie at the top."""
    top = {"unet": "config.json", "scheduler": "scheduler_config.json"}.get(part)
    files = [file for file in every if file.startswith(f"{part}/")]
    files = files or [file for file in every if "/" not in file and top in every]
    if not files:
        raise FileNotFoundError(
            f"`model.pretrained` must be a pipeline with all its parts, got {name!r} without {part}/."
        )
    if part in WITHOUT_WEIGHTS or _has(files, TENSORS):
        return
    if not _has(files, PICKLES):
        raise FileNotFoundError(
            f"`model.pretrained` must hold weights in {part}/, got {name!r} without a *.safetensors there."
        )
    if not allow_pickle:
        raise _pickled("model", name, part)


def _pickled(group: str, name: str, part: str) -> ValueError:
    return ValueError(
        f"`{group}.pretrained` must hold safetensors weights, got {name!r} with a pickle alone for {part}, which could run "
        f"code: save it again with save_pretrained(folder, safe_serialization=True), or set {group}.allow_pickle=true if you "
        f"trust it."
    )


def _has(files: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatch(Path(file).name, pattern) for file in files for pattern in patterns)


class Listing(NamedTuple):
    """One commit of a model on the hub, and its files; those in the cache, where the hub cannot be reached."""

    commit: str
    files: tuple[str, ...]


@lru_cache(maxsize=64)
def look_up(group: str, name: str, revision: str | None) -> Listing:
    """Ask the hub for a model, or the cache where the hub cannot be reached. Once a process.

    Args:
        group: the option that named it, without its last part, for the message.
        name: ``owner/name``.
        revision: branch, tag or commit; None for the main branch.

    Raises:
        FileNotFoundError: if there is no such model or revision, or it can be reached nowhere.
        PermissionError: if its owner lets in only some.
    """
    from huggingface_hub import HfApi, errors, snapshot_download

    with _in_one_line(group, name, revision):
        try:
            info = HfApi().model_info(name, revision=revision, timeout=20)
        except errors.HfHubHTTPError:  # the hub has answered
            raise
        except (errors.OfflineModeIsEnabled, errors.HTTPError):
            known = ["model_index.json", "config.json"]  # what there always is; a snapshot that lacks a file is refused
            folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=known))
            return Listing(
                folder.name, tuple(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
            )
        if info.gated:
            HfApi().auth_check(name)
        return Listing(str(info.sha), tuple(sibling.rfilename for sibling in info.siblings or ()))


def read_from_hub(group: str, name: str, revision: str | None, file: str) -> dict[str, Any]:
    """Read a small file of a revision; the cache then knows, also without a network, which commit the revision is.

    Raises:
        FileNotFoundError: if it cannot be had.
    """
    from huggingface_hub import hf_hub_download

    with _in_one_line(group, name, revision):
        return dict(json.loads(Path(hf_hub_download(name, file, revision=revision)).read_text()))


def fetch(group: str, name: str, commit: str, patterns: Sequence[str]) -> Path:
    """Download the files of a commit that match, unless they are in the cache; returns their folder.

    Raises:
        FileNotFoundError: if they cannot be had.
        PermissionError: if the owner lets in only some.
    """
    from huggingface_hub import snapshot_download

    with _in_one_line(group, name, commit):
        return Path(snapshot_download(name, revision=commit, allow_patterns=list(patterns)))


@contextmanager
def _in_one_line(group: str, name: str, revision: str | None) -> Iterator[None]:
    """Turn the hub's errors into one line that names the field and the way out."""
    from huggingface_hub import errors

    field = (
        f"`{group}.pretrained` must be a folder that exists, a file, shipped:NAME, or a model on the hub, got {name!r}"
    )
    try:
        yield
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"{field}, which is gated: accept its terms at https://huggingface.co/{name} and set HF_TOKEN to a token of "
            f"your account."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{field}: there is no such folder, and no such model on the hub; if it is a private one, set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"`{group}.revision` must be a branch, tag or commit of {name}, got {revision!r}: see its list of versions on "
            f"the hub, or leave it null for the main branch."
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise FileNotFoundError(
            f"{field}: there is no such folder, the hub cannot be reached, and it is not in the hub's cache. Download it "
            f"where there is a network, with `hf download {name} --local-dir FOLDER`, and set {group}.pretrained=FOLDER."
        ) from error
    except (errors.HFValidationError, errors.HfHubHTTPError) as error:
        raise FileNotFoundError(f"{field}: {str(error).splitlines()[0]}") from error
