"""Composes the configuration and refuses, in one line, what cannot run.

Nothing here imports torch: a wrong command line is answered at once, before any weight is read or any folder made.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from selfdebias.config.combinations import check_combinations
from selfdebias.config.files import check_interpolations
from selfdebias.config.hydra_settings import compose_checked, refused_setting
from selfdebias.config.keys import with_floats, with_named_folders, with_negative_prompt
from selfdebias.config.overrides import (
    check_options,
    choices,
    expand,
    groups_of,
    is_group,
    options_with,
    parse,
    refuse_sweep,
    split_settings,
)
from selfdebias.config.rules import ConfigError, walk
from selfdebias.config.schema import GROUPS, check_schema
from selfdebias.config.sources import Sources
from selfdebias.config.transport import with_measured_values


def load(overrides: Sequence[str], sources: Sources | None = None) -> dict[str, Any]:
    """Composes the YAML files with overrides in Hydra's grammar, resolves the outcome and checks it.

    Args:
        overrides: Such as `guidance=none` or `collect.n_images=64`.
        sources: The folders of the files; None for `conf/` and those of installed plug-ins.

    Returns:
        The resolved configuration as plain dictionaries and lists; see `with_floats`.

    Raises:
        ConfigError: With one line that names the option, the rule and the value.
    """
    sources = sources or Sources()
    own, settings = split_settings(overrides)
    parsed = parse(own)
    check_options(parsed, sources.folders)
    config, hydra = _compose_with_hydra(sources, [*own, *settings])
    refuse_sweep(parsed, _swept(hydra))
    config = _of_other_classes(config, parsed)
    chosen = choices(parsed, sources.folders)
    defaults = config if len(chosen) == len(own) else compose(sources, [*chosen, *settings])
    return check_resolved(config, defaults)


def _of_other_classes(config: dict[str, Any], parsed: Sequence[Override]) -> dict[str, Any]:
    """The configuration in which a group, whose class the command line names, has no values but those that it gives as well.

    The values of the option that was there before belong to another class: the new one has defaults of its own.
    """
    given = [override.key_or_group for override in parsed]
    for group in GROUPS:
        if f"{group}._target_" in given:
            own = {key for key in config[group] if any(f"{it}.".startswith(f"{group}.{key}.") for it in given)}
            config[group] = {key: it for key, it in config[group].items() if key in own or key.startswith("_")}
    return config


def check_resolved(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Checks a resolved configuration, and says its null values, names of folders and floats in the form in which keys have them.

    Args:
        config: As it was composed, or as a job left it.
        defaults: As in `selfdebias.config.schema.check_schema`.

    Raises:
        ConfigError: With one line that names the option, the rule and the value.
    """
    config, defaults = with_measured_values(with_negative_prompt(config)), with_measured_values(defaults)
    check_schema(config, defaults)
    check_combinations(config)
    return with_named_folders(with_floats(config, defaults))


