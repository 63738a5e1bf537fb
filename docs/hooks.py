"""What mkdocs makes at each build: reference and results, from the same sources as the command line and the lab notebook."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.config_page import config_page
from docs.links import copied, for_the_site
from docs.metrics_page import metrics_page
from docs.results_json_page import results_json_page
from docs.results_pages import nav, pages, pictures

ROOT = Path(__file__).parents[1]


def on_config(config: MkDocsConfig) -> None:
    """Name the pages of results in the navigation, in the order of the lab notebook."""
    assert config.nav is not None
    next(it for it in config.nav if "Results" in it)["Results"] = nav()


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the generated pages and the pictures of results."""
    made = {
        "reference/config.md": config_page(),
        "reference/metrics.md": metrics_page(),
        "reference/results-json.md": results_json_page(),
        **pages(),
    }
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    for place, path in {**pictures(), **copied(ROOT)}.items():
        files.append(File.generated(config, place, abs_src_path=str(path)))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Lead links that are written for the repository to pages."""
    source = Path(page.file.abs_src_path or "")
    return for_the_site(markdown, source.relative_to(ROOT).as_posix()) if source.is_relative_to(ROOT) else markdown
