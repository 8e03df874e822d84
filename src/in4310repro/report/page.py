"""The report of a run: a JSON file for each figure, a Markdown page, and one self-contained HTML page."""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from markupsafe import Markup

from in4310repro.metrics import SCALARS
from in4310repro.models.modules import default_modules
from in4310repro.report import check_page, markup
from in4310repro.report.class_exhibits import TEST
from in4310repro.report.exhibit import Exhibit, to_text
from in4310repro.report.exhibits import FIGURES, exhibits
from in4310repro.report.markup import read_asset, render
from in4310repro.report.photographs import Photograph, list_shown_paths, load_jpeg
from in4310repro.report.published_numbers import has_original_classes, original
from in4310repro.report.score_exhibits import SHOWN, format_score
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
from in4310repro.verification.checks import Verification

PAGES = ("report.md", "index.html")
FIGURE = re.compile(r"figure[0-9][0-9]\.(svg|png|json)")  # earlier versions wrote PNG files


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
    shown = dict.fromkeys(list_shown_paths(all_exhibits) if photographs else [])
    pictures = {path: load_jpeg(by_path, path) for path in shown}
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
        shown = exhibit.panels()
        if exhibit.draw_photographs and photographs:
            shown = [exhibit.draw_photographs(exhibit.numbers, photographs)]
        if shown:
            alternative = f"{exhibit.title}. {'. '.join(map(to_text, exhibit.findings))}."
            label = str(exhibit.numbers.get("label", ""))
            files[f"{exhibit.name}.svg"] = markup.file(shown, alternative, label).encode()
    return files


def list_drawn_figures(all_exhibits: Sequence[Exhibit], *, photographs: bool) -> list[str]:
    """Return the names of the figures with a drawing; the rest are tables only."""
    return [each.name for each in all_exhibits if each.draw or (photographs and each.draw_photographs)]


def make_pages(run: FinishedRun, all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the pages `report.md` and `index.html` of a report, as bytes by file name.

    Args:
        run: a finished run.
        all_exhibits: figures of the run.
        photographs: JPEG files by path; if empty, no images are shown.
    """
    context = _context(run, all_exhibits)
    context["drawn"] = list_drawn_figures(all_exhibits, photographs=bool(photographs))
    return {
        "report.md": render("report.md.jinja", context).encode(),
        "index.html": render("index.html.jinja", context | html_context(run, all_exhibits, photographs)).encode(),
    }


def remove_earlier_figures(folder: Path, written: set[str]) -> None:
    """Remove an earlier report's figures that are not in `written`; keep all other files."""
    try:
        listed = read_json(folder / RECORD)["figures"]
    except (ValueError, KeyError, TypeError):
        return
    for name in listed if isinstance(listed, list) else []:
        if isinstance(name, str) and FIGURE.fullmatch(name) and name not in written:
            file = folder / name
            # A report never writes links, so a link is the user's.
            if file.is_file() and not file.is_symlink():
                file.unlink()


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
    """Return the configuration keys that the command of a run can omit, since training chooses their values."""
    config = run.config
    if config.network.is_resnet:
        return []
    try:
        chosen = config.modules == default_modules(run.saved_network(), config.model, config.image_size)
    except ValueError:
        # The user's code is not run here, and may choose any modules.
        return []
    return ["modules"] * chosen


def make_report_record(run: FinishedRun, figure_files: list[str]) -> ReportRecord:
    """Return the content of a report's `run.json`."""
    return ReportRecord(**make_record(run), manifest_sha256=run.files.manifest_sha256(), figures=figure_files)


def _context(run: FinishedRun, all_exhibits: Sequence[Exhibit]) -> dict[str, Any]:
    comparable, expected = has_original_classes(run.classes), Verification.expected(run)
    title, place = "Scenes in six classes, beside the report", publishable(run.config).data or "drawn scenes"
    if not comparable:
        title = f"{Path(place).name or place}: networks trained and tested on images of {len(run.classes)} classes"
    in_order = sorted(all_exhibits, key=lambda each: each.last)
    test = next(each.source for each in all_exhibits if each.number == TEST)
    ours, known = test.below("ours"), test.below("intervals")
    return {
        "config": run.config,
        "command": make_record(run)["command"],
        "label": run.config.protocol.label,
        "metrics": run.metrics,
        "original": original(),
        "comparable": comparable,
        "title": title,
        "groups": {heading: [each for each in in_order if each.group == heading] for heading in FIGURES},
        # Name, value and interval of each main test metric.
        "headline": [
            (each.label, ours.at(name), known.at(name) if name in known.values else "")
            for name, each in SCALARS.items()
            if name in ours.values
        ],
        "verdict": make_verdict(run, test),
        "selection_and_test": describe_selection_and_test(run),
        "plain": to_text,
        "tiers": list(tiers(run).values())[: None if comparable else -1],
        "conditions": describe_differences(run.config, run.metrics),
        "fingerprint": run.fingerprint,
        "computed_again": expected.computed_again,
        "claimed": expected.grouped_claims,
        "manifest_sha256": run.files.manifest_sha256(),
    }


def _draw_panels(exhibit: Exhibit) -> list[Markup]:
    """Return the panels of a figure, each with the sentence that describes it for screen readers."""
    findings = map(to_text, exhibit.of_panels or exhibit.findings)
    return [
        markup.drawing(panel, finding if finding.startswith(panel.title) else f"{panel.title}: {finding}")
        for panel, finding in zip(exhibit.panels(), findings, strict=False)
    ]


def html_context(run: FinishedRun, all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the values that `index.html.jinja` needs in addition to those that `report.md.jinja` needs.

    Args:
        run: a finished run.
        all_exhibits: figures of the run.
        photographs: JPEG files by path.
    """
    places, script = Places(make_tier_lookup(run, all_exhibits)), read_asset("page.js")
    return {
        "link": places.link,
        "say": places.say,
        "words": keep_together,
        "places": places,
        "score": format_score,
        "panels": {exhibit.number: _draw_panels(exhibit) for exhibit in all_exhibits},
        "photographs": {path: base64.b64encode(picture).decode() for path, picture in photographs.items()},
        "shown": SHOWN,
        "styles": Markup(read_asset("chart.css") + read_asset("page.css")),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "script_sha256": check_page.policy_sha256(script),
    }
