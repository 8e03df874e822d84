"""Charts of rows, the axes of plots, files of several panels and photographs: what is drawn, and where."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jinja2
import numpy as np
import pytest
from PIL import Image

from in4310repro.metrics import MEANS
from in4310repro.metrics.scores import Scores
from in4310repro.report import markup
from in4310repro.report.class_exhibits import draw_class_metrics
from in4310repro.report.feature_exhibits import draw_activations, draw_sparsity
from in4310repro.report.photographs import load_jpeg
from in4310repro.report.score_exhibits import (
    confusion_exhibit,
    draw_precision_recall,
    draw_ranking,
    ranking_exhibit,
)
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import file_sha256


def read(svg: str) -> dict[str, list[dict[str, Any]]]:
    """Return the elements of a drawing by their class, or by their tag without one; lengths are numbers."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in ElementTree.fromstring(f"<svg>{svg}</svg>").iter():  # noqa: S314
        lengths = {key: float(value) for key, value in each.attrib.items() if re.fullmatch(r"-?[\d.]+", value)}
        found.setdefault(each.get("class") or each.tag, []).append({**each.attrib, **lengths, "is": each.text})
    return found


def near(values: Any) -> Any:
    # Lengths are written with one decimal.
    return pytest.approx(list(values), abs=0.11)


@pytest.mark.parametrize("letters", [16, 17])
def test_a_row_has_its_name_value_interval_chance_and_printed_value_and_the_mean_stands_apart(letters: int) -> None:
    names, values, chance = ["a" * letters, "sea", "ice", "mean"], [0.3, 0.5, 0.9, 0.55], [0.1, 0.2, 0.3]
    ends = [[value - 0.2, value + 0.05] for value in values[:3]]
    metrics = dict.fromkeys(MEANS, values[:3]) | dict.fromkeys(MEANS.values(), values[3])
    numbers = {"classes": names[:3], "ours": metrics, "intervals": dict.fromkeys(MEANS, ends)}
    numbers |= {"chance": dict.fromkeys(MEANS, chance), "original": metrics}
    for panel in draw_class_metrics(numbers):
        drawn = read(panel.body)
        assert [each["is"] for each in drawn["tick"]] == ["0", "0.25", "0.5", "0.75", "1"]
        start, end = drawn["tick"][0]["x"], drawn["tick"][-1]["x"]
        assert [each["is"] for each in drawn["value"]] == ["0.300", "0.500", "0.900", "0.550"]
        assert end < drawn["value"][0]["x"] - 4 * markup.LETTER
        heights = [each["cy"] for each in drawn["m0"]]
        assert [each["cx"] for each in drawn["m0"]] == near(start + value * (end - start) for value in values)
        assert [each["y"] - 4 for each in drawn["value"]] == near(heights)
        assert drawn["grid"][0]["y1"] < min(heights) < max(heights) < drawn["grid"][0]["y2"]
        row, apart = heights[1] - heights[0], heights[3] - heights[2]
        assert heights[2] - heights[1] == row < apart
        assert [each["is"] for each in drawn["text"]] == names
        beside = letters == 16
        for each, height in zip(drawn["text"], heights, strict=True):
            assert each["y"] == pytest.approx(height + 4, abs=0.11) if beside else height - row < each["y"] < height
            assert (each["x"] < start) == (each["text-anchor"] == "end") == beside or each["x"] == 0
        for each, height, (low, high) in zip(drawn["range"], heights[:3], ends, strict=True):
            sides = [start + side * (end - start) for side in (low, high)]
            assert [each["x1"], each["x2"], each["y1"], each["y2"]] == near([*sides, height, height])
        centres = [height for height in heights[:3] for _ in range(2)]
        assert [(each["y1"] + each["y2"]) / 2 for each in drawn["cap"]] == near(centres)
        assert [each["x1"] for each in drawn["chance"]] == near(start + value * (end - start) for value in chance)
        assert [(each["y1"] + each["y2"]) / 2 for each in drawn["chance"]] == near(heights[:3])
        (key, _), *diamonds = [re.findall(r"-?[\d.]+", each["d"])[:2] for each in drawn["printed"]]
        assert [float(x) for x, _ in diamonds] == near(each["cx"] for each in drawn["m0"])
        (words,) = [each for each in drawn["quiet"] if each["is"] == "as printed"]
        assert float(key) + 5 < words["x"] - len("as printed") * markup.LETTER


