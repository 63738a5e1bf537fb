from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from selfdebias.config.ranges import RANGES, check_values
from selfdebias.modes.means import ModeMeans
from selfdebias.modes.projection import SemanticProjector
from selfdebias.modes.projector_fit import ProjectorFit, contrastive_loss
from selfdebias.modes.readers import READERS

OPTIONS = {
    "hidden": 32, "noise": 0.1, "temperature": 0.1, "steps": 150, "batch_size": 32, "learning_rate": 3e-3,
    "weight_decay": 0.0, "dropout": 0.0, "seed": 0, "reader": "flattened",
}  # fmt: skip


def _world(n: int = 96, seed: int = 0) -> dict[str, torch.Tensor]:
    """Activations that are a fixed linear map of the image's embedding, scaled by a factor that differs by timestep."""
    generator = torch.Generator().manual_seed(seed)
    mode = (torch.arange(n) % 4 == 0).long()  # three quarters in mode 0
    e = F.normalize(torch.eye(6)[mode] * 2 + 0.5 * torch.randn(n, 6, generator=generator), dim=1)
    mixing = torch.randn(6, 8, generator=torch.Generator().manual_seed(99))
    timestep = torch.tensor([100.0, 700.0])[torch.arange(n) // 4 % 2]
    h = (e @ mixing).reshape(n, 2, 2, 2) * timestep[:, None, None, None] / 100
    return {"h": h, "e": e, "id": torch.arange(n), "branch": torch.zeros(n).long(), "mode": mode, "timestep": timestep}


def _train(data, **options) -> ProjectorFit:
    fit = ProjectorFit(data, ("cond",), **{**OPTIONS, **options})
    setup = fit.configure_optimizers()
    fit.log_dict = lambda *args, **kwargs: None
    fit.train()
    for i in range(fit.steps):
        setup["optimizer"].zero_grad()
        fit.training_step(None, i).backward()
        setup["optimizer"].step()
        setup["lr_scheduler"]["scheduler"].step()
    return fit


@pytest.mark.parametrize("reader", ["flattened", "convolutional"])
def test_the_projector_finds_the_embeddings_of_images_it_has_not_seen(reader):
    phi = _train(_world(), reader=reader).projector.eval()
    new = _world(seed=5)
    z = phi(new["h"], new["timestep"], new["branch"])
    assert torch.allclose(z.norm(dim=1), torch.ones(len(z)), atol=1e-5)
    assert float((z * new["e"]).sum(dim=1).mean()) > 0.85
    assert (z @ new["e"].T).argmax(dim=1).eq(torch.arange(len(z))).float().mean() > 0.3  # chance is 1 in 96


def test_the_pooled_reader_sees_means_alone_and_pushes_every_place_alike():
    data = _world()
    phi = ProjectorFit(data, ("cond",), **{**OPTIONS, "reader": "pooled"}).projector.eval()
    h = data["h"].requires_grad_(True)
    shuffled = h.flip(3)
    args = data["timestep"], data["branch"]
    assert torch.allclose(phi(h, *args), phi(shuffled, *args), atol=1e-6)
    (gradient,) = torch.autograd.grad(phi(h, *args)[:, 0].sum(), h)
    assert (
        torch.allclose(gradient, gradient[:, :, :1, :1].expand_as(gradient), atol=1e-7)
        and float(gradient.abs().max()) > 0
    )


@pytest.mark.parametrize("reader", ["flattened", "convolutional"])
def test_at_a_lower_resolution_means_of_places_are_read_and_pushed_alike(reader):
    data = _world()
    data["h"] = F.interpolate(data["h"], scale_factor=2) + torch.randn(
        96, 2, 4, 4, generator=torch.Generator().manual_seed(3)
    )
    phi = ProjectorFit(data, ("cond",), **{**OPTIONS, "reader": reader, "resolution": 2}).projector.eval()
    assert (phi.shape, phi.places) == ((2, 2, 2), (4, 4))
    args = data["timestep"], data["branch"]
    h, means = data["h"].clone().requires_grad_(True), F.avg_pool2d(data["h"], 2)
    assert torch.allclose(phi(h, *args), phi(means, *args), atol=1e-5)
    x = phi.standardise(h, *args)
    assert torch.allclose(x[data["timestep"] == 100].std(dim=(0, 2, 3), unbiased=False), torch.ones(2), atol=1e-3)
    (gradient,) = torch.autograd.grad(phi(h, *args)[:, 0].sum(), h)
    assert torch.equal(gradient, F.interpolate(gradient[:, :, ::2, ::2], scale_factor=2)) and gradient.any()
    whole = ProjectorFit(data, ("cond",), **{**OPTIONS, "reader": reader}).projector
    assert whole.design["places"] is None and whole.shape == (2, 4, 4)


@pytest.mark.parametrize("side", [2, 4, 8])
def test_means_of_modes_are_for_any_number_of_places(side):
    deviations = torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).half()
    found = ModeMeans(torch.tensor([500.0]), deviations).at(500.0, (side, side))
    own = deviations[0].float()
    wanted = {2: F.avg_pool2d(own, 2), 4: own, 8: F.interpolate(own, scale_factor=2)}[side]
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(("reader", "most"), [("pooled", 1.3e6), ("convolutional", 4e6), ("flattened", 50e6)])
def test_the_number_of_weights_at_the_width_of_stable_diffusion(reader, most):
    phi = SemanticProjector((1280, 8, 8), 512, 512, ("uncond", "cond"), torch.zeros(8), reader=reader)
    assert 0.5 * most < sum(p.numel() for p in phi.parameters()) <= most


