"""A page for each study, from the sources of the lab notebook: question, claim, commands, what was measured, pictures."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from docs.tables import code
from experiments.notebook import MARK, NOT_RUN, NOTEBOOK, filled
from experiments.pooled import RESULTS

FOLDER = "results"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
MEASURED = re.compile(MARK.format("table"), re.DOTALL)
CLAIM = re.compile(r"\*\*(Question|Claim)\.\*\* (.*)")
INDEX = """\
# Results

Each study asks one question. Its page has the claim, the tables that it rests on, and the command that makes them again.
[What works, and what does not](what-works.md) sums them up.

Numbers are those of Emoji World, the models that ship with the package, and say nothing of larger models. All are made by the
commands named, without a GPU. "FID" and "KID" in tables are distances of the encoder's embeddings, not of Inception's features.

"""
NOT_YET = """\
# Not run yet

What the paper evaluates, on Stable Diffusion. That the commands compose is tested; the runs want a GPU, and costs are estimates.

"""


@cache
def studies() -> dict[str, dict[str, str]]:
    """Chapters of the lab notebook, each with its studies, in their order: the text of each section by the name of the study."""
    chapters = re.split(r"^## ", NOTEBOOK.read_text(), flags=re.MULTILINE)[1:]
    split = {chapter.partition("\n")[0]: re.split(r"^### ", chapter, flags=re.MULTILINE)[1:] for chapter in chapters}
    return {
        title: {it.partition("\n")[0]: it.partition("\n")[2] for it in sections}
        for title, sections in split.items()
        if sections
    }


def pages() -> dict[str, str]:
    """All pages, by their place in `docs/`."""
    made = {place_of(name): _page(name, section) for _, name, section in _every() if _is_run(section)}
    waiting = [f"## {name}\n\n{_said(section)}" for _, name, section in _every() if not _is_run(section)]
    made[f"{FOLDER}/not-run.md"] = NOT_YET + "\n".join(waiting)
    last = re.split(r"^## ", NOTEBOOK.read_text(), flags=re.MULTILINE)[-1]
    made[f"{FOLDER}/what-works.md"] = f"# {last}"
    made[f"{FOLDER}/index.md"] = INDEX + "".join(map(_listed, studies()))
    return {place: _linked(content, place) for place, content in made.items()}


def pictures() -> dict[str, Path]:
    """All pictures of results, by their place in `docs/`."""
    return {f"{FOLDER}/{path.relative_to(RESULTS).as_posix()}": path for path in sorted(RESULTS.rglob("*.png"))}


def nav() -> list[Any]:
    """The pages as the navigation has them."""
    chapters: list[Any] = [f"{FOLDER}/index.md", {"What works": f"{FOLDER}/what-works.md"}]
    for chapter, sections in studies().items():
        own = [{name.rpartition("/")[2]: place_of(name)} for name, section in sections.items() if _is_run(section)]
        chapters += [{chapter: own}] if own else []
    return [*chapters, {"Not run yet": f"{FOLDER}/not-run.md"}]


def place_of(name: str) -> str:
    """Where the page of a study is, in `docs/`."""
    return f"{FOLDER}/{name.lower()}.md"


def _every() -> Iterator[tuple[str, str, str]]:
    return ((chapter, name, section) for chapter, sections in studies().items() for name, section in sections.items())


def _is_run(section: str) -> bool:
    return any(content != NOT_RUN for _, content in MEASURED.findall(section))


def _page(name: str, section: str) -> str:
    return f"# {name}\n\n{_said(filled(section, 'table', _measured))}"


def _said(section: str) -> str:
    """A section without the marks by which it is filled in, and without the claim of a study that is not run."""
    return re.sub(r"<!-- .*? -->\n?|(?:\*\*Claim\.\*\* )?Not run yet\.\n+", "", section).strip() + "\n"


def _measured(name: str) -> str:
    """What stands on the page of a result, and where its numbers are."""
    title, _, body = (RESULTS / f"{name}.md").read_text().partition("\n")
    heading = f"## {title.removeprefix('# ')}" if title.removeprefix("# ") != name else "## Measured"
    body = re.sub(r"^## ", "### ", body, flags=re.MULTILINE).replace("\\<", "&lt;")  # which mkdocs takes for two signs
    body = LINK.sub(lambda it: f"{it[1]}[{it[2]}]({posixpath.join('results', posixpath.dirname(name), it[3])})", body)
    return f"{heading}\n{body}\nAll numbers: `experiments/results/{name}.json`\n"


def _listed(chapter: str) -> str:
    """The studies of a chapter that are run, each with its question and its claim."""
    said = {name: dict(CLAIM.findall(section)) for name, section in studies()[chapter].items() if _is_run(section)}
    listed = [f"[{name}]({name.lower()}.md): {it['Question']}\n:   {it['Claim']}\n" for name, it in said.items()]
    return "\n".join([f"## {chapter}\n", *listed, ""]) if listed else ""


def _linked(content: str, place: str) -> str:
    """The text of a page with the notebook's links leading to pages: of a section, of a result, of numbers, which are no page."""
    return LINK.sub(partial(_link, posixpath.dirname(place)), content)


def _link(folder: str, found: re.Match[str]) -> str:
    picture, words, target = found.groups()
    if target.startswith("#") and (name := _sections().get(target)):
        target = name
    elif target.startswith("results/") and target.endswith(".md"):
        target = holders()[target.removeprefix("results/").removesuffix(".md")]
    elif target.endswith(".json"):
        return code(f"experiments/{target}")
    elif not target.startswith("results/"):
        return found[0]
    return f"{picture}[{words}]({posixpath.relpath(target, folder)})"


@cache
def _sections() -> dict[str, str]:
    """Pages by the anchor of their section in the notebook."""
    own = {f"#{re.sub('[^a-z0-9_-]', '', name.lower())}": (name, section) for _, name, section in _every()}
    return {
        anchor: place_of(name) if _is_run(section) else f"{FOLDER}/not-run.md"
        for anchor, (name, section) in own.items()
    }


@cache
def holders() -> dict[str, str]:
    """Pages by the names of the results that they show."""
    return {result: place_of(name) for _, name, section in _every() for result, _ in MEASURED.findall(section)}
