"""The page in a real browser: each image is shown, nothing is asked of the network, and no sideways scrolling."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from selfdebias.jobs.stages.report import page_of_folders, report
from tests.jobs.stages.test_evaluate_folders import folder_of, given
from tests.report.example import write_job
from tests.report.test_prompts import job_of

CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium in /usr/bin (Debian: apt-get install chromium)"),
]
# Runs in a frame around the page, which itself allows no script.
MEASURE = """
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  const first = page.querySelector("main img").getBoundingClientRect(), folded = root.scrollHeight;
  const seen = it => !it.closest("details:not([open]) > :not(summary)");
  const stops = [...page.querySelectorAll("a, summary, .wide, pre")].filter(seen);
  const missed = stops.filter(it => { it.focus(); return page.activeElement !== it || it.tabIndex < 0; }).length;
  const summaries = [...page.querySelectorAll("summary")];
  summaries.forEach(it => it.click());  // as Enter and Space do
  const shut = summaries.filter(it => !it.parentElement.open).length;
  const shown = [...page.images].filter(image => image.complete && image.naturalWidth > 0).length;
  document.body.dataset.measured = JSON.stringify({
    images: page.images.length, shown, wide: root.scrollWidth - root.clientWidth,
    tables: [...page.querySelectorAll(".wide")].map(it => it.scrollWidth - it.clientWidth),
    columns: [...page.querySelectorAll(".wide")].filter(it => it.scrollWidth > it.clientWidth).map(it =>
      [it.clientWidth, ...[...it.querySelectorAll("thead th")].map(cell => `${cell.textContent}: ${cell.offsetWidth} px`)]),
    first: first.bottom, folded, stops: stops.length, missed, summaries: summaries.length, shut,
    paper: getComputedStyle(page.body).backgroundColor, height: root.scrollHeight});
});
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("browser")
    report(root / "report", **write_job(root, names=("vanilla", "guided", "random")))
    return root / "report" / "report.html"


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    job_of(folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    paths = {name: folder_of(root / name, 20, first=100 * place) for place, name in enumerate(("vanilla", "peer"))}
    given(paths, root / "evaluate")
    asked = {"folders": {name: str(path) for name, path in paths.items()}, "drawn_together": 1, "modes": None}
    page = page_of_folders({"config": {"evaluate": asked}}, root / "evaluate", None, images=20)
    (root / "report.html").write_text(page)
    return root / "report.html"


def _chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    profile = folder / "profile"
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    shutil.rmtree(profile, ignore_errors=True)
    return done


def _measured(page: Path, folder: Path, width: int, *arguments: str) -> dict:
    frame = folder / f"frame-{width}.html"
    inner = html.escape(page.read_text(encoding="utf-8"), quote=True)
    frame.write_text(f'<body><iframe srcdoc="{inner}" width="{width}" height="900"></iframe><script>{MEASURE}</script>')
    dom = _chromium(folder, "--virtual-time-budget=5000", "--dump-dom", *arguments, frame.as_uri()).stdout
    return json.loads(html.unescape(re.search(r'data-measured="([^"]*)"', dom).group(1)))


@pytest.mark.parametrize("width", [1280, 400])
def test_every_image_is_shown_and_nothing_scrolls_sideways(page, tmp_path, width):
    measured = _measured(page, tmp_path, width)
    assert measured["images"] == measured["shown"] > 30
    assert measured["wide"] <= 0
    assert measured["height"] > measured["folded"] > 1500
    assert measured["first"] < 900  # below the verdict, images are on the first screen


@pytest.mark.parametrize("name", ["prompts", "folders"])
def test_pages_of_prompts_and_of_folders_fit_a_narrow_screen(request, tmp_path, name):
    measured = _measured(request.getfixturevalue(name), tmp_path, 400)
    assert measured["images"] == measured["shown"] > 3
    assert measured["wide"] <= 0 and measured["first"] < 900
    assert measured["missed"] == measured["shut"] == 0 < measured["summaries"]


def test_what_is_folded_is_reached_and_opened_by_keyboard(page, tmp_path):
    measured = _measured(page, tmp_path, 1280)
    assert measured["stops"] > measured["summaries"] > 8
    assert measured["missed"] == measured["shut"] == 0


def test_every_table_fits_an_ordinary_screen(page, tmp_path):
    measured = _measured(page, tmp_path, 1280)
    over = measured["tables"]
    assert len(over) == 9 and max(over) <= 0, f"the room and the columns of what is too wide: {measured['columns']}"


def test_dark_and_light(page, tmp_path):
    light = _measured(page, tmp_path, 1280)["paper"]
    dark = _measured(page, tmp_path, 1280, "--blink-settings=preferredColorScheme=0")["paper"]
    assert light == "rgb(255, 255, 255)"
    assert dark == "rgb(13, 17, 23)"


def test_a_screenshot_has_the_frame_of_a_changed_pair(page, tmp_path):
    shot = tmp_path / "page.png"
    _chromium(tmp_path, "--hide-scrollbars", "--window-size=1280,4000", f"--screenshot={shot}", page.as_uri())
    with Image.open(shot) as picture:
        assert picture.size == (1280, 4000)
        colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=1 << 24)}
    assert (213, 94, 0) in colours


def test_the_console_stays_empty(page, tmp_path):
    def console(path: Path) -> list[str]:
        said = _chromium(tmp_path, "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", path.as_uri())
        return [line for line in said.stderr.splitlines() if "CONSOLE" in line]

    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text(encoding="utf-8").replace("</main>", "<script>fail()</script></main>"))
    assert console(broken)  # the page's own policy forbids the script, and the console says so
    assert console(page) == []
