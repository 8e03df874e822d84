"""The run on all photographs: its committed files agree, and can be checked by anyone with the images."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from in4310repro import golden
from in4310repro.golden import Claim, Comparison, compare
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics
from tests.golden_cases import (
    COURSE_IMAGES,
    COURSE_RUNS,
    FOLDER,
    course_folder,
    course_images,
    course_numbers,
    course_runs,
    recorded_arithmetic,
)

REPORTS = FOLDER.parent / "reports"
TRAITS = ("tier", "otherwise", "tolerance", "reason")


@pytest.fixture
def file() -> dict[str, Any]:
    return golden.read(FOLDER, "course")


@pytest.fixture
def part_of_file(file: dict[str, Any]) -> Callable[[str], dict[str, Any]]:
    """Return a function that returns the golden file with only the values whose names start with a given text."""
    return lambda part: file | {"values": {name: v for name, v in file["values"].items() if name.startswith(part)}}


def values(file: dict[str, Any]) -> dict[str, Any]:
    return {name: value["value"] for name, value in file["values"].items()}


def test_the_images_are_those_of_the_golden_file(
    part_of_file: Callable[[str], dict[str, Any]], numerics: Numerics, golden_tiers: Callable[[Comparison], None]
) -> None:
    folder = course_folder(COURSE_IMAGES)
    if not folder:
        pytest.skip(f"{COURSE_IMAGES} names no folder of the 17,034 photographs")
    versions = fingerprint(numerics)["versions"]
    environments = golden.folder.read_environments(FOLDER)
    comparison = compare("course", part_of_file("images/"), course_images(folder), numerics, versions, environments)
    golden_tiers(comparison)
    assert comparison.differences == []


def test_runs_on_them_measure_what_the_golden_file_says(
    part_of_file: Callable[[str], dict[str, Any]], numerics: Numerics, golden_tiers: Callable[[Comparison], None]
) -> None:
    folder = course_folder(COURSE_RUNS)
    if not folder:
        pytest.skip(f"{COURSE_RUNS} names no folder with the runs corrected, published and published-SEED")
    corrected, published = course_runs(folder)
    part = part_of_file("runs/")
    recorded = corrected.fingerprint
    # Bounds are the file's: what runs elsewhere would allow themselves does not enter.
    got = {
        name: Claim(**{trait: part["values"][name][trait] for trait in TRAITS}, value=claim.value)
        for name, claim in course_numbers(corrected, published).items()
    }
    environments = golden.folder.read_environments(FOLDER)
    numerics_of_run = recorded_arithmetic(recorded, numerics)
    comparison = compare("course", part, got, numerics_of_run, recorded["versions"], environments)
    golden_tiers(comparison)
    assert comparison.differences == []


def test_the_file_is_listed_with_the_arithmetic_of_the_run(file: dict[str, Any], numerics: Numerics) -> None:
    recorded = json.loads((REPORTS / "course" / "run.json").read_text())["fingerprint"]
    made_in, written = recorded_arithmetic(recorded, numerics), golden.folder.read_environments(FOLDER).written_in(file)
    assert written
    assert (
        (written.numerics, written.numeric_class)
        == (made_in.mode, made_in.numeric_class)
        == ("portable", file["numeric_class"])
    )
    assert (written.device_name, written.versions) == (made_in.device_name, recorded["versions"])


def test_the_split_is_the_courses(file: dict[str, Any]) -> None:
    golden_values = values(file)
    assert golden_values["images/classes"] == [2628, 2745, 2957, 3037, 2784, 2883]
    parts = {part: golden_values[f"images/{part}"] for part in ("training", "validation", "test")}
    assert parts == {
        "training": [1856, 1940, 2089, 2145, 1967, 2037],
        "validation": [309, 322, 347, 357, 327, 338],
        "test": [463, 483, 521, 535, 490, 508],
    }


def test_report_page_and_golden_file_hold_the_same_numbers(file: dict[str, Any]) -> None:
    record = json.loads((REPORTS / "course" / "run.json").read_text())
    numbers = json.loads((REPORTS / "published" / "numbers.json").read_text())
    golden_values = values(file)
    assert record["metrics"]["supports"]["test"] == dict(
        zip(record["metrics"]["classes"], golden_values["images/test"], strict=True)
    )
    assert record["files_sha256"]["split.csv"] == golden_values["images/sha256 of split.csv"]
    assert record["fingerprint"]["numeric_class"] == file["numeric_class"]
    all_images = json.loads((REPORTS / "training-images" / "numbers.json").read_text())["curve"]["scratch"]["0"][-1]
    assert all_images["images"] == sum(golden_values["images/training"])
    for name in ("mean_class_accuracy", "mean_average_precision"):
        fair = golden_values[f"runs/corrected, {name}"]
        assert record["metrics"][name] == numbers["corrected"]["test"][name] == all_images[name] == fair
        for where, key in (("seen", "test"), ("unseen", "unseen")):
            assert numbers["published"][0][key][name] == golden_values[f"runs/published, {where} images, {name}"]


def test_the_committed_report_is_small_and_shows_no_photographs() -> None:
    files = [file for folder in ("course", "published") for file in (REPORTS / folder).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 5 * 2**20
    tables = (7, 12)
    pictures = {f"figure{number:02d}.svg" for number in range(1, 16) if number not in tables}
    drawn = {file.name for file in (REPORTS / "course").iterdir() if file.suffix not in (".json", ".md")}
    assert drawn == pictures


def test_committed_pages_name_no_folder_of_the_machine_that_made_them() -> None:
    for file in REPORTS.rglob("*"):
        if file.suffix in (".md", ".json", ".toml"):
            for root in ("/work", "/home", "/root", "/tmp"):  # noqa: S108
                assert f'"{root}' not in file.read_text(), file
                assert f" {root}/" not in file.read_text(), file
