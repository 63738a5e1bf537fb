"""Pixels survive the way to a file and back; sheets place each image where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selfdebias.storage.images import GAP_GREY, contact_sheet, encode_png, read_picture_file, to_tensor, to_uint8


def test_png_returns_every_8_bit_value(tmp_path):
    image = (torch.arange(256).float() / 255).reshape(1, 16, 16).repeat(3, 1, 1)
    image[1] = image[1].flip(0)
    (tmp_path / "a.png").write_bytes(encode_png(image))
    assert torch.equal(to_tensor(read_picture_file(tmp_path / "a.png")), image)


@pytest.mark.parametrize("value", [1.7, -0.5, float("nan"), float("inf")])
def test_values_outside_the_range_are_refused(value):
    with pytest.raises(ValueError, match=r"`images` must lie in \[0, 1\]"):
        to_uint8(torch.tensor([0.5, value]))


def test_sheet_places_images_row_by_row_with_pale_gaps():
    images = torch.stack([torch.full((3, 4, 6), v / 255) for v in (10, 20, 30)])
    sheet = np.asarray(contact_sheet(images, columns=2, gap=2))
    assert sheet.shape == (2 + 2 * (4 + 2), 2 + 2 * (6 + 2), 3)
    assert (sheet[2, 2, 0], sheet[2, 10, 0], sheet[8, 2, 0]) == (10, 20, 30)
    assert tuple(sheet[0, 0]) == GAP_GREY
    assert tuple(sheet[8, 10]) == GAP_GREY  # the empty fourth place


def test_labels_add_room_under_each_row_and_must_match():
    images = torch.zeros(2, 3, 8, 8)
    assert contact_sheet(images, 1, labels=["a", "b"]).height > contact_sheet(images, 1).height
    with pytest.raises(ValueError, match="`labels` must have one text for each of 2 images, got 1"):
        contact_sheet(images, 1, labels=["a"])
    with pytest.raises(ValueError, match="`columns` must be at least 1, got 0"):
        contact_sheet(images, 0)
    with pytest.raises(ValueError, match="`images` must be"):
        contact_sheet(images[:0], 1)
