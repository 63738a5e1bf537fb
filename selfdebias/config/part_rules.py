"""What the values of parts must look like, and how parts go together, before any part is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from selfdebias.config.axes_rules import check_axes
from selfdebias.config.prompt_texts import different_texts, with_place
from selfdebias.config.rules import AT_LEAST_0, AT_LEAST_1, ConfigError, Rule, is_number, refuse, walk, whole, whole_in

_ABOVE_0 = Rule("a number larger than 0", lambda value: is_number(value) and value > 0)
_NOT_BELOW_0 = Rule("a number of at least 0", lambda value: is_number(value) and value >= 0)
WANDB_MODES = ("disabled", "offline", "online")  # the more private ones first
READERS = ("flattened", "pooled", "convolutional")


def _one_of(*names: str) -> Rule:
    return Rule(f"one of {', '.join(names)}", lambda value: value in names)


PROJECTOR: Mapping[str, Rule] = {
    "reader": _one_of(*READERS),
    "hidden": whole_in(1, 2**16),
    "steps": whole_in(1, 10**7),
    "batch_size": whole_in(2, 10**6),
    "noise": _NOT_BELOW_0,
    "weight_decay": _NOT_BELOW_0,
    "temperature": _ABOVE_0,
    "learning_rate": _ABOVE_0,
    "dropout": Rule("a number in [0, 1)", lambda value: is_number(value) and 0 <= value < 1),
    "balanced": Rule("true or false", lambda value: isinstance(value, bool)),
    "negatives": Rule("true or false", lambda value: isinstance(value, bool)),
    "layers": whole_in(1, 16),
    "activation": _one_of("silu", "relu"),
    "time": _one_of("sinusoidal", "step"),
    "standardised": Rule("true or false", lambda value: isinstance(value, bool)),
    "schedule": _one_of("one_cycle", "constant"),
}

MODEL: Mapping[str, Rule] = {
    "steps": whole_in(1, 10**4),
    "guidance_scale": Rule("a number in [1, 100]", lambda value: is_number(value) and 1 <= value <= 100),
    "height": Rule("null or a multiple of 8 pixels, at most 16384", lambda value: _is_side(value)),
    "width": Rule("null or a multiple of 8 pixels, at most 16384", lambda value: _is_side(value)),
}

# What Lightning's Trainer may be told. Anything else shortens stages, or leaves files where nobody looks for them.
_FALSE = Rule("false", lambda value: value is False)
_PRECISIONS = ("32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed")
_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
TRAINER: Mapping[str, Rule] = {
    "accelerator": Rule(f"one of {', '.join(_ACCELERATORS)}", lambda value: value in _ACCELERATORS),
    "devices": AT_LEAST_1,
    "num_nodes": Rule("1", lambda value: value == 1),
    "strategy": Rule("ddp (trainer=ddp), or auto for one device", lambda value: value in ("auto", "ddp")),
    "use_distributed_sampler": _FALSE,
    "precision": Rule(f"one of {', '.join(_PRECISIONS)}", lambda value: value in _PRECISIONS),
    "inference_mode": _FALSE,
    "logger": _FALSE,
    "enable_checkpointing": _FALSE,
    "enable_model_summary": Rule("true or false", lambda value: isinstance(value, bool)),
    "enable_progress_bar": Rule("true or false", lambda value: isinstance(value, bool)),
}
WANDB_TEXTS = ("project", "entity", "name", "group", "notes", "job_type", "id")

CLUSTERING: Mapping[str, Rule] = {
    "k": Rule("null or a whole number of at least 1", lambda value: value is None or (whole(value) and value >= 1)),
    "k_min": Rule("a whole number of at least 2", lambda value: whole(value) and value >= 2),
    "choice": Rule("silhouette or stability", lambda value: value in ("silhouette", "stability")),
    "space": Rule("image, residual or projected", lambda value: value in ("image", "residual", "projected")),
    "covariance": Rule("diag, spherical, tied or full", lambda value: value in ("diag", "spherical", "tied", "full")),
    "linkage": Rule("ward, average or complete", lambda value: value in ("ward", "average", "complete")),
    "n_init": AT_LEAST_1,
    "min_size": AT_LEAST_1,
    "max_depth": AT_LEAST_0,
    "min_samples": AT_LEAST_1,
    "min_cluster_size": Rule("a whole number of at least 2", lambda value: whole(value) and value >= 2),
}


def _is_side(value: Any) -> bool:
    return value is None or (whole(value) and 8 <= value <= 2**14 and value % 8 == 0)


def check_parts(config: Mapping[str, Any]) -> None:
    """Refuses values of parts that do not go together, or that a part itself would refuse only when it is late.

    Args:
        config: A configuration that `selfdebias.config.rules.check` has passed.

    Raises:
        ConfigError: With the first wrong value.
    """
    _check_prompts(config)
    root = config["paths"].get("root")
    if not isinstance(root, str) or not root.strip():
        raise refuse("paths.root", "the path of a folder", root)
    _check_values("model", MODEL, config["model"])
    _check_values("model", MODEL, config["generate"]["sampler"] or {}, "generate.sampler")
    _check_trainer(config["trainer"])
    _check_logger(config["logger"])
    check_projector(config["projector"])
    _check_scale(config["model"], config["collect"]["relative_scale"])
    _check_clustering(config["clustering"], config["collect"]["n_images"])
    _check_space(config["clustering"], config["projector"])
    _check_modes(config["clustering"], config["guidance"])
    _check_guided_axes(config["clustering"], config["guidance"], config["bank"])


def part_of_scale(scale: float, relative: float) -> float:
    """A part of a classifier-free guidance scale; one that turns guidance off, at most 1, stays as it is.

    Example:
        >>> part_of_scale(7.5, 0.5), part_of_scale(1.0, 0.5)
        (3.75, 1.0)
    """
    return scale * relative if scale > 1 else scale


def _check_scale(model: Mapping[str, Any], relative: float) -> None:
    """Guidance edits both branches, so that both have to be there among the images that it is fitted on."""
    scale = model.get("guidance_scale")
    if isinstance(scale, int | float) and relative != 1 and scale > 1 >= part_of_scale(scale, relative):
        words = f"1, or larger than {1 / scale:.3g}: `model.guidance_scale`, {scale}, times it must be larger than 1"
        raise refuse("collect.relative_scale", words, relative)


def _check_values(group: str, rules: Mapping[str, Rule], part: Mapping[str, Any], path: str = "") -> None:
    """Holds the values that a part has against rules; `path` is where they stand, if it is not the group."""
    for name, rule in rules.items():
        if name in part and not rule.holds(part[name]):
            raise refuse(f"{path or group}.{name}", rule.words, part[name])


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    """Refuses options of Lightning's Trainer that no stage is made for, such as those that cut its loops short."""
    for key in trainer:
        if key not in TRAINER and not key.startswith("_"):
            raise ConfigError(
                f"`trainer.{key}` is not an option: it could cut a stage short. trainer has {', '.join(TRAINER)}."
            )
    _check_values("trainer", TRAINER, trainer)


