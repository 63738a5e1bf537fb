"""The objects that `conf/` describes: those of a job, each made once, and single ones by the name of their option."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from selfdebias.backbones.denoisers import Denoiser
from selfdebias.config.combinations import guidance_of_arms, model_of_arms
from selfdebias.config.compose import compose_groups
from selfdebias.config.overrides import options_of
from selfdebias.config.ranges import NAMED
from selfdebias.config.rules import ConfigError, is_number, nearest, refuse
from selfdebias.config.scales import model_of_collect
from selfdebias.config.schema import GROUPS
from selfdebias.config.sources import Sources, read_option
from selfdebias.config.targets import check_job, make
from selfdebias.config.transport import with_values
from selfdebias.guidance.base import Method
from selfdebias.jobs.early_checks import check_judged
from selfdebias.jobs.progress import with_progress
from selfdebias.judges.labelled import labelled_fingerprint
from selfdebias.modes.semantics import AxesSemantics, Semantics

WIDE = 256  # channels of a bottleneck from which on the projector reads it through a convolution


class Parts:
    """Model, encoder, clustering, ... of a job.

    Making the object makes every part but the logger, so that each one has checked its values before a stage runs.

    Args:
        config: The resolved configuration.

    Attributes:
        by_group: All parts but the guidance, of which each arm has its own; `sampler` draws the arms, `collector`
            what is collected.

    Raises:
        ConfigError: If a `_target_` is not allowed, or a part refuses a value.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        check_job(config)
        self._config = config
        folders = config["evaluate"]["folders"]  # where nothing is drawn, only what judges has to be there
        drawing = [group for group in GROUPS if group not in ("paths", "logger", "guidance")]
        groups = ["judge", "encoder", "metrics", "prompts", "trainer"] if folders else drawing
        self.by_group = {group: make(config, group) for group in groups}
        self.by_group["trainer"] = with_progress(self.by_group["trainer"])
        check_judged(config, self.by_group["judge"].classes)
        if folders:
            return
        for name, model in (("sampler", model_of_arms(config)), ("collector", model_of_collect(config))):
            self.by_group[name] = make({"model": model}, "model")
        for guidance in guidance_of_arms(config["guidance"]).values():
            make({"guidance": guidance}, "guidance")
        try:
            self.by_group["vocabulary"].check(self.by_group["encoder"])
        except ValueError as error:
            raise ConfigError(str(error)) from error
        prompts = config["prompts"]
        name = "subjects" if "subjects" in prompts else "text"
        if prompts[name] and not getattr(self.by_group["model"], "takes_prompts", True):  # which would not even see one
            raise refuse(f"prompts.{name}", "empty for a model without prompts (prompts=unconditional)", prompts[name])

    def fingerprints(self) -> dict[str, str]:
        """Hash of the weight files, or the hub revision, of each group that offers one; and of labelled images, as `evaluate`.

        Raises:
            ConfigError: If a weight file is missing.
        """
        weighty = {group: part for group, part in self.by_group.items() if hasattr(part, "fingerprint")}
        labelled = self._config["evaluate"]["labelled"]
        try:
            found = {it: part.fingerprint() for it, part in weighty.items() if it not in ("sampler", "collector")}
            if labelled is not None:
                found["evaluate"] = labelled_fingerprint(Path(labelled), self.by_group["judge"].classes)
        except (OSError, ValueError) as error:
            raise ConfigError(" ".join(str(error).split())) from error
        return found


def default(group: str, option: str, semantics: Semantics | AxesSemantics | None = None) -> Any:
    """Return the part that an option of ``conf/`` composes to.

    Args:
        group, option: such as ``guidance``, ``transport``.
        semantics: projector and bank, for which transport has measured values; None for those of a UNet and a partition.
    """
    part = compose_groups([f"{group}={option}"])[group]
    if group == "guidance":
        transformer = semantics is not None and semantics.projector.block is not None
        part = with_values(part, transformer, axes=isinstance(semantics, AxesSemantics))
    return make({group: part}, group)


def trainer_on(pipe: Any) -> Any:
    """Return what makes Lightning's Trainer on the device of a pipeline, where its images are."""
    device, trainer = getattr(pipe, "_execution_device", pipe.device), default("trainer", "default")
    known = device.type in ("cpu", "cuda", "mps")
    where: Any = [device.index or 0] if device.type == "cuda" else 1
    return partial(
        trainer.func, **{**trainer.keywords, "accelerator": device.type if known else "auto", "devices": where}
    )


def transport_for(semantics: Semantics | AxesSemantics) -> Method:
    """Return transport with the values measured for a projector, of a UNet or a transformer, and a bank, of a partition or axes."""
    made: Method = default("guidance", "transport", semantics)
    return made


