"""What a job does, from the first image to the report, in the order of the method.

Collect images without guidance, discover their modes, project activations into the space of the modes, generate each arm from the
same seeds, evaluate the arms, and report. An argument that is a stage is read, and its key is part of the reader's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from selfdebias.config.combinations import (
    UNEDITED,
    draws_reference,
    guidance_of_arms,
    model_of_arms,
    model_of_collect,
    reference_count,
)
from selfdebias.config.prompts import NoPrompt
from selfdebias.config.targets import make
from selfdebias.jobs.prompts import BANK, SOURCE, attribute_prompts, prompts_of_bank, rows_of
from selfdebias.jobs.stage import MODEL_OF_ARMS, MODEL_OF_COLLECT, Part, Row, Stage
from selfdebias.jobs.stages import collect, discover, evaluate, generate, project, report
from selfdebias.modes.banks import PROMPT, SupervisedBank

CLUSTERING, VOCABULARY, ENCODER = Part("clustering"), Part("vocabulary"), Part("encoder")
PROJECTOR, TRAINER, JUDGE, METRICS = Part("projector"), Part("trainer"), Part("judge"), Part("metrics")


def make_plan(config: Mapping[str, Any], fingerprints: Mapping[str, str]) -> dict[str, Stage]:
    """All stages of a job by name, each after those that it reads, whether `stages` asks for them or not.

    A row of a list of prompts has the keys of a job that has its prompt alone.

    Args:
        config: The resolved configuration.
        fingerprints: Hash of the weight files, or the hub revision, of each group that has weights.

    Raises:
        ConfigError: If the bank does not go with the prompts or the clustering.
    """
    rows = [Row(own, fingerprints, name) for name, own in rows_of(config).items()]
    if config["evaluate"]["folders"]:
        stages = [evaluate_given_folders(rows[0])]
    elif fitted := prompts_of_bank(config):
        stages = stages_of_bank(Row(config, fingerprints, BANK), fitted)
        discovered, projected = stages[-2:]
        for row in rows:
            stages += stages_of_row(row, discovered, projected)
    else:
        stages = [stage for row in rows for stage in stages_of_row(row)]
    return {stage.name: stage for stage in stages}


def stages_of_row(row: Row, found: Stage | None = None, shared_projector: Stage | None = None) -> list[Stage]:
    """The method, for one prompt.

    Args:
        row: The prompt, and all else that is asked for.
        found: The discover stage of a bank that all rows share; None where each row has its own.
        shared_projector: The project stage of that bank.
    """
    collected = collect_images(row)
    reference = draw_reference(row) if draws_reference(row.config) else None
    if in_projected_space(row.config):  # the projector comes first, and discover leaves the bank
        projected = project_modes(row, collected, None)
        discovered = discover_projected_modes(row, collected, projected)
        own = [projected, discovered]
    elif found and shared_projector:
        discovered, projected = look_for_modes(row, collected, found), shared_projector
        own = [discovered]
    else:
        discovered = discover_modes(row, collected)
        projected = project_modes(row, collected, discovered)
        own = [discovered, projected]
    arms = generate_arms(row, projected, discovered)
    evaluated = evaluate_arms(row, arms, collected, discovered, reference)
    reported = write_report(row, arms, collected, discovered, projected, evaluated)
    return [collected, *own, *arms.values(), *([reference] if reference else []), evaluated, reported]


def stages_of_bank(bank: Row, prompts: Mapping[str, Mapping[str, Any]]) -> list[Stage]:
    """What all rows share: images of several prompts, modes of the source prompt or of the mixture, projector and mode bank."""
    config = bank.config
    fitted = {
        name: collect_images(replace(bank, config={**config, "prompts": own}), name) for name, own in prompts.items()
    }
    if SOURCE in fitted:
        discovered = discover_modes(bank, fitted[SOURCE])
    else:
        discovered = bank.stage(
            "discover", discover.discover, discover.VERSION_OF_SEVERAL, discover.CONFIG,
            fitted=fitted, clustering=CLUSTERING, vocabulary=VOCABULARY, encoder=ENCODER,
        )  # fmt: skip
    apart = config["bank"].get("threshold") == PROMPT
    projected = bank.stage(
        "project", project.project, project.VERSION_OF_SEVERAL, (*project.CONFIG, *(["bank.threshold"] if apart else [])),
        fitted=fitted, discovered=discovered, encoder=ENCODER, projector=PROJECTOR, seed=config["project"]["seed"], trainer=TRAINER,
        **({"threshold": PROMPT} if apart else {}),
    )  # fmt: skip
    return [*fitted.values(), discovered, projected]


def in_projected_space(config: Mapping[str, Any]) -> bool:
    """Whether modes are found among projected vectors, so that the projector comes before them."""
    return bool(config["clustering"].get("space") == "projected")


def collect_images(row: Row, arm: str = "", backbone: Part = MODEL_OF_COLLECT) -> Stage:
    """Sample without guidance, at the model's part of the guidance scale; keep images, embeddings and activations."""
    asked = {name: value for name, value in row.config["collect"].items() if name != "relative_scale"}
    drawn = replace(row, config={**row.config, "model": model_of_collect(row.config), "collect": asked})
    return drawn.stage(
        "collect", collect.collect, collect.VERSION, collect.CONFIG, arm,
        backbone=backbone, encoder=ENCODER, prompts=make(row.config, "prompts"), trainer=TRAINER, **asked,
    )  # fmt: skip


def draw_reference(row: Row) -> Stage:
    """Sample what the arms are held against as collect would with their model: so that jobs share the images."""
    asked = {**row.config["collect"], "n_images": reference_count(row.config), "relative_scale": 1}
    drawn = {**row.config, "model": model_of_arms(row.config), "collect": asked}
    return collect_images(replace(row, config=drawn), "reference", MODEL_OF_ARMS)