def _check_logger(logger: Mapping[str, Any]) -> None:
    """What W&B would say only once the job is done."""
    if "mode" in logger and logger["mode"] not in WANDB_MODES:
        raise refuse("logger.mode", f"one of {', '.join(WANDB_MODES)}", logger["mode"])
    if not str(logger["_target_"]).endswith(".WandbLogger"):
        return
    for name in WANDB_TEXTS:
        if name in logger and not (logger[name] is None or (isinstance(logger[name], str) and logger[name].strip())):
            raise refuse(f"logger.{name}", "null or a text that is not blank", logger[name])
    if not isinstance(logger.get("project", "x"), str):
        raise refuse("logger.project", "the name of a project on W&B", logger["project"])


def _check_prompts(config: Mapping[str, Any]) -> None:
    prompts = config["prompts"]
    text = prompts.get("text")
    none = str(prompts["_target_"]).endswith(".NoPrompt")  # says itself that it takes no text
    if "subjects" not in prompts and (not isinstance(text, str) or not (text.strip() or none)):
        raise refuse("prompts.text", "a text that is not blank", text)
    try:
        if "subjects" in prompts:
            different_texts("subjects", prompts["subjects"])
        count = len(with_place(prompts["templates"])) if "templates" in prompts else 1
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for stage in ("collect", "generate"):
        if config[stage]["n_images"] < count:
            words = f"at least {count}, one for each of `prompts.templates`"
            raise refuse(f"{stage}.n_images", words, config[stage]["n_images"])


