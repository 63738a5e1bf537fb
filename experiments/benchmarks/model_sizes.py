"""How large the real models and their bottlenecks are: counted on the published architectures, without making a weight."""

from __future__ import annotations

import math

import torch

from experiments.pooled import write_study
from experiments.published import PARTS
from selfdebias.config.compose import load
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.readers import PLACES

DIM = 512  # width of CLIP ViT-B/32's embeddings


def main() -> None:
    """Count, and write the table."""
    rows, numbers = [], {}
    for models, parts in PARTS.items():
        entry = models.split(", ")[0]
        described = load([f"model={entry}"])
        with torch.device("meta"):
            built = {name: build() for name, build in parts.items()}
            unet = built["UNet"]
            side = unet.config.sample_size // 2 ** (len(unet.config.block_out_channels) - 1)
            shape = unet.config.block_out_channels[-1], side, side
            stored = shape[0], min(side, PLACES), min(side, PLACES)
            options = described["projector"]
            branches = ("cond",) if entry.startswith("ddpm") else ("uncond", "cond")
            projector = SemanticProjector(
                stored, DIM, options["hidden"], branches, torch.zeros(8), reader=options["reader"]
            )
        count = {name: sum(p.numel() for p in module.parameters()) for name, module in built.items()}
        own, dtype = sum(p.numel() for p in projector.parameters()), described["model"]["dtype"]
        images = described["collect"]["n_images"] * described["collect"]["timesteps"]
        kept = images * len(branches) * math.prod(stored) * 2 / 1e9  # in float16
        gigabytes = sum(count.values()) * torch.finfo(getattr(torch, dtype)).bits / 8 / 1e9
        numbers[models] = {
            "weights": count,
            "h_t": list(shape),
            "stored": list(stored),
            "projector": own,
            "gigabytes": gigabytes,
            "dtype": dtype,
            "activations_gigabytes": kept,
        }
        sizes = ", ".join(f"{name} {n / 1e6:.0f} M" for name, n in count.items())
        rows.append(
            f"| {models} | {sizes} | {gigabytes:.1f} GB in {dtype} | {' x '.join(map(str, shape))} | {own / 1e6:.1f} M | "
            f"{kept:.1f} GB |"
        )
    text = [
        "# Sizes of the real models", "",
        "`python -m experiments.benchmarks.model_sizes`: counted on the published architectures, at the default image size; "
        "what sampling needs beside the weights is not in it. Activations: of the images collected by default, at 8 steps, "
        f"averaged to at most {PLACES} x {PLACES} places.", "",
        "| `model=` | weights | of memory | `h_t` | projector | activations on disk |", "|---|---|---|---|---|---|", *rows,
    ]  # fmt: skip
    write_study("model_sizes", "\n".join(text), numbers)


if __name__ == "__main__":
    main()
