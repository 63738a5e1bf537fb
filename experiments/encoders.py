"""How much of the effect is the encoder's? Emoji World's CLIP, one of its form that has learned nothing, and projected pixels."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch

from experiments.columns import header, row
from experiments.pooled import ROOT
from experiments.variants import SOFT, Every, Study
from selfdebias.testbed import shipped

UNTRAINED = Path(ROOT) / "encoders" / "untrained_clip"
VARIANTS = {
    "`emoji_clip`": ["encoder=emoji_clip_informed"],
    "`emoji_clip`, untrained": ["encoder=emoji_clip_informed", f"encoder.pretrained={UNTRAINED}"],
    "`pixels`": ["encoder=pixels"],
}
COMMON = [*SOFT, "vocabulary=none"]  # which all of them go with; it names modes, and moves no number
MODES = (
    "modes", "silhouette", "ari_gender", "ari_tone", "ari_age", "shares_vanilla", "shares_guided", "mode_fd_vanilla",
    "mode_fd_guided",
)  # fmt: skip


def make_untrained(folder: Path = UNTRAINED, seed: int = 0) -> Path:
    """Write a CLIP model of the form of Emoji World's with random weights; returns its folder.

    Args:
        folder: where to; what is there already stays.
        seed: of the weights.
    """
    if not (folder / "model.safetensors").exists():
        from transformers import CLIPConfig, CLIPModel

        trained = shipped("emoji_clip_informed")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            CLIPModel(CLIPConfig.from_pretrained(trained)).save_pretrained(folder)
        for file in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(trained / file, folder / file)
    return folder


def notes(every: Every) -> list[str]:
    """What the modes of each encoder are, and whether those are balanced at least."""
    words = (
        "`kept_cosine`, switched images and their precision are taken in each encoder's own space; men are the judge's."
    )
    lines = [row(name, results, "guided", MODES) for name, results in every.items()]
    return [words, "", header(MODES, every, "Encoder"), *lines]


STUDY = Study(
    name="encoders",
    title='Encoders, "an emoji of a person"',
    seeds=(501, 502, 503),
    variants=VARIANTS,
    common=COMMON,
    notes=notes,
)

if __name__ == "__main__":
    make_untrained()
    STUDY.main(sys.argv[1:])
