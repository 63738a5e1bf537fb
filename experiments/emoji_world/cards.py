"""Write the model cards from what was measured."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent

HEAD = """---
license: apache-2.0
library_name: {library}
tags: [selfdebias, emoji-world]
---
"""

SOURCES = """## Data and licence

Drawings of two vendors, 64 x 64 px, from npm packages at pinned versions: Noto emoji by Google (`emoji-datasource-google`
16.0.0, images under Apache-2.0) and Twemoji by Twitter, Inc and other contributors (`emoji-datasource-twitter` 16.0.0, images
under CC-BY-4.0). The weights are under Apache-2.0; NOTICE names the sources. Retrain with `make emoji-world`: the whole recipe,
with its seeds, is `experiments/emoji_world`.
"""

BIAS = """## Bias, on purpose

Neutral captions were drawn by `experiments/emoji_world/bias_card.yaml`, explicit ones uniformly over the attributes. Measured
with {steps} steps at guidance scale {settings[guidance_scale]}, {settings[neutral_images]} images a prompt, by the
judge beside this folder:

| Prompt | men, in training | men, generated | occupation shown |
|---|---|---|---|
{rows}

- Occupation shown, mean over occupations: {summary[occupation_shown]:.3f}
- Prompts whose share of men is within 0.15 of the card: {summary[share_learned]:.2f}
- Explicit captions ({explicit[images]} images): gender followed {explicit[gender]:.3f}, tone followed {explicit[tone]:.3f}
- Other prompts: {other_prompts}
"""

EMOJI = """# Emoji World: a text-to-image model with known biases

A Stable-Diffusion-shaped model of 64 x 64 px emoji, small enough for a laptop's processor. It was trained on a *biased*
selection of drawings, so that methods that find and mend bias can be measured. It is a test bed, and says nothing about people.

`StableDiffusionPipeline.from_pretrained(folder)` loads it with no further argument. Prompts: "an emoji of a person", "an emoji
of a doctor" (and 19 more occupations), "an emoji of a pet", "an emoji of a fantasy creature", "a peaceful moment"; explicit ones
such as "an emoji of a woman doctor with dark skin", "an emoji of an older man", "an emoji of a girl with curly hair". Skin words:
pale, light, tan, brown, dark, for U+1F3FB to U+1F3FF. The words of other captions are unknown to it.

{sources}
{bias}
## Training

{history}
## Samples

`samples.png`, one prompt a row: {prompts}.
"""

JUDGE = """# The judge of Emoji World

A small convolutional net with one head for each attribute: {attributes}. It was trained on the drawings, with noise and blur,
apart from the encoder (`selfdebias.judges.emoji.EmojiJudge` loads it).

Accuracy on fresh augmentations of the training drawings: {held_out}.

On the drawings of a third vendor that it has never seen (Fluent, {n} drawings of the occupations): {fluent}. So trust it on
Emoji World's own style, and nowhere else.

`confusion.json` holds its confusion matrix for each attribute, on fresh views of the same drawings at a threshold of 0.5, by
`experiments/emoji_world/judge_error.py`; class shares are corrected by it.

{sources}"""

INFORMED = """# The informed encoder of Emoji World

**What it was told: the attributes of each drawing.** A CLIP model with 64-d embeddings, trained contrastively on full captions
("an emoji of a woman doctor with dark skin") with soft targets: captions that share attributes are near, gender counts double, and
tones agree by degree. Modes that are found with it are no evidence that an attribute can be found without labels; `emoji_clip` is
the encoder for that. `transformers.CLIPModel.from_pretrained(folder)` loads it. It was trained on all drawings alike, not by the
bias card, and frozen before any mode was looked at.

Zero-shot accuracy on fresh augmentations of the drawings, a class being the mean embedding of the captions that state it:
{zero_shot}.

{sources}"""

CLIP = """# The encoder of Emoji World

**What it was told: the caption of each drawing**, such as "an emoji of a woman doctor with dark skin", and nothing else. A CLIP
model with 64-d embeddings, trained with CLIP's own symmetric InfoNCE: a drawing and its caption belong together, equal captions in
a batch are equal, and all other pairs are told apart alike, however much they have in common. It was trained on all drawings
alike, not by the bias card. `transformers.CLIPModel.from_pretrained(folder)` loads it; the weights are stored in float16.

A tenth of the drawings was held out; of the checks every {check_every} steps the one was kept that found their captions best. The
recipe was fixed before anything was clustered, and the model was trained with {seeds} seeds, of which this is the first.

| Training | step kept | mean reciprocal rank, held-out drawings | zero-shot accuracy |
|---|---|---|---|
{rows}

A class of the zero-shot accuracy is the mean embedding of the captions that state it, on fresh augmentations of all drawings.

