"""A wrong command line is answered in one line, with exit code 2, before anything is run or made."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from selfdebias.config import compose as config
from selfdebias.config import notes
from selfdebias.config.keys import digest
from selfdebias.config.sources import Sources, conf_folder
from selfdebias.config.transport import SLACK, STRENGTH
from selfdebias.jobs.early_checks import check_early
from selfdebias.main import main

BAD = [
    (["model.weights=missing"], "`model.weights` must be a file, got 'missing'"),
    (["model=nothing"], "`model` must be one of"),
    (["guidance=fair"], "`guidance` must be one of"),
    (["collect.nimages=3"], "Did you mean `collect.n_images`?"),
    (["nonsense=3"], "`nonsense` is not an option"),
    (["gidance=none"], "Did you mean `guidance`?"),
    (["guidnce=random"], "Did you mean `guidance`?"),
    (["+nonsense=3"], "`nonsense` is not an option"),
    (["+collect.more=3"], "`collect.more` is not an option"),
    (["+guidance.more=3"], "`guidance.more` is not an option"),
    (["~collect"], "`collect` must be a section"),
    (["~judge"], "`judge` must be a section"),
    (["collect.n_images=0"], "`collect.n_images` must be a whole number in [1, 10000000], got 0"),
    (["collect.relative_scale=0"], "`collect.relative_scale` must be a number in (0, 1], got 0"),
    (["+model.guidance_scale=1.5"], "`collect.relative_scale` must be 1, or larger than 0.667"),
    (["evaluate.reference_images=0"], "`evaluate.reference_images` must be a whole number in [2, 10000000], got 0"),
    (["generate.n_images=-4"], "`generate.n_images` must be a whole number in [1, 10000000], got -4"),
    (["generate.n_images=many"], "`generate.n_images` must be a whole number"),
    (["generate.n_images=2.5"], "`generate.n_images` must be a whole number"),
    (
        ["generate.sampler={pretrained: other}"],
        "`generate.sampler` must be null or a dictionary of options of `model`",
    ),
    (["generate.sampler=fast"], "`generate.sampler` must be null or a dictionary of options of `model`"),
    (["generate.sampler={strides: 3}"], "`generate.sampler.strides` must be an option of the model (_target_"),
    (["generate.sampler={negative_prompt_file: a.txt}"], "`generate.sampler.negative_prompt_file` must be an option"),
    (["generate.seed=null"], "`generate.seed` must be a whole number in [0, 9223372036854775807], got null"),
    (["generate.batch_size=true"], "`generate.batch_size` must be a whole number"),
    (["collect.n_images=9"], "`collect.n_images` must be at least 16"),
    (["clustering.k_max=1"], "`clustering.k_max` must be a whole number of at least 2, got 1"),
    (
        ["clustering.k_min=5", "clustering.k_max=3"],
        "`clustering.k_max` must be a whole number of at least `clustering.k_min`, 5, got 3",
    ),
    (["clustering.k_min=1"], "`clustering.k_min` must be a whole number of at least 2, got 1"),
    (["clustering.n_neighbors=[0]"], "`clustering.n_neighbors` must be a list of whole numbers of at least 1, got [0]"),
    (["+clustering.k=0"], "`clustering.k` must be null or a whole number of at least 1, got 0"),
    (["+clustering.choice=elbow"], "`clustering.choice` must be one of silhouette, stability, got 'elbow'"),
    (["+clustering.space=pixels"], "`clustering.space` must be one of image, residual, projected, got 'pixels'"),
    (
        ["+clustering.space=projected", "+projector.balanced=true"],
        "`projector.balanced` must be false where `clustering.space` is projected, as no mode is known yet, got True",
    ),
    (["+clustering.max_depth=-1"], "`clustering.max_depth` must be a whole number of at least 0, got -1"),
    (["+clustering.min_cluster_size=1"], "`clustering.min_cluster_size` must be a whole number of at least 2, got 1"),
    (["+clustering.k=20", "collect.n_images=39"], "`collect.n_images` must be at least 40, twice the 20 modes"),
    (["+clustering.choice=stability", "collect.n_images=31"], "must be at least 32, four times the 8 modes"),
    (
        ["+clustering.min_cluster_size=20", "collect.n_images=39"],
        "must be at least 40, twice `clustering.min_cluster_size`, got 39",
    ),
    (["prompts.text="], "`prompts.text` must be a text that is not blank"),
    (["prompts.text='  '"], "`prompts.text` must be a text that is not blank"),
    (["prompts.text=7"], "`prompts.text` must be a text"),
    (["prompts=emoji_occupations", "prompts.subjects=[]"], "`prompts.subjects` must be a list of different texts"),
    (["prompts=emoji_occupations", "prompts.subjects=[a cook,'']"], "that are not blank, got '' in it"),
    (
        ["prompts=emoji_occupations", "prompts.subjects=[a cook,a cook]"],
        "`prompts.subjects` must be a list of different",
    ),
    (["prompts=emoji_occupations", "prompts.subjects=a cook"], "`prompts.subjects` must be a list"),
    (["prompts=emoji_occupations", "prompts.templates=[an emoji]"], "`prompts.templates` must be texts with {} once"),
    (["prompts=emoji_occupations", "prompts.text=a cook"], "`prompts.text` is not an option"),
    (
        ["prompts=emoji_occupations", "prompts.templates=['a {}','b {}','c {}']", "generate.n_images=2"],
        "`generate.n_images` must be at least 3, one for each of `prompts.templates`, got 2",
    ),
    (
        ["+prompts.templates=['a {}','b {}']", "generate.n_images=1"],
        "`generate.n_images` must be at least 2, one for each of `prompts.templates`, got 1",
    ),
    (["prompts.attributes=[gender,height]"], "`prompts.attributes` must be some of gender, tone, age"),
    (["prompts.attributes=gender"], "`prompts.attributes` must be a list"),
    (
        ["prompts.attributes=[gender, gender x gender]"],
        "`prompts.attributes` must be intersections of different attributes, got 'gender x gender'",
    ),
    (["guidance.strength=-1"], "`guidance.strength` must be a number in [0, 10000], got -1"),
    (["guidance.strength=nan"], "`guidance.strength` must be finite"),
    (["guidance.strength=inf"], "`guidance.strength` must be finite"),
    (["guidance.strength=strong"], "`guidance.strength` must be a number"),
    (["guidance=random", "guidance.of.strength=-1"], "`guidance.of.strength` must be a number in [0, 10000]"),
    (["guidance.temperature=0"], "guidance: `temperature` must be above 0, got 0"),
    (
        ["guidance.target=[1.0]"],
        "`guidance.target` must be a list of at least two shares that sum to 1, uniform or depth, got [1.0]",
    ),
    (["guidance.target=[0.5,0.6]"], "`guidance.target` must be a list of at least two shares that sum to 1"),
    (["guidance.target=[-0.5,1.5]"], "`guidance.target` must be a list of at least two shares that sum to 1"),
    (["guidance.target=[nan,1]"], "`guidance.target` must be finite"),
    (
        ["guidance.target=0.5"],
        "`guidance.target` must be a list of at least two shares that sum to 1, uniform or depth, got 0.5",
    ),
    (
        ["guidance.target=[0.2,0.2,0.6]", "clustering.k_max=2"],
        "`guidance.target` must be as many shares as modes, 2 to 2",
    ),
    (["schedule.stop=0.5", "schedule.start=0.6"], "`schedule.stop` must be larger than `schedule.start`, 0.6, got 0.5"),
    (["schedule.start=-0.1"], "`schedule.start` must be a fraction in [0, 1], got -0.1"),
    (["schedule.stop=1.5"], "`schedule.stop` must be a fraction in [0, 1], got 1.5"),
    (["trainer.devices=9999"], "`trainer.devices` must be at most"),
    (["vocabulary=klingon"], "`vocabulary` must be one of emoji, general, none, got klingon"),
    (["vocabulary.path=no/such.txt"], "`vocabulary.path` must be a text file or shipped:NAME, got 'no/such.txt'"),
    (["vocabulary.level=2"], "`vocabulary.level` must be in (0, 1), got 2"),
    (["vocabulary.most=0"], "`vocabulary.most` must be at least 1, got 0"),
    (["schedule.stop=nan"], "`schedule.stop` must be finite"),
    (["stages=[collect,paint]"], "`stages` must be some of collect, discover"),
    (["evaluate.labelled=no/such"], "`evaluate.labelled` must be a folder of labelled images"),
    (["evaluate.labelled=3"], "`evaluate.labelled` must be null or a path, got 3"),
    (["stages=[]"], "`stages` must be a list"),
    (["stages=collect"], "`stages` must be a list"),
    (["stages=[collect,collect]"], "`stages` must be a list without repeats"),
    (["stages=[discover]"], "`stages` must include collect"),
    (["trainer.inference_mode=maybe"], "`trainer.inference_mode` must be true or false"),
    (["paths.root="], "`paths.root` must be the path of a folder"),
    (["paths.root=a_file/runs"], "`paths.root` must be a folder that can be written"),
    (["collect.n_images"], "must be <key>=<value>"),
    (["a=[1"], "must be <key>=<value>"),
    (["guidance.strength=0.1,0.2"], "start a sweep with -m"),
    (["--quick"], "`--quick` is not an option"),
    (["prompts.text=${nothing.here}"], "nothing.here"),
]


@pytest.mark.manners
@pytest.mark.parametrize("arguments, words", BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_bad_command_lines(stand_ins, tmp_path, capsys, arguments, words):
    (tmp_path / "a_file").write_text("in the way")
    before = sorted(os.listdir(tmp_path))
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert err.startswith("selfdebias: ")
    assert err.count("\n") == 1
    assert out == ""
    assert stand_ins == []
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "overrides, path, value",
    [
        ([], "collect.n_images", 512),
        (["prompts.text='a doctor, smiling'"], "prompts.text", "a doctor, smiling"),
        (["guidance.strength=2"], "guidance.strength", 2),
        (["guidance=random", "guidance.of.strength=0.25"], "guidance.of.strength", 0.25),
        (["paths.root=elsewhere"], "paths.root", "elsewhere"),
        (["clustering.random_state=null"], "clustering.random_state", None),
    ],
)
def test_good_overrides_arrive(stand_ins, overrides, path, value):
    node = config.load(overrides)
    for name in path.split("."):
        node = node[name]
    assert node == value


@pytest.mark.parametrize("outer, inner", [("random", "of"), ("select_then_transport", "steer")])
def test_the_guidance_inside_another_is_chosen_as_any_nested_group(outer, inner):
    chosen = config.load([f"guidance={outer}", f"guidance@guidance.{inner}=self_debias"])
    assert chosen["guidance"][inner] == config.load(["guidance=self_debias"])["guidance"]
    with pytest.raises(config.ConfigError, match="got missing"):
        config.load([f"guidance={outer}", f"guidance@guidance.{inner}=missing"])


KINDS = [
    (["clustering=spectral"], 6.0, 2.5),
    (["clustering=axes"], 6.0, 1.5),
    (["model=emoji_dit", "clustering=spectral"], 8.0, 1.5),
    (["model=emoji_dit"], 4.8, 1.5),
    (["model=emoji_dit", "bank=supervised"], 8.0, 1.5),  # which brings clusters
]


@pytest.mark.parametrize("choices, strength, slack", KINDS)
@pytest.mark.parametrize(
    "guidance, inner",
    [("transport", None), ("mean_transport", None), ("random", "of"), ("select_then_transport", "steer")],
)
def test_transport_has_the_values_measured_for_its_kind_unless_others_are_given(
    choices, strength, slack, guidance, inner
):
    place = f"guidance.{inner}" if inner else "guidance"
    plain, given = (config.load([*choices, f"guidance={guidance}", *own]) for own in ([], [f"{place}.slack=3"]))
    found, other = (it["guidance"][inner] if inner else it["guidance"] for it in (plain, given))
    assert (found["strength"], found["slack"]) == (strength, slack)
    assert (other["strength"], other["slack"]) == (strength, 3.0)


def test_the_page_on_guidance_says_the_measured_values():
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "guidance.md").read_text()
    for (transformer, axes), strength in STRENGTH.items():
        kind = f"{'transformer' if transformer else 'UNet'}, {'axes' if axes else 'clusters'}"
        assert f"| {kind} | {strength:g} | {SLACK[transformer, axes]:g} |" in page


def test_the_comments_of_transport_say_the_measured_values():
    text = (conf_folder() / "guidance" / "transport.yaml").read_text()
    strength, slack = (
        {float(it) for it in re.findall(r"[\d.]+\d|\d", line)} for line in re.findall("# null: (.*)", text)
    )
    assert strength == {*STRENGTH.values()} and slack == {*SLACK.values()}


def test_a_value_in_place_of_a_measured_one_is_checked_and_has_the_key_of_the_same_one():
    with pytest.raises(config.ConfigError, match="`guidance.strength` must be a number, got 'strong'"):
        config.load(["guidance.strength=strong"])
    assert config.load(["guidance.strength=6", "guidance.slack=1.5"]) == config.load([])
    assert isinstance(config.load(["guidance.strength=12"])["guidance"]["strength"], float)


def test_shares_are_held_against_the_number_of_modes_that_is_asked_for():
    check_early(config.load(["clustering=spectral", "clustering.k=3", "guidance.target=[0.5,0.25,0.25]"]))
    with pytest.raises(
        config.ConfigError, match=r"`guidance.target` must be 2 shares, .* `clustering.k`, got \[0.5, 0.25"
    ):
        check_early(config.load(["clustering=spectral", "clustering.k=2", "guidance.target=[0.5,0.25,0.25]"]))
    with pytest.raises(
        config.ConfigError, match=r"`guidance.target` must be 2 shares, of both sides of each axis, .* got"
    ):
        check_early(config.load(["clustering=axes", "guidance.target=[0.5,0.25,0.25]"]))
    check_early(config.load(["clustering=axes", "guidance.target=[0.75,0.25]"]))


@pytest.mark.parametrize(
    "others",
    [["clustering=two_stage", "clustering.k=2"], ["clustering.k=2", "bank=supervised"], ["clustering=spectral"]],
)
def test_shares_are_not_counted_before_the_number_of_modes_is_known(others):
    check_early(config.load([*others, "guidance.target=[0.5,0.25,0.25]"]))


def test_the_resolved_configuration_is_printed_and_nothing_else_happens(stand_ins, tmp_path, capsys):
    assert main(["generate.seed=7", "--cfg", "job"]) == 0
    printed = capsys.readouterr().out
    assert "seed: 7" in printed
    assert "hydra" not in printed
    assert not (tmp_path / "runs").exists()


def test_digest_does_not_depend_on_the_order_of_keys_and_refuses_nan():
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert len(digest({})) == 16
    with pytest.raises(ValueError):
        digest({"a": float("nan")})


def test_a_whole_number_is_a_float_where_the_default_is_one():
    texts = ["guidance.strength=12", "schedule.start=0", "generate.n_images=64"]
    loaded = config.load(texts)
    assert digest(loaded) == digest(config.load(["guidance.strength=12.0", "schedule.start=0.0", texts[2]]))
    found = [loaded["guidance"]["strength"], loaded["schedule"]["start"], loaded["generate"]["n_images"]]
    assert [type(it) for it in found] == [float, float, int] and found == [12, 0, 64]


def test_a_subject_that_is_nearly_one_of_the_protocols_own_is_noted():
    subjects = ["a farmr", "a judge", "an alchemist"]
    said = notes.notes_on_subjects(["prompts=emoji_occupations", f"prompts.subjects={subjects}"], subjects)
    assert said == ["`a farmr` is not of this protocol; did you mean `a farmer`?"]
    assert notes.notes_on_subjects(["prompts=emoji_pets"], subjects) == []  # which is no list


def test_the_values_of_an_experiment_that_debug_replaces_are_named(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults: [{override /clustering: kmeans}]\ngenerate: {n_images: 64}\nguidance: {slack: 2.0}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    sources = Sources(more=(f"file://{tmp_path}",))
    words = ["debug=tiny", "experiment=mine"]
    said = notes.notes_on_debug(words, sources)
    assert said[0].startswith("debug=tiny replaces values of experiment=mine: clustering, ") and len(said) == 2
    assert said[0].endswith("generate.n_images=16") and "slack" not in said[0] and "collect" not in said[0]
    assert "n_images" not in notes.notes_on_debug([*words, "generate.n_images=64"], sources)[0]  # the command line wins
    assert notes.notes_on_debug(words[1:], sources) == []


def test_debug_says_where_it_changes_the_method():
    start = "debug=tiny also changes the method: "
    assert notes.notes_on_debug(["debug=tiny"]) == [
        f"{start}clusters in place of axes, 6 denoising steps in place of 25"
    ]
    assert notes.notes_on_debug(["debug=tiny", "clustering=axes", "model.steps=9"]) == []  # the command line wins
    assert notes.notes_on_debug(["debug=tiny", "clustering=kmeans"]) == [f"{start}6 denoising steps in place of 25"]


def test_options_of_a_scheduler_are_new_keys():
    with pytest.raises(config.ConfigError, match=r"`model.scheduler.options` takes new keys with a plus: \+model"):
        config.load(["model.scheduler.options={timestep_spacing: trailing}"])
    for override in (
        "+model.scheduler.options={timestep_spacing: trailing}",
        "+model.scheduler.options.timestep_spacing=trailing",
    ):
        assert config.load([override])["model"]["scheduler"]["options"] == {"timestep_spacing": "trailing"}


@pytest.mark.parametrize(
    "override, words",
    [
        ("projector.reader=wide", "`projector.reader` must be one of flattened, pooled, convolutional, got 'wide'"),
        ("projector.hidden=0", "`projector.hidden` must be a whole number in [1, 65536], got 0"),
        ("projector.batch_size=1", "`projector.batch_size` must be a whole number in [2, 1000000], got 1"),
        ("projector.noise=-1", "`projector.noise` must be a number in [0, 10000], got -1"),
        ("projector.temperature=0", "`projector.temperature` must be a number in [1e-06, 10000], got 0"),
        ("projector.dropout=1", "`projector.dropout` must be a number in [0, 1), got 1"),
    ],
)
def test_wrong_values_of_the_projector_are_refused_before_an_image_is_drawn(override, words):
    with pytest.raises(config.ConfigError) as caught:
        config.load([override])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("key", "words"), [("nosuch", "nosuch is no key of a job."), ("generate.sead", "Did you mean generate.seed?")]
)
def test_pooling_over_a_key_that_no_job_has_is_refused(key, words):
    with pytest.raises(config.ConfigError, match="`table.pool`") as error:
        config.load([f"table.pool=[{key}]"])
    assert words in str(error.value)


@pytest.mark.parametrize("key", ["generate.seed", "guidance", "guidance.settled", "generate.sampler.guidance_scale"])
def test_pooling_may_be_over_any_key_that_a_job_can_have(key):
    assert config.load([f"table.pool=[{key}]"])["table"]["pool"] == [key]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["clustering=spectral", "guidance.axes=[0]"], "`guidance.axes` must be null where modes are one partition"),
        (["clustering=axes", "guidance.axes=[a]"], "`guidance.axes` must be "),
        (["clustering=axes", "guidance.axes=9"], "`guidance.axes` must be "),
        (
            ["clustering=axes", "guidance.axes=[0, 9]"],
            "`guidance.axes` must be among 0 to 5, since `clustering.factors` allows",
        ),
        (["clustering=axes", "bank=mixture"], "`bank` must be own or carried where clustering=axes"),
        (["clustering=axes", "collect.n_images=64"], "`collect.n_images` must be at least 256"),
        (["clustering=axes", "clustering.factors=[9]"], "`clustering.factors` must be whole numbers"),
    ],
)
def test_axes_that_cannot_be_guided_are_refused_before_anything_is_drawn(overrides, message):
    with pytest.raises(config.ConfigError, match=message.replace("[", "\\[")):
        check_early(config.load(overrides))
