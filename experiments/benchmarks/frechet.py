"""What a Frechet distance takes at the size of published figures: 50,000 images a side, 2,048 float32 features, 2 threads."""

from __future__ import annotations

import sys

import numpy as np
from threadpoolctl import threadpool_limits

from experiments.pooled import write_study
from selfdebias.jobs.stages.sampling import CostMeter
from selfdebias.metrics.distances import frechet_distance

N, D = 50_000, 2_048
THREADS = 2
SECONDS, MEGABYTES = 90, 3_000  # what it may take at most


def gaussian(n: int, d: int, seed: int, shift: float, scale: float) -> np.ndarray:
    """Draw (n, d) float32 features of a Gaussian with independent coordinates, a thousand rows at a time."""
    generator = np.random.default_rng(seed)
    x = np.empty((n, d), dtype=np.float32)
    for rows in np.array_split(x, -(-n // 1000)):
        generator.standard_normal(out=rows, dtype=np.float32)
    x *= np.float32(scale)
    x += np.float32(shift)
    return x


def measure(n: int, d: int, threads: int) -> dict[str, float]:
    """Time one distance, with the peak of the process's memory, features included, and the value it comes to.

    Returns:
        `seconds`; `peak_process_mb`; `distance`; `expected`, the closed form; both sides have n images, so that the
        estimate is a little above it.
    """
    shift, scale = 0.25, 1.5
    with CostMeter() as memory:
        x, y = gaussian(n, d, 0, 0.0, 1.0), gaussian(n, d, 1, shift, scale)
        with threadpool_limits(threads), CostMeter() as meter:
            distance = frechet_distance(x, y)
    expected = d * (shift**2 + (scale - 1) ** 2)
    return {
        "seconds": meter.seconds, "peak_process_mb": memory.peak_process_mb, "distance": distance, "expected": expected,
    }  # fmt: skip


def main() -> None:
    """Measure once, and write the table."""
    it = measure(N, D, THREADS)
    text = (
        f"# Frechet distance at the size of published figures\n\n`python -m experiments.benchmarks.frechet`: two sets of {N:,} "
        f"images with {D:,} float32 features, drawn from two Gaussians, on {THREADS} threads of the processor; moments and "
        f"eigenvalues in float64. The peak is that of the whole process, with both sets, Python and PyTorch in it.\n\n"
        f"| | measured | at most |\n|---|---|---|\n| seconds | {it['seconds']:.1f} | {SECONDS} |\n"
        f"| peak memory, MB | {it['peak_process_mb']:.0f} | {MEGABYTES} |\n\n"
        f"The distance came to {it['distance']:.3f}; in closed form, without the bias of finite sets, it is "
        f"{it['expected']:.3f}."
    )
    write_study("frechet", text, {**it, "n": N, "dim": D, "threads": THREADS})


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("frechet takes no arguments.")
    main()
