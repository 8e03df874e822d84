"""The report of a run: figures with their numbers, a Markdown page, and one self-contained HTML page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from in4310repro import config as configuration
from in4310repro.files import json_bytes, read_json, write_file
from in4310repro.fingerprint import Fingerprint
from in4310repro.metrics import SCALARS
from in4310repro.presets import publishable, reproducing_command
from in4310repro.report import charts, svg
from in4310repro.report.activation_exhibit import ACTIVATIONS
from in4310repro.report.class_exhibits import TEST
from in4310repro.report.conditions import differences_from_original
from in4310repro.report.exhibit import RECORD, Cell, Exhibit, plain, source_of
from in4310repro.report.exhibits import exhibits
from in4310repro.report.html import of_html
from in4310repro.report.original import has_its_classes, original
from in4310repro.report.photographs import RANKING, Photograph, cells, photographs_of, ranking
from in4310repro.report.render import asset, render
from in4310repro.report.score_exhibits import CONFUSION
from in4310repro.report.tiers import tiers
from in4310repro.report.verdict import selection_and_test, verdict
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.runs.records import RunMetrics
from in4310repro.verification.check import Circumstances
from in4310repro.verification.claims import by_what_shows_them, claims, computed_again

PAGES = ("report.md", "index.html")
FIGURE = re.compile(r"figure[0-9][0-9]\.(svg|png|json)")  # earlier versions wrote PNG files
GROUPS = {
    "On the test set": (4, 12, 13, 14, 7),
    "How the network was selected": (1, 2, 3, 5, 6),
    "What its feature maps say": (8, 9, 10, 11, ACTIVATIONS),
}


class RunRecord(TypedDict):
    """What a reader needs to make a run again and to see that it is the same."""

    command: str
    config: configuration.Values  # with names in place of paths
    fingerprint: Fingerprint
    metrics: RunMetrics
    files_sha256: dict[str, str]  # of the run folder


class ReportRecord(RunRecord):
    """What `run.json` holds."""

    manifest_sha256: str  # one hash for the run, but for its feature maps; `verify` prints it
    figures: list[str]  # files of this report, which the next one may remove


def write(run: FinishedRun, folder: Path, data: str | None = None, *, photographs: bool = True) -> list[Path]:
    """Writes `report.md`, `index.html`, a JSON file and mostly an SVG file a figure, and `run.json`; returns the pages.

    Args:
        run: with its feature maps measured.
        folder: where the report goes; figures that an earlier report wrote and this one lacks are removed.
        data: where the run's images are now, if they moved.
        photographs: show images in figures 7 and 12. Without them these are tables alone, so that the folder can be
            published where the images may not.

    Raises:
        ValueError: the feature maps are not measured, or an image is missing.
    """
    all_exhibits = exhibits(run)
    root = image_root(run.config.images, data)
    # What stands in the split, and nothing else, may be embedded.
    by_path = {
        entry.path: Photograph(root / entry.path, entry.sha256, run.config.orientation)
        for entry in run.split.parts["test"]
    }
    pictures = photographs_of(all_exhibits, by_path) if photographs else {}
    files = drawings(all_exhibits, pictures)
    files |= {f"{exhibit.name}.json": json_bytes(exhibit.numbers) for exhibit in all_exhibits}
    files[RECORD] = json_bytes(report_record(run, sorted(files)))
    files |= pages(run, all_exhibits, pictures)
    remove_earlier_figures(folder, set(files))
    for name, content in files.items():
        write_file(folder / name, content)
    return [folder / name for name in PAGES]


def may_write(run: FinishedRun, folder: Path) -> bool:
    """Whether no page lies in a folder that says it is of a run with another configuration or split."""
    try:
        earlier = read_json(folder / RECORD)["files_sha256"]
        return all(earlier[name] == run.files.manifest()[name] for name in (names.CONFIG, names.SPLIT))
    except (ValueError, KeyError, TypeError):
        return True


def drawings(all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, bytes]:
    """The SVG files of a report, by name.

    Args:
        all_exhibits: of the run.
        photographs: JPEG files by path; without any, figure 7 has no picture.
    """
    files = {}
    for exhibit in all_exhibits:
        shown = charts.panels(exhibit.number, exhibit.numbers)
        if exhibit.number == RANKING and photographs:
            shown = [ranking(exhibit.numbers, photographs)]
        if shown:
            alternative = f"{exhibit.title}. {'. '.join(map(plain, exhibit.findings))}."
            label = str(exhibit.numbers.get("label", ""))
            files[f"{exhibit.name}.svg"] = svg.file(shown, alternative, asset("chart.css"), label).encode()
    return files


def drawn(all_exhibits: Sequence[Exhibit], *, photographs: bool) -> list[str]:
    """The names of the figures that have a drawing."""
    tables = {CONFUSION} if photographs else {CONFUSION, RANKING}
    return [exhibit.name for exhibit in all_exhibits if exhibit.number not in tables]


def pages(run: FinishedRun, all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Both pages of a run, by file name.

    Args:
        run: finished.
        all_exhibits: of the run.
        photographs: JPEG files by path; none where no images are shown.
    """
    context = _context(run, record(run), all_exhibits)
    context["drawn"] = drawn(all_exhibits, photographs=bool(photographs))
    return {
        "report.md": render("report.md.jinja", context).encode(),
        "index.html": render("index.html.jinja", context | of_html(run, all_exhibits, photographs)).encode(),
    }


