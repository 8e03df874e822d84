"""What the HTML page has beside the Markdown page: links of numbers, drawings, photographs, style and script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from in4310repro.report import charts, svg
from in4310repro.report.curve_charts import curves_drawn
from in4310repro.report.exhibit import Exhibit, Sentence, plain, source_of
from in4310repro.report.photographs import SHOWN, cells, score_text
from in4310repro.report.places import Places, unbroken
from in4310repro.report.render import asset
from in4310repro.report.score_exhibits import CURVES
from in4310repro.report.tiers import tier_of
from in4310repro.runs.finished import FinishedRun


def of_html(run: FinishedRun, all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, Any]:
    """Values of the template `index.html.jinja` that `report.md.jinja` does not need.

    Args:
        run: finished.
        all_exhibits: of the run.
        photographs: JPEG files by path.
    """
    places, script = Places(tier_of(run)), asset("page.js")
    drawn = {exhibit.number: charts.panels(exhibit.number, exhibit.numbers) for exhibit in all_exhibits}
    return {
        "link": places.link,
        "say": places.say,
        "words": unbroken,
        "places": places,
        "score": score_text,
        "panels": {
            exhibit.number: [
                svg.drawing(panel, _alternative(panel.title, plain(finding)))
                for panel, finding in zip(drawn[exhibit.number], _findings(exhibit), strict=False)
            ]
            for exhibit in all_exhibits
        },
        "photographs": {path: base64.b64encode(picture).decode() for path, picture in photographs.items()},
        "counted_cells_of": _cells_of,
        "shown": SHOWN,
        "styles": Markup(asset("chart.css") + asset("page.css")),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "script_sha256": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _alternative(title: str, finding: str) -> str:
    return finding if finding.startswith(title) else f"{title}: {finding}"


def _findings(exhibit: Exhibit) -> list[Sentence]:
    """One for each panel: of many classes only some have a curve."""
    if exhibit.number == CURVES:
        return [exhibit.findings[1 + place] for place in curves_drawn(exhibit.numbers)]
    return list(exhibit.findings)


def _cells_of(exhibit: Exhibit) -> list[dict[str, Any]]:
    """The cells of a confusion matrix, each with its count."""
    source = source_of(exhibit.number, exhibit.numbers)
    return [
        {**cell, "count": source.at("confusion_matrix", cell["true"], cell["predicted"], form="d")}
        for cell in cells(exhibit.numbers)
    ]
