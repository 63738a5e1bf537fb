"""PSNR, cosines with twins and which images kept their mode, against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from selfdebias.metrics import preservation
from selfdebias.metrics.comparison import kept
from selfdebias.metrics.features import cosines


def test_psnr_is_that_of_a_loop_and_infinite_for_equal_images():
    images, twins = torch.rand(2, 3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    twins[2] = images[2]
    measured = preservation.psnr(images, twins)
    for image, twin, value in zip(images[:2].tolist(), twins[:2].tolist(), measured, strict=False):
        error = np.mean((np.array(image) - np.array(twin)) ** 2)
        assert float(value) == pytest.approx(10 * math.log10(1 / error))
    assert measured[2] == math.inf
    assert measured.dtype == torch.float64


def test_kept_images_are_those_whose_mode_did_not_change():
    e, twins = np.random.default_rng(0).normal(size=(2, 5, 3))
    modes, twin_modes = [0, 1, 2, 1, 0], [0, 1, 1, 1, 2]
    expected = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(e, twins, strict=True)]
    assert kept(modes, twin_modes).tolist() == [True, True, False, True, False]
    assert cosines(e, twins) == pytest.approx(expected)


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="`twins` must have the shape"):
        preservation.psnr(torch.zeros(2, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="`others` must have 2 rows, got 1"):
        cosines(np.ones((2, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="`twin_modes` must have shape"):
        kept([0, 1], [0])
