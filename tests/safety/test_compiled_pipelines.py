"""A pipeline whose UNet is compiled is guided while it is attached, and vanilla before and after, as often as one likes."""

from __future__ import annotations

import copy
import threading
import warnings

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module

from selfdebias import SelfDebias
from selfdebias.backbones.hspace import BottleneckHook
from selfdebias.modes import KMeansModes
from tests.jobs.stages.world import PixelEncoder
from tests.safety.fitted import PROMPT, tiny_debiaser
from tests.tiny import sample, tiny_pipeline

EIGHT = list(range(8))


@pytest.fixture
def fitted():
    """A pipeline of its own, and what it draws: vanilla, and guided."""
    torch.compiler.reset()
    pipeline, debiaser = tiny_debiaser()
    pipeline = copy.deepcopy(pipeline)
    vanilla = sample(pipeline, EIGHT)
    with debiaser.attach(pipeline):
        guided = sample(pipeline, EIGHT)
    assert not torch.equal(vanilla, guided)
    yield (
        pipeline,
        SelfDebias(debiaser.semantics, debiaser.guidance, debiaser.schedule, debiaser.facts),
        vanilla,
        guided,
    )
    torch.compiler.reset()


def in_place(pipeline, **options):
    pipeline.unet.compile(backend="eager", **options)


def wrapped(pipeline, **options):
    pipeline.unet = torch.compile(pipeline.unet, backend="eager", **options)


def both(pipeline, **options):
    in_place(pipeline, **options)
    wrapped(pipeline, **options)


def blocks(pipeline, **options):
    pipeline.unet.compile_repeated_blocks(backend="eager", **options)


def quick_with(*ways):
    """A case for each way to compile; those that are not named are slow."""
    cases = [pytest.param(it, marks=[pytest.mark.slow] * (it not in ways)) for it in (in_place, wrapped, both, blocks)]
    return pytest.mark.parametrize("compiled", cases)


SLOWLY_WRAPPED = pytest.mark.parametrize("compiled", [in_place, pytest.param(wrapped, marks=pytest.mark.slow)])


