"""A batch folder resumes where it stopped and refuses what does not belong together."""

from __future__ import annotations

import os

import pytest
import torch

from selfdebias.storage.batches import BatchFolder

pytestmark = pytest.mark.reliability


def picture(i):
    return torch.full((3, 4, 4), i / 255)


def add(folder, batch, ids):
    images = torch.stack([picture(i) for i in ids])
    tensors = {"e": torch.tensor([float(i) for i in ids])}
    folder.add(batch, ids, images, tensors, [{"seed": 100 + i, "blanked": False} for i in ids])


@pytest.fixture
def folder(tmp_path):
    folder = BatchFolder(tmp_path / "f", "key1")
    add(folder, 1, [5, 4])
    add(folder, 0, [0, 2])
    return folder


def test_everything_comes_back_in_id_order(folder):
    again = BatchFolder(folder.path, "key1")
    assert again.ids() == [0, 2, 4, 5]
    assert [r["seed"] for r in again.records()] == [100, 102, 104, 105]
    assert torch.equal(again.images(), torch.stack([picture(i) for i in (0, 2, 4, 5)]))
    assert torch.equal(again.images([5, 0]), torch.stack([picture(5), picture(0)]))
    assert [(b, t["e"].tolist()) for b, t in again.tensors()] == [(0, [0.0, 2.0]), (1, [5.0, 4.0])]
    assert again.finished == {0, 1}


def test_a_kill_before_the_manifest_line_leaves_the_batch_unfinished(folder, monkeypatch):
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: replace(a, b) if ".safetensors" not in str(b) else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add(folder, 2, [6, 7])
    monkeypatch.undo()
    again = BatchFolder(folder.path, "key1")
    assert again.finished == {0, 1}
    assert again.ids() == [0, 2, 4, 5]
    add(again, 2, [6, 7])
    assert BatchFolder(folder.path, "key1").finished == {0, 1, 2}


@pytest.mark.parametrize("name", ["images/000004.png", "batch-00001.safetensors"])
def test_a_flipped_byte_is_seen_and_the_batch_can_be_replaced(folder, name):
    path = folder.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again = BatchFolder(folder.path, "key1")
    assert again.finished == {0}
    with pytest.raises(ValueError, match="sha256") as error:
        again.images(), list(again.tensors())
    assert "\n" not in str(error.value)
    add(again, 1, [5, 4])
    assert BatchFolder(folder.path, "key1").finished == {0, 1}
    assert again.ids() == [0, 2, 4, 5]


def test_a_missing_file_is_a_missing_batch(folder):
    (folder.path / "images/000000.png").unlink()
    assert folder.finished == {1}
    with pytest.raises(ValueError, match=r"images/000000\.png"):
        folder.images()


@pytest.mark.parametrize("batch, ids", [(2, [2, 9]), (2, [9, 9]), (1, [20])])
def test_a_doubled_id_or_batch_is_refused_and_writes_nothing(folder, batch, ids):
    before = sorted(folder.path.rglob("*"))
    with pytest.raises(ValueError, match="must be new"):
        add(folder, batch, ids)
    assert sorted(folder.path.rglob("*")) == before


def test_an_id_doubled_by_two_ranks_is_refused_when_read(folder):
    other = BatchFolder(folder.path, "key1", rank=1)
    other._lines.clear()  # as a process that began before rank 0 wrote
    add(other, 2, [4])
    with pytest.raises(ValueError, match="got 4 twice"):
        BatchFolder(folder.path, "key1")


def test_ranks_write_their_own_manifest_and_read_all(folder):
    add(BatchFolder(folder.path, "key1", rank=1), 2, [8])
    assert (folder.path / "manifest-1.jsonl").exists()
    assert BatchFolder(folder.path, "key1").ids() == [0, 2, 4, 5, 8]


def test_another_key_is_refused(folder):
    with pytest.raises(ValueError, match="`config_hash` must be key1"):
        BatchFolder(folder.path, "key2")


def test_open_takes_the_key_that_is_there(folder, tmp_path):
    assert BatchFolder.open(folder.path).config_hash == "key1"
    with pytest.raises(ValueError, match="must be a folder that holds a batch"):
        BatchFolder.open(tmp_path / "nothing")


