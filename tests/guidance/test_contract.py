"""What every guidance class promises; a new class under `selfdebias.guidance` is picked up by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from selfdebias.config.compose import compose_groups
from selfdebias.config.sources import conf_folder
from selfdebias.config.targets import make
from selfdebias.config.transport import with_values
from selfdebias.guidance import Guidance, GuidanceState, NoGuidance
from selfdebias.guidance.attachment import Attachment
from selfdebias.guidance.baselines import ReplayedSizes
from selfdebias.guidance.schedules import GuidanceWindow
from tests.guidance.test_attachment import semantics
from tests.guidance.worlds import activations, begin, circle_state, step
from tests.tiny import sample, tiny_pipeline


def _build(option: str) -> Guidance:
    values = with_values(compose_groups([f"guidance={option}"])["guidance"], transformer=False, axes=False)
    return make({"guidance": {name: it for name, it in values.items() if name != "of"}}, "guidance")


ALL = sorted(path.stem for path in (Path(conf_folder()) / "guidance").glob("*.yaml"))
OPTIONS = [option for option in ALL if isinstance(_build(option), Guidance)]  # selections: `test_selection.py`


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_shape_dtype_input_and_gradients(option, scale, dtype):
    guidance, state = _build(option), circle_state()
    h = activations([0.1, 0.2, 0.3]).to(dtype)
    h = h if scale > 1 else h[3:]
    begin(guidance, state, (1, 2, 3), h, scale)
    state.of(ReplayedSizes).sizes = {0: torch.full((3,), 0.1)}
    before = h.clone()
    with torch.no_grad():
        edited = guidance.edit(h, step(scale=scale), state)
    assert edited.shape == h.shape, "`edit` must return the shape of `h`"
    assert edited.dtype == dtype, "`edit` must return the dtype of `h`"
    assert not edited.requires_grad, "`edit` must return a tensor without gradient"
    assert torch.equal(h, before), "`edit` must not change `h` in place"
    if not isinstance(guidance, NoGuidance):
        assert not torch.equal(edited, h), "`edit` must change `h` at the first call already"
        assert state.trace.index == [0], "`edit` must call `state.trace.add` once for each edited step"
        assert state.trace.edit_norm[0].shape == (3,), "`trace.add` takes one size for each image, not for each branch"


@pytest.fixture(scope="module")
def drawn():
    """A pipeline, and the images that it draws without any guidance."""
    pipeline = tiny_pipeline()
    return pipeline, sample(pipeline, [1, 2, 3])


SIZES = [(option, size) for option in OPTIONS for size in ("strength", "eta") if hasattr(_build(option), size)]


@pytest.mark.parametrize(("option", "size"), SIZES)
def test_a_size_of_zero_is_no_guidance_bit_for_bit(option, size, drawn):
    pipeline, vanilla = drawn
    built = _build(option)
    assert getattr(built, size) > 0, f"`{size}` of conf/guidance/{option}.yaml must be above 0"
    setattr(built, size, 0.0)
    h, state = activations([0.1, 0.2, 1.0]), circle_state()
    assert built.edit(h, step(), state) is h, f"`edit` must return `h` itself where `{size}` is 0"
    with Attachment(pipeline, built, GuidanceWindow(), GuidanceState(semantics())):
        assert torch.equal(vanilla, sample(pipeline, [1, 2, 3]))


@pytest.mark.parametrize("option", OPTIONS)
def test_it_is_made_again_from_what_it_holds(option):
    built = _build(option)
    again = type(built)(**vars(built))
    assert vars(again) == vars(built), (
        "`__init__` must store each argument under its own name, unchanged, and nothing else"
    )


def test_no_guidance_returns_h_itself():
    h = activations([0.1])
    assert NoGuidance().edit(h, step(), circle_state()) is h
