"""Reads files of weights, whole or not at all: what a library fills with random numbers, or fails at, is one clear line.

Torch is imported when a file is read, so that a missing one is said at once.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdebias.config.rules import ConfigError
from selfdebias.storage.atomic import hash_file

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIXES = (".pt", ".pth", ".safetensors")
COUNTER = "num_batches_tracked"  # of batch norms, of no use to a frozen net
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
        if self.path is None or not Path(self.path).is_file():
            found = "null" if self.path is None else f"{self.path!r}, which is no file"
            raise FileNotFoundError(
                f"`{self.option}` must be the file {self.published}, got {found}: no weights are shipped. Fetch it from "
                f"{self.origin}, then set {self.option}=/path/to/{self.published}."
            )
        if self.sha256 is not None and hash_file(Path(self.path)) != self.sha256.lower():
            raise ValueError(
                f"`{self._sha256}` must be the checksum of {self.path}, {hash_file(Path(self.path))}, got {self.sha256}: "
                f"fetch the file again, or set null to take it as it is."
            )
        return Path(self.path)

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

    def read(self, network: nn.Module) -> dict[str, Tensor]:
        """Read a state dictionary and compare its names and shapes with a network's; no code in the file is run.

        Args:
            network: what it is meant for; not changed.

        Returns:
            the network's tensors by name, on the CPU, without counters of batches.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if its checksum is another, it holds something else than tensors, or one is missing, not known, or of
                another shape.
        """
        content = self._content(self.check())
        wanted = {name: tensor.shape for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
        found = {name: tensor for name, tensor in content.items() if not str(name).endswith(COUNTER)}
        for name in wanted:
            if name not in found:
                raise ValueError(f"`{self.option}` must have the tensor {name}, got {self.path!r} without it.")
        for name, tensor in found.items():
            if name not in wanted:
                raise ValueError(
                    f"`{self.option}` must hold the tensors of {self.published}, got {self.path!r} with a tensor {name}."
                )
            if tensor.shape != wanted[name]:
                raise ValueError(
                    f"`{self.option}` must have {name} of shape {tuple(wanted[name])}, got {tuple(tensor.shape)} in "
                    f"{self.path!r}."
                )
        return found

    def _content(self, path: Path) -> Mapping[Any, Tensor]:
        """What a *.safetensors holds, or what `torch.save` wrote, of which tensors alone are unpickled."""
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            is_pickle = path.suffix != ".safetensors"
            content: Any = torch.load(path, map_location="cpu", weights_only=True) if is_pickle else load_file(path)
        except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
            raise ValueError(
                f"`{self.option}` must hold tensors by name and nothing else, got {str(path)!r}, which is broken or holds "
                f"code, and was not run ({type(error).__name__})."
            ) from error
        if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
            raise ValueError(
                f"`{self.option}` must hold tensors by name, got {str(path)!r} with a {type(content).__name__}."
            )
        return content

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


@contextmanager
def one_line(option: str, name: str) -> Iterator[None]:
    """Turns what a library says of weights that it cannot load into one line.

    Args:
        option: that named them, such as ``model.pretrained``.
        name: what it says.

    Raises:
        ConfigError: in place of any other exception of the body.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        reason = " ".join(next(iter(str(error).strip().splitlines()), "").split())[:300]
        raise ConfigError(
            f"`{option}` must be a model that can be loaded, got {name!r}: {type(error).__name__}{f', {reason}' if reason else ''}"
        ) from error


def load_whole(model_class: Any, folder: Path, option: str, name: str, **options: Any) -> Any:
    """Load a model of transformers, all of whose tensors have to be in its files.

    Args:
        model_class: with transformers' ``from_pretrained``.
        folder: of the model.
        option, name: as in `one_line`, for messages.
        options: of ``from_pretrained``.

    Raises:
        ConfigError: if a tensor is missing or of another shape, which transformers would fill with random numbers.
    """
    with one_line(option, name):
        model, info = model_class.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True, **options
        )
    mismatched = [item[0] if isinstance(item, tuple) else item for item in info["mismatched_keys"]]
    _refuse(option, name, type(model).__name__, sorted(info["missing_keys"]), sorted(mismatched))
    return model


def load_parts(
    folder: Path, index: Mapping[str, Any], without: Collection[str], option: str, name: str, variant: str | None, **options: Any
) -> dict[str, Any]:  # fmt: skip
    """Load those parts of a diffusers pipeline that are models of transformers; diffusers itself checks the others.

    Args:
        folder: of the pipeline.
        index: content of its ``model_index.json``.
        without: parts that are left out.
        option, name: as in `one_line`.
        variant: such as ``fp16``, used for the parts that have it.
        options: of transformers' ``from_pretrained``.

    Returns:
        The models by part, as ``from_pretrained`` of the pipeline takes them.
    """
    import transformers

    found = {}
    for part, origin in index.items():
        loaded = isinstance(origin, list) and origin[0] == "transformers" and part not in without
        model_class = getattr(transformers, str(origin[1]), None) if loaded else None
        if isinstance(model_class, type) and issubclass(model_class, transformers.PreTrainedModel):
            own = variant if variant and any((folder / part).glob(f"*.{variant}.*")) else None
            found[part] = load_whole(model_class, folder / part, option, f"{name}/{part}", variant=own, **options)
    return found


def refuse_empty(pipeline: Any, option: str, name: str) -> None:
    """Refuse a pipeline of which some tensors were in no file, so that they hold nothing.

    Raises:
        ConfigError: with the first of them.
    """
    for part, module in pipeline.components.items():
        if hasattr(module, "named_parameters"):
            empty = sorted(key for key, value in module.named_parameters() if value.is_meta)
            _refuse(option, name, f"its {part}", empty, [])


def _refuse(option: str, name: str, what: str, missing: list[str], mismatched: list[str]) -> None:
    if missing or mismatched:
        how = f"without {len(missing)} of them" if missing else f"with {len(mismatched)} of another shape"
        raise ConfigError(
            f"`{option}` must hold all tensors of {what}, got {name!r} {how}, such as {(missing or mismatched)[0]}: fetch the "
            f"model again."
        )
