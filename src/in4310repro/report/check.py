"""Whether the JSON files, drawings and pages of a report are those that its run makes, around its photographs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from in4310repro.differences import differences
from in4310repro.files import json_bytes, read_bytes, read_json
from in4310repro.paths import regular_file
from in4310repro.report.exhibit import RECORD, Exhibit, figure_name
from in4310repro.report.exhibits import exhibits
from in4310repro.report.page import FIGURE, PAGES, drawings, drawn, pages, report_record
from in4310repro.report.photographs import RANKING, paths_shown
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun

PHOTOGRAPH = re.compile(rb'src="data:image/jpeg;base64,([A-Za-z0-9+/=]*)"')


def report_differences(run_folder: Path, report: Path) -> list[str]:
    """A sentence for each value in a report's JSON files, each drawing and each page that is not what the run makes.

    Drawings and pages are made again, around the photographs that are in `index.html`.

    The line of the feature maps in the list of files is not compared: every report measures them anew, and their
    numbers stand in the figures.

    Args:
        run_folder: of a finished run.
        report: the folder that `in4310repro report` wrote.

    Raises:
        ValueError: the folder holds no report, or the run cannot be read or has no feature maps.
    """
    if not (report / RECORD).exists():
        raise ValueError(f"{report} holds no report: it has no {RECORD}; `in4310repro report` writes one")
    run = FinishedRun.open(run_folder)
    all_exhibits = exhibits(run)
    figures = {f"{exhibit.name}.json": exhibit.numbers for exhibit in all_exhibits}
    sentences = [
        f"{report / file.name} is no figure of this run"
        for file in sorted(report.glob("figure*.json"))
        if FIGURE.fullmatch(file.name) and file.name not in figures
    ]
    drawings_listed = drawn(all_exhibits, photographs=(report / f"{figure_name(RANKING)}.svg").exists())
    record = report_record(run, sorted([*figures, *(f"{name}.svg" for name in drawings_listed)]))
    for name, value in {RECORD: _comparable(record), **figures}.items():
        try:
            saved = read_json(regular_file(report, name))
        except (ValueError, OSError) as error:
            sentences.append(str(error))
            continue
        saved = _comparable(saved) if name == RECORD and isinstance(saved, Mapping) else saved
        sentences += [
            f"{report / name}: {each.path or 'its value'} is {_shown(each.first)}; the run has {_shown(each.second)}"
            for each in differences(saved, json.loads(json_bytes(value)))
        ]
    try:
        photographs = _photographs(report, all_exhibits)
    except (ValueError, OSError) as error:
        return [*sentences, str(error)]
    texts = drawings(all_exhibits, photographs) | pages(run, all_exhibits, photographs)
    return sentences + [each for name, text in texts.items() for each in _text_differences(report, name, text)]


def files_of_report(report: Path) -> set[str]:
    """Names of the files of a report that `report_differences` compared, where it found nothing."""
    return {RECORD, *PAGES, *read_json(report / RECORD)["figures"]}


def _photographs(report: Path, all_exhibits: Sequence[Exhibit]) -> dict[str, bytes]:
    """The photographs in a page, by the paths that belong to their places."""
    embedded = PHOTOGRAPH.findall(read_bytes(regular_file(report, "index.html")))
    paths = paths_shown(all_exhibits)
    if embedded and len(embedded) != len(paths):
        raise ValueError(f"{report / 'index.html'} shows {len(embedded)} photographs; the run has {len(paths)} to show")
    return dict(zip(paths, map(base64.b64decode, embedded), strict=True)) if embedded else {}


def _text_differences(report: Path, name: str, needed: bytes) -> list[str]:
    try:
        pairs = zip_longest(read_bytes(regular_file(report, name)).split(b"\n"), needed.split(b"\n"))
    except (ValueError, OSError) as error:
        return [str(error)]
    number = next((number for number, (line, now) in enumerate(pairs, start=1) if line != now), None)
    return [] if number is None else [f"{report / name}: line {number} is not the one that the run makes"]


def _comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what another report of the same run may say otherwise."""
    compared = dict(record)
    if isinstance(hashes := record.get("files_sha256"), Mapping):
        compared["files_sha256"] = {name: sha256 for name, sha256 in hashes.items() if name != names.FEATURES}
    return compared


def _shown(value: object) -> str:
    return "absent" if value is None else str(value)[:200]
