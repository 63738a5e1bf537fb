"""Options that came later leave the keys of what was made before them alone, and enter where they change something."""

from __future__ import annotations

import json

import pytest

from experiments.pooled import RESULTS, _commands
from experiments.study import load_study
from selfdebias.config.compose import load
from selfdebias.config.keys import LATER, as_keyed
from selfdebias.jobs.job import hash_of_job
from selfdebias.jobs.run import make_plan

OTHER = {
    "projector.layers": ("project", "projector.layers=1"),
    "projector.activation": ("project", "projector.activation=relu"),
    "projector.time": ("project", "projector.time=step"),
    "projector.standardised": ("project", "projector.standardised=false"),
    "projector.schedule": ("project", "projector.schedule=constant"),
    "projector.resolution": ("project", "projector.resolution=4"),
    "projector.relative_to": ("project", "projector.relative_to=standardised"),
    "guidance.axes": ("generate/guided", "guidance.axes=[0]"),
    "guidance.counted_at": ("generate/guided", "guidance.counted_at=0.01"),
}
BASE = ["guidance=self_debias", "guidance.temperature=0.3", "logger=none"]


def test_the_hashes_of_committed_studies_hold():
    """Those of transport and self_debias do not: they were sampled before a change of these (see the changelog)."""
    study = load_study("person_arms")
    names = [name for name in study.variants if name.startswith("mean_difference")]
    assert len(names) == 2
    every = json.loads((RESULTS / f"{study.name}.json").read_text())
    for name in names:
        command = _commands([*study.common, *study.variants[name]], study.seeds)[0]
        assert hash_of_job(load(command)) == every[name]["config_hashes"][0], name


def test_every_later_option_is_looked_at():
    assert {f"{group}.{name}" for group, names in LATER.items() for name in names} == OTHER.keys()


@pytest.mark.parametrize("option", OTHER)
def test_a_later_option_enters_the_key_where_it_changes_something(option):
    stage, override = OTHER[option]
    base = [*BASE, "clustering=axes"] if option == "guidance.axes" else BASE  # which are there in no partition
    plain, other = (make_plan(load([*base, *more]), {}) for more in ([], [override]))
    group, _, name = option.partition(".")
    assert name not in plain[stage].record["config"][group] and name in other[stage].record["config"][group]
    assert plain[stage].key != other[stage].key


def test_images_that_are_counted_at_another_temperature_than_before_are_other_images():
    soft = make_plan(load([*BASE, "guidance.temperature=8"]), {})["generate/guided"]
    assert soft.record["config"]["guidance"]["counted_at"] == 0.3


def test_a_class_called_device_stays_in_the_key():
    part = {"_target_": "Judge", "device": "cuda", "attributes": {"device": {"phone": "a phone", "laptop": "a laptop"}}}
    assert as_keyed("judge", part) == {"_target_": "Judge", "attributes": part["attributes"]}


def test_an_option_that_another_part_calls_as_lightning_does_is_in_the_key():
    """`strategy`, `logger` and `devices` say where a trainer runs; of a guidance they may be anything."""
    part = {"_target_": "Guidance", "strategy": "a", "logger": 1, "devices": 2}
    assert as_keyed("guidance", part) == part


def test_the_informed_encoder_has_the_key_that_it_had_under_its_old_name():
    """The other one that has that name now has another key: other weights."""
    renamed, other = (load([f"encoder={name}", "logger=none"]) for name in ("emoji_clip_informed", "emoji_clip"))
    weights = {"encoder": "hash of the weights"}
    plan = make_plan(renamed, weights)
    assert plan["collect"].record["config"]["encoder"]["pretrained"] == "shipped:emoji_clip"
    assert plan["collect"].key == make_plan(other, weights)["collect"].key
    assert plan["collect"].key != make_plan(other, {"encoder": "hash of others"})["collect"].key
