"""The pictures of docs/gallery.md: the lines that the page shows draw them, and docs/hooks.py shows them beside."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.docs import scripts
from tests.docs.commands import ROOT

PAGE = ROOT / "docs" / "gallery.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```\n(?:<!-- picture: (\S+) -->\n)?", re.MULTILINE | re.DOTALL)
SAVE = """
from matplotlib import pyplot
empty = [axes for axes in pyplot.gcf().axes if not axes.has_data()]
if empty or not pyplot.gcf().axes:
    raise ValueError("{name} is an empty picture")
pyplot.gcf().set_layout_engine("compressed")
pyplot.savefig("{name}", bbox_inches="tight", dpi=120)
pyplot.close()
"""


def draw(page: str, folder: Path) -> dict[str, bytes]:
    """Run the lines of the page in a folder; return the picture of each block that has one, by its mark.

    Raises:
        RuntimeError: a line fails.
        ValueError: a picture is missing or empty.
    """
    scripts.run(_to_blocks(page), folder)
    return {mark: _read_picture(mark, folder) for _, _, mark in BLOCK.findall(page) if mark}


def _to_blocks(page: str) -> Iterator[str]:
    for language, code, mark in BLOCK.findall(page):
        yield code if language == "python" else re.sub("^", "!", code.strip(), flags=re.MULTILINE)
        if language == "python" and mark:
            yield SAVE.format(name=mark)


def _read_picture(mark: str, folder: Path) -> bytes:
    """Return the file that is named by a mark, which may have a `*` for what varies."""
    files = [*folder.glob(mark)]
    if len(files) != 1:
        raise ValueError(f"{len(files)} files are named {mark}; expected 1")
    if files[0].suffix == ".png":
        with Image.open(files[0]) as picture:
            if len(np.unique(np.asarray(picture.convert("L")))) == 1:
                raise ValueError(f"{mark} is an empty picture")
    return files[0].read_bytes()


def address(mark: str) -> str:
    """Return where the site has the picture of a mark."""
    return f"gallery/{mark.rpartition('/')[2]}"


def place(page: str) -> str:
    """Return the page with each picture beside its lines."""

    def beside(block: re.Match[str]) -> str:
        language, code, mark = block.groups()
        if not mark:
            return block[0]
        heading = page[: block.start()].rpartition("\n## ")[2].partition("\n")[0]
        picture = f"[![{heading}]({address(mark)})]({address(mark)})"
        return f'<div class="plot {language}" markdown>\n\n```{language}\n{code}```\n\n{picture}\n\n</div>\n'

    return BLOCK.sub(beside, page)
