"""The page of a sweep: self-contained, escaped, with images from the same seeds, and a way to each job's report."""

from __future__ import annotations

import base64
import io
from urllib.parse import unquote

import pytest
import torch
from PIL import Image

from selfdebias.jobs.sweeps.page import NO_REPORT, WIDTH, parts_that_fit
from selfdebias.jobs.sweeps.pictures import GONE
from selfdebias.jobs.sweeps.record import FAILED, JobState, SweepFolder
from selfdebias.main import main
from selfdebias.report.table import Table
from selfdebias.storage.atomic import write_json
from selfdebias.storage.batches import BatchFolder
from tests.jobs.sweeps.world import N, read, write_sweep
from tests.report.test_browser import CHROMIUM, _measured
from tests.report.test_page import HOSTILE, Page

STRENGTHS = {3.0: 0.65, 6.0: 0.5}  # share of men by strength


def add_images(sweep: SweepFolder, own_vanilla: bool = False, side: int = 8, rows: tuple[str, ...] = ("",)) -> None:
    """Gives each job images of its arms, and a report."""
    for job in sorted((sweep.root / "jobs").iterdir()):
        record = read(job / "job.json")
        for row in rows:
            middle = f"/{row}" if row else ""
            vanilla = (
                f"stages/generate/{job.name}v{row}" if own_vanilla else record["stages"][f"generate{middle}/vanilla"]
            )
            record["stages"] |= {f"generate{middle}/vanilla": vanilla}
            record["stages"] |= {f"generate{middle}/guided": f"stages/generate/{job.name}g{row}"}
            for path in (vanilla, f"stages/generate/{job.name}g{row}"):
                if not (sweep.root / path).exists():
                    folder, ids = BatchFolder(sweep.root / path, "key"), list(range(N))
                    folder.add(0, ids, torch.rand(N, 3, side, side), {}, [{} for _ in ids])
        write_json(job / "job.json", record)
        (job / "report.html").write_text("<p>a report</p>")


def page_of(sweep: SweepFolder, *more: str) -> Page:
    assert main(["stages=[table]", f"table.root={sweep.path}", *more]) == 0
    return Page((sweep.path / "index.html").read_text(encoding="utf-8"))


def pictures_of(page: Page) -> dict[str, Image.Image]:
    """The pictures by their alternative texts."""
    found = {}
    for image in page.all("img"):
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        found[image["alt"]] = Image.open(io.BytesIO(data))
        found[image["alt"]].load()
    return found


def test_a_row_of_images_for_each_job_and_links_that_lead_somewhere(tmp_path, capsys):
    sweep = write_sweep(tmp_path / "ru ns", STRENGTHS, seeds=(1,))
    add_images(sweep)
    page = page_of(sweep)
    assert capsys.readouterr().out.endswith(f"page: {sweep.path / 'index.html'}\n")
    assert page.open == []
    pictures = pictures_of(page)
    assert list(pictures)[1:] == [
        "Vanilla images",
        "Images of job 0, strength=3.0; to its report",
        "Images of job 1, strength=6.0; to its report",
    ]
    assert len({picture.size for picture in list(pictures.values())[1:]}) == 1
    assert "strength=3.0 (" in next(iter(pictures))  # the plot
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    places = [link["href"] for link in page.all("a")]
    files = {unquote(place) for place in places if not place.startswith("#")}
    assert {place[1:] for place in places if place.startswith("#")} <= ids
    assert files == {f"../../jobs/h{num}/report.html" for num in range(2)}
    assert all((sweep.path / file).exists() for file in files)


