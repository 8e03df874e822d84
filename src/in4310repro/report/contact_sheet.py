"""Contact sheet of an image folder: a page of copies, look-alikes, doubtful labels and confusions, and a map."""

import base64
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from in4310repro.data.check import Findings
from in4310repro.evaluation.doubts.examination import Doubts, total
from in4310repro.report import markup
from in4310repro.report.markup import Panel, element, label, shorten
from in4310repro.report.photographs import load_jpeg

SHOWN = 100  # number of frames of a kind that are shown
OF_GROUP, OF_CELL = 8, 10  # number of images shown of a group of copies, and of a cell of the confusion matrix
SIDE = 700
# A name has a halo of paper.
NAMED = '<g style="paint-order: stroke; stroke: var(--paper); stroke-width: 5px; stroke-linejoin: round">%s</g>'
LONGEST_NAME = 24  # letters
# Equal brightness and saturation for any number of classes, on light and dark backgrounds.
COLOUR = "oklch(60% 0.16 {hue:.0f})"
# Path and style of each sign: a dot, a square, a plus, a cross, a triangle, a diamond.
SIGNS = (
    ("h0", "stroke-width: 5; stroke-linecap: round"),
    ("h0", "stroke-width: 4.4; stroke-linecap: square"),
    ("m-3 0h6m-3 -3v6", "stroke-width: 1.6"),
    ("m-2.5 -2.5l5 5m0 -5l-5 5", "stroke-width: 1.6"),
    ("m0 -3l3 5h-6z", "stroke-width: 1.3"),
    ("m0 -3.6l3.6 3.6l-3.6 3.6l-3.6 -3.6z", "stroke-width: 1.3"),
)


class Section(NamedTuple):
    """Section of the contact sheet: frames with findings of one type, and the number of all such findings."""

    name: str
    title: str
    found: int
    frames: Sequence[Any]  # images side by side, each with a text below it, and a text below all of them
    of_matrix: bool = False  # a cell of the confusion matrix, which links to this section


def render(
    folder: str,
    findings: Findings,
    doubts: Doubts,
    photographs: Mapping[str, tuple[Path, str]],
    on_plane: Panel | None = None,
) -> str:
    """Render the contact sheet as an HTML page that loads no further files.

    Args:
        folder: name of the folder, for the title.
        findings: result of `data.check`.
        doubts: doubtful labels of the same folder.
        photographs: file and sha256 of readable images by path, shown as thumbnails. If empty, the page has names only.
        on_plane: a drawing of the images as points, near each other if their features are similar.

    Raises:
        ValueError: an image is missing, or its bytes do not match its sha256.
    """
    sections = make_sections(findings, doubts)
    paths = dict.fromkeys(path for each in sections for images, _ in each.frames for path, _ in images)
    context = {
        "folder": folder,
        "features": doubts["features"],
        "sections": sections,
        "on_plane": on_plane and markup.drawing(on_plane, "Images near each other have similar features"),
        "classes": list(doubts["doubts_by_class"]),
        "rows": [
            *zip(doubts["doubts_by_class"].items(), doubts["confusion_matrix"], strict=True),
            (("all", total(doubts["doubts_by_class"])), []),
        ],
        "pictures": {
            path: base64.b64encode(load_jpeg(*photographs[path])).decode() for path in paths if path in photographs
        },
        "styles": Markup("".join(map(markup.read_asset, ("chart.css", "page.css", "contact.css")))),  # noqa: S704
    }
    return markup.render("contact.html.jinja", context)


def make_sections(findings: Findings, doubts: Doubts) -> list[Section]:
    """Return the sections of the page in order, each with at most 100 frames of one or more images."""
    doubtful = [
        ([(each["path"], "{label}, seems {seems} {probability:.2f} against {of_label:.2f}".format(**each))], "")
        for each in doubts["doubts"]
    ]
    parts = [
        (
            [(each["whole"], ""), (each["part"], f"{each['side']:.0%} of the side")],
            f"details agree to {each['correlation']:.2f}",
        )
        for each in doubts["crops"]
    ]
    look_alikes = [
        ([*zip(each["paths"], each["labels"], strict=True)], f"similarity {each['similarity']:.2f}")
        for each in doubts["look_alikes"]
    ]
    turned = [([(each.first, each.how), (each.second, "")], "") for each in findings.turned]
    near, identical = (
        [([(path, "") for path in group[:OF_GROUP]], "") for group in groups]
        for groups in (findings.near_duplicates, findings.identical)
    )
    kinds: dict[str, Any] = {
        "doubts": ("Doubtful labels", doubtful),
        "look-alikes": ("Look-alikes in different classes", look_alikes),
        "crops": ("One image is a part of the other", parts),
        "turned": ("Turned or mirrored", turned),
        "near": ("Near-duplicates", near),
        "identical": ("Byte-identical files", identical),
    }
    sections = [Section(name, title, len(frames), frames[:SHOWN]) for name, (title, frames) in kinds.items()]
    # In a cell of the confusion matrix the images whose predicted class is most probable come first.
    for name, seems in product(doubts["doubts_by_class"], repeat=2):
        cell = [
            ([(each["path"], f"{each['probability']:.2f}")], "")
            for each in doubts["confusions"]
            if (each["label"], each["seems"]) == (name, seems)
        ]
        if cell:
            sections.append(
                Section(f"{name}-{seems}", f"{name} taken for {seems}", len(cell), cell[:OF_CELL], of_matrix=True)
            )
    return sections


def draw_plane(places: NDArray[np.float64], classes: Sequence[str], labels: NDArray[np.int64]) -> Panel:
    """Draw the images as points of a plane, with a legend below.

    Args:
        places: coordinates [image, 2] from 0 to 1.
        classes: names of the classes.
        labels: the class of each image.
    """
    names = [shorten(each, LONGEST_NAME) for each in classes]
    points, named, legend, x, y = list[Markup](), list[Markup](), list[Markup](), 0.0, SIDE + 20.0
    for number in np.unique(labels).tolist():
        drawn = 12 + places[labels == number] * (SIDE - 24)
        points.append(_signs(drawn.tolist(), number, len(classes)))
        middle, height = np.median(drawn, axis=0)
        named.append(element(NAMED, label(middle, height, names[number], "title", "middle")))
        length = 36 + markup.measure_text(names[number])
        if x and x + length > SIDE:
            x, y = 0.0, y + markup.LEGEND_LINE
        legend += [_signs([(x + 10, y - 4)], number, len(classes)), label(x + 20, y, names[number])]
        x += length
    return Panel("Map of features", y + 8, markup.join([*points, *named, *legend]), SIDE)


def _signs(points: Sequence[Sequence[float]], number: int, classes: int) -> Markup:
    """Draw all points of class number `number` as one SVG path.

    One SVG element for each point would make the file three times as large.
    """
    sign, how = SIGNS[number % len(SIGNS)]
    colour = COLOUR.format(hue=30 + 360 * number / classes)
    style = f"stroke: {colour}; {how}; stroke-opacity: .8; fill: none"
    return element('<path d="%s" style="%s"></path>', "".join(f"M{x:.0f} {y:.0f}{sign}" for x, y in points), style)
