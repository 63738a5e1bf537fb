"""The first result: "an emoji of a person", default configuration, vanilla, guided and the random control, 5 fresh seeds."""

from __future__ import annotations

import sys

from experiments.pooled import HEADER, row, run_pooled, write_study

SEEDS = (11, 12, 13, 14, 15)


def main(overrides: list[str]) -> None:
    """Run the three arms over the seeds, and write the pooled table."""
    results = run_pooled([*overrides, "guidance=random"], SEEDS)
    rows = [row(arm, results, arm) for arm in ("vanilla", "guided", "random")]
    floor = results["arms"]["vanilla"]["gender"]["fd_hard"]["floor"]
    modes = results["modes"]
    text = [
        '# "an emoji of a person", five generate seeds pooled', "",
        f"`python -m experiments.person`, config hashes {', '.join(results['config_hashes'])}.", "",
        HEADER, *rows, "",
        f"Judge: Emoji World's own. Intervals: 95%, bootstrap over batches of 32. Floor of `fd_hard` for a fair independent "
        f"sampler at this N: {floor:.3f}. Modes: k = {modes['k']} by silhouette ({modes['silhouette']:.3f}), agreement with "
        f"gender ARI {modes['ari']['gender']:.3f}, with tone {modes['ari']['tone']:.3f}, with age {modes['ari']['age']:.3f}.",
    ]  # fmt: skip
    write_study("person", "\n".join(text), results)


if __name__ == "__main__":
    main(sys.argv[1:])
