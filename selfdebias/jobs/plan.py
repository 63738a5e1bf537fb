"""Which steps a job has, what each one reads, and the key that each is found under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from selfdebias.config.arms import (
    UNEDITED,
    draws_reference,
    guidance_of_arms,
    model_of_arms,
    model_of_collect,
    reference_count,
)
from selfdebias.config.compose import digest, without_devices
from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.targets import make
from selfdebias.jobs.fitted_prompts import BANK, SOURCE, attribute_prompts, discover_variant, fitted_prompts
from selfdebias.jobs.later_options import as_keyed
from selfdebias.jobs.rows import in_row, rows_of
from selfdebias.jobs.stage_table import PROJECTED, STAGES, VARIANTS, Stage
from selfdebias.modes.banks import SharedBank

FOLDERS = VARIANTS["folders"]

REFERENCE = "collect/reference"  # images of the arms' own model, which they are held against

ROLES = {f"discover/{BANK}": "found", f"project/{BANK}": "project"}  # of shared steps, among what a row's steps read

# Names of arguments, where they differ from the name of the group or stage.
ARGUMENTS: Mapping[str, str] = {
    "collector": "backbone",
    "sampler": "backbone",
    "collect": "collected",
    "discover": "discovered",
    "project": "projected",
    "evaluate": "evaluated",
}


@dataclass(frozen=True)
class Step:
    """One run of a stage, for one arm where there are arms.

    Args:
        name: The stage, with its row and its arm where it has them: `collect`, `generate/guided`, `generate/farmer/guided`.
        stage: The stage.
        key: Hash of all that it depends on.
        record: What the key was made of.
        inputs: Names of the steps that it reads, by argument.
        arms: Names of the arms' steps that it reads, by arm.
        arm: Its arm, "" where it has none.
        guidance: Configuration of its arm's guidance.
        row: Its row, "" in a job of one prompt; `BANK` for what all rows share.
        variant: The name among `VARIANTS` of what runs it; "" for the stage itself.
        projected: Whether it is run by `PROJECTED`, if that has its stage.
        fitted: Names of the collect steps that it reads all of, by prompt.
        prompts: Configuration of its prompts, where they are not those of its row.
    """

    name: str
    stage: str
    key: str
    record: dict[str, Any]
    inputs: dict[str, str]
    arms: dict[str, str] = field(default_factory=dict)
    arm: str = ""
    guidance: dict[str, Any] = field(default_factory=dict)
    row: str = ""
    variant: str = ""
    projected: bool = False
    fitted: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, Any] = field(default_factory=dict)

    @property
    def name_in_row(self) -> str:
        """Its name in a job of one prompt."""
        if self.variant == "reference":
            return REFERENCE
        return f"{self.stage}/{self.arm}" if self.arm else self.stage

    @property
    def before(self) -> list[str]:
        """Names of all steps that it reads."""
        return [*self.inputs.values(), *self.arms.values(), *self.fitted.values()]


def row_of(step: Step) -> Stage:
    """The row of the table that runs a step."""
    if step.variant:
        return VARIANTS[step.variant]
    return PROJECTED.get(step.stage, STAGES[step.stage]) if step.projected else STAGES[step.stage]


def make_plan(config: Mapping[str, Any], fingerprints: Mapping[str, str]) -> dict[str, Step]:
    """All steps of the job by name, each after those that it reads, whether `stages` asks for them or not.

    A row of a list of prompts has the keys of a job that has its prompt alone.

    Args:
        config: The resolved configuration.
        fingerprints: Hash of the weight files, or the hub revision, of each group that has weights.
    """
    rows = rows_of(config)
    if config["evaluate"]["folders"]:
        step = _make_step("evaluate", "", config, fingerprints, {}, "folders")
        return {step.name: step}
    shared = _shared_steps(config, rows, fingerprints)
    steps = list(shared.values())
    for row, own in rows.items():
        steps += [_renamed(step, row) for step in _plan_of_row(own, fingerprints, shared)]
    return {step.name: step for step in steps}


def _plan_of_row(config: Mapping[str, Any], fingerprints: Mapping[str, str], shared: Mapping[str, Step]) -> list[Step]:
    arms = guidance_of_arms(config["guidance"])
    drawn = {"model": model_of_arms(config), "generate": {**config["generate"], "sampler": None}}
    variants = {"discover": discover_variant(make(config, "bank"))}
    if in_projected_space(config) and (shared or variants["discover"]):
        raise refuse("clustering.space", "image or residual, where `bank` is not own", "projected")
    steps = {ROLES[name]: step for name, step in shared.items() if name in ROLES}
    own_steps = []
    for stage in [stage for stage in _in_order(config) if stage not in steps]:
        for arm in arms if stage == "generate" else [""]:
            own = {**config, **drawn, "guidance": arms[arm]} if arm else config
            step = _make_step(stage, arm, own, fingerprints, steps, variants.get(stage, ""))
            if arm == "attribute_prompts":
                step = replace(step, prompts=attribute_prompts(config["prompts"], arms[arm]))
            steps[step.name] = step
            own_steps.append(step)
        if stage == "collect" and draws_reference(config):
            steps[REFERENCE] = _reference_step(config, fingerprints)
            own_steps.append(steps[REFERENCE])
    return own_steps


def _reference_step(config: Mapping[str, Any], fingerprints: Mapping[str, str]) -> Step:
    """What collect would draw with the arms' model: its key is that of such a stage, so that jobs share the images."""
    own = {**config["collect"], "n_images": reference_count(config)}
    drawn = {**config, "model": model_of_arms(config), "collect": {**own, "relative_scale": 1}}
    return replace(_make_step("collect", "", drawn, fingerprints, {}), name=REFERENCE, variant="reference")