def test_unknown_ids_and_uneven_counts_are_refused(folder):
    with pytest.raises(ValueError, match="got 3"):
        folder.images([0, 3])
    with pytest.raises(ValueError, match="`records` must be one for each of 1 ids, got 0"):
        folder.add(3, [9], None, {}, [])
    with pytest.raises(ValueError, match="`images` must be one for each of 1 ids, got 2"):
        folder.add(3, [9], torch.zeros(2, 3, 4, 4), {}, [{}])


def test_a_batch_may_hold_no_image(folder):
    folder.add(3, [9], None, {"e": torch.ones(1)}, [{}])
    assert folder.finished == {0, 1, 3}
    with pytest.raises(ValueError, match="was added without it"):
        folder.images([9])


def add_part(path, rank, batch, ids, parts=2):
    """One process's part of a batch, read as it was before the others wrote."""
    folder = BatchFolder(path, "key1", rank=rank)
    tensors = {
        "e": torch.tensor([float(i) for i in ids]),
        "norm": torch.tensor([[i, -i] for i in ids]).T,
        "kl": torch.ones(1),
    }
    records = [{"seed": 100 + i, "batch": batch} for i in ids]
    images = torch.stack([picture(i) for i in ids])
    folder.add(batch, ids, images, tensors, records, part=(rank, parts), along={"e": 0, "norm": 1})


def test_parts_of_a_batch_are_read_as_one(tmp_path):
    path = tmp_path / "f"
    add_part(path, 1, 0, [2, 3])
    assert BatchFolder(path, "key1").finished == set()  # the other part is not there
    add_part(path, 0, 0, [0, 1])
    folder = BatchFolder(path, "key1")
    assert folder.finished == {0} and folder.ids() == [0, 1, 2, 3]
    ((batch, tensors),) = folder.tensors()
    assert batch == 0 and tensors["e"].tolist() == [0, 1, 2, 3] and tensors["kl"].tolist() == [1]
    assert tensors["norm"].tolist() == [[0, 1, 2, 3], [0, -1, -2, -3]]
    assert torch.equal(folder.images(), torch.stack([picture(i) for i in range(4)]))
    with pytest.raises(ValueError, match="`batch` must be a batch of .*, got 7"):
        folder.tensors_of(7)


def test_merging_leaves_one_manifest_without_what_is_not_whole(folder):
    add_part(folder.path, 0, 2, [6])
    add_part(folder.path, 1, 2, [7])
    add_part(folder.path, 1, 3, [9])  # killed before the other part was written
    expected = BatchFolder(folder.path, "key1").images([0, 2, 4, 5, 6, 7])
    folder.merge()
    assert [path.name for path in folder.path.glob("manifest-*.jsonl")] == ["manifest-0.jsonl"]
    again = BatchFolder(folder.path, "key1")
    assert again.finished == {0, 1, 2} and again.ids() == [0, 2, 4, 5, 6, 7]
    assert torch.equal(again.images(), expected)
    assert sorted(path.name for path in folder.path.glob("*.safetensors"))[2:] == [
        "batch-00002-0of2.safetensors",
        "batch-00002-1of2.safetensors",
    ]
    add(again, 3, [8, 9])  # drawn anew, by one process
    assert BatchFolder(folder.path, "key1").ids() == [0, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("call", ["replace", "unlink"])
def test_a_kill_while_merging_loses_nothing(folder, monkeypatch, call):
    add_part(folder.path, 0, 2, [6])
    add_part(folder.path, 1, 2, [7])
    with monkeypatch.context() as patched:
        patched.setattr(os, call, lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            folder.merge()
    folder.merge()
    again = BatchFolder(folder.path, "key1")
    assert again.finished == {0, 1, 2} and again.ids() == [0, 2, 4, 5, 6, 7]
    assert len(list(folder.path.glob("manifest-*.jsonl"))) == 1


def test_merging_what_is_whole_and_in_one_manifest_touches_nothing(folder):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.path.rglob("*") if path.is_file()}
    folder.merge()
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.path.rglob("*") if path.is_file()}
    assert before == after
