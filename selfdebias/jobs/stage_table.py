"""What a stage is, which ones there are, and what may run in place of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType


@dataclass(frozen=True)
class Stage:
    """One row of the table of stages.

    Args:
        function: Dotted path of the function; its module states `VERSION` and `CONFIG`, the dotted
            paths of what its key depends on.
        parts: Groups that the function is handed as objects.
        reads: Stages whose folders it reads; `generate` stands for those of all arms.
        keyed: Whether the function is told its key, because it fills its folder batch by batch.
        shared: Whether several processes can run it together; it then takes their `Collective`.
    """

    function: str
    parts: tuple[str, ...]
    reads: tuple[str, ...]
    keyed: bool = False
    shared: bool = False

    @property
    def module(self) -> ModuleType:
        """The module of the function, imported."""
        return import_module(self.function.rpartition(".")[0])


STAGES: Mapping[str, Stage] = {
    "collect": Stage(
        "selfdebias.jobs.stages.collect.collect",
        ("collector", "encoder", "prompts", "trainer"),
        reads=(),
        keyed=True,
        shared=True,
    ),
    "discover": Stage(
        "selfdebias.jobs.stages.discover.discover", ("clustering", "vocabulary", "encoder"), reads=("collect",)
    ),
    "project": Stage(
        "selfdebias.jobs.stages.project.project", ("encoder", "projector", "trainer"), reads=("collect", "discover")
    ),
    "generate": Stage(
        "selfdebias.jobs.stages.generate.generate",
        ("sampler", "guidance", "schedule", "prompts", "trainer"),
        reads=("project",),
        keyed=True,
        shared=True,
    ),
    "evaluate": Stage(
        "selfdebias.jobs.stages.evaluate.evaluate",
        ("judge", "encoder", "metrics", "prompts", "trainer"),
        reads=("generate", "collect", "discover"),
    ),
    "report": Stage(
        "selfdebias.jobs.stages.report.report", (), reads=("generate", "collect", "discover", "project", "evaluate")
    ),
}

# In place of these, where `clustering.space` is projected: the projector comes first, and discover leaves the bank.
PROJECTED: Mapping[str, Stage] = {
    "project": replace(
        STAGES["project"], function="selfdebias.jobs.stages.project_first.project_first", reads=("collect",)
    ),
    "discover": replace(
        STAGES["discover"],
        function="selfdebias.jobs.stages.discover_projected.discover_projected",
        reads=("collect", "project"),
    ),
    "generate": replace(STAGES["generate"], reads=("project", "discover")),
}

# In place of a stage: of collect, for images that arms are held against; of all of them, where `evaluate.folders` says what to
# evaluate; or by the choice of `bank`.
VARIANTS: Mapping[str, Stage] = {
    "folders": Stage(
        "selfdebias.jobs.stages.evaluate_folders.evaluate_folders",
        ("judge", "encoder", "metrics", "prompts", "trainer"),
        reads=(),
    ),
    "reference": replace(STAGES["collect"], parts=("sampler", "encoder", "prompts", "trainer")),
    "supervised": Stage(
        "selfdebias.jobs.stages.discover_supervised.discover_supervised", ("bank", "judge"), reads=("collect",)
    ),
    "mixture": Stage(
        "selfdebias.jobs.stages.discover_mixture.discover_mixture",
        ("clustering", "vocabulary", "encoder"),
        reads=("fitted",),
    ),
    "carried": Stage("selfdebias.jobs.stages.discover_carried.discover_carried", (), reads=("collect", "found")),
    "bank": Stage(
        "selfdebias.jobs.stages.project_bank.project_bank",
        ("encoder", "projector", "trainer"),
        reads=("fitted", "discover"),
    ),
}
