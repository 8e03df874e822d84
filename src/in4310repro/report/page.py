"""The report of a run: a JSON file for each figure, a Markdown page, and one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from markupsafe import Markup

from in4310repro.metrics import SCALARS
from in4310repro.models.modules import default_modules
from in4310repro.report import charts, check_page, markup
from in4310repro.report.charts import select_curves
from in4310repro.report.class_exhibits import TEST
from in4310repro.report.exhibit import Cell, Exhibit, Sentence, figure_source, to_text
from in4310repro.report.exhibits import exhibits
from in4310repro.report.feature_exhibits import ACTIVATIONS
from in4310repro.report.markup import read_asset, render
from in4310repro.report.photographs import (
    RANKING,
    SHOWN,
    Photograph,
    draw_ranking,
    format_score,
    list_cells,
    load_photographs,
)
from in4310repro.report.published_numbers import has_original_classes, original
from in4310repro.report.score_exhibits import CONFUSION, CURVES
from in4310repro.report.tiers import Places, keep_together, make_tier_lookup, tiers
from in4310repro.report.verdict import describe_differences, describe_selection_and_test, make_verdict
from in4310repro.runs import config as configuration
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.runs.names import RECORD
from in4310repro.runs.presets import publishable, reproducing_command
from in4310repro.runs.records import RunMetrics
from in4310repro.system.files import json_bytes, read_json, write_file
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.verification.check import Circumstances
from in4310repro.verification.routine import by_what_shows_them, claims, computed_again

PAGES = ("report.md", "index.html")
FIGURE = re.compile(r"figure[0-9][0-9]\.(svg|png|json)")  # earlier versions wrote PNG files
GROUPS = {
    "On the test set": (4, 12, 13, 14, 7),
    "How the network was selected": (1, 2, 3, 5, 6),
    "What its feature maps say": (8, 9, 10, 11, ACTIVATIONS),
}


class RunRecord(TypedDict):
    """Record of a run for repeating it: command, configuration, fingerprint, metrics and file hashes."""

    command: str
    config: configuration.Values  # with folder names instead of full paths
    fingerprint: Fingerprint
    metrics: RunMetrics
    files_sha256: dict[str, str]  # of the run folder


class ReportRecord(RunRecord):
    """Content of a report's `run.json`: the record of the run, and the files of the report."""

    manifest_sha256: str  # one hash for the run without its feature maps; `verify` prints it
    figures: list[str]  # files of this report, which the next report may remove


def write(run: FinishedRun, folder: Path, data: str | None = None, *, photographs: bool = True) -> list[Path]:
    """Write the report of a run into a folder, and return the paths of its two pages.

    The other files of the report are the figures, as JSON and SVG, `run.json`, and the page that checks the run.

    Args:
        run: a run with measured feature maps.
        folder: folder of the report. Figures of an earlier report are removed if this report does not have them.
        data: folder that contains the run's images now, if it is not the one in the configuration.
        photographs: True to show images in figures 7 and 12. If False, these figures are tables only, so that a
            report can be published even if its images may not be.

    Raises:
        ValueError: the feature maps are not measured, or an image is missing.
    """
    all_exhibits = exhibits(run)
    root = image_root(run.config, data)
    # Only images of the split may be embedded.
    by_path = {
        entry.path: Photograph(root / entry.path, entry.sha256, run.config.orientation)
        for entry in run.split.parts["test"]
    }
    pictures = load_photographs(all_exhibits, by_path) if photographs else {}
    files = make_drawings(all_exhibits, pictures)
    files |= {f"{exhibit.name}.json": json_bytes(exhibit.numbers) for exhibit in all_exhibits}
    files[RECORD] = json_bytes(make_report_record(run, sorted(files)))
    files |= make_pages(run, all_exhibits, pictures)
    files[check_page.PAGE] = check_page.html().encode()
    remove_earlier_figures(folder, set(files))
    for name, content in files.items():
        write_file(folder / name, content)
    return [folder / name for name in PAGES]


