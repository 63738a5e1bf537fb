"""What comes from outside a job is named, found, hashed, and held against the job's own encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selfdebias.config.keys import with_named_folders
from selfdebias.config.rules import ConfigError
from selfdebias.encoders import ClipEncoder, PixelEncoder
from selfdebias.jobs import evaluation_inputs as inputs
from selfdebias.jobs.stages.project import name_of
from selfdebias.judges.emoji import EmojiJudge
from selfdebias.metrics.arms import ArmData, save_arm
from selfdebias.metrics.features import identity, load_reference, origin_of
from selfdebias.storage.atomic import write_bytes, write_json, write_tensors
from selfdebias.storage.provenance import read_origin

NOTHING = {"folders": None, "reference": None, "modes": None, "drawn_together": 1}
PIXELS = PixelEncoder(dim=4, size=2, seed=0)


def config(**evaluate) -> dict:
    return {"stages": ["evaluate"], "model": {}, "evaluate": NOTHING | evaluate}


def cached(folder, encoder=PIXELS, origin=True):
    data = ArmData(
        "vanilla", 0.5, {"gender": ("man", "woman")}, {"gender": np.full((3, 2), 0.5)}, np.eye(4)[:3], np.array([1, 0, 1]),
        np.arange(3), np.arange(3, dtype=np.uint64), np.array([0, 0, 1]), np.zeros(3, dtype=np.int64),
        np.zeros(3, dtype=bool), np.full(3, 20.0),
    )  # fmt: skip
    save_arm(folder, data, origin_of(EmojiJudge(), encoder, None, "sha", "key") if origin else None)
    return folder / "probabilities-vanilla.safetensors"


@pytest.fixture
def job(tmp_path):
    """A finished job, of whose stages only the marks matter."""
    stages = {name: f"stages/{name}/k{name}" for name in ("collect", "discover")}
    write_json(tmp_path / "jobs" / "hash" / "job.json", {"stages": stages})
    collect, discover = (tmp_path / path for path in stages.values())
    write_json(collect / "stage.json", {"weights": {"encoder": "its hash"}})
    write_json(discover / "stage.json", {"inputs": {"collected": "kcollect"}})
    write_json(discover / "modes.json", {"k": 2})
    write_tensors(discover / "centers.safetensors", {"centers": torch.eye(2)})
    return tmp_path / "jobs" / "hash"


def test_a_list_is_named_by_the_last_parts_of_its_paths():
    named = with_named_folders(config(folders=["x/a", "../b/", "/c.d"]))
    assert named["evaluate"]["folders"] == {"a": "x/a", "b": "../b/", "c.d": "/c.d"}
    same = config(folders={"vanilla": "x/a", "peer-2": "b"})
    assert with_named_folders(same)["evaluate"]["folders"] == same["evaluate"]["folders"]
    assert with_named_folders(config()) == config()
    for folders in (["a b"], ["/"], [".hidden"], {"collected": "a"}, {"": "a"}, {3: "a"}):
        with pytest.raises(ConfigError, match=r"`evaluate.folders` must be folders whose names are letters"):
            with_named_folders(config(folders=folders))


def test_the_hash_follows_all_that_is_read_and_the_order_of_the_arms(tmp_path, job):
    for name in ("a", "b"):
        write_bytes(tmp_path / name / "x.png", name.encode())
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    file = cached(tmp_path / "evaluated")

    def hashes():
        asked = (
            {"folders": {"a": a, "b": b}}, {"folders": {"b": b, "a": a}}, {"folders": {"a": a}}, {"folders": {"c": a}},
            {"folders": {"a": a}, "drawn_together": 2}, {"folders": {"a": a}, "reference": b},
            {"folders": {"a": a}, "reference": str(file)}, {"folders": {"a": a}, "modes": str(job)}, {"reference": a},
        )  # fmt: skip
        return [inputs.fingerprint_inputs(NOTHING | more)["evaluate"] for more in asked]

    before = hashes()
    assert len({*before[:4], *before[5:]}) == 8 and before == hashes()
    write_bytes(tmp_path / "a" / "x.png", b"other")
    assert not {*before} & {*hashes()}
    assert inputs.fingerprint_inputs(NOTHING) == {}


def test_a_job_stands_for_its_stages(tmp_path, job):
    assert inputs.reference_folder(str(job)) == tmp_path / "stages" / "collect" / "kcollect"
    assert inputs.discover_folder(str(job)) == tmp_path / "stages" / "discover" / "kdiscover"
    assert inputs.discover_folder(str(tmp_path / "stages" / "discover" / "kdiscover")).name == "kdiscover"
    assert inputs.discover_folder(str(tmp_path)).name == "kdiscover"  # the folder of one fit
    assert inputs.collected_by(inputs.discover_folder(str(job))) == "kcollect"
    modes = tmp_path / "stages" / "discover" / "kdiscover" / "modes.json"
    modes.rename(tmp_path / "elsewhere.json")
    modes.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ConfigError, match="`evaluate.modes`: .*got a link to somewhere else"):
        inputs.discover_folder(str(job))
    write_json(job / "job.json", {"stages": {"collect": "stages/collect/gone"}})
    with pytest.raises(ConfigError, match="`evaluate.modes` must be a job with its discover stage"):
        inputs.discover_folder(str(job))
    with pytest.raises(ConfigError, match="`evaluate.reference` must be a job with its collect stage"):
        inputs.reference_folder(str(job))


def test_modes_of_another_encoder_are_refused(job):
    asked = NOTHING | {"modes": str(job)}
    inputs.check_encoder(asked, "any", "", "its hash")
    inputs.check_encoder(asked, "any", "", "")  # an encoder without a hash cannot be told apart
    with pytest.raises(ConfigError, match=r"`evaluate.modes` must be modes that were found with this job's encoder"):
        inputs.check_encoder(asked, "any", "", "another hash")


def test_modes_of_a_fit_by_another_encoder_are_refused(tmp_path, job):
    encoder, other = ClipEncoder("shipped:emoji_clip"), ClipEncoder("shipped:emoji_clip_informed")
    folder = tmp_path / "stages" / "discover" / "kdiscover"
    write_json(folder / "stage.json", {"asked": {"encoder": name_of(encoder)}})
    asked = NOTHING | {"modes": str(tmp_path)}
    inputs.check_encoder(asked, "any", "", encoder.fingerprint())
    with pytest.raises(ConfigError, match=r"`evaluate.modes` must be modes that were found with this job's encoder"):
        inputs.check_encoder(asked, "any", "", other.fingerprint())


def test_a_cached_reference_of_another_encoder_is_refused(tmp_path):
    asked = NOTHING | {"reference": str(cached(tmp_path))}
    own = identity(PixelEncoder(dim=4, size=2, seed=0))
    inputs.check_encoder(asked, own, "", "")
    with pytest.raises(ConfigError, match="`evaluate.reference` must be a file made with this job's metrics.features"):
        inputs.check_encoder(asked, own, "inception", "")
    for other in (PixelEncoder(dim=4, size=2, seed=1), ClipEncoder("shipped:emoji_clip")):
        with pytest.raises(ConfigError, match="`evaluate.reference` must be a file made with this job's encoder"):
            inputs.check_encoder(asked, identity(other), "", "")


def test_a_cached_reference_keeps_its_images_and_gets_the_modes_of_this_evaluation(tmp_path):
    data, origin = load_reference(cached(tmp_path), "reference", EmojiJudge(threshold=0.7), np.eye(4)[:2])
    assert (data.arm, data.threshold, data.psnr) == ("reference", 0.7, None)
    assert data.modes.tolist() == [0, 1, 0] and data.blocks.tolist() == [0, 0, 1]
    assert (origin["sha256"], origin["key"]) == ("sha", "key")
    assert (
        load_reference(tmp_path / "probabilities-vanilla.safetensors", "r", EmojiJudge(), None)[0].modes.tolist()
        == [-1] * 3
    )


def test_a_file_without_a_note_of_its_encoder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="with a note of its encoder"):
        read_origin(cached(tmp_path, origin=False))
    write_bytes(tmp_path / "other", b"no tensors")
    with pytest.raises(ConfigError, match="`evaluate.reference` must be a folder, a job, or a probabilities-<arm>"):
        read_origin(tmp_path / "other")
