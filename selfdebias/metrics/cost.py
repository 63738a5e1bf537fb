"""What a stretch of work costs: seconds, and the peak of memory above where it started; and what arms cost."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar

import psutil
import torch

from selfdebias.metrics.number import Number, missing

_MEGABYTE = 2**20
_PERIOD = 0.02  # seconds between two looks at the memory


class CostMeter:
    """Context manager that measures time and memory of its body; meters may be nested.

    The resident size is sampled every 20 ms by a thread, so a shorter peak can be missed. Memory that earlier work
    has freed is handed back to the system first (on Linux), so that the second of two equal arms does not look free.

    Attributes:
        seconds: wall-clock time of the body; on a GPU its queue is waited for at both ends.
        peak_rss_mb: peak of the process's resident size above that at the start, in MB (2^20 bytes).
        peak_process_mb: peak of the process's resident size, in MB.
        peak_cuda_mb: the same as `peak_rss_mb` for memory that torch allocated on the current GPU; None without one.
        peak_memory_mb: `peak_cuda_mb` where there is a GPU, else `peak_rss_mb`.

    Example:
        >>> with CostMeter() as meter:
        ...     block = torch.ones(8_000_000)
        ...     time.sleep(0.1)
        >>> meter.seconds >= 0.1, meter.peak_rss_mb > 20
        (True, True)
    """

    _open: ClassVar[list[CostMeter]] = []

    def __enter__(self) -> CostMeter:
        _hand_back_freed_memory()
        self._process = psutil.Process()
        self._start_rss = self._peak_rss = self._process.memory_info().rss
        self._start_cuda = self._peak_cuda = 0
        self._fold_cuda_peaks()
        CostMeter._open.append(self)
        if torch.cuda.is_available():
            self._start_cuda = self._peak_cuda = torch.cuda.memory_allocated()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fold_cuda_peaks()
        self.seconds = time.perf_counter() - self._start
        self._look()
        self._stop.set()
        self._thread.join()
        CostMeter._open.remove(self)
        self.peak_rss_mb = (self._peak_rss - self._start_rss) / _MEGABYTE
        self.peak_process_mb = self._peak_rss / _MEGABYTE
        has_gpu = torch.cuda.is_available()
        self.peak_cuda_mb = (self._peak_cuda - self._start_cuda) / _MEGABYTE if has_gpu else None

    @property
    def peak_memory_mb(self) -> float:
        """Peak in MB where the model's work is: on the GPU if there is one, else the resident size."""
        return self.peak_rss_mb if self.peak_cuda_mb is None else self.peak_cuda_mb

    @classmethod
    def _fold_cuda_peaks(cls) -> None:
        """Keep torch's peak for each open meter and start it anew, as torch has one counter for all of them."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated()
            for meter in cls._open:
                meter._peak_cuda = max(meter._peak_cuda, peak)
            torch.cuda.reset_peak_memory_stats()

    def _sample(self) -> None:
        while not self._stop.wait(_PERIOD):
            self._look()

    def _look(self) -> None:
        self._peak_rss = max(self._peak_rss, self._process.memory_info().rss)


def _hand_back_freed_memory() -> None:
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; other C libraries have none
        if trim is not None:
            trim(0)


def summarise_cost(costs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """State what each arm cost, and the guided arm's cost over vanilla's.

    Args:
        costs: by arm, `seconds_per_image`, `guidance_share` (share of the time spent in guidance), `peak_memory_mb`, and
            `processes`, how many drew the arm together, 1 where it is not stated.

    Returns:
        `seconds_per_image` by arm, `ratio`, `guidance_share`, `peak_memory_ratio`; a plain number each, or a null with
        a reason.

    Example:
        >>> arms = {"vanilla": {"seconds_per_image": 2.0}, "guided": {"seconds_per_image": 2.5, "guidance_share": 0.1}}
        >>> cost = summarise_cost(arms)
        >>> cost["ratio"], cost["guidance_share"], cost["peak_memory_ratio"].reason
        (1.25, 0.1, '`peak_memory_mb` of the guided arm was not measured')
    """
    return {
        "seconds_per_image": {arm: _number(costs, arm, "seconds_per_image") for arm in costs},
        "ratio": _ratio(costs, "seconds_per_image"),
        "guidance_share": _number(costs, "guided", "guidance_share"),
        "peak_memory_ratio": _ratio(costs, "peak_memory_mb"),
    }


def _number(costs: Mapping[str, Mapping[str, Any]], arm: str, key: str) -> float | Number:
    if arm not in costs:
        return missing(f"there is no {arm} arm")
    value = costs[arm].get(key)
    return missing(f"`{key}` of the {arm} arm was not measured") if value is None else float(value)


def _ratio(costs: Mapping[str, Mapping[str, Any]], key: str) -> float | Number:
    guided, vanilla = _number(costs, "guided", key), _number(costs, "vanilla", key)
    if isinstance(guided, Number):
        return guided
    if isinstance(vanilla, Number):
        return vanilla
    together = [int(costs[arm].get("processes", 1)) for arm in ("vanilla", "guided")]
    if together[0] != together[1]:
        return missing(f"the vanilla arm was drawn by {together[0]} processes, the guided arm by {together[1]}")
    return guided / vanilla if vanilla > 0 else missing(f"`{key}` of the vanilla arm is {vanilla:g}")
