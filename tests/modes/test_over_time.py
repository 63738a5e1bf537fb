"""Modes of projected vectors keep their identity over time, in a world where they turn."""

from __future__ import annotations

import numpy as np
import pytest

from selfdebias.modes import HdbscanModes, KMeansModes, SpectralModes, TwoStageModes
from selfdebias.modes.over_time import follow_modes
from selfdebias.modes.placement import unit

SIZES = [40, 30, 20]
TURN = 7  # timesteps after which the three modes lie where the others lay


def turning(steps: int, every: int = 1, seed: int = 0):
    """Three modes that turn slowly, so that centres alone would be mistaken over time; an image is seen at each `every`-th step."""
    rng = np.random.default_rng(seed)
    mode = np.repeat([0, 1, 2], SIZES)
    rows = []
    for t in range(steps):
        angle = 2 * np.pi * (mode / 3 + t / (3 * TURN))
        z = np.stack([np.cos(angle), np.sin(angle), np.zeros(90), np.ones(90)], axis=1) + 0.05 * rng.standard_normal(
            (90, 4)
        )
        rows += [(z[i], i, 100.0 * t, mode[i]) for i in range(90) if (i + t) % every == 0]
    z, image, timestep, truth = (np.array(column) for column in zip(*rows, strict=True))
    return unit(z), image, timestep, truth


@pytest.mark.parametrize(
    "clustering",
    [SpectralModes(), KMeansModes(), HdbscanModes(), TwoStageModes(min_size=25)],
    ids=lambda it: type(it).__name__,
)
def test_a_mode_keeps_its_number_while_it_turns_to_where_another_was(clustering):
    z, image, timestep, truth = turning(2 * TURN)
    found = follow_modes(z, image, timestep, clustering)
    assert np.array_equal(found.labels, truth)
    assert found.reference == 0 and len(found.clustered) == 2 * TURN
    assert np.bincount(found.of_image).tolist() == SIZES and found.depths.tolist() == [0, 0, 0]


def test_images_that_no_two_neighbours_share_are_matched_by_their_centres():
    z, image, timestep, truth = turning(4, every=2)
    assert not set(image[timestep == 0]) & set(image[timestep == 100])
    assert np.array_equal(follow_modes(z, image, timestep, SpectralModes(n_neighbors=(5,))).labels, truth)


def test_a_timestep_with_too_few_images_takes_the_nearest_centres_and_is_said():
    z, image, timestep, truth = turning(4)
    kept = (timestep != 100) | (image % 9 == 0)
    found = follow_modes(z[kept], image[kept], timestep[kept], SpectralModes(n_neighbors=(5,)))
    assert np.array_equal(found.labels, truth[kept]) and found.clustered == [0, 200, 300]
    few = image % 9 == 0
    with pytest.raises(
        ValueError, match="each timestep is clustered by itself: `collect.n_images` must be at least [0-9]+, twice"
    ):
        follow_modes(z[few], image[few], timestep[few], SpectralModes())


def test_the_reference_is_the_last_step_that_can_be_clustered():
    z, image, timestep, truth = turning(3)
    kept = (timestep != 0) | (image % 9 == 0)
    found = follow_modes(z[kept], image[kept], timestep[kept], KMeansModes())
    assert found.reference == 100 and np.array_equal(found.labels, truth[kept])


def test_steps_after_the_reference_follow_it_and_not_the_first_step_of_sampling():
    """At the first step of sampling each mode lies where another lay at the reference."""
    z, image, timestep, truth = turning(TURN + 2)
    kept = (timestep != 0) | (image % 9 == 0)
    found = follow_modes(z[kept], image[kept], timestep[kept], KMeansModes())
    assert found.reference == 100 and np.array_equal(found.labels, truth[kept])


def test_an_image_that_the_reference_lacks_has_the_mode_of_its_own_last_step():
    rng = np.random.default_rng(0)
    mode, image = np.tile(np.repeat([0, 1, 2], SIZES), 3), np.tile(np.arange(90), 3)
    timestep = np.repeat([0.0, 100.0, 200.0], 90)
    mode[(image == 0) & (timestep == 200)] = 1  # at the first step of sampling it was another one
    z = unit(np.eye(8)[mode] + 0.02 * rng.standard_normal((270, 8)))
    kept = np.where(timestep == 0, image % 9 == 0, (timestep == 200) | (image != 0))
    found = follow_modes(z[kept], image[kept], timestep[kept], KMeansModes())
    assert found.reference == 100 and found.of_image.tolist() == mode[:90].tolist()


def test_clusters_too_many_join_the_mode_that_they_fit():
    """At the second timestep the largest mode falls apart: its parts stay one mode."""
    rng = np.random.default_rng(0)
    first = np.eye(8)[np.repeat([0, 1], [60, 40])]
    second = first + 0.8 * np.eye(8)[np.repeat([4, 5, 6], [30, 30, 40])]
    z = unit(np.concatenate([first, second]) + 0.02 * rng.standard_normal((200, 8)))
    image, timestep = np.tile(np.arange(100), 2), np.repeat([0.0, 100.0], 100)
    found = follow_modes(z, image, timestep, HdbscanModes())
    assert np.array_equal(found.labels, np.tile(np.repeat([0, 1], [60, 40]), 2))


def test_one_timestep_alone_does_not_say_how_many_modes_there_are():
    """The last step shows six clusters in place of two."""
    rng = np.random.default_rng(0)
    mode, part = np.repeat([0, 1], 60), np.tile(np.arange(3), 40)
    two = np.eye(12)[mode]
    six = np.eye(12)[4 + 3 * mode + part]
    z = unit(np.concatenate([six, two, two]) + 0.02 * rng.standard_normal((360, 12)))
    image, timestep = np.tile(np.arange(120), 3), np.repeat([0.0, 100.0, 200.0], 120)
    found = follow_modes(z, image, timestep, KMeansModes())
    assert found.reference == 100 and len(found.depths) == 2
    assert found.labels[120:].tolist() in (np.tile(mode, 2).tolist(), np.tile(1 - mode, 2).tolist())
