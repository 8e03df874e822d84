"""The feature map as a drawing: a dot per image in the colour of its class; names with HTML stay text."""

import re

import numpy as np

from in4310repro.report import contact_sheet
from in4310repro.report.markup import drawing, measure_text

PLACES = np.array([[0, 0], [1, 1], [0.5, 0.5], [0.5, 1]])


def test_each_image_is_a_sign_of_its_class_which_a_legend_names() -> None:
    drawn = drawing(contact_sheet.draw_plane(PLACES, ("sea", "<b>"), np.array([0, 0, 1, 1])), "a map")
    paths = re.findall(r'd="([^"]*)" style="stroke: oklch\(60% 0.16 (\d+)\); ([^"]*)"', drawn)
    points = [("M12 12h0M688 688h0", "30"), ("M350 350h0M350 688h0", "210")]
    assert [path[:2] for path in paths[:2]] == points
    # The legend repeats each class with the same colour and sign.
    assert [path[1:] for path in paths[2:]] == [path[1:] for path in paths[:2]]
    # Beside a name on the line at 720, at half the height of its small letters; a name on the map has a halo of paper.
    assert paths[2][0] == "M10 716h0"
    assert drawn.count("paint-order: stroke; stroke: var(--paper)") == 2
    assert paths[0][2] != paths[1][2]
    assert [drawn.count(f">{name}<") for name in ("sea", "&lt;b&gt;")] == [2, 2]
    width, height = map(int, re.findall(r'viewBox="0 0 (\d+) (\d+)"', drawn)[0])
    assert width == 700
    assert all(700 < float(y) < height for y in re.findall(r'<text x="[^"]*" y="([^"]*)" text-anchor="start"', drawn))


def test_six_classes_have_six_signs_and_a_long_legend_stays_within_the_map() -> None:
    assert len(set(contact_sheet.SIGNS)) == 6
    names = [f"{number} a class with a name" for number in range(12)]
    body = contact_sheet.draw_plane(np.tile(PLACES, (3, 1)), names, np.arange(12)).body
    starts = [(float(x), name) for x, name in re.findall(r'<text x="([^"]*)"[^>]*"start"[^>]*>([^<]*)<', body)]
    assert len(starts) == 12
    assert [int(hue) for hue in re.findall(r"0\.16 (\d+)", body)] == [*range(30, 361, 30)] * 2
    assert all(x + measure_text(name) <= 700 for x, name in starts)


def test_a_class_without_images_is_not_named() -> None:
    panel = contact_sheet.draw_plane(PLACES[:1], ("sea", "street"), np.array([1]))
    assert "street" in panel.body
    assert "sea" not in panel.body


def test_a_name_of_more_than_24_letters_is_shortened() -> None:
    body = contact_sheet.draw_plane(PLACES, (24 * "a", 25 * "b"), np.array([0, 0, 1, 1])).body
    assert (body.count(f">{24 * 'a'}<"), 25 * "b" in body) == (2, False)
