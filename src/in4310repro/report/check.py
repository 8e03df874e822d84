"""Whether the JSON files and pages of a report are those that its run makes; pictures are not drawn again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from in4310repro.differences import differences
from in4310repro.files import json_bytes, read_bytes, read_json
from in4310repro.paths import regular_file
from in4310repro.report.exhibits import Exhibit, exhibits
from in4310repro.report.page import FIGURE, RECORD, pages, report_record
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun


def report_differences(run_folder: Path, report: Path) -> list[str]:
    """A sentence for each value in a report's JSON files, and for each page, that is not what the run makes.

    Pages are made again around the pictures that are there.

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
    record = report_record(run, sorted(figures))
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
    return sentences + _page_differences(run, all_exhibits, report)


def _page_differences(run: FinishedRun, all_exhibits: list[Exhibit], report: Path) -> list[str]:
    sentences = []
    try:
        names_drawn = [each.name for each in all_exhibits if (report / f"{each.name}.png").exists()]
        pictures = {name: read_bytes(regular_file(report, f"{name}.png")) for name in names_drawn}
        for name, content in pages(run, all_exhibits, pictures).items():
            lines, needed = read_bytes(regular_file(report, name)).split(b"\n"), content.split(b"\n")
            if lines != needed:
                pairs = enumerate(zip_longest(lines, needed), start=1)
                number = next(number for number, (line, now) in pairs if line != now)
                sentences.append(f"{report / name}: line {number} is not the one that the run makes")
    except (ValueError, OSError) as error:
        sentences.append(str(error))
    return sentences


def _comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what another report of the same run may say otherwise."""
    compared = dict(record)
    if isinstance(listed := record.get("figures"), list):
        compared["figures"] = [name for name in listed if not str(name).endswith(".png")]
    if isinstance(hashes := record.get("files_sha256"), Mapping):
        compared["files_sha256"] = {name: sha256 for name, sha256 in hashes.items() if name != names.FEATURES}
    return compared


def _shown(value: object) -> str:
    return "absent" if value is None else str(value)[:200]