def same(images, wanted):
    return torch.allclose(images, wanted, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*runs uncompiled")
@quick_with(in_place, blocks)
@pytest.mark.parametrize("warm", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_compiled_before_it_is_guided_inside_and_vanilla_outside_again_and_again(fitted, compiled, warm):
    pipeline, debiaser, vanilla, guided = fitted
    compiled(pipeline)
    if warm:
        assert same(sample(pipeline, EIGHT), vanilla)
    unet = pipeline.unet
    for _ in range(3):
        with debiaser.attach(pipeline):
            assert same(sample(pipeline, EIGHT), guided)
            assert pipeline.unet is unet
        assert same(sample(pipeline, EIGHT), vanilla)
    with debiaser.attach(pipeline, guidance="self_debias", strength=0.0):
        assert same(sample(pipeline, EIGHT), vanilla)


@pytest.mark.filterwarnings("ignore:.*runs uncompiled")
@quick_with(wrapped, blocks)
def test_compiled_inside_it_is_guided_too_and_vanilla_after(fitted, compiled):
    pipeline, debiaser, vanilla, guided = fitted
    with debiaser.attach(pipeline):
        compiled(pipeline)
        assert same(sample(pipeline, EIGHT), guided)
        assert same(sample(pipeline, EIGHT), guided)
    assert same(sample(pipeline, EIGHT), vanilla)
    with debiaser.attach(pipeline):
        assert same(sample(pipeline, EIGHT), guided)
    assert same(sample(pipeline, EIGHT), vanilla)


@pytest.mark.filterwarnings("ignore:.*runs uncompiled")
@SLOWLY_WRAPPED
def test_a_graph_without_breaks_is_asked_for_and_kept(fitted, compiled):
    """What is compiled is never traced anew for guidance, so that it stays whole."""
    pipeline, debiaser, vanilla, guided = fitted
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    if compiled is in_place:
        pipeline.unet.compile(backend=backend, fullgraph=True)
    else:
        pipeline.unet = torch.compile(pipeline.unet, backend=backend, fullgraph=True)
    assert same(sample(pipeline, EIGHT), vanilla)
    traced = len(graphs)
    assert traced >= 1
    for _ in range(2):
        with debiaser.attach(pipeline):
            assert same(sample(pipeline, EIGHT), guided)
        assert same(sample(pipeline, EIGHT), vanilla)
    assert len(graphs) == traced


@pytest.mark.filterwarnings("ignore:.*runs uncompiled")
@pytest.mark.filterwarnings("ignore:.*outside of its calls")
@SLOWLY_WRAPPED
def test_another_pipeline_that_compiles_the_same_unet_meanwhile_is_vanilla_then_and_later(fitted, compiled):
    pipeline, debiaser, _, guided = fitted
    other = tiny_pipeline(3, pipeline.unet)
    vanilla = sample(other, EIGHT)
    with debiaser.attach(pipeline):
        compiled(other)
        assert same(sample(other, EIGHT), vanilla)
        assert same(sample(pipeline, EIGHT), guided)
        assert same(sample(other, EIGHT), vanilla)
    assert same(sample(other, EIGHT), vanilla)
    for _ in range(2):
        with debiaser.attach(pipeline):
            assert same(sample(pipeline, EIGHT), guided)
            assert same(sample(other, EIGHT), vanilla)


@pytest.mark.filterwarnings("ignore:.*runs uncompiled")
def test_two_attached_pipelines_in_two_threads_leave_the_unet_compiled(fitted):
    pipeline, debiaser, _, guided = fitted
    in_place(pipeline)
    call, other = pipeline.unet._compiled_call_impl, tiny_pipeline(3, pipeline.unet)
    with debiaser.attach(other):
        others = sample(other, EIGHT)
    drawn = {}

    def draw(name, pipe, callback=None):
        images = pipe(
            [PROMPT] * 8, num_inference_steps=3, guidance_scale=3.0, output_type="np", callback_on_step_end=callback,
            generator=[torch.Generator().manual_seed(seed) for seed in EIGHT],
        ).images  # fmt: skip
        drawn[name] = torch.from_numpy(images)

    def meanwhile(pipe, index, timestep, tensors):
        if index == 0:
            thread = threading.Thread(target=draw, args=("other", other))
            thread.start()
            thread.join()
        return tensors

    with debiaser.attach(pipeline), debiaser.attach(other):
        draw("own", pipeline, meanwhile)
    assert same(drawn["own"], guided) and same(drawn["other"], others)
    assert pipeline.unet._compiled_call_impl is call


@pytest.mark.parametrize("compiled", [in_place, wrapped])
def test_after_an_exception_the_unet_is_compiled_as_before(fitted, compiled):
    pipeline = fitted[0]
    compiled(pipeline)
    unet, call = pipeline.unet, pipeline.unet._compiled_call_impl

    def fail(h, step):
        raise RuntimeError("inside")

    with BottleneckHook(pipeline, fail):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="inside"):
                sample(pipeline, [1])
            assert pipeline.unet is unet and unet._compiled_call_impl is call


@pytest.mark.filterwarnings("ignore:.*runs uncompiled")
@pytest.mark.parametrize(
    ("compiled", "offloaded_first", "works"),
    [(in_place, False, True), (in_place, True, True), (wrapped, True, True), (wrapped, False, False)],
)
def test_offloading_goes_on_or_is_an_error(fitted, compiled, offloaded_first, works):
    pipeline, debiaser, _, guided = fitted
    hook = Moving()
    steps = [lambda: add_hook_to_module(pipeline.unet, hook), lambda: compiled(pipeline)]
    for act in steps if offloaded_first else steps[::-1]:
        act()
    with debiaser.attach(pipeline):
        if works:
            assert same(sample(pipeline, EIGHT), guided) and hook.moved == 3
        else:
            with pytest.raises(ValueError, match=r"must be offloaded before .* compile it in place"):
                sample(pipeline, EIGHT)


class Moving(ModelHook):
    """Counts what an offloading hook would move to the GPU."""

    moved = 0

    def pre_forward(self, module, *args, **kwargs):
        self.moved += 1
        return args, kwargs


@pytest.mark.parametrize("compiled", [in_place, wrapped])
def test_that_it_runs_uncompiled_is_said_once_with_the_way_out(fitted, compiled):
    pipeline, debiaser, *_ = fitted
    compiled(pipeline)
    with debiaser.attach(pipeline):
        with pytest.warns(UserWarning, match=r"runs uncompiled .*pipe\.unet\.compile_repeated_blocks\(\)"):
            sample(pipeline, EIGHT)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            sample(pipeline, EIGHT)


@pytest.mark.filterwarnings("ignore:.*runs uncompiled")
@SLOWLY_WRAPPED
def test_a_compiled_pipeline_is_fitted_like_any_other_and_known_as_the_same_model(compiled):
    torch.compiler.reset()
    _, debiaser = tiny_debiaser()
    pipeline = tiny_pipeline()
    compiled(pipeline)
    fitted = SelfDebias.fit(
        pipeline, PROMPT, encoder=PixelEncoder(), n_images=16, batch_size=8, timesteps=2,
        clustering=KMeansModes(k_min=2, k_max=2, k=2, n_init=2), projector={"steps": 60},
        call={"num_inference_steps": 3}, relative_scale=1.0,
    )  # fmt: skip
    assert fitted.facts["unet"] == debiaser.facts["unet"]
    wanted, got = debiaser.semantics.projector.state_dict(), fitted.semantics.projector.state_dict()
    assert all(torch.allclose(wanted[name], got[name], atol=1e-4) for name in wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        debiaser.attach(pipeline)
