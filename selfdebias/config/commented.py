"""A configuration as YAML, plain or with the comments of the files that it was composed from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

COLUMN = 44  # where comments begin, unless a value is longer
_LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>(?: .*?)?)(?:\s+# ?(?P<comment>.*))?$")


def to_yaml(config: Mapping[str, Any]) -> str:
    """The configuration as YAML, keys in their order."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(config)))


def commented_yaml(config: Mapping[str, Any], overrides: Sequence[str], folder: Path) -> str:
    """The configuration as YAML, keys in their order, each with its comment.

    Args:
        config: What the overrides compose to, resolved.
        overrides: Those of the command line.
        folder: The folder of the YAML files.
    """
    with initialize_config_dir(str(folder), version_base="1.3"):
        choices = compose("config", list(overrides), return_hydra_config=True).hydra.runtime.choices
    comments = dict(_comments(folder / "config.yaml", ""))
    heads = {}
    for group, option in choices.items():
        name, _, package = group.partition("@")
        if option and name != "experiment" and not name.startswith("hydra"):  # which says why, not what a key is
            comments |= dict(_inherited(folder / name / f"{option}.yaml", package or name))
            heads[package or name] = f"{name}={option}"
    lines = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100_000).splitlines()
    return "".join(_with_comment(line, path, comments | heads) + "\n" for path, line in _paths(lines))


def _inherited(file: Path, prefix: str) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, comment) of an option's file, after those of the files that it builds on."""
    content = OmegaConf.load(file)
    assert isinstance(content, DictConfig)
    for parent in content.get("defaults", []):
        if isinstance(parent, str) and parent != "_self_":
            name, _, package = parent.partition("@")
            yield from _inherited(file.parent / f"{name}.yaml", f"{prefix}.{package}" if package else prefix)
    yield from _comments(file, prefix)


def _comments(file: Path, prefix: str) -> Iterator[tuple[str, str]]:
    for path, line in _paths(file.read_text().splitlines()):
        match = _LINE.match(line)
        if match and match["comment"]:
            yield f"{prefix}.{path}" if prefix else path, match["comment"]


def _paths(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, line) for the lines of a block of YAML; an item of a list has the path of its list.

    Example:
        >>> list(_paths(["a:", "  b: 1", "c: 2"]))
        [('a', 'a:'), ('a.b', '  b: 1'), ('c', 'c: 2')]
    """
    open_keys: list[tuple[int, str]] = []
    for line in lines:
        match = _LINE.match(line)
        if match:
            indent = len(match["indent"])
            open_keys = [(depth, key) for depth, key in open_keys if depth < indent] + [(indent, match["key"])]
        yield ".".join(key for _, key in open_keys), line


def _with_comment(line: str, path: str, comments: Mapping[str, str]) -> str:
    if path not in comments or not _LINE.match(line):
        return line
    return f"{line.ljust(COLUMN)}  # {comments[path]}"
