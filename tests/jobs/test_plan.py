"""A key changes with what the stage depends on, and with nothing else."""

from __future__ import annotations

import pytest
from PIL import Image

from selfdebias.config import compose as config
from selfdebias.config.schema import STAGES
from selfdebias.guidance import TransportGuidance
from selfdebias.jobs import job, run
from selfdebias.jobs.parts import Parts
from selfdebias.jobs.stages.discover import discover_projected
from selfdebias.main import main


def keys(*overrides):
    loaded = config.load(list(overrides))
    return {name: step.key for name, step in run.make_plan(loaded, Parts(loaded).fingerprints()).items()}


def changed(*overrides, base=()):
    before, after = keys(*base), keys(*base, *overrides)
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


AFTER_GENERATE = {"evaluate", "report"}
ALL = {"collect", "discover", "project", "generate/vanilla", "generate/guided", *AFTER_GENERATE}


@pytest.mark.parametrize(
    "override, expected",
    [
        ("paths.root=elsewhere", set()),
        ("logger=none", set()),
        ("logger=[csv,tensorboard]", set()),
        ("logger.wandb.project=other", set()),
        ("tags=[a,b]", set()),
        ("trainer.devices=2", set()),
        ("trainer=ddp", set()),
        ("trainer.accelerator=cpu", set()),
        ("encoder.device=cuda", set()),
        ("guidance.strength=0.7", {"generate/guided", *AFTER_GENERATE}),
        ("schedule.stop=0.5", {"generate/guided", *AFTER_GENERATE}),
        ("projector.width=16", {"project", "generate/guided", *AFTER_GENERATE}),
        ("collect.seed=5", ALL - {"generate/vanilla"}),
        ("generate.seed=5", {"generate/vanilla", "generate/guided", *AFTER_GENERATE}),
        ("prompts.text='a doctor'", ALL),
        ("prompts.attributes=[tone]", AFTER_GENERATE),
        ("evaluate.bootstrap=20", AFTER_GENERATE),
        ("report.images=8", {"report"}),
        ("model.steps=20", ALL),
        ("model.weights=w2", ALL),
        ("generate.sampler={steps: 50}", set()),  # what the model has anyway
    ],
)
def test_what_changes_which_keys(stand_ins, override, expected):
    assert changed(override) == expected


def test_arms_of_one_sampler_are_the_same_however_it_was_asked_for(stand_ins):
    both, arms = keys("model.steps=20"), keys("generate.sampler={steps: 20}")
    assert both["generate/vanilla"] == arms["generate/vanilla"] and both["collect"] != arms["collect"]
    assert arms["collect"] == keys()["collect"] and arms["evaluate"] != keys()["evaluate"]


def test_reference_images_are_drawn_where_the_collected_ones_are_of_another_sampler(stand_ins):
    steps = run.make_plan(config.load(["generate.sampler={steps: 20}", "evaluate.reference_images=1000"]), {})
    assert list(steps)[-3:] == ["collect/reference", "evaluate", "report"]
    assert steps["evaluate"].inputs["drawn"].name == "collect/reference"
    assert steps["collect/reference"].key == run.make_plan(config.load(["model.steps=20"]), {})["collect"].key
    without = run.make_plan(config.load(["generate.sampler={steps: 20}", "evaluate.reference=elsewhere"]), {})
    assert "collect/reference" not in without and "drawn" not in without["evaluate"].inputs
    for stages, drawn in ((["collect", "discover"], False), (["collect", "evaluate"], True)):
        assert ("collect/reference" in [step.name for step in job.chosen_stages(steps, stages)]) == drawn


def test_a_part_of_the_guidance_scale_is_the_key_of_that_scale():
    half, stated = (
        run.make_plan(config.load(overrides), FINGERPRINTS)
        for overrides in (
            [],
            ["model.guidance_scale=1.5", "collect.relative_scale=1", "generate.sampler={guidance_scale: 3.0}"],
        )
    )
    assert {name: step.key for name, step in half.items()} == {name: step.key for name, step in stated.items()}
    own = run.make_plan(config.load(["collect.relative_scale=1"]), FINGERPRINTS)
    assert "collect/reference" not in own and own["generate/vanilla"].key == half["generate/vanilla"].key
    smaller = run.make_plan(config.load(["collect.relative_scale=1", "collect.n_images=256"]), FINGERPRINTS)
    assert smaller["collect"].key == half["collect/reference"].key


