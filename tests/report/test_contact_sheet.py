"""The contact sheet shows pictures or their names; names with HTML stay text."""

import re
from pathlib import Path

import pytest
from markupsafe import Markup
from PIL import Image

from in4310repro.data import scenes
from in4310repro.data.folders import catalogue
from in4310repro.evaluation.doubts.examination import Doubts, count_doubts
from in4310repro.report.contact_sheet import render
from in4310repro.report.markup import Panel
from tests.builders import findings_of
from tests.report.reading import Page

HOSTILE = "sea/<img src=x onerror=alert(1)>.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in ("sea/0.png", HOSTILE, "street/0.png"):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(scenes.draw(path.split("/")[0], len(path), 48, 0)).save(file)
    Image.fromarray(scenes.draw("street", 12, 48, 0)).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "sea/t.png")
    return tmp_path


def made_up(number: int = 1) -> Doubts:
    doubt = {"path": HOSTILE, "label": "sea", "seems": "street", "probability": 0.9, "of_label": 0.05}
    return {
        "features": {"weights": "runs/mine", "model": "resnet18"},
        "seed": 0,
        "crops": [{"whole": "sea/0.png", "part": HOSTILE, "side": 0.75, "correlation": 0.9}],
        "copies": [["sea/0.png", HOSTILE]],
        "copy_conflicts": [],
        "copy_leaks": None,
        "look_alikes": [{"paths": ["sea/0.png", "street/0.png"], "labels": ["sea", "street"], "similarity": 0.8}],
        "look_alike_leaks": None,
        "doubts": [doubt] * number,
        "doubts_by_class": {"sea": count_doubts(1, 3), "street": count_doubts(0, 0)},
        "doubts_by_part": None,
        "confusion_matrix": [[2, 1], [0, 1]],
        "confusions": [doubt],
    }


def photographs(folder: Path) -> dict[str, tuple[Path, str]]:
    return {entry.path: (folder / entry.path, entry.sha256) for entry in catalogue(folder).entries}


def test_the_page_embeds_a_thumbnail_wherever_an_image_is_named(folder: Path) -> None:
    page = Page(render("mine", findings_of(folder), made_up(), photographs(folder)))
    # A doubt, look-alikes, a crop, a turned copy, a confusion; nothing is loaded from elsewhere.
    assert len(page.sources) == 1 + 2 + 2 + 2 + 1
    assert all(each.startswith("data:image/jpeg;base64,") for each in page.sources)
    assert (page.scripts, page.handlers) == ([], set())
    text = " ".join(" ".join(page.texts).split())
    for part in (
        HOSTILE,
        "75% of the side",
        "seems street 0.90 against 0.05",
        "sea taken for street: 1",
        "turned right",
    ):
        assert part in text


def test_without_photographs_the_page_has_names_alone_and_opens_no_image(folder: Path) -> None:
    findings = findings_of(folder)
    for file in folder.rglob("*.png"):
        file.unlink()
    page = Page(render("mine", findings, made_up(), {}))
    assert page.sources == []
    assert HOSTILE in " ".join(" ".join(page.texts).split())


def test_an_image_that_cannot_be_read_is_named_beside_the_pictures_of_others(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / f"sea/{name}.png").write_text("no image")
    findings = findings_of(folder)
    readable = {path: each for path, each in photographs(folder).items() if path not in findings.unreadable}
    page = Page(render("mine", findings, made_up(), readable))
    assert len(page.sources) == 1 + 2 + 2 + 2 + 1
    assert {"sea/a.png", "sea/b.png"} <= set(" ".join(page.texts).split())


def test_many_of_a_kind_are_counted_and_the_first_are_shown(folder: Path) -> None:
    page = render("mine", findings_of(folder), made_up(120), {})
    assert "Doubtful labels: 120" in page
    assert re.search(r'<nav.*<a href="#\w+">Doubtful labels</a> 120</li>.*</nav>', page, re.DOTALL)
    assert page.count("seems street") == 100


def test_an_image_that_was_changed_meanwhile_is_refused(folder: Path) -> None:
    files, findings = photographs(folder), findings_of(folder)
    Image.new("RGB", (48, 48)).save(folder / "sea/0.png")
    with pytest.raises(ValueError, match="was changed"):
        render("mine", findings, made_up(), files)


def test_the_map_of_features_stands_on_the_page_where_there_is_one(folder: Path) -> None:
    found, panel = findings_of(folder), Panel("Map of features", 700, Markup('<path d="M1 1h0"></path>'), 700)
    assert '<path d="M1 1h0">' in render("mine", found, made_up(), {}, panel)
    assert "Map of features" not in render("mine", found, made_up(), {})
