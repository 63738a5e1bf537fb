"""Which steps a bank brings, what they share, and which banks are refused."""

from __future__ import annotations

import pytest

from selfdebias.config import compose as config
from selfdebias.config import sources
from selfdebias.config.prompts import EqualShares, PromptList
from selfdebias.config.rules import ConfigError
from selfdebias.config.targets import make
from selfdebias.jobs import run
from selfdebias.jobs.parts import Parts
from selfdebias.jobs.prompts import fitted_prompts, rows_of
from selfdebias.jobs.stages.discover import discover_carried
from selfdebias.main import main
from selfdebias.modes.banks import MixtureBank

LIST = ["prompts=emoji_occupations", "prompts.subjects=['a farmer','an office worker']"]
FARMER = ["prompts.text='an emoji of a farmer'", "prompts.attributes=[gender,tone]"]


def steps(*overrides):
    return run.make_plan(config.load(list(overrides)), {})


def read(stage):
    return [it.name for it in stage.before]


def inputs(stage):
    return {argument: it.name for argument, it in stage.inputs.items()}


def keys(*overrides):
    return {name: step.key for name, step in steps(*overrides).items()}


def test_one_carried_bank_is_made_once_and_read_by_all_rows(stand_ins):
    found = steps(*LIST, "bank=carried")
    shared = [step for step in found.values() if step.row == "(bank)"]
    assert [step.name for step in shared] == [
        *("collect/(bank)/source", "collect/(bank)/farmer", "collect/(bank)/office-worker"),
        *("discover/(bank)", "project/(bank)"),
    ]
    assert read(found["discover/(bank)"]) == ["collect/(bank)/source"]
    assert read(found["project/(bank)"]) == ["discover/(bank)", *(step.name for step in shared[:3])]
    assert not [name for name in found if name.startswith("project/") and "(bank)" not in name]
    for row in ("farmer", "office-worker"):
        assert inputs(found[f"discover/{row}"]) == {"collected": f"collect/{row}", "found": "discover/(bank)"}
        assert inputs(found[f"generate/{row}/guided"]) == {"projected": "project/(bank)"}
        assert found[f"report/{row}"].inputs["projected"].name == "project/(bank)"
        assert found[f"collect/{row}"].key == found[f"collect/(bank)/{row}"].key  # drawn once
    assert list(found).index("project/(bank)") < list(found).index("discover/farmer")


def test_a_source_is_collected_and_clustered_as_in_a_job_of_its_own(stand_ins):
    carried, own = keys(*LIST, "bank=carried"), keys("prompts.attributes=[gender,tone]")
    assert carried["collect/(bank)/source"] == own["collect"] and carried["discover/(bank)"] == own["discover"]


def test_given_fitting_prompts_make_one_bank_for_any_job(stand_ins):
    fitting = "bank.fitting=['an emoji of a judge']"
    one, two = keys(*FARMER, "bank=carried", fitting), keys(*LIST, "bank=carried", fitting)
    assert one["project/(bank)"] == two["project/(bank)"]
    assert one["generate/guided"] == two["generate/farmer/guided"]
    assert keys(*FARMER, "bank=carried")["project/(bank)"] != one["project/(bank)"]


def test_thresholds_of_prompts_change_what_is_fitted_and_drawn_and_nothing_before(stand_ins):
    shared, apart = keys(*LIST, "bank=carried"), keys(*LIST, "bank=carried", "bank.threshold=prompt")
    changed = {name.split("/")[0] for name in shared if shared[name] != apart[name]}
    assert changed == {"project", "generate", "evaluate", "report"}
    assert shared["generate/farmer/vanilla"] == apart["generate/farmer/vanilla"]


def test_the_source_may_be_the_prompt_itself(stand_ins):
    found = steps("bank=carried")
    assert [name for name in found if name.startswith("collect")] == ["collect/(bank)/source", "collect"]
    assert found["collect"].key == found["collect/(bank)/source"].key


def test_a_mixture_is_clustered_together(stand_ins):
    found = steps(*LIST, "bank=mixture")
    collects = ["collect/(bank)/farmer", "collect/(bank)/office-worker"]
    assert read(found["discover/(bank)"]) == collects
    assert found["discover/(bank)"].arguments["fitted"].keys() == {"farmer", "office-worker"}
    assert found["discover/farmer"].function is discover_carried


def test_two_modes_of_a_mixture_hold_for_prompts_that_are_not_in_it():
    bank, rows = MixtureBank(["a cook", "a judge"]), {"farmer": {"text": "a farmer", "attributes": ["gender"]}}
    assert list(fitted_prompts(bank, rows, {"k": 2})) == ["cook", "judge"]
    assert list(fitted_prompts(bank, rows, {"k": 2, "max_depth": 0})) == ["cook", "judge"]
    for clustering in ({"k": None}, {"k": 3}, {"k": 2, "max_depth": 1}, {"min_cluster_size": 10}):
        with pytest.raises(
            ConfigError, match=r"lacks 'a farmer': add .* clustering.k=2 .* got \['a cook', 'a judge'\]"
        ):
            fitted_prompts(bank, rows, clustering)
        assert fitted_prompts(MixtureBank(["a cook", "a farmer"]), rows, clustering)


