"""Matplotlib's figures draw every class, setting and module, whatever their names, where their values are."""

from typing import Any

import pytest
from matplotlib.colors import to_rgb, to_rgba

from in4310repro.report import figures
from studies.published import figures as published

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


def accuracy_rows(classes: list[str]) -> published.AccuracyRows:
    """Return accuracies measured in four ways, "a" to "d": in three runs for "b", in one run for the others."""
    row = [*[0.98] * len(classes), 0.98]
    rows = {way: [row] * (3 if way == "b" else 1) for way in "abcd"}
    intervals = {way: [[[0.97, 0.99] for _ in row] for row in listed] for way, listed in rows.items()}
    return {"classes": classes, "rows": rows, "intervals": intervals, "legend": {way: f"way {way}" for way in rows}}


def some_modules(number: int, **more: list[float]) -> dict[str, Any]:
    quantiles = {"quantiles": {"0.01": -1.0, "0.5": 0.0, "0.99": 2.0}}
    return {f"conv{n}": {"non_positive": n / 16, "activations": quantiles, **more} for n in range(number)}


def test_each_run_has_a_sign_and_an_interval_in_a_colour_that_is_seen_on_white() -> None:
    figure = published.draw_accuracies(accuracy_rows(["sea", "street"]))
    axes: Any = figure.axes[0]
    legend: Any = figure.legends[0]
    bars = axes.containers
    assert len(bars) == 1 + 3 + 1 + 1
    for container in bars:
        (lines,) = container[2]
        for (_, low), (_, high) in lines.get_segments():
            assert (low, high) == pytest.approx((0.97, 0.99))
        assert [round(x) for x in container[0].get_xdata()] == [0, 1, 2]
    assert 0 <= 0.97 - axes.get_ylim()[0] < 0.05
    assert [line.get_xdata()[0] for line in axes.lines if line.get_color() == "#dddddd"] == [0.5, 1.5]
    signs = {(sign := container[0]).get_marker(): sign.get_color() for container in bars}
    assert len(signs) == len(set(signs.values())) == 4
    for colour in (*signs.values(), *figures.LINES):
        red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in to_rgb(colour))
        assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 4.5
    assert [text.get_text() for text in legend.get_texts()] == [f"way {way}" for way in "abcd"]
    drawn = [*[container[0] for container in bars], *legend.legend_handles]
    assert len({(sign.get_marker(), sign.get_color(), sign.get_markerfacecolor()) for sign in drawn}) == 4
    figure.draw_without_rendering()
    assert len({round(text.get_window_extent().x0) for text in legend.get_texts()}) == 2
    assert legend.get_window_extent().y0 >= axes.bbox.y1
    assert axes.bbox.width > 0.9 * figure.bbox.width


def test_settings_stand_one_after_the_other_over_their_own_epochs() -> None:
    curves = {"a": [0.1, 0.2], "b": [0.3, 0.4, 0.5]}, {"a": [0.6, 0.7], "b": [0.8, 0.9, 1.0]}
    corrected, supposed = ({"settings": {name: {"curve": each[name]} for name in each}} for each in curves)
    printed = {"adamw": METRICS, "sgd": METRICS | {"mean_class_accuracy": 0.75}}
    figure: Any = published.draw_settings({"corrected": corrected, "published": [supposed], "printed": printed})
    points: dict[Any, dict[float, float]] = {}
    for line in figure.axes[0].lines:
        if line.get_color() != "#dddddd":
            points.setdefault(line.get_linestyle(), {}).update(zip(*line.get_data(), strict=True))
    assert points == {
        "--": {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5},
        "-": {1: 0.6, 2: 0.7, 3: 0.8, 4: 0.9, 5: 1.0},
        ":": {1: 0.5, 2: 0.5, 3: 0.75, 5: 0.75},
    }


def test_bars_of_shares_are_as_high_as_their_values_and_each_kind_has_a_hatching() -> None:
    shares = {"printed": {"a": 10.0, "b": 20.0}, "corrected": {"a": 30.0, "b": 40.0}, "ours": {"a": 50.0, "b": 60.0}}
    bars = published.draw_shares(shares).axes[0].containers
    assert [[bar.get_height() for bar in each] for each in bars] == [[*each.values()] for each in shares.values()]
    assert len({each[0].get_hatch() for each in bars}) == 3


def test_a_module_has_one_colour_in_every_panel_and_ten_have_ten_signs() -> None:
    figure: Any = figures.draw_features(some_modules(10, eigenvalues=[2.0, 1.0]))
    shares, ranges, spectra = figure.axes
    assert [bar.get_width() for bar in shares.patches] == [100 * n / 16 for n in range(10)]
    colours = [to_rgba(bar.get_facecolor()) for bar in shares.patches]
    assert len(set(colours)) == 10
    assert [to_rgba(line.get_color()) for line in ranges.lines] == [each for each in colours for _ in "-o"]
    assert [to_rgba(line.get_color()) for line in spectra.lines] == colours
    hollow = [to_rgba(line.get_markerfacecolor()) == to_rgba("white") for line in spectra.lines]
    assert len({*zip([line.get_marker() for line in spectra.lines], hollow, strict=True)}) == 10


def test_up_to_ten_spectra_are_named_beside_them_and_a_figure_without_spectra_is_narrower() -> None:
    drawn = [figures.draw_features(some_modules(number, eigenvalues=[2.0, 1.0])) for number in (1, 10, 11)]
    legends = [figure.axes[2].get_legend() for figure in drawn]
    assert [legend and len(legend.get_texts()) for legend in legends] == [1, 10, None]
    without = figures.draw_features(some_modules(10))
    assert (len(without.axes), without.get_figwidth() < drawn[0].get_figwidth()) == (2, True)


def test_a_figure_of_features_and_those_of_the_published_page_draw_every_name() -> None:
    quantiles = {"quantiles": {"0.01": -1.0, "0.5": 0.0, "0.99": 2.0}}
    modules = {name: {"non_positive": 0.5, "eigenvalues": [2.0, 1.0], "activations": quantiles} for name in NAMES}
    measured = figures.draw_features(modules)
    assert len(measured.axes[0].get_yticklabels()) == len(NAMES)
    curve = {"settings": {name: {"curve": [0.5, 0.6]} for name in NAMES}}
    printed = dict.fromkeys(NAMES, METRICS)
    for figure in (
        measured,
        published.draw_settings({"corrected": curve, "published": [curve], "printed": printed}),
        published.draw_shares({way: dict.fromkeys(NAMES, 50.0) for way in "abc"}),
        published.draw_accuracies(accuracy_rows(list(NAMES))),
    ):
        assert figures.to_png(figure)


def test_a_drawn_name_is_the_name_where_the_font_has_its_letters() -> None:
    for name in ("sea", "layer4.1.conv1", "mer d'\u00e9t\u00e9", "50 %"):
        assert figures.drawable_name(name) == name
    assert figures.drawable_name("\u6d77") == "\\u6d77"
    assert figures.drawable_name("0123456789" * 3) == "0123456789012345\u20263456789"
