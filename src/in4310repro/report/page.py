"""The report of a run: figures with their numbers, a Markdown page, and one self-contained HTML page."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import jinja2

from in4310repro import config as configuration
from in4310repro import deviations
from in4310repro.files import json_bytes, read_json, write_file
from in4310repro.fingerprint import Fingerprint
from in4310repro.presets import command_line_options, publishable
from in4310repro.report import figures
from in4310repro.report.conditions import differences_from_original
from in4310repro.report.exhibits import Exhibit, exhibits
from in4310repro.report.figures import Photograph
from in4310repro.report.original import has_its_classes, original
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.runs.records import RunMetrics
from in4310repro.text import Markdown, cells, code, markdown, verbatim, visible
from in4310repro.verification.claims import by_what_shows_them, claimed, proven

RECORD, PAGES = "run.json", ("report.md", "index.html")
FIGURE = re.compile(r"figure[0-9][0-9]\.(png|json)")
RANKING = 7  # the figure that shows photographs


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
    """Writes `report.md`, `index.html`, a PNG and a JSON file for each figure, and `run.json`; returns the two pages.

    Args:
        run: with its feature maps measured.
        folder: where the report goes; figures that an earlier report wrote and this one lacks are removed.
        data: where the run's images are now, if they moved.
        photographs: draw the images of figure 7. Without them it is a table alone, so that the folder can be published
            where the images may not.

    Raises:
        ValueError: the feature maps are not measured, or an image is missing.
    """
    all_exhibits = exhibits(run)
    root = image_root(run.config, data)
    # What stands in the split, and nothing else, may be embedded.
    photographs_by_path = {entry.path: Photograph(root / entry.path, entry.sha256) for entry in run.split.parts["test"]}
    pictures = {
        exhibit.name: figures.png(figures.draw(exhibit.number, exhibit.numbers, photographs_by_path))
        for exhibit in all_exhibits
        if photographs or exhibit.number != RANKING
    }
    files = {f"{name}.png": picture for name, picture in pictures.items()}
    files |= {f"{exhibit.name}.json": json_bytes(exhibit.numbers) for exhibit in all_exhibits}
    run_record = report_record(run, sorted(files))
    files[RECORD] = json_bytes(run_record)
    files |= pages(run, all_exhibits, pictures)
    _remove_earlier_figures(folder, set(files))
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


def pages(run: FinishedRun, all_exhibits: list[Exhibit], pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Both pages of a run, by file name.

    Args:
        run: finished.
        all_exhibits: of the run.
        pictures: PNG files of those exhibits that are drawn, by the exhibit's name.
    """
    context = _context(run, record(run), all_exhibits) | {"drawn": set(pictures)}
    embedded = {name: base64.b64encode(picture).decode() for name, picture in pictures.items()}
    return {name: render(f"{name}.jinja", context | {"pictures": embedded}).encode() for name in PAGES}


def _remove_earlier_figures(folder: Path, written: set[str]) -> None:
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
        command=f"nox -s train report -- {command_line_options(run.config)}",
        config=configuration.to_json(publishable(run.config)),
        fingerprint=run.fingerprint,
        metrics=run.metrics,
        files_sha256=run.files.manifest(),
    )


def _title(run: FinishedRun) -> str:
    """Of the report on images of one's own."""
    place = publishable(run.config).data or "drawn scenes"
    return f"{Path(place).name or place}: images of {len(run.classes)} classes, networks trained and measured"


def report_record(run: FinishedRun, figure_files: list[str]) -> ReportRecord:
    """What `run.json` holds of a run and the files of its figures."""
    return ReportRecord(**record(run), manifest_sha256=run.files.manifest_sha256(), figures=figure_files)


def _context(run: FinishedRun, run_record: RunRecord, all_exhibits: list[Exhibit]) -> dict[str, object]:
    comparable = has_its_classes(run.classes)
    return {
        "config": run.config,
        "command": run_record["command"],
        "label": deviations.label(run.config.protocol),
        "metrics": run.metrics,
        "original": original(),
        "comparable": comparable,
        "title": "Scenes in six classes: the report, made again" if comparable else _title(run),
        "exhibits": all_exhibits,
        "conditions": differences_from_original(run.config, run.metrics),
        "fingerprint": run.fingerprint,
        "test_images": sum(run.metrics["supports"]["test"].values()),
        "proven": proven(run),
        "claimed": by_what_shows_them(claimed(run)),
        "manifest_sha256": run.files.manifest_sha256(),
    }


def render(template: str, context: Mapping[str, object]) -> str:
    """A page whose values are text, of HTML or of Markdown; a name that the context lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("in4310repro.report"),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        finalize=_visible_in_html if template.endswith(".html.jinja") else _as_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cells": cells, "code": code, "verbatim": verbatim, "rule": _rule}
    return environment.get_template(template).render(context)


def _visible_in_html(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


def _as_markdown(value: object) -> Markdown:
    return value if isinstance(value, Markdown) else markdown(str(value))


def _rule(columns: int) -> Markdown:
    """What stands below the heading of a Markdown table, after its first bar."""
    return Markdown(" --- |" * columns)
