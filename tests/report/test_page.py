"""The report: every figure with its numbers, nothing drawn that no file holds, nothing under a false name."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from in4310repro.presets import PRESETS
from in4310repro.report import page
from in4310repro.report.conditions import differences_from_original
from in4310repro.report.exhibits import exhibits
from in4310repro.report.original import original
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.records import RunMetrics


@pytest.fixture(scope="module")
def written(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    page.write(FinishedRun.open(finished_run), folder)
    return folder


def test_all_eleven_figures_stand_as_picture_and_numbers(written: Path) -> None:
    expected = {f"figure{number:02d}.{ending}" for number in range(1, 12) for ending in ("png", "json")}
    assert {file.name for file in written.iterdir()} == expected | {"report.md", "index.html", "run.json"}
    for number in range(1, 12):
        with Image.open(written / f"figure{number:02d}.png") as picture:
            colours = picture.convert("RGB").getcolors(maxcolors=1_000_000)
            assert colours is not None
            assert len(colours) > 20


def test_a_page_without_photographs_lists_figure_7_and_draws_the_others(finished_run: Path, tmp_path: Path) -> None:
    page.write(FinishedRun.open(finished_run), tmp_path, photographs=False)
    pictures = {f"figure{number:02d}.png" for number in range(1, 12)}
    assert {file.name for file in tmp_path.glob("*.png")} == pictures - {"figure07.png"}
    markdown, html = (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text()
    assert "figure07.png" not in markdown
    assert len(re.findall(r"data:image/png", html)) == 10
    assert (tmp_path / "figure07.json").is_file()
    assert markdown.count("| glacier | top |") == 10


def test_a_report_removes_figures_of_an_earlier_one_and_no_file_of_the_user(written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written, tmp_path / "report"))
    for name in ("figure12.png", "figure_of_mine.png", "figure07-mine.png"):
        (folder / name).write_bytes(b"mine")
    listed = json.loads((folder / "run.json").read_text())
    listed["figures"] += ["../figure99.png", "figure_of_mine.png"]
    (folder / "run.json").write_text(json.dumps(listed))
    page._remove_earlier_figures(folder, {"figure07.json"})
    assert not (folder / "figure07.png").exists()
    assert (folder / "figure07.json").is_file()
    for name in ("figure12.png", "figure_of_mine.png", "figure07-mine.png"):
        assert (folder / name).read_bytes() == b"mine"


def test_a_folder_of_pictures_without_a_report_loses_none(tmp_path: Path) -> None:
    (tmp_path / "figure07.png").write_bytes(b"mine")
    page._remove_earlier_figures(tmp_path, set())
    assert (tmp_path / "figure07.png").read_bytes() == b"mine"


def test_the_run_can_be_made_again_from_what_stands_beside_its_report(written: Path, finished_run: Path) -> None:
    record = json.loads((written / "run.json").read_text())
    assert record["files_sha256"] == RunFolder.open(finished_run).manifest()
    assert record["command"] == "nox -s train report -- --preset tiny"
    assert (written / "report.md").read_text().count(f"Made by `{record['command']}`") == 11


def test_a_corrected_run_has_no_label_of_a_deviation(written: Path, finished_run: Path) -> None:
    for text in ((written / "report.md").read_text(), (written / "index.html").read_text()):
        assert "DEVIATION" not in text
        assert "PUBLISHED" not in text
    assert all("label" not in exhibit.numbers for exhibit in exhibits(FinishedRun.open(finished_run)))


def test_both_pages_show_every_figure_and_every_table_row(written: Path, finished_run: Path) -> None:
    markdown, html = (written / "report.md").read_text(), (written / "index.html").read_text()
    for exhibit in exhibits(FinishedRun.open(finished_run)):
        assert f"![Figure {exhibit.number}]({exhibit.name}.png)" in markdown
        for row in exhibit.table.rows:
            assert f"| {' | '.join(row)} |" in markdown
            assert "".join(f"<td>{cell}</td>" for cell in row) in html


def test_the_html_page_stands_alone(written: Path) -> None:
    html = (written / "index.html").read_text()
    assert len(re.findall(r'src="data:image/png;base64,', html)) == 11
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)


def test_figures_hold_the_numbers_of_the_run(written: Path, finished_run: Path) -> None:
    metrics = json.loads((finished_run / "metrics.json").read_text())
    figure = json.loads((written / "figure04.json").read_text())
    assert figure["ours"]["class_accuracy"] == metrics["class_accuracy"]
    features = json.loads((finished_run / "features.json").read_text())
    for number, images in enumerate(features["sets"], start=9):
        figure = json.loads((written / f"figure{number:02d}.json").read_text())
        assert figure["eigenvalues"]["conv1"] == images["modules"]["conv1"]["eigenvalues"]
        assert len(figure["eigenvalues"]["conv1"]) == 15


def test_the_originals_numbers_stand_beside_ours(written: Path) -> None:
    markdown = (written / "report.md").read_text()
    for printed in ("0.9882", "0.9926", "0.8788", "0.9797", "0.9908", "47.0", "74.3"):
        assert printed in markdown


def test_the_originals_means_are_the_means_of_its_classes() -> None:
    for printed in original()["settings"].values():
        for values, mean in (
            (printed["class_accuracy"], printed["mean_class_accuracy"]),
            (printed["average_precision"], printed["mean_average_precision"]),
        ):
            assert len(values) == 6
            assert sum(values) / 6 == pytest.approx(mean, abs=1e-15)


def test_absent_sets_are_named_for_what_stands_in_for_them(written: Path) -> None:
    for number, stand_in, absent in ((10, "photographs", "ImageNet"), (11, "digits", "CIFAR-10")):
        figure = json.loads((written / f"figure{number}.json").read_text())
        assert figure["name"] == f"scikit-learn {stand_in}"
        section = (written / "report.md").read_text().split(f"## Figure {number}")[1].split("\n## ")[0]
        assert absent not in section.splitlines()[0]
        assert f"no {absent} folder was given" in section


def test_what_differs_from_the_original_is_said_in_words(written: Path) -> None:
    markdown = (written / "report.md").read_text()
    for words in ("drawn scenes", "from scratch", "32 pixels", "2 epochs", "disjoint image sets"):
        assert words in markdown


def test_figure_7_ranks_ten_images_of_each_class_with_scores_and_true_classes(written: Path) -> None:
    ranked = json.loads((written / "figure07.json").read_text())["ranked"]
    assert list(ranked) == ["glacier", "mountain", "sea"]
    for sides in ranked.values():
        top, bottom = ([image["score"] for image in sides[side]] for side in ("top", "bottom"))
        assert len(top) == len(bottom) == 10
        assert top == sorted(top, reverse=True)
        assert bottom == sorted(bottom)


def test_classes_of_another_data_set_get_no_original_beside_them(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    metrics = RunMetrics(**{**run.metrics, "classes": ["a", "b", "c", "d", "e", "f"]})
    of_others = exhibits(replace(run, metrics=metrics))
    assert "original" not in of_others[3].numbers
    assert not of_others[7].numbers["original"]
    for exhibit in of_others:
        assert "original" not in f"{exhibit.title} {exhibit.caption} {exhibit.table.heading}"
    assert list(of_others[6].numbers["ranked"]) == ["a", "b", "c"]


def test_a_run_without_features_is_refused(own_records: Path, tmp_path: Path) -> None:
    (own_records / "features.json").unlink()
    with pytest.raises(ValueError, match="has no measured feature maps"):
        page.write(FinishedRun.open(own_records), tmp_path / "report")


def test_conditions_name_given_weights_and_networks(finished_run: Path) -> None:
    metrics = FinishedRun.open(finished_run).metrics
    course = replace(PRESETS["course"], data="/home/somebody/scenes", model="resnet50")
    sentences = "\n".join(differences_from_original(course, metrics).values())
    assert "images of scenes" in sentences
    assert "/home/somebody" not in sentences
    assert "ImageNet weights; the original starts" in sentences
    assert "resnet50; the original's is resnet18" in sentences


def test_controls_and_signs_of_direction_in_a_strangers_run_are_shown_on_both_pages(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    hostile = ["a\u202eb", "\x1b[31mc", "d\ne", "\u2066f", "\x9bg", "\ud800h"]
    run = replace(run, metrics=RunMetrics(**{**run.metrics, "classes": hostile}))
    context = page._context(run, page.record(run), exhibits(run)) | {"drawn": set(), "pictures": {}}
    for template in ("report.md.jinja", "index.html.jinja"):
        text = page.render(template, context)
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert "x1b[31mc" in text.replace("\\[", "[")
