"""The pages of studies are what their committed numbers give, so that no number on them is typed in by hand."""

from pathlib import Path

import pytest

from in4310repro.ablation import markdown, read_report
from in4310repro.files import read_json
from tests.sessions import labels, training_images


def test_the_page_on_labels_is_what_its_numbers_give() -> None:
    assert (labels.FOLDER / "labels.md").read_text() == labels.page(read_json(labels.FOLDER / "labels.json"))


def test_the_page_on_training_images_is_what_its_numbers_give() -> None:
    written = (training_images.FOLDER / "training-images.md").read_text()
    assert written == training_images.page("mandatory1/data")


def test_the_curve_of_training_images_is_drawn_from_its_numbers() -> None:
    drawn = (training_images.FOLDER / "curve.svg").read_text()
    assert drawn == training_images.draw_curve_of(read_json(training_images.NUMBERS))


@pytest.mark.parametrize("name", ["ablation", "ablation-course"])
def test_the_page_of_an_ablation_is_what_its_numbers_give(name: str) -> None:
    folder = Path(__file__).parents[2] / "reports" / name
    assert (folder / "ablation.md").read_text() == markdown(read_report(folder / "ablation.json"))