def compose_groups(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration that choices of groups compose to.

    Args:
        overrides: Such as `logger=none`.

    Raises:
        ConfigError: If there is no such option.
    """
    sources = Sources()
    check_options(parse(overrides), sources.folders)
    return compose(sources, list(overrides))


def change_values(resolved: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Changes values of a resolved configuration, by overrides in Hydra's grammar.

    Raises:
        ConfigError: If one of them chooses an option of a group, or is wrong.
    """
    for override in parse(overrides):
        if is_group(override, Sources().folders):
            name = override.key_or_group
            raise ConfigError(
                f"`{name}` is a group, and only values of a resolved configuration can be changed: {name}.<key>=..."
            )
    with tempfile.TemporaryDirectory() as folder:
        whole = {**resolved, "hydra": {"run": {"dir": "."}, "output_subdir": None}}
        Path(folder, "config.yaml").write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
        return compose(Sources(Path(folder)), list(overrides))


class SweepJob(NamedTuple):
    """One job of a sweep.

    Attributes:
        overrides: what `load` takes for it, each key once and with one value.
        config: what `load` makes of them.
    """

    overrides: list[str]
    config: dict[str, Any]


def load_sweep(
    overrides: Sequence[str], sources: Sources | None = None, loader: Any = None, ends: bool = False
) -> list[SweepJob]:
    """Composes and checks every job of a sweep, as `load` does, so that no job runs where another cannot.

    The files may name what they sweep over, in `hydra.sweeper.params`; the command line wins over them.

    Args:
        overrides: In Hydra's grammar; `key=a,b` stands for two jobs.
        sources: As in `load`.
        loader: As in `selfdebias.config.overrides.expand`.
        ends: As there.

    Returns:
        The jobs in their order, the last key changing fastest.

    Raises:
        ConfigError: With one line about the first job that is wrong.
    """
    sources = sources or Sources()
    own, settings = split_settings(overrides)
    swept = _swept(settings_of_hydra(overrides, sources))
    jobs = expand([*(f"{key}={values}" for key, values in swept.items()), *own], loader, ends)
    return [SweepJob(job, load([*job, *settings], sources)) for job in jobs]


def settings_of_hydra(overrides: Sequence[str], sources: Sources) -> dict[str, Any]:
    """Hydra's own section, composed as Hydra does before it hands a job to anybody: with the overrides of single values alone.

    Raises:
        ConfigError: With one line about what is wrong in it.
    """
    own, settings = split_settings(overrides)
    single = [it for it in parse(own, sweep=True) if not it.is_sweep_override()]
    check_options(single, sources.folders)
    return _compose_with_hydra(sources, [*(str(it.input_line) for it in single), *settings])[1]


def _swept(settings: Mapping[str, Any]) -> dict[str, str]:
    """The values of each key that `hydra.sweeper.params` names."""
    return {str(key): str(it) for key, it in ((settings.get("sweeper") or {}).get("params") or {}).items()}


def compose(sources: Sources, overrides: list[str]) -> dict[str, Any]:
    """The configuration that overrides compose to, resolved and not yet checked."""
    return _compose_with_hydra(sources, overrides)[0]


def _compose_with_hydra(sources: Sources, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resolved configuration, and Hydra's own section, which is not resolved."""
    changed = max(path.stat().st_mtime_ns for folder in sources.folders for path in (folder, *folder.rglob("*.yaml")))
    own, settings = split_settings(overrides)
    parsed = parse(own)
    chosen = choices(parsed, sources.folders)
    values = [override for override in parsed if override.input_line not in chosen]
    try:
        config, hydra = _composed(sources, changed, (*chosen, *settings))
        if values:
            config = deepcopy(config)
            ConfigLoaderImpl._apply_overrides_to_config(values, config)
        check_interpolations(OmegaConf.to_container(config, resolve=False))
        resolved: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(_in_one_line(error, sources, overrides)) from None
    return resolved, hydra


@lru_cache(maxsize=256)
def _composed(sources: Sources, changed: int, chosen: tuple[str, ...]) -> tuple[DictConfig, dict[str, Any]]:
    """As `_compose_with_hydra`, for choices of groups, not resolved; remembered for the same files, last `changed` at a time."""
    config = compose_checked(sources, chosen)
    settings: Any = OmegaConf.to_container(config.hydra, resolve=False)
    with open_dict(config):
        del config["hydra"]
    return config, settings


def _in_one_line(error: Exception, sources: Sources, overrides: Sequence[str]) -> str:
    """Hydra's message as one line; for an unknown key, with the nearest one that exists."""
    first, cause = str(error).splitlines()[0], str(error.__cause__ or "").partition("\n")[0]
    if refused := refused_setting(error, sources, overrides):
        return refused
    if not first.startswith("Could not override '"):
        return " ".join((f"{first}: {cause}" if first.startswith("Error merging override") else str(error)).split())
    key = first.split("'")[1]
    if key.endswith("scheduler.options"):  # it is there, and empty
        return f"`{key}` takes new keys with a plus: +{key}={{<key>: <value>}}."
    others = options_with(sources.folders, key)
    if others:
        return f"`{key}` is not an option here: {key.split('.')[0]}={' or '.join(others)} has it."
    config = compose(sources, [])
    # another option of its group may have it
    known = [path for path, _ in walk(config) if path != key and "._" not in path]
    top = [] if "." in key else [*config, *groups_of(sources.folders)]
    least = 0.9 if key.startswith("logger.") else 0.75  # W&B has more options than those that are named
    ends = [f"`{path}`" for path in known if path.rpartition(".")[2] == key]
    if 0 < len(ends) <= 4:
        return f"`{key}` is not an option. Did you mean {' or '.join(ends)}?"
    near = [*difflib.get_close_matches(key, top, n=1), *difflib.get_close_matches(key, known, n=1, cutoff=least)]
    if near:
        return f"`{key}` is not an option. Did you mean `{near[0]}`?"
    if key.startswith("logger.wandb."):
        given = next((text for text in overrides if text.startswith(key)), key)
        return f"`{key}` is not an option here; one of W&B's own is added with a plus: +{given}"
    return f"`{key}` is not an option. See `selfdebias --cfg job`."
