"""The report of a run: a JSON file for each figure, a Markdown page, an HTML page, and their check against the run."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from markupsafe import Markup

from in4310repro.metrics import SCALARS
from in4310repro.models.modules import default_modules
from in4310repro.report import check_page, class_exhibits, feature_exhibits, markup, score_exhibits, verdict
from in4310repro.report.exhibit import Exhibit, has_original_classes, original, to_text
from in4310repro.report.markup import read_asset, render
from in4310repro.report.photographs import load_jpeg
from in4310repro.runs import config as configuration, names
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.runs.names import RECORD
from in4310repro.runs.presets import publishable, reproducing_command
from in4310repro.system.files import json_bytes, read_bytes, read_json, regular_file, write_file
from in4310repro.system.schema import differences
from in4310repro.system.signals import temporary_folder
from in4310repro.verification.checks import Verification

PAGES = ("report.md", "index.html")
FIGURE = re.compile(r"figure[0-9][0-9]\.(svg|png|json)")  # earlier versions wrote PNG files
PHOTOGRAPH = re.compile(rb'src="data:image/jpeg;base64,([A-Za-z0-9+/=]*)"')


def _test_exhibits(run: FinishedRun) -> Iterator[Exhibit]:
    """Build figures 4 and 13, which has the intervals of figure 4."""
    yield (test := class_exhibits.test_exhibit(run))
    yield score_exhibits.curves_exhibit(run, test.numbers["intervals"].get("average_precision"))


# Functions that build the figures of each group of the page: one, several, or None if the run lacks their numbers.
FIGURES: dict[str, Sequence[Callable[..., Any]]] = {
    "On the test set": (
        _test_exhibits,
        score_exhibits.confusion_exhibit,
        score_exhibits.calibration_exhibit,
        score_exhibits.ranking_exhibit,
    ),
    "How the network was selected": (
        class_exhibits.validation_exhibits,
        class_exhibits.loss_exhibit,
        class_exhibits.accuracy_exhibit,
    ),
    "What its feature maps say": (
        feature_exhibits.sparsity_exhibit,
        feature_exhibits.spectrum_exhibits,
        feature_exhibits.activation_exhibit,
    ),
}


def exhibits(run: FinishedRun) -> list[Exhibit]:
    """Build all figures of a finished run, in the order of their groups on a page.

    Raises:
        ValueError: the run has no measured feature maps.
    """
    figures = (
        _complete(run, group, each)
        for group, builders in FIGURES.items()
        for built in (build(run) for build in builders)
        for each in ([built] if isinstance(built, Exhibit) else built or ())
    )
    return sorted(figures, key=lambda each: (each.last, each.number))


def _complete(run: FinishedRun, group: str, exhibit: Exhibit) -> Exhibit:
    """Return the figure with its group, the label of a deviation, and a remark on the published report's figure."""
    label, numbers, remark = run.config.protocol.label, exhibit.numbers, exhibit.remark
    if label:
        exhibit = replace(exhibit, source=exhibit.source._replace(values={"label": label, **numbers}))
    if not has_original_classes(run.classes):
        return replace(exhibit, group=group, counterpart=None)
    if numbers.get("original"):
        remark = (
            f"Diamonds are what the original prints{exhibit.beside}."
            if run.config.data
            else "The table has the numbers that the original prints, of photographs and not comparable with drawn "
            f"scenes{exhibit.beside}."
        )
    return replace(exhibit, group=group, caption=(*exhibit.caption, f" {remark}"))


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
    sha256 = {entry.path: entry.sha256 for entry in run.split.parts["test"]}
    shown = dict.fromkeys(path for each in all_exhibits for path in each.photographs if photographs)
    pictures = {path: load_jpeg(root / path, sha256[path], run.config.orientation) for path in shown}
    files = _make_files(run, all_exhibits, pictures)
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


