"""A stage: a name, a function and what it reads; and the runner that runs each one once, under its lock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from selfdebias.config.keys import digest, kept_in_key
from selfdebias.config.rules import ConfigError
from selfdebias.jobs.processes import DONE, DRAW, ONE, Processes
from selfdebias.storage.hidden import redacted
from selfdebias.storage.provenance import made_with
from selfdebias.storage.stage_folder import StageFolder


@dataclass(frozen=True)
class Part:
    """Stands, among the arguments of a stage, for an object that is there once the job runs: the model, the encoder, ..."""

    group: str


MODEL_OF_ARMS, MODEL_OF_COLLECT = Part("sampler"), Part("collector")


@dataclass(frozen=True, eq=False)
class Stage:
    """One run of a stage.

    Args:
        name: Its kind, with its row and its arm where it has them: `collect`, `generate/guided`, `generate/farmer/guided`.
        key: Hash of all that it depends on.
        record: What the key was made of.
        function: Runs it, given `folder` and the arguments; one that draws images also its `key` and the `collective` of the
            processes that share it.
        arguments: By name. In place of a stage that it reads it is given that stage's folder, in place of a `Part` the object.
        row: Its row, "" in a job of one prompt.
        arm: Its arm, or what else tells it from others of its kind in its row; "" where there are none.
        writer: Hash of the code of a stage that is run again once that has changed, under the same key; "" for all that only run
            where their key is new.
    """

    name: str
    key: str
    record: Mapping[str, Any]
    function: Callable[..., None]
    arguments: Mapping[str, Any]
    row: str = ""
    arm: str = ""
    writer: str = ""

    @property
    def kind(self) -> str:
        """Its name without row and arm: `collect`, `discover`, ..."""
        return self.name.partition("/")[0]

    @property
    def inputs(self) -> dict[str, Stage]:
        """The stages that it reads, by argument, but for those of arms and of several prompts."""
        return inputs_of(self.arguments)

    @property
    def before(self) -> list[Stage]:
        """All stages that it reads."""
        return [*self.inputs.values(), *self.arguments.get("arms", {}).values(),
                *self.arguments.get("fitted", {}).values()]  # fmt: skip

    @property
    def n_images(self) -> int | None:
        """How many images it draws; None for one that draws none, which several processes cannot share."""
        return self.arguments.get("n_images")

    @property
    def draws_reference(self) -> bool:
        """Whether it collects with the arms' model: images that the arms are held against, which evaluate alone reads."""
        return self.kind == "collect" and self.arguments["backbone"] == MODEL_OF_ARMS


def inputs_of(arguments: Mapping[str, Any]) -> dict[str, Stage]:
    """The arguments that are stages."""
    return {name: value for name, value in arguments.items() if isinstance(value, Stage)}


@dataclass(frozen=True)
class Row:
    """One prompt of a job, and all else that is asked for.

    Args:
        config: The configuration of a job that has this prompt alone.
        fingerprints: Hash of the weight files, or the hub revision, of each group that has weights.
        name: Of the row, "" in a job of one prompt; `selfdebias.jobs.prompts.BANK` for what all rows share.
    """

    config: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    name: str = ""

    def stage(
        self, kind: str, function: Callable[..., None], version: int | str, depends: Sequence[str], suffix: str = "",
        **arguments: Any,
    ) -> Stage:  # fmt: skip
        """A stage with its key.

        Args:
            kind, function, arguments: See `Stage`; a kind is `collect`, `discover`, ...
            version: Of the function: another one where its results are others.
            depends: Dotted paths of the configuration that it depends on.
            suffix: Its arm, or what else tells it from others of its kind in the row.
        """
        record: dict[str, Any] = {
            "stage": kind,
            "version": version,
            "config": kept_in_key(self.config, depends),
            "weights": {name: self.fingerprints[name] for name in sorted({*depends} & {*self.fingerprints})},
            "inputs": {name: stage.key for name, stage in inputs_of(arguments).items()},
            "arms": {name: stage.key for name, stage in arguments.get("arms", {}).items()},
        }
        if "fitted" in arguments:
            record["fitted"] = [stage.key for stage in arguments["fitted"].values()]
        name = "/".join(word for word in (kind, self.name, suffix) if word)
        return Stage(name, digest(record), record, function, arguments, self.name, suffix)


def chosen_stages(plan: Mapping[str, Stage], kinds: Sequence[str]) -> list[Stage]:
    """The stages of the plan that `stages` asks for, in the order of the plan; evaluate alone reads the reference."""
    chosen = [stage for stage in plan.values() if stage.kind in kinds]
    return [stage for stage in chosen if "evaluate" in kinds or not stage.draws_reference]