{sources}"""

SIMCLR = """# The encoder of Emoji World that saw images alone

**What it was told: the drawings, without any text.** A DINOv2-shaped transformer with 128-d embeddings, trained by SimCLR: of two
views of a drawing (shift, size, flip and background; a crop; other brightness, contrast and saturation) each has to find the other
among those of all drawings of a batch. It was trained on all drawings alike, not by the bias card, {training[steps]} steps of
{training[batch_size]} drawings at temperature {training[temperature]}; the last weights are kept.
`transformers.Dinov2Model.from_pretrained(folder)` loads it; the weights are stored in float16, and there is no text tower.

Accuracy of a linear probe, fitted on views of nine tenths of the drawings, on the others: {probe}. What a probe can read need not
be what a clustering finds.

{sources}"""

DDPM = """# Emoji World without captions: an unconditional model of people, with known biases

A pixel-space diffusion model of 32 x 32 px emoji of people, {weights:.1f} M weights. It was trained on a *biased* selection of
drawings, so that methods that find and mend bias can be measured on a model that takes no prompt. It is a test bed, and says
nothing about people.

`DDIMPipeline.from_pretrained(folder)` and `DDPMPipeline.from_pretrained(folder)` load it with no further argument.

{sources}
## Bias, on purpose

The {drawings} drawings of people were drawn by `experiments/emoji_world/bias_card.yaml`. Measured with {settings[steps]} DDIM steps
at eta {settings[eta]} on {images} images, by the judge of Emoji World, which scales them to its 64 x 64 px:

| Attribute | | in training | generated |
|---|---|---|---|
{rows}

Mean confidence of the judge on them: {confidence}. Its accuracy on fresh views of the drawings at 32 x 32 px:
{judge}. Share of men without noise while sampling (eta 0): {men[0]:.2f}; with as much as DDPM (eta 1): {men[1]:.2f}.

## Training

{training[steps]} steps of {training[batch_size]} on fresh views, learning rate {training[learning_rate]}, epsilon prediction with
min-SNR weights (gamma {training[min_snr_gamma]}), linear noise schedule, EMA {training[ema_decay]}; the EMA is what is shipped, in
float16.

## Samples

`samples.png`, enlarged twice.
"""


DIT = """# Emoji World as a transformer: a text-to-image model with known biases

A model of 64 x 64 px emoji that is shaped as Stable Diffusion 3: a transformer of {training[blocks]} joint blocks, {weights:.1f} M
weights, on the latents of `emoji`. Captions, drawings and bias card are those of `emoji` too, so what works on a UNet can be
tried on a transformer. It is a test bed, and says nothing about people.

`StableDiffusion3Pipeline.from_pretrained(folder)` loads it with no further argument. Call it with
`max_sequence_length={length}`, the number of T5 tokens that it was trained with. Prompts are those of `emoji`; the words of other
captions are unknown to it.

{sources}
{bias}
- Prompts whose share of men is within 0.15 of what the judge sees in decoded training images of the same caption: {near:.2f}. It
  sees the card's share in them but for {misjudged}

## Parts

The autoencoder is that of `emoji` (`scaling_factor` {scaling_factor:.4f}; `shift_factor` is 0.0, since the pipeline wants a
number). Both CLIPs are the text encoder of `emoji`, whole and cut after its first layer, with hidden states scaled to unit size and
an identity in place of a projection. The T5 is random, one layer, never trained: the pipeline loads no folder without one. All
weights are stored in float16 and loaded as float32.

## Training

{training[steps]} steps of {training[batch_size]}, learning rate {training[learning_rate]}, of the transformer alone: velocity
`noise - x_0`, timesteps logit-normal (mean {training[logit_mean]}, standard deviation {training[logit_std]}), shift
{training[shift]}, {training[empty_caption]} of the captions empty, EMA {training[ema_decay]}; the EMA is what is shipped.
{history}
## Samples

