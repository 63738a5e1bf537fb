from __future__ import annotations

import pytest

from selfdebias.schedules import GuidanceWindow


def test_windows_are_fractions_of_the_step_index():
    window = GuidanceWindow(0.2, 0.6)
    assert [i for i in range(10) if window.weight(i, 10)] == [2, 3, 4, 5]
    assert [i for i in range(50) if window.weight(i, 50)] == list(range(10, 30))
    assert all(GuidanceWindow().weight(i, 7) == 1.0 for i in range(7))


def test_neighbouring_windows_share_no_step_and_leave_none_out():
    for count in range(1, 60):
        first, second = GuidanceWindow(0.0, 0.3), GuidanceWindow(0.3, 1.0)
        assert all(first.weight(i, count) + second.weight(i, count) == 1 for i in range(count))


@pytest.mark.parametrize(
    ("start", "stop", "name"), [(-0.1, 1, "start"), (0, 1.7, "stop"), (0.5, 0.5, "stop"), (0.8, 0.2, "stop")]
)
def test_what_is_no_window_is_refused(start, stop, name):
    with pytest.raises(ValueError, match=f"`schedule.{name}` must be"):
        GuidanceWindow(start, stop)
