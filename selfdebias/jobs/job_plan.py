"""The plan of a job, with what its weights and inputs are, and the hash that its folder is named after; nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfdebias.jobs.parts import Parts
    from selfdebias.jobs.plan import Step


def hash_of_job(config: Mapping[str, Any]) -> str:
    """Returns the config hash that `run_job` names the job's folder after.

    Args:
        config: A configuration that `selfdebias.config.compose.load` has checked.
    """
    from selfdebias.jobs.parts import Parts
    from selfdebias.jobs.plan import config_hash

    return config_hash(plan_of_job(config, Parts(config)), config["stages"])


def plan_of_job(config: Mapping[str, Any], parts: Parts) -> dict[str, Step]:
    """Returns the steps of a job by name, keyed by its values, weights and inputs.

    Raises:
        ConfigError: If an input that comes from outside was made in another encoder's space.
    """
    from selfdebias.jobs.plan import make_plan

    return make_plan(config, _fingerprints(config["evaluate"], parts))


def _fingerprints(evaluate: Mapping[str, Any], parts: Parts) -> dict[str, str]:
    """Hashes of the weights and of what comes from outside the job, which is held against its encoder."""
    from selfdebias.jobs.evaluation_inputs import check_encoder, fingerprint_inputs
    from selfdebias.metrics.cached import identity

    found = parts.fingerprints()
    features = getattr(parts.get("metrics", {}), "features", None)
    encoder = identity(parts.get("encoder", {}))
    check_encoder(evaluate, encoder, "" if features is None else identity(features), found.get("encoder", ""))
    for name, value in fingerprint_inputs(evaluate).items():
        found[name] = " ".join([value, *([found[name]] if name in found else [])])
    return found
