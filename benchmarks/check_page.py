"""The page check.html in two browsers: a run of the demo, and falsified tiny runs; sizes, times and what is equal.

nox -s evidence -- check-page
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from tests.docs.marks import replaced
from tests.report.browsers import ChromiumTab, Tab, chromium, firefox
from tests.report.test_check_page import CHROMIUM, FALSIFIED, FIREFOX, check_all, linked, make_example, write_all

from benchmarks.exports import command
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.report import check_page
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import activate

DOCS = Path(__file__).parents[1] / "docs"
JSON, PAGE = DOCS / "check-page.json", DOCS / "verification.md"
VERDICT = re.compile(r"(?P<equal>[\d,]+) values are equal to the bit\. .*?(?P<seconds>[\d.]+) seconds\.")


@contextmanager
def chromium_tab(_folder: Path) -> Iterator[Tab]:
    with chromium(CHROMIUM or "") as browser:
        yield ChromiumTab(browser.new_page())


def firefox_tab(folder: Path) -> Any:
    return firefox(FIREFOX or "", folder)


BROWSERS: dict[str, tuple[str | None, Callable[[Path], Any]]] = {
    "Chromium": (CHROMIUM, chromium_tab),
    "Firefox": (FIREFOX, firefox_tab),
}


def difference(tab: Tab, tiny: Path, work: Path, change: str) -> str:
    """Return the difference by which the page names the changed file of a falsified run, "" if it names none."""
    forger = linked(tiny / "runs/tiny", work, activate("portable", "cpu"))
    shutil.copytree(tiny / "report", work / "report")
    falsify, file, what = FALSIFIED[change]
    falsify(forger)
    check_all(tab, work)
    return next((each for each in tab.texts(".differences li") if file in each.split(" ")[0] and what in each), "")


def measure(browser: str, demo: Path, tiny: Path, place: Path) -> dict[str, Any]:
    """Check the demo, and each falsified tiny run, in a browser."""
    executable, start = BROWSERS[browser]
    if executable is None:
        sys.exit(f"no {browser}: apt-get install chromium firefox-esr")
    version = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"[\d.]+", version)
    with start(place / browser) as tab:
        verdict = check_all(tab, demo)
        found = VERDICT.search(verdict)
        if found is None or number is None or not verdict.startswith("Nothing differs"):
            sys.exit(f"{browser}: {verdict}")
        found_by = {each: difference(tab, tiny, place / browser / each, each) for each in FALSIFIED}
    for change, words in found_by.items():
        sys.stdout.write(f"{browser} | {change} | {words or 'NOT FOUND'}\n")
    return {
        "browser": f"{browser} {number[0].split('.')[0]}",
        "equal": int(found["equal"].replace(",", "")),
        "seconds": float(found["seconds"]),
        "falsified": len(FALSIFIED),
        "found": sum(map(bool, found_by.values())),
    }


def trained(folder: Path, preset: str, *options: str) -> Path:
    """Train a preset in a folder, measure its feature maps, and write the page beside the run."""
    command(folder, "train", "--preset", preset, "--out", "runs/tiny", "--numerics", "portable", *options)
    run = FinishedRun.open(folder / "runs/tiny")
    of_run.write_features(run, run.config, Context(activate("portable", "cpu")))
    write_all(run, folder / "report")
    return folder


def table(content: dict[str, Any]) -> str:
    rows = [
        f"| {each['browser']} | {each['equal']:,} | {each['seconds']:.1f} | {each['found']} of {each['falsified']} |\n"
        for each in content["browsers"]
    ]
    heading = "| browser | values of the demo that are equal to the bit | seconds | falsified runs found |\n"
    sizes = (
        f"\n{content['images']} test images of {content['pixels']} pixels a side. The page has "
        f"{content['page_bytes'] / 1000:.0f} kB ({content['page_gzipped'] / 1000:.0f} gzipped).\n"
    )
    return f"{heading}| --- | --- | --- | --- |\n{''.join(rows)}{sizes}"


def main() -> None:
    page, kernel = check_page.html().encode(), (resources.files("in4310repro.report") / "check.wasm").read_bytes()
    with tempfile.TemporaryDirectory() as place:
        for name in ("demo", "tiny", *BROWSERS):
            Path(place, name).mkdir()
        demo = trained(Path(place, "demo"), "demo", "--epochs", "1")
        tiny = make_example(Path(place, "tiny"), activate("portable", "cpu"))
        content: dict[str, Any] = {
            "images": len(FinishedRun.open(demo / "runs/tiny").scores.paths),
            "pixels": FinishedRun.open(demo / "runs/tiny").config.image_size,
            "page_bytes": len(page),
            "page_gzipped": len(gzip.compress(page, mtime=0)),
            "kernel_bytes": len(kernel),
            "kernel_gzipped": len(gzip.compress(kernel, mtime=0)),
            "browsers": [measure(browser, demo, tiny, Path(place)) for browser in BROWSERS],
            "processor": fingerprint(activate("portable", "cpu"))["processor"],
        }
    write_file(JSON, json_bytes(content))
    page_text = replaced(PAGE.read_text(encoding="utf-8"), "browsers", table(content).rstrip("\n"))
    PAGE.write_text(page_text, encoding="utf-8")
    if any(each["found"] < each["falsified"] for each in content["browsers"]):
        sys.exit("a falsified run was not found")


if __name__ == "__main__":
    main()