def test_a_supervised_bank_changes_the_modes_of_each_row_alone(stand_ins):
    own, supervised = keys(), keys("bank=supervised")
    assert own.keys() == supervised.keys()
    assert {name for name in own if own[name] == supervised[name]} == {"collect", "generate/vanilla"}
    assert keys("bank=supervised", "bank.attribute=tone")["discover"] != supervised["discover"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["bank=supervised", "bank.attribute=mood"], "`bank.attribute` must be one of gender, tone, age, which the judge"),
        (["bank=mixture"], "`bank.fitting` must be at least two prompts, where the job has one (or take bank=carried)"),
        ([*LIST, "bank=mixture", "bank.fitting=['a cat','a dog']"], "`bank.fitting` must be a list that holds all of the job's"),
        (["bank=carried", "bank.threshold=own"], "`bank.threshold` must be one of shared, prompt, got 'own'"),
        (["bank=carried", "bank.source=' '"], "`bank.source` must be a text that is not blank, got ' '"),
        (["bank=carried", "bank.fitting=['a cat','A  cat']"], "`bank.fitting` must be a list of different texts"),
        (["bank=carried", "bank.fitting=[]"], "`bank.fitting` must be a list of different texts"),
        (["bank=carried", "prompts=unconditional"], "`bank` must be own for a model without prompts"),
        (["guidance=attribute_prompts", "prompts.text='Photo of nurses'"], "`prompts.text` must have an article and a noun"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_before_anything_runs(stand_ins, with_attribute_prompts, overrides, message, capsys):
    assert main([*overrides, "logger=none"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and message in err
    assert stand_ins == []


@pytest.fixture
def with_attribute_prompts(stand_ins):
    """The stand-ins, with the real guidance of this name."""
    lines = ["defaults: [transport@of]", "_target_: selfdebias.guidance.AttributePrompts"]
    lines += ["texts: ['a man {}', 'a woman {}']", "generic: person"]
    (sources.conf_folder() / "guidance" / "attribute_prompts.yaml").write_text("\n".join(lines))
    return stand_ins


def test_the_oracle_draws_other_prompts_in_equal_shares_from_the_same_ids(with_attribute_prompts):
    assert main(["guidance=attribute_prompts", "logger=none", "stages=[collect,discover,project,generate]"]) == 0
    drawn = {call["arm"]: call["prompts"] for call in with_attribute_prompts if call["stage"] == "generate"}
    assert list(drawn) == ["vanilla", "guided", "attribute_prompts"]
    assert isinstance(drawn["attribute_prompts"], EqualShares)
    prompts = drawn["attribute_prompts"].for_images(8)
    assert prompts == ["an emoji of a man"] * 4 + ["an emoji of a woman"] * 4
    assert drawn["vanilla"].for_images(1) == drawn["guided"].for_images(1) == ["an emoji of a person"]


def test_the_oracles_key_follows_its_texts_and_no_modes(with_attribute_prompts):
    name = "generate/attribute_prompts"
    base = keys("guidance=attribute_prompts")
    for same in ("clustering.k_max=5", "schedule.stop=0.5", "guidance.of.strength=3", "collect.seed=4"):
        assert keys("guidance=attribute_prompts", same)[name] == base[name]
    for other in ("guidance.texts=['a male {}','a female {}']", "generate.seed=4", "prompts.text='a cook'"):
        assert keys("guidance=attribute_prompts", other)[name] != base[name]
    assert base["generate/guided"] == keys()["generate/guided"]


def test_the_oracles_prompts_of_each_row_and_template(with_attribute_prompts):
    templates = "prompts.templates=['Image of {}','Photo of {}']"
    found = steps(*LIST, "guidance=attribute_prompts", templates)
    prompts = found["generate/office-worker/attribute_prompts"].arguments["prompts"]
    assert prompts.for_images(4) == [
        f"{template} of a {sex} office worker" for template in ("Image", "Photo") for sex in ("man", "woman")
    ]


def test_emoji_worlds_oracle_asks_for_captions_that_it_was_trained_on():
    from experiments.emoji_world.captions import all_captions

    loaded = config.load(["prompts=emoji_occupations", "guidance=attribute_prompts"])
    assert isinstance(make(loaded, "prompts"), PromptList)
    found = run.make_plan(loaded, {})
    known = set(all_captions())
    for row in rows_of(loaded):
        prompts = found[f"generate/{row}/attribute_prompts"].arguments["prompts"]
        assert set(prompts.for_images(2)) <= known and len(set(prompts.for_images(2))) == 2


def test_each_bank_makes_all_parts():
    for option in ("own", "carried", "supervised"):
        Parts(config.load([f"bank={option}"]))
