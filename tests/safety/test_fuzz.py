"""Whatever is given for a real key is accepted, or refused in one line and without a folder; what is accepted runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfdebias.config.compose import load
from selfdebias.config.rules import walk
from selfdebias.main import main

EXAMPLES, QUICK = 500, 30  # of the slow test, and of the one of `make test`
# Keys of which it is known that some values end in a traceback: `tests/safety/test_one_line.py` has them.
LEFT_OUT = (
    "model.pretrained", "model.device", "model.scheduler.name", "projector.learning_rate", "projector.temperature",
    "trainer.precision", "trainer.accelerator", "paths.root",
)  # fmt: skip
GROUPS = (
    [],
    ["guidance=self_debias"],
    ["guidance=random"],
    ["clustering=hdbscan"],
    ["schedule=snr"],
    ["judge=clip_zeroshot"],
)


def keys() -> list[tuple[list[str], str]]:
    """Choices of groups, with each key that they bring."""
    known = [(chosen, [path for path, _ in walk(load(chosen))]) for chosen in GROUPS]
    new = {path: chosen for chosen, paths in reversed(known) for path in paths}
    return [(chosen, path) for path, chosen in sorted(new.items()) if not path.startswith(LEFT_OUT)]


texts = st.sampled_from(
    ["", " ", "a", "calibrated", "uniform", "depth", "shipped:emoji", "../x", "/etc/passwd", "${oc.env:HOME}", "${model}", "🙂",
     "a'b", "a\nb", "\x1b[2J", "selfdebias.guidance.TransportGuidance", "os.system", "x" * 300, "[1", "{a: 1", "null"]
)  # fmt: skip
numbers = st.one_of(
    st.integers(-3, 12), st.sampled_from([10**9, 10**30, -(10**12), 2**63, 2**64]),
    st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 0.5, 1.0, 1e-320, 1e308, -1.0]),
)  # fmt: skip
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(st.sampled_from(["a", "steps", "_target_", "name"]), scalars, max_size=2),
)


def written(value) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return (
        {None: "null", True: "true", False: "false"}.get(value)
        if value is None or value is True or value is False
        else repr(value)
    )


class AcceptedError(Exception):
    """All checks of a job have passed."""


def accepted(*_):
    raise AcceptedError


def outcome(command: list[str], root: Path, capsys) -> str:
    """What becomes of a command whose jobs do not start: `accepted`, or the line that refuses it."""
    try:
        code = main([*command, f"paths.root={root}", "logger=none"])
    except AcceptedError:
        capsys.readouterr()
        return "accepted"
    _, err = capsys.readouterr()
    assert code == 2 and err.count("\n") == 1 and err.startswith("selfdebias: "), (command, code, err)
    assert "\x1b" not in err
    return err


@pytest.fixture(scope="module")
def known():
    return keys()


@pytest.mark.parametrize("examples", [QUICK, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
def test_a_random_value_is_accepted_or_refused_in_one_line(known, tmp_path, monkeypatch, capsys, examples):
    monkeypatch.setattr("selfdebias.jobs.job.start_job", accepted)
    monkeypatch.chdir(tmp_path)
    root, seen = tmp_path / "runs", {"accepted": 0, "refused": 0}

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip
    @given(st.sampled_from(known), values)
    def each(key, value):
        found = outcome([*key[0], f"{key[1]}={written(value)}"], root, capsys)
        seen["accepted" if found == "accepted" else "refused"] += 1
        assert {path.name for path in tmp_path.iterdir()} <= {".hypothesis"}

    each()
    assert seen["accepted"] and seen["refused"] >= examples // 2, seen


SMALL = [
    "vocabulary=none", "model.steps=4", "collect.n_images=32", "collect.batch_size=8", "collect.timesteps=2",
    "generate.n_images=16", "generate.batch_size=8", "evaluate.reference_images=16", "evaluate.bootstrap=20", "projector.steps=40",
    "clustering=spectral", "clustering.k_max=4", "trainer.enable_progress_bar=false",
]  # fmt: skip


@pytest.mark.slow
def test_twenty_of_what_is_accepted_run_to_their_end(known, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root, chosen = tmp_path / "runs", {}
    left = {text.partition("=")[0] for text in SMALL}
    free = [it for it in known if it[1] not in left and not it[1].startswith(("logger", "table", "stages", "report"))]

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(free), values)
    def each(key, value):
        command = [*key[0], f"{key[1]}={written(value)}", *SMALL]
        if len(chosen) < 20 and key[1] not in chosen and outcome(command, root, capsys) == "accepted":
            chosen[key[1]] = command

    with monkeypatch.context() as patched:
        patched.setattr("selfdebias.jobs.job.start_job", accepted)
        each()
    assert len(chosen) == 20
    for command in chosen.values():
        assert main([*command, f"paths.root={root}", "logger=none"]) == 0, command
        capsys.readouterr()
    assert len(list(root.glob("jobs/*/results.json"))) > 5