def may_write(run: FinishedRun, folder: Path) -> bool:
    """Return whether a report of `run` may be written to `folder`.

    A report that is already there may be replaced if it is invalid, or if its run had the same configuration and
    the same split.
    """
    try:
        earlier = read_json(folder / RECORD)["files_sha256"]
        return all(earlier[name] == run.files.manifest()[name] for name in (names.CONFIG, names.SPLIT))
    except (ValueError, KeyError, TypeError):
        return True


def make_drawings(all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the SVG files of a report, as bytes by file name.

    Args:
        all_exhibits: figures of the run.
        photographs: JPEG files by path; if empty, figure 7 has no picture.
    """
    files = {}
    for exhibit in all_exhibits:
        shown = charts.draw_panels(exhibit.number, exhibit.drawn)
        if exhibit.number == RANKING and photographs:
            shown = [draw_ranking(exhibit.numbers, photographs)]
        if shown:
            alternative = f"{exhibit.title}. {'. '.join(map(to_text, exhibit.findings))}."
            label = str(exhibit.numbers.get("label", ""))
            files[f"{exhibit.name}.svg"] = markup.file(shown, alternative, read_asset("chart.css"), label).encode()
    return files


def list_drawn_figures(all_exhibits: Sequence[Exhibit], *, photographs: bool) -> list[str]:
    """Return the names of the figures with a drawing; the rest are tables only."""
    tables = {CONFUSION} if photographs else {CONFUSION, RANKING}
    return [exhibit.name for exhibit in all_exhibits if exhibit.number not in tables]


def make_pages(run: FinishedRun, all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the pages `report.md` and `index.html` of a report, as bytes by file name.

    Args:
        run: a finished run.
        all_exhibits: figures of the run.
        photographs: JPEG files by path; if empty, no images are shown.
    """
    context = _context(run, make_record(run), all_exhibits)
    context["drawn"] = list_drawn_figures(all_exhibits, photographs=bool(photographs))
    return {
        "report.md": render("report.md.jinja", context).encode(),
        "index.html": render("index.html.jinja", context | html_context(run, all_exhibits, photographs)).encode(),
    }


def remove_earlier_figures(folder: Path, written: set[str]) -> None:
    """Remove an earlier report's figures that are not in `written`; keep all other files."""
    for name in _earlier_figures(folder / RECORD):
        # A report never writes links, so a link is the user's.
        if name not in written and (folder / name).is_file() and not (folder / name).is_symlink():
            (folder / name).unlink()


def _earlier_figures(record_file: Path) -> list[str]:
    """Return the figure files listed in an earlier report; empty if there is no valid earlier report."""
    try:
        listed = read_json(record_file)["figures"]
    except (ValueError, KeyError, TypeError):
        return []
    names_listed = listed if isinstance(listed, list) else []
    return [name for name in names_listed if isinstance(name, str) and FIGURE.fullmatch(name)]


def make_record(run: FinishedRun) -> RunRecord:
    """Return the record of a run: the command that repeats it, configuration, results and file hashes."""
    return RunRecord(
        command=reproducing_command(run.config, _settings_chosen_by_training(run)),
        config=configuration.to_json(publishable(run.config)),
        fingerprint=run.fingerprint,
        metrics=run.metrics,
        files_sha256=run.files.manifest(),
    )


def _settings_chosen_by_training(run: FinishedRun) -> list[str]:
    """Return the configuration keys that the command of a run can omit.

    Their values are those that training chooses by default.
    """
    config = run.config
    if config.network.is_resnet:
        return []
    try:
        default = default_modules(run.saved_network(), config.model, config.image_size)
    except ValueError:
        # The user's code is not run here, and may choose any modules.
        return []
    return ["modules"] if config.modules == default else []


def _title(run: FinishedRun) -> str:
    """Return the title of a report whose classes are not those of the published report."""
    place = publishable(run.config).data or "drawn scenes"
    return f"{Path(place).name or place}: networks trained and tested on images of {len(run.classes)} classes"


def make_report_record(run: FinishedRun, figure_files: list[str]) -> ReportRecord:
    """Return the content of a report's `run.json`."""
    return ReportRecord(**make_record(run), manifest_sha256=run.files.manifest_sha256(), figures=figure_files)


def _context(run: FinishedRun, run_record: RunRecord, all_exhibits: Sequence[Exhibit]) -> dict[str, object]:
    comparable = has_original_classes(run.classes)
    by_number = {exhibit.number: exhibit for exhibit in all_exhibits}
    if ungrouped := sorted(set(by_number) - {number for numbers in GROUPS.values() for number in numbers}):
        raise ValueError(f"figure {ungrouped[0]} has no place on the page; add it to GROUPS in report/page.py")
    return {
        "config": run.config,
        "command": run_record["command"],
        "label": run.config.protocol.label,
        "metrics": run.metrics,
        "original": original(),
        "comparable": comparable,
        "title": "Scenes in six classes, beside the report" if comparable else _title(run),
        "groups": {
            heading: [by_number[number] for number in numbers if number in by_number]
            for heading, numbers in GROUPS.items()
        },
        "headline": _headline(by_number[TEST]),
        "verdict": make_verdict(run, all_exhibits),
        "selection_and_test": describe_selection_and_test(run),
        "plain": to_text,
        "cells_of": list_cells,
        "tiers": list(tiers(run).values())[: None if comparable else -1],
        "conditions": describe_differences(run.config, run.metrics),
        "fingerprint": run.fingerprint,
        "computed_again": computed_again(Circumstances.expected(run)),
        "claimed": by_what_shows_them(claims(Circumstances.expected(run))),
        "manifest_sha256": run.files.manifest_sha256(),
    }


def _headline(test: Exhibit) -> list[tuple[str, Cell, Cell]]:
    """Return (name, value, interval) of each main test metric."""
    source = figure_source(TEST, test.numbers)

    def row(name: str, *keys: str) -> tuple[str, Cell, Cell]:
        known = keys[-1] in test.numbers["intervals"]
        return name, source.at(*keys), source.at("intervals", keys[-1], form=".3f") if known else ""

    return [row(each.label, "ours", name) for name, each in SCALARS.items() if name in test.numbers["ours"]]


def html_context(run: FinishedRun, all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the values that `index.html.jinja` needs in addition to those that `report.md.jinja` needs.

    Args:
        run: a finished run.
        all_exhibits: figures of the run.
        photographs: JPEG files by path.
    """
    places, script = Places(make_tier_lookup(run)), read_asset("page.js")
    drawn = {exhibit.number: charts.draw_panels(exhibit.number, exhibit.drawn) for exhibit in all_exhibits}
    return {
        "link": places.link,
        "say": places.say,
        "words": keep_together,
        "places": places,
        "score": format_score,
        "panels": {
            exhibit.number: [
                markup.drawing(panel, _describe_panel(panel.title, to_text(finding)))
                for panel, finding in zip(drawn[exhibit.number], _findings(exhibit), strict=False)
            ]
            for exhibit in all_exhibits
        },
        "photographs": {path: base64.b64encode(picture).decode() for path, picture in photographs.items()},
        "counted_cells_of": _counted_cells,
        "shown": SHOWN,
        "styles": Markup(read_asset("chart.css") + read_asset("page.css")),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "script_sha256": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _describe_panel(title: str, finding: str) -> str:
    return finding if finding.startswith(title) else f"{title}: {finding}"


def _findings(exhibit: Exhibit) -> list[Sentence]:
    """Return one sentence for each panel of a figure, to be printed below the panel.

    Figure 13 has panels for at most 12 classes. The sentences on its remaining classes are omitted.
    """
    if exhibit.number == CURVES:
        return [exhibit.findings[1 + place] for place in select_curves(exhibit.numbers)]
    return list(exhibit.findings)


def _counted_cells(exhibit: Exhibit) -> list[dict[str, Any]]:
    """Return the non-empty cells of a confusion matrix, each with its number of images."""
    source = figure_source(exhibit.number, exhibit.numbers)
    return [
        {**cell, "count": source.at("confusion_matrix", cell["true"], cell["predicted"], form="d")}
        for cell in list_cells(exhibit.numbers)
    ]