def test_the_convolutional_reader_stays_small_on_large_images():
    made = [SemanticProjector((16, n, n), 8, 8, ("cond",), torch.zeros(1), reader="convolutional") for n in (8, 12, 32)]
    assert len({sum(p.numel() for p in phi.parameters()) for phi in made}) == 1
    large = SemanticProjector((16, 12, 20), 8, 8, ("cond",), torch.zeros(1), reader="convolutional")
    z = large(torch.randn(2, 16, 12, 20), torch.zeros(2), torch.zeros(2).long())
    assert torch.allclose(z.norm(dim=1), torch.ones(2), atol=1e-5)


def test_the_readers_of_the_configuration_are_those_that_there_are():
    for reader in READERS:
        check_values("projector", {"reader": reader})
    assert RANGES["projector"]["reader"].words == f"one of {', '.join(READERS)}"


def test_an_unknown_reader_is_named():
    with pytest.raises(
        ValueError, match="`projector.reader` must be one of flattened, pooled, convolutional, got 'wide'"
    ):
        SemanticProjector((8, 2, 2), 4, 4, ("cond",), torch.zeros(1), reader="wide")


def test_same_seed_same_projector():
    first, second = (_train(_world(), steps=5).projector.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = _train(_world(), steps=5, seed=1).projector.state_dict()
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])


def test_batches_are_balanced_over_modes():
    fit = ProjectorFit(_world(), ("cond",), **OPTIONS)
    rows = torch.multinomial(fit.weights, 4000, replacement=True, generator=fit.generator)
    share = float(fit.data["mode"][rows].float().mean())
    assert abs(share - 0.5) < 0.04  # the data have 0.25


def test_standardised_activations_have_zero_mean_and_unit_scale_at_each_timestep():
    data = _world()
    phi = ProjectorFit(data, ("cond",), **OPTIONS).projector
    x = phi.standardise(data["h"], data["timestep"], data["branch"])
    for t in (100.0, 700.0):
        at = x[data["timestep"] == t]
        assert torch.allclose(at.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5)
        assert torch.allclose(at.std(dim=(0, 2, 3), unbiased=False), torch.ones(2), atol=1e-4)
    between = phi.standardise(data["h"][:1], torch.tensor([400.0]), data["branch"][:1])
    center = (phi.centers[0, 0] + phi.centers[0, 1]) / 2
    scale = (phi.scales[0, 0] + phi.scales[0, 1]) / 2
    assert torch.allclose(between[0], (data["h"][0] - center[:, None, None]) / scale[:, None, None], atol=1e-5)


@pytest.mark.parametrize("reader", ["flattened", "pooled", "convolutional"])
def test_save_and_load_agree(reader, tmp_path):
    data = _world()
    phi = ProjectorFit(data, ("cond",), **{**OPTIONS, "reader": reader}).projector.eval()
    phi.save(tmp_path / "projector.safetensors")
    loaded = SemanticProjector.load(tmp_path / "projector.safetensors")
    args = data["h"], data["timestep"], data["branch"]
    assert torch.equal(phi(*args), loaded(*args))
    assert not any(p.requires_grad for p in loaded.parameters())


def test_contrastive_loss_agrees_with_a_naive_loop():
    generator = torch.Generator().manual_seed(0)
    z, e = (F.normalize(torch.randn(6, 4, generator=generator), dim=1) for _ in range(2))
    ids = torch.tensor([0, 1, 2, 2, 3, 0])
    total = 0.0
    for i in range(6):
        others = [j for j in range(6) if j == i or ids[j] != ids[i]]
        scores = torch.stack([z[i] @ e[j] / 0.2 for j in others])
        total += float(torch.logsumexp(scores, 0) - z[i] @ e[i] / 0.2)
    assert abs(float(contrastive_loss(z, e, ids, 0.2)) - total / 6) < 1e-5


def test_chance_level_of_the_contrastive_loss_is_log_n():
    z = F.normalize(torch.ones(8, 4), dim=1)
    assert abs(float(contrastive_loss(z, z, torch.arange(8), 0.1)) - torch.log(torch.tensor(8.0))) < 1e-5


def test_without_balance_every_activation_is_as_likely():
    fit = ProjectorFit(_world(), ("cond",), **OPTIONS, balanced=False)
    assert torch.equal(fit.weights, torch.ones(96))


def test_without_negatives_the_loss_is_the_cosine_alone():
    data = _world()
    losses = {}
    for negatives in (True, False):
        fit = ProjectorFit(data, ("cond",), **{**OPTIONS, "noise": 0.0}, negatives=negatives)
        logged: dict = {}
        fit.log = lambda name, value, logged=logged, **_: logged.update({name: value})
        losses[negatives] = float(fit.training_step(None, 0).detach()), float(logged["cosine"].detach())
    loss, cosine = losses[False]
    assert loss == pytest.approx(-cosine / OPTIONS["temperature"], rel=1e-5)
    assert losses[True][1] == pytest.approx(cosine, rel=1e-5) and losses[True][0] > 1 - cosine
