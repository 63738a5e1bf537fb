"""Rows that stay on disk are those of the tensors in memory."""

from __future__ import annotations

import pytest
import torch

from selfdebias.storage import StorageError
from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.tensor_rows import StoredTensor, TensorRows, in_parts, joined


@pytest.fixture(params=[torch.float16, torch.float32, torch.bfloat16])
def stored(request, tmp_path):
    """Three batches, the last one in two parts, and their rows together."""
    parts = [torch.randn(n, 3, 2, 2).to(request.param) for n in (5, 1, 4, 3)]
    folder = BatchFolder(tmp_path, "k")
    for i, (batch, part) in enumerate([(0, (0, 1)), (1, (0, 1)), (2, (0, 2)), (2, (1, 2))]):
        tensors = {"a": torch.ones(7), "h": parts[i], "h_id": torch.arange(len(parts[i]))}
        folder.add(batch, [i], None, tensors, [{}], part, dict.fromkeys(tensors, 0))
    return folder, TensorRows.join([folder.rows(batch, "h") for batch in range(3)]), torch.cat(parts)


def test_rows_are_read_in_the_order_in_which_they_are_asked_for(stored):
    _, rows, whole = stored
    assert len(rows) == 13 and rows.shape == whole.shape and rows.dtype == whole.dtype
    assert torch.equal(rows[torch.arange(13)], whole)
    for seed in range(5):
        chosen = torch.randint(13, (20,), generator=torch.Generator().manual_seed(seed))
        assert torch.equal(rows[chosen], whole[chosen])
    mask = torch.arange(13) % 3 == 1
    assert torch.equal(rows[mask], whole[mask])
    assert rows[torch.zeros(0, dtype=torch.int64)].shape == (0, 3, 2, 2)


def test_some_of_the_rows_and_some_of_those(stored):
    _, rows, whole = stored
    order = torch.randperm(13, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(13) % 2 == 0
    assert torch.equal(torch.cat([*rows.only(order).only(mask).split(4)]), whole[order][mask])
    both = joined([rows.only(mask), rows.only(~mask)])
    assert torch.equal(both[torch.arange(13)], torch.cat([whole[mask], whole[~mask]]))
    assert torch.equal(joined([whole[:4], whole[4:]]), whole)


def test_in_parts_the_columns_go_with_their_rows(stored):
    _, rows, whole = stored
    column = torch.arange(13)
    for h in (rows, whole):
        parts = [*in_parts(h, column)]
        assert torch.equal(torch.cat([part for part, _ in parts]), whole)
        assert torch.equal(torch.cat([own for _, own in parts]), column)


def test_a_file_that_was_cut_since_or_lacks_the_tensor_is_said(stored):
    folder, rows, _ = stored
    path = folder.path / "batch-00000.safetensors"
    with pytest.raises(StorageError, match="must hold a tensor `x`, and holds a, h, h_id"):
        StoredTensor.find(path, "x")
    path.write_bytes(path.read_bytes()[: rows.stored[0].start + 8])
    with pytest.raises(StorageError, match="must be a whole safetensors file"):
        rows[torch.tensor([4])]


def test_tensors_are_read_by_name_and_checked(stored):
    folder, *_ = stored
    assert [(batch, {name: len(it) for name, it in tensors.items()}) for batch, tensors in folder.tensors(("h_id", "a"))] == [
        (0, {"h_id": 5, "a": 7}), (1, {"h_id": 1, "a": 7}), (2, {"h_id": 7, "a": 14}),
    ]  # fmt: skip
    path = folder.path / "batch-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="must have sha256"):
        list(folder.tensors(("h_id",)))