def guidance_of(
    guidance: Method | str | None, fitted: Method | None = None, semantics: Semantics | AxesSemantics | None = None
) -> Method | None:
    """Return a guidance, or a selection, as it is, and for a name the one that ``conf/guidance/<name>.yaml`` composes to.

    Args:
        guidance: the object or the name.
        fitted: the one that a debiaser was made with.
        semantics: its projector and bank, which transport has measured values for; None for those of a UNet and a partition. With
            them a mixture of choosing and steering that is named steers by the transport of `fitted`, if that has one.

    Raises:
        ValueError: if there is none of this name, it cannot be attached, such as the random control, or it is no guidance.
    """
    if not isinstance(guidance, Method | str | None):
        raise ValueError(f"`guidance` must be a name or a Guidance, got {guidance!r}.")
    if not isinstance(guidance, str):
        return guidance
    options = options_of("guidance", Sources().folders)
    if guidance not in options or not _can_be_attached(guidance):
        known = ", ".join(option for option in options if _can_be_attached(option))
        near = nearest(guidance, options)
        why = ", which is for jobs alone." if guidance in options else f": did you mean {near!r}?" if near else "."
        raise ValueError(f"`guidance` must be one of {known}, or an object, got {guidance!r}{why}")
    made: Method = default("guidance", guidance, semantics)
    steer, own = getattr(made, "steer", None), getattr(fitted, "steer", None) or fitted
    if steer is None or semantics is None:
        return made
    mixed: Method = with_options(made, {"steer": own}) if type(own) is type(steer) else made
    return mixed


def _can_be_attached(option: str) -> bool:
    """Whether an option of guidance makes edits of its own, which then have a size, or chooses by activations."""
    return not {"strength", "eta", "at"}.isdisjoint(compose_groups([f"guidance={option}"])["guidance"])


def part_of(group: str, given: Any, kind: type) -> Any:
    """Return a part as it is, None too, and for a name the one that ``conf/<group>/<name>.yaml`` composes to.

    Raises:
        ValueError: if there is none of this name, or it is not of its kind.
    """
    if not isinstance(given, str | None | kind):
        raise ValueError(f"`{group}` must be a name or a {kind.__name__}, got {given!r}.")
    if not isinstance(given, str):
        return given
    known = options_of(group, Sources().folders)
    if given not in known:
        end = f": did you mean {near!r}?" if (near := nearest(given, known)) else "."
        raise ValueError(f"`{group}` must be one of {', '.join(known)}, or an object, got {given!r}{end}")
    return default(group, given)


def with_options(guidance: Any, options: Mapping[str, Any]) -> Any:
    """Return a guidance with some hyper-parameters changed; itself where there are none.

    Args:
        guidance: with its hyper-parameters as attributes.
        options: by name; None leaves one as it is.

    Raises:
        ValueError: if it has no such hyper-parameter, or refuses a value.
    """
    changed, own = {name: value for name, value in options.items() if value is not None}, vars(guidance)
    for name, value in changed.items():
        if name not in own:
            known = [*inspect.signature(type(guidance)).parameters]
            near = nearest(name, known)
            hint = f"did you mean `{near}`?" if near else f"it has {', '.join(known)}."
            raise ValueError(f"`{name}` is no option of {type(guidance).__name__}: {hint}")
        _check_kind(name, value, own[name])
    return type(guidance)(**{**own, **changed}) if changed else guidance


@contextmanager
def as_given() -> Iterator[None]:
    """Lets errors speak of options of the guidance by the names that a caller gives, not by their places in a configuration."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("`guidance.", "`")) from None


def _check_kind(name: str, value: Any, before: Any) -> None:
    """Refuse a value of another kind than the one whose place it takes; a number may give way to a name, and None to anything."""
    if isinstance(before, bool) and not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False, got {value!r}.")
    if isinstance(before, int | float) and not isinstance(before, bool):
        named = NAMED.get(name, ())
        if value not in named if isinstance(value, str) else not is_number(value):
            raise ValueError(f"`{name}` must be {' or '.join(['a number', *named])}, got {value!r}.")
    if isinstance(before, str) and name not in NAMED and not isinstance(value, str):
        raise ValueError(f"`{name}` must be a text, got {value!r}.")


def projector_for(denoiser: Denoiser) -> dict[str, Any]:
    """Return the options of the projector that goes with a denoiser's width: what ``conf/`` has for small and real models."""
    of_unet = "convolutional" if denoiser.width >= WIDE else "flattened"
    option = "tokens" if denoiser.name == "transformer" else of_unet
    return read_option("projector", "flattened") | read_option("projector", option)
