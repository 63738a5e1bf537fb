"""The first result: "an emoji of a person", default configuration, vanilla, guided and the random control, 5 fresh seeds."""

from __future__ import annotations

import sys

from experiments.pooled import run_pooled, write_arms

SEEDS = (11, 12, 13, 14, 15)


def main(overrides: list[str]) -> None:
    """Run the three arms over the seeds, and write the pooled table."""
    results = run_pooled([*overrides, "guidance=random"], SEEDS)
    write_arms("person", '"an emoji of a person", five generate seeds pooled', results)


if __name__ == "__main__":
    main(sys.argv[1:])
