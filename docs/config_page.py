"""The reference of all configuration keys: groups, options, values and what the comments in `conf/` say of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from docs.tables import code, table, text
from selfdebias.config.files import comments_in, files_of
from selfdebias.config.overrides import groups_of, options_of
from selfdebias.config.rules import nodes, walk
from selfdebias.config.sources import Sources

ROOT = "config"
GLOBAL = ("experiment", "debug")  # whose options change values of other groups
HEAD = """\
# Configuration

Each group is a folder of `conf/`, each option a file in it. `selfdebias GROUP=OPTION` chooses one, `selfdebias KEY=VALUE`
changes a value, and `selfdebias --cfg job` prints what comes out, with these comments. This page is made from those files.

"""


def config_page() -> str:
    """The page."""
    sources = Sources()
    defaults = {
        group: option
        for it in content_of(sources.file(f"{ROOT}.yaml"))["defaults"]
        if isinstance(it, dict)
        for group, option in it.items()
    }
    groups = [
        *dict.fromkeys([*(it for it in defaults if it in groups_of(sources.folders)), *groups_of(sources.folders)]),
        "hydra/launcher",
    ]
    parts = [HEAD, "## The job\n\nKeys that belong to no group.\n\n", _keys(ROOT, "", sources)]
    for group in groups:
        parts.append(f"\n## {group}\n\n" + (f"Default: `{group}={defaults[group]}`\n\n" if defaults.get(group) else ""))
        options = options_of(group, sources.folders)
        parts.append(
            table(("Option", "What it is"), ((code(it), text(head_of(f"{group}/{it}", sources))) for it in options))
        )
        prefix = "" if group in GLOBAL else group.replace("/", ".")
        parts += [
            f"\n### {group}={it}\n\n{_brings(f'{group}/{it}', sources)}{_keys(f'{group}/{it}', prefix, sources)}"
            for it in options
        ]
    return "".join(parts)


def keys_of(option: str, prefix: str, sources: Sources) -> dict[str, tuple[Any, str]]:
    """Values and comments of an option such as guidance/transport by dotted path, with those that it takes over.

    A key that holds others is there where it has a comment, with the value None.
    """
    found: dict[str, tuple[Any, str]] = {}
    for file, place in files_of(option, prefix, sources):
        own = {key: value for key, value in content_of(file).items() if key != "defaults"}
        leaves, comments = dict(walk(own, place)), dict(comments_in(file, place))
        for path in (path for path, _ in nodes(own, place) if path and (path in leaves or path in comments)):
            found[path] = leaves.get(path), comments.get(path, found.get(path, ("", ""))[1])
    return found


def head_of(option: str, sources: Sources) -> str:
    """What the file of an option says of it in its first lines."""
    lines = sources.file(f"{option}.yaml").read_text().splitlines()
    said = re.match(r"(?:# @package .*\n)?((?:#.*\n)*)", "\n".join(lines) + "\n")
    assert said is not None
    return " ".join(
        f"`{line.strip()}`" if line.startswith("   ") else line.strip()
        for line in said[1].replace("#", "").splitlines()
    )


def _keys(option: str, prefix: str, sources: Sources) -> str:
    every = keys_of(option, prefix, sources)
    found = {key: it for key, it in every.items() if option != ROOT or not key.startswith("hydra.")}  # no job has those
    classes = [f"`{path}`: `{value}`" for path, (value, _) in found.items() if path.endswith("_target_")]
    rows = [
        (code(it), "" if value is None else code(_shown(value)), text(said))
        for it, (value, said) in found.items()
        if not it.endswith("_target_")
    ]
    return (f"{', '.join(classes)}\n\n" if classes else "") + (
        table(("Key", "Value", "Meaning"), rows) if rows else "It has no values.\n"
    )


def _brings(option: str, sources: Sources) -> str:
    """The options of other groups that an option chooses."""
    files = [content_of(file) for file, _ in files_of(option, "", sources)]
    chosen = {group: name for content in files for group, name in _chosen(content)}
    return f"Chooses with it: {', '.join(f'`{group}={name}`' for group, name in chosen.items())}\n\n" if chosen else ""


def _chosen(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for it in content.get("defaults", []):
        for group, name in it.items() if isinstance(it, dict) else ():
            yield group.removeprefix("override ").removeprefix("/").partition("@")[0], _shown(name)


@cache
def content_of(file: Path) -> dict[str, Any]:
    """What a file of YAML holds, numbers as they are written."""
    return yaml.load(file.read_text(), yaml.BaseLoader)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
