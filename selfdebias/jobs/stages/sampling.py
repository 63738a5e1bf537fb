"""Sampling batch by batch, and what it costs: what collect and generate share."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, ClassVar

import psutil
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from selfdebias.guidance.collective import ALONE, Collective
from selfdebias.guidance.state import GuidanceState
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.images import image_seeds

MEGABYTE = 2**20
PERIOD = 0.02  # seconds between two looks at the memory


class Sampler(pl.LightningModule, ABC):
    """Draws the images of a stage with the pipeline's own call, one batch for each `predict_step`.

    Args:
        folder: where batches are kept; finished ones are not drawn again.
        backbone: loads and calls the pipeline.
        prompts: one for each image id.
        batch_size: images in a pipeline call, at least 1.
        stage: name that goes into the seeds.
        seed: seed of the run.
        collective: the processes that draw each batch together.
    """

    def __init__(
        self, folder: BatchFolder, backbone: Any, prompts: Sequence[str], batch_size: int, stage: str, seed: int,
        collective: Collective = ALONE,
    ):  # fmt: skip
        super().__init__()
        self.folder, self.backbone, self.prompts = folder, backbone, list(prompts)
        self.batch_size, self.seeds = batch_size, image_seeds(stage, seed, range(len(prompts)))
        self.batches = self.split()
        self.pipeline: Any = None
        self.drawn = 0  # images of the batches that `run` draws, those of all processes
        self.loading = 0.0  # seconds in which `run` loads the pipeline
        self.collective = self.team = collective  # the team of a batch: those of the processes that have an image of it

    def run(self, trainer: Callable[..., pl.Trainer]) -> None:
        """Draw all batches that are not finished; afterwards the folder is that of one process."""
        self._merge()
        finished = self.folder.finished
        left = [batch for batch in range(len(self.batches)) if batch not in finished]
        self.drawn = sum(len(self.batches[batch]) for batch in left)
        self.collective.wait()  # nobody writes before all know what is left
        if left:
            start = time.perf_counter()
            self.pipeline = self.backbone.load()
            self.loading = time.perf_counter() - start
            if self.collective.part == 0:
                self.loaded()
            trainer().predict(self, DataLoader(left, batch_size=None), return_predictions=False)  # type: ignore[arg-type]
            self._merge()

    def loaded(self) -> None:
        """Take note of the pipeline, before an image is drawn."""

    def _merge(self) -> None:
        self.collective.wait()
        if self.collective.part == 0:
            self.folder.merge()
        self.collective.wait()
        self.folder.refresh()

    def split(self) -> list[list[int]]:
        """Return the image ids of each batch; here by id alone, as vanilla images depend on no other image of their batch."""
        return chunks(range(len(self.prompts)), self.batch_size)

    def draw(self, ids: Sequence[int]) -> Tensor:
        """Return the images (B, 3, H, W) of these ids."""
        return self.backbone.generate(self.pipeline, [self.prompts[i] for i in ids], [self.seeds[i] for i in ids])

    def records(self, batch: int, ids: Sequence[int], images: Tensor) -> list[dict[str, Any]]:
        """Return what the manifest says of each image; an image that is black all over was blanked by a safety checker."""
        blanked = (images.amax(dim=(1, 2, 3)) == 0).tolist()
        return [
            {"id": i, "seed": self.seeds[i], "prompt": self.prompts[i], "batch": batch, "blanked": black}
            for i, black in zip(ids, blanked, strict=True)
        ]

    def keep(
        self, batch: int, ids: Sequence[int], images: Tensor, tensors: dict[str, Tensor], along: dict[str, int]
    ) -> None:
        """Keep what this process drew of a batch; `along` is as in `BatchFolder.add`."""
        part = (self.team.part, self.team.among)
        self.folder.add(batch, ids, images, tensors, self.records(batch, ids, images), part, along)

    @torch.no_grad()
    def predict_step(self, batch: Any, batch_idx: int) -> int:
        """Draw one batch, keep it, and return its index; of several processes, each draws its share."""
        ids = self.batches[int(batch)]
        self.team = self.collective.first(len(ids))
        own = self.team.share(ids)
        if own:
            self.draw_batch(int(batch), own)
        if self.collective.among > 1:
            self.collective.wait()
            self.folder.refresh()
        return int(batch)

    @abstractmethod
    def draw_batch(self, batch: int, ids: Sequence[int]) -> None:
        """Draw and keep these images, this process's share of the batch of this index."""


