"""A model without prompts: `model=emoji_ddpm`, vanilla, guided and the random control, 5 fresh seeds."""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, write_study

SEEDS = (11, 12, 13, 14, 15)


def main(overrides: list[str]) -> None:
    """Run the three arms over the seeds, and write the pooled table."""
    results = run_pooled([*overrides, "model=emoji_ddpm", "guidance=random"], SEEDS)
    rows = [row(arm, results, arm) for arm in ("vanilla", "guided", "random")]
    floor, modes = results["arms"]["vanilla"]["gender"]["fd_hard"]["floor"], results["modes"]
    text = [
        "# An unconditional model, five generate seeds pooled", "",
        f"`python -m experiments.unconditional`, config hashes {', '.join(results['config_hashes'])}.", "",
        HEADER, *rows, "",
        f"Judge: Emoji World's own, on images scaled from 32 to 64 px. Intervals: 95%, bootstrap over batches of 32. Floor of "
        f"`fd_hard` for a fair independent sampler at this N: {floor:.3f}. Modes: k = {modes['k']} by silhouette "
        f"({modes['silhouette']:.3f}), agreement with gender ARI {modes['ari']['gender']:.3f}, with tone "
        f"{modes['ari']['tone']:.3f}, with age {modes['ari']['age']:.3f}.",
    ]  # fmt: skip
    write_study("unconditional", "\n".join(text), results)


if __name__ == "__main__":
    main(sys.argv[1:])
