"""The pages about studies are generated from committed numbers."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks import picture
from in4310repro import golden
from in4310repro.report.exhibit import describe_extremes, figure_source, to_text
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import file_sha256, read_json
from in4310repro.system.numerics import Numerics
from studies import labels, training_images
from tests.golden_cases import FOLDER, finish_run


def test_the_picture_of_a_page_is_of_the_golden_demo() -> None:
    held = read_json(picture.TEXTS)
    assert held["sha256"] == file_sha256(picture.PICTURE)
    assert picture.PICTURE.stat().st_size < 300_000
    assert held["scores"] == golden.read(FOLDER, "demo_bits")["values"]["scores"]["value"]
    numbers = {name: each["value"] for name, each in golden.read(FOLDER, "demo_numbers")["values"].items()}
    shown = dict(pairwise(held["texts"]))
    assert shown["mean class accuracy"] == f"{numbers['test mean_class_accuracy']:.4f}"
    assert shown["mAP"] == f"{numbers['test mean_average_precision']:.4f}"
    selected = max(("adamw", "rmsprop", "sgd"), key=lambda name: numbers[f"{name} best validation"])
    assert f"The selected setting, {selected}, on the test set (figure 4 of the original)" in held["texts"]


@pytest.mark.slow
@pytest.mark.long(140)
def test_the_picture_of_a_page_shows_the_texts_of_now(numerics: Numerics) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    run = FinishedRun.open(finish_run("demo"))
    assert read_json(picture.TEXTS)["texts"] == picture.texts_of(picture.shortened(run))


def test_the_page_on_labels_is_what_its_numbers_give() -> None:
    assert (labels.FOLDER / "labels.md").read_text() == labels.page(read_json(labels.FOLDER / "labels.json"))


def test_the_page_on_training_images_is_what_its_numbers_give() -> None:
    written = (training_images.FOLDER / "training-images.md").read_text()
    assert written == training_images.page("mandatory1/data")


def test_the_curve_of_training_images_is_drawn_from_its_numbers() -> None:
    drawn = (training_images.FOLDER / "curve.svg").read_text()
    assert drawn == training_images.draw_curve_of(read_json(training_images.NUMBERS))


REPORTS = Path(__file__).parents[2] / "reports"
# Of these figures the sentences on the lowest and the highest follow from the committed numbers alone.
BY_CLASS, SPARSITY = (1, 2, 3, 4), 8
COMPARED = [
    (name, number)
    for name in ("photographs", "photographs-head")
    for number in (*BY_CLASS, SPARSITY)
    if (REPORTS / name / f"figure{number:02d}.json").is_file()
]


@pytest.mark.parametrize(("name", "number"), COMPARED)
def test_the_comparisons_of_a_committed_report_are_what_its_numbers_give(name: str, number: int) -> None:
    folder, figure = REPORTS / name, f"figure{number:02d}"
    numbers: dict[str, Any] = read_json(folder / f"{figure}.json")
    source = figure_source(number, numbers)
    if number == SPARSITY:
        found = [describe_extremes(list(numbers["ours"]), source, "ours", form=".1f", unit=" %", kind="modules")]
    else:
        found = [
            describe_extremes(numbers["classes"], source, "ours", key, intervals=("intervals", key))
            for key in ("class_accuracy", "average_precision")
        ]
    for written in (folder / "report.md", folder / f"{figure}.svg"):
        text = written.read_text(encoding="utf-8")
        assert [sentence for sentence in map(to_text, found) if f"{sentence}." not in text] == [], written.name


@pytest.mark.parametrize("name", ["course", "photographs", "photographs-head"])
def test_a_committed_report_names_files_of_figures_and_no_images(name: str) -> None:
    text = (REPORTS / name / "report.md").read_text(encoding="utf-8")
    images = read_json(REPORTS / name / "figure12.json")["images"]
    paths = [image["path"] for by_class in images.values() for cell in by_class.values() for image in cell]
    assert len(paths) == 3000
    assert [path for path in paths if path in text] == []
    for figure in ("figure07", "figure12"):
        assert f"Images and scores are listed in [{figure}.json]({figure}.json)." in text