class PromptSampler(Sampler):
    """Draws batches of one prompt each, whose images depend on each other and on what batches of the prompt before them left.

    Args:
        state: memory and semantics.
        sampling: arguments of `Sampler`.
    """

    def __init__(self, state: GuidanceState, *sampling: Any):
        super().__init__(*sampling)
        self.state = state

    def split(self) -> list[list[int]]:
        """See `Sampler.split`."""
        return batches_of_one_prompt(self.prompts, self.batch_size)

    def go_on(self, batch: int, ids: Sequence[int]) -> None:
        """Go on from the memory that the last batch of the same prompt left."""
        group = self.prompts[ids[0]]
        if batch > 0 and self.prompts[self.batches[batch - 1][0]] == group:
            self.state.restore(group, self.folder.tensors_of(batch - 1))


def chunks(ids: Sequence[int], size: int) -> list[list[int]]:
    """Cut ids into batches of `size`, the last one smaller where they do not fill it.

    Example:
        >>> chunks(range(5), 2)
        [[0, 1], [2, 3], [4]]
    """
    return [list(ids[start : start + size]) for start in range(0, len(ids), size)]


def batches_of_one_prompt(prompts: Sequence[str], size: int) -> list[list[int]]:
    """Cut the ids of images into batches that each hold one prompt, at most `size` images of it.

    Args:
        prompts: one for each image id.
        size: at least 1.

    Example:
        >>> batches_of_one_prompt(["a", "a", "a", "b", "b"], 2)
        [[0, 1], [2], [3, 4]]
    """
    ids: dict[str, list[int]] = {}
    for i, prompt in enumerate(prompts):
        ids.setdefault(prompt, []).append(i)
    return [batch for own in ids.values() for batch in chunks(own, size)]


class CostMeter:
    """Context manager that measures time and memory of its body; meters may be nested.

    The resident size is sampled every 20 ms by a thread, so a shorter peak can be missed. Memory that earlier work
    has freed is handed back to the system first (on Linux), so that the second of two equal arms does not look free.
    Idle memory of the process that the system reclaims while the body runs makes the peak lower by as much.

    Attributes:
        seconds: wall-clock time of the body; on a GPU its queue is waited for at both ends.
        peak_rss_mb: peak of the process's resident size above that at the start, in MB (2^20 bytes).
        peak_process_mb: peak of the process's resident size, in MB.
        peak_cuda_mb: the same as `peak_rss_mb` for memory that torch allocated on the current GPU; None without one.
        peak_memory_mb: `peak_cuda_mb` where there is a GPU, else `peak_rss_mb`.

    Example:
        >>> with CostMeter() as meter:
        ...     block = torch.ones(64_000_000)
        ...     time.sleep(0.1)
        >>> meter.seconds >= 0.1, meter.peak_rss_mb > 50
        (True, True)
    """

    _open: ClassVar[list[CostMeter]] = []

    def __enter__(self) -> CostMeter:
        gc.collect()
        if sys.platform == "linux":
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; other C libraries have none
            if trim is not None:
                trim(0)
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
        self.peak_rss_mb = (self._peak_rss - self._start_rss) / MEGABYTE
        self.peak_process_mb = self._peak_rss / MEGABYTE
        has_gpu = torch.cuda.is_available()
        self.peak_cuda_mb = (self._peak_cuda - self._start_cuda) / MEGABYTE if has_gpu else None

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
        while not self._stop.wait(PERIOD):
            self._look()

    def _look(self) -> None:
        self._peak_rss = max(self._peak_rss, self._process.memory_info().rss)
