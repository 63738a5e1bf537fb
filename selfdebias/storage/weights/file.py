"""A file of weights that the user has to fetch. Nothing heavy is imported here, so that a missing one is said at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from selfdebias.storage.atomic import hash_file

SUFFIXES = (".pt", ".pth", ".safetensors")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class WeightFile:
    """Weights that are not shipped and are on no hub.

    Args:
        option: the option that names the file: ``judge.weights``; beside it stands ``<group>.sha256``.
        path: the file; None where it was not given.
        sha256: of the file, 64 hexadecimal digits; None does not compare.
        published: the name that it is published under.
        origin: where it is published.
    """

    option: str
    path: str | None
    sha256: str | None
    published: str
    origin: str

    def check(self) -> Path:
        """Return the path of the file, after comparing its checksum; nothing is loaded.

        Raises:
            FileNotFoundError: if there is no such file, with what to fetch and where to name it.
            ValueError: if it is of another kind, or has another checksum.
        """
        self.check_options()
        path = Path(str(self.path))
        if self.path is None or not path.is_file():
            found = "null" if self.path is None else f"{self.path!r}, which is no file"
            raise FileNotFoundError(
                f"`{self.option}` must be the file {self.published}, got {found}: no weights are shipped. Fetch it from "
                f"{self.origin}, then set {self.option}=/path/to/{self.published}."
            )
        if self.sha256 is not None and hash_file(path) != self.sha256.lower():
            raise ValueError(
                f"`{self._sha256}` must be the checksum of {self.path}, {hash_file(path)}, got {self.sha256}: fetch "
                f"the file again, or set null to take it as it is."
            )
        return path

    def check_options(self) -> None:
        """Refuse what no file could make right.

        Raises:
            ValueError: if the name has another suffix, or the checksum is none.
        """
        if self.path is not None and not str(self.path).endswith(SUFFIXES):
            raise ValueError(f"`{self.option}` must be a file *{', *'.join(SUFFIXES)}, got {self.path!r}.")
        if self.sha256 is not None and not _SHA256.fullmatch(str(self.sha256)):
            raise ValueError(f"`{self._sha256}` must be null or 64 hexadecimal digits, got {self.sha256!r}.")

    def fingerprint(self) -> str:
        """Return the sha256 of the file; raises as `check` does."""
        return hash_file(self.check())

    @property
    def _sha256(self) -> str:
        return f"{self.option.rpartition('.')[0]}.sha256"


def fairface(weights: str | None, sha256: str | None) -> WeightFile:
    """Return the file of FairFace's judge of seven races.

    References:
        Karkkainen and Joo, arXiv 1908.04913.
    """
    return WeightFile(
        "judge.weights", weights, sha256, "res34_fair_align_multi_7_20190809.pt",
        "the page of FairFace's authors, github.com/dchen236/FairFace",
    )  # fmt: skip


def inception(weights: str | None, sha256: str | None, group: str) -> WeightFile:
    """Return the file of the Inception-v3 that FID is measured with; `group` is the option that describes it.

    References:
        Heusel et al., arXiv 1706.08500.
    """
    name = "pt_inception-2015-12-05-6726825d.pth"
    origin = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{name}"
    return WeightFile(f"{group}.weights", weights, sha256, name, f"{origin} (metrics=default does without it)")
