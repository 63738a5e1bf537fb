"""`SelfDebias`: fitted on a pipeline, saved, loaded, attached."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0, SD3IPAdapterJointAttnProcessor2_0
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from selfdebias import SelfDebias
from selfdebias.backbones.denoisers import UNet, find_denoiser
from selfdebias.backbones.devices import check_device
from selfdebias.backbones.layouts import at_scale
from selfdebias.guidance import Resample, SelfDebiasGuidance, Semantics, TransportGuidance
from selfdebias.guidance.schedules import GuidanceWindow
from selfdebias.guidance.self_debias import AssignmentMemory
from selfdebias.jobs.fit_keys import argument_key, encoder_key, pipeline_key, weights_of
from selfdebias.jobs.fitted_in_words import found_in_words
from selfdebias.jobs.fitting import _place_of, _stage
from selfdebias.jobs.parts import default, projector_for, trainer_on
from selfdebias.jobs.stages.fitted_files import save_semantics
from selfdebias.modes import SpectralModes
from tests.jobs.stages.world import PixelEncoder
from tests.tiny import sample, tiny_pipeline
from tests.transformers import MAKERS

FIT = {
    "encoder": PixelEncoder(), "n_images": 10, "batch_size": 4, "timesteps": 2, "call": {"num_inference_steps": 4},
    "projector": {"steps": 100},
}  # fmt: skip


def _forget(attachment) -> None:
    del attachment
    gc.collect()


def fit(pipeline, **options) -> SelfDebias:
    modes = SpectralModes(k_min=2, k_max=3, n_neighbors=(3,))
    return SelfDebias.fit(pipeline, "a person", **{**FIT, "clustering": modes, **options})


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def debiaser(pipeline):
    return fit(pipeline)


def test_fit_attach_and_the_way_back(pipeline, debiaser):
    before = sample(pipeline, list(range(8)))
    with debiaser.attach(pipeline) as attached:
        inside = sample(pipeline, list(range(8)))
    assert not torch.equal(before, inside)
    assert torch.equal(before, sample(pipeline, list(range(8))))
    assert attached.state.trace.index == [0, 1, 2]  # from the first step on
    (told,) = attached.shares.values()
    assert torch.allclose(told, attached.state.trace.p_hat[-1]) and told.sum() == pytest.approx(1)
    with debiaser.attach(pipeline, strength=0.0):
        assert torch.equal(before, sample(pipeline, list(range(8))))


def test_another_guidance_is_attached_by_its_name_or_as_an_object(pipeline, debiaser):
    before, rule, images = sample(pipeline, [1, 2, 3, 4]), default("guidance", "self_debias"), []
    for guidance in ("self_debias", rule):
        with debiaser.attach(pipeline, guidance=guidance, strength=5.0) as attached:
            images.append(sample(pipeline, [1, 2, 3, 4]))
        assert type(attached.guidance) is SelfDebiasGuidance and attached.guidance.strength == 5.0
    assert torch.equal(*images) and rule.strength == 12.0
    assert type(debiaser.attach(pipeline).guidance) is TransportGuidance
    assert torch.equal(before, sample(pipeline, [1, 2, 3, 4]))


@pytest.mark.parametrize("name", ["cads", "dc", "mean_transport", "particle"])
def test_what_it_is_compared_with_is_attached_by_its_name(pipeline, debiaser, name):
    seeds = list(range(8))
    before = sample(pipeline, seeds)
    with debiaser.attach(pipeline, guidance=name) as attached:
        assert not torch.equal(before, sample(pipeline, seeds))
    with debiaser.attach(pipeline, guidance=name, strength=0.0):
        assert torch.equal(before, sample(pipeline, seeds))
    assert attached.state.trace.index and torch.equal(before, sample(pipeline, seeds))
    with pytest.raises(ValueError, match="`guidance` must not be classifier for modes without a classifier"):
        debiaser.attach(pipeline, guidance="classifier")


def test_seeds_are_chosen_by_the_name_of_a_selection(pipeline, debiaser):
    with debiaser.attach(pipeline, guidance="select", at=0.5, limit=2.0) as attached:
        images = sample(pipeline, list(range(8)))
    assert images.shape == (8, 32, 32, 3) and len(set(attached.seeds)) == 8 and attached.edited == [False] * 8
    own = [i for i, seed in enumerate(attached.seeds) if seed == i]
    assert torch.allclose(images[own], sample(pipeline, list(range(8)))[own], atol=1e-5)
    with pytest.raises(
        ValueError, match="must choose by activations here, got Resample, which looks at finished images"
    ):
        debiaser.attach(pipeline, guidance=Resample(limit=2.0))
    with pytest.raises(ValueError, match="`strength` is no option of Select"):
        debiaser.attach(pipeline, guidance="select", strength=3.0)


@pytest.mark.parametrize("name", ["selfdebias", "random", "resample"])
def test_a_guidance_that_cannot_be_attached_by_name_is_refused(pipeline, debiaser, name):
    with pytest.raises(ValueError, match=f"`guidance` must be one of .*transport, or an object, got '{name}'"):
        debiaser.attach(pipeline, guidance=name)


def test_saved_and_loaded_it_guides_the_same(pipeline, debiaser, tmp_path):
    debiaser.save_pretrained(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "README.md", "bank.safetensors", "debiaser.json", "means.safetensors", "projector.safetensors",
    ]  # fmt: skip
    again = SelfDebias.from_pretrained(tmp_path / "saved")
    images = []
    for it in (debiaser, again):
        with it.attach(pipeline):
            images.append(sample(pipeline, [1, 2, 3]))
    assert torch.equal(*images)
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "| prompts | a person |" in card and f"| modes | {debiaser.n_modes}, of " in card
    assert "| arguments of each call | num_inference_steps 4 |" in card
    assert "images = pipe(['a person'] * 16, num_inference_steps=4).images" in card
    assert "which was told" not in card  # of an encoder that does not say it
    assert f"| guidance: strength | {debiaser.guidance.strength} |" in card


def test_a_target_moves_the_projected_shares_towards_it(pipeline, debiaser):
    """The memory holds the shares after the edit."""
    shares = {}
    guided = SelfDebias(debiaser.semantics, default("guidance", "self_debias"), debiaser.schedule, debiaser.facts)
    for first in (0.02, 0.98):
        rest = [(1 - first) / (debiaser.n_modes - 1)] * (debiaser.n_modes - 1)
        with guided.attach(pipeline, target=[first, *rest]) as attached:
            attached.guidance.decay = 1.0
            sample(pipeline, list(range(8)))
        state = attached.state
        first_mode, *_, n = state.of(AssignmentMemory).recall(state.group, 2, debiaser.n_modes).tolist()
        shares[first] = first_mode / n
    assert shares[0.02] < shares[0.98] - 0.05


@pytest.mark.parametrize("target", [[1.0], [0.5, 0.6], [-0.5, 1.5], [float("nan"), 1.0], 0.5, ["a", "b"], "unifrom"])
def test_a_target_that_is_no_distribution_is_refused(pipeline, debiaser, target):
    with pytest.raises(
        ValueError, match="`target` must be a list of at least two shares that sum to 1, uniform or depth, got"
    ):
        debiaser.attach(pipeline, target=target)


def test_a_target_for_another_number_of_modes_is_refused(pipeline, debiaser):
    n = debiaser.n_modes
    with pytest.raises(ValueError, match=f"`target` must be {n} shares, one for each mode that was found"):
        debiaser.attach(pipeline, target=[1 / (n + 1)] * (n + 1))


def test_fit_goes_on_in_a_folder_and_takes_no_other_models_images(tmp_path, capsys):
    first = fit(tiny_pipeline(0), folder=tmp_path)
    sheets = capsys.readouterr().out.splitlines()[-1].removeprefix("images of each mode: ")
    assert len(list(Path("/").glob(sheets.removeprefix("/")))) == first.n_modes
    again = fit(tiny_pipeline(0), folder=tmp_path)
    assert len(list((tmp_path / "stages" / "collect").glob("*/stage.json"))) == 1
    assert torch.equal(first.semantics.bank.centroids, again.semantics.bank.centroids)
    fit(tiny_pipeline(5), folder=tmp_path)
    assert len(list((tmp_path / "stages" / "collect").glob("*/stage.json"))) == 2


def test_what_the_images_of_a_fit_depend_on_is_in_their_key():
    pipeline, other = tiny_pipeline(), tiny_pipeline()
    same, before = pipeline_key(other), pipeline_key(pipeline)
    assert before == same
    other.scheduler = DPMSolverMultistepScheduler.from_config(other.scheduler.config)
    assert pipeline_key(other)["scheduler"] != before["scheduler"]
    weights = weights_of(other.vae)
    other.vae.decoder.conv_out.bias.data += 1
    assert weights_of(other.vae) != weights and pipeline_key(other)["parts"]["vae"] != before["parts"]["vae"]
    first, second = (lambda x: x.mean(dim=(2, 3)), lambda x: x.amax(dim=(2, 3)))
    assert encoder_key(first) == encoder_key(lambda x: x.mean(dim=(2, 3))) != encoder_key(second)
    linear, another = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert encoder_key(linear) == encoder_key(linear) != encoder_key(another)

    def with_model(model):
        return lambda x: model(x)

    assert encoder_key(with_model(linear)) == encoder_key(with_model(linear)) != encoder_key(with_model(another))
    assert encoder_key(linear.forward) != encoder_key(another.forward)
    assert encoder_key(torch.no_grad()(with_model(linear))) == encoder_key(with_model(linear))
    assert encoder_key(torch.no_grad()(with_model(linear))) != encoder_key(torch.no_grad()(with_model(another)))
    asked = trainer_on(pipeline).keywords
    assert (asked["accelerator"], asked["devices"]) == ("cpu", 1) and _place_of(first) is None
    assert _place_of(other.vae) == torch.device("cpu")
    pipeline.unet.to("meta")
    with pytest.raises(ValueError, match=r"`pipe` must hold its weights while it is fitted, got .* elsewhere"):
        weights_of(pipeline.unet)


def test_a_pipeline_that_is_refused_is_not_said_to_be_attached_without_with(debiaser, recwarn):
    unet = UNet2DModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    with pytest.raises(ValueError, match="which draws without a prompt, where the fitted one draws with one"):
        debiaser.attach(DDPMPipeline(unet, DDPMScheduler()))
    gc.collect()
    assert not [it for it in recwarn if "attached without" in str(it.message)]


def test_prompts_that_are_the_modes_are_said_where_a_fit_is_told():
    words = [[{"caption": "a doctor"}], [{"caption": "a nurse"}]]
    modes = {"k": 2, "sizes": [6, 6], "words": words, "by_prompt": {"a doctor": [1.0, 0.0], "a nurse": [0.05, 0.95]}}
    facts = {"modes": modes, "prompts": ["a doctor", "a nurse"], "guidance": {"_target_": "a.Transport"}}
    said = " ".join(found_in_words(facts))
    assert "caution: prompts differ nearly wholly by the modes" in said and "fitting_prompts" in said
    modes["by_prompt"] = {"a doctor": [0.6, 0.4], "a portrait of a doctor": [0.4, 0.6]}
    assert "caution" not in " ".join(found_in_words(facts))


def test_a_fit_on_two_prompts_notes_the_modes_of_each(pipeline):
    fitted = SelfDebias.fit(pipeline, ["a person", "a cook"], **FIT, clustering=SpectralModes(k=2, n_neighbors=(3,)))
    found = fitted.facts["modes"]["by_prompt"]
    assert found.keys() == {"a person", "a cook"}
    sizes = sum(torch.tensor(it) * 5 for it in found.values())  # five images of each
    assert torch.allclose(sizes, torch.tensor(fitted.facts["modes"]["sizes"]).float())


def test_free_u_and_the_scale_of_an_ip_adapter_are_in_the_key_of_a_denoiser():
    unet = tiny_pipeline().unet
    before = weights_of(unet)
    unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    freed = weights_of(unet)
    unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.5)
    assert len({before, freed, weights_of(unet)}) == 3
    unet.disable_freeu()
    assert weights_of(unet) == before
    processors = [
        (IPAdapterAttnProcessor2_0(8, 8, (4,), scale), SD3IPAdapterJointAttnProcessor2_0(8, 8, 4, 16, scale))
        for scale in (0.5, 1.0)
    ]
    for one, other in zip(*processors, strict=True):
        other.load_state_dict(one.state_dict())
        assert weights_of(torch.nn.ModuleDict({"processor": one})) != weights_of(
            torch.nn.ModuleDict({"processor": other})
        )


def test_a_module_whose_forward_was_changed_is_another_encoder():
    class Mean(torch.nn.Linear):
        @torch.no_grad()
        def forward(self, x):
            return super().forward(x.mean(dim=1))

    class First(torch.nn.Linear):
        @torch.no_grad()
        def forward(self, x):
            return super().forward(x[:, 0])

    mean, first = Mean(2, 2), First(2, 2)
    first.load_state_dict(mean.state_dict())
    assert weights_of(mean) == weights_of(first) and encoder_key(mean) != encoder_key(first)


def test_images_and_tensors_of_a_call_go_by_their_contents():
    large = torch.zeros(3, 64, 64)
    other = large.clone()
    other[1, 32, 32] = 1.0
    assert repr(large) == repr(other) and argument_key(large) != argument_key(other)
    assert argument_key(large) == argument_key(large.clone()) != argument_key(large.half())
    assert argument_key(np.zeros((2, 3))) != argument_key(np.zeros((3, 2)))
    turned = np.arange(6).reshape(2, 3)[:, ::-1]
    assert (
        argument_key(turned) == argument_key(turned.copy())
        and argument_key(np.array([None])) == "array([None], dtype=object)"
    )
    red, same, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "red", "blue"))
    assert argument_key(red) == argument_key(same) != argument_key(blue)
    assert argument_key([red, blue]) == argument_key([same, blue]) != argument_key([blue, red])
    assert argument_key(3.0) == 3.0 and argument_key([1, 2]) == "[1, 2]"


def test_a_stage_of_a_fit_is_another_one_where_one_that_it_reads_is():
    collected, other = (_stage("collect", print, 1, {"seed": seed}) for seed in (0, 1))
    found = [_stage("project", print, 1, {}, **given) for given in ({"collected": collected}, {"collected": other})]
    several = [_stage("project", print, 1, {}, fitted={"a person": it}) for it in (collected, other)]
    assert len({it.key for it in (*found, *several)}) == 4


def test_a_folder_keeps_nothing_of_a_debiaser_that_was_saved_there_before(debiaser, tmp_path):
    (tmp_path / "classifier.safetensors").write_bytes(b"of another model")
    bare = Semantics(debiaser.semantics.projector, debiaser.semantics.bank)
    save_semantics(debiaser.semantics, tmp_path)
    assert (tmp_path / "means.safetensors").exists() and not (tmp_path / "classifier.safetensors").exists()
    save_semantics(bare, tmp_path)
    assert not (tmp_path / "means.safetensors").exists()


def test_options_of_the_projector_go_by_their_names():
    with pytest.raises(ValueError, match="`projector` must be options by name, such as {'steps': 1000}, got 'pooled'"):
        fit(tiny_pipeline(), projector="pooled")


def test_a_vocabulary_goes_by_its_name_and_needs_an_encoder_that_reads():
    with pytest.raises(
        ValueError, match="`vocabulary` must be one of emoji, general, none, or an object, got 'genral': did"
    ):
        fit(tiny_pipeline(), vocabulary="genral")
    with pytest.raises(ValueError, match=r"`vocabulary` must be a name or a Vocabulary, got \['man'\]"):
        fit(tiny_pipeline(), vocabulary=["man"])
    with pytest.raises(ValueError, match="no text tower, got an encoder PixelEncoder"):
        fit(tiny_pipeline(), vocabulary="general")


def test_any_function_may_be_the_encoder():
    def mean_colours(images):
        return torch.nn.functional.normalize(images.mean(dim=(2, 3)) - 0.4, dim=1)

    pipeline = tiny_pipeline()
    shown = dict(pipeline._progress_bar_config)
    fitted = fit(pipeline, encoder=mean_colours)
    assert "mean_colours" in fitted.facts["encoder"] and repr(fitted).startswith(f"SelfDebias({fitted.n_modes} modes")
    assert pipeline._progress_bar_config == shown


def test_an_unconditional_pipeline_is_fitted_and_guided_in_the_same_way(tmp_path):
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    pipeline = DDPMPipeline(unet, DDPMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    modes = SpectralModes(k_min=2, k_max=3, n_neighbors=(3,))
    debiaser = SelfDebias.fit(pipeline, **{**FIT, "n_images": 12, "clustering": modes})

    def draw():
        images = pipeline(8, debiaser.generators(range(8)), num_inference_steps=4, output_type="np").images
        return torch.from_numpy(images)

    before = draw()
    with debiaser.attach(
        pipeline, target=[0.02, *[0.98 / (debiaser.n_modes - 1)] * (debiaser.n_modes - 1)]
    ) as attached:
        inside = draw()
    assert debiaser.semantics.projector.branches == ("cond",) and attached.state.seeds == tuple(range(8))
    assert not torch.equal(before, inside) and torch.equal(before, draw())
    debiaser.save_pretrained(tmp_path / "fitted")
    pipeline.save_pretrained(tmp_path / "model")
    card = (tmp_path / "fitted" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "pipe(batch_size=16, num_inference_steps=4)" in code and "| prompts | none |" in card
    given = code.replace('"this/folder"', repr(str(tmp_path / "fitted")))
    model = str(tmp_path / "model")
    exec(re.sub(r"(Pipeline\.from_pretrained)\('[^']*'\)", lambda found: f"{found[1]}({model!r})", given), {})


def test_a_pipeline_that_takes_prompts_is_given_some():
    with pytest.raises(ValueError, match="`prompts` must be given for StableDiffusionPipeline"):
        SelfDebias.fit(tiny_pipeline(), **FIT)


def test_sigterm_ends_a_fit_unless_the_program_has_a_handler_of_its_own(pipeline):
    """Lightning alone would note the signal and go on."""

    def ended(images):
        os.kill(os.getpid(), signal.SIGTERM)
        return PixelEncoder()(images)

    with pytest.raises((KeyboardInterrupt, SystemExit)):  # Lightning makes the one of the other
        fit(pipeline, encoder=ended)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    seen = []
    signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        fit(pipeline, encoder=ended)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert seen


@pytest.mark.parametrize("guidance", [None, "select"])
def test_attached_without_with_it_says_so(pipeline, debiaser, guidance):
    with pytest.warns(UserWarning, match="attached without `with`, so nothing was guided"):
        _forget(debiaser.attach(pipeline, guidance=guidance))


@pytest.mark.parametrize(("name", "kind"), [("guidance", "Guidance"), ("schedule", "GuidanceWindow")])
def test_a_part_of_another_kind_is_refused(pipeline, debiaser, name, kind):
    with pytest.raises(ValueError, match=f"`{name}` must be a name or a {kind}, got {{'start': 0.1}}"):
        debiaser.attach(pipeline, **{name: {"start": 0.1}})


def test_a_folder_of_this_computer_is_not_named_in_what_is_saved(debiaser):
    assert "/" not in debiaser.facts["model"].removeprefix("shipped:")


def test_several_prompts_take_turns(tmp_path):
    SelfDebias.fit(
        tiny_pipeline(), ["a cat", "a dog"], **{**FIT, "clustering": SpectralModes(2, 3, (3,)), "folder": tmp_path}
    )
    (manifest,) = (tmp_path / "stages" / "collect").glob("*/manifest-0.jsonl")
    records = [record for line in manifest.read_text().splitlines() for record in json.loads(line)["records"]]
    assert [record["prompt"] for record in records[:3]] == ["a cat", "a dog", "a cat"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_images": 5}, "`n_images` must be at least 6, twice the most modes"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"timesteps": 0}, "`timesteps` must be at least 1, got 0"),
        ({"prompts": ["a cat", " "]}, "`prompts` must be texts that are not blank, got ' '"),
        ({"prompts": []}, r"`prompts` must be texts that are not blank, got \[\]"),
        (
            {"encoder": "no/such/folder"},
            "`encoder.pretrained` must be a folder that exists",
        ),
        ({"pipe": object()}, "must have a `unet`"),
        (
            {"call": {"num_steps": 4}},
            "`call` must hold arguments of StableDiffusionPipeline, got 'num_steps': did you mean",
        ),
    ],
)
def test_what_cannot_be_fitted_is_said_before_an_image_is_drawn(options, message, tmp_path):
    pipeline = tiny_pipeline()
    pipeline.unet.forward = None  # a call of the UNet would fail
    asked = {"pipe": pipeline, "prompts": "a person", **FIT, "clustering": SpectralModes(2, 3, (3,)), **options}
    with pytest.raises((ValueError, OSError), match=message):
        SelfDebias.fit(asked.pop("pipe"), asked.pop("prompts"), folder=tmp_path / "f", **asked)
    assert not (tmp_path / "f").exists()


def test_fit_says_how_far_it_is_and_then_what_it_found_also_without_a_terminal(capsys):
    fitted = fit(tiny_pipeline())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0].rstrip(":") for line in lines[:6]] == [
        it for it in ("collect", "discover", "project") for _ in "12"
    ]
    assert lines[1].endswith("(10 images)") and lines[6:] == str(fitted).splitlines()
    sizes = fitted.facts["modes"]["sizes"]
    assert lines[6].startswith(
        f'SelfDebias: {len(sizes)} modes found on 10 images of "a person": {sizes[0]}0%; {sizes[1]}0%'
    )
    assert len(lines) <= 10 and max(map(len, lines)) <= 80 and repr(fitted).startswith("SelfDebias(")


def test_a_folder_that_is_not_one_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold a debiaser.json.*save_pretrained wrote"):
        SelfDebias.from_pretrained(tmp_path)


def test_a_folder_cannot_name_code_from_elsewhere(debiaser, tmp_path):
    debiaser.save_pretrained(tmp_path)
    facts = json.loads((tmp_path / "debiaser.json").read_text())
    facts["guidance"] = {"_target_": "os.system", "command": f"touch {tmp_path / 'owned'}"}
    (tmp_path / "debiaser.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="`guidance._target_` must be a Guidance of selfdebias"):
        SelfDebias.from_pretrained(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_another_format_is_refused(debiaser, tmp_path):
    debiaser.save_pretrained(tmp_path)
    facts = json.loads((tmp_path / "debiaser.json").read_text())
    (tmp_path / "debiaser.json").write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(ValueError, match="must be of format 1, got 99"):
        SelfDebias.from_pretrained(tmp_path)


def test_a_schedule_of_ones_own(pipeline, debiaser):
    with debiaser.attach(pipeline, schedule=GuidanceWindow(0.0, 0.4)) as attached:
        sample(pipeline, [1, 2])
    assert attached.state.trace.index == [0, 1]
    assert isinstance(debiaser.guidance, TransportGuidance)


def test_images_to_learn_from_are_drawn_at_a_part_of_the_guidance_scale(pipeline):
    own = {"num_inference_steps": 4}
    assert at_scale(pipeline, own, 0.5) == {**own, "guidance_scale": 3.75}  # of the 7.5 that the pipeline has by itself
    assert at_scale(pipeline, {"guidance_scale": 3.0}, 0.5) == {"guidance_scale": 1.5}
    assert at_scale(pipeline, own, 1.0) == own and at_scale(pipeline, {"guidance_scale": 1.0}, 0.5) == {
        "guidance_scale": 1.0
    }
    distilled = {"guidance_scale": 3.5}
    assert (
        at_scale(MAKERS["flux"](), distilled, 0.5) == distilled
    )  # an input of the model, and no scale of two branches
    consistency = type("Consistency", (), {"__call__": type(pipeline).__call__})()
    consistency.unet = SimpleNamespace(config=SimpleNamespace(time_cond_proj_dim=256))
    assert at_scale(consistency, {"guidance_scale": 8.5}, 0.5) == {"guidance_scale": 8.5}  # as of an LCM
    with pytest.raises(
        ValueError,
        match="`relative_scale` must be 1, or larger than 0.667: the guidance scale, 1.5, times it must be larger than 1",
    ):
        fit(pipeline, call={"guidance_scale": 1.5})
    with pytest.raises(ValueError, match=r"`relative_scale` must be in \(0, 1\], got 0"):
        fit(pipeline, relative_scale=0)


def test_a_wide_bottleneck_is_read_through_a_convolution_and_options_may_differ():
    class Unet:
        config = type("Config", (), {"block_out_channels": (320, 1280)})

    wide = projector_for(UNet(Unet()))
    assert wide["reader"] == "convolutional" and wide["hidden"] == 512
    assert projector_for(find_denoiser(tiny_pipeline()))["reader"] == "flattened"
    with pytest.raises(ValueError, match="`projector.steps` must be a whole number in \\[1, 10000000\\], got 0"):
        fit(tiny_pipeline(), projector={"steps": 0})
    with pytest.raises(ValueError, match="`projector.depth` is not an option"):
        fit(tiny_pipeline(), projector={"depth": 3})


def test_modes_are_carried_over_to_further_prompts(pipeline, tmp_path):
    modes = SpectralModes(k_min=2, k_max=3, n_neighbors=(3,), k=2)
    fitted = fit(pipeline, clustering=modes, fitting_prompts=["a doctor", "a person"], folder=tmp_path)
    assert len(list((tmp_path / "stages" / "collect").glob("*/stage.json"))) == 2  # the prompt itself is there already
    assert fitted.facts["fitting_prompts"] == ["a doctor"] and fitted.semantics.bank.scales is not None
    before = sample(pipeline, [1, 2, 3, 4])
    with fitted.attach(pipeline):
        assert not torch.equal(before, sample(pipeline, [1, 2, 3, 4]))
    fitted.save_pretrained(tmp_path / "saved")
    again = SelfDebias.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.semantics.bank.origins, fitted.semantics.bank.origins)
    assert "| transferred to | a doctor |" in (tmp_path / "saved" / "README.md").read_text()


def test_prompts_have_thresholds_of_their_own_where_that_is_asked_for(pipeline, tmp_path):
    modes = SpectralModes(k_min=2, k_max=3, n_neighbors=(3,), k=2)
    fitted = fit(pipeline, clustering=modes, fitting_prompts=["a doctor"], threshold="prompt")
    assert fitted.semantics.bank.prompts == ("a person", "a doctor", "")
    fitted.save_pretrained(tmp_path)
    again = SelfDebias.from_pretrained(tmp_path)
    assert torch.equal(again.semantics.bank.origins, fitted.semantics.bank.origins)
    assert "| threshold between the sides | each prompt's own |" in (tmp_path / "README.md").read_text()
    for prompt in ("a doctor", "a judge"):
        before = sample(pipeline, [1, 2, 3, 4], prompt=prompt)
        with again.attach(pipeline):
            assert not torch.equal(before, sample(pipeline, [1, 2, 3, 4], prompt=prompt))
    with pytest.raises(ValueError, match="`threshold` must be one of shared, prompt, got 'own'"):
        fit(pipeline, fitting_prompts=["a doctor"], threshold="own")
    with pytest.raises(ValueError, match="`threshold` must be shared without `fitting_prompts`, got 'prompt'"):
        fit(pipeline, threshold="prompt")


@pytest.mark.parametrize("texts", ["a doctor", ["a doctor", " "], ["a doctor", "a doctor"]])
def test_fitting_prompts_that_are_none_are_refused(pipeline, texts):
    with pytest.raises(ValueError, match="`fitting_prompts` must be"):
        fit(pipeline, fitting_prompts=texts)


def test_parts_are_given_to_fit_by_name_and_a_wrong_one_is_refused_before_an_image_is_drawn(pipeline):
    fitted = fit(pipeline, guidance="gradient_descent", schedule="cosine", projector={"steps": 20})
    assert (
        type(fitted.guidance).__name__ == "GradientDescentGuidance"
        and type(fitted.schedule).__name__ == "CosineSchedule"
    )
    assert fitted.facts["guidance"]["_target_"].endswith("GradientDescentGuidance")
    for name in ("guidance", "schedule", "clustering"):
        with pytest.raises(ValueError, match=f"`{name}` must be one of .*, or an object, got 'nonsense'"):
            fit(pipeline, **{name: "nonsense"})
        with pytest.raises(ValueError, match=f"`{name}` must be a name or a "):
            fit(pipeline, **{name: 3})


def test_a_negative_prompt_that_is_one_text_holds_for_each_image(pipeline):
    from selfdebias.backbones import HeldBackbone

    seeds, settings = (0, 1), {"num_inference_steps": 2, "height": 64, "width": 64}
    one = HeldBackbone(pipeline, {**settings, "negative_prompt": "dark"}).generate(pipeline, ["a person"] * 2, seeds)
    each = HeldBackbone(pipeline, {**settings, "negative_prompt": ["dark"] * 2}).generate(
        pipeline, ["a person"] * 2, seeds
    )
    plain = HeldBackbone(pipeline, settings).generate(pipeline, ["a person"] * 2, seeds)
    assert torch.equal(one, each) and not torch.equal(one, plain)


def test_axes_that_cannot_be_found_are_refused_before_an_image_is_drawn(pipeline, monkeypatch):
    from selfdebias.modes import FactorialAxes

    monkeypatch.setattr(pipeline.unet, "forward", None)  # whatever is drawn fails
    with pytest.raises(
        ValueError, match="^`n_images` must be at least 256, four for each combination of sides.*got 24"
    ):
        fit(pipeline, n_images=24, clustering=FactorialAxes())


def test_axes_are_carried_over_to_fitting_prompts(pipeline):
    from tests.jobs.stages.test_axes import PlantedAxes

    fitted = fit(pipeline, n_images=24, clustering=PlantedAxes(factors=(2,)), fitting_prompts=["a doctor"])
    assert len(fitted.semantics.axes) == 2 and fitted.facts["fitting_prompts"] == ["a doctor"]
    apart = fit(
        pipeline, n_images=24, clustering=PlantedAxes(factors=(2,)), fitting_prompts=["a doctor"], threshold="prompt"
    )
    assert [it.prompts for it in apart.semantics.bank.axes] == [("a person", "a doctor", "")] * 2


def test_axes_are_fitted_attached_one_by_one_saved_and_loaded(pipeline, tmp_path):
    from tests.jobs.stages.test_axes import PlantedAxes

    fitted = fit(pipeline, n_images=24, clustering=PlantedAxes(factors=(2,)), projector={"steps": 40})
    before = sample(pipeline, list(range(8)))
    with fitted.attach(pipeline, strength=3.0) as attached:
        both = sample(pipeline, list(range(8)))
    with fitted.attach(pipeline, strength=3.0, axes=[1]) as one:
        second = sample(pipeline, list(range(8)))
    assert not torch.equal(before, both) and not torch.equal(both, second) and not torch.equal(before, second)
    assert attached.state.trace.tensors(4, 8)["p_hat"].shape[1] == 4
    assert one.state.trace.tensors(4, 8)["p_hat"][:, :2].isnan().all()
    fitted.save_pretrained(tmp_path / "saved")
    loaded = SelfDebias.from_pretrained(tmp_path / "saved")
    with loaded.attach(pipeline, strength=3.0):
        assert torch.equal(both, sample(pipeline, list(range(8))))
    assert "2 axes" in (tmp_path / "saved" / "README.md").read_text()
    with pytest.raises(ValueError, match="`axes` must be among the 2 that were found, 0 to 1, got 5"):
        fitted.attach(pipeline, axes=[5])


@pytest.mark.parametrize("name", ["return_dict", "num_images_per_prompt"])
def test_arguments_that_fit_sets_itself_are_refused_before_an_image_is_drawn(pipeline, name):
    with pytest.raises(ValueError, match=f"`call` must leave prompt, .* to fit, got '{name}'"):
        fit(pipeline, call={name: 2})


def test_fit_leaves_the_libraries_as_loud_as_they_were(pipeline):
    before = diffusers_logging.get_verbosity(), diffusers_logging.is_progress_bar_enabled(), dict(os.environ)
    diffusers_logging.set_verbosity_info()
    try:
        fit(pipeline)
        assert diffusers_logging.get_verbosity() == diffusers_logging.INFO
        assert diffusers_logging.is_progress_bar_enabled() == before[1]
        assert os.environ.get("DIFFUSERS_DISABLE_REMOTE_CODE") == before[2].get("DIFFUSERS_DISABLE_REMOTE_CODE")
    finally:
        diffusers_logging.set_verbosity(before[0])


@pytest.mark.parametrize("device", ["cuda:99", "xpu:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ValueError, match="`model.device` must be a device of this computer"):
        check_device(device)
