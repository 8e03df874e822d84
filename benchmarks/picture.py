"""Picture of a report's page for the README, drawn by Chromium from the demo's run, and the time that the demo takes.

    nox -s evidence -- picture

The page is shortened: its long texts are left out, and nothing is added. Beside the picture is a JSON file with its
sha256, that of the run's scores, and all texts that it shows, so that tests compare it with the page without a browser.
"""

from __future__ import annotations

import io
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from tests.golden_cases import FOLDER
from tests.report.reading import Page

from in4310repro import golden
from in4310repro.report import page
from in4310repro.report.page import exhibits
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import file_sha256, json_bytes, write_file
from in4310repro.system.signals import temporary_folder
from in4310repro.trace.environment import processor

PICTURE = Path(__file__).parents[1] / "docs/images/report.png"
TEXTS = PICTURE.with_suffix(".json")
WIDTH, MARGIN = 1200, 24  # pixels
COLOURS = 64
SECTIONS = 2  # class accuracies and confusion matrix
LEFT_OUT = re.compile(r'<(nav|figcaption|details)\b.*?</\1>|<dl class="verdict">.*?</dl>', re.DOTALL)
CLOSER = "<style>section.figure { margin-bottom: 1.6rem } h2 { margin-top: 1.2rem }</style>"


def shortened(run: FinishedRun) -> str:
    """Return the page of a run without long texts, up to the confusion matrix."""
    html = page.make_pages(run, exhibits(run), {})["index.html"].decode()
    head, *sections = html.split('<section class="figure"')
    return LEFT_OUT.sub("", '<section class="figure"'.join([head, *sections[:SECTIONS]])).replace("</head>", CLOSER)


def texts_of(html: str) -> list[str]:
    """Return the texts of a page's body, those of its drawings among them, without white space at their ends."""
    return [text.strip() for text in Page(html.split("<body>")[1]).texts if text.strip()]


def draw(html: str) -> bytes:
    """Return a picture of a page as PNG, in few colours."""
    from playwright.sync_api import FloatRect
    from tests.report.browsers import chromium

    with temporary_folder() as folder, chromium(shutil.which("chromium") or "chromium") as browser:
        tab = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        tab.goto(write_file(folder / "index.html", html.encode()).as_uri())
        end = tab.locator(".matrix").bounding_box()
        assert end
        shown = FloatRect(x=0, y=0, width=WIDTH, height=end["y"] + end["height"] + MARGIN)
        drawn = Image.open(io.BytesIO(tab.screenshot(full_page=True, clip=shown)))
    picture = io.BytesIO()
    drawn.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, format="PNG", optimize=True)
    return picture.getvalue()


def make_demo(folder: Path) -> float:
    """Train the demo and report it, as `nox -s train report` does; return the seconds of processor time of both."""
    run = f"{folder / 'demo'}"
    for words in (["train", "--out", run], ["report", run, "--out", f"{folder / 'page'}"]):
        subprocess.run([sys.executable, "-m", "in4310repro", *words], check=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def main() -> None:
    with temporary_folder() as folder:
        seconds = make_demo(folder)
        run = FinishedRun.open(folder / "demo")
        scores, html = file_sha256(run.folder / "scores.npz"), shortened(run)
    if scores != golden.read(FOLDER, "demo_bits")["values"]["scores"]["value"]:
        sys.exit("the demo has other scores here than the golden demo; the picture is unchanged")
    write_file(PICTURE, draw(html))
    held = {
        "sha256": file_sha256(PICTURE),
        "scores": scores,
        "processor_minutes": round(seconds / 60, 1),
        "processor": processor("model name"),
        "texts": texts_of(html),
    }
    write_file(TEXTS, json_bytes(held))
    sys.stdout.write(f"wrote {PICTURE} and {TEXTS}\n")


if __name__ == "__main__":
    main()
