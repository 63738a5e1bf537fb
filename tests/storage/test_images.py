"""Pixels survive the way to a file and back, sheets place each image where it belongs, and every kind of image file is read.

Each image has a seed of its own.
A file is read as the RGB that a viewer shows on white, and a damaged one gives a reason, never a crash.
"""

from __future__ import annotations

import io
import random
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from selfdebias.storage.images import (
    GAP_GREY,
    ORIENTATION,
    UnreadableError,
    contact_sheet,
    encode_png,
    generators,
    image_seeds,
    read_picture,
    read_picture_file,
    to_tensor,
    to_uint8,
)  # fmt: skip

RGB = (np.random.default_rng(0).random((5, 7, 3)) * 255).astype(np.uint8)


def saved(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


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


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_colours_come_back_as_they_were(kind, options):
    data = saved(Image.fromarray(RGB), kind, **options)
    assert np.array_equal(read_picture(data), RGB)
    assert np.array_equal(to_tensor(read_picture(data)).permute(1, 2, 0).numpy(), np.float32(RGB) / np.float32(255))


def test_grey_becomes_three_equal_channels():
    assert np.array_equal(read_picture(saved(Image.fromarray(RGB[..., 0]))), RGB[..., [0, 0, 0]])
    bits = Image.fromarray(RGB[..., 0] > 127)
    assert np.array_equal(read_picture(saved(bits))[..., 1], np.where(RGB[..., 0] > 127, 255, 0))


def test_sixteen_bits_of_grey_keep_their_scale():
    deep = np.array([[0, 257, 128, 129, 32896, 65535]], dtype=np.uint16)
    assert read_picture(saved(Image.fromarray(deep)))[0, :, 2].tolist() == [0, 1, 0, 1, 128, 255]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_pixels_are_laid_on_white(kind):
    alpha = np.linspace(0, 255, 35).round().reshape(5, 7, 1)
    exact = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = saved(Image.fromarray(np.concatenate([RGB, alpha], 2).astype(np.uint8)), kind, **exact)
    expected = RGB * (alpha / 255) + 255 * (1 - alpha / 255)
    assert np.abs(read_picture(data) - expected).max() <= 1


def test_a_transparent_colour_of_a_palette_is_white():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    assert read_picture(saved(picture)).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert read_picture(saved(picture, transparency=0)).tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_camera_is_applied(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = saved(Image.fromarray(RGB), exif=exif)
    with Image.open(io.BytesIO(data)) as picture:
        assert np.array_equal(read_picture(data), np.asarray(ImageOps.exif_transpose(picture)))


def test_broken_exif_turns_nothing():
    data = saved(Image.fromarray(RGB), exif=b"Exif\0\0MM\0\xff" + bytes(12))
    assert np.array_equal(read_picture(data), RGB)


def test_why_a_file_cannot_be_read():
    png = saved(Image.fromarray(RGB))
    for data, reason in (
        (b"", "the file is empty"),
        (b"just a text", "no PNG, JPEG, WEBP or BMP image"),
        (saved(Image.fromarray(RGB), "GIF"), "no PNG, JPEG, WEBP or BMP image"),
        (png[:-40], "truncated"),
    ):
        with pytest.raises(UnreadableError, match=reason):
            read_picture(data)


def test_too_large_a_picture_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UnreadableError, match="exceeds limit"):
        read_picture(saved(Image.fromarray(RGB)))


def outcome(data: bytes) -> str:
    try:
        return str(read_picture(data).dtype)
    except UnreadableError as error:
        return str(error)


@pytest.mark.reliability
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_no_damage_raises_anything_else(kind):
    """Cuts each file at every byte, and overwrites bytes at random: a picture or a reason, nothing else."""
    rng = random.Random(0)
    modes = ("RGB", "L") if kind == "JPEG" else ("RGB", "RGBA", "P")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for mode in modes:
            data = saved(Image.fromarray(RGB).convert(mode), kind)
            damaged = [data[:end] for end in range(len(data))]
            for _ in range(400):
                copy = bytearray(data)
                for _ in range(rng.choice([1, 2, 8])):
                    copy[rng.randrange(len(copy))] = rng.randrange(256)
                damaged.append(bytes(copy))
            for it in damaged:
                assert outcome(it) and "0x" not in outcome(it)  # no address, or a second run would differ


def test_no_two_stages_and_no_two_seeds_share_an_image():
    runs = [image_seeds(stage, seed, range(500)) for stage in ("collect", "generate") for seed in range(6)]
    every = [seed for run in runs for seed in run]
    assert len(set(every)) == len(every)


def test_generators_repeat():
    first, second = (generators(image_seeds("collect", 3, [5]))[0].initial_seed() for _ in range(2))
    assert first == second


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="`seed` must be at least 0, got -1"):
        image_seeds("collect", -1, [0])
