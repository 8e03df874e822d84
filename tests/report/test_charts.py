"""Charts draw the numbers they are given, whatever the names of classes, settings and modules."""

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from in4310repro.report import markup, score_exhibits
from in4310repro.report.class_exhibits import draw_accuracies, draw_class_metrics, draw_losses
from in4310repro.report.feature_exhibits import draw_activations, draw_sparsity, draw_spectra
from in4310repro.report.score_exhibits import draw_precision_recall, draw_ranking, draw_reliability
from in4310repro.system.text import visible
from tests.report.test_figures import METRICS, NAMES, VALUES

COUNT = len(NAMES)
CURVE = {"recall": [0.5, 1.0], "precision": [1.0, 0.8]}
CLASSES: dict[str, Any] = {
    "classes": NAMES,
    "ours": {**METRICS, "accuracy": 0.5},
    "intervals": {"class_accuracy": [[0.4, 0.6]] * COUNT, "accuracy": [0.45, 0.55]},
    "chance": {"class_accuracy": 1 / COUNT, "average_precision": VALUES},
}
BIN = {"lower": 0.4, "upper": 0.6, "images": 3, "accuracy": 0.5, "mean_score": 0.5, "interval": [0.1, 0.9]}
MODULE = {"quantiles": {"0.01": -1.5, "0.5": 0.25, "0.99": 2.0}, "never_positive": 3, "channels": 8}
DRAWINGS = {
    4: draw_class_metrics,
    5: draw_losses,
    6: draw_accuracies,
    8: draw_sparsity,
    9: draw_spectra,
    13: draw_precision_recall,
    14: draw_reliability,
    15: draw_activations,
}
NUMBERS: dict[int, dict[str, Any]] = {
    4: CLASSES,
    5: {"epoch": [1], "train_loss": [0.0], "val_loss": [0.0]},
    6: {"epoch": [1, 2], "mean_class_accuracy": {name: [0.5, 0.6] for name in NAMES}, "selected": NAMES[0]},
    8: {"ours": dict.fromkeys(NAMES, 50.0), "original": {NAMES[0]: 40.0}},
    9: {"eigenvalues": {name: [2.0, 1.0, 0.0] for name in NAMES}, "exponents": [0, 1]},
    13: {"classes": NAMES, "average_precision": VALUES, "chance": VALUES, "curves": dict.fromkeys(NAMES, CURVE)},
    15: {"sets": [{"name": "test", "images": 3, "modules": dict.fromkeys(NAMES, MODULE)}]},
    14: {"expected_calibration_error": 0.0, "bins": [BIN, {**BIN, "images": 0, "interval": None}]},
}


def elements(panels: list[markup.Panel]) -> ElementTree.Element:
    text = markup.file(panels, "what it shows <&>", "DEVIATION: as <named>")
    return ElementTree.fromstring(text)  # noqa: S314


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("number", NUMBERS)
def test_every_name_is_text_that_can_be_seen(number: int) -> None:
    drawn = texts(elements(DRAWINGS[number](NUMBERS[number])))
    assert "DEVIATION: as <named>" in drawn
    assert all(text.isprintable() for text in drawn)
    if number in (4, 6, 8, 9, 15):
        longest = markup.LONGEST_NAME if number in (6, 9) else markup.LONGEST_ABOVE
        assert {markup.shorten(name, longest) for name in NAMES} <= set(drawn)


def test_of_many_classes_the_curves_with_the_lowest_average_precision_are_drawn() -> None:
    precision = [0.9, 0.1, *[0.5] * 12]
    names = [f"c{place}" for place in range(14)]
    numbers = {**NUMBERS[13], "classes": names, "average_precision": precision, "curves": dict.fromkeys(names, CURVE)}
    assert score_exhibits.select_curves(numbers) == list(range(1, 13))
    assert len(draw_precision_recall(numbers)) == score_exhibits.MOST_CURVES


def test_a_name_is_shortened_in_its_middle_and_one_that_fits_is_not() -> None:
    for name in ("sea", "layer4.1.conv1", "50 %", "$x$", "0123456789abcdef"):
        assert markup.shorten(name, 16) == name
    assert markup.shorten("0123456789" * 3, 16) == "0123456789\u202656789"
    assert markup.shorten("\u6d77" * 60, 16) == "\u6d77" * 2 + "\u2026" + "\u6d77" * 5
    assert markup.shorten("a\nb", 16) == visible("a\nb") == "a\\nb"


