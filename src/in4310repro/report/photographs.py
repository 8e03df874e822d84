"""Photographs on a page of the report: their selection, JPEG encoding and drawing."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from in4310repro.data.preprocessing import APPLIED, Preprocessing
from in4310repro.data.reading import decode
from in4310repro.report.exhibit import Exhibit
from in4310repro.report.markup import Panel, element, join, label, shorten
from in4310repro.report.score_exhibits import CONFUSION

RANKING = 7  # the figure that shows photographs
PIXELS, QUALITY = 96, 80
CELL = 76  # size of a photograph with its gap in the drawing, pixels
LISTED, SHOWN = 100, 10  # number of images of a cell that are named, and of a wrong cell that are shown


@dataclass(frozen=True)
class Photograph:
    """An image that a page may show: its file, and the sha256 that the file must have."""

    file: Path
    sha256: str
    orientation: str = APPLIED  # as the run's network reads it


def load_photographs(all_exhibits: Sequence[Exhibit], photographs: Mapping[str, Photograph]) -> dict[str, bytes]:
    """Return the photographs that a page shows, as small JPEG files by image path.

    Raises:
        ValueError: an image is not among the photographs, is missing, or its bytes do not match its sha256.
    """
    return {path: load_jpeg(photographs, path) for path in dict.fromkeys(list_shown_paths(all_exhibits))}


def list_shown_paths(all_exhibits: Iterable[Exhibit]) -> list[str]:
    """Return the image paths of the photographs on a page in order of appearance, with repetitions."""
    numbers = {exhibit.number: exhibit.numbers for exhibit in all_exhibits}
    wrong = [cell["images"][:SHOWN] for cell in list_cells(numbers[CONFUSION]) if cell["wrong"]]
    ranked = [images for sides in numbers[RANKING]["ranked"].values() for images in sides.values()]
    return [image["path"] for images in wrong + ranked for image in images]


def list_cells(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the non-empty cells of a confusion matrix with their images, wrong predictions first."""
    places = [
        (true, predicted) for true in range(len(numbers["classes"])) for predicted in range(len(numbers["classes"]))
    ]
    listed = []
    for true, predicted in sorted(places, key=lambda place: (place[0] == place[1], *place)):
        names = [numbers["classes"][place] for place in (true, predicted)]
        if images := numbers["images"][names[0]].get(names[1], []):
            listed.append({"true": true, "predicted": predicted, "names": names, "wrong": true != predicted,
                           "images": images[:LISTED], "more": len(images[LISTED:])})  # fmt: skip
    return listed


def draw_ranking(numbers: Mapping[str, Any], photographs: Mapping[str, bytes]) -> Panel:
    """Draw the ten images with the highest and the ten with the lowest scores of each ranked class."""
    parts, y, wide = list[Markup](), 0.0, 0
    for name, sides in numbers["ranked"].items():
        for side, images in sides.items():
            parts.append(label(0, y + 15, f"{shorten(name, 24)}, {side}", "title"))
            wide = max(wide, len(images) * CELL)
            for column, image in enumerate(images):
                x, true = column * float(CELL), numbers["classes"][image["label"]]
                address = "data:image/jpeg;base64," + base64.b64encode(photographs[image["path"]]).decode()
                parts += [
                    element("image", href=address, x=x, y=y + 24, width=CELL - 8, height=CELL - 8),
                    label(x, y + 24 + CELL + 6, format_score(image["score"]), "value"),
                    label(
                        x, y + 24 + CELL + 21, shorten(true, 9), "" if (true == name) == (side == "top") else "warning"
                    ),
                ]
            y += CELL + 62
    return Panel("Ranking", y, join(parts), wide)


def format_score(score: float) -> str:
    """Format a score with two decimals, or as one digit times a power of ten if it is smaller than 0.01."""
    return f"{score:.2f}" if score >= 0.01 else f"{score:.0e}"


def load_jpeg(photographs: Mapping[str, Photograph], path: str) -> bytes:
    """Return a photograph as a small JPEG file.

    Raises:
        ValueError: the image is not among the photographs, is missing, or its bytes do not match its sha256.
    """
    if path not in photographs:
        raise ValueError(f"image {path} is not in the split of the run; expected an image of the split")
    buffer = io.BytesIO()
    shown = photographs[path]
    pixels = decode(shown.file, PIXELS, shown.sha256, Preprocessing(orientation=shown.orientation))
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
