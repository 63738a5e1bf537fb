"""Every option in `conf/` composes, names a class that takes its keys, and explains each of them."""

from __future__ import annotations

import re

import pytest

from selfdebias import config
from selfdebias.parts import Parts
from selfdebias.rules import GROUPS
from selfdebias.targets import check_job

FOLDER = config.conf_folder()
OPTIONS = [f"{path.parent.name}={path.stem}" for group in GROUPS for path in sorted((FOLDER / group).glob("*.yaml"))]
PROMISED = [
    ["prompts.text='an emoji of a doctor'"],
    ["collect.n_images=64"],
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


@pytest.mark.parametrize("overrides", PROMISED, ids=" ".join)
def test_promised_overrides_make_all_parts(overrides):
    Parts(config.load(overrides))
