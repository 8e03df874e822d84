"""Contact sheet of an image folder: a page that shows copies, look-alikes, doubtful labels and confusions."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from in4310repro.data.check import Findings
from in4310repro.evaluation.doubts.findings import Doubt, Doubts, total
from in4310repro.report.photographs import Photograph, load_jpeg
from in4310repro.report.render import read_asset
from in4310repro.report.render import render as render_template
from in4310repro.report.svg import Panel, drawing

SHOWN = 100  # number of frames of a kind that are shown
OF_GROUP, OF_CELL = 8, 10  # number of images shown of a group of copies, and of a cell of the confusion matrix


@dataclass(frozen=True)
class Frame:
    """Images side by side, with a line of text below each and one below all."""

    images: Sequence[tuple[str, str]]  # path and line
    line: str


@dataclass(frozen=True)
class Section:
    """Section of the page: frames with one type of finding, and the number found, including those not shown."""

    name: str
    title: str
    found: int
    frames: Sequence[Frame]
    of_matrix: bool = False  # a cell of the confusion matrix, which links to this section


def render(
    folder: str,
    findings: Findings,
    doubts: Doubts,
    photographs: Mapping[str, Photograph],
    on_plane: Panel | None = None,
) -> str:
    """Render the contact sheet as an HTML page that loads no further files.

    Args:
        folder: name of the folder, for the title.
        findings: result of `data.check`.
        doubts: doubtful labels of the same folder.
        photographs: readable images by path, shown as thumbnails. If empty, the page has names only.
        on_plane: map of the images by their features.

    Raises:
        ValueError: an image is missing, or its bytes do not match its sha256.
    """
    sections = make_sections(findings, doubts)
    overall = total(doubts.doubts_by_class)
    paths = dict.fromkeys(path for each in sections for frame in each.frames for path, _ in frame.images)
    context = {
        "folder": folder,
        "features": doubts.features,
        "sections": sections,
        "on_plane": on_plane and drawing(on_plane, "Images near each other have similar features"),
        "classes": list(doubts.doubts_by_class),
        "rows": [*zip(doubts.doubts_by_class.items(), doubts.confusion_matrix, strict=True), (("all", overall), [])],
        "pictures": {
            path: base64.b64encode(load_jpeg(photographs, path)).decode() for path in paths if path in photographs
        },
        "styles": Markup(read_asset("chart.css") + read_asset("page.css") + read_asset("contact.css")),  # noqa: S704
    }
    return render_template("contact.html.jinja", context)


def make_sections(findings: Findings, doubts: Doubts) -> list[Section]:
    """Return the sections of the page in order, each with at most 100 frames."""
    crops = [
        Frame(
            [(each.whole, ""), (each.part, f"{each.side:.0%} of the side")], f"details agree to {each.correlation:.2f}"
        )
        for each in doubts.crops
    ]
    turned = [Frame([(each.first, each.how), (each.second, "")], "") for each in findings.turned]
    near = [Frame([(path, "") for path in group[:OF_GROUP]], "") for group in findings.near_duplicates]
    identical = [Frame([(path, "") for path in group[:OF_GROUP]], "") for group in findings.identical]
    look_alikes = [
        Frame(list(zip(each.paths, each.labels, strict=True)), f"similarity {each.similarity:.2f}")
        for each in doubts.look_alikes
    ]
    doubtful = [Frame([(each.path, _describe_doubt(each))], "") for each in doubts.doubts]
    kinds = {
        "doubts": ("Doubtful labels", doubtful),
        "look-alikes": ("Look-alikes in different classes", look_alikes),
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


def _describe_doubt(doubt: Doubt) -> str:
    return f"{doubt.label}, seems {doubt.seems} {doubt.probability:.2f} against {doubt.of_label:.2f}"


def _cell(label: str, seems: str, doubts: Doubts) -> Section:
    """Return the section for one cell of wrong predictions in the confusion matrix, with its most probable images."""
    images = [each for each in doubts.confusions if (each.label, each.seems) == (label, seems)]
    frames = [Frame([(each.path, f"{each.probability:.2f}")], "") for each in images[:OF_CELL]]
    return Section(f"{label}-{seems}", f"{label} taken for {seems}", len(images), frames, of_matrix=True)