def test_weights_are_in_the_key_by_their_fingerprint(stand_ins):
    loaded = config.load([])
    one = run.make_plan(loaded, {"model": "sha1"})
    two = run.make_plan(loaded, {"model": "sha2"})
    assert {name for name in one if one[name].key != two[name].key} == ALL


def labelled(root, colour, attribute="gender"):
    for name in ("man", "woman"):
        (root / attribute / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), colour).save(root / attribute / name / "0.png")
    return f"evaluate.labelled={root}"


def test_labelled_images_are_in_the_key_by_their_content(stand_ins, tmp_path):
    assert changed(labelled(tmp_path / "faces", "red")) == AFTER_GENERATE
    before = keys(labelled(tmp_path / "faces", "red"))
    after = keys(labelled(tmp_path / "faces", "blue"))
    assert {name for name in before if before[name] != after[name]} == AFTER_GENERATE
    assert keys(labelled(tmp_path / "faces", "red")) == before


def test_labels_that_the_judge_does_not_know_are_refused_before_anything_runs(stand_ins, tmp_path, capsys):
    assert main([labelled(tmp_path / "faces", "red", "race")]) == 2
    err = capsys.readouterr().err
    assert (
        err.count("\n") == 1
        and "gender: man, woman; tone: pale, dark; age: child, adult), got the attribute 'race'" in err
    )
    assert stand_ins == []


@pytest.mark.parametrize(
    "guidance, changes", [("transport", True), ("select_then_transport", True), ("mean_transport", False)]
)
def test_a_version_of_a_guidance_gives_its_images_another_key_and_no_others(guidance, changes, monkeypatch):
    before = keys(f"guidance={guidance}")
    monkeypatch.setattr(TransportGuidance, "version", 3)
    after = keys(f"guidance={guidance}")
    found = {name for name in before if before[name] != after[name]}
    assert found == ({"generate/guided", *AFTER_GENERATE} if changes else set())


def test_a_raised_version_gives_another_key_from_there_on(stand_ins, monkeypatch):
    before = keys()
    monkeypatch.setattr(run.project, "VERSION", 2)
    after = keys()
    different = {name for name in before if before[name] != after[name]}
    assert different == {"project", "generate/guided", *AFTER_GENERATE}


def test_arms_are_shared_between_guidances(stand_ins):
    debias, none, random = keys(), keys("guidance=none"), keys("guidance=random")
    assert set(none) == {"collect", "discover", "project", "generate/vanilla", *AFTER_GENERATE}
    assert set(random) - set(debias) == {"generate/random"}
    assert debias["generate/vanilla"] == none["generate/vanilla"] == random["generate/vanilla"]
    assert debias["generate/guided"] == random["generate/guided"]
    assert len({*debias.values(), *none.values(), *random.values()}) == 7 + 1 + 2 * 2


def test_the_random_arm_follows_the_arm_that_it_replays(stand_ins):
    different = changed("guidance.of.strength=0.9", base=["guidance=random"])
    assert different == {"generate/guided", "generate/random", *AFTER_GENERATE}


def test_the_jobs_hash_follows_its_stages(stand_ins):
    steps = run.make_plan(config.load([]), {})
    hashes = {job.config_hash(steps, stages) for stages in (["collect"], ["collect", "discover"], list(STAGES))}
    assert len(hashes) == 3


# Keys of jobs as they were before prompts had templates and `generate` was a group: images drawn then must be found
# still. A number here changes with a raised `VERSION`, a new default or a new option, and with nothing else.
FINGERPRINTS = {"model": "sha-m", "encoder": "sha-e", "judge": "sha-j", "vocabulary": "sha-v"}
DRAWN = {
    "collect": "f568bd84a1165fa0",
    "discover": "2338335a7f4723f9",
    "project": "8205dce0dc0b079c",
    "generate/vanilla": "f22c430c75082e63",
    "generate/guided": "609844c96d2778bd",
}
DRAWN_BY_STAND_INS = {
    "collect": "878bd3878bacae6a",
    "discover": "975dc811e30d733e",
    "project": "f5a4b695edf8a27b",
    "generate/vanilla": "329f2a9d2a26f173",
    "generate/guided": "bc32b5b36af9eef5",
}
ROWS = ["prompts=emoji_occupations", "prompts.subjects=['a farmer','an office worker']"]
FARMER = ["prompts.text='an emoji of a farmer'", "prompts.attributes=[gender,tone]"]


