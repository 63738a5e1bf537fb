"""`selfdebias.run`: a job from Python, checked as a command line is. Torch is imported once the job really starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from selfdebias.config.compose import check_resolved, compose_groups, load
from selfdebias.config.files import check_interpolations
from selfdebias.config.overrides import options_of, refuse_doubles, split_settings, with_names_of_today
from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.schema import GROUPS, TABLE
from selfdebias.config.sources import Sources
from selfdebias.config.targets import check_names
from selfdebias.jobs.commands import check_words
from selfdebias.jobs.early_checks import check_early, wants_several
from selfdebias.jobs.failures import is_rank, sigterm_as_ctrl_c
from selfdebias.jobs.job_record import FLAG
from selfdebias.jobs.task import run_in_ranks


def run(config: Sequence[str] | Mapping[str, Any] = ()) -> Path:
    """Runs a job as the command line does: finished stages are found again, and the outcome is printed.

    Args:
        config: Overrides in Hydra's grammar, such as `["guidance.strength=3"]`, none for the defaults; or a whole configuration, a
            dictionary or `DictConfig`, as `hydra.compose` makes it of `conf/`.

    Returns:
        The job's folder, with `results.json`, `report.html` and what `SelfDebias.from_pretrained` reads.

    Raises:
        ConfigError: For what the command line refuses, in the same line, before any weight is loaded or folder made.
        StorageError: If a file of an earlier job is damaged.

    Example:
        ::

            import selfdebias

            job = selfdebias.run(["debug=tiny", "prompts.text='an emoji of a cook'"])
            debiaser = selfdebias.SelfDebias.from_pretrained(job)
    """
    whole = isinstance(config, Mapping)
    if isinstance(config, str):
        raise ConfigError(
            f"`config` must be a list of overrides or a whole configuration, got {config!r}: take [{config!r}]."
        )
    words = [] if isinstance(config, Mapping) else with_names_of_today(config)
    checked = _load_whole(config) if isinstance(config, Mapping) else _load_overrides(words)
    check_names(checked)
    if checked["stages"] == [TABLE]:
        raise refuse("stages", f"stages of a job; [{TABLE}] is for the command line", checked["stages"])
    several = wants_several(checked) and not is_rank()
    if whole and several:
        raise refuse(
            "trainer.devices", "1 in a whole configuration: give overrides for more", checked["trainer"]["devices"]
        )
    check_early(checked)  # before torch comes
    from selfdebias.jobs.job import hash_of_job

    job = Path(checked["paths"]["root"], "jobs", hash_of_job(checked))
    words = [FLAG, str(job)] if whole else words
    with sigterm_as_ctrl_c(unless_handled=True):
        run_in_ranks(checked, words, words)
    return job


def _load_overrides(words: Sequence[str]) -> dict[str, Any]:
    refuse_doubles(words)
    own, settings = split_settings(words)
    if settings:
        raise ConfigError(f"`{settings[0]}` sets Hydra itself: give it on the command line.")
    check_words(own)
    return load(own)


def _load_whole(config: Mapping[str, Any]) -> dict[str, Any]:
    """Resolves and checks a configuration that was composed elsewhere.

    Its values are held against those of an option with the same class, so that 12 and 12.0 are one value here too.
    """
    given = OmegaConf.create({key: it for key, it in config.items() if key != "hydra"})
    check_interpolations(OmegaConf.to_container(given, resolve=False))
    try:
        plain: Any = OmegaConf.to_container(given, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from None
    for group in GROUPS:
        if not isinstance(plain.get(group), Mapping):
            raise refuse(group, "a section of the configuration", plain.get(group))
    given_classes = {group: plain[group].get("_target_") for group in GROUPS}
    options = {group: _option_with(group, name) for group, name in given_classes.items() if name is not None}
    defaults = compose_groups([f"{group}={option}" for group, option in options.items() if option])
    return check_resolved(
        plain, {**defaults, **{group: plain[group] for group, option in options.items() if not option}}
    )


def _option_with(group: str, name: str) -> str | None:
    """The first option of a group that names a class; None for a class, such as a plug-in's, that none names."""
    folder = Sources().primary
    named = {
        option: OmegaConf.select(OmegaConf.load(folder / group / f"{option}.yaml"), "_target_")
        for option in options_of(group, [folder])
    }
    return next((option for option, target in named.items() if target == name), None)
