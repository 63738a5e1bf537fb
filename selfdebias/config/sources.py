"""Where the YAML files of a configuration are: those of the project, of installed plug-ins, and a user's own."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from selfdebias.config.rules import ConfigError
from selfdebias.config.targets import plugin_packages

OWN_PROVIDERS = ("hydra", "main", "selfdebias", "schema")  # whose files Hydra finds without being told of them


def conf_folder() -> Path:
    """The folder of the YAML files: inside an installed package, beside it in a source tree."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "conf"
    return inside if (inside / "config.yaml").exists() else package.parent / "conf"


def plugin_folders() -> list[Path]:
    """The folder `conf` of each package that an installed plug-in registers, where it has one."""
    return [folder for package in plugin_packages() for folder in _folders_of(f"pkg://{package}.conf")]


def read_option(group: str, option: str) -> dict[str, Any]:
    """The plain content of one option's file, `conf/<group>/<option>.yaml`."""
    content = OmegaConf.to_container(OmegaConf.load(conf_folder() / group / f"{option}.yaml"), resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "defaults"}


@dataclass(frozen=True)
class Sources:
    """Where a configuration is composed from.

    Attributes:
        primary: the folder of the primary configuration, as Hydra's `--config-path`.
        name: of the primary configuration, as Hydra's `--config-name`.
        more: what Hydra searches beside it, `file://...` or `pkg://...`, as `--config-dir` and `hydra.searchpath` say.
    """

    primary: Path = field(default_factory=lambda: conf_folder())
    name: str = "config"
    more: tuple[str, ...] = ()

    @property
    def folders(self) -> list[Path]:
        """All of them as folders, the first one that has a file holding."""
        return [self.primary, *plugin_folders(), *(folder for entry in self.more for folder in _folders_of(entry))]

    def file(self, name: str) -> Path:
        """The first file of this name, such as `config.yaml` or `guidance/transport.yaml`."""
        return next(folder / name for folder in self.folders if (folder / name).exists())

    @property
    def shown(self) -> list[str]:
        """The flags as a job's record has them: the user's folders by their last part, as where they are is private."""
        folders = [Path(entry.removeprefix("file://")).name for entry in self.more if entry.startswith("file://")]
        return [f"--config-dir={name}" for name in folders[:1]]

    @property
    def flags(self) -> list[str]:
        """A command line's flags that say the same."""
        # The first one may hold the primary configuration, which Hydra finds in --config-dir alone.
        folders = [entry.removeprefix("file://") for entry in self.more[:1] if entry.startswith("file://")]
        more = self.more[len(folders) :]
        quoted = ",".join("'" + entry.replace("\\", "\\\\").replace("'", "\\'") + "'" for entry in more)
        return [
            f"--config-path={self.primary}",
            f"--config-name={self.name}",
            *(f"--config-dir={folder}" for folder in folders),
            *([f"hydra.searchpath=[{quoted}]"] if more else []),
        ]


def sources_of(arguments: Namespace, searched: list[str]) -> Sources:
    """What Hydra's own flags say.

    Args:
        arguments: As Hydra's parser gives them.
        searched: The entries of `hydra.searchpath` on the command line.

    Raises:
        ConfigError: If a folder is not there.
    """
    more = [f"file://{_existing('--config-dir', arguments.config_dir)}"] if arguments.config_dir else []
    for entry in searched:
        kind, _, place = entry.partition("://")
        if kind not in ("file", "pkg") or not _folders_of(entry):
            raise ConfigError(f"`hydra.searchpath` must list file://<folder> or pkg://<package>.<folder>, got {entry}.")
        more.append(f"file://{Path(place).absolute()}" if kind == "file" else entry)
    primary = _existing("--config-path", arguments.config_path) if arguments.config_path else conf_folder()
    found = Sources(primary, (arguments.config_name or "config").removesuffix(".yaml"), tuple(more))
    if not any((folder / f"{found.name}.yaml").exists() for folder in found.folders):
        raise ConfigError(f"`--config-name` must be a file of {', '.join(map(str, found.folders))}, got {found.name}.")
    for folder in found.folders:
        _check_primary(folder / f"{found.name}.yaml")
    return found


def running_sources(running: Any) -> Sources:
    """Those that Hydra composed its configuration from.

    Args:
        running: The section `hydra` of the configuration.
    """
    every = [(str(it.provider), str(it.schema), str(it.path)) for it in running.runtime.config_sources]
    primary = next(Path(path) for provider, _, path in every if provider == "main")
    more = tuple(f"{schema}://{path}" for provider, schema, path in every if provider not in OWN_PROVIDERS and path)
    return Sources(primary, str(running.job.config_name).removesuffix(".yaml"), more)


def running_overrides(running: Any) -> list[str]:
    """The overrides that Hydra composed its configuration with, without the search path, which `running_sources` knows."""
    settings = [text for text in map(str, running.overrides.hydra) if not text.startswith("hydra.searchpath")]
    return [*map(str, running.overrides.task), *settings]


def composed_by_hydra(sources: Sources, overrides: Sequence[str]) -> DictConfig:
    """What Hydra composes, its own section included, unchecked: nothing of it has run or been imported."""
    running = GlobalHydra.instance().hydra  # set while Hydra runs a job, and then to be given back
    GlobalHydra.instance().clear()
    path = create_config_search_path(str(sources.primary))
    for entry in sources.more:
        path.prepend("selfdebias", entry, SearchPathQuery(provider="schema"))  # as Hydra does with --config-dir
    try:
        with warnings.catch_warnings(action="ignore"):  # Hydra gives them again, if it comes to run
            Hydra.create_main_hydra2("selfdebias", path)
            return compose(sources.name, list(overrides), return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = running


def _check_primary(file: Path) -> None:
    """A primary configuration may not add to the search path: Hydra imports a package that stands there."""
    try:
        content = OmegaConf.load(file) if file.exists() else OmegaConf.create()
        said = OmegaConf.select(content, "hydra.searchpath")
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from None
    if said is not None:
        raise ConfigError("`hydra.searchpath` must be given on the command line, not in a file.")


def _existing(flag: str, folder: str) -> Path:
    if not Path(folder).is_dir():
        raise ConfigError(f"`{flag}` must be a folder, got {folder}.")
    return Path(folder).absolute()


def _folders_of(entry: str) -> list[Path]:
    """The folder of an entry of the search path, where it is there; a package is found and not imported."""
    kind, _, place = entry.partition("://")
    if kind == "file":
        return [Path(place)] if Path(place).is_dir() else []
    package, _, inner = place.replace("/", ".").partition(".")
    spec = find_spec(package) if package else None
    roots = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
    found = [root.joinpath(*filter(None, inner.split("."))) for root in roots]
    return [folder for folder in found if folder.is_dir()]
