"""The recipe of the transformer of Emoji World at tiny size: what it reads, what it learns, resuming, the folder that it ships."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from PIL import Image
from torch import nn
from transformers import CLIPTextModel, T5EncoderModel

from experiments.emoji_world import measure, measure_dit, train_dit, training
from experiments.emoji_world.captions import Facts, all_captions
from experiments.emoji_world.dit_text import JOINT, LENGTH, build_clip, build_t5_tokenizer, states
from experiments.emoji_world.recipe import load_recipe
from experiments.emoji_world.tokenizer import build_tokenizer
from experiments.emoji_world.train_dit import DitRecipe, build_pipeline, build_recipe, export, stored_latents
from selfdebias.storage.images import generators
from selfdebias.testbed import shipped

ROOT = Path(__file__).parents[2]
PEOPLE = ("an emoji of a man", "an emoji of a woman")


class TwoDrawings:
    """Draws either caption with its drawing."""

    def draw(self, rng: np.random.Generator) -> tuple[str, int]:
        i = int(rng.integers(2))
        return PEOPLE[i], i


def tiny(steps: int = 4, **options) -> DitRecipe:
    """Return the training of a transformer of two blocks, on random latents of two drawings and random text."""
    generator = torch.Generator().manual_seed(0)
    arguments = {
        "latents": torch.randn(2, 3, 4, 16, 16, generator=generator), "sampler": TwoDrawings(), "captions": ["", *PEOPLE],
        "features": (torch.randn(3, 5, JOINT, generator=generator), torch.randn(3, JOINT, generator=generator)),
        "blocks": 2, "heads": 1, "batch_size": 4, "ema_decay": 0.5, "empty_caption": 0.1,
        "logit_mean": 0.0, "logit_std": 1.0, "shift": 1.0, "learning_rate": 1e-3, "seed": 7,
    }  # fmt: skip
    return DitRecipe(steps=steps, **arguments | options)


def kill():
    """End this process as a crash would."""
    signal.raise_signal(signal.SIGKILL)


def stop():
    """End the training by an exception."""
    raise RuntimeError("stopped")


def run(folder: Path, last: int | None = None, end=kill, overrides: Sequence[str] = ()) -> DitRecipe:
    """Train `tiny` with a checkpoint after each step but the first; `end` is called when the step `last` begins."""
    module = tiny()
    step, begun = module.training_step, []

    def stopped(batch, batch_idx):
        begun.append(module.global_step)
        if module.global_step == last:
            end()
        return step(batch, batch_idx)

    module.training_step = stopped
    training.EVERY = timedelta(microseconds=1)
    training.train(module, folder, load_recipe([*overrides]), "dit")
    module.begun = begun[0]
    return module


@pytest.fixture
def _often(monkeypatch):
    monkeypatch.setattr(training, "EVERY", training.EVERY)  # which `run` changes


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The recipe at tiny size; it ships to a folder of its own, in which the models lie that it reads."""
    ship = tmp_path_factory.mktemp("ship")
    for name in ("emoji", "emoji_judge"):
        (ship / name).symlink_to(shipped(name))
    tiny_ones = ["dit.blocks=2", "dit.heads=1", "dit.batch_size=2", "dit.views=1", "dit.steps=2"]
    few = [
        "measure_dit.neutral_images=2",
        "measure.explicit_images=1",
        "measure.sheet_columns=4",
        "measure_dit.steps=1",
    ]
    few += ["measure_dit.training_images=4"]
    return load_recipe([f"ship={ship}", f"work={ship / 'work'}", *tiny_ones, *few])