def _make_files(run: FinishedRun, all_exhibits: Sequence[Exhibit], pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return all files of a report as bytes by file name; `run.json` lists those that the next one may remove."""
    drawings = make_drawings(all_exhibits, pictures)
    figures = {f"{each.name}.json": json_bytes(each.numbers) for each in all_exhibits}
    listed = {"manifest_sha256": run.files.manifest_sha256(), "figures": sorted([*figures, *drawings])}
    files = {RECORD: json_bytes({**make_record(run), **listed}), **figures, **drawings}
    return files | make_pages(run, all_exhibits, pictures) | {check_page.PAGE: check_page.html().encode()}


def make_drawings(all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the SVG files of a report, as bytes by file name.

    Args:
        all_exhibits: figures of the run.
        photographs: JPEG files by path; if empty, figure 7 has no picture.
    """
    files = {}
    for exhibit in all_exhibits:
        shown = exhibit.panels
        if exhibit.draw_photographs and photographs:
            shown = [exhibit.draw_photographs(exhibit.numbers, photographs)]
        if shown:
            alternative = f"{exhibit.title}. {'. '.join(map(to_text, exhibit.findings))}."
            files[f"{exhibit.name}.svg"] = markup.file(shown, alternative, exhibit.numbers.get("label", "")).encode()
    return files


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


def make_record(run: FinishedRun) -> dict[str, Any]:
    """Return the record of a run: the command that repeats it, configuration, results and sha256 of each file.

    The configuration has names of folders instead of full paths.
    """
    config, chosen = run.config, list[str]()
    # Values that training chooses need no option. The user's code is not run here, and may choose any modules.
    with suppress(ValueError):
        if not config.network.is_resnet:
            by_default = default_modules(run.saved_network(), config.model, config.image_size)
            chosen = ["modules"] * (config.modules == by_default)
    return {
        "command": reproducing_command(config, chosen),
        "config": configuration.to_json(publishable(config)),
        "fingerprint": run.fingerprint,
        "metrics": run.metrics,
        "files_sha256": run.files.manifest(),
    }


def make_pages(run: FinishedRun, all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the pages `report.md` and `index.html` of a report, as bytes by file name.

    Args:
        run: a finished run.
        all_exhibits: figures of the run.
        photographs: JPEG files by path; if empty, no images are shown.
    """
    comparable, expected = has_original_classes(run.classes), Verification.expected(run)
    title, place = "Scenes in six classes, beside the report", publishable(run.config).data or "drawn scenes"
    if not comparable:
        title = f"{Path(place).name or place}: networks trained and tested on images of {len(run.classes)} classes"
    test = next(each.source for each in all_exhibits if each.number == class_exhibits.TEST)
    places, script = verdict.Places(verdict.make_tier_lookup(run, all_exhibits)), read_asset("page.js")
    context = vars(run) | {
        "command": make_record(run)["command"],
        "label": run.config.protocol.label,
        "original": original(),
        "comparable": comparable,
        "title": title,
        "groups": {heading: [each for each in all_exhibits if each.group == heading] for heading in FIGURES},
        # Name, value and interval of each main test metric.
        "headline": [
            (each.label, test.at("ours", name), test.at("intervals", name) if name in test.values["intervals"] else "")
            for name, each in SCALARS.items()
            if name in test.values["ours"]
        ],
        "verdict": verdict.make_verdict(run, test),
        "selection_and_test": verdict.describe_selection_and_test(run),
        "plain": to_text,
        "tiers": [
            tier
            for name, tier in verdict.tiers(run).items()
            if (comparable or name != "printed")
            and (name != "activations" or any(each.tier == name for each in all_exhibits))
        ],
        "conditions": verdict.describe_differences(run.config, run.metrics),
        "computed_again": expected.computed_again,
        "claimed": expected.grouped_claims,
        "manifest_sha256": run.files.manifest_sha256(),
        "drawn": [each.name for each in all_exhibits if each.panels or (photographs and each.draw_photographs)],
        # Only the HTML page uses these.
        "link": places.link,
        "say": places.say,
        "words": verdict.keep_together,
        "entries": places.entries,
        "score": score_exhibits.format_score,
        "panels": {exhibit.number: _draw_panels(exhibit) for exhibit in all_exhibits},
        "photographs": {path: base64.b64encode(picture).decode() for path, picture in photographs.items()},
        "shown": score_exhibits.SHOWN,
        "styles": Markup(read_asset("chart.css") + read_asset("page.css")),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "script_sha256": check_page.policy_sha256(script),
    }
    return {name: render(f"{name}.jinja", context).encode() for name in PAGES}


def _draw_panels(exhibit: Exhibit) -> list[Markup]:
    """Return the panels of a figure, each with the sentence that describes it for screen readers."""
    findings = map(to_text, exhibit.of_panels or exhibit.findings)
    return [
        markup.drawing(panel, finding if finding.startswith(panel.title) else f"{panel.title}: {finding}")
        for panel, finding in zip(exhibit.panels, findings, strict=False)
    ]


def report_differences(run_folder: Path, report: Path) -> list[str]:
    """Compare a report with its run; return a message for each value, drawing or page that differs.

    Drawings and pages are made again with the photographs embedded in `index.html`.

    The hash of the feature maps in `run.json` is not compared, since every report measures the feature maps anew.
    The numbers that were computed from the feature maps are compared as part of the figures.

    Args:
        run_folder: folder of a finished run.
        report: folder that `in4310repro report` wrote.

    Raises:
        ValueError: the folder holds no report, or the run cannot be read or has no feature maps.
    """
    names.refuse_no_report(report)
    run = FinishedRun.open(run_folder)
    all_exhibits, unread = exhibits(run), list[str]()
    paths = [path for each in all_exhibits for path in each.photographs]
    try:
        embedded = PHOTOGRAPH.findall(read_bytes(regular_file(report, "index.html")))
        if embedded and len(embedded) != len(paths):
            raise ValueError(f"{report / 'index.html'} shows {len(embedded)} photographs; expected {len(paths)}")
        photographs = dict(zip(paths, map(base64.b64decode, embedded), strict=False))
    except (ValueError, OSError) as error:
        # Numbers are compared without photographs.
        shown = paths if (report / score_exhibits.WITH_PHOTOGRAPHS).exists() else []
        photographs, unread = dict.fromkeys(shown, b""), [str(error)]
    files = _make_files(run, all_exhibits, photographs)
    # A drawing of photographs that the page does not show is compared with nothing.
    sentences = [
        f"{file} is not a figure of this run"
        for file in sorted([*report.glob("figure*.json"), *report.glob(score_exhibits.WITH_PHOTOGRAPHS)])
        if FIGURE.fullmatch(file.name) and file.name not in files
    ]
    if unread:
        files = {name: content for name, content in files.items() if name.endswith(".json")}
    elif not run.config.data and (report / check_page.IMAGES).exists():
        with temporary_folder() as folder:
            check_page.write_images(run, folder)
            files[check_page.IMAGES] = read_bytes(folder / check_page.IMAGES)
    for name, needed in files.items():
        try:
            file, values = regular_file(report, name), name.endswith(".json")
            saved = read_json(file) if values else read_bytes(file)
        except (ValueError, OSError) as error:
            sentences.append(str(error))
            continue
        if values:
            sentences += [
                f"{file}: {each.path or 'its value'} is {'absent' if each.first is None else str(each.first)[:200]}; "
                f"the run has {'absent' if each.second is None else str(each.second)[:200]}"
                for each in differences(saved, json.loads(needed))
                if each.path != f"files_sha256.{names.FEATURES}"
            ]
        elif saved != needed:
            lines = enumerate(zip_longest(saved.split(b"\n"), needed.split(b"\n")), start=1)
            number = next(number for number, (line, now) in lines if line != now)
            sentences.append(f"{file}: line {number} differs from the one that the run gives")
    return sentences + unread


def list_report_files(report: Path) -> set[str]:
    """Return the names of the files that `report_differences` compares."""
    record = read_json(report / RECORD)
    drawn = record["config"]["data"] is None and (report / check_page.IMAGES).exists()
    return {RECORD, *PAGES, check_page.PAGE, *record["figures"], *([check_page.IMAGES] if drawn else [])}
