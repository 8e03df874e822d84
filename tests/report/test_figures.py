"""Matplotlib's figures draw every class, setting and module, whatever their names."""

import pytest
from matplotlib.colors import to_rgb

from in4310repro.report import figures

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


def accuracy_rows(classes: list[str]) -> figures.AccuracyRows:
    """Return accuracies measured in four ways, "a" to "d": in three runs for "b", in one run for the others."""
    row = [*[0.5] * len(classes), 0.5]
    rows = {way: [row] * (3 if way == "b" else 1) for way in "abcd"}
    intervals = {way: [[[0.4, 0.7] for _ in row] for row in listed] for way, listed in rows.items()}
    return {"classes": classes, "rows": rows, "intervals": intervals, "legend": {way: f"way {way}" for way in rows}}


def test_each_run_has_a_sign_and_an_interval_in_a_colour_that_is_seen_on_white() -> None:
    figure = figures.draw_accuracies(accuracy_rows(["sea", "street"]))
    bars = figure.axes[0].containers
    assert len(bars) == 1 + 3 + 1 + 1
    for container in bars:
        (lines,) = container[2]
        for (_, low), (_, high) in lines.get_segments():
            assert (low, high) == pytest.approx((0.4, 0.7))
    signs = {(sign := container[0]).get_marker(): sign.get_color() for container in bars}
    assert len(signs) == len(set(signs.values())) == 4
    for colour in (*signs.values(), *figures.LINES):
        red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in to_rgb(colour))
        assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 4.5
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"way {way}" for way in "abcd"]


def test_a_figure_of_features_and_those_of_the_published_page_draw_every_name() -> None:
    quantiles = {"quantiles": {"0.01": -1.0, "0.5": 0.0, "0.99": 2.0}}
    modules = {name: {"non_positive": 0.5, "eigenvalues": [2.0, 1.0], "activations": quantiles} for name in NAMES}
    measured = figures.draw_features(modules)
    assert len(measured.axes[0].get_yticklabels()) == len(NAMES)
    curve = {"settings": {name: {"curve": [0.5, 0.6]} for name in NAMES}}
    printed = dict.fromkeys(NAMES, METRICS)
    for figure in (
        measured,
        figures.draw_settings({"corrected": curve, "published": [curve], "printed": printed}),
        figures.draw_shares({way: dict.fromkeys(NAMES, 50.0) for way in "abc"}),
        figures.draw_accuracies(accuracy_rows(list(NAMES))),
    ):
        assert figures.to_png(figure)


def test_a_drawn_name_is_the_name_where_the_font_has_its_letters() -> None:
    for name in ("sea", "layer4.1.conv1", "mer d'\u00e9t\u00e9", "50 %"):
        assert figures.drawable_name(name) == name
    assert figures.drawable_name("\u6d77") == "\\u6d77"
    assert figures.drawable_name("0123456789" * 3) == "0123456789012345\u20263456789"
