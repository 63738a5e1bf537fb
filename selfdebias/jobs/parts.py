"""The objects that a configuration describes, each made once and none of them heavy until it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdebias.config.arms import guidance_of_arms, model_of_arms, model_of_collect
from selfdebias.config.rules import ConfigError, refuse
from selfdebias.config.schema import GROUPS
from selfdebias.config.targets import check_job, make
from selfdebias.jobs.early_checks import check_attributes
from selfdebias.judges.labelled import labelled_fingerprint
from selfdebias.modes.banks import SupervisedBank


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
        if config["evaluate"]["folders"]:  # nothing is drawn, so only what judges has to be there
            self.by_group = {
                group: make(config, group) for group in ("judge", "encoder", "metrics", "prompts", "trainer")
            }
            check_attributes(config["prompts"]["attributes"], self.by_group["judge"].classes)
            return
        groups = [group for group in GROUPS if group not in ("paths", "logger", "guidance")]
        self.by_group = {group: make(config, group) for group in groups}
        for name, model in (("sampler", model_of_arms(config)), ("collector", model_of_collect(config))):
            self.by_group[name] = make({"model": model}, "model")
        for guidance in guidance_of_arms(config["guidance"]).values():
            make({"guidance": guidance}, "guidance")
        self._check_words()
        self._check_prompt()
        check_attributes(config["prompts"]["attributes"], self.by_group["judge"].classes)
        bank, classes = self.by_group["bank"], self.by_group["judge"].classes
        if isinstance(bank, SupervisedBank) and bank.attribute not in classes:
            raise refuse("bank.attribute", f"one of {', '.join(classes)}, which the judge knows", bank.attribute)
        self._labelled()

    def _check_words(self) -> None:
        try:
            self.by_group["vocabulary"].check(self.by_group["encoder"])
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def _check_prompt(self) -> None:
        """Refuses a prompt that the model would not even see."""
        prompts = self._config["prompts"]
        name = "subjects" if "subjects" in prompts else "text"
        if prompts[name] and not getattr(self.by_group["model"], "takes_prompts", True):
            raise refuse(f"prompts.{name}", "empty for a model without prompts (prompts=unconditional)", prompts[name])

    def fingerprints(self) -> dict[str, str]:
        """Hash of the weight files, or the hub revision, of each group that offers one; and of labelled images.

        Raises:
            ConfigError: If a weight file is missing.
        """
        try:
            weighty = {group: part for group, part in self.by_group.items() if hasattr(part, "fingerprint")}
            weights = {
                group: part.fingerprint() for group, part in weighty.items() if group not in ("sampler", "collector")
            }
        except (OSError, ValueError) as error:
            raise ConfigError(" ".join(str(error).split())) from error
        return weights | self._labelled()

    def _labelled(self) -> dict[str, str]:
        """The hash of the labelled images, as what the stage evaluate reads beside the weights; empty without them."""
        folder = self._config["evaluate"]["labelled"]
        if folder is None:
            return {}
        try:
            return {"evaluate": labelled_fingerprint(Path(folder), self.by_group["judge"].classes)}
        except (OSError, ValueError) as error:
            raise ConfigError(" ".join(str(error).split())) from error
