"""Every option in `conf/` composes, names a class that takes its keys, and explains each of them."""

from __future__ import annotations

import re

import pytest

from selfdebias.config import compose as config
from selfdebias.config import sources
from selfdebias.config.prompts import PromptList
from selfdebias.config.scales import model_of_collect
from selfdebias.config.schema import GROUPS
from selfdebias.config.targets import check_job, make
from selfdebias.jobs.early_checks import check_early
from selfdebias.jobs.parts import Parts

FOLDER = sources.conf_folder()
OPTIONS = [f"{path.parent.name}={path.stem}" for group in GROUPS for path in sorted((FOLDER / group).glob("*.yaml"))]
PROMISED = [
    ["prompts.text='an emoji of a doctor'"],
    ["collect.n_images=256"],
    ["collect.n_images=64", "clustering=spectral"],
    ["clustering=spectral"],
    ["generate.n_images=32"],
    ["generate.seed=9"],
    ["guidance.strength=0.5"],
    ["guidance=none"],
    ["guidance=self_debias"],
    ["guidance=random"],
    ["paths.root=elsewhere"],
    ["model=emoji"],
    ["encoder=emoji_clip"],
    ["judge=emoji"],
]


def test_every_group_has_an_option():
    assert {option.split("=")[0] for option in OPTIONS} == set(GROUPS)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_composes_and_fits_its_class(option):
    check_job(config.load([option]))


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_each_value_has_a_comment(path):
    for line in path.read_text().split("\nhydra:")[0].splitlines():
        if re.match(r" *[a-z]\w*: *[^ #]", line) and not re.match(r" *(defaults|override)", line):
            assert "#" in line, f"{path}: {line}"


@pytest.mark.parametrize(
    "option", [it for it in OPTIONS if it.split("=")[0] in ("model", "projector", "guidance", "encoder", "judge")]
)
def test_a_tiny_job_goes_with_each_part_and_the_command_line_wins(option):
    loaded = config.load(["debug=tiny", option, "report.images=4", "logger=csv"])
    assert (loaded["stages"], loaded["generate"]["n_images"]) == (config.load([])["stages"], 16)
    assert (loaded["report"]["images"], list(loaded["logger"])) == (4, ["csv"])


@pytest.mark.parametrize("overrides", PROMISED, ids=" ".join)
def test_promised_overrides_make_all_parts(overrides):
    Parts(config.load(overrides))


# Protocol: (its judge, its N, how many prompts, its first one with the first template)
FACES = "a photo of a person, single person, single face, ultra detailed, raw photo, realistic face"
PROTOCOLS = {
    "person": ("emoji", 128, 1, "an emoji of a person"),
    "faces": ("clip_zeroshot", 128, 1, FACES),
    "winobias": ("clip_zeroshot", 160, 36, "Image of an attendant"),
    "winobias_successful": ("clip_zeroshot", 160, 36, "Image of a successful attendant"),
    "abstract": ("clip_zeroshot_scenery", 128, 3, "a peaceful moment"),
    "pets": ("clip_zeroshot_pets", 128, 1, "a photo of a pet"),
    "unconditional": ("emoji", 128, 1, ""),
    "unconditional_cats": ("clip_zeroshot_pets", 128, 1, ""),
    "unconditional_churches": ("clip_zeroshot_scenes", 128, 1, ""),
    "unconditional_faces": ("clip_zeroshot", 128, 1, ""),
    "emoji_person": ("emoji", 128, 1, "an emoji of a person"),
    "emoji_occupations": ("emoji", 128, 20, "an emoji of a farmer"),
    "emoji_pets": ("emoji", 128, 1, "an emoji of a pet"),
    "emoji_fantasy": ("emoji", 128, 1, "an emoji of a fantasy creature"),
    "emoji_peaceful": ("emoji", 128, 1, "a peaceful moment"),
}  # fmt: skip
MODELS = sorted(path.stem for path in (FOLDER / "model").glob("*.yaml"))
OF_MODEL = {
    "emoji": "person", "emoji_dit": "person", "emoji_ddpm": "unconditional", "ddpm_cat": "unconditional_cats",
    "ddpm_celebahq": "unconditional_faces", "ddpm_church": "unconditional_churches",
}  # fmt: skip


