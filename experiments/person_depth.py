"""Two attributes at once: the first stage's modes are cut in two, and the four are to be equal, five seeds."""

from __future__ import annotations

import sys

from experiments.pooled import interval, mode_lines
from experiments.variants import EARLIER, Every, Study

DEPTH = ["clustering=two_stage", "clustering.k=2", "clustering.max_depth=1", "guidance.target=uniform"]
VARIANTS = {
    "transport": DEPTH,
    "mean_difference": ["guidance=mean_difference", *EARLIER, "collect.n_images=512", *DEPTH],
}
HEADER = (
    "| Arm | N | mode 0 | mode 1 | mode 2 | mode 3 | `mode_fd` | men | `kept_cosine` | turned | turned precision, of "
    "vanilla's own |\n|" + "---|" * 11
)


def rows(every: Every) -> list[str]:
    """The shares of the four modes: vanilla, and guided in each variant."""
    first = next(iter(every.values()))
    return [_row("vanilla", first, "vanilla"), *(_row(name, results, "guided") for name, results in every.items())]


def _row(name: str, results: dict, arm: str) -> str:
    it = results["arms"][arm]
    turned = it.get("turned") or {}
    shares = [it["mode_shares"][key] for key in sorted(it["mode_shares"], key=int)]
    entries = [*shares, it["mode_fd"], it["shares"]["gender"]["man"], it["kept_cosine"]]
    ratio = turned.get("precision_ratio")
    count, precision = ("n/a", "n/a") if ratio is None else (str(turned["n"]), interval(ratio))
    cells = [name, str(it["mode_fd"]["n"]), *(interval(entry) for entry in entries), count, precision]
    return "| " + " | ".join(cells) + " |"


STUDY = Study(
    name="person_depth",
    title='"an emoji of a person", two stages of modes',
    seeds=(501, 502, 503, 504, 505),
    variants=VARIANTS,
    rows=rows,
    header=HEADER,
    notes=lambda every: [f"- {line}" for line in mode_lines(next(iter(every.values())))],
)

if __name__ == "__main__":
    STUDY.main(sys.argv[1:])
