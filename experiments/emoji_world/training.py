"""The training loop that every model of Emoji World shares: seeded by step, a checkpoint every few minutes, resumed by itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader

EVERY = timedelta(minutes=3)  # between two checkpoints
SHARED = ("seed", "packages", "image_size", "bias_card")  # what all models of a recipe depend on


class Recipe(pl.LightningModule):
    """Base of the training recipes: the batch of step k depends on the seed and k alone, so a resumed run goes on as it was.

    Args:
        steps: optimizer steps.
        learning_rate: peak of the one-cycle schedule.
        seed: together with the step index, the seed of each batch.
        warmup: share of the steps before the peak, in (0, 1).
    """

    def __init__(self, steps: int, learning_rate: float, seed: int, warmup: float = 0.1):
        super().__init__()
        self.steps, self.learning_rate, self.seed, self.warmup = steps, learning_rate, seed, warmup

    def generators(self) -> tuple[torch.Generator, np.random.Generator]:
        """Return the torch and numpy generators of the current step."""
        sequence = np.random.SeedSequence((self.seed, self.global_step))
        generator = torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
        return generator, np.random.default_rng(sequence)

    def configure_optimizers(self):
        weights = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=self.learning_rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps, pct_start=self.warmup
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(module: Recipe, folder: Path, recipe: DictConfig, *sections: str) -> None:
    """Train up to ``module.steps``, from the last checkpoint in ``folder`` if there is one.

    Args:
        module: what is trained.
        folder: of its checkpoints, which hold what of the recipe they were trained by.
        recipe: as `load_recipe` gives it.
        sections: those of its sections that this model depends on, beside what all models share.

    Raises:
        SystemExit: if the last checkpoint was trained by other values.
    """
    pl.seed_everything(module.seed)
    torch.set_float32_matmul_precision("high")
    last = folder / "last.ckpt"
    asked = OmegaConf.to_container(OmegaConf.masked_copy(recipe, [*SHARED, *sections]), resolve=True)
    if last.exists():
        refuse_other_recipe(last, asked)
    module.save_hyperparameters({"recipe": asked})
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=module.steps,
        gradient_clip_val=1.0,
        logger=CSVLogger(folder, name="log", version=""),
        callbacks=[
            ModelCheckpoint(folder, save_last=True, save_top_k=0, train_time_interval=EVERY),
            ModelCheckpoint(folder, filename="done", save_top_k=1, every_n_train_steps=module.steps),
        ],
        enable_progress_bar=True,
        log_every_n_steps=20,
    )
    steps = DataLoader(range(module.steps), batch_size=1)  # type: ignore[arg-type]
    trainer.fit(module, steps, ckpt_path=str(last) if last.exists() else None, weights_only=True)


def refuse_other_recipe(checkpoint: Path, asked: Any) -> None:
    """Raise a SystemExit if a checkpoint was trained by other values of the recipe than `asked`, or does not say by which."""
    saved = torch.load(checkpoint, weights_only=True, map_location="cpu").get("hyper_parameters", {}).get("recipe")
    if saved is None:
        raise SystemExit(
            f"{checkpoint} does not say by which recipe it was trained: delete {checkpoint.parent} to train anew."
        )
    now, then = _leaves(asked), _leaves(saved)
    for name in sorted({*now, *then}):
        if now.get(name) != then.get(name):
            raise SystemExit(
                f"`{name}` must be {then.get(name)}, as {checkpoint} was trained, got {now.get(name)}: delete {checkpoint.parent} "
                f"to train anew, or name another `work` folder."
            )


def _leaves(values: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {path: values}
    return {
        name: leaf for key, own in values.items() for name, leaf in _leaves(own, f"{path}.{key}".strip(".")).items()
    }
