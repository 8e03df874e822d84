"""The report: every figure shows exactly the numbers of its file, under the right names."""

import copy
import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from in4310repro.audit import examine
from in4310repro.metrics import SCALARS
from in4310repro.report import page
from in4310repro.report.class_exhibits import draw_accuracies, list_accuracies, validation_exhibits
from in4310repro.report.exhibit import Exhibit, FigureTable, figure_source, original, to_text
from in4310repro.report.feature_exhibits import find_drawn_indices, spectrum_exhibits
from in4310repro.report.markup import Panel, label
from in4310repro.report.page import FIGURES, exhibits
from in4310repro.report.verdict import (
    describe_differences,
    describe_selection_and_test,
    keep_together,
    make_tier_lookup,
    make_verdict,
)
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun, advise
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS, configure
from in4310repro.runs.record_types import RunMetrics
from in4310repro.runs.settings import IDENTICAL, LOOK_ALIKES
from tests.report.reading import Page


def test_all_figures_stand_as_numbers_and_all_but_tables_as_a_drawing(
    all_exhibits: list[Exhibit], written: Path
) -> None:
    # Those of the published report at least; each of them has a file of its own.
    by_number = sorted(all_exhibits, key=lambda each: each.number)
    assert [each.counterpart for each in by_number] == [*range(1, 12), *[None] * 4]
    # In this order they stand on a page, in their groups.
    assert [each.number for each in all_exhibits] == [*range(1, 7), *range(8, 16), 7]
    assert ["no such figure" in to_text(each.caption) for each in by_number] == [False] * 11 + [True] * 4
    expected = {f"{each.name}.{ending}" for each in all_exhibits for ending in ("svg", "json")}
    expected -= {"figure12.svg"}
    assert {file.name for file in written.iterdir()} == expected | {"report.md", "index.html", "check.html", "run.json"}
    for file in written.glob("*.svg"):
        root = ElementTree.parse(file).getroot()  # noqa: S314
        assert len(root.findall(".//{*}text")) > 5
        assert any(root.findall(f".//{{*}}{shape}") for shape in ("path", "image", "circle", "rect"))
        assert root.get("aria-label", "").endswith(".")