def discover_modes(row: Row, collected: Stage) -> Stage:
    """Cluster the embeddings of the images; or take the classes of a judge for modes, the oracle baseline."""
    if isinstance(make(row.config, "bank"), SupervisedBank):
        return row.stage(
            "discover", discover.discover_supervised, discover.VERSION_SUPERVISED, discover.CONFIG_SUPERVISED,
            collected=collected, bank=Part("bank"), judge=JUDGE,
        )  # fmt: skip
    return row.stage(
        "discover", discover.discover, discover.VERSION, discover.CONFIG,
        collected=collected, clustering=CLUSTERING, vocabulary=VOCABULARY, encoder=ENCODER,
    )  # fmt: skip


def look_for_modes(row: Row, collected: Stage, found: Stage) -> Stage:
    """Look for the modes of a shared bank among a row's own images."""
    return row.stage(
        "discover", discover.discover_carried, discover.VERSION_CARRIED, discover.CONFIG_CARRIED,
        collected=collected, found=found,
    )  # fmt: skip


def discover_projected_modes(row: Row, collected: Stage, projected: Stage) -> Stage:
    """Cluster projected vectors, timestep by timestep."""
    return row.stage(
        "discover", discover.discover_projected, discover.VERSION_PROJECTED, discover.CONFIG,
        collected=collected, projected=projected, clustering=CLUSTERING, vocabulary=VOCABULARY, encoder=ENCODER,
    )  # fmt: skip


def project_modes(row: Row, collected: Stage, discovered: Stage | None) -> Stage:
    """Train the projector on recorded activations, and place the modes in its space, if they are known yet."""
    return row.stage(
        "project", project.project, project.VERSION if discovered else project.VERSION_ALONE, project.CONFIG,
        collected=collected, discovered=discovered, encoder=ENCODER, projector=PROJECTOR,
        seed=row.config["project"]["seed"], trainer=TRAINER,
    )  # fmt: skip


def generate_arms(row: Row, projected: Stage, discovered: Stage) -> dict[str, Stage]:
    """Draw each arm from the same seeds: vanilla, guided, and what is compared with them."""
    config, arms = row.config, dict[str, Stage]()
    asked = {name: value for name, value in config["generate"].items() if name != "sampler"}
    for arm, guidance in guidance_of_arms(config["guidance"]).items():
        drawn = {**config, "model": model_of_arms(config), "generate": {**asked, "sampler": None}, "guidance": guidance}
        edited = arm not in UNEDITED
        told = {"prompts": attribute_prompts(config["prompts"], guidance)} if arm == "attribute_prompts" else config
        depends = [
            name for name in generate.CONFIG if edited or name != "schedule"
        ]  # nothing is guided: no time is said
        method = make(drawn, "guidance")
        looks = getattr(method, "needs_encoder", False)  # at finished images
        of_method = getattr(method, "version", 1)
        version = generate.VERSION if of_method == 1 else f"{generate.VERSION}, guidance {of_method}"
        arms[arm] = replace(row, config=drawn).stage(
            "generate", generate.generate, version, depends, arm, arm=arm,
            backbone=MODEL_OF_ARMS, guidance=method, schedule=Part("schedule"), prompts=make(told, "prompts"),
            projected=projected if edited else None, replayed=arms["guided"] if arm == "random" else None, trainer=TRAINER,
            discovered=discovered if edited and in_projected_space(config) else None,
            **({"encoder": ENCODER, "modes": discovered} if looks else {}), **asked,
        )  # fmt: skip
    return arms


def evaluate_arms(
    row: Row, arms: dict[str, Stage], collected: Stage, discovered: Stage, reference: Stage | None
) -> Stage:
    """Let judge and encoder look at each arm's images, and measure."""
    asked = {
        name: row.config["evaluate"][name] for name in ("batch_size", "bootstrap", "seed", "labelled", "reference")
    }
    return row.stage(
        "evaluate", evaluate.evaluate, evaluate.VERSION, evaluate.CONFIG, arms=arms, collected=collected, discovered=discovered,
        judge=JUDGE, encoder=ENCODER, metrics=METRICS, prompts=make(row.config, "prompts"), trainer=TRAINER, drawn=reference,
        **asked,
    )  # fmt: skip


def evaluate_given_folders(row: Row) -> Stage:
    """Measure images that any method or tool has left in folders, with the same judge, encoder and metrics."""
    asked = {name: value for name, value in row.config["evaluate"].items() if name != "reference_images"}
    return row.stage(
        "evaluate", evaluate.evaluate, evaluate.VERSION_OF_FOLDERS, evaluate.CONFIG_OF_FOLDERS,
        judge=JUDGE, encoder=ENCODER, metrics=METRICS, prompts=NoPrompt(make(row.config, "prompts").attributes), trainer=TRAINER,
        **asked,
    )  # fmt: skip


def write_report(
    row: Row, arms: dict[str, Stage], collected: Stage, discovered: Stage, projected: Stage, evaluated: Stage
) -> Stage:
    """Write the page, the table and their pictures; anew where the code that writes them has changed."""
    stage = row.stage(
        "report", report.report, report.VERSION, report.CONFIG, job=Part("job"), arms=arms, collected=collected,
        discovered=discovered, projected=projected, evaluated=evaluated, images=row.config["report"]["images"],
    )  # fmt: skip
    return replace(stage, writer=report.writer())


def with_inputs(stages: Sequence[Stage]) -> set[str]:
    """The names of stages and of all that they read, and that these read."""
    names, left = set[str](), [*stages]
    while left:
        stage = left.pop()
        if stage.name not in names:
            names.add(stage.name)
            left += stage.before
    return names
