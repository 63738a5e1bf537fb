"""The objects that a configuration describes, each made once and none of them heavy until it is used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.plan import FOLDERS, check_attributes, guidance_of_arms, model_of_arms
from selfdebias.rules import GROUPS, ConfigError, refuse
from selfdebias.targets import check_job, check_objects, make


def check_devices(trainer: Mapping[str, Any]) -> None:
    """Refuses more devices than there are.

    Args:
        trainer: The group's configuration.

    Raises:
        ConfigError: If there are fewer.
    """
    asked, accelerator = trainer.get("devices"), trainer.get("accelerator")
    if not isinstance(asked, int) or asked <= 1:
        return
    import torch

    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())
    there = torch.cuda.device_count() if on_gpu else os.cpu_count() or 1
    if asked > there:
        raise refuse("trainer.devices", f"at most {there}, the {'GPUs' if on_gpu else 'cores'} of this computer", asked)


class Parts:
    """Model, encoder, clustering, ... of a job.

    Making the object makes every part but the logger, so that each one has checked its values before a stage runs.

    Args:
        config: The resolved configuration.

    Raises:
        ConfigError: If a `_target_` is not allowed, or a part refuses a value.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        check_job(config)
        self._config = config
        if config["evaluate"]["folders"]:  # nothing is drawn, so only what judges has to be there
            self._parts = {group: make(config, group) for group in FOLDERS.parts}
            check_attributes(config["prompts"]["attributes"], self._parts["judge"].classes)
            return
        groups = [group for group in GROUPS if group not in ("paths", "logger", "guidance")]
        self._parts = {group: make(config, group) for group in groups}
        sampler = {"model": model_of_arms(config)}
        check_objects(sampler)
        self._parts["sampler"] = make(sampler, "model")
        for guidance in guidance_of_arms(config["guidance"]).values():
            make({"guidance": guidance}, "guidance")
        self._check_words()
        self._check_prompt()
        check_attributes(config["prompts"]["attributes"], self._parts["judge"].classes)

    def _check_words(self) -> None:
        try:
            self._parts["vocabulary"].check(self._parts["encoder"])
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def _check_prompt(self) -> None:
        """Refuses a prompt that the model would not even see."""
        text = self._config["prompts"]["text"]
        if text and not getattr(self._parts["model"], "takes_prompts", True):
            raise refuse("prompts.text", "empty for a model without prompts (prompts=unconditional)", text)

    def fingerprints(self) -> dict[str, str]:
        """Hash of the weight files, or the hub revision, of each group that offers one; no weight is loaded.

        Raises:
            ConfigError: If a weight file is missing.
        """
        try:
            weighty = {group: part for group, part in self._parts.items() if hasattr(part, "fingerprint")}
            return {group: part.fingerprint() for group, part in weighty.items() if group != "sampler"}
        except (OSError, ValueError) as error:
            raise ConfigError(" ".join(str(error).split())) from error

    def get(self, group: str, guidance: Mapping[str, Any], job: Path) -> Any:
        """One part.

        Args:
            group: Name of the group.
            guidance: Configuration of the guidance of the arm that asks; each arm has an object of its own.
            job: Folder of the job, where a logger without a folder of its own writes.
        """
        if group == "guidance":
            return make({"guidance": guidance}, group)
        if group == "logger":
            logger = dict(self._config["logger"])
            if "save_dir" in logger and logger["save_dir"] is None:
                logger["save_dir"] = str(job)
            return make({"logger": logger}, group)
        return self._parts[group]
