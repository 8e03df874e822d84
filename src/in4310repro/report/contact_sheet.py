"""The contact sheet of a folder: copies, look-alikes, doubtful labels and confusions, as pictures or names."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from in4310repro.data.check import Findings
from in4310repro.doubts.findings import Doubt, Doubts, total
from in4310repro.report.photographs import Photograph, jpeg
from in4310repro.report.render import asset
from in4310repro.report.render import render as rendered
from in4310repro.report.svg import Panel, drawing

SHOWN = 100  # of a kind
OF_GROUP, OF_CELL = 8, 10  # images of a group of copies, and of a cell of the confusion matrix


@dataclass(frozen=True)
class Frame:
    """Images side by side with a line below, and a line below each."""

    images: Sequence[tuple[str, str]]  # path and line
    line: str


@dataclass(frozen=True)
class Section:
    """Frames of one kind, and how many there are in all."""

    name: str
    title: str
    found: int
    frames: Sequence[Frame]
    of_matrix: bool = False  # a cell of the confusion matrix, which leads to it


def render(
    folder: str,
    findings: Findings,
    doubts: Doubts,
    photographs: Mapping[str, Photograph],
    on_plane: Panel | None = None,
) -> str:
    """One page of HTML that loads nothing from elsewhere.

    Args:
        folder: its name, for the title.
        findings: of `data.check`.
        doubts: of the same folder.
        photographs: of each path that can be read, shown as thumbnails; none: the page has names alone.
        on_plane: the map of the images by their features.

    Raises:
        ValueError: an image is not there, or has other bytes than its sha256 says.
    """
    sections = sections_of(findings, doubts)
    everything = total(doubts.doubts_by_class)
    shown = dict.fromkeys(path for each in sections for frame in each.frames for path, _ in frame.images)
    context = {
        "folder": folder,
        "features": doubts.features,
        "sections": sections,
        "on_plane": on_plane and drawing(on_plane, "Images near each other have similar features"),
        "classes": list(doubts.doubts_by_class),
        "rows": [*zip(doubts.doubts_by_class.items(), doubts.confusion_matrix, strict=True), (("all", everything), [])],
        "pictures": {path: base64.b64encode(jpeg(photographs, path)).decode() for path in shown if path in photographs},
        "styles": Markup(asset("chart.css") + asset("page.css") + asset("contact.css")),  # noqa: S704
    }
    return rendered("contact.html.jinja", context)


def sections_of(findings: Findings, doubts: Doubts) -> list[Section]:
    """What the page shows, in its order: the first of each kind."""
    crops = [
        Frame(
            [(each.whole, ""), (each.part, f"{each.side:.0%} of the side")], f"details agree to {each.correlation:.2f}"
        )
        for each in doubts.crops
    ]
    turned = [Frame([(each.first, each.how), (each.second, "")], "") for each in findings.turned]
    near = [Frame([(path, "") for path in group[:OF_GROUP]], "") for group in findings.near_duplicates]
    identical = [Frame([(path, "") for path in group[:OF_GROUP]], "") for group in findings.identical]
    alike = [
        Frame(list(zip(each.paths, each.labels, strict=True)), f"similarity {each.similarity:.2f}")
        for each in doubts.look_alikes
    ]
    doubtful = [Frame([(each.path, _seems(each))], "") for each in doubts.doubts]
    kinds = {
        "doubts": ("Doubtful labels", doubtful),
        "look-alikes": ("Look-alikes in different classes", alike),
        "crops": ("One is a part of the other", crops),
        "turned": ("Turned or mirrored", turned),
        "near": ("Near-duplicates", near),
        "identical": ("Byte-identical files", identical),
    }
    return [Section(name, title, len(frames), frames[:SHOWN]) for name, (title, frames) in kinds.items()] + [
        _cell(label, seems, doubts)
        for label in doubts.doubts_by_class
        for seems in doubts.doubts_by_class
        if any((each.label, each.seems) == (label, seems) for each in doubts.confusions)
    ]


def _seems(doubt: Doubt) -> str:
    return f"{doubt.label}, seems {doubt.seems} {doubt.probability:.2f} against {doubt.of_label:.2f}"


def _cell(label: str, seems: str, doubts: Doubts) -> Section:
    """The most probable images of a wrong cell of the confusion matrix."""
    inside = [each for each in doubts.confusions if (each.label, each.seems) == (label, seems)]
    frames = [Frame([(each.path, f"{each.probability:.2f}")], "") for each in inside[:OF_CELL]]
    return Section(f"{label}-{seems}", f"{label} taken for {seems}", len(inside), frames, of_matrix=True)
