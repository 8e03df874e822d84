"""Template values that only the HTML page needs: links, drawings, photographs, style and script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from in4310repro.report import charts, svg
from in4310repro.report.curve_charts import select_curves
from in4310repro.report.exhibit import Exhibit, Sentence, figure_source, to_text
from in4310repro.report.photographs import SHOWN, format_score, list_cells
from in4310repro.report.places import Places, keep_together
from in4310repro.report.render import read_asset
from in4310repro.report.score_exhibits import CURVES
from in4310repro.report.tiers import make_tier_lookup
from in4310repro.runs.finished import FinishedRun


def html_context(run: FinishedRun, all_exhibits: Sequence[Exhibit], photographs: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the values that `index.html.jinja` needs in addition to those that `report.md.jinja` needs.

    Args:
        run: a finished run.
        all_exhibits: figures of the run.
        photographs: JPEG files by path.
    """
    places, script = Places(make_tier_lookup(run)), read_asset("page.js")
    drawn = {exhibit.number: charts.draw_panels(exhibit.number, exhibit.numbers) for exhibit in all_exhibits}
    return {
        "link": places.link,
        "say": places.say,
        "words": keep_together,
        "places": places,
        "score": format_score,
        "panels": {
            exhibit.number: [
                svg.drawing(panel, _describe_panel(panel.title, to_text(finding)))
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
    """Return the sentence below each panel of a figure; figure 13 has panels for at most 12 classes."""
    if exhibit.number == CURVES:
        return [exhibit.findings[1 + place] for place in select_curves(exhibit.numbers)]
    return list(exhibit.findings)


def _counted_cells(exhibit: Exhibit) -> list[dict[str, Any]]:
    """Return the cells of a confusion matrix that have images, each with its number of images."""
    source = figure_source(exhibit.number, exhibit.numbers)
    return [
        {**cell, "count": source.at("confusion_matrix", cell["true"], cell["predicted"], form="d")}
        for cell in list_cells(exhibit.numbers)
    ]
