"""The pages of studies are what their committed numbers give, so that no number on them is typed in by hand."""

from in4310repro.files import read_json
from tests.sessions import labels, training_images


def test_the_page_on_labels_is_what_its_numbers_give() -> None:
    assert (labels.FOLDER / "labels.md").read_text() == labels.page(read_json(labels.FOLDER / "labels.json"))


def test_the_page_on_training_images_is_what_its_numbers_give() -> None:
    written = (training_images.FOLDER / "training-images.md").read_text()
    assert written == training_images.page("mandatory1/data")
