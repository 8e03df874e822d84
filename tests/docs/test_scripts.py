"""Lines of the gallery draw its pictures, and notebooks are short; `nox -s docs` runs them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import gallery, scripts
from tests.docs.commands import ROOT

NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
LONGEST = {"hand-in": 420, "own-photographs": 480, "statistics": 420}  # words
SMALL = """# Page

## Line

```bash
python --version
```

```python
from matplotlib import pyplot
pyplot.plot([1, 2])
```
<!-- picture: line.svg -->
"""


@pytest.mark.process
def test_a_picture_is_drawn_by_the_lines_above_its_mark_and_shown_beside_them(tmp_path: Path) -> None:
    drawn = gallery.draw(SMALL, tmp_path)
    assert b"<svg" in drawn["line.svg"]
    page = gallery.place(SMALL)
    assert "pyplot.plot([1, 2])\n```\n\n[![Line](gallery/line.svg)](gallery/line.svg)\n\n</div>\n" in page
    assert page.count("<div") == 1


@pytest.mark.process
@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("pyplot.figure()", "line.svg is an empty picture"),
        ("pyplot.subplot()", "line.svg is an empty picture"),
        ("pyplot.plott()", "has no attribute 'plott'"),
    ],
)
def test_a_line_that_fails_or_draws_nothing_is_an_error(tmp_path: Path, line: str, error: str) -> None:
    with pytest.raises(RuntimeError, match=error):
        gallery.draw(SMALL.replace("pyplot.plot([1, 2])", line), tmp_path)


@pytest.mark.process
def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="python --no-such-option ended with 2"):
        gallery.draw(SMALL.replace("--version", "--no-such-option"), tmp_path)


@pytest.mark.process
def test_a_file_without_colours_is_an_empty_picture(tmp_path: Path) -> None:
    lines = 'from PIL import Image\nImage.new("RGB", (9, 9)).save("x.png")'
    page = f"```python\n{lines}\n```\n\n```bash\npython --version\n```\n<!-- picture: *.png -->\n"
    with pytest.raises(ValueError, match="is an empty picture"):
        gallery.draw(page, tmp_path)


def test_the_gallery_has_six_plots_of_at_most_three_lines_each() -> None:
    page = gallery.PAGE.read_text(encoding="utf-8")
    plots = [code for _, code, mark in gallery.BLOCK.findall(page) if mark]
    assert len(plots) == len(re.findall("^## ", page, re.MULTILINE)) - 1 == 6
    assert max(len(code.splitlines()) for code in plots) <= 3
    assert len(page.split()) <= 600


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: str(file.stem))
def test_a_notebook_is_short(file: Path) -> None:
    assert len(" ".join(scripts.read_cells(file)).split()) <= LONGEST[file.stem]
