"""The suite refuses what it cannot use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from selfdebias.metrics import MetricSuite


@pytest.mark.parametrize(
    ("name", "value"), [("nearest", 0), ("kid_degree", 0), ("kid_gamma", 0.0), ("level", 0.0), ("level", 1.0)]
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .*, got {value}"):
        MetricSuite(**{name: value})


def test_configuration_is_the_class_one_to_one():
    options = yaml.safe_load((Path(__file__).parents[2] / "conf" / "metrics" / "default.yaml").read_text())
    assert options.pop("_target_") == "selfdebias.metrics.MetricSuite"
    assert options == asdict(MetricSuite())