def test_a_bar_begins_at_0_and_ends_at_its_share_and_titles_begin_at_the_left() -> None:
    module = {"quantiles": {"0.01": -1.5, "0.5": 0.25, "0.99": 2.0}, "never_positive": 3, "channels": 8}
    (panel,) = draw_sparsity({"ours": {"conv1": 50.0, "fc": 12.5}})
    drawn = read(panel.body)
    ticks = {each["is"]: each["x"] for each in drawn["tick"]}
    whole = ticks["100"] - ticks["0"]
    for bar, share in zip(drawn["bar"], (0.5, 0.125), strict=True):
        assert [bar["x"], bar["width"]] == near([ticks["0"], share * whole])
    (values,) = draw_activations({"sets": [{"name": "test", "modules": {"conv1": module}}]})
    assert drawn["title"][0]["x"] == read(values.body)["title"][0]["x"] == 0


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (-0.7, 2.1), (3e-5, 4e-5), (-120.0, -90.0)])
def test_ticks_contain_zero_and_both_values_at_a_distance_of_1_2_or_5(low: float, high: float) -> None:
    ends, shown = markup.axis_around_zero(low, high)
    ticks = [tick for tick, _ in shown]
    assert ends == (ticks[0], ticks[-1])
    assert min(low, 0) >= ticks[0]
    assert max(high, 0) <= ticks[-1]
    assert 2 <= len(ticks) <= 8
    assert f"{ticks[1] - ticks[0]:.3e}"[:5] in ("1.000", "2.000", "5.000")


def test_plots_from_0_to_1_lie_within_their_drawing_and_each_tick_at_its_value() -> None:
    curve = {"classes": ["sea"], "average_precision": [0.5], "chance": [0.5]}
    curve |= {"curves": {"sea": {"recall": [0.5, 1.0], "precision": [1.0, 0.8]}}}
    (panel,) = draw_precision_recall(curve)
    drawn = read(panel.body)
    for axis, anchor in (("x", "middle"), ("y", "end")):
        ticks = {float(each["is"]): each[axis] for each in drawn["tick"] if each["text-anchor"] == anchor}
        assert len(ticks) == 5
        assert [*ticks.values()] == near(ticks[0] + value * (ticks[1] - ticks[0]) for value in ticks)
    ends = [each[key] for listed in drawn.values() for each in listed for key in ("x", "x1", "x2") if key in each]
    assert 0 <= min(ends) < max(ends) <= panel.width


@pytest.mark.parametrize("words", [1, 200])
def test_a_file_has_two_panels_in_a_row_below_a_heading_no_wider_than_they_are(words: int) -> None:
    panels = [markup.Panel(f"{number}", 50, markup.label(0, 20, f"{number}")) for number in range(3)]
    whole = ElementTree.fromstring(markup.file(panels, "three", "ab " * words))  # noqa: S314
    lines = [each for each in whole.iter() if each.get("class") == "warning"]
    places = [(float(each.get("x", "")), float(each.get("y", ""))) for each in whole.findall("{*}svg")]
    assert places[0][1] == places[1][1] == places[2][1] - 50 - markup.MARGIN
    assert places[0][0] == places[2][0] == places[1][0] - markup.WIDTH - markup.GAP
    assert " ".join(each.text or "" for each in lines).split() == ["ab"] * words
    right = float(whole.get("width", "")) - markup.MARGIN
    assert all(markup.MARGIN + markup.LETTER * len(each.text or "") <= right for each in lines)
    # Of a heading of any number of lines the last one is as far from the panels.
    assert places[0][1] - float(lines[-1].get("y", "")) == 8


