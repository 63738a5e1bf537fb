"""Links of the pages in docs/: a git host follows them as they are written, and a build leads them to pages of the site."""

from __future__ import annotations

import posixpath
import re
from functools import cache, partial
from pathlib import Path

from docs.results_pages import FOLDER, holders

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
RESULTS = "experiments/results/"
MADE = {  # what a page is made from, or tells of
    "CONTRIBUTING.md": "extend.md",
    "conf": "reference/config.md",
    "experiments/README.md": f"{FOLDER}/index.md",
    "selfdebias/metrics": "reference/metrics.md",
    "docs/results_json_page.py": "reference/results-json.md",
}


def copied(root: Path) -> dict[str, Path]:
    """Pages that are files from elsewhere in the repository, by their place in `docs/`."""
    return {MADE["CONTRIBUTING.md"]: root / "CONTRIBUTING.md"}


def for_the_site(content: str, source: str) -> str:
    """The text of a page with links to the site's pages; a link to a file that has no page is left as the words of it.

    Args:
        content: Markdown.
        source: the page's own file, from the root of the repository.

    Example:
        >>> for_the_site("[Keys](../../conf), [a test](../../tests/tiny.py), [Modes](modes.md)", "docs/concepts/guidance.md")
        '[Keys](../reference/config.md), a test, [Modes](modes.md)'
    """
    start, parts = 0, []
    for code in CODE.finditer(content):
        parts += [LINK.sub(partial(_link, source), content[start : code.start()]), code[0]]
        start = code.end()
    return "".join([*parts, LINK.sub(partial(_link, source), content[start:])])


def _link(source: str, found: re.Match[str]) -> str:
    picture, words, target, anchor = found.groups()
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if place := page_of(file):
        here = posixpath.dirname(source.removeprefix("docs/")) if source.startswith("docs/") else ""
        return f"{picture}[{words}]({posixpath.relpath(place, here)}{anchor or ''})"
    return found[0] if file.startswith("docs/") else words


@cache
def page_of(file: str) -> str | None:
    """The place in `docs/` of the page, or the picture, of a file of the repository; None for one that has none."""
    if file.startswith(RESULTS):
        name = file.removeprefix(RESULTS)
        return f"{FOLDER}/{name}" if name.endswith(".png") else holders().get(name.removesuffix(".md"))
    return MADE.get(file)
