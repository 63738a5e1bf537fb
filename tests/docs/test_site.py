"""The documentation as it is built: without a warning, each link leads somewhere, and a browser asks nobody else for anything."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "link": "href",
    "form": "action",
}
OWN_ONLY = "default-src 'self' 'unsafe-inline' data: blob:"
MEASURE = """
addEventListener("load", () => setTimeout(() => {
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  document.body.dataset.measured = JSON.stringify({
    wide: root.scrollWidth - root.clientWidth, height: root.scrollHeight, title: page.title,
    broken: [...page.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src)});
}, 500));
"""
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """Links, ids and what is loaded, of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list) -> None:
        """See `HTMLParser`."""
        found = dict(attrs)
        self.ids |= {found.get("id"), found.get("name")} - {None}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if found.get(LOADS.get(tag, "")) and found.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(found[LOADS[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All pages, built as `make docs` does; a warning is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}


def test_each_link_leads_somewhere(site, pages):
    assert len(pages) > 40
    lost = []
    for place, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(urljoin(f"/{place}", link))
            target = unquote(parts.path).lstrip("/") or "index.html"
            if place == "404.html" or parts.scheme or parts.netloc:
                continue
            if not (site / target).is_file() or (
                parts.fragment and unquote(parts.fragment) not in pages[target].ids | {"__skip"}
            ):
                lost.append((place, link))
    assert lost == []


def test_nothing_is_loaded_from_elsewhere(site, pages):
    assert [it for page in pages.values() for it in page.loaded if urlsplit(it).netloc] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*", styles) == []
    for path in site.rglob("*.html"):  # for which the theme's script would load something
        assert not re.search(r'class="mermaid"|data-md-component="source"', path.read_text(encoding="utf-8")), path


class Handler(SimpleHTTPRequestHandler):
    """Serves the site, and forbids a browser to ask anybody else."""

    def end_headers(self) -> None:
        """See `SimpleHTTPRequestHandler`."""
        self.send_header("Content-Security-Policy", OWN_ONLY)
        super().end_headers()

    def log_message(self, *_) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def opened(folder: Path, url: str) -> tuple[dict, list[str]]:
    """What a page measures of itself in Chromium, and what its console says."""
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
               "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom", url]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    shutil.rmtree(folder / "profile", ignore_errors=True)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(re.search(r'data-measured="([^"]*)"', done.stdout)[1])), said


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium in /usr/bin (Debian: apt-get install chromium)")
class TestInABrowser:
    """Pages of each kind, at the width of a screen and of a telephone."""

    @pytest.mark.parametrize("width", [1280, 400])
    @pytest.mark.parametrize(
        "page", ["index", "reference/api", "reference/config", "reference/metrics", "results/person_choosing"]
    )
    def test_it_opens_without_scrolling_sideways_and_asks_nobody_else(self, site, address, tmp_path, page, width):
        (site / "frame.html").write_text(
            f'<body><iframe src="{page}.html" width="{width}" height="900"></iframe><script>{MEASURE}</script>'
        )
        measured, console = opened(tmp_path, f"{address}/frame.html")
        assert measured["title"] and measured["height"] > 900
        assert measured["wide"] <= 0
        assert measured["broken"] == [] and console == []

    def test_a_request_to_elsewhere_would_be_told(self, site, address, tmp_path):
        (site / "frame.html").write_text(f'<body><iframe src="other.html"></iframe><script>{MEASURE}</script>')
        (site / "other.html").write_text('<title>x</title><img src="https://example.org/x.png">')
        assert "Content Security Policy" in " ".join(opened(tmp_path, f"{address}/frame.html")[1])
