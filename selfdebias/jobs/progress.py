"""How far a stage has come, with the time that is left: in a terminal a line that counts images, elsewhere a line each minute."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm, TQDMProgressBar

EACH = 60.0  # seconds between two lines of a log
BAR = "  {n_fmt}/{total_fmt} {unit} |{bar:30}| {elapsed}, {remaining} left"


def with_progress(trainer: Any) -> Any:
    """What makes the Trainers of a job, with `StageBar` where somebody sees it, and with `StageLines` elsewhere.

    Args:
        trainer: A `functools.partial` of `pytorch_lightning.Trainer`; one that wants no bar stays as it is.
    """
    if not trainer.keywords.get("enable_progress_bar", True):
        return trainer
    if not (sys.stdout.isatty() or "ipykernel" in sys.modules):
        lines = {"enable_progress_bar": False, "callbacks": [StageLines()]}
        return partial(trainer.func, *trainer.args, **{**trainer.keywords, **lines})
    return partial(trainer.func, *trainer.args, **{**trainer.keywords, "callbacks": [StageBar(refresh_rate=10)]})


class StageBar(TQDMProgressBar):
    """Lightning's bar, which counts images in place of batches where a stage samples, and is gone at the stage's end."""

    def init_predict_tqdm(self) -> Tqdm:
        """The bar of a stage that samples; images of an earlier run that was stopped count as there."""
        sampler: Any = self.trainer.lightning_module
        return _bar("images", len(sampler.prompts), len(sampler.folder.ids()))

    def on_predict_batch_start(self, *_: Any) -> None:
        """Leaves the bar as it is; Lightning's would begin to count batches."""

    def on_predict_batch_end(self, trainer: pl.Trainer, sampler: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Adds the images of a batch."""
        self.predict_progress_bar.update(len(sampler.batches[int(batch)]))

    def init_train_tqdm(self) -> Tqdm:
        """The bar of the projector's training."""
        return _bar("steps", int(self.total_train_batches))

    def on_train_epoch_start(self, *_: Any) -> None:
        """Leaves the bar as it is; there is one epoch."""

    def init_test_tqdm(self) -> Tqdm:
        """No bar: an evaluation looks at all images in seconds, and then computes."""
        return Tqdm(disable=True)

    def on_exception(self, *_: Any) -> None:
        """Ends the line of a bar that is at work, so that what is said next begins one of its own."""
        for bar in (self._train_progress_bar, self._predict_progress_bar):
            if bar is not None and not bar.disable:
                bar.leave = True
                bar.close()


class StageLines(pl.Callback):
    """A line a minute of a stage that samples, as logs want it; none of one that is done sooner."""

    def on_predict_start(self, trainer: pl.Trainer, sampler: Any) -> None:
        """Starts the clock; images of an earlier run that was stopped count as there."""
        self._began = self._said = time.monotonic()
        self._before = self._there = len(sampler.folder.ids())

    def on_predict_batch_end(self, trainer: pl.Trainer, sampler: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Says how many images there are, a minute after it last did; each process sees whole batches, and draws its part."""
        self._there += len(sampler.batches[int(batch)])
        now, total = time.monotonic(), len(sampler.prompts)
        if now - self._said >= EACH and self._there < total and trainer.is_global_zero:
            left = (now - self._began) * (total - self._there) / (self._there - self._before)
            print(f"  {self._there}/{total} images, {max(left / 60, 1):.0f} min left", flush=True)
            self._said = now


def _bar(unit: str, total: int, there: int = 0) -> Tqdm:
    """A bar that shows each update, also of the last, smaller batch."""
    often: dict[str, Any] = {"smoothing": 0, "mininterval": 0, "miniters": 1}
    shown: dict[str, Any] = {"bar_format": BAR, "file": sys.stdout, "leave": False, "dynamic_ncols": True}
    return Tqdm(total=total, initial=there, unit=unit, **shown, **often)
