"""What a stage is, and what may run in place of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


# In place of a stage: of collect, for images that arms are held against; of all of them, where `evaluate.folders` says what to
# evaluate; or by the choice of `bank`.
VARIANTS: Mapping[str, Stage] = {
    "folders": Stage(
        "selfdebias.stages.evaluate_folders.evaluate_folders",
        ("judge", "encoder", "metrics", "prompts", "trainer"),
        reads=(),
    ),
    "reference": Stage(
        "selfdebias.stages.collect.collect",
        ("sampler", "encoder", "prompts", "trainer"),
        reads=(),
        keyed=True,
        shared=True,
    ),
    "supervised": Stage(
        "selfdebias.stages.discover_supervised.discover_supervised", ("bank", "judge"), reads=("collect",)
    ),
    "mixture": Stage(
        "selfdebias.stages.discover_mixture.discover_mixture",
        ("clustering", "vocabulary", "encoder"),
        reads=("fitted",),
    ),
    "carried": Stage("selfdebias.stages.discover_carried.discover_carried", (), reads=("collect", "found")),
    "bank": Stage(
        "selfdebias.stages.project_bank.project_bank",
        ("encoder", "projector", "trainer"),
        reads=("fitted", "discover"),
    ),
}
