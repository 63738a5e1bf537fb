"""Lets mkdocstrings read the docstrings of the package: a section called Example holds code."""

from __future__ import annotations

import re
from textwrap import dedent, indent
from typing import Any

import griffe

LITERAL = re.compile(r"^    ::\n\n((?:        .*\n?|\n)+)", re.MULTILINE)


class Examples(griffe.Extension):
    """Renames the section `Example:` to the one that griffe knows, and makes a literal block in it one of Markdown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """See `griffe.Extension.on_instance`."""
        if obj.docstring is not None:
            found = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = LITERAL.sub(_fenced, found)


def _fenced(block: re.Match[str]) -> str:
    return indent(f"```python\n{dedent(block[1]).rstrip()}\n```\n", "    ")
