"""What evaluation asks of every judge in `conf/judge`. Weights that a user supplies are random ones, in a file."""

from __future__ import annotations

import pytest
import torch

from selfdebias.config import compose as config
from selfdebias.config import sources
from selfdebias.config.targets import check_job, make
from selfdebias.judges import Judge
from tests.architectures import save_clip
from tests.fairface_weights import published

OPTIONS = sorted(path.stem for path in (sources.conf_folder() / "judge").glob("*.yaml"))
FACES = {"gender": 2, "race": 4, "age": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Judges by option, each made once from its own configuration."""
    judges: dict[str, Judge] = {}

    def get(option: str) -> Judge:
        if option not in judges:
            folder, more = tmp_path_factory.mktemp(option), []
            plain = config.load([f"judge={option}"])["judge"]
            if "encoder" in plain:
                more = [f"judge.encoder.pretrained={save_clip(folder / 'clip', 0)}"]
            if "weights" in plain:
                torch.save(published(), folder / "weights.pt")
                more = [f"judge.weights={folder / 'weights.pt'}"]
            loaded = config.load([f"judge={option}", *more])
            check_job(loaded)
            judges[option] = make(loaded, "judge")
        return judges[option]

    return get


@pytest.mark.parametrize("option", OPTIONS)
def test_it_states_its_classes_its_threshold_and_its_encoder(made, option):
    judge = made(option)
    assert isinstance(judge, Judge)
    assert judge.classes and all(len(set(names)) == len(names) >= 2 for names in judge.classes.values())
    assert 0 <= judge.threshold <= 1
    assert len(judge.fingerprint()) >= 32 and judge.fingerprint() == judge.fingerprint()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_probabilities_are_float32_sum_to_one_and_do_not_depend_on_the_batch(made, option, size):
    judge, images = made(option), torch.rand(4, 3, *size, generator=torch.Generator().manual_seed(0))
    said, alone = judge(images), judge(images[2:3])
    assert list(said) == list(judge.classes)
    for name, p in said.items():
        assert p.shape == (4, len(judge.classes[name])) and p.dtype == torch.float32 and not p.requires_grad
        assert torch.allclose(p.sum(dim=1), torch.ones(4), atol=1e-5) and (p >= 0).all()
        assert torch.allclose(p[2], alone[name][0], atol=1e-4)


@pytest.mark.parametrize("option", OPTIONS)
def test_its_features_are_what_it_reads_its_probabilities_from(made, option):
    judge, images = made(option), torch.rand(4, 3, 48, 80, generator=torch.Generator().manual_seed(0))
    features = judge.features(images)
    assert features.shape[0] == 4 and features.ndim == 2 and features.shape[1] > 4 and not features.requires_grad
    said, read = judge(images), judge.from_features(features)
    assert all(torch.equal(said[name], read[name]) for name in judge.classes)
    flat = judge.from_features(torch.zeros_like(features))  # nothing but the features is read
    assert all(torch.equal(p, p[:1].expand_as(p)) for p in flat.values())


@pytest.mark.parametrize("option", OPTIONS)
def test_what_it_states_of_its_error_fits_its_classes(made, option):
    judge = made(option)
    for name, it in (getattr(judge, "confusion", None) or {}).items():
        assert len(it.counts) == len(judge.classes[name]) and it.source


@pytest.mark.parametrize("option", ["clip_zeroshot", "fairface"])
def test_judges_of_faces_share_the_names_of_gender_race_and_age(made, option):
    classes = made(option).classes
    for name, n in FACES.items():
        assert classes[name][:n] == made("clip_zeroshot").classes[name]
    assert made("clip_zeroshot_pets").classes["animal"] == ("dog", "cat")


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.startswith("clip_zeroshot")])
def test_a_zero_shot_judge_names_its_encoder(made, option):
    judge = made(option)
    assert judge.encoder_id and judge.encoder_id == judge.encoder.encoder_id