def asked(*overrides):
    """Content of the judge that a command composes to, its N, and its prompts."""
    loaded = config.load(list(overrides))
    return loaded["judge"], loaded["generate"]["n_images"], make(loaded, "prompts")


def judge(option):
    return config.load([f"judge={option}"])["judge"]


def test_every_protocol_is_in_the_list():
    assert {path.stem for path in (FOLDER / "prompts").glob("*.yaml")} == set(PROTOCOLS)


@pytest.mark.parametrize("model", [None, "emoji", "sd15", "sdxl", "emoji_ddpm", "ddpm_cat"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_brings_its_judge_and_its_n_whatever_the_model(name, model):
    found, n, prompts = asked(f"prompts={name}", *([f"model={model}"] if model else []))
    option, wanted, count, first = PROTOCOLS[name]
    rows = list(prompts.rows().values()) if isinstance(prompts, PromptList) else [prompts]
    assert (found, n, len(rows)) == (judge(option), wanted, count)
    assert rows[0].for_images(n)[0] == first
    assert set(prompts.attributes) <= set(make({"judge": found}, "judge").classes)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_brings_its_protocol_with_the_judge(model):
    found, n, prompts = asked(f"model={model}")
    wanted = OF_MODEL.get(model, "faces")
    assert (found, n, prompts) == asked(f"prompts={wanted}")


@pytest.mark.parametrize("order", [1, -1])
def test_what_the_command_line_says_of_judge_and_n_wins(order):
    found, n, prompts = asked(*["model=sd15", "prompts=pets", "judge=emoji", "generate=five_templates"][::order])
    assert (found, n, prompts.text) == (judge("emoji"), 160, "a photo of a pet")
    assert asked(*["prompts=winobias", "generate.n_images=40"][::order])[1] == 40


def test_the_twin_of_person_is_person():
    assert asked("prompts=emoji_person") == asked("prompts=person")


def test_each_template_of_winobias_fills_whole_batches():
    loaded = config.load(["prompts=winobias"])
    (row, *_) = make(loaded, "prompts").rows().values()
    drawn = row.for_images(loaded["generate"]["n_images"])
    assert {drawn.count(prompt) for prompt in drawn} == {loaded["generate"]["batch_size"]} and len(set(drawn)) == 5


def test_emoji_worlds_prompts_are_captions_that_it_was_trained_on():
    from experiments.emoji_world.captions import all_captions

    known = set(all_captions())
    for name in PROTOCOLS:
        if name.startswith("emoji_"):
            prompts = asked(f"prompts={name}")[2]
            rows = list(prompts.rows().values()) if isinstance(prompts, PromptList) else [prompts]
            assert {row.for_images(1)[0] for row in rows} <= known, name


PROJECTED = ["clustering=spectral", "clustering.space=projected", "projector.balanced=false"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([*PROJECTED, "guidance=mean_difference"], "`guidance` must be one that needs no mean activations"),
        ([*PROJECTED, "guidance.temperature=calibrated"], "`guidance.temperature` must be a number where `clustering.space`"),
        (["generate.sampler={height: 512}"], "`generate.sampler.height` must be null, as `model.height`"),
        (["model=sd3_medium", "generate.sampler={blocks: [4]}"], "`generate.sampler.blocks` must be null, as `model.blocks`"),
    ],
)  # fmt: skip
def test_what_would_come_out_only_at_the_guided_arm_is_refused_at_once(overrides, words):
    with pytest.raises(config.ConfigError, match=words):
        check_early(config.load(overrides))


def test_the_scale_of_flux_is_no_classifier_free_guidance_of_which_images_could_have_a_part():
    loaded = config.load(["model=flux_schnell", "model.guidance_scale=1.5"])
    assert model_of_collect(loaded) == loaded["model"]
    with pytest.raises(config.ConfigError, match=r"`collect.relative_scale` must be 1, or larger than 0.667"):
        config.load(["model=sd3_medium", "model.guidance_scale=1.5"])
