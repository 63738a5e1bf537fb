"""What two-stage clustering takes: 2,000 embeddings of 512 numbers with all k tried, and how that grows from 1,000 to 20,000."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from experiments.pooled import RESULTS, write_study
from selfdebias.config.sources import read_option
from selfdebias.config.targets import make
from selfdebias.jobs.stages.sampling import CostMeter
from selfdebias.report.figures import LIGHT, to_png
from selfdebias.storage.atomic import write_bytes

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000)
DIM = 512
THREADS = 1
BAR = (2_000, 20)  # images, and the seconds that they may take
MODES = 6
SPREAD = 1.5  # length of the noise around a mode's centre, which has length 1


def embeddings(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw unit vectors (n, d) around `MODES` centres, the largest mode three times as large as the smallest; and their modes."""
    generator = np.random.default_rng(seed)
    centers = generator.standard_normal((MODES, d))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    weights = np.linspace(3, 1, MODES)
    labels = generator.choice(MODES, n, p=weights / weights.sum())
    X = centers[labels] + SPREAD / np.sqrt(d) * generator.standard_normal((n, d))
    return X / np.linalg.norm(X, axis=1, keepdims=True), labels


def measure(n: int, d: int, threads: int) -> dict[str, float]:
    """Cluster once with the options of ``conf/clustering/two_stage.yaml``, the minimum size a tenth of the images.

    Returns:
        `seconds` on the clock, `cpu_seconds` of the processor; `peak_process_mb`; `modes` found; `ari` with the planted ones;
        `tried`, how many k.
    """
    X, truth = embeddings(n, d, seed=0)
    clustering = make({"clustering": {**read_option("clustering", "two_stage"), "min_size": n // 10}}, "clustering")
    start = time.process_time()
    with threadpool_limits(threads), CostMeter() as meter:
        clustering.fit(X)
    return {
        "n": n, "seconds": meter.seconds, "cpu_seconds": time.process_time() - start,
        "peak_process_mb": meter.peak_process_mb, "modes": len(clustering.centers_),
        "ari": float(adjusted_rand_score(truth, clustering.labels_)), "tried": len(clustering.silhouettes_),
    }  # fmt: skip


def slope(rows: Sequence[dict[str, float]]) -> float:
    """Fit `b` of processor seconds ~ n^b, by least squares on logarithms.

    Example:
        >>> round(slope([{"n": 1, "cpu_seconds": 2}, {"n": 10, "cpu_seconds": 200}]), 6)
        2.0
    """
    n, seconds = (np.log([row[name] for row in rows]) for name in ("n", "cpu_seconds"))
    return float(np.polyfit(n, seconds, 1)[0])


def growth_figure(rows: Sequence[dict[str, float]]) -> Figure:
    """Draw processor seconds over images, both on logarithmic scales, with the bar."""
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    n, seconds = ([row[name] for row in rows] for name in ("n", "cpu_seconds"))
    axes.loglog(n, seconds, marker="o", color=LIGHT.mark(0), label="two-stage clustering")
    axes.plot(*BAR, marker="v", color=LIGHT.mark(5), linestyle="none", label=f"at most {BAR[1]} s for {BAR[0]:,}")
    axes.set(xlabel="images", ylabel=f"processor seconds, {THREADS} thread", xticks=n)
    axes.set_xticklabels([f"{size:,}" for size in n])
    axes.minorticks_off()
    axes.grid(color=LIGHT.faint, linewidth=0.5)
    axes.legend(frameon=False)
    return figure


def main() -> None:
    """Measure each size once, and write table and figure."""
    write_results([measure(n, DIM, THREADS) for n in SIZES])


def write_results(rows: Sequence[dict[str, float]]) -> None:
    """Write table, numbers and figure of what was measured."""
    bar = next(row for row in rows if row["n"] == BAR[0])
    lines = [
        f"| {it['n']:,} | {it['seconds']:.1f} | {it['cpu_seconds']:.1f} | {it['peak_process_mb']:.0f} | {it['modes']} | "
        f"{it['ari']:.2f} |"
        for it in rows
    ]
    text = (
        f"# Two-stage clustering, time and memory\n\n`python -m experiments.benchmarks.clustering`: unit vectors of {DIM} numbers "
        f"around {MODES} planted modes, `clustering=two_stage` (k from 2 to 8, graphs of 10 and of 30 neighbours, minimum size a "
        f"tenth of the images), on {THREADS} thread of the processor. On a computer with other work the clock says more than the "
        f"processor. The peak is that of the whole process.\n\n"
        f"| images | seconds on the clock | of the processor | peak memory, MB | modes found | ARI with the planted ones |\n"
        f"|---|---|---|---|---|---|\n"
        + "\n".join(lines)
        + f"\n\n{BAR[0]:,} images, all {bar['tried']} k tried: {bar['seconds']:.1f} s on the clock, {bar['cpu_seconds']:.1f} s of "
        f"the processor; at most {BAR[1]} s are wanted. Processor seconds grow as images to the power of {slope(rows):.2f} "
        f"(figure: `clustering.png`)."
    )
    write_study("clustering", text, {"rows": rows, "dim": DIM, "threads": THREADS, "slope": slope(rows), "bar": BAR})
    write_bytes(RESULTS / "clustering.png", to_png(growth_figure(rows)))


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("clustering takes no arguments.")
    main()
