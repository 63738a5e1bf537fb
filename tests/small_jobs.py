"""Command lines of whole jobs on a tiny pipeline, started in processes of their own so that they can be stopped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

SMALL = [
    "logger=none", "vocabulary=none", "prompts.text='a person'", "model.steps=3", "collect.n_images=16",
    "collect.batch_size=4", "collect.timesteps=2", "clustering=spectral", "clustering.k_max=3", "projector.steps=40",
    "guidance.decay=0.9", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
]  # fmt: skip
# The jobs of a test are forked from one process that has done the imports, which take longer than a small job.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "matplotlib.backends.backend_agg", "pytorch_lightning",
    "scipy.stats", "selfdebias.jobs.job", "sklearn.cluster", "sklearn.manifold", "transformers.models.clip.modeling_clip",
])  # fmt: skip


def command(model: Path, root: Path, *more: str) -> list[str]:
    """The words of a small job; of a key that is there twice the later value, as a command line may name it once."""
    every = [f"model.pretrained={model}", f"paths.root={root}", *SMALL, *more]
    return [*{text.partition("=")[0]: text for text in every}.values()]


class Job:
    """A command in a process of its own, with the methods of `subprocess.Popen` that tests need."""

    def __init__(self, arguments: list[str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._output = Path(self._folder.name) / "output"
        self._output.touch()
        asked = arguments, str(self._output), dict(os.environ), str(Path.cwd())
        self._process = _FORKS.Process(target=_work, args=asked)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def said(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it printed until its end, or until `timeout` seconds are over."""
        self.wait(timeout)
        return self.said(), None

    def send_signal(self, sent: int) -> None:
        os.kill(self.pid, sent)

    def kill(self) -> None:
        self._process.kill()


def start(arguments: list[str]) -> Job:
    return Job(arguments)


def _work(arguments: list[str], output: str, environment: Mapping[str, str], folder: str) -> None:
    """What the process does: as `python -m selfdebias` would, with its output in a file."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background are deaf to Ctrl-C
    with open(output, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from selfdebias.main import main

    sys.exit(main(arguments))
