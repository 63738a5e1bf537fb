"""The suite refuses what it cannot use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from selfdebias.encoders import InceptionFeatures, PixelEncoder
from selfdebias.metrics import MetricSuite
from selfdebias.metrics.metric import INCEPTION, GaussianKernel, PolynomialKernel


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("nearest", 0), ("kid_degree", 0), ("kid_gamma", 0.0), ("level", 0.0), ("level", 1.0)),
        *(("cmmd_sigma", 0.0), ("cmmd_scale", -1.0)),
    ],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .*, got {value}"):
        MetricSuite(**{name: value})


def test_configuration_is_the_class_one_to_one():
    options = yaml.safe_load((Path(__file__).parents[2] / "conf" / "metrics" / "default.yaml").read_text())
    assert options.pop("_target_") == "selfdebias.metrics.MetricSuite"
    assert options == asdict(MetricSuite())


def test_features_are_an_extractor_or_nothing():
    with pytest.raises(ValueError, match="`features` must be null or the _target_ of an encoder .*, got a str"):
        MetricSuite(features="inception")  # type: ignore[arg-type]
    assert MetricSuite().described_features() is None
    pixels = MetricSuite(features=PixelEncoder(dim=8, size=4, seed=0))
    other = MetricSuite(features=PixelEncoder(dim=8, size=4, seed=1))
    assert pixels.fingerprint() not in (MetricSuite().fingerprint(), other.fingerprint())
    assert pixels.described_features() == {
        "name": "pixels-4-8-0",
        "dim": 8,
        "resize": "the encoder's own preprocessing",
        "weights": pixels.fingerprint(),
    }


def test_kernels_are_those_that_were_asked_for():
    suite = MetricSuite(kid_degree=2, kid_gamma=0.5, kid_coef=0.25, cmmd_sigma=3.0, cmmd_scale=7.0)
    assert suite.kid_kernel == PolynomialKernel(2, 0.5, 0.25)
    assert suite.cmmd_kernel == GaussianKernel(3.0, 7.0)


def test_fid_goes_by_the_name_that_inceptions_features_have():
    assert InceptionFeatures.encoder_id == INCEPTION