def check_projector(projector: Mapping[str, Any]) -> None:
    """Refuses values of the projector whose own class would speak only when it is trained, after all images are drawn.

    Raises:
        ConfigError: With the first wrong value.
    """
    if str(projector["_target_"]).endswith(".ProjectorFit"):
        for name, rule in PROJECTOR.items():
            if name in projector and not rule.holds(projector[name]):
                raise refuse(f"projector.{name}", rule.words, projector[name])


def _check_modes(clustering: Mapping[str, Any], guidance: Mapping[str, Any]) -> None:
    """A target must have as many shares as there can be modes."""
    for path, target in walk(guidance, "guidance"):
        if path.endswith(".target") and isinstance(target, list):
            if "recurrence" in clustering and len(target) != 2:
                raise refuse(
                    path,
                    "2 shares, of both sides of each axis, the larger first (or choose clustering=spectral)",
                    target,
                )
            least, most = clustering.get("k_min", 2), clustering.get("k_max")
            if "max_depth" in clustering or clustering.get("k") is not None:
                continue  # a second stage makes more modes, a given k others: generate knows how many
            if isinstance(most, int) and not least <= len(target) <= most:
                words = f"as many shares as modes, {least} to {most} (`clustering.k_min`, `clustering.k_max`)"
                raise refuse(path, words, target)


def _check_space(clustering: Mapping[str, Any], projector: Mapping[str, Any]) -> None:
    """A projector that comes before the modes cannot be balanced over them."""
    if clustering.get("space") == "projected" and projector.get("balanced") is True:
        raise refuse("projector.balanced", "false where `clustering.space` is projected, as no mode is known yet", True)


def _check_guided_axes(clustering: Mapping[str, Any], guidance: Mapping[str, Any], bank: Mapping[str, Any]) -> None:
    """Axes can be chosen where there are some, and two passes know of none: generate would say so after all is collected."""
    axes = "recurrence" in clustering
    if axes and not str(bank["_target_"]).endswith((".OwnBank", ".CarriedBank")):
        raise refuse("bank", "own or carried where clustering=axes (or choose clustering=spectral)", bank["_target_"])
    for path, value in walk(guidance, "guidance"):
        if path.endswith(".axes") and value is not None and not axes:
            raise refuse(path, "null where modes are one partition (or choose clustering=axes)", value)
        if axes and path.endswith("._target_") and str(value).endswith(".TwoPassGuidance"):
            raise refuse(
                "guidance",
                "one that draws once where clustering=axes, such as guidance=transport (or choose clustering=spectral)",
                "two_pass",
            )


def _check_axes(clustering: Mapping[str, Any], n_images: int) -> None:
    """Axes say themselves what they refuse."""
    try:
        check_axes(clustering, n_images)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _check_clustering(clustering: Mapping[str, Any], n_images: int) -> None:
    """What an estimator says only when it is fitted, and that is after all images are drawn."""
    if "recurrence" in clustering:
        _check_axes(clustering, n_images)
    for name, rule in CLUSTERING.items():
        if name in clustering and not rule.holds(clustering[name]):
            raise refuse(f"clustering.{name}", rule.words, clustering[name])
    widths = clustering.get("n_neighbors")
    if isinstance(widths, list) and not (widths and all(whole(n) and n >= 1 for n in widths)):
        raise refuse("clustering.n_neighbors", "a list of whole numbers of at least 1", widths)
    k_min, k_max = clustering.get("k_min"), clustering.get("k_max")
    if isinstance(k_min, int) and isinstance(k_max, int) and k_max < k_min:
        raise refuse("clustering.k_max", f"a whole number of at least `clustering.k_min`, {k_min}", k_max)
    given, size = clustering.get("k"), clustering.get("min_cluster_size")
    most = int(next((value for value in (given, k_max) if whole(value)), 1))  # type: ignore[arg-type]
    halved = clustering.get("choice") == "stability" and given is None
    times, words = (4, "four times") if halved else (2, "twice")
    if n_images < times * most:
        raise refuse(
            "collect.n_images", f"at least {times * most}, {words} the {most} modes that clustering tries", n_images
        )
    if isinstance(size, int) and n_images < 2 * size:
        raise refuse("collect.n_images", f"at least {2 * size}, twice `clustering.min_cluster_size`", n_images)
