"""Which files of a folder are its images, in which order, and what a manifest adds."""

from __future__ import annotations

import shutil

import pytest
import torch

from selfdebias.storage.batches import BatchFolder
from selfdebias.storage.image_folder import ImageFolder, seed_of
from selfdebias.storage.images import encode_png

PNG = encode_png(torch.zeros(3, 2, 2))


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG)
    return folder


def test_images_are_found_below_the_folder_in_the_order_of_their_numbers(tmp_path):
    fill(tmp_path, "b10.png", "b2.PNG", "sub/a.jpeg", "sub/deep/c.webp", "d.bmp", "e.jpg")
    fill(tmp_path, ".hidden.png", "__MACOSX/._b2.png", ".cache/f.png", "notes.txt", "g.gif")
    files = ImageFolder(tmp_path, drawn_together=4).files
    assert [file.name for file in files] == ["b2", "b10", "d", "e", "sub/a", "sub/deep/c"]
    assert [file.id for file in files] == [0, 1, 2, 3, 4, 5]
    assert [file.batch for file in files] == [0, 0, 0, 0, 1, 1]
    assert [file.seed for file in files] == [seed_of(file.name) for file in files]
    assert all(0 <= file.seed < 2**64 for file in files) and len({file.seed for file in files}) == 6


def test_the_hash_follows_names_and_bytes_and_not_the_place(tmp_path):
    a, b = fill(tmp_path / "a", "1.png", "2.png"), fill(tmp_path / "b", "1.png", "2.png")
    assert ImageFolder(a).sha256 == ImageFolder(b).sha256
    (b / "2.png").write_bytes(PNG + b"x")
    changed = ImageFolder(b).sha256
    (b / "2.png").rename(b / "3.png")
    assert len({ImageFolder(a).sha256, changed, ImageFolder(b).sha256}) == 3


def test_a_manifest_says_seeds_batches_and_what_was_blanked(tmp_path):
    store = BatchFolder(tmp_path, "key")
    for batch in (1, 0):
        ids = [2 * batch, 2 * batch + 1]
        records = [{"seed": 2**63 + i, "prompt": "x", "batch": batch, "blanked": i == 3} for i in ids]
        store.add(batch, ids, torch.zeros(2, 3, 2, 2), {}, records)
    fill(tmp_path, "mode-0.png")  # a picture beside them is none of them
    (tmp_path / "generate.json").write_text('{"seconds_per_image": 2.0, "peak_memory_mb": null}')
    folder = ImageFolder(tmp_path, drawn_together=1)
    assert [file.facts for file in folder.files] == store.records()
    assert (folder.key, folder.drawn_together) == ("key", None)
    assert folder.drawing == {"seconds_per_image": 2.0, "peak_memory_mb": None}
    plain = ImageFolder(tmp_path / "images")
    assert [file.name for file in plain.files] == ["000000", "000001", "000002", "000003"]
    assert (plain.key, plain.drawing, plain.files[3].blanked) == ("", {}, None)
    shutil.move(tmp_path / "images" / "000002.png", tmp_path / "elsewhere.png")
    with pytest.raises(ValueError, match="No such file"):
        folder.read(2)


@pytest.mark.parametrize(
    "record, drawing, words",
    [
        ({"seed": "x"}, "{}", "`seed` of each image in the manifest of .* must be as a stage writes it, got 'x'"),
        ({"batch": True}, "{}", "`batch` of each image in the manifest of .*, got True"),
        ({"blanked": 1}, "{}", "`blanked` of each image .*, got 1"),
        ({"seed": None}, "{}", "`seed` of each image .*, got None"),
        ({}, "{", "`.*generate.json` must be a file of JSON that can be read: it is damaged"),
        ({}, '{"dependence": "moon"}', "`dependence` in .*generate.json must be as a generate stage writes it, got 'moon': sample"),
        ({}, '{"dependence": "remainder"}', "`dependence` in .*generate.json must be as .*, got 'remainder'"),
        ({}, '{"guidance": "x"}', "`guidance` in .*generate.json must be as .*, got 'x'"),
        ({}, '{"guidance": {"target": "even"}}', "`guidance` in .*generate.json must be as .*, got {'target': 'even'}"),
        ({}, '{"rows_per_image": "50"}', "`rows_per_image` in .*generate.json must be as .*, got '50'"),
    ],
)  # fmt: skip
def test_facts_that_no_stage_wrote_are_refused_before_images_are_read(record, drawing, words, tmp_path):
    facts = {"seed": 1, "prompt": "x", "batch": 0, "blanked": None, **record}
    BatchFolder(tmp_path, "key").add(0, [0], torch.zeros(1, 3, 2, 2), {}, [facts])
    (tmp_path / "generate.json").write_text(drawing)
    with pytest.raises(ValueError, match=words):
        ImageFolder(tmp_path).check()


def test_folders_that_cannot_be_one_are_refused(tmp_path):
    (tmp_path / "file.png").write_bytes(PNG)
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "twice", "a.png", "a.jpg")
    for name, words in (
        ("nowhere", "`it` must be a folder of images, got '.*nowhere', which does not exist"),
        ("file.png", "`it` must be a folder of images, got '.*file.png', which is a file"),
        ("empty", r"`it` must be a folder with images \(.png, .jpg, .jpeg, .webp, .bmp\), got '.*empty' without any"),
        ("twice", "`it` must be a folder of images with different names, got a.jpg and a.png in '.*twice'"),
    ):
        with pytest.raises(ValueError, match=words):
            ImageFolder(tmp_path / name, "it")


def test_one_readable_image_is_enough(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of 1 can; a.png: the file is empty"):
        ImageFolder(tmp_path).check()
    ImageFolder(fill(tmp_path, "b.png")).check()
