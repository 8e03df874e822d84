"""Figures draw whatever classes, settings and modules are called, and every one of them."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from in4310repro.files import file_sha256
from in4310repro.report import figures
from tests.builders import write_images

NAMES = (
    *("$x$", "\\$", "$", "$\\frac{1$", "_a", "__", "a\nb", "\x1b[31m", "a\u202eb", "\u6d77", "\U0001f30a", "\ud55c"),
    *("e\u0301", "\u0627\u0644\u0628\u062d\u0631", "%", "{x}", "a_b^c", "W" * 200, "\u6d77" * 60, "", " ", "0", "1"),
)
VALUES = [0.5] * len(NAMES)
METRICS = {
    "class_accuracy": VALUES,
    "mean_class_accuracy": 0.5,
    "average_precision": VALUES,
    "mean_average_precision": 0.5,
}


def legend_of(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("number", [1, 6, 7, 8, 9])
def test_a_figure_of_a_run_draws_every_name(number: int, tmp_path: Path) -> None:
    root = write_images(tmp_path, *(f"{place}.png" for place in range(len(NAMES))))
    images: list[dict[str, Any]] = [
        {"path": f"{place}.png", "label": place, "score": 0.5} for place in range(len(NAMES))
    ]
    numbers: dict[int, dict[str, Any]] = {
        1: {"classes": NAMES, "ours": METRICS},
        6: {"epoch": [1, 2], "mean_class_accuracy": {name: [0.5, 0.6] for name in NAMES}, "selected": NAMES[0]},
        7: {"classes": NAMES, "ranked": {NAMES[0]: {"top": images[:12], "bottom": images[10:]}}},
        8: {"ours": dict.fromkeys(NAMES, 50.0), "original": {}},
        9: {"eigenvalues": {f"{name}{twice}": [2.0, 1.0] for name in NAMES for twice in ("", "x")}},
    }
    photographs = {
        image["path"]: figures.Photograph(root / image["path"], file_sha256(root / image["path"])) for image in images
    }
    figure = figures.draw(number, numbers[number], photographs)
    # A warning, such as of a sign that the font lacks, is an error here.
    assert figures.png(figure)
    if number in (6, 9):
        assert len(legend_of(figure)) == len(figure.axes[0].lines) == len(NAMES) * (2 if number == 9 else 1)
    if number in (1, 8):
        assert len(figure.axes[0].get_xticklabels()) == len(NAMES) + (number == 1)


def test_a_figure_of_features_and_those_of_the_published_page_draw_every_name() -> None:
    modules = {name: {"non_positive": 0.5, "eigenvalues": [2.0, 1.0]} for name in NAMES}
    measured = figures.features(modules)
    assert len(measured.axes[0].get_yticklabels()) == len(NAMES)
    curve = {"settings": {name: {"curve": [0.5, 0.6]} for name in NAMES}}
    printed = dict.fromkeys(NAMES, METRICS)
    for figure in (
        measured,
        figures.settings({"corrected": curve, "published": [curve], "printed": printed}),
        figures.shares({way: dict.fromkeys(NAMES, 50.0) for way in "abc"}),
        figures.accuracy_by_protocol({"classes": list(NAMES), "bars": {way: [[*VALUES, 0.5]] for way in "abcd"}}),
    ):
        assert figures.png(figure)


def test_a_drawn_name_is_the_name_where_the_font_has_its_letters() -> None:
    for name in ("sea", "layer4.1.conv1", "mer d'\u00e9t\u00e9", "50 %"):
        assert figures.drawn_name(name) == name
    assert figures.drawn_name("\u6d77") == "\\u6d77"
    assert figures.drawn_name("0123456789" * 3) == "0123456789012345\u20263456789"
