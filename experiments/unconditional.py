"""A model without prompts: `model=emoji_ddpm`, vanilla, guided and the random control, 5 fresh seeds."""

from __future__ import annotations

import sys

from experiments.pooled import run_pooled, write_arms

SEEDS = (11, 12, 13, 14, 15)
JUDGE = "Judge: Emoji World's own, on images scaled from 32 to 64 px."


def main(overrides: list[str]) -> None:
    """Run the three arms over the seeds, and write the pooled table."""
    results = run_pooled([*overrides, "model=emoji_ddpm", "guidance=random"], SEEDS)
    write_arms("unconditional", "An unconditional model, five generate seeds pooled", JUDGE, results)


if __name__ == "__main__":
    main(sys.argv[1:])
