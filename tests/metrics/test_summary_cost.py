from __future__ import annotations

from selfdebias.metrics.summary_cost import summarise_cost


def _arm(seconds: float, **facts) -> dict:
    return {"seconds_per_image": seconds, "guidance_share": 0.1, "peak_memory_mb": 100.0, **facts}


def test_arms_that_other_numbers_of_processes_drew_have_no_ratio():
    cost = summarise_cost({"vanilla": _arm(2.0), "guided": _arm(1.5, processes=2)})
    for name in ("ratio", "peak_memory_ratio"):
        assert cost[name]["value"] is None
        assert cost[name]["reason"] == "the vanilla arm was drawn by 1 processes, the guided arm by 2"
    assert cost["seconds_per_image"] == {"vanilla": 2.0, "guided": 1.5}


def test_arms_that_as_many_processes_drew_have_one():
    assert summarise_cost({"vanilla": _arm(2.0, processes=2), "guided": _arm(3.0, processes=2)})["ratio"] == 1.5