def check_inputs(stages: Sequence[Stage], finished: set[str]) -> None:
    """Refuses a choice of stages that leaves out one whose results are needed and not there.

    Raises:
        ConfigError: If a stage reads one that is neither chosen nor finished.
    """
    there = finished | {stage.name for stage in stages}
    for stage in stages:
        for read in stage.before:
            if read.name not in there:
                raise ConfigError(f"`stages` must include {read.kind}: {stage.kind} reads it, and none is there.")


def config_hash(plan: Mapping[str, Stage], kinds: Sequence[str]) -> str:
    """The hash of the whole job: of its stages' keys and of the kinds of stages that it runs."""
    keys = {stage.name: stage.key for stage in chosen_stages(plan, kinds)}
    return digest({"stages": list(kinds), "keys": keys})


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


class Runner:
    """Runs stages under a root, each once under its key.

    Args:
        root: The root of all runs.
        parts: The objects that arguments of the stages stand for, by group.
        processes: This process among those that run the stages.
        say: Is told how it goes, line by line.
    """

    def __init__(
        self, root: Path, parts: Mapping[str, Any], processes: Processes = ONE, say: Callable[[str], None] = say,
    ) -> None:  # fmt: skip
        self.root, self.parts, self.processes, self.say = root, parts, processes, say

    def run(self, stage: Stage) -> None:
        """Run a stage under its lock, unless it is finished, by this job or by one that it waited for.

        Raises:
            StorageError: If what it reads, or what it left before, is damaged.
        """
        if self.processes.rank:
            if self.processes.broadcast(stage.name) == DRAW:
                self._call(stage)
            return
        read = self._check(stage.before)
        folder = folder_of(stage, self.root)
        if not _is_there(stage, folder):
            with folder.lock():
                if not _is_there(stage, folder):
                    self._carry_out(stage, folder, read)
                    return
        folder.check(read)
        self.say(f"{stage.name}: found, skipped")
        self.processes.broadcast(stage.name, DONE)

    def _check(self, stages: Sequence[Stage]) -> dict[str, str]:
        """Checks stages that are read; returns what `StageFolder.content` says of each, by its place."""
        folders = [folder_of(stage, self.root) for stage in stages]
        for folder in folders:
            folder.check()
        return {folder.place: folder.content() for folder in folders}

    def _carry_out(self, stage: Stage, folder: StageFolder, read: Mapping[str, str]) -> None:
        self.say(f"{stage.name} ...")
        start = time.monotonic()
        if stage.n_images is not None:
            self.processes.broadcast(stage.name, DRAW)
        self._call(stage)
        seconds = round(time.monotonic() - start, 3)
        writer = {"writer": stage.writer} if stage.writer else {}
        folder.finish({**redacted(stage.record), "made_with": made_with(), "seconds": seconds, **writer}, read)
        images = "" if stage.n_images is None else f" ({stage.n_images} images)"
        self.say(f"{stage.name}: done in {seconds:.1f} s{images}")
        self.processes.broadcast(stage.name, DONE)

    def _call(self, stage: Stage) -> None:
        """Call the stage's function, with all processes where they can share it, and else in this one alone."""
        arguments = {name: self._resolved(value) for name, value in stage.arguments.items()}
        if stage.n_images is not None:
            arguments["key"] = stage.key
        shared = stage.n_images is not None and self.processes.world_size > 1
        folder, trainer = folder_of(stage, self.root).path, arguments.get("trainer")
        if shared:
            with self.processes.together() as collective:
                stage.function(folder=folder, **arguments, collective=collective)
            return
        if trainer is not None and trainer.keywords.get("strategy") == "ddp":
            arguments["trainer"] = partial(trainer, strategy="auto", devices=1)
        stage.function(folder=folder, **arguments)

    def _resolved(self, value: Any) -> Any:
        """What takes the place of an argument."""
        if isinstance(value, Part):
            return self.parts[value.group]
        if isinstance(value, Stage):
            return folder_of(value, self.root).path
        if isinstance(value, dict):
            return {name: self._resolved(item) for name, item in value.items()}
        return value


def _is_there(stage: Stage, folder: StageFolder) -> bool:
    """Whether a stage is finished, and by the code of today where that matters and its folder can be written."""
    if not folder.finished or not stage.writer or not os.access(folder.path, os.W_OK):
        return folder.finished
    return bool(folder.meta().get("writer") == stage.writer)


def folder_of(stage: Stage, root: Path) -> StageFolder:
    """The folder of a stage under the root of all runs, finished or not."""
    return StageFolder(root, stage.kind, stage.key, stage.n_images)
