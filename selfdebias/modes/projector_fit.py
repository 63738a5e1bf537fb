"""How the projector is trained: balanced over modes, on noisy activations, against the encoder's embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from selfdebias.modes.projection import SemanticProjector


class ProjectorFit(pl.LightningModule):
    """Trains `phi` to map `h_t` to the embedding of the final image.

    Its gradient is the edit, so it is made smooth: Gaussian noise is added to the standardised activation, and each batch
    shows every mode equally often.

    Args:
        data: ``h`` (M, C, H, W) float16 or float32, a tensor or, on disk, `TensorRows`; ``e`` (M, d), ``id``, ``branch``, ``mode``
            (M,) int64, ``timestep`` (M,) float32: one row for each recorded activation that is trained on.
        branches: names of the branches.
        encoder: name of the encoder that `e` comes from.
        reader: how the projector reads `h_t`: ``flattened``, ``pooled`` or ``convolutional``.
        hidden: width of the hidden layers.
        noise: standard deviation of the noise, in units of the activation's own if it is `standardised`, else of 1; at least 0.
        temperature: of the contrastive loss, > 0.
        steps: optimizer steps, at least 1.
        batch_size: activations in a batch, at least 2.
        learning_rate: peak of the schedule, > 0.
        weight_decay: of AdamW, at least 0.
        dropout: share of hidden units dropped in training, in [0, 1).
        balanced: whether each batch shows every mode equally often; without it, every activation is as likely as the others.
        resolution: places along each side that the projector reads, at most; more are averaged to them.
        layers, activation, time, standardised, relative_to, block, places: as in `SemanticProjector`.
        schedule: of the learning rate: ``one_cycle``, or ``constant``.
        negatives: whether the other images of a batch are negatives; without it the loss is ``-cos / temperature`` alone.
        seed: of weights, batches and noise.
    """

    def __init__(
        self, data: dict[str, Any], branches: tuple[str, ...], encoder: str = "", *, reader: str, hidden: int, noise: float,
        temperature: float, steps: int, batch_size: int, learning_rate: float, weight_decay: float, dropout: float, seed: int,
        balanced: bool = True, negatives: bool = True, layers: int = 2, activation: str = "silu", time: str = "sinusoidal",
        standardised: bool = True, schedule: str = "one_cycle", relative_to: str = "activation", block: int | None = None,
        places: Sequence[int] | None = None, resolution: int = 8,
    ):  # fmt: skip
        super().__init__()
        self.steps, self.batch_size, self.noise = steps, batch_size, noise
        self.temperature, self.learning_rate, self.weight_decay = temperature, learning_rate, weight_decay
        self.data = data
        self.generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            channels, *sides = data["h"].shape[1:]
            shape, dim = (channels, *(min(side, resolution) for side in sides)), data["e"].shape[1]
            places = places if shape == (channels, *sides) else places or sides
            grid = data["timestep"].unique()
            design = (reader, layers, activation, time, standardised, relative_to, block, places)
            self.projector = SemanticProjector(shape, dim, hidden, branches, grid, dropout, encoder, *design)
        self.projector.fit_scales(data["h"], data["timestep"], data["branch"])
        self.negatives, self.schedule = negatives, schedule
        self.weights = balance(data) if balanced else torch.ones(len(data["e"]))
        self.curve: list[dict] = []

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.projector.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        if self.schedule == "constant":
            return {"optimizer": optimizer}
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch, batch_idx):
        """Return the loss of one batch: the contrastive loss plus one minus the mean cosine to the embedding."""
        rows = torch.multinomial(self.weights, self.batch_size, replacement=True, generator=self.generator)
        item = {name: values[rows].to(self.device) for name, values in self.data.items()}
        x = self.projector.standardise(item["h"], item["timestep"], item["branch"])
        x = x + self.noise * torch.randn(x.shape, generator=self.generator).to(x)
        z = self.projector.project(x, item["timestep"], item["branch"])
        cosine = (z * item["e"]).sum(dim=1).mean()
        if self.negatives:
            loss = contrastive_loss(z, item["e"], item["id"], self.temperature) + 1 - cosine
        else:
            loss = -cosine / self.temperature
        self.log("cosine", cosine, prog_bar=True, logger=False)  # one number, so that the bar fits a line of 80 columns
        if batch_idx % 20 == 0 or batch_idx == self.steps - 1:
            values = {"loss": loss.detach(), "cosine": cosine.detach()}
            self.curve += [
                {"stage": "project", "step": batch_idx, "name": k, "value": float(v)} for k, v in values.items()
            ]
        return loss

    def state_dict(self, *args, **kwargs):
        return self.projector.state_dict(*args, **kwargs)


def balance(data: Mapping[str, Any]) -> Tensor:
    """Return the weights (M,) with which each mode is shown equally often; of axes, on the mean over them each of both sides.

    Args:
        data: ``mode`` (M,) int64; or, where there are axes, ``sides`` (M, A) int64, 0 or 1.
    """
    if "sides" not in data:
        return 1.0 / torch.bincount(data["mode"])[data["mode"]].float()
    second = data["sides"].float().mean(dim=0)
    return torch.where(data["sides"] == 1, 1 / second, 1 / (1 - second)).mean(dim=1)


def contrastive_loss(z: Tensor, e: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """InfoNCE from projected vectors to image embeddings, with the other images of the batch as negatives.

    Args:
        z: (B, d) projected unit vectors.
        e: (B, d) the encoder's embedding of each one's final image.
        ids: (B,) image ids; pairs that show the same image are no negatives of each other.
        temperature: of the cosines, > 0.

    Returns:
        Scalar: ``mean_i -log softmax_j(z_i . e_j / temperature)_i`` over the j with another image, and i itself.

    References:
        van den Oord et al., arXiv 1807.03748.

    Example:
        >>> e = torch.eye(3)
        >>> good, bad = contrastive_loss(e, e, torch.arange(3), 0.1), contrastive_loss(e.roll(1, 0), e, torch.arange(3), 0.1)
        >>> bool(good < 0.01 < 5 < bad)
        True
    """
    same = (ids[:, None] == ids[None, :]) & ~torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    logits = (z @ e.T / temperature).masked_fill(same, float("-inf"))
    return F.cross_entropy(logits, torch.arange(len(z), device=z.device))
