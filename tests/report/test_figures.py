"""Matplotlib's figures draw whatever classes, settings and modules are called, and every one of them."""

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


def test_a_figure_of_features_and_those_of_the_published_page_draw_every_name() -> None:
    quantiles = {"quantiles": {"0.01": -1.0, "0.5": 0.0, "0.99": 2.0}}
    modules = {name: {"non_positive": 0.5, "eigenvalues": [2.0, 1.0], "activations": quantiles} for name in NAMES}
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
