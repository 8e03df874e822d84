"""Forgeries of a report, which `verify --report` compares with its run."""

from __future__ import annotations

import re
from collections.abc import Callable

from in4310repro.system.files import json_bytes, read_json
from tests.builders import inside_json
from tests.forgeries.changes import sealed
from tests.forgeries.forger import Forger
from tests.forgeries.row import HANDED_OVER, Forge, forgeries_of

REPORT = "reports/tiny"


def put(name: str, place: str, value: object) -> Forge:
    def forge(forger: Forger) -> None:
        file = forger.work / REPORT / name
        content = read_json(file)
        inner, last = inside_json(content, place)
        inner[last] = value
        file.unlink()
        file.write_bytes(json_bytes(content))

    return forge


def page(name: str, change: Callable[[bytes], bytes]) -> Forge:
    def forge(forger: Forger) -> None:
        file = forger.work / REPORT / name
        data = file.read_bytes()
        assert change(data) != data
        file.unlink()
        file.write_bytes(change(data))

    return forge


def picture(forger: Forger) -> None:
    """Change a number in a figure, and in the page that shows the figure."""
    (number,) = re.findall(rb">\.\d{3}</text>", (forger.work / REPORT / "figure04.svg").read_bytes())[:1]
    for name in ("figure04.svg", "index.html"):
        page(name, lambda data: data.replace(number, b">.933</text>", 1))(forger)


def another_photograph(forger: Forger) -> None:
    """Replace the first photograph in the report by the second; `verify` does not decode photographs again."""
    text = (forger.work / REPORT / "index.html").read_bytes()
    first, second = list(dict.fromkeys(re.findall(rb"data:image/jpeg;base64,[A-Za-z0-9+/=]+", text)))[:2]
    for name in ("index.html", "figure07.svg"):
        page(name, lambda data: data.replace(first, second))(forger)


def gone(name: str) -> Forge:
    return lambda forger: (forger.work / REPORT / name).unlink()


def beside(forger: Forger) -> None:
    for name in ("better.html", "figure99.svg"):
        (forger.work / REPORT / name).write_text("mean class accuracy 0.99")


def of_another_run(forger: Forger) -> None:
    """Replace the run by one of another seed, and keep the report of the first."""
    other = forger.starts("seed 1") / "runs/tiny"
    for file in other.rglob("*"):
        if file.is_file():
            forger.write(file.relative_to(other).as_posix(), file.read_bytes())


row = forgeries_of("report", start="reported", options=f"--report {REPORT}")
ROWS = [
    row("a number of a figure", put("figure04.json", "ours/mean_class_accuracy", 0.99), "figure04.json"),
    row("a name in a figure", put("figure09.json", "name", "ImageNet"), "figure09.json"),
    row("the test result in run.json", put("run.json", "metrics/mean_class_accuracy", 0.99), "run.json"),
    row("a hash in run.json", put("run.json", "files_sha256/metrics.json", "0" * 64), "run.json"),
    row("a figure's numbers deleted", gone("figure04.json"), "figure04.json"),
    row("the report of another run", of_another_run, REPORT),
    row(
        "the sentence of the page",
        page("report.md", lambda text: re.sub(rb"accuracy \| 0\.\d{4} \|", b"accuracy | 0.9333 |", text)),
        "report.md",
    ),
    row("a figure's picture", picture, "figure04.svg"),
    row(
        "a photograph, in the page too",
        another_photograph,
        by="nothing",
        shown_by="the path and the score beside it, which are compared; `report` shows it anew",
    ),
    row(
        "a page and a figure of their own beside those of the report",
        beside,
        *("not checked", "better.html", "figure99.svg"),
        by="nothing",
        shown_by="no need: the report's pages do not name them, and `verify` lists them as not checked",
    ),
    row(
        "another run after the hash was handed over",
        of_another_run,
        "sha256",
        start="tiny",
        options=f"--manifest-sha256 {HANDED_OVER}",
    ),
    row(
        "a claim changed after the hash was handed over",
        sealed(lambda forger: forger.put("fingerprint.json", "processor", "a quantum computer")),
        "sha256",
        start="tiny",
        options=f"--manifest-sha256 {HANDED_OVER}",
    ),
]
