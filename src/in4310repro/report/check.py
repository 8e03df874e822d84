"""Check of a report against its run: JSON files, drawings and pages are made again and compared."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from in4310repro.report import check_page
from in4310repro.report.exhibit import Exhibit
from in4310repro.report.exhibits import exhibits
from in4310repro.report.page import FIGURE, PAGES, list_drawn_figures, make_drawings, make_pages, make_report_record
from in4310repro.report.photographs import list_shown_paths
from in4310repro.report.score_exhibits import WITH_PHOTOGRAPHS
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.names import RECORD
from in4310repro.system.files import json_bytes, read_bytes, read_json, regular_file
from in4310repro.system.schema import differences
from in4310repro.system.signals import temporary_folder

PHOTOGRAPH = re.compile(rb'src="data:image/jpeg;base64,([A-Za-z0-9+/=]*)"')


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
    all_exhibits = exhibits(run)
    figures = {f"{exhibit.name}.json": exhibit.numbers for exhibit in all_exhibits}
    sentences = [
        f"{report / file.name} is not a figure of this run"
        for file in sorted(report.glob("figure*.json"))
        if FIGURE.fullmatch(file.name) and file.name not in figures
    ]
    drawings_listed = list_drawn_figures(all_exhibits, photographs=(report / WITH_PHOTOGRAPHS).exists())
    record = make_report_record(run, sorted([*figures, *(f"{name}.svg" for name in drawings_listed)]))
    for name, value in {RECORD: _drop_feature_hash(record), **figures}.items():
        try:
            saved = read_json(regular_file(report, name))
            saved = _drop_feature_hash(saved) if name == RECORD else saved
        except (ValueError, OSError) as error:
            sentences.append(str(error))
            continue
        sentences += [
            f"{report / name}: {each.path or 'its value'} is {_show(each.first)}; the run has {_show(each.second)}"
            for each in differences(saved, json.loads(json_bytes(value)))
        ]
    try:
        photographs = _read_photographs(report, all_exhibits)
    except (ValueError, OSError) as error:
        return [*sentences, str(error)]
    texts = make_drawings(all_exhibits, photographs) | make_pages(run, all_exhibits, photographs)
    texts[check_page.PAGE] = check_page.html().encode()
    if not run.config.data and (report / check_page.IMAGES).exists():
        with temporary_folder() as place:
            check_page.write_images(run, place)
            texts[check_page.IMAGES] = read_bytes(place / check_page.IMAGES)
    return sentences + [each for name, text in texts.items() for each in _text_differences(report, name, text)]


def list_report_files(report: Path) -> set[str]:
    """Return the names of the files that `report_differences` compares."""
    record = read_json(report / RECORD)
    drawn = record["config"]["data"] is None and (report / check_page.IMAGES).exists()
    return {RECORD, *PAGES, check_page.PAGE, *record["figures"], *([check_page.IMAGES] if drawn else [])}


def _read_photographs(report: Path, all_exhibits: Sequence[Exhibit]) -> dict[str, bytes]:
    """Return the photographs embedded in `index.html`, by image path."""
    embedded = PHOTOGRAPH.findall(read_bytes(regular_file(report, "index.html")))
    paths = list_shown_paths(all_exhibits)
    if embedded and len(embedded) != len(paths):
        raise ValueError(f"{report / 'index.html'} shows {len(embedded)} photographs; expected {len(paths)}")
    return dict(zip(paths, map(base64.b64decode, embedded), strict=True)) if embedded else {}


def _text_differences(report: Path, name: str, needed: bytes) -> list[str]:
    try:
        pairs = zip_longest(read_bytes(regular_file(report, name)).split(b"\n"), needed.split(b"\n"))
    except (ValueError, OSError) as error:
        return [str(error)]
    number = next((number for number, (line, now) in enumerate(pairs, start=1) if line != now), None)
    return [] if number is None else [f"{report / name}: line {number} differs from the one that the run gives"]


def _drop_feature_hash(record: Any) -> Any:
    """Return a copy of `run.json` without the hash of the feature maps, which each report measures anew."""
    if not isinstance(record, Mapping) or not isinstance(hashes := record.get("files_sha256"), Mapping):
        return record
    return {**record, "files_sha256": {name: each for name, each in hashes.items() if name != names.FEATURES}}


def _show(value: object) -> str:
    return "absent" if value is None else str(value)[:200]