@pytest.fixture(scope="module")
def folder(recipe, drawings) -> Path:
    """A pipeline's folder with untrained weights that predict something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_dit, "training_drawings", lambda recipe: drawings[:30])
        patch.setattr(train_dit, "load_rgba", lambda drawings, size: torch.rand(len(drawings), 4, size, size))
        module = build_recipe(recipe)
    for weight in module.average.module.parameters():
        if not weight.any():  # of adaLN-Zero, which hears neither text nor time
            nn.init.normal_(weight, std=0.2)
    export(recipe, module)
    return Path(recipe.ship) / "emoji_dit"


@pytest.fixture(scope="module")
def pipeline(folder) -> StableDiffusion3Pipeline:
    loaded = StableDiffusion3Pipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def sample(pipeline: StableDiffusion3Pipeline, captions: list[str], seeds: list[int]) -> torch.Tensor:
    return pipeline(
        captions, num_inference_steps=3, max_sequence_length=LENGTH, generator=generators(seeds), output_type="pt"
    ).images


def test_each_word_is_one_token_of_the_t5_and_no_caption_is_cut():
    clip, t5 = build_tokenizer(LENGTH), build_t5_tokenizer()
    for text in all_captions():
        ids = t5(text).input_ids
        assert len(ids) == len(text.split()) + 1 <= LENGTH and t5.unk_token_id not in ids, text
        assert len(clip(text).input_ids) <= LENGTH


def test_the_clips_say_what_the_shipped_text_encoder_says_in_states_of_unit_size():
    folder = shipped("emoji") / "text_encoder"
    tokens = build_tokenizer()(list(PEOPLE), padding=True, return_tensors="pt").input_ids
    original = CLIPTextModel.from_pretrained(folder, dtype=torch.float32)(tokens, output_hidden_states=True)
    whole, cut = build_clip(folder, 3), build_clip(folder, 1)
    assert torch.allclose(whole(tokens).text_embeds, original.pooler_output, atol=0.02)  # float16
    for encoder, state in ((whole, original.hidden_states[-2]), (cut, original.hidden_states[0])):
        assert float(states(encoder).std()) == pytest.approx(1, abs=0.01)
        ours = encoder(tokens, output_hidden_states=True).hidden_states[-2].detach()
        assert float(torch.cosine_similarity(ours.flatten(), state.flatten(), dim=0)) > 0.9999


def test_training_starts_from_blocks_that_do_nothing_and_text_of_unit_variance():
    module = tiny(features=(5 + 3 * torch.randn(400, 5, JOINT), torch.randn(400, JOINT)))
    tokens, pooled = module.features
    transformer, x = module.transformer, torch.randn(2, 4, 16, 16)
    text = transformer.context_embedder(tokens)
    assert abs(float(text.mean())) < 0.05
    assert float(text.std()) == pytest.approx(np.sqrt(2 * JOINT / (JOINT + 32)), abs=0.1)  # Xavier's, of unit variance
    hidden = transformer.pos_embed(x)
    block = transformer.transformer_blocks[0]
    _, after = block(hidden_states=hidden, encoder_hidden_states=text[:2], temb=torch.randn(2, 32))
    assert torch.equal(after, hidden)
    assert not transformer(x, tokens[:2], pooled[:2], timestep=torch.tensor([10.0, 900.0])).sample.any()


class Knowing(nn.Module):
    """The true velocity where each image is the same constant."""

    def __init__(self, constant: float):
        super().__init__()
        self.constant, self.timesteps = constant, []

    def forward(self, x_t, tokens, pooled, timestep):
        self.timesteps += timestep.tolist()
        return Transformer2DModelOutput(sample=self.velocity(x_t, timestep))

    def velocity(self, x_t, timestep):
        return (x_t - self.constant) / (timestep / 1000).view(-1, 1, 1, 1)


@pytest.mark.parametrize(("shift", "median"), [(1.0, 500), (3.0, 750)])
def test_the_velocity_that_is_learned_is_the_one_that_the_scheduler_follows_to_the_image(shift, median):
    module = tiny(latents=torch.full((2, 1, 4, 16, 16), 0.7), batch_size=400, shift=shift)
    module.transformer, module.log = Knowing(0.7), lambda *args, **options: None
    assert float(module.training_step(None, 0)) < 1e-6
    assert np.median(module.transformer.timesteps) == pytest.approx(median, abs=40)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(5)
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        x = scheduler.step(module.transformer.velocity(x, t), t, x).prev_sample
    assert torch.allclose(x, torch.full_like(x, 0.7), atol=1e-4)


def test_a_tenth_of_the_captions_is_empty_and_the_others_go_with_their_drawing():
    latents = torch.arange(2.0).view(2, 1, 1, 1, 1).expand(2, 1, 4, 16, 16)
    rows, x_0 = tiny(batch_size=2000, latents=latents).draw(np.random.default_rng(0))
    assert rows.count(0) / 2000 == pytest.approx(0.1, abs=0.03)
    assert all(row in (0, 1 + int(x[0, 0, 0])) for row, x in zip(rows, x_0, strict=True))


@pytest.mark.usefixtures("_often")
def test_training_resumes_to_the_weights_of_an_unbroken_one(tmp_path):
    whole = run(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="stopped"):
        run(tmp_path / "broken", 3, stop)
    assert not (tmp_path / "broken" / "done.ckpt").exists()
    resumed = run(tmp_path / "broken")
    assert resumed.begun == 3 and resumed.global_step == 4
    assert all(torch.equal(weight, resumed.state_dict()[name]) for name, weight in whole.state_dict().items())
    learned, average = whole.transformer.proj_out.weight, whole.average.module.proj_out.weight
    assert learned.any() and average.any() and not torch.equal(learned, average)


@pytest.mark.usefixtures("_often")
def test_training_goes_on_by_the_recipe_that_it_was_begun_with_alone(tmp_path):
    with pytest.raises(RuntimeError, match="stopped"):
        run(tmp_path, 3, stop, ["dit.shift=2.0"])
    with pytest.raises(SystemExit, match=r"`dit.shift` must be 2.0, as .*last.ckpt was trained, got 1.0: delete"):
        run(tmp_path)
    assert run(tmp_path, overrides=["dit.shift=2.0", "ddpm.steps=1", "work=elsewhere"]).begun == 3
    old = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del old["hyper_parameters"]
    torch.save(old, tmp_path / "last.ckpt")
    with pytest.raises(SystemExit, match="does not say by which recipe it was trained"):
        run(tmp_path, overrides=["dit.shift=2.0"])


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.usefixtures("_often")
def test_a_killed_training_resumes_to_the_weights_of_an_unbroken_one(tmp_path):
    code = f"from pathlib import Path; from tests.experiments.test_emoji_dit import run; run(Path({str(tmp_path / 'killed')!r}), 3)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert torch.load(tmp_path / "killed" / "last.ckpt", weights_only=True)["global_step"] in (2, 3)
    resumed, whole = run(tmp_path / "killed"), run(tmp_path / "whole")
    assert all(torch.equal(weight, whole.state_dict()[name]) for name, weight in resumed.state_dict().items())


def test_latents_are_encoded_once_and_again_when_the_recipe_changes(recipe, folder, drawings, monkeypatch):
    encoded = []
    monkeypatch.setattr(train_dit, "training_drawings", lambda recipe: drawings)
    monkeypatch.setattr(train_dit, "load_rgba", lambda drawings, size: torch.rand(len(drawings), 4, size, size))
    monkeypatch.setattr(
        train_dit, "encode_views", lambda vae, rgba, views, seed: encoded.append(views) or torch.ones(1)
    )
    vae = build_pipeline(recipe, train_dit.build_transformer(2, 1)).vae
    assert stored_latents(recipe, vae).shape == (30, 1, 4, 16, 16) and not encoded
    other = recipe.copy()
    other.dit.views = 2
    assert stored_latents(other, vae).shape == (1,) and encoded == [2]


def test_the_shipped_folder_loads_with_no_argument_in_float32_and_draws_a_batch(folder, pipeline):
    parts = ("text_encoder", "text_encoder_2", "text_encoder_3", "transformer", "vae")
    assert {getattr(pipeline, name).dtype for name in parts} == {torch.float32}
    assert T5EncoderModel.from_pretrained(folder / "text_encoder_3").dtype == torch.float32
    assert pipeline.vae.config.shift_factor == 0.0
    assert (
        pipeline.vae.config.scaling_factor
        == json.loads((shipped("emoji") / "vae" / "config.json").read_text())["scaling_factor"]
    )
    images = sample(pipeline, ["an emoji of a man", "an emoji of a woman"], [0, 0])
    assert images.shape == (2, 3, 64, 64) and not torch.equal(images[0], images[1])
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_an_image_is_the_same_in_any_batch(pipeline):
    captions = [*PEOPLE, "an emoji of a doctor"]
    together, alone = sample(pipeline, captions, [3, 4, 5]), sample(pipeline, captions[2:], [5])
    assert torch.allclose(together[2], alone[0], atol=1e-4)


def test_measuring_writes_the_numbers_the_sheet_and_the_card(recipe, folder, drawings, monkeypatch):
    latents = torch.randn(len(drawings), 2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(measure_dit, "training_drawings", lambda recipe: drawings)
    monkeypatch.setattr(measure_dit, "stored_latents", lambda recipe, vae: latents)
    monkeypatch.setattr(measure, "NEUTRAL", [Facts("person"), Facts("occupation", role="doctor")])
    monkeypatch.setattr(measure, "EXPLICIT_ROLES", ("",))
    measure_dit.main(recipe)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["explicit"]["images"] == 10 and metrics["neutral"]["an emoji of a doctor"]["card"] == 0.97
    assert metrics["settings"]["steps"] == 1 and metrics["settings"]["max_sequence_length"] == LENGTH
    assert set(metrics["summary"]) == {"occupation_shown", "share_learned", "share_judged_in_training"}
    card = (folder / "README.md").read_text()
    for words in (
        "license: apache-2.0",
        "CC-BY-4.0",
        "make emoji-world",
        "1 Euler steps",
        "| an emoji of a doctor | 0.97 |",
    ):
        assert words in card
    assert Image.open(folder / "samples.png").width < 200  # two columns


def test_what_the_judge_sees_in_training_images_is_the_card_where_it_reads_them_right(recipe, drawings, monkeypatch):
    class Knowing:
        """Tells the gender of a drawing that is a constant."""

        def shares(self, images, attribute):
            men = float((images.mean(dim=(1, 2, 3)) > 0.5).float().mean())
            return {"man": men, "woman": 1 - men}

    men = torch.tensor([float(drawing.get("gender") == "man") for drawing in drawings])
    monkeypatch.setattr(measure_dit, "training_drawings", lambda recipe: drawings)
    monkeypatch.setattr(measure_dit, "stored_latents", lambda *_: men.view(-1, 1, 1, 1, 1).expand(-1, 2, 3, 16, 16))
    vae = SimpleNamespace(
        config=SimpleNamespace(scaling_factor=1.0), decode=lambda z: SimpleNamespace(sample=2 * z - 1)
    )
    wanted = {"an emoji of a doctor": 0.97, "an emoji of a student": 0.5, "an emoji of a teacher": 0.25}
    asked = recipe.copy()
    asked.measure_dit.training_images = 400
    found = measure_dit.judged_in_training(Knowing(), asked, vae, set(wanted))
    assert found == pytest.approx(wanted, abs=0.08)
    assert found == measure_dit.judged_in_training(Knowing(), asked, vae, set(wanted))


def test_the_transformer_is_trained_after_the_models_that_it_reads():
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("RECIPE := ")]
    steps = line.removeprefix("RECIPE := ").split()
    assert steps.index("train_diffusion") < steps.index("train_dit") < steps.index("measure_dit")