def _shared_steps(
    config: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], fingerprints: Mapping[str, str]
) -> dict[str, Step]:
    """The steps of a bank that all rows share, by name; none where each row has a bank of its own.

    Raises:
        ConfigError: If the bank does not go with the prompts.
    """
    bank = make(config, "bank")
    if not isinstance(bank, SharedBank):
        return {}
    collects = {}
    asked = {row: own["prompts"] for row, own in rows.items()}
    for name, prompts in fitted_prompts(bank, asked, config["clustering"]).items():
        step = _make_step("collect", "", {**config, "prompts": prompts}, fingerprints, {})
        collects[name] = replace(step, name=f"collect/{BANK}/{name}", row=BANK, prompts=prompts)
    read = {"collect": collects[SOURCE]} if SOURCE in collects else {}
    variant = "" if read else "mixture"
    found = _make_step("discover", "", config, fingerprints, read, variant, collects)
    found = replace(found, name=f"discover/{BANK}", row=BANK)
    project = _make_step("project", "", config, fingerprints, {"discover": found}, "bank", collects)
    steps = [*collects.values(), found, replace(project, name=f"project/{BANK}", row=BANK)]
    return {step.name: step for step in steps}


def _in_order(config: Mapping[str, Any]) -> list[str]:
    """The stages, each after those that it reads."""
    stages = list(STAGES)
    if in_projected_space(config):
        stages.remove("project")
        stages.insert(stages.index("discover"), "project")
    return stages


def in_projected_space(config: Mapping[str, Any]) -> bool:
    """Whether modes are found among projected vectors, so that the projector comes before them."""
    return bool(config["clustering"].get("space") == "projected")


def _renamed(step: Step, row: str) -> Step:
    """The step under the names that it and what it reads have in a row."""
    inputs, arms = (
        {key: name if f"/{BANK}" in name else in_row(name, row) for key, name in read.items()}
        for read in (step.inputs, step.arms)
    )
    return replace(step, name=in_row(step.name, row), inputs=inputs, arms=arms, row=row)