def test_a_name_that_a_template_needs_and_does_not_get_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'title' is undefined"):
        markup.render("report.md.jinja", {})


def test_each_photograph_of_the_ranking_has_its_score_and_class_below_and_a_warning_if_it_is_in_the_wrong_place() -> (
    None
):
    images = [{"path": "x", "label": place % 2, "score": 0.5} for place in range(10)]
    numbers = {"classes": ["sea", "ice"], "ranked": {"sea": {"top": images, "bottom": images}}}
    panel = draw_ranking(numbers, {"x": b"\xff\xd8"})
    drawn = read(panel.body)
    titles, strips = drawn["title"], [drawn["image"][:10], drawn["image"][10:]]
    assert [each["is"] for each in titles] == ["sea, top", "sea, bottom"]
    # Ten images of 68 pixels and their gaps of 8.
    assert panel.width == 760
    assert {(each["width"], each["height"]) for each in drawn["image"]} == {(68, 68)}
    named = [sorted(drawn[kind], key=lambda each: (each["y"], each["x"])) for kind in ("value", "text", "warning")]
    for place, (title, strip) in enumerate(zip(titles, strips, strict=True)):
        scores, right, wrong = (each[len(each) // 2 * place :][: len(each) // 2] for each in named)
        assert [each["x"] for each in strip] == [each["x"] for each in scores] == [76 * n for n in range(10)]
        # At the top it is an image of another class that is out of place, at the bottom one of the class.
        assert {each["is"] for each in right} == {("sea", "ice")[place]}
        assert {each["is"] for each in wrong} == {("ice", "sea")[place]}
        heights = [title["y"], strip[0]["y"], strip[0]["y"] + 68, scores[0]["y"], right[0]["y"], panel.height]
        assert heights == sorted(heights)
        assert (heights[0] > 0, wrong[0]["y"]) == (True, right[0]["y"])
    assert titles[1]["y"] > named[1][0]["y"]


def test_of_a_cell_100_images_are_named_and_of_a_wrong_one_10_are_shown_after_which_come_right_ones(
    run: FinishedRun,
) -> None:
    pairs = [*[(0, 1)] * 101, *[(1, 0)] * 2, (0, 0)]
    labels, predicted = np.array(pairs).T
    scores = Scores(
        tuple(f"{place:03}.png" for place in range(104)), labels, np.eye(2, dtype=np.float32)[predicted], 1.0
    )
    metrics: Any = {**run.metrics, "classes": ["a", "b"]}
    matrix = confusion_exhibit(replace(run, scores=scores, metrics=metrics))
    cells = [("".join(each["names"]), len(each["images"]), each["more"], str(each["count"])) for each in matrix.cells]
    assert cells == [("ab", 100, 1, "101"), ("ba", 2, 0, "2"), ("aa", 1, 0, "1")]
    ranking = ranking_exhibit(run)
    ranked = [each["path"] for sides in ranking.numbers["ranked"].values() for side in sides.values() for each in side]
    assert matrix.photographs == [f"{place:03}.png" for place in (*range(10), 101, 102)]
    assert (matrix.last, ranking.last, ranking.photographs) == (False, True, ranked)


def test_a_photograph_is_turned_as_the_network_reads_it_and_has_quality_80(tmp_path: Path) -> None:
    pixels, exif, file = np.zeros((96, 96, 3), np.uint8), Image.Exif(), tmp_path / "x.png"
    pixels[:48], exif[0x0112] = 255, 3  # by half a turn
    Image.fromarray(pixels).save(file, exif=exif)
    for orientation, above in (("exif", 0), ("ignored", 255)):
        shown = Image.open(io.BytesIO(load_jpeg(file, file_sha256(file), orientation)))
        assert np.asarray(shown)[5, 5] == pytest.approx(above, abs=9)
        # The standard's table begins with 16, which quality 80 takes times (200 - 2 * 80) %.
        assert vars(shown)["quantization"][0][0] == round(0.4 * 16)
