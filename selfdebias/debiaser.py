"""`SelfDebias`: what was learned about a model, and the guidance that goes with it, to be attached to a pipeline."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch

from selfdebias.backbones.calling import normal_tensors
from selfdebias.config.targets import make
from selfdebias.guidance import Guidance, GuidanceState, Selection, Semantics
from selfdebias.guidance.attachment import SMALL, Attachment
from selfdebias.guidance.base import Method
from selfdebias.guidance.groups import EMBEDDED, Rule
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.selecting import Selecting
from selfdebias.jobs.failures import sigterm_as_ctrl_c
from selfdebias.jobs.fitted_in_words import described, found_in_words
from selfdebias.jobs.fitted_model import check_model
from selfdebias.jobs.fitting import FitArguments, fit_stages
from selfdebias.jobs.model_card import read_facts, write_facts
from selfdebias.jobs.parts import as_given, default, guidance_of, part_of, transport_for, with_options
from selfdebias.jobs.stages.fitted_files import read_semantics, save_semantics
from selfdebias.jobs.stages.generate import check_shares
from selfdebias.modes.estimator import Clustering
from selfdebias.modes.semantics import AxesSemantics
from selfdebias.storage.images import generators

SMALL_START = 0.12  # of the steps: from here on calls of few images are guided (experiments/results/person_batches.md)


class SelfDebias:
    """The modes of a model and a way to balance them.

    Args:
        semantics: projector and bank.
        guidance: how activations are edited.
        schedule: when, and how strongly.
        facts: what was fitted on what, for the model card; plain JSON values.

    Example:
        ::

            debiaser = SelfDebias.from_pretrained("runs/jobs/0123456789abcdef")
            with debiaser.attach(pipe):
                images = pipe(["a photo of a doctor"] * 16).images
    """

    def __init__(
        self, semantics: Semantics | AxesSemantics, guidance: Method, schedule: GuidanceWindow, facts: dict[str, Any]
    ):
        self.semantics, self.guidance, self.schedule, self.facts = semantics, guidance, schedule, facts
        self._said: set[str] = set()  # each warning comes once

    @property
    def n_modes(self) -> int:
        """The number of modes, K."""
        return len(self.semantics.bank.target)

    def __repr__(self) -> str:
        return f"SelfDebias({self.n_modes} modes, {type(self.guidance).__name__}, fitted on {self.facts['model']!r})"

    def __str__(self) -> str:
        return "\n".join(found_in_words(self.facts))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read a finished run's folder, or one that `save_pretrained` wrote.

        The folder may be a stranger's: it is read as plain data and tensors, its files are held against the hashes in
        ``debiaser.json``, and it can name no code but guidance and schedules of this package and of installed plug-ins.

        Args:
            folder: with ``projector.safetensors``, ``bank.safetensors`` and ``debiaser.json``.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if the folder is of another format, a file is damaged or not the one that was saved, its parts do not
                fit, or it names other code.
        """
        facts = read_facts(Path(folder))
        semantics = read_semantics(Path(folder))
        return cls(semantics, make(facts, "guidance"), make(facts, "schedule"), facts)

    @classmethod
    def fit(
        cls, pipe: Any, prompts: str | Sequence[str] | None = None, *, encoder: Any, n_images: int = 512, batch_size: int = 16,
        timesteps: int = 8, seed: int = 0, folder: str | Path | None = None, clustering: Clustering | str | None = None,
        vocabulary: Any = None, projector: Mapping[str, Any] | None = None, guidance: Method | str | None = None,
        schedule: GuidanceWindow | str | None = None, call: dict[str, Any] | None = None, fitting_prompts: Sequence[str] = (),
        threshold: str = "shared", relative_scale: float = 0.5, blocks: Sequence[int] | None = None,
    ) -> Self:  # fmt: skip
        """Sample from a pipeline, find its modes and train the projector; with a progress bar for each.

        Args:
            pipe: a diffusers pipeline with a UNet, or with a transformer of one of the classes in ``docs/howto/pipeline.md``.
            prompts: one prompt, or several wordings of one, which take turns; None for a pipeline that takes none. Modes of prompts
                for different things can be the prompts themselves: then a line says so, and `fitting_prompts` are the way.
            encoder: any callable from images, (B, 3, H, W) float32 in [0, 1], to unit vectors, (B, d) float32; or the name
                of a CLIP, DINOv2 or SigLIP model: a folder, ``owner/name`` on the hub, or ``shipped:emoji_clip``.
            n_images: images to sample; axes want at least 256, a partition twice the largest number of modes that it tries.
            batch_size: images in one call of the pipeline, at least 1.
            timesteps: activations kept of each image, at least 1.
            seed: of images and training.
            folder: keeps the images, activations and a sheet of images of each mode, and goes on from them after an interruption;
                None keeps nothing.
            clustering: a `ModeEstimator` for a partition, such as `SpectralModes`, or a name in ``conf/clustering``, such as
                ``spectral``; None takes ``axes``.
            guidance, schedule: as in `attach`; None takes the defaults of ``conf/``: ``transport``, and for a transformer
                the schedule ``tokens``. A guidance by name has the values of ``conf/guidance``, and transport those measured for
                axes or a partition, of a UNet or a transformer: the eta of ``gradient_descent`` holds for the shipped model, and is
                another one elsewhere.
            projector: options of the projector that differ from those of ``conf/``, such as ``{"steps": 1000}``; bottlenecks of
                256 channels or more are read through a convolution, smaller ones as they are, transformers at 2 x 2 places.
            vocabulary: finds words for the modes, with the encoder's text tower: a `Vocabulary`, or a name in ``conf/vocabulary``,
                such as ``general``; None gives none.
            call: further arguments of each pipeline call, such as ``{"num_inference_steps": 30}``.
            fitting_prompts: further prompts; the modes of `prompts` are transferred to them, and projector and bank are
                fitted on `n_images` images of each as well. Then one debiaser holds for all of them; of two modes, for others too.
            threshold: between two modes, ``shared`` by all prompts, or ``prompt``, each fitted one's own: see `CarriedBank`.
            relative_scale: classifier-free guidance scale of the images that are sampled here, as a part, in (0, 1], of that of the
                call: a lower one shows what the model seldom draws. Pipelines without one are not changed.
            blocks: of a transformer, from 0, after which `h_t` is read and edited, with a projector for each; None takes the middle
                one of the joint blocks.

        Raises:
            ValueError: if an argument is out of range, or the pipeline cannot be guided.
        """
        guidance_of(guidance)  # which refuses a wrong one at once
        when = part_of("schedule", schedule, GuidanceWindow)
        with TemporaryDirectory() as temporary, normal_tensors(), sigterm_as_ctrl_c(unless_handled=True):
            asked = FitArguments(
                pipe, prompts, encoder, n_images, batch_size, timesteps, seed, clustering, vocabulary, projector or {}, call or {},
                fitting_prompts, threshold, relative_scale, blocks,
            )  # fmt: skip
            semantics, facts, sheets = fit_stages(asked, Path(folder or temporary))
        when = when or default("schedule", "default" if semantics.projector.block is None else "tokens")
        rule = guidance_of(guidance, semantics=semantics) or transport_for(semantics)
        fitted = cls(semantics, rule, when, {**facts, **described(rule, when)})
        print(fitted, *([f"images of each mode: {sheets}"] if folder else []), sep="\n", flush=True)
        return fitted

    @staticmethod
    def generators(seeds: Iterable[int]) -> list[torch.Generator]:
        """Return one generator for each image, so that image k is the same in any batch, with and without guidance."""
        return generators(seeds)

    def attach(
        self, pipe: Any, *, guidance: Method | str | None = None, schedule: GuidanceWindow | str | None = None,
        **options: Any,
    ) -> Attachment | Selecting:  # fmt: skip
        """Return a context in which the pipeline's calls are guided, or choose among more seeds.

        Images of one prompt in a call are balanced together; those with another negative prompt by themselves. In a call of fewer
        than 8, guidance does not start before 12% of the steps, and what did not come to its mode is made up for in later calls of
        any size (``closed_loop``), unless `options` or `schedule` say otherwise; the trace says so.
        Warns, once each, if the pipeline is of another model than the fitted one, a prompt was not fitted, the denoiser runs for
        another pipeline, or it is compiled as a whole, and runs uncompiled here.

        With ``guidance="select"`` no image is edited: each call needs a list of generators, one for each image, draws further seeds
        that are spawned from theirs, and returns as many images as it was asked for; the context's ``seeds`` tells which.

        Args:
            pipe: the pipeline, of the model that this was fitted on.
            guidance: an object, or the name of one in ``conf/guidance``, such as ``select``, with its values there; None takes
                the one that this was made with. ``select_then_transport`` steers by the transport of that one, or by `fit`'s own.
            schedule: an object, or the name of one in ``conf/schedule``, such as ``cosine``; None takes the one that this was
                made with.
            options: hyper-parameters of the guidance by name, such as ``target=[0.9, 0.1]`` (K shares by mode, the largest mode
                first, that sum to 1; or ``uniform``, ``depth``), ``strength=12.0`` (0 changes nothing), ``closed_loop=True``. None
                leaves one as the guidance has it: for ``limit=None``, pass an object as `guidance`.

        Raises:
            ValueError: if the pipeline cannot be guided, or takes prompts where the fitted one takes none, or none where that does;
                if there is no such option, or a value is out of range.
        """
        when = part_of("schedule", schedule, GuidanceWindow) or self.schedule
        state = GuidanceState(self.semantics)
        with as_given():
            rule = with_options(guidance_of(guidance, self.guidance, self.semantics) or self.guidance, options)
            check_shares(rule, state)
        check_model(self.facts, pipe, self._say)
        if isinstance(rule, Selection):
            return Selecting(pipe, rule, when, state, on_prompts=partial(self._check_prompts, rule, None))
        small = None if "closed_loop" in options else _for_small(rule, when, own_time=schedule is None)
        return Attachment(pipe, rule, when, state, small, partial(self._check_prompts, rule, small))

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, stacklevel=_level_of_caller())

    def _check_prompts(self, rule: Method, small: Rule | None, prompts: Mapping[str, int]) -> None:
        """Warn of prompts that were not fitted, and of calls too small for a guidance that keeps no account of earlier ones."""
        fitted = [*self.facts.get("prompts", []), *self.facts.get("fitting_prompts", [])]
        for prompt, images in prompts.items():
            known = self.semantics.bank.origins is not None or prompt in fitted or prompt.startswith(EMBEDDED)
            if prompt and fitted and not known:
                self._say(
                    f"The prompt {prompt!r} was not fitted, so its modes are not known, and it may change little: fit on it, "
                    f"SelfDebias.fit(pipe, {prompt!r}, ...), or transfer modes to it (fitting_prompts=[{prompt!r}])."
                )
            forgets = small is None and not isinstance(rule, Selection) and not getattr(rule, "decay", 0)
            if images < SMALL and forgets and rule.dependence == "batch":
                self._say(
                    f"{type(rule).__name__} balances the images of one call, and this one has {images} of {prompt!r}: ask for 16 "
                    f"and more at once, or take attach(pipe, guidance='transport'), which keeps account of earlier calls."
                )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write projector, bank, settings and a model card; each file whole or not at all."""
        folder = Path(folder)
        save_semantics(self.semantics, folder)
        write_facts(folder, self.facts)


def _level_of_caller() -> int:
    """Return the `stacklevel` of the caller's line: outside of this package, and of installed ones that run a pipeline."""

    def is_inside(file: Path) -> bool:
        return Path(__file__).parent in file.parents or "site-packages" in file.parts or file.name == "contextlib.py"

    frame, level = sys._getframe(1), 1
    while frame.f_back and is_inside(Path(frame.f_code.co_filename)):
        frame, level = frame.f_back, level + 1
    return level


def _for_small(rule: Guidance, when: GuidanceWindow, own_time: bool) -> Rule | None:
    """Return what guides calls of few images: a closed loop that starts at `SMALL_START`; None for guidance that carries nothing.

    Args:
        rule: the guidance of larger calls.
        when: its schedule.
        own_time: whether the start may be moved, since nobody chose a schedule.
    """
    if not hasattr(rule, "closed_loop") or rule.closed_loop or not getattr(rule, "decay", 0):
        return None
    start = max(when.start, SMALL_START) if own_time and when.stop > SMALL_START else when.start
    return Rule(with_options(rule, {"closed_loop": True}), replace(when, start=start))
