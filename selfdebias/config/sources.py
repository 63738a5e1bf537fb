"""Where the YAML files of a configuration are: those of the project, of installed plug-ins, and a user's own."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

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
    def flags(self) -> list[str]:
        """A command line's flags that say the same."""
        return [f"--config-path={self.primary}", f"--config-name={self.name}", *self.overrides]

    @property
    def overrides(self) -> list[str]:
        """What Hydra is told of `more`."""
        quoted = ",".join("'" + entry.replace("\\", "\\\\").replace("'", "\\'") + "'" for entry in self.more)
        return [f"hydra.searchpath=[{quoted}]"] if self.more else []


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
