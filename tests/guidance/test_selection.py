"""Selection on real pipelines with narrow weights: chosen images are those of their seeds, and their modes come as wanted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UNet2DModel,
    UniPCMultistepScheduler,
)
from torch import Tensor, nn

from selfdebias.backbones.rows import RowCount, further
from selfdebias.config.compose import compose_groups, load
from selfdebias.config.sources import conf_folder
from selfdebias.config.targets import make
from selfdebias.config.transport import with_values
from selfdebias.guidance import GuidanceState, NoGuidance, Resample, Select, Selection, Semantics
from selfdebias.guidance.choosing import choose, counts_of
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.selecting import Selecting
from selfdebias.guidance.selection import Account, Need, SelectionState, wanting
from selfdebias.modes import ModeBank
from selfdebias.modes.bank import AxesBank
from selfdebias.modes.semantics import AxesSemantics
from selfdebias.storage.images import generators
from tests.architectures import stable_diffusion_xl
from tests.guidance.worlds import circle_state
from tests.tiny import sample, tiny_pipeline

ALWAYS = GuidanceWindow(0.0, 1.0)
STEPS, SEEDS = 6, list(range(24, 32))
SCHEDULERS = (
    DDIMScheduler,
    PNDMScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
)


class Side(nn.Module):
    """Reads an activation as 1 where the mean of a channel lies above a cut, and as -1 below it."""

    dim, branches, encoder = 1, ("uncond", "cond"), ""
    relative_to, reader, blocks = "activation", "flattened", None

    def __init__(self, cut: float, shape: tuple[int, ...]):
        super().__init__()
        self.cut, self.shape, self.places = cut, shape, shape[1:]

    def forward(self, h: Tensor, timestep: Tensor, branch: Tensor) -> Tensor:
        return torch.sign(h[:, 0].mean(dim=(1, 2)) - self.cut)[:, None]


def semantics(cut: float, target: tuple[float, ...] = (0.5, 0.5), shape: tuple[int, ...] = (16, 4, 4)) -> Semantics:
    centroids = torch.tensor([[1.0], [-1.0]]).expand(2, 1, 2, 1).contiguous()
    return Semantics(
        Side(cut, shape),
        ModeBank(("uncond", "cond"), torch.tensor([500.0]), centroids, torch.tensor([3.0, 1.0]), torch.tensor(target)),
    )


def test_other_shares_leave_the_classifier_of_a_guidance_that_steers():
    both = circle_state().semantics
    assert wanting(both, [torch.tensor([0.2, 0.8])], [0]).classifier is both.classifier


def draw(pipeline, seeds=SEEDS, **more):
    return pipeline(
        ["a person"] * len(seeds),
        num_inference_steps=STEPS,
        guidance_scale=3.0,
        generator=generators(seeds),
        output_type="np",
        **more,
    ).images


def cut_of(pipeline, share: float, at: int) -> float:
    """A cut that leaves this share of the seeds below it, after step `at`."""
    seen = []

    def look(block, args, h):
        seen.append(h.chunk(2)[1][:, 0].mean(dim=(1, 2)))

    handle = pipeline.unet.mid_block.register_forward_hook(look)
    draw(pipeline, list(range(200, 264)))
    handle.remove()
    return float(seen[at].quantile(share))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_call_goes_on_with_the_chosen_seeds_as_if_they_were_drawn_alone(scheduler):
    pipeline = tiny_pipeline()
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    draw(pipeline, [0])
    count = pipeline.num_timesteps
    state = GuidanceState(semantics(cut_of(pipeline, 0.3, round(0.5 * count) - 1)))
    with Selecting(pipeline, Select(at=0.5, limit=4.0), ALWAYS, state) as selecting, RowCount(pipeline) as rows:
        images = draw(pipeline)
    counts = state.of(SelectionState).accounts["a person"].seen[0]
    assert counts.sum() == 16 and rows.rows == 2 * (16 * round(0.5 * count) + 8 * (count - round(0.5 * count)))
    assert len(set(selecting.seeds)) == 8 and selecting.edited == [False] * 8
    kept = [seed for seed in selecting.seeds if seed in SEEDS]
    assert 4 <= len(kept) < 8  # some own seeds stay in their places, the others gave theirs to spawned ones
    alone = np.concatenate([draw(pipeline, [seed]) for seed in selecting.seeds])
    assert np.abs(images - alone).max() < 1e-5


def test_half_of_the_images_are_on_each_side_and_what_a_call_lacks_is_made_up_for():
    pipeline = tiny_pipeline()
    cut = cut_of(pipeline, 0.2, 2)
    state = GuidanceState(semantics(cut))
    sides = []
    with Selecting(pipeline, Select(at=0.5, limit=6.0), ALWAYS, state) as selecting:
        for first in range(0, 40, 8):
            draw(pipeline, list(range(first, first + 8)))
            sides.append(selecting.seeds)
    look = Select(at=0.5, limit=1.0)
    plain = GuidanceState(semantics(cut))
    with Selecting(pipeline, look, ALWAYS, plain):
        for seeds in sides:
            draw(pipeline, seeds)
    counts = plain.of(SelectionState).accounts["a person"].seen[0]
    assert counts.sum() == 40 and abs(int(counts[0]) - 20) <= 1


def test_a_target_is_met_and_an_account_goes_on_where_it_was_saved():
    pipeline, select = tiny_pipeline(), Select(at=0.5, limit=4.0, target=[0.25, 0.75])
    state = GuidanceState(semantics(cut_of(pipeline, 0.5, 2)))
    with Selecting(pipeline, select, ALWAYS, state):
        draw(pipeline)
        saved = state.kept_tensors()
        draw(pipeline, list(range(8, 16)))
    again = GuidanceState(state.semantics)
    again.restore("a person", saved)
    with Selecting(pipeline, select, ALWAYS, again) as selecting:
        draw(pipeline, list(range(8, 16)))
        seeds = selecting.seeds
    assert again.kept_tensors().keys() == saved.keys()
    assert all(torch.equal(again.kept_tensors()[name], state.kept_tensors()[name]) for name in saved)
    assert len(set(seeds)) == 8


def test_texts_that_are_no_lists_are_asked_for_by_each_image():
    pipeline = tiny_pipeline()
    state = GuidanceState(semantics(cut_of(pipeline, 0.3, 2)))
    same = {"num_inference_steps": STEPS, "guidance_scale": 3.0, "output_type": "np", "negative_prompt": "a dog"}
    with Selecting(pipeline, Select(at=0.5, limit=3.0), ALWAYS, state) as selecting:
        images = pipeline("a person", num_images_per_prompt=8, generator=generators(SEEDS), **same).images
    alone = [pipeline("a person", generator=generators([seed]), **same).images[0] for seed in selecting.seeds]
    assert len(images) == 8 and np.abs(images - np.stack(alone)).max() < 1e-5


def test_a_list_of_one_negative_prompt_beside_a_text_is_that_of_each_image():
    pipeline = stable_diffusion_xl()
    pipeline.set_progress_bar_config(disable=True)
    same = {"num_inference_steps": STEPS, "output_type": "np", "num_images_per_prompt": 8}
    images = []
    for negative in (["a dog"], "a dog"):
        state = GuidanceState(semantics(-1e9, shape=(32, 2, 2)))  # all seeds are on one side
        with Selecting(pipeline, Select(at=0.5, limit=2.0), ALWAYS, state):
            images.append(pipeline("a person", negative_prompt=negative, generator=generators(SEEDS), **same).images)
    assert len(images[0]) == 8 and np.array_equal(*images)


def test_the_generators_of_a_call_are_advanced_so_that_the_next_one_draws_other_images():
    pipeline = tiny_pipeline()
    vanilla, given = generators(SEEDS), generators(SEEDS)
    same = {"num_inference_steps": STEPS, "guidance_scale": 3.0, "output_type": "np"}
    pipeline(["a person"] * 8, generator=vanilla, **same)
    with Selecting(pipeline, Select(at=0.5, limit=3.0), ALWAYS, GuidanceState(semantics(-1e9))) as selecting:
        first = pipeline(["a person"] * 8, generator=given, **same).images
        assert all(a.get_state().equal(b.get_state()) for a, b in zip(given, vanilla, strict=True))
        assert selecting.seeds == SEEDS  # all seeds are on the side that is asked for
        second = pipeline(["a person"] * 8, generator=given, **same).images
    third = pipeline(["a person"] * 8, generator=vanilla, **same).images
    assert np.abs(second - third).max() < 1e-5 < np.abs(second - first).max(axis=(1, 2, 3)).min()


def test_further_seeds_of_a_generator_that_was_used_are_others():
    fresh, used = (torch.Generator().manual_seed(7) for _ in range(2))
    torch.randn(4, generator=used)
    spawned = [[it.initial_seed() for it in further(own, 3)] for own in (fresh, used)]
    assert len({*spawned[0], *spawned[1]}) == 6
    assert spawned[0] == [it.initial_seed() for it in further(torch.Generator().manual_seed(7), 3)]


def test_two_text_encoders_and_what_goes_with_them_are_left_out_too():
    pipeline = stable_diffusion_xl()
    pipeline.set_progress_bar_config(disable=True)
    seen = []
    handle = pipeline.unet.mid_block.register_forward_hook(
        lambda block, args, h: seen.append(h.chunk(2)[1][:, 0].mean(dim=(1, 2)))
    )
    draw(pipeline, list(range(32)))
    handle.remove()
    state = GuidanceState(semantics(float(seen[2].quantile(0.3)), shape=(32, 2, 2)))
    with Selecting(pipeline, Select(at=0.5, limit=2.0), ALWAYS, state) as selecting, RowCount(pipeline) as rows:
        images = draw(pipeline)
    assert rows.rows == 2 * (16 * 3 + 8 * 3)
    alone = np.concatenate([draw(pipeline, [seed]) for seed in selecting.seeds[:4]])
    assert np.abs(images[:4] - alone).max() < 1e-5


def test_a_users_callback_is_called_and_sees_all_rows_to_the_end():
    pipeline, seen = tiny_pipeline(), []

    def callback(pipe, index, timestep, tensors):
        seen.append((index, tuple(tensors), len(tensors["latents"])))
        return {}

    state = GuidanceState(semantics(cut_of(pipeline, 0.3, 2)))
    decoded = []
    pipeline.vae.decoder.conv_in.register_forward_hook(lambda module, args, x: decoded.append(len(x)))
    with Selecting(pipeline, Select(at=0.5, limit=2.0), ALWAYS, state):
        images = draw(pipeline, callback_on_step_end=callback)
    assert len(images) == 8 and decoded == [8]
    assert [rows for _, _, rows in seen] == [16] * 6 and all(names == ("latents",) for _, names, _ in seen)


@pytest.mark.parametrize("step", [0, 4])
def test_a_call_that_is_interrupted_returns_its_images_and_books_nothing(step):
    pipeline = tiny_pipeline()

    def callback(pipe, index, timestep, tensors):
        pipe._interrupt = index == step
        return {}

    state = GuidanceState(semantics(cut_of(pipeline, 0.3, 2)))
    with Selecting(pipeline, Select(at=0.5, limit=2.0), ALWAYS, state) as selecting:
        images = draw(pipeline, callback_on_step_end=callback)
        assert images.shape == (8, 32, 32, 3) and len(selecting.seeds) == 8
        assert state.of(SelectionState).accounts == {} and (step or selecting.seeds == SEEDS)
        assert draw(pipeline).shape == images.shape
    assert state.of(SelectionState).accounts["a person"].seen[0].sum() == 16


def test_an_interrupted_call_whose_lacking_images_are_steered_afterwards_books_nothing():
    pipeline, calls = tiny_pipeline(), []

    def callback(pipe, index, timestep, tensors):
        calls.append(index)
        if calls == [0, 1, 2, 3]:  # once, after the choice
            pipe._interrupt = True
        return {}

    state = GuidanceState(semantics(-1e9))  # all seeds are on one side
    select = Select(at=0.5, limit=2.0, target=[0.5, 0.5], steer=Noted())
    with Selecting(pipeline, select, ALWAYS, state) as selecting:
        images = draw(pipeline, callback_on_step_end=callback)
        assert len(images) == 8 and sum(selecting.edited) == 4
        assert pipeline.interrupt and state.of(SelectionState).accounts == {}
        draw(pipeline)
        assert not pipeline.interrupt and state.of(SelectionState).accounts["a person"].seen[0].sum() == 16


def test_a_pipeline_without_a_callback_goes_on_with_the_chosen_seeds_too():
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    pipeline = DDIMPipeline(unet.double(), DDIMScheduler())  # rounding of other batch sizes grows in random weights
    pipeline.set_progress_bar_config(disable=True)

    def run(seeds):
        return pipeline(
            batch_size=len(seeds), generator=generators(seeds), num_inference_steps=STEPS, output_type="np"
        ).images

    seen = []
    handle = unet.mid_block.register_forward_hook(lambda block, args, h: seen.append(h[:, 0].mean(dim=(1, 2))))
    run(list(range(64)))
    handle.remove()
    state = GuidanceState(semantics(float(seen[2].quantile(0.3)), shape=(16, 8, 8)))
    with Selecting(pipeline, Select(at=0.5, limit=2.0), ALWAYS, state) as selecting, RowCount(pipeline) as rows:
        images = run(SEEDS)
    assert rows.rows == 16 * 3 + 8 * (STEPS - 3)
    assert np.abs(images - np.concatenate([run([seed]) for seed in selecting.seeds])).max() < 1e-5
    assert 0 < sum(seed not in SEEDS for seed in selecting.seeds) <= 4


class Noted(NoGuidance):
    """Edits nothing, and notes what is asked for."""

    needs_semantics = True
    asked: list[Tensor] = []  # noqa: RUF012  (a copy of the guidance adds to it)

    def edit(self, h: Tensor, step, state: GuidanceState) -> Tensor:
        self.asked.append(state.require_semantics().bank.target)
        return h + 0.01


class Skipping(Noted):
    """Leaves each of its edits out, as one that is not finite."""

    def edit(self, h: Tensor, step, state: GuidanceState) -> Tensor:
        return h if state.skips(torch.full_like(h, torch.nan)) else h + 0.01


def test_edits_that_were_left_out_and_the_time_of_steering_are_counted():
    pipeline = tiny_pipeline()
    state = GuidanceState(semantics(-1e9))  # all seeds are on one side
    select = Select(at=0.5, limit=2.0, target=[0.5, 0.5], steer=Skipping())
    with Selecting(pipeline, select, ALWAYS, state) as selecting:
        draw(pipeline)
    assert sum(selecting.edited) == 4 and state.traces["a person"].skipped == STEPS
    assert state.seconds > 0


def test_what_is_missing_at_the_limit_is_drawn_anew_and_steered_towards_the_missing_side():
    pipeline = tiny_pipeline()
    Noted.asked.clear()
    state = GuidanceState(semantics(-1e9))  # all seeds are on one side
    select = Select(at=0.5, limit=2.0, target=[0.5, 0.5], steer=Noted())
    with Selecting(pipeline, select, ALWAYS, state) as selecting, RowCount(pipeline) as rows:
        images = draw(pipeline)
    assert selecting.edited == [False] * 4 + [True] * 4 and selecting.seeds == SEEDS
    assert {tuple(it.tolist()) for it in Noted.asked} == {(0.0, 1.0)}
    assert rows.rows == 2 * (16 * 3 + 4 * 3 + 4 * STEPS)
    plain = draw(pipeline)
    assert np.abs(images[:4] - plain[:4]).max() < 1e-5 < np.abs(images[4:] - plain[4:]).max()
    assert state.of(SelectionState).accounts["a person"].owed[0].abs().max() == 0


@pytest.mark.parametrize("looks", [False, True])
def test_a_call_of_which_no_seed_is_chosen_steers_all_its_images(looks):
    pipeline = tiny_pipeline()
    Noted.asked.clear()
    state = GuidanceState(semantics(-1e9))  # all seeds are on the side that is not wanted
    select = Select(at=0.5, limit=2.0, target=[0.0, 1.0], steer=Noted())

    def look(images: Tensor) -> np.ndarray:
        return np.ones((len(images), 1), dtype=np.int64)

    with Selecting(pipeline, select, ALWAYS, state, look if looks else None) as selecting, RowCount(pipeline) as rows:
        images = draw(pipeline)
    assert selecting.edited == [True] * 8 and selecting.seeds == SEEDS and len(images) == 8
    assert {tuple(it.tolist()) for it in Noted.asked} == {(0.0, 1.0)}
    assert rows.rows == 2 * (16 * 3 + 8 * STEPS)  # none goes on after half of the steps


def test_in_a_job_finished_images_are_looked_at_and_what_is_lacking_is_steered_until_it_is_there():
    pipeline = tiny_pipeline()
    brightness = np.concatenate([draw(pipeline, [seed]).mean(axis=(1, 2, 3)) for seed in range(64)])
    cut = float(np.quantile(brightness, 0.4))

    def look(images: Tensor) -> np.ndarray:
        return (images.mean(dim=(1, 2, 3)) < cut).long().numpy()[:, None]

    select = Select(at=0.5, limit=4.0, target=[0.5, 0.5], steer=Noted())
    state = GuidanceState(semantics(-1e9))  # the projector says of all seeds that they are on one side
    state.of(SelectionState).account("a person", [2]).seen[0] += torch.tensor([99, 0])  # so the limit is drawn at once
    with Selecting(pipeline, select, ALWAYS, state, look) as selecting, RowCount(pipeline) as rows:
        images = draw(pipeline)
    edited = np.array(selecting.edited)
    assert look(torch.from_numpy(images).movedim(-1, 1)).sum() == 4  # as wanted, though the projector tells nothing
    assert edited.any() and not edited.all()
    drawn = (rows.rows - 2 * (32 * 3 + 4 * (STEPS - 3))) / (2 * STEPS)  # images that were steered
    assert drawn > edited.sum()  # some of them had not come to their side
    assert len(set(selecting.seeds)) == 8


def test_a_scheduler_with_noise_of_the_whole_batch_is_refused():
    pipeline = tiny_pipeline()
    pipeline.scheduler.noise_sampler = None  # as DPMSolverSDEScheduler has it
    with pytest.raises(
        ValueError, match="`pipeline.scheduler` must take the noise of its steps from an image's generator"
    ):
        Selecting(pipeline, Select(at=0.5, limit=2.0), ALWAYS, GuidanceState(semantics(0.0)))


def test_what_a_batch_lacks_where_all_seeds_are_drawn_is_owed_once():
    pipeline, state = tiny_pipeline(), GuidanceState(semantics(-1e9))

    def look(images: Tensor) -> np.ndarray:
        return np.zeros((len(images), 1), dtype=np.int64)  # no image comes to the other side

    select = Select(at=0.5, limit=2.0, target=[0.5, 0.5], steer=Noted())
    with Selecting(pipeline, select, ALWAYS, state, look):
        draw(pipeline)
        account = state.of(SelectionState).accounts["a person"]
        assert account.owed[0].tolist() == [-4, 4] and not account.wrong[0].any()
        Noted.asked.clear()
        draw(pipeline)
    assert Noted.asked[0].tolist() == [0, 1]  # all eight on the other side: half of them, and the four of before


@pytest.mark.parametrize("steer", [None, Noted()])
def test_resampling_draws_until_the_finished_images_are_as_wanted(steer):
    pipeline = tiny_pipeline()
    brightness = np.concatenate([draw(pipeline, [seed]).mean(axis=(1, 2, 3)) for seed in range(64)])
    cut = float(np.quantile(brightness, 0.3))

    def look(images: Tensor) -> np.ndarray:
        return (images.mean(dim=(1, 2, 3)) < cut).long().numpy()[:, None]

    state = GuidanceState(semantics(0.0))
    with Selecting(pipeline, Resample(limit=8.0, steer=steer), ALWAYS, state, look) as selecting:
        images = draw(pipeline)
    below = look(torch.from_numpy(images).movedim(-1, 1))[:, 0]
    assert below.sum() == 4 and selecting.edited == [steer is not None] * 8
    own = [i for i, seed in enumerate(selecting.seeds) if seed == SEEDS[i]]
    if steer is None:
        assert np.abs(images[own] - draw(pipeline)[own]).max() < 1e-5 and len(own) >= 4


def test_two_prompts_of_a_call_are_balanced_each_on_its_own():
    pipeline = tiny_pipeline()
    state = GuidanceState(semantics(cut_of(pipeline, 0.3, 2)))
    with Selecting(pipeline, Select(at=0.5, limit=3.0), ALWAYS, state) as selecting:
        images = pipeline(
            ["a person", "a dog"] * 4,
            num_inference_steps=STEPS,
            generator=generators(SEEDS),
            output_type="np",
            guidance_scale=3.0,
        ).images
    assert set(state.of(SelectionState).accounts) == {"a person", "a dog"}
    for i in (0, 1, 6, 7):
        alone = pipeline(
            ["a person", "a dog"][i % 2],
            num_inference_steps=STEPS,
            generator=generators([selecting.seeds[i]]),
            output_type="np",
            guidance_scale=3.0,
        ).images
        assert np.abs(images[i] - alone[0]).max() < 1e-5


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"generator": None}, "`generator` must be a list of 8, .* got none"),
        ({"generator": torch.Generator()}, "`generator` must be a list of 8, .* got one for all"),
        (
            {"generator": generators(SEEDS)[:1] * 8},
            "`generator` must list a different one for each image .* got one twice",
        ),
        ({"latents": torch.zeros(8, 4, 8, 8)}, "`latents` must be left out"),
    ],
)
def test_what_leaves_no_further_seeds_is_refused(more, words):
    pipeline = tiny_pipeline()
    with (
        Selecting(pipeline, Select(at=0.5, limit=2.0), ALWAYS, GuidanceState(semantics(0.0))),
        pytest.raises(ValueError, match=words),
    ):
        pipeline(["a person"] * 8, **{"generator": generators(SEEDS), **more})
    assert torch.equal(sample(pipeline, [1]), sample(tiny_pipeline(), [1]))  # and the pipeline is what it was


def _made(option: str):
    values = with_values(compose_groups([f"guidance={option}"])["guidance"], transformer=False, axes=False)
    return make({"guidance": {name: it for name, it in values.items() if name != "of"}}, "guidance")


OPTIONS = sorted(path.stem for path in (conf_folder() / "guidance").glob("*.yaml"))
SELECTIONS = [it for it in OPTIONS if isinstance(_made(it), Selection)]


@pytest.mark.parametrize("option", SELECTIONS)
def test_every_selection_returns_as_many_images_of_different_seeds_and_keeps_to_its_limit(option):
    pipeline, selection = tiny_pipeline(), _made(option)
    state = GuidanceState(semantics(cut_of(pipeline, 0.3, 1)))

    def look(images: Tensor) -> np.ndarray:
        return (images.mean(dim=(1, 2, 3)) < 0.5).long().numpy()[:, None]

    with Selecting(pipeline, selection, ALWAYS, state, look) as selecting, RowCount(pipeline) as rows:
        images = draw(pipeline)
    assert images.shape == (8, 32, 32, 3) and len(selecting.edited) == 8
    assert len(set(selecting.seeds)) == 8, "each delivered image must have a seed of its own"
    assert rows.rows <= 2 * STEPS * 8 * (selection.limit + 1), (
        "at most `limit` seeds may be drawn for each image, and one steered"
    )
    assert state.kept_tensors(), "what is owed must be kept, so that a resumed run goes on from it"
    assert torch.equal(sample(pipeline, [1]), sample(tiny_pipeline(), [1]))


@pytest.mark.parametrize("name", ["at", "limit"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "much"])
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"`guidance.{name}` must be"):
        Select(**{"at": 0.3, "limit": 2.0, name: value})


def test_the_sides_of_two_axes_come_as_wanted_and_depend_on_each_other_no_more_than_before():
    generator = np.random.default_rng(0)
    cells = np.stack([generator.random(400) < 0.25, generator.random(400) < 0.4], axis=1).astype(np.int64)
    chosen = choose(cells, [torch.tensor([40, 40]), torch.tensor([40, 40])], 80)
    assert [it.tolist() for it in counts_of(cells[chosen], [2, 2])] == [[40, 40], [40, 40]]
    joint = np.bincount(cells[chosen] @ [1, 2], minlength=4)
    assert np.abs(joint - 20).max() <= 3
    assert len(set(chosen)) == 80


def test_what_cannot_be_met_comes_as_near_as_it_can():
    cells = np.array([[0]] * 9 + [[1]])
    assert choose(cells, [torch.tensor([4, 4])], 8) == [0, 1, 2, 3, 4, 5, 6, 9]
    assert choose(cells, [torch.tensor([4, 4])], 8, within=True) == [0, 1, 2, 3, 9]
    assert choose(cells, [torch.tensor([0, 0])], 0, within=True) == []


def test_more_seeds_are_drawn_for_a_rarer_side_up_to_the_limit():
    def need(seen: list[int]) -> Need:
        none = torch.zeros(2, dtype=torch.float64)
        return Need([torch.tensor([0.5, 0.5])], Account([none], [torch.tensor(seen)], [none.clone()]), 8)

    assert need([0, 0]).expected(4.0) == 16 and need([0, 0]).expected(1.5) == 12
    assert need([99, 99]).expected(4.0) == 8
    assert need([74, 24]).expected(4.0) == 16
    assert need([98, 0]).expected(4.0) == 32


def test_of_axes_those_that_are_asked_for_are_balanced():
    pipeline = tiny_pipeline()
    one = semantics(cut_of(pipeline, 0.3, 2))
    both = AxesSemantics.__new__(AxesSemantics)
    both.axes, both.projector, both.bank, both.means = (
        (semantics(0.0), one),
        one.projector,
        AxesBank((one.bank, one.bank)),
        None,
    )
    state = GuidanceState(both)
    with Selecting(pipeline, Select(at=0.5, limit=4.0, axes=[1]), ALWAYS, state) as selecting:
        draw(pipeline)
    (seen,) = state.of(SelectionState).accounts["a person"].seen
    assert seen.sum() == 16 and len(set(selecting.seeds)) == 8


@pytest.mark.slow
def test_64_images_of_the_shipped_model_are_those_of_their_seeds_drawn_alone():
    backbone = make(load([]), "model")
    pipeline = backbone.load().to(torch.float64)  # in float32 batches of other sizes round apart, up to 2e-5
    text, seeds, seen = "an emoji of a person", list(range(5000, 5064)), []
    handle = pipeline.unet.mid_block.register_forward_hook(
        lambda block, args, h: seen.append(h.chunk(2)[1][:, 0].mean(dim=(1, 2)))
    )
    backbone.generate(pipeline, [text] * 64, seeds)
    handle.remove()
    one = semantics(float(seen[6].quantile(0.3)), shape=(128, 4, 4))
    with Selecting(pipeline, Select(at=0.28, limit=4.0), ALWAYS, GuidanceState(one)) as selecting:
        images = backbone.generate(pipeline, [text] * 64, seeds)
    assert 5 < sum(seed not in seeds for seed in selecting.seeds) < 40
    alone = torch.cat([backbone.generate(pipeline, [text], [seed]) for seed in selecting.seeds])
    assert (images - alone).abs().max() < 1e-5


def test_what_the_projector_tells_wrongly_is_asked_for_beside_what_is_owed():
    """A fifth of those taken for the rarer side come out on the other: after a call nothing more is owed, but for rounding."""
    state, ends = SelectionState(), []
    for _ in range(6):
        need = Need([torch.tensor([0.5, 0.5])], state.account("a", [2]), 40)
        taken = need.counts[0]
        rarer = round(0.8 * int(taken[1]))
        got = torch.tensor([40 - rarer, rarer])
        need.see(np.array([[0]] * 30 + [[1]] * 10))
        need.book([got], [taken])
        ends.append(rarer)
    assert ends[0] == 16 and abs(sum(ends) - 120) <= 2
    again = SelectionState()
    again.restore("a", state.tensors("a"))
    assert again.accounts["a"].images == 240 and torch.equal(again.accounts["a"].wrong[0], state.accounts["a"].wrong[0])


def test_a_context_says_what_its_last_call_chose():
    pipeline = tiny_pipeline()
    with Selecting(
        pipeline, Select(at=0.5, limit=4.0), ALWAYS, GuidanceState(semantics(cut_of(pipeline, 0.3, 2)))
    ) as it:
        draw(pipeline)
    spawned = sum(seed not in SEEDS for seed in it.seeds)
    assert it.spawned == [seed not in SEEDS for seed in it.seeds]
    assert repr(it) == f"Selecting(Select: 8 images, {spawned} of further seeds, 0 steered in the last call)"


def test_with_a_negative_prompt_the_account_is_that_of_the_prompt_so_that_a_resumed_run_finds_it():
    pipeline = tiny_pipeline()
    state = GuidanceState(semantics(cut_of(pipeline, 0.3, 2)))
    with Selecting(pipeline, Select(at=0.5, limit=2.0), ALWAYS, state):
        draw(pipeline, negative_prompt=["a dog"] * 8)
        assert [*state.of(SelectionState).accounts] == ["a person"]
        draw(pipeline)
    assert [*state.of(SelectionState).accounts] == ["a person", "a person {}"]
