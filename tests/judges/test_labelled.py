"""A judge is held against labelled images: by hand-made pictures whose right answers are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from selfdebias.judges.labelled import labelled_fingerprint, labelled_images, measure_confusion


class Reddish:
    """Red where the mean colour is more red than green; sure by how much. Notes the shapes that it is given."""

    classes = {"colour": ("red", "green"), "light": ("dark", "bright")}  # noqa: RUF012
    threshold = 0.6
    encoder_id = None

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        self.shapes.append(tuple(images.shape))
        means = images.mean((2, 3))
        light = means.mean(1)
        colour = means[:, :2] / means[:, :2].sum(1, keepdim=True)
        return {"colour": colour, "light": torch.stack([1 - light, light], 1)}


def picture(path: Path, colour, size=(8, 8), mode="RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


RED, GREEN, UNSURE = (255, 0, 0), (0, 255, 0), (140, 130, 0)


@pytest.fixture
def folder(tmp_path):
    """Red: 5 right, 1 wrong, 1 unsure. Green: 2 right, 1 of them in another size."""
    root = tmp_path / "faces"
    for i in range(5):
        picture(root / "colour" / "red" / f"{i}.png", RED)
    picture(root / "colour" / "red" / "wrong.PNG", GREEN)
    picture(root / "colour" / "red" / "unsure.bmp", UNSURE)
    picture(root / "colour" / "green" / "a.jpg", GREEN)
    picture(root / "colour" / "green" / "b.webp", GREEN, size=(12, 8))
    return root


def test_counts_are_those_that_were_planted(folder):
    (it,) = measure_confusion(Reddish(), folder, batch_size=4).values()
    assert it.counts == [[5, 1], [0, 2]] and (it.unclassified, it.skipped, it.n) == (1, 0, 8)
    assert it.source == "labelled folder `faces`"


def test_a_call_has_images_of_one_size_and_never_more_than_asked(folder):
    judge = Reddish()
    measure_confusion(judge, folder, batch_size=3)
    assert sorted(shape[0] for shape in judge.shapes) == [1, 2, 3, 3]
    assert {shape[1:] for shape in judge.shapes} == {(3, 8, 8), (3, 8, 12)}
    for size in (1, 100):
        assert measure_confusion(Reddish(), folder, size) == measure_confusion(judge, folder, 3)


def test_what_cannot_be_read_is_skipped_and_counted(folder):
    green = folder / "colour" / "green"
    (green / "empty.png").write_bytes(b"")
    (green / "text.jpg").write_text("no picture")
    whole = (folder / "colour" / "red" / "0.png").read_bytes()
    (green / "cut.png").write_bytes(whole[: len(whole) // 2])
    (it,) = measure_confusion(Reddish(), folder, batch_size=4).values()
    assert it.skipped == 3 and it.counts == [[5, 1], [0, 2]] and it.unclassified == 1
    no_image = "no PNG, JPEG, WEBP or BMP image"
    reasons = {"cut.png": no_image, "empty.png": "the file is empty", "text.jpg": no_image}
    assert it.unread == tuple((f"colour/green/{name}", reason) for name, reason in reasons.items())


def test_hidden_files_and_other_kinds_are_no_images(folder):
    (folder / "colour" / "red" / "notes.txt").write_text("all by one hand")
    (folder / "colour" / "red" / "._0.png").write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / "README.md").write_text("faces")
    assert measure_confusion(Reddish(), folder, 4)["colour"].skipped == 0


def test_a_file_that_may_not_be_read_is_part_of_the_fingerprint_and_refuses_nothing(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    before = labelled_fingerprint(folder, Reddish.classes)
    monkeypatch.setattr("selfdebias.judges.labelled.hash_file", refuse)
    assert labelled_fingerprint(folder, Reddish.classes) != before


def test_the_fingerprint_follows_names_and_bytes_alone(folder):
    classes = Reddish.classes
    before = labelled_fingerprint(folder, classes)
    (folder / "notes.txt").write_text("x")
    moved = folder.rename(folder.parent / "elsewhere")
    assert labelled_fingerprint(moved, classes) == before
    picture(moved / "colour" / "red" / "0.png", (254, 0, 0))
    changed = labelled_fingerprint(moved, classes)
    (moved / "colour" / "red" / "1.png").rename(moved / "colour" / "green" / "1.png")
    assert len({before, changed, labelled_fingerprint(moved, classes)}) == 3


def test_what_the_judge_does_not_know_is_refused_with_what_it_knows(folder):
    known = r"\(colour: red, green; light: dark, bright\)"
    (folder / "hair").mkdir()
    with pytest.raises(ValueError, match=rf"`evaluate.labelled` must be .* {known}, got the attribute 'hair'"):
        labelled_images(folder, Reddish.classes)
    (folder / "hair").rmdir()
    (folder / "colour" / "blue").mkdir()
    with pytest.raises(ValueError, match=rf"{known}, got the class 'colour/blue'"):
        labelled_images(folder, Reddish.classes)


def test_a_folder_without_images_or_none_at_all_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="which is no folder"):
        labelled_images(tmp_path / "none", Reddish.classes)
    (tmp_path / "colour" / "red").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="without an image"):
        labelled_images(tmp_path, Reddish.classes)
    picture(tmp_path / "0.png", RED)
    with pytest.raises(FileNotFoundError, match="its images are not in <attribute>/<class>/"):
        labelled_images(tmp_path, Reddish.classes)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        measure_confusion(Reddish(), tmp_path, 0)
