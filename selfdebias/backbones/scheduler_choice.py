"""Which scheduler a pipeline samples with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any


class SchedulerChoice:
    """Replaces a pipeline's scheduler by another one of diffusers, made from the configuration of the old one.

    Args:
        name: a class of diffusers, such as ``DPMSolverMultistepScheduler``; None keeps the pipeline's own.
        options: arguments of the class that differ from the old one's configuration.

    Raises:
        ValueError: if there is no such scheduler, or an option is not its own.
    """

    def __init__(self, name: str | None = None, options: Mapping[str, Any] | None = None):
        self.name, self.options = name, dict(options or {})
        if name is None:
            return
        known = inspect.signature(self._class().__init__).parameters
        for option in self.options:
            if option not in known:
                raise ValueError(
                    f"`model.scheduler.options` must hold arguments of {name}, got {option!r}: it has "
                    f"{', '.join(key for key in known if key != 'self')}."
                )

    def _class(self) -> Any:
        import diffusers

        found = getattr(diffusers, str(self.name), None)
        if not (inspect.isclass(found) and issubclass(found, diffusers.SchedulerMixin)):
            raise ValueError(
                f"`model.scheduler.name` must be a scheduler of diffusers, such as DPMSolverMultistepScheduler, or null for "
                f"the model's own, got {self.name!r}."
            )
        return found

    def apply(self, pipeline: Any) -> None:
        """Put the scheduler in; without a name, options change the pipeline's own."""
        if self.name or self.options:
            scheduler = self._class() if self.name else type(pipeline.scheduler)
            pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **self.options)