def test_in_the_projected_space_project_comes_before_discover():
    asked = [
        "clustering=spectral",
        "clustering.space=projected",
        "projector.balanced=false",
        "collect.relative_scale=1",
    ]
    steps = run.make_plan(config.load(asked), FINGERPRINTS)
    assert list(steps)[:3] == ["collect", "project", "discover"]
    read = {
        name: {argument: it.name for argument, it in steps[name].inputs.items()}
        for name in ("project", "discover", "generate/vanilla", "generate/guided")
    }
    assert read == {
        "project": {"collected": "collect"},
        "discover": {"collected": "collect", "projected": "project"},
        "generate/vanilla": {},
        "generate/guided": {"projected": "project", "discovered": "discover"},
    }
    assert steps["discover"].function is discover_projected
    image = run.make_plan(config.load(["clustering=spectral", *asked[2:]]), FINGERPRINTS)
    same = {name for name in steps if steps[name].key == image[name].key}
    assert same == {"collect", "generate/vanilla"}


def test_keys_of_a_job_without_templates_are_what_they_were():
    as_then = ["collect.n_images=256", "collect.relative_scale=1", "guidance=self_debias", "schedule.start=0.12"]
    as_then += ["projector.noise=0.3", "encoder=emoji_clip_informed", "clustering=spectral"]
    steps = run.make_plan(config.load(as_then), FINGERPRINTS)
    assert {name: steps[name].key for name in DRAWN} == DRAWN


def test_keys_of_stand_ins_are_what_they_were(stand_ins):
    found = keys("collect.n_images=256", "schedule.start=0.12")
    assert {name: found[name] for name in DRAWN_BY_STAND_INS} == DRAWN_BY_STAND_INS


def test_a_row_has_the_keys_of_a_job_that_has_its_prompt_alone(stand_ins):
    rows, single = keys(*ROWS), keys(*FARMER)
    assert list(rows) == [
        *("collect/farmer", "discover/farmer", "project/farmer", "generate/farmer/vanilla", "generate/farmer/guided"),
        *(
            "evaluate/farmer",
            "report/farmer",
            "collect/office-worker",
            "discover/office-worker",
            "project/office-worker",
        ),
        *("generate/office-worker/vanilla", "generate/office-worker/guided", "evaluate/office-worker"),
        "report/office-worker",
    ]
    in_rows = {name.replace("/farmer", ""): key for name, key in rows.items() if "/farmer" in name}
    assert in_rows == single
    assert len(set(rows.values())) == 2 * len(single)


def test_a_row_with_templates_has_the_keys_of_a_job_with_the_same_templates(stand_ins):
    templates = "['Image of {}','Photo of {}']"
    rows = keys(*ROWS, f"prompts.templates={templates}")
    single = keys("prompts.text='a farmer'", "prompts.attributes=[gender,tone]", f"+prompts.templates={templates}")
    assert {name: rows[name.replace("/", "/farmer/") if "/" in name else f"{name}/farmer"] for name in single} == single
    plain = keys("prompts.text='a farmer'", "prompts.attributes=[gender,tone]")
    assert {name for name in single if single[name] != plain[name]} == ALL


def test_the_steps_of_a_row_read_that_row_alone(stand_ins):
    loaded = config.load([*ROWS, "guidance=random"])
    steps = run.make_plan(loaded, {})
    for step in steps.values():
        assert all(read.row == step.row for read in step.before)
    assert steps["report/farmer"].before[-1].name == "generate/farmer/random"


def test_the_jobs_hash_covers_all_rows(stand_ins):
    def hashed(*subjects):
        loaded = config.load([ROWS[0], f"prompts.subjects={list(subjects)}"])
        return job.config_hash(run.make_plan(loaded, {}), list(STAGES))

    assert hashed("a farmer", "a cook") == hashed("a farmer", "a cook")
    assert len({hashed("a farmer", "a cook"), hashed("a farmer"), hashed("a cook"), hashed("a farmer", "a judge")}) == 4