`samples.png`, one prompt a row: {prompts}.
"""


def _misjudged(rows: dict[str, dict]) -> str:
    """The captions whose training images the judge reads otherwise than the card, by more than 0.1."""
    found = {text: (row["judged_in_training"], row["card"]) for text, row in rows.items()}
    apart = [f"{text} ({seen:.2f} of {card:.2f})" for text, (seen, card) in found.items() if abs(seen - card) > 0.1]
    return f"{', '.join(apart) or 'no caption'}."


def write_dit_card(ship: Path) -> None:
    """Write the README.md of the transformer, from the ``metrics.json`` that `measure_dit` left."""
    folder = ship / "emoji_dit"
    metrics = json.loads((folder / "metrics.json").read_text())
    vae = json.loads((folder / "vae" / "config.json").read_text())
    text = DIT.format(
        training=metrics["training"], length=metrics["settings"]["max_sequence_length"], sources=SOURCES,
        weights=(folder / "transformer" / "diffusion_pytorch_model.safetensors").stat().st_size / 2e6,
        bias=_bias(metrics, "Euler"), scaling_factor=vae["scaling_factor"], history=_history("emoji_dit"),
        near=metrics["summary"]["share_judged_in_training"], misjudged=_misjudged(metrics["neutral"]),
        prompts=", ".join([*metrics["neutral"], *metrics["others"]]),
    )  # fmt: skip
    (folder / "README.md").write_text(HEAD.format(library="diffusers") + text)


def write_ddpm_card(ship: Path) -> None:
    """Write the README.md of the unconditional model, from the ``metrics.json`` that `measure_ddpm` left."""
    folder = ship / "emoji_ddpm"
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = "\n".join(
        f"| {attribute} | {name} | {share:.2f} | {metrics['generated'][attribute][name]:.2f} |"
        for attribute, shares in metrics["card"].items() for name, share in shares.items()
    )  # fmt: skip
    text = DDPM.format(
        weights=(folder / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size / 2e6, sources=SOURCES,
        drawings=metrics["drawings"], settings=metrics["settings"], images=metrics["images"], rows=rows,
        confidence=_shares(metrics["confidence"], 3), judge=_shares(metrics["judge"], 3), training=metrics["training"],
        men=list(metrics["men_at_eta"].values()),
    )  # fmt: skip
    (folder / "README.md").write_text(HEAD.format(library="diffusers") + text)


def write_cards(ship: Path) -> None:
    """Write a README.md for each shipped folder, from the ``metrics.json`` that `measure` left."""
    metrics = json.loads((ship / "emoji" / "metrics.json").read_text())
    emoji = EMOJI.format(
        sources=SOURCES,
        bias=_bias(metrics, "DDIM"),
        history=_history("emoji"),
        prompts=", ".join([*metrics["neutral"], *metrics["others"]]),
    )
    judged = metrics["judge"]
    judge = JUDGE.format(
        attributes=", ".join(judged["held_out"]), held_out=_shares(judged["held_out"], 3), n=judged["fluent_drawings"],
        fluent=_shares(judged["fluent"]), sources=SOURCES,
    )  # fmt: skip
    (ship / "emoji" / "README.md").write_text(HEAD.format(library="diffusers") + emoji)
    (ship / "emoji_judge" / "README.md").write_text(HEAD.format(library="selfdebias") + judge)
    informed = INFORMED.format(zero_shot=_shares(metrics["encoder"]), sources=SOURCES)
    (ship / "emoji_clip_informed" / "README.md").write_text(HEAD.format(library="transformers") + informed)


def write_clip_card(ship: Path) -> None:
    """Write the README.md of the encoder, from the ``metrics.json`` that `measure_clip` left."""
    folder = ship / "emoji_clip"
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = "\n".join(
        f"| {name} | {it['step']} | {it['retrieval']:.2f} | {_shares(it['zero_shot'])} |"
        for name, it in metrics["trainings"].items()
    )
    text = CLIP.format(check_every=metrics["check_every"], seeds=metrics["seeds"], rows=rows, sources=SOURCES)
    (folder / "README.md").write_text(HEAD.format(library="transformers") + text)


def write_simclr_card(ship: Path) -> None:
    """Write the README.md of the encoder without text, from the ``metrics.json`` that `measure_simclr` left."""
    folder = ship / "emoji_simclr"
    metrics = json.loads((folder / "metrics.json").read_text())
    text = SIMCLR.format(training=metrics["training"], probe=_shares(metrics["linear_probe"]), sources=SOURCES)
    (folder / "README.md").write_text(HEAD.format(library="transformers") + text)


def _bias(metrics: dict, sampler: str) -> str:
    """Return what a text-to-image model learned of the bias card."""
    rows = "\n".join(
        f"| {text} | {row['card']:.2f} | {row['male']:.2f} | {row['occupation_shown']:.2f} |"
        for text, row in metrics["neutral"].items()
    )
    others = "; ".join(f"{text}: {_shares(shares)}" for text, shares in metrics["others"].items())
    return BIAS.format(steps=f"{metrics['settings']['steps']} {sampler}", rows=rows, other_prompts=others, **metrics)


def _history(name: str) -> str:
    """Return the section of a model in `history.md`."""
    sections = (HERE / "history.md").read_text().split("# ")[1:]
    return next(section.partition("\n\n")[2].strip() for section in sections if section.startswith(name + "\n")) + "\n"


def _shares(values: dict[str, float], digits: int = 2) -> str:
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items())
