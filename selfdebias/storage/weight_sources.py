"""Where a pretrained model comes from: the package, a folder, a single file, or one commit of a model on the hub.

Nothing heavy is imported here, so that a wrong name is answered at once.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfdebias.config.files import SINGLE_FILES, is_hub_id
from selfdebias.storage import model_files
from selfdebias.storage.atomic import hash_file, read_json
from selfdebias.storage.config_folder import check_config, hash_config
from selfdebias.storage.model_contents import check_contents
from selfdebias.testbed import shipped


@dataclass(frozen=True)
class Source(ABC):
    """Where the weights of one part of a job come from.

    Args:
        group: the option that names it, without its last part: ``model``, ``encoder``, ``judge.encoder``.
        name: ``shipped:NAME``, a folder, a file, or the id of a model on the hub, ``owner/name``.
        revision: branch, tag or commit on the hub; None for the main branch.
        allow_pickle: whether weights that are pickled alone will do.
    """

    group: str
    name: str
    revision: str | None = None
    allow_pickle: bool = False

    @property
    def local(self) -> Path | None:
        """The folder or file; None for a model on the hub.

        Raises:
            FileNotFoundError: if there is none, and the name cannot be one of a model on the hub.
        """
        if self.name.startswith("shipped:"):
            return shipped(self.name.removeprefix("shipped:"))
        if Path(self.name).exists():
            return Path(self.name)
        if is_hub_id(self.name):
            return None
        raise FileNotFoundError(
            f"`{self.group}.pretrained` must be a folder that exists, a file, shipped:NAME, or the id of a model on the hub "
            f"(owner/name), got {self.name!r}."
        )

    @property
    @abstractmethod
    def patterns(self) -> list[str]:
        """The files that are downloaded from the hub."""

    @abstractmethod
    def check(self) -> None:
        """Refuse what cannot be loaded, before anything is.

        Raises:
            FileNotFoundError: if it, or a part of it, is missing.
            PermissionError: if it is on the hub, and its owner lets in only some.
            ValueError: if it is of the wrong kind, or pickled and that is not allowed.
        """

    def folder(self) -> Path:
        """Return the folder or file to load from, downloaded if it is on the hub; raises as `check` does."""
        self.check()
        if self.allow_pickle:
            warnings.warn(
                f"`{self.group}.allow_pickle` is true: {self.name} may be unpickled, with torch's `weights_only`. Do this "
                f"with weights that you trust alone.",
                stacklevel=2,
            )
        if self.local is not None:
            return self.local
        place = model_files.fetch(self.group, self.name, self._listing().commit, self.patterns)
        check_contents(f"{self.group}.pretrained", place)
        return place

    def fingerprint(self) -> str:
        """Return a hash of what is loaded: of the files, or the commit on the hub. Nothing is downloaded."""
        self.check()
        local = self.local
        if local is None:
            return f"{self.name}@{self._listing().commit}"
        if local.is_file():
            return hash_file(local)
        pickles = model_files.PICKLES if self.allow_pickle else ()
        return model_files.hash_files(local, (*model_files.TENSORS, *model_files.CONFIGS, *pickles))

    def read(self, file: str) -> dict[str, Any]:
        """Read a small JSON file of the model; nothing else is downloaded."""
        if self.local is None:
            return model_files.read_from_hub(self.group, self.name, self.revision, file)
        return read_json(self.local / file)

    def _listing(self) -> model_files.Listing:
        return model_files.look_up(self.group, self.name, self.revision)

    def _files(self) -> Collection[str]:
        """The names of its files; a folder that leads out of itself is refused."""
        if self.local is None:
            return self._listing().files
        check_contents(f"{self.group}.pretrained", self.local)
        return model_files.files_of(self.local)


@dataclass(frozen=True)
class PipelineSource(Source):
    """A diffusers pipeline.

    Args:
        variant: such as ``fp16``, where the model offers its weights in several forms.
        classes: classes of pipelines that it may be saved as; empty for any.
        without: parts that are not loaded.
        denoiser: the part that predicts, ``unet`` or ``transformer``.
        config: of a single file, the folder of a pipeline that is configured alike; None has it looked for on the hub.
    """

    config: str | None = None
    variant: str | None = None
    classes: tuple[str, ...] = ()
    without: tuple[str, ...] = model_files.SAFETY
    denoiser: str = "unet"

    @property
    def patterns(self) -> list[str]:
        """See `Source.patterns`; without pickles wherever a part has safetensors."""
        files = [file for file in self._listing().files if file.count("/") < 2]
        wanted = [file for file in files if file.split("/")[0] not in self.without or "/" not in file]
        return sorted(file for file in wanted if self._is_wanted(file, wanted))

    def _is_wanted(self, file: str, files: Collection[str]) -> bool:
        if file.endswith(tuple(pattern[1:] for pattern in model_files.CONFIGS)):
            return True
        if "/" not in file and any(other.startswith(f"{self.denoiser}/") for other in files):
            return False  # a single-file checkpoint that lies beside the parts
        beside = {other for other in files if Path(other).parent == Path(file).parent}
        variants = {other for other in beside if _variant(other) == self.variant} or {
            other for other in beside if _variant(other) is None
        }
        tensors = {other for other in variants if other.endswith(".safetensors")}
        if tensors:
            return file in tensors
        return self.allow_pickle and file in variants and file.endswith(".bin")

    def check(self) -> None:
        """See `Source.check`."""
        local = self.local
        if local is not None and local.is_file():
            return self._check_file(local)
        files = self._files()
        if "model_index.json" not in files:
            raise FileNotFoundError(
                f"`{self.group}.pretrained` must be a diffusers pipeline, with a model_index.json, got {self.name!r} without "
                f"one."
            )
        index = self.read("model_index.json")
        model_files.check_pipeline(self.name, index, files, self.allow_pickle, self.without, self.denoiser)
        forms = {_variant(file) for file in files if file.endswith((".safetensors", ".bin"))}
        if self.variant not in forms | {None}:
            known = ", ".join(sorted(form for form in forms if form)) or "none"
            raise ValueError(
                f"`{self.group}.variant` must be a form that {self.name} offers ({known}) or null, got {self.variant!r}."
            )
        saved = index.get("_class_name")
        if self.classes and saved not in self.classes:
            raise ValueError(
                f"`{self.group}.pretrained` must be saved as one of {', '.join(self.classes)}, got {self.name!r}, a {saved}: "
                f"choose another model=..., whose pipeline is of that kind."
            )
        return None

    def _check_file(self, file: Path) -> None:
        if file.suffix not in SINGLE_FILES:
            raise ValueError(
                f"`{self.group}.pretrained` must be a folder, or a file *{' or *'.join(SINGLE_FILES)}, got {self.name!r}."
            )
        if file.suffix == ".ckpt" and not self.allow_pickle:
            raise ValueError(
                f"`{self.group}.pretrained` must hold safetensors weights, got {self.name!r}, a pickle, which could run "
                f"code: set {self.group}.allow_pickle=true if you trust it."
            )
        if self.config is not None:
            check_config(f"{self.group}.config", Path(self.config), self.allow_pickle, self.denoiser)

    def fingerprint(self) -> str:
        """See `Source.fingerprint`; of a single file with that of its configuration."""
        own = super().fingerprint()
        alone = self.config is None or self.local is None or not self.local.is_file()
        return own if alone else f"{own}+{hash_config(Path(str(self.config)))}"


@dataclass(frozen=True)
class ModelSource(Source):
    """A transformers model with its preprocessing.

    Args:
        needed: files that must be there beside the weights.
        types: values of ``model_type`` in its configuration that will do; empty for any.
    """

    needed: tuple[str, ...] = ("config.json", "preprocessor_config.json")
    types: tuple[str, ...] = ()

    @property
    def patterns(self) -> list[str]:
        """See `Source.patterns`."""
        tensors = "model*.safetensors"
        pickles = [] if any(Path(f).match(tensors) for f in self._listing().files) else ["pytorch_model*.bin"]
        return [*model_files.CONFIGS, tensors, *(pickles if self.allow_pickle else [])]

    def check(self) -> None:
        """See `Source.check`."""
        model_files.check_model(self.group, self.name, self._files(), self.needed, self.allow_pickle)
        found = self.read("config.json").get("model_type")
        if self.types and found not in self.types:
            raise ValueError(
                f"`{self.group}.pretrained` must be a model of type {' or '.join(self.types)}, got {self.name!r} of type "
                f"{found}: choose the encoder=... for it."
            )


def _variant(file: str) -> str | None:
    """Return the variant in a file's name.

    Example:
        >>> _variant("unet/diffusion_pytorch_model.fp16.safetensors"), _variant("unet/model.safetensors")
        ('fp16', None)
    """
    pieces = Path(file).name.split(".")
    return pieces[1] if len(pieces) == 3 and not pieces[1].isdigit() else None