def test_nothing_is_fetched_and_no_path_of_the_computer_is_told(tmp_path):
    sweep = write_sweep(tmp_path / "runs", STRENGTHS, seeds=(1,))
    add_images(sweep)
    page = page_of(sweep)
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object", "embed", "base")
        for name in ("src", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert str(tmp_path) not in (sweep.path / "index.html").read_text()


def test_jobs_without_numbers_images_or_report_are_named_with_the_reason(tmp_path):
    sweep = write_sweep(tmp_path / "runs", {**STRENGTHS, 9.0: 0.4, 12.0: 0.3}, seeds=(1,))
    add_images(sweep)
    sweep.write_state(1, JobState(FAILED, code=1, error="out of memory"))
    (sweep.root / "jobs" / "h2" / "report.html").unlink()
    for file in (sweep.root / "stages" / "generate" / "h3g" / "images").iterdir():
        file.unlink()
    page = page_of(sweep)
    assert "1 of 4 jobs are not in the numbers" in page.text
    assert page.text.count("failed: out of memory") == 2  # in place of its images, and of its report
    assert page.text.count(NO_REPORT) == 1 and "Images of job 2, strength=9.0" in pictures_of(page)
    assert page.text.count(f"job 3: {GONE}") == 1


def test_two_keys_make_a_grid_and_seeds_stand_apart(tmp_path):
    sweep = write_sweep(tmp_path / "runs", STRENGTHS, seeds=(1, 2))
    record = read(sweep.path / "sweep.json")
    add_images(sweep)
    by_seed = page_of(sweep)
    assert "generate.seed 1" in by_seed.text and "generate.seed 2" in by_seed.text
    assert len(pictures_of(by_seed)) == 1 + 2 * (1 + 2)
    jobs = [[job[0], job[1].replace("generate.seed", "clustering.k_max")] for job in record["jobs"]]
    write_json(sweep.path / "sweep.json", {**record, "jobs": jobs, "swept": ["guidance.strength", "clustering.k_max"]})
    grid = page_of(sweep)
    heads = [attributes for attributes in grid.all("table") if attributes.get("class") == "images grid"]
    assert len(heads) == 1 and "k_max=1 k_max=2" in grid.text
    assert "Images of job 2, strength=6.0, k_max=1; to its report" in pictures_of(grid)


def test_jobs_with_vanilla_images_of_their_own_show_both(tmp_path):
    sweep = write_sweep(tmp_path / "runs", STRENGTHS, seeds=(1,))
    add_images(sweep, own_vanilla=True)
    page = page_of(sweep)
    pictures = pictures_of(page)
    assert "Vanilla images" not in pictures and "have vanilla images of their own" in page.text
    width, height = pictures["Images of job 0, strength=3.0; to its report"].size
    assert width / 8 < height < width / 3  # two images high, eight wide


def test_of_a_list_of_prompts_the_first_images_of_each(tmp_path):
    sweep = write_sweep(tmp_path / "runs", STRENGTHS, seeds=(1,), rows=("cook", "judge"))
    add_images(sweep, rows=("cook", "judge"))
    assert len(pictures_of(page_of(sweep))) == 1 + 1 + 2


def test_hostile_values_and_errors_are_text(tmp_path):
    sweep = write_sweep(tmp_path / "runs", STRENGTHS, seeds=(1,))
    record = read(sweep.path / "sweep.json")
    jobs = [[*job[:1], f"prompts.text={HOSTILE}{num}"] for num, job in enumerate(record["jobs"])]
    record |= {"jobs": jobs, "swept": ["guidance.strength", "prompts.text"], "command": HOSTILE}
    write_json(sweep.path / "sweep.json", record)
    sweep.write_state(1, JobState(FAILED, code=1, error=HOSTILE))
    add_images(sweep)
    page = page_of(sweep)
    assert page.open == [] and page.all("script") == []
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert page.text.count("<script>alert(1)</script>") >= 4 and "{{ 7*7 }}" in page.text


@pytest.mark.slow
def test_many_large_images_stay_below_ten_megabytes(tmp_path):
    sweep = write_sweep(tmp_path / "runs", {float(strength): 0.6 for strength in range(1, 13)}, seeds=(1,))
    add_images(sweep, side=192)  # of noise, which no PNG makes smaller
    page_of(sweep)
    assert (sweep.path / "index.html").stat().st_size < 10_000_000


def test_the_best_trials_lead_to_their_reports(tmp_path):
    sweep = write_sweep(tmp_path / "runs", STRENGTHS, seeds=(1,))
    record = read(sweep.path / "sweep.json")
    write_json(sweep.path / "sweep.json", {**record, "objectives": ["gender.fd_hard", "kept_cosine"]})
    add_images(sweep)
    page = page_of(sweep)
    assert "settings chosen with labels" in page.text and "Best trials: those that no other one beats" in page.text
    assert "settings chosen with labels" not in page_of(write_sweep(tmp_path / "other", STRENGTHS, seeds=(1,))).text


def test_a_wide_table_is_shown_in_parts_with_the_names_of_its_rows():
    titles = ["strength", *(f"attribute{place} fd_hard" for place in range(30))]
    table = Table(titles, [["3", *(["0.123 [0.100, 0.200]"] * 30)]], footer=[["floor", *([""] * 30)]])
    parts = parts_that_fit(table)
    assert len(parts) > 2 and all(part.columns[0] == "strength" for part in parts)
    assert [title for part in parts for title in part.columns[1:]] == titles[1:]
    assert all(len(part.columns) * 12 < WIDTH + 24 for part in parts)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium in /usr/bin (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 400])
def test_every_image_is_shown_and_nothing_scrolls_sideways(tmp_path, width):
    sweep = write_sweep(tmp_path / "runs", STRENGTHS, seeds=(1,))
    add_images(sweep, side=64)
    page_of(sweep)
    measured = _measured(sweep.path / "index.html", tmp_path, width)
    assert measured["images"] == measured["shown"] == 4 and measured["wide"] <= 0
    assert width < 1280 or max(measured["tables"]) <= 0