def chosen_steps(plan: Mapping[str, Step], stages: Sequence[str]) -> list[Step]:
    """The steps of the plan that `stages` asks for, in the order of the plan."""
    evaluated = "evaluate" in stages  # which alone reads the reference
    return [step for step in plan.values() if step.stage in stages and (evaluated or step.variant != "reference")]


def check_inputs(steps: Sequence[Step], finished: set[str]) -> None:
    """Refuses a choice of stages that leaves out one whose results are needed and not there.

    Raises:
        ConfigError: If a step reads one that is neither chosen nor finished.
    """
    chosen = {step.name for step in steps}
    for step in steps:
        for name in step.before:
            if name not in chosen | finished:
                raise ConfigError(
                    f"`stages` must include {name.split('/')[0]}: {step.stage} reads it, and none is there."
                )


def config_hash(plan: Mapping[str, Step], stages: Sequence[str]) -> str:
    """The hash of the whole job: of its steps' keys and of the stages that it runs."""
    return digest({"stages": list(stages), "keys": {step.name: step.key for step in chosen_steps(plan, stages)}})


def _make_step(
    stage: str, arm: str, config: Mapping[str, Any], fingerprints: Mapping[str, str], steps: Mapping[str, Step],
    variant: str = "", collects: Mapping[str, Step] | None = None,
) -> Step:  # fmt: skip
    step = Step("", stage, "", {}, {}, arm=arm, variant=variant, projected=in_projected_space(config))
    row = row_of(step)
    module = row.module
    config = _as_drawn(stage, config)
    subset = {
        name: as_keyed(name, without_devices(_at(config, name))) for name in module.CONFIG if _is_there(config, name)
    }
    if arm in UNEDITED:
        subset.pop("schedule", None)  # nothing is guided, so nothing says when
    inputs, arms = _inputs(row.reads, arm, steps)
    record = {
        "stage": stage,
        "version": module.VERSION,
        "config": subset,
        "weights": {name: fingerprints[name] for name in sorted({*module.CONFIG} & {*fingerprints})},
        "inputs": {argument: steps[name].key for argument, name in inputs.items()},
        "arms": {name: steps[step].key for name, step in arms.items()},
    }
    fitted = dict(collects or {}) if "fitted" in row.reads else {}
    if fitted:
        record["fitted"] = [step.key for step in fitted.values()]
    name = f"{stage}/{arm}" if arm else stage
    guidance = dict(config["guidance"]) if arm else {}
    return replace(
        step, name=name, key=digest(record), record=record, arms=arms, guidance=guidance,
        inputs={argument: steps[read].name for argument, read in inputs.items()},
        fitted={name: it.name for name, it in fitted.items()},
    )  # fmt: skip


def _as_drawn(stage: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration with what a stage is told about its model put into the model: however it is asked for, the key is one."""
    if stage != "collect":
        return config
    own = {name: value for name, value in config["collect"].items() if name != "relative_scale"}
    return {**config, "model": model_of_collect(config), "collect": own}


def _at(config: Mapping[str, Any], path: str) -> Any:
    """The part of a configuration at a dotted path, such as `prompts.text`."""
    for name in path.split("."):
        config = config[name]
    return config


def _is_there(config: Mapping[str, Any], path: str) -> bool:
    """Whether an option is stated. A key leaves out what is not, so that a new option leaves the keys of old jobs alone."""
    group, _, option = path.partition(".")
    return not option or option in config[group]


def _inputs(reads: Sequence[str], arm: str, steps: Mapping[str, Step]) -> tuple[dict[str, str], dict[str, str]]:
    """What a step reads: (step by argument, step by arm)."""
    if arm in UNEDITED:
        return {}, {}
    inputs = {ARGUMENTS.get(name, name): name for name in reads if name not in ("generate", "fitted")}
    if arm == "random":
        inputs["replayed"] = "generate/guided"
    if "evaluated" not in inputs and "generate" in reads and REFERENCE in steps:
        inputs["drawn"] = REFERENCE
    arms = {step.arm: name for name, step in steps.items() if step.arm} if "generate" in reads else {}
    return inputs, arms
