"""Modes that prompts have in common are found on residuals, and the prompts on the embeddings themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from selfdebias.modes import SpectralModes
from selfdebias.modes.placement import centers_among, nearest, residual, unit

PROMPTS = ["a cook", "a judge", "a pilot"]


def crossed(shares=(0.8, 0.5, 0.3), n: int = 60, seed: int = 0):
    """Embeddings of three prompts, each with two modes in shares of its own: prompts are far apart, modes near."""
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(3), n)
    mode = np.concatenate([np.arange(n) >= round(share * n) for share in shares]).astype(int)
    X = np.eye(16)[prompt] + 0.5 * np.eye(16)[8 + mode] + 0.03 * rng.standard_normal((3 * n, 16))
    return unit(X), [PROMPTS[p] for p in prompt], prompt, mode


def test_residuals_show_the_modes_and_embeddings_the_prompts():
    e, prompts, prompt, mode = crossed()
    assert adjusted_rand_score(prompt, SpectralModes(k=3).fit(e).labels_) == 1
    found = SpectralModes(k=2).fit(unit(residual(e, prompts)))
    assert adjusted_rand_score(mode, found.labels_) > 0.95
    assert abs(adjusted_rand_score(mode, SpectralModes(k=2).fit(e).labels_)) < 0.3


def test_each_prompts_residuals_have_mean_zero_and_differences_inside_a_prompt_stay():
    e, prompts, prompt, _ = crossed()
    apart = residual(e, prompts)
    for p in range(3):
        assert np.allclose(apart[prompt == p].mean(axis=0), 0)
        assert np.allclose(np.diff(apart[prompt == p], axis=0), np.diff(e[prompt == p], axis=0))
    with pytest.raises(ValueError, match="`prompt_of` must have 180 prompts, one for each embedding, got 2"):
        residual(e, prompts[:2])


def test_centres_among_embeddings_tell_the_modes_of_prompts_that_have_them_in_other_shares():
    """The plain means lean to the prompts that a mode has most images of, and mistake those for it."""
    e, prompts, _, mode = crossed(shares=(0.9, 0.5, 0.1))
    centers = centers_among(e, mode, prompts)
    assert np.allclose(np.linalg.norm(centers, axis=1), 1)
    assert np.mean(nearest(e, centers) == mode) == 1
    plain = unit(np.stack([e[mode == k].mean(axis=0) for k in (0, 1)]))
    assert np.mean(nearest(e, plain) == mode) < 0.95
