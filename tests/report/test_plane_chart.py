"""The map as a drawing: a dot for each image in the colour of its class, and names that do nothing."""

import re

import numpy as np

from in4310repro.report import plane_chart
from in4310repro.report.svg import drawing

PLACES = np.array([[0, 0], [1, 1], [0.5, 0.5], [0.5, 1]])


def test_each_image_is_a_dot_of_its_class() -> None:
    drawn = drawing(plane_chart.panel(PLACES, ("sea", "<b>"), np.array([0, 0, 1, 1])), "a map")
    paths = re.findall(r'd="([^"]*)" style="stroke: oklch\(60% 0.16 (\d+)\)', drawn)
    assert paths == [("M12 12h0M688 688h0", "30"), ("M350 350h0M350 688h0", "210")]
    assert "sea" in drawn
    assert "&lt;b&gt;" in drawn
    assert 'viewBox="0 0 700 700"' in drawn


def test_a_class_without_images_is_not_named() -> None:
    panel = plane_chart.panel(PLACES[:1], ("sea", "street"), np.array([1]))
    assert "street" in panel.body
    assert "sea" not in panel.body
