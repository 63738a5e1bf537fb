"""What mkdocs makes at each build: reference and results, from the same sources as the command line and the lab notebook."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from docs.config_page import config_page
from docs.metrics_page import metrics_page
from docs.results_json_page import results_json_page
from docs.results_pages import nav, pages, pictures


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
    for place, path in pictures().items():
        files.append(File.generated(config, place, abs_src_path=str(path)))
