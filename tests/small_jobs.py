"""Command lines of whole jobs on a tiny pipeline, started in processes of their own so that they can be stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

SMALL = [
    "logger=none", "vocabulary=none", "prompts.text='a person'", "model.steps=3", "collect.n_images=16",
    "collect.batch_size=4", "collect.timesteps=2", "clustering=spectral", "clustering.k_max=3", "projector.steps=40",
    "guidance.decay=0.9", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
]  # fmt: skip


def command(model: Path, root: Path, *more: str) -> list[str]:
    """The words of a small job; of a key that is there twice the later value, as a command line may name it once."""
    every = [f"model.pretrained={model}", f"paths.root={root}", *SMALL, *more]
    return [*{text.partition("=")[0]: text for text in every}.values()]


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "selfdebias.main", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background are deaf to Ctrl-C
    )  # fmt: skip