def remove_earlier_figures(folder: Path, written: set[str]) -> None:
    """Removes what an earlier report lists as its own figures and this one does not write; nothing of a user's."""
    for name in _earlier_figures(folder / RECORD):
        # A report writes no links.
        if name not in written and (folder / name).is_file() and not (folder / name).is_symlink():
            (folder / name).unlink()


def _earlier_figures(record_file: Path) -> list[str]:
    """Names of the figures that an earlier report lists as its own; none where the file is no record of a report."""
    if not record_file.is_file():
        return []
    try:
        listed = read_json(record_file)["figures"]
    except (ValueError, KeyError, TypeError):
        return []
    return (
        [name for name in listed if isinstance(name, str) and FIGURE.fullmatch(name)]
        if isinstance(listed, list)
        else []
    )


def record(run: FinishedRun) -> RunRecord:
    """Command, settings, results and the hashes of a run's files."""
    return RunRecord(
        command=reproducing_command(run.config, _chosen_by_training(run)),
        config=configuration.to_json(publishable(run.config)),
        fingerprint=run.fingerprint,
        metrics=run.metrics,
        files_sha256=run.files.manifest(),
    )


def _chosen_by_training(run: FinishedRun) -> list[str]:
    """Settings that the training would choose again: the modules of another network than the report's."""
    config = run.config
    if config.network.is_resnet:
        return []
    try:
        default = config.network.default_modules(run.saved_network(), config.image_size)
    except ValueError:
        # Code that is not run here, which may choose any.
        return []
    return ["modules"] if config.modules == default else []


def _title(run: FinishedRun) -> str:
    """Of the report on images of one's own."""
    place = publishable(run.config).data or "drawn scenes"
    return f"{Path(place).name or place}: images of {len(run.classes)} classes, networks trained and measured"


def report_record(run: FinishedRun, figure_files: list[str]) -> ReportRecord:
    """What `run.json` holds of a run and the files of its figures."""
    return ReportRecord(**record(run), manifest_sha256=run.files.manifest_sha256(), figures=figure_files)


def _context(run: FinishedRun, run_record: RunRecord, all_exhibits: Sequence[Exhibit]) -> dict[str, object]:
    comparable = has_its_classes(run.classes)
    by_number = {exhibit.number: exhibit for exhibit in all_exhibits}
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
        "verdict": verdict(run, all_exhibits),
        "selection_and_test": selection_and_test(run),
        "plain": plain,
        "cells_of": cells,
        "tiers": list(tiers(run).values())[: None if comparable else -1],
        "conditions": differences_from_original(run.config, run.metrics),
        "fingerprint": run.fingerprint,
        "computed_again": computed_again(Circumstances.expected(run)),
        "claimed": by_what_shows_them(claims(Circumstances.expected(run))),
        "manifest_sha256": run.files.manifest_sha256(),
    }


def _headline(test: Exhibit) -> list[tuple[str, Cell, Cell]]:
    """Return the numbers of the test set that are read first, each with its name and interval."""
    source = source_of(TEST, test.numbers)

    def row(name: str, *keys: str) -> tuple[str, Cell, Cell]:
        known = keys[-1] in test.numbers["intervals"]
        return name, source.at(*keys), source.at("intervals", keys[-1], form=".3f") if known else ""

    return [row(each.label, "ours", name) for name, each in SCALARS.items() if name in test.numbers["ours"]]