def test_a_figure_that_is_added_to_the_list_stands_in_files_drawings_and_on_both_pages_with_its_tier(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def added(_: FinishedRun) -> Exhibit:
        source = figure_source(16, {"share": 0.25})
        table, finding = (
            FigureTable.of(("what", ["all"]), ("share", [source.at("share")])),
            source.say("Is {share:.2f}"),
        )
        drawn = [Panel("Share", 20, label(0, 15, "drawn"))]
        return Exhibit(source, "Added", "An added figure", ("Caption.",), [finding], table, drawn)

    monkeypatch.setitem(FIGURES, "On the test set", (*FIGURES["On the test set"], added))
    figures = exhibits(run)
    assert [each.name for each in figures[-2:]] == ["figure16", "figure07"]
    assert b">drawn<" in page.make_drawings(figures, {})["figure16.svg"]
    markdown, html = (text.decode() for text in page.make_pages(run, figures, {}).values())
    assert (
        "### An added figure\n\n* Is 0.25.\n\n![Added](figure16.svg)\n\nCaption. The original has no such" in markdown
    )
    assert 'title="figure16.json /share: bitwise, tolerance 0">0.25<' in html
    assert html.index("An added figure") < html.index("Test images with the highest") < html.index("Loss of the")


def test_a_page_without_photographs_lists_figure_7_and_draws_the_others(
    run: FinishedRun, all_exhibits: list[Exhibit], tmp_path: Path
) -> None:
    page.write(run, tmp_path, photographs=False)
    drawings = {f"{each.name}.svg" for each in all_exhibits if each.number not in (7, 12)}
    assert {file.name for file in tmp_path.glob("*.svg")} == drawings
    markdown, html = (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text()
    assert "figure07.svg" not in markdown
    assert "data:image" not in html
    # Its images are listed in its file, and in the table of the HTML page.
    assert len(json.loads((tmp_path / "figure07.json").read_text())["ranked"]["glacier"]["top"]) == 10
    assert "Images and scores are listed in [figure07.json](figure07.json)." in markdown
    assert len(html.encode()) < 500_000


def test_a_report_removes_figures_of_an_earlier_one_and_no_file_of_the_user(written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written, tmp_path / "report"))
    for name in ("figure12.png", "figure_of_mine.png", "figure07-mine.png"):
        (folder / name).write_bytes(b"mine")
    # Earlier versions wrote PNG files.
    (folder / "figure01.png").write_bytes(b"drawn")
    listed = json.loads((folder / "run.json").read_text())
    listed["figures"].append("figure01.png")
    listed["figures"] += ["../figure99.png", "figure_of_mine.png"]
    (folder / "run.json").write_text(json.dumps(listed))
    page.remove_earlier_figures(folder, {"figure07.json"})
    assert not (folder / "figure07.svg").exists()
    assert not (folder / "figure01.png").exists()
    assert (folder / "figure07.json").is_file()
    for name in ("figure12.png", "figure_of_mine.png", "figure07-mine.png"):
        assert (folder / name).read_bytes() == b"mine"


def test_a_folder_of_pictures_without_a_report_loses_none(tmp_path: Path) -> None:
    (tmp_path / "figure07.png").write_bytes(b"mine")
    page.remove_earlier_figures(tmp_path, set())
    assert (tmp_path / "figure07.png").read_bytes() == b"mine"


def test_the_run_can_be_made_again_from_what_stands_beside_its_report(written: Path, finished_run: Path) -> None:
    record = json.loads((written / "run.json").read_text())
    assert record["files_sha256"] == RunFolder.open(finished_run).manifest()
    assert record["command"] == "in4310repro train --preset tiny && in4310repro report runs/tiny"
    assert (written / "report.md").read_text().count(f"Made by `{record['command']}`") == 15


def test_the_audit_accuses_no_number_of_a_report(written: Path) -> None:
    assert examine.audit(written / "report.md").inconsistencies == ()


def test_a_corrected_run_has_no_label_of_a_deviation(written: Path, all_exhibits: list[Exhibit]) -> None:
    for text in ((written / "report.md").read_text(), (written / "index.html").read_text()):
        assert "DEVIATION" not in text
        assert "SUPPOSED" not in text
    assert all("label" not in exhibit.numbers for exhibit in all_exhibits)


def test_both_pages_show_every_figure_every_finding_and_every_table_row(
    written: Path, all_exhibits: list[Exhibit]
) -> None:
    markdown, html = (written / "report.md").read_text(), Page(written / "index.html")
    for exhibit in all_exhibits:
        assert exhibit.number == 12 or f"![{exhibit.short}]({exhibit.name}.svg)" in markdown
        assert f"### {exhibit.heading}\n" in markdown
        assert exhibit.heading in html.text
        for finding in map(to_text, exhibit.findings):
            assert f"* {finding}." in markdown
            assert finding in html.text or any(finding in label for label in html.labels)
        for row in exhibit.table.rows:
            # A row that names an image is in the HTML page and the JSON file.
            assert (f"| {' | '.join(map(str, row))} |" in markdown) == (exhibit.number != 7)
            assert [str(cell) for cell in row] in html.rows


def test_both_pages_begin_with_the_verdict(written: Path, run: FinishedRun, all_exhibits: list[Exhibit]) -> None:
    markdown, html = (
        (written / "report.md").read_text(),
        Page(written / "index.html").text,
    )
    answers = make_verdict(run, all_exhibits[3].source)
    assert list(answers) == ["Asked", "Came out", "Caution", "Repeats", "Differs"]
    for question, answer in answers.items():
        assert f"**{question}.** {to_text(answer)}" in markdown.split("\n## ")[0]
        assert to_text(answer) in html.split("The selected setting")[0]
    for sentence in describe_selection_and_test(run):
        assert sentence in markdown
        assert sentence in html
    assert "The two are not comparable" in to_text(answers["Differs"])
    assert "0.9882" not in html.split("Asked")[0]


def rows_by_anchor(html: str) -> dict[str, list[str]]:
    """Return a dict from the anchor of a table row to the cells of this row."""
    rows = re.findall(r'<tr id="(n\d+)"><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>', html)
    return {anchor: [unescape(cell) for cell in cells] for anchor, *cells in rows}


def test_every_number_leads_to_its_value_beside_its_key_on_the_page_itself(
    all_exhibits: list[Exhibit], written: Path
) -> None:
    links = [(values, text) for values, text in Page(written / "index.html").links if values.get("class") == "n"]
    rows = rows_by_anchor((written / "index.html").read_text(encoding="utf-8"))
    files, tiers = set(), set()
    for values, text in links:
        pointer, shown_in_full, tier = rows[(values["href"] or "").removeprefix("#")]
        title = values["title"] or ""
        file = title.partition(" ")[0]
        files.add(file)
        value: Any = json.loads((written / file).read_text(encoding="utf-8"))
        for key in pointer.split("/")[1:]:
            value = value[int(key) if isinstance(value, list) else key.replace("~1", "/").replace("~0", "~")]
        assert json.loads(shown_in_full) == value
        shown = [float(number) for number in text.split(" to ")]
        assert shown == pytest.approx(value if isinstance(value, list) else [value], rel=0.05, abs=0.0051)
        assert title.startswith(f"{file} {pointer}: {tier}, tolerance ")
        tiers.add((tier, pointer.split("/")[1]))
    assert files >= {f"{each.name}.json" for each in all_exhibits}
    assert len(rows) == len({values["href"] for values, _ in links})
    assert tiers >= {("bitwise", "ours"), ("numerical", "eigenvalues"), ("claimed", "train_loss"),
                     ("as printed", "original"), ("exact", "images")}  # fmt: skip
    assert not tiers & {("bitwise", "eigenvalues"), ("bitwise", "train_loss"), ("exact", "ours")}


def test_the_navigation_names_what_each_figure_shows(written: Path) -> None:
    html = (written / "index.html").read_text(encoding="utf-8")
    named = dict(re.findall(r'<a href="#(figure\d\d)">(.*?)</a>', html.split("<nav")[1].split("</nav>")[0]))
    assert len(named) == len(set(named.values())) == 15
    assert not any(re.search(r"[Ff]igure|^\d", name) for name in named.values())
    assert set(named) == set(re.findall(r'<section class="figure" id="(\w+)"', html))


def test_every_figure_but_the_matrix_has_a_drawing_and_all_have_a_sentence_on_the_page(written: Path) -> None:
    sections = (written / "index.html").read_text(encoding="utf-8").split('<section class="figure"')[1:]
    assert len(sections) == 15
    for section in sections:
        body = section.split("</section>")[0]
        assert re.search(r'<p class="finding">.{20,}</p>', body)
        assert "<svg" in body or "<img" in body or 'class="matrix"' in body


def test_options_and_numbers_stay_on_one_line() -> None:
    whole = "verify --replay 2 (-q), at 1e-11 of 95 %, as test-set --- here"
    assert re.findall(r'<span class="w">(.*?)</span>', keep_together(whole)) == ["--replay", "-q", "1e-11", "95 %"]
    assert keep_together("<b>&").unescape() == "<b>&"


def test_a_run_that_may_be_guessing_says_so_on_both_pages_in_the_words_of_the_console(
    written: Path, run: FinishedRun
) -> None:
    said = advise(run)
    assert " than guessing: " in said
    assert (
        f"Advice at the end of the training: {said}."
        in Page(written / "index.html").text.split("The selected setting")[0]
    )
    assert said in (written / "report.md").read_text()


def test_what_the_shared_split_validates_on_is_what_its_intervals_count(run: FinishedRun) -> None:
    supports = {**run.metrics["supports"], "test": dict.fromkeys(run.classes, 7)}
    run = replace(
        run,
        config=replace(run.config, protocol=parse("shared-split")),
        metrics=RunMetrics(**{**run.metrics, "supports": supports}),
    )
    exhibit = next(validation_exhibits(run))
    assert exhibit.numbers["images"] == [7] * 6
    assert "on the 42 images that it was trained on" in describe_selection_and_test(run)[0]


def test_a_report_on_other_classes_says_whether_the_test_images_were_trained_on(run: FinishedRun) -> None:
    classes, of_six = [f"{name} at dusk" for name in run.classes], exhibits(run)
    supports = {part: dict(zip(classes, each.values(), strict=True)) for part, each in run.metrics["supports"].items()}
    run = replace(run, metrics=RunMetrics(**{**run.metrics, "classes": classes, "supports": supports}))
    shared = replace(run, config=replace(run.config, protocol=parse("shared-split")))
    for each, words in ((run, "it has never seen?"), (shared, "it was trained on?")):
        answers = make_verdict(each, of_six[3].source)
        assert to_text(answers["Asked"]).endswith(words)
        assert "Differs" not in answers


def test_the_first_sentences_name_the_images_and_a_single_setting(run: FinishedRun) -> None:
    one = replace(run, config=replace(run.config, data="scenes", settings=run.config.settings[:1]))
    for each, images, differs in ((run, "drawn scenes", "not comparable"), (one, "photographs", "of its own training")):
        answers = make_verdict(each, exhibits(run)[3].source)
        assert f"reach on {images}, " in to_text(answers["Asked"])
        assert differs in to_text(answers["Differs"])
    assert describe_selection_and_test(one)[0].startswith("Of all epochs, ")


def test_the_validation_loss_is_claimed_but_for_the_best_epoch(run: FinishedRun, all_exhibits: list[Exhibit]) -> None:
    rows = run.histories[run.metrics["setting"]]
    of, numbers = make_tier_lookup(run, all_exhibits), figure_source(5, {"val_loss": [row["val_loss"] for row in rows]})
    best = max(range(len(rows)), key=lambda place: rows[place]["mean_class_accuracy"])
    names = [of(numbers.at("val_loss", place)).name for place in range(len(rows))]
    assert names == ["bitwise" if place == best else "claimed" for place in range(len(rows))]


def test_the_html_page_stands_alone(written: Path) -> None:
    html = (written / "index.html").read_text()
    assert len(html.encode()) < 1_000_000
    assert "http" not in re.sub(r'xmlns="[^"]*"|http-equiv', "", html)
    assert not re.findall(r'src="(?!data:image/jpeg;base64,)', html)
    assert not re.findall(r'href="(?!#|(?:figure\d\d|run)\.json|check\.html)', html)


def test_a_number_of_the_confusion_matrix_leads_to_the_list_of_its_images(written: Path) -> None:
    html = (written / "index.html").read_text()
    numbers = json.loads((written / "figure12.json").read_text())
    counts = {
        (true, predicted): count
        for true, row in enumerate(numbers["confusion_matrix"])
        for predicted, count in enumerate(row)
        if count
    }
    assert sum(counts.values()) == 12
    markdown = (written / "report.md").read_text()
    for (true, predicted), count in counts.items():
        assert f'<a href="#cell-{true}-{predicted}"' in html
        names = [numbers["classes"][place] for place in (true, predicted)]
        listed = html.split(f'<h4 id="cell-{true}-{predicted}">')[1].split("</ul>")[0]
        assert listed.startswith(f"{names[0]} predicted as {names[1]}: ")
        paths = [image["path"] for image in numbers["images"][names[0]][names[1]]]
        assert len(paths) == count == listed.count("<li>")
        assert all(path.startswith(f"{names[0]}/") and path in listed for path in paths)
        assert not any(path in markdown for path in paths)
    assert "Images and scores are listed in [figure12.json](figure12.json)." in markdown


def test_places_that_a_spectrum_does_not_draw_are_said(run: FinishedRun) -> None:
    values = [1.0, 1e-3, 1e-11, 0.0]
    features: Any = {"network": "resnet18", "spectra_mode": "eval"}
    features["sets"] = [{"name": "digits", "images": 9, "modules": {"conv1": {"eigenvalues": values}}}]
    (exhibit,) = spectrum_exhibits(replace(run, features=features))
    assert "Not drawn, though in the table: indices 3 to 4 of conv1, below 1e-10 of the first" in to_text(
        exhibit.caption
    )
    assert find_drawn_indices(values) == [0, 1]
    assert [float(f"{cell}") for _, cell in exhibit.table.rows] == values


def test_figures_hold_the_numbers_of_the_run(written: Path, finished_run: Path) -> None:
    metrics = json.loads((finished_run / "metrics.json").read_text())
    figure = json.loads((written / "figure04.json").read_text())
    assert figure["ours"]["class_accuracy"] == metrics["class_accuracy"]
    head = (written / "report.md").read_text().split("| --- | --- | --- |\n")[1].split("\n\n")[0].splitlines()
    for row, name in zip(head, (name for name in SCALARS if name in metrics), strict=True):
        interval = "{:.3f} to {:.3f}".format(*figure["intervals"][name]) if name in figure["intervals"] else ""
        assert [each.strip() for each in row.split("|")[2:4]] == [f"{metrics[name]:.4f}", interval]
    assert sum(" to " in row for row in head) == len(set(SCALARS) & set(figure["intervals"])) > 0
    features = json.loads((finished_run / "features.json").read_text())
    for number, images in enumerate(features["sets"], start=9):
        figure = json.loads((written / f"figure{number:02d}.json").read_text())
        assert figure["eigenvalues"]["conv1"] == images["modules"]["conv1"]["eigenvalues"]
        assert len(figure["eigenvalues"]["layer4.1.conv1"]) == 15


def test_figure_15_has_quantiles_and_counts_the_channels_that_are_never_positive(
    written: Path, finished_run: Path
) -> None:
    features = json.loads((finished_run / "features.json").read_text())
    figure = json.loads((written / "figure15.json").read_text())
    rows = []
    for images, shown in zip(features["sets"], figure["sets"], strict=True):
        assert (shown["name"], shown["images"]) == (images["name"], images["images"])
        for name, module in images["modules"].items():
            activations, channels = module["activations"], module["channels"]
            silent, quantiles = len(activations["never_positive"]), activations["quantiles"]
            assert shown["modules"][name] == {"quantiles": quantiles, "never_positive": silent, "channels": channels}
            assert sum(activations["powers_of_two"].values()) > 0
            middle = " | ".join(f"{quantiles[share]:.3g}" for share in ("0.01", "0.5", "0.99"))
            rows.append(f"| {images['name']} | {name} | {middle} | {silent} | {channels} |")
    section = (written / "report.md").read_text().split("### Values of the feature maps")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| ") and "conv1" in line] == rows


def test_feature_maps_of_an_earlier_version_have_no_figure_15(run: FinishedRun, tmp_path: Path) -> None:
    features = copy.deepcopy(run.features)
    assert features is not None
    for images in features["sets"]:
        for module in images["modules"].values():
            module.pop("activations")
    page.write(replace(run, features=features), tmp_path, photographs=False)
    assert not (tmp_path / "figure15.json").exists()
    assert "figure15" not in (tmp_path / "report.md").read_text()


def test_the_originals_numbers_stand_beside_ours(written: Path) -> None:
    markdown = (written / "report.md").read_text()
    for printed in ("0.9882", "0.9926", "0.8788", "0.9797", "0.9908", "47.0", "74.3"):
        assert printed in markdown
    assert "| the original's | figure01 to figure04 and figure08 /original | as printed |" in markdown


def test_no_title_has_a_number_of_ours_and_the_originals_number_stands_beside_its_figure(
    written: Path, all_exhibits: list[Exhibit], run: FinishedRun
) -> None:
    for name in ("report.md", "index.html"):
        text = unescape((written / name).read_text())
        assert re.findall(r"(?<!original's )\b[Ff]igures? \d+(?!\d| of the original\))", text) == []
    assert not any(re.search(r"[Ff]igure", f"{each.title} {each.short}") for each in all_exhibits)
    # By optimizer, since settings have any order and the original compares optimizers.
    optimizers = ("SGD", "Adagrad", "AdamW")
    pairs = zip(run.config.settings, optimizers, strict=True)
    config = replace(run.config, settings=tuple(replace(each, optimizer=name) for each, name in pairs))
    first = exhibits(replace(run, config=config))[:3]
    assert [each.counterpart for each in first] == [3, None, 1]
    assert ["original" in each.numbers for each in first] == [True, False, True]
    assert ["no such figure" in to_text(each.caption) for each in first] == [False, True, False]


def test_the_originals_photographs_are_drawn_beside_photographs_and_not_beside_drawn_scenes(run: FinishedRun) -> None:
    of_photographs = replace(run, config=replace(run.config, data="scenes"))
    for each, drawn in ((run, False), (of_photographs, True)):
        figures = [figure for figure in exhibits(each) if figure.number in (1, 2, 3, 4, 8)]
        for figure, svg in zip(figures, page.make_drawings(figures, {}).values(), strict=True):
            assert (b'class="printed"' in svg) == (b"as printed" in svg) == drawn
            assert ("Diamonds" in to_text(figure.caption)) == drawn
            assert ("not comparable with drawn scenes" in to_text(figure.caption)) != drawn
            assert figure.numbers["original"]
            assert any("original" in name for name in figure.table.heading)


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
        section = (written / "report.md").read_text().split(f"(figure {number} of the original)")[1].split("\n### ")[0]
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


def test_classes_of_another_data_set_get_no_original_beside_them(run: FinishedRun) -> None:
    others = rename_classes(run, ["a", "b", "c", "d", "e", "f"])
    of_others = exhibits(others)
    assert "original" not in of_others[3].numbers
    assert not of_others[6].numbers["original"]
    for exhibit in of_others:
        assert "original" not in f"{exhibit.title} {to_text(exhibit.caption)} {exhibit.table.heading}"
        assert {len(row) for row in exhibit.table.rows} == {len(exhibit.table.heading)}
    assert list(of_others[-1].numbers["ranked"]) == ["a", "b", "c"]
    text = page.make_pages(others, of_others, {})["report.md"].decode()
    assert text.startswith("# drawn scenes: networks trained and tested on images of 6 classes\n")
    assert "| the original's |" not in text


def test_a_run_without_features_is_refused(own_records: Path, tmp_path: Path) -> None:
    (own_records / "features.json").unlink()
    with pytest.raises(ValueError, match="has no measured feature maps"):
        page.write(FinishedRun.open(own_records), tmp_path / "report")


def test_conditions_name_given_weights_and_networks(run: FinishedRun) -> None:
    metrics = run.metrics
    course = replace(PRESETS["course"], data="/home/somebody/scenes", model="resnet50")
    sentences = "\n".join(describe_differences(course, metrics).values())
    assert "images of scenes" in sentences
    assert "/home/somebody" not in sentences
    # Conditions that meet the assignment are not listed.
    assert "ImageNet weights" not in sentences
    assert "224" not in sentences
    assert "resnet50; the original's is resnet18" in sentences
    parts = zip(("training", "validation", "test"), map(int, course.split.split("/")), strict=True)
    assigned = RunMetrics(**{**metrics, "supports": {part: {"sea": number} for part, number in parts}})
    assert "Data" in describe_differences(course, metrics)
    assert "Data" not in describe_differences(course, assigned)
    for group, words in ((IDENTICAL, "identical files"), (LOOK_ALIKES, "copies and look-alikes")):
        assert f"({words} share a side)" in describe_differences(replace(course, group=group), metrics)["Protocol"]


def test_conditions_say_of_every_setting_what_it_trains(run: FinishedRun) -> None:
    tiny, metrics = PRESETS["tiny"], run.metrics
    whole, later = tiny.settings[0], replace(tiny.settings[2], train="from:layer4")
    fitted = configure("tiny", None, {"train": "head"})
    mixed = replace(tiny, settings=(whole, later, replace(fitted.settings[0], train="head")))
    sentence = describe_differences(mixed, metrics)["Training"]
    assert "cosine learning rate (AdamW 0.001, SGD 0.01, from:layer4 alone), augmentation" in sentence
    assert "; and the last layer alone, a logistic regression" in sentence
    assert describe_differences(fitted, metrics)["Training"].startswith("the last layer alone")


def test_controls_and_signs_of_direction_in_a_strangers_run_are_shown_on_both_pages(run: FinishedRun) -> None:
    hostile = ["a\u202eb", "\x1b[31mc", "d\ne", "\u2066f", "\x9bg", "\ud800h"]
    for content in page.make_pages(mixed := rename_classes(run, hostile), exhibits(mixed), {}).values():
        text = content.decode()
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert "x1b[31mc" in text.replace("\\[", "[")


def rename_classes(run: FinishedRun, classes: list[str]) -> FinishedRun:
    supports = {
        part: dict(zip(classes, counts.values(), strict=True)) for part, counts in run.metrics["supports"].items()
    }
    return replace(run, metrics=RunMetrics(**{**run.metrics, "classes": classes, "supports": supports}))


@pytest.mark.parametrize("rows", [7, 1])
def test_curves_of_a_fitted_and_of_trained_settings_are_whole_whichever_was_selected(
    rows: int, run: FinishedRun
) -> None:
    selected, other = run.metrics["setting"], next(name for name in run.histories if name != run.metrics["setting"])
    values, length = [place / 10 for place in range(rows)], max(rows, 2)
    fits: Any = [
        {**run.histories[selected][0], "epoch": place, "strength": 0.1, "mean_class_accuracy": value}
        for place, value in enumerate(values, start=1)
    ]
    for fitted in (selected, other):
        mixed = replace(run, histories={**run.histories, fitted: fits})
        loss, figure = exhibits(mixed)[4:6]
        assert ("There are no epochs" in to_text(loss.caption)) == (fitted == selected)
        curves = figure.numbers["mean_class_accuracy"]
        assert (curves[fitted], figure.numbers["epoch"]) == (values, [*range(1, length + 1)])
        points = list_accuracies(figure.numbers)
        assert {name: [value for _, value in line] for name, line in points.items()} == curves
        last = dict(zip(figure.table.heading, figure.table.rows[-1], strict=True))
        assert {name for name in curves if last[name] == "-"} == {n for n in curves if len(curves[n]) < length}
        assert (figure.short, figure.table.heading[0]) == ("Accuracy by epoch or fit", "epoch or fit")
        assert "epoch or fit" in draw_accuracies(figure.numbers)[0].body
        tier, of = make_tier_lookup(mixed, exhibits(mixed)), figure_source(6, figure.numbers)
        for name, curve in curves.items():
            worst = tier(of.at("mean_class_accuracy", name, min(range(len(curve)), key=curve.__getitem__)))
            assert worst.name == ("bitwise" if len(curve) == 1 else "numerical" if name == fitted else "claimed")
        assert "their epochs or fits" in describe_selection_and_test(mixed)[0]
        assert page.make_pages(mixed, exhibits(mixed), {})
