"""A stage folder is marked last and held by one process at a time."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest

from selfdebias.storage.atomic import TEMPORARY
from selfdebias.storage.stage_folder import StageFolder

pytestmark = pytest.mark.reliability


def test_making_the_object_touches_no_disk(tmp_path):
    folder = StageFolder(tmp_path, "collect", "k")
    assert folder.path == tmp_path / "stages" / "collect" / "k"
    assert not folder.finished
    assert list(tmp_path.iterdir()) == []


def test_finish_marks_and_records(tmp_path):
    folder = StageFolder(tmp_path, "collect", "k")
    with folder.lock():
        folder.finish({"seconds": 2.5, "version": 1})
    assert folder.finished
    assert folder.meta().items() >= {"name": "collect", "key": "k", "seconds": 2.5, "version": 1}.items()


def test_lock_drops_what_a_killed_writer_left(tmp_path):
    folder = StageFolder(tmp_path, "collect", "k")
    folder.path.mkdir(parents=True)
    (folder.path / f"{TEMPORARY}x").write_text("half")
    with folder.lock():
        assert list(folder.path.iterdir()) == []


def test_a_second_job_waits_says_so_and_goes_on_when_the_first_is_killed(tmp_path, capfd):
    code = f"""
        import time
        from pathlib import Path
        from selfdebias.storage.stage_folder import StageFolder
        with StageFolder(Path({str(tmp_path)!r}), "collect", "k").lock():
            print("held", flush=True)
            time.sleep(60)
    """
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    killer = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(1); os.kill({holder.pid}, 9)"])
    start = time.monotonic()
    with StageFolder(tmp_path, "collect", "k").lock():
        waited = time.monotonic() - start
    assert 0.3 < waited < 30
    assert capfd.readouterr().out.count("locked by another job") == 1
    assert killer.wait() == 0
    holder.wait()
    holder.stdout.close()
