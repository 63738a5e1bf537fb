"""`SelfDebias`: what was learned about a model, and the guidance that goes with it, to be attached to a pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch

from selfdebias.attachment import Attachment
from selfdebias.guidance import Guidance, GuidanceState, Semantics
from selfdebias.schedules import GuidanceWindow
from selfdebias.seeds import generators
from selfdebias.stages.generate import check_shares, read_semantics

PROJECTOR, BANK, FACTS, CARD = "projector.safetensors", "bank.safetensors", "debiaser.json", "README.md"
MEANS = "means.safetensors"  # of the modes in the activations; a folder may lack it
FORMAT = 1


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

    def __init__(self, semantics: Semantics, guidance: Guidance, schedule: GuidanceWindow, facts: dict[str, Any]):
        self.semantics, self.guidance, self.schedule, self.facts = semantics, guidance, schedule, facts

    @property
    def n_modes(self) -> int:
        """The number of modes, K."""
        return len(self.semantics.bank.target)

    def __repr__(self) -> str:
        return (
            f"SelfDebias({self.n_modes} modes, {self.guidance.__class__.__name__}, fitted on {self.facts['model']!r})"
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read a finished run's folder, or one that `save_pretrained` wrote.

        Args:
            folder: with ``projector.safetensors``, ``bank.safetensors`` and ``debiaser.json``.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if the folder is of another format, or its parts do not fit.
        """
        from selfdebias.targets import make

        folder = Path(folder)
        for name in (FACTS, PROJECTOR, BANK):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"`folder` must hold a {name}, got {folder}: give a finished run, runs/jobs/<hash>, or a folder that "
                    f"save_pretrained wrote."
                )
        facts = json.loads((folder / FACTS).read_text())
        if facts.get("format") != FORMAT:
            raise ValueError(
                f"`folder` must be of format {FORMAT}, got {facts.get('format')}: {folder} is of another version."
            )
        semantics = read_semantics(folder)
        return cls(semantics, make(facts, "guidance"), make(facts, "schedule"), facts)

    @classmethod
    def fit(
        cls, pipe: Any, prompts: str | Sequence[str], *, encoder: Any, n_images: int = 512, batch_size: int = 16,
        timesteps: int = 8, seed: int = 0, folder: str | Path | None = None, clustering: Any = None,
        vocabulary: Any = None, projector: Mapping[str, Any] | None = None, guidance: Guidance | None = None,
        schedule: GuidanceWindow | None = None, call: dict[str, Any] | None = None, fitting_prompts: Sequence[str] = (),
        relative_scale: float = 0.5,
    ) -> Self:  # fmt: skip
        """Sample from a pipeline, find its modes and train the projector; with a progress bar for each.

        Args:
            pipe: a diffusers pipeline with a UNet.
            prompts: one prompt or several, which take turns; ignored by a pipeline that takes none.
            encoder: any callable from images, (B, 3, H, W) float32 in [0, 1], to unit vectors, (B, d) float32; or the name
                of a CLIP, DINOv2 or SigLIP model: a folder, ``owner/name`` on the hub, or ``shipped:emoji_clip``.
            n_images: images to sample, at least twice the largest number of modes that clustering tries.
            batch_size: images in one call of the pipeline, at least 1.
            timesteps: activations kept of each image, at least 1.
            seed: of images and training.
            folder: keeps the images and activations, and goes on from them after an interruption; None keeps nothing.
            clustering, guidance, schedule: None takes the defaults of ``conf/``.
            projector: options of the projector that differ from those of ``conf/``, such as ``{"steps": 1000}``; bottlenecks of
                256 channels or more are read through a convolution, smaller ones as they are.
            vocabulary: finds words for the modes, with the encoder's text tower; None gives none.
            call: further arguments of each pipeline call, such as ``{"num_inference_steps": 30}``.
            fitting_prompts: further prompts; the modes of `prompts` are carried over to them, and projector and bank are fitted on
                `n_images` images of each as well. Then one debiaser holds for all of them; of two modes, for others too.
            relative_scale: classifier-free guidance scale of the images that are sampled here, as a part, in (0, 1], of that of the
                call: a lower one shows what the model seldom draws. Pipelines without one are not changed.

        Raises:
            ValueError: if an argument is out of range, or the pipeline cannot be guided.
        """
        from selfdebias.fitting import fit_stages

        with TemporaryDirectory() as temporary:
            semantics, facts = fit_stages(
                pipe, prompts, encoder, n_images=n_images, batch_size=batch_size, timesteps=timesteps, seed=seed,
                root=Path(folder or temporary), clustering=clustering,
                vocabulary=vocabulary, projector=projector or {}, call=call or {}, fitting_prompts=fitting_prompts,
                relative_scale=relative_scale,
            )  # fmt: skip
        from selfdebias.fitting import default

        guidance, schedule = guidance or default("guidance", "transport"), schedule or default("schedule", "default")
        return cls(semantics, guidance, schedule, {**facts, **described(guidance, schedule)})

    @staticmethod
    def generators(seeds: Iterable[int]) -> list[torch.Generator]:
        """Return one generator for each image, so that image k is the same in any batch, with and without guidance."""
        return generators(seeds)

    def attach(
        self, pipe: Any, *, target: Sequence[float] | str | None = None, strength: float | None = None,
        guidance: Guidance | str | None = None, schedule: GuidanceWindow | None = None,
    ) -> Attachment:  # fmt: skip
        """Return a context in which the pipeline's calls are guided.

        Args:
            pipe: the pipeline, of the model that this was fitted on.
            target: K shares by mode, the largest mode first, that sum to 1; ``uniform`` or ``depth``; None takes those of the
                guidance, else of the modes.
            strength: None takes that of the guidance; 0 changes nothing.
            guidance: an object, or the name of one in ``conf/guidance``, such as ``two_pass``, with its values there; None takes
                the one that this was made with. Under `two_pass` a call's callbacks run in both of its drawings.
            schedule: None takes the one that this was made with.

        Raises:
            ValueError: if the pipeline cannot be guided, or an argument is out of range.
        """
        asked = {"target": target, "strength": strength}
        changed = {name: value for name, value in asked.items() if value is not None}
        from selfdebias.fitting import guidance_named

        rule = guidance_named(guidance) if isinstance(guidance, str) else guidance or self.guidance
        if changed:
            rule = type(rule)(**{**vars(rule), **changed})
        state = GuidanceState(self.semantics)
        check_shares(rule, state)
        return Attachment(pipe, rule, schedule or self.schedule, state)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write projector, bank, settings and a model card; each file whole or not at all."""
        folder = Path(folder)
        self.semantics.projector.save(folder / PROJECTOR)
        self.semantics.bank.save(folder / BANK)
        if self.semantics.means is not None:
            self.semantics.means.save(folder / MEANS)
        write_facts(folder, self.facts)


def described(guidance: Guidance, schedule: GuidanceWindow) -> dict[str, Any]:
    """Return guidance and schedule as configuration: the class and its hyper-parameters."""
    return {
        name: {"_target_": f"{type(part).__module__}.{type(part).__qualname__}", **vars(part)}
        for name, part in (("guidance", guidance), ("schedule", schedule))
    }


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Write ``debiaser.json`` and the model card."""
    from selfdebias.model_card import model_card
    from selfdebias.storage.atomic import write_json, write_text

    write_json(folder / FACTS, {**facts, "format": FORMAT})
    write_text(folder / CARD, model_card(facts))
