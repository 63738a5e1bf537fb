"""A model without prompts: `model=emoji_ddpm`, vanilla, guided and the random control, 5 fresh seeds."""

from __future__ import annotations

import sys

from experiments.pooled import run_pooled, write_arms

SEEDS = (11, 12, 13, 14, 15)
NOTE = "The judge sees the images scaled from 32 to 64 px; its stated error is on 64 px."


def main(overrides: list[str]) -> None:
    """Run the three arms over the seeds, and write the pooled table."""
    results = run_pooled([*overrides, "model=emoji_ddpm", "guidance=random"], SEEDS)
    write_arms("unconditional", "An unconditional model, five generate seeds pooled", results, NOTE)


if __name__ == "__main__":
    main(sys.argv[1:])