def test_a_point_lies_where_its_value_and_an_interval_where_its_ends_are() -> None:
    ours = {**METRICS, "class_accuracy": [0.3], "average_precision": [1.0]}
    numbers = {**CLASSES, "classes": ["sea"], "ours": ours, "intervals": {"class_accuracy": [[0.0, 0.5]]}}
    root = elements(draw_class_metrics(numbers)[:1])
    by_class: dict[str, list[dict[str, str]]] = {}
    for element in root.iter():
        by_class.setdefault(element.get("class", ""), []).append(element.attrib)
    ticks = {text.text or "": float(text.get("x", "")) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    start, width = ticks["0"], ticks["1"] - ticks["0"]
    (interval,) = by_class["range"]
    places = [float(by_class["m0"][0]["cx"]), float(interval["x1"]), float(interval["x2"])]
    assert places == pytest.approx([start + share * width for share in (0.3, 0.0, 0.5)], abs=0.11)


def test_the_ranking_shows_its_photographs_scores_and_classes() -> None:
    images: list[dict[str, Any]] = [{"path": f"{place}.png", "label": place, "score": 0.5} for place in range(COUNT)]
    numbers: dict[str, Any] = {"classes": NAMES, "ranked": {NAMES[0]: {"top": images[:12], "bottom": images[10:]}}}
    root = elements([draw_ranking(numbers, {image["path"]: b"\xff\xd8" for image in images})])
    assert len(list(root.iter("{http://www.w3.org/2000/svg}image"))) == COUNT + 2
    assert texts(root).count("0.50") == COUNT + 2


def read_ticks(panel: markup.Panel) -> list[float]:
    return [float(text.text or "") for text in elements([panel]).iter() if text.get("class") == "tick"]


@pytest.mark.parametrize(
    ("lowest", "first"), [(0.97, 0.95), (0.93, 0.9), (0.81, 0.8), (0.79, 0.5), (0.1, 0.0), (0.0, 0.0)]
)
def test_an_axis_of_shares_begins_close_below_the_lowest_value_or_interval(lowest: float, first: float) -> None:
    ours = {**METRICS, "average_precision": [0.99], "mean_average_precision": 0.99}
    intervals = {"average_precision": [[lowest, 1.0]]}
    numbers = {**CLASSES, "classes": ["sea"], "ours": {**ours, "class_accuracy": [0.5]}, "intervals": intervals}
    numbers["chance"] = {"class_accuracy": 0.5, "average_precision": [0.3]}
    panel = draw_class_metrics(numbers)[1]
    assert read_ticks(panel)[0] == first
    assert read_ticks(panel)[-1] == 1
    # Chance is drawn if the axis reaches it; nothing is drawn outside the axis.
    assert ("chance" in panel.body) == (first < 0.3)


def test_a_diamond_is_explained_where_one_is_drawn_alone() -> None:
    numbers = {"ours": {"stem.0": 50.0}, "original": {"conv1": 40.0}}
    assert "as printed" not in texts(elements(draw_sparsity(numbers)))
    assert "as printed" in texts(elements(draw_sparsity({**numbers, "original": {"stem.0": 40.0}})))


def test_a_long_name_stands_in_full_above_its_row() -> None:
    name = "features.denseblock4.denselayer16.conv2"
    for numbers in (
        {"ours": {name: 50.0, "conv1": 1.0}, "original": {}},
        {"sets": [{"name": "test", "modules": {name: MODULE, "conv1": MODULE}}]},
    ):
        number = 8 if "ours" in numbers else 15
        assert name in texts(elements(DRAWINGS[number](numbers)))
    assert name in texts(elements(draw_spectra({"eigenvalues": {name: [1.0]}, "exponents": [0, 1]})))


def test_spectra_of_three_sets_are_drawn_on_one_scale() -> None:
    sets = [{"eigenvalues": {"conv1": values}, "exponents": [-6, 2]} for values in ([100.0, 1.0], [1e-6, 1e-7])]
    labels = [[text for text in texts(elements(draw_spectra(each))) if text.startswith("10")] for each in sets]
    # Eight powers of ten, with seven labels at most.
    assert labels[0] == labels[1] == ["10\u207b\u2076", "10\u207b\u2074", "10\u207b\u00b2", "10\u2070", "10\u00b2"]
    assert "eigenvalue index" in texts(elements(draw_spectra(sets[0])))


def test_ten_series_have_ten_signs_without_their_colours() -> None:
    signs = {re.sub(r'class="(\w)\d"', r'class="\1"', markup.mark(0, 0, style)) for style in range(10)}
    assert len(signs) == 10


def test_quantiles_lie_where_their_values_are() -> None:
    root = elements(draw_activations({"sets": [{"name": "test", "modules": {"conv1": MODULE}}]}))
    ticks = {float(each.text or ""): float(each.get("x", "")) for each in root.iter() if each.get("class") == "tick"}
    (quantiles,) = [each for each in root.iter() if each.get("class") == "range"]
    (median,) = [each for each in root.iter() if each.get("class") == "m0"]
    one = ticks[1] - ticks[0]
    places = [float(quantiles.get("x1", "")), float(median.get("cx", "")), float(quantiles.get("x2", ""))]
    assert places == pytest.approx([ticks[0] + value * one for value in (-1.5, 0.25, 2.0)], abs=0.11)
    assert "3 of 8" in texts(root)


def read_points(root: ElementTree.Element, pixels: Sequence[float]) -> list[tuple[float, float]]:
    """Return the points of these pixels, each x before its y, in the values that the ticks of both axes show."""
    found = []
    for place, anchor, side, shift in ((0, "middle", "x", 0), (1, "end", "y", 4)):
        ticks = [each for each in root.iter() if (each.get("class"), each.get("text-anchor")) == ("tick", anchor)]
        scale = sorted((float(each.get(side, "")) - shift, float(each.text or "")) for each in ticks)
        values = np.interp(pixels[place::2], [pixel for pixel, _ in scale], [value for _, value in scale])
        found.append(values.round(2).tolist())
    return list(zip(*found, strict=True))


def read_lines(root: ElementTree.Element) -> dict[str, list[tuple[float, float]]]:
    lines = {name: each.get("d", "") for each in root.iter() if (name := each.get("class", "")).startswith("l")}
    return {name: read_points(root, [*map(float, re.findall(r"[\d.]+", way))]) for name, way in lines.items()}


def read_heights(root: ElementTree.Element) -> dict[str, float]:
    return {text.text or "": float(text.get("y", "")) for text in root.iter("{http://www.w3.org/2000/svg}text")}


def test_ten_settings_have_ten_lines_through_their_points_close_below_their_names() -> None:
    curves = {f"s{place}": [place / 10, 0.5] for place in range(10)}
    (panel,) = draw_accuracies({"epoch": [1, 2], "mean_class_accuracy": curves, "selected": "s0"})
    lines, heights = read_lines(root := elements([panel])), read_heights(root)
    assert list(lines) == ["l0 bold", "l1", "l2", "l3", "l4", *(f"l{colour} again" for colour in range(5))]
    assert list(lines.values()) == [[(1, first), (2, second)] for first, second in curves.values()]
    assert 0 < heights["mean class accuracy"] - max(heights[name] for name in curves) < 2 * markup.LEGEND_LINE
    # The letters of the lowest text, the title of the horizontal axis, reach 5 pixels below its line at most.
    assert panel.height == max(heights.values()) + 5 == heights["epoch"] + 5


def test_a_curve_goes_in_steps_and_bins_lie_where_their_numbers_are() -> None:
    numbers = {"classes": ["sea"], "average_precision": [0.9], "chance": [0.3], "curves": {"sea": CURVE}}
    (steps,) = read_lines(elements(draw_precision_recall(numbers))).values()
    assert list(dict.fromkeys(steps)) == [(0, 1), (0.5, 1), (0.5, 0.8), (1, 0.8)]
    share, images = (elements([panel]) for panel in draw_reliability(NUMBERS[14]))
    ends = {
        each: [float(each.get(key, "")) for key in ("x1", "y1", "x2", "y2")] for each in share.findall(".//{*}line")
    }
    (interval,) = [found for each, found in ends.items() if each.get("class") == "range"]
    assert read_points(share, interval) == [(0.5, 0.1), (0.5, 0.9)]
    caps = [((x1 + x2) / 2, y1, y2) for each, (x1, y1, x2, y2) in ends.items() if each.get("class") == "cap"]
    assert caps == [(interval[0], end, end) for end in interval[1::2]]
    (bar,) = [each for each in images.iter() if each.get("class") == "bar"]
    x, y, width, height = (float(bar.get(key, "nan")) for key in ("x", "y", "width", "height"))
    assert read_points(images, [x - 1, y, x + width + 1, y + height]) == [(0.4, 3), (0.6, 0)]
    heights = read_heights(images)
    assert heights["images"] < heights["3"] < heights["0"]
