"""A made-up result in every file format that `audit` reads, and texts in many printing habits."""

from __future__ import annotations

import json

from tests.audit import habits

CLASSES = {"buildings": (12, 17), "forest": (30, 31), "glacier": (21, 28), "sea": (9, 20)}
HABITS = tuple(habits.HABITS)


def _rows() -> list[tuple[str, int, int, str]]:
    return [(name, good, all_, f"{good / all_:.4f}") for name, (good, all_) in CLASSES.items()]


def _markdown() -> str:
    lines = [f"| {name} | {good} | {images} | {accuracy} |" for name, good, images, accuracy in _rows()]
    return "\n".join(["# Results", "", "| class | correct | images | accuracy |", "|---|---|---|---|", *lines, ""])


def _csv() -> str:
    return "\n".join(["class,correct,images,accuracy", *(",".join(map(str, row)) for row in _rows()), ""])


def _json() -> str:
    return json.dumps({"classes": {name: {"accuracy": float(a), "support": n} for name, _, n, a in _rows()}}, indent=1)


def _toml() -> str:
    accuracies = ", ".join(f'{name} = "{accuracy}"' for name, _, _, accuracy in _rows())
    sizes = ", ".join(f"{name} = {images}" for name, _, images, _ in _rows())
    return f'[[table]]\nname = "test"\naccuracy = {{ {accuracies} }}\nsizes = {{ {sizes} }}\n'


def _latex() -> str:
    lines = [f"{name} & {good} & {images} & {accuracy} \\\\" for name, good, images, accuracy in _rows()]
    head = "\\begin{tabular}{lrrr}\nclass & correct & images & accuracy \\\\ \\hline"
    return "\n".join([head, *lines, "\\end{tabular}", ""])


def _html() -> str:
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in _rows())
    head = "<html><body><table><tr><th>class</th><th>correct</th><th>images</th><th>accuracy</th></tr>"
    return "\n".join([head, *(f"<tr>{each}</tr>" for each in cells), "</table></body></html>", ""])


FORMATS = {"md": _markdown, "csv": _csv, "json": _json, "toml": _toml, "tex": _latex, "html": _html}
ENDINGS = ("txt", *FORMATS)


def print_result(ending: str, number: int) -> bytes:
    """Return a consistent report in the format of a file suffix; `number` selects the printing style of text."""
    if ending == "txt":
        return habits.report(HABITS[number % len(HABITS)], number).text.encode()
    return FORMATS[ending]().encode()
