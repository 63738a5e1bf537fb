"""Models on the hub: what is there, in one clear line where it is not, and a local copy of one commit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Listing:
    """One commit of a model on the hub.

    Attributes:
        commit: the hash of the commit.
        files: names of its files; of those in the cache, where the hub cannot be reached.
    """

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
    from huggingface_hub import HfApi, errors

    with _in_one_line(group, name, revision):
        try:
            info = HfApi().model_info(name, revision=revision, timeout=20)
        except errors.HfHubHTTPError:  # the hub has answered
            raise
        except (errors.OfflineModeIsEnabled, errors.HTTPError):
            return _in_cache(name, revision)
        if info.gated:
            HfApi().auth_check(name)
        return Listing(str(info.sha), tuple(sibling.rfilename for sibling in info.siblings or ()))


def read_json(group: str, name: str, revision: str | None, file: str) -> dict[str, Any]:
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


def _in_cache(name: str, revision: str | None) -> Listing:
    from huggingface_hub import snapshot_download

    known = ["model_index.json", "config.json"]  # what there always is; the client refuses a snapshot that lacks a file
    folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=known))
    return Listing(folder.name, tuple(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()))


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
