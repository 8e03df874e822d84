"""Rows of bad input: `export`, and bundles that are given to `verify`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

from tests.bad_input.row import each_of, rows_of
from tests.bad_input.sandbox import Sandbox

row = rows_of("exports")


def run(box: Sandbox) -> None:
    box.run()


def changed_run(box: Sandbox) -> None:
    box.run()
    box.write("runs/tiny/split.csv", "path,class,sha256,part\n")


def zipped(name: str) -> Callable[[Sandbox], object]:
    """Make a zip file with one entry, as another program writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "{}")
    return file("b.zip", buffer.getvalue())


def file(name: str, content: str | bytes) -> Callable[[Sandbox], object]:
    return lambda box: box.write(name, content)


ROWS = [
    row("the format is unknown", "export runs/tiny --as zip --out e", 2, "'zip'", "in-toto", make=run),
    row("a crate has no date", "export runs/tiny --as ro-crate --out e", 2, "--date YYYY-MM-DD", make=run),
    row("the date is none", "export runs/tiny --as croissant --out e --date 28.11", 2, "28.11", make=run),
    row("the report is none", "export runs/tiny --as onnx --report r --out e", 2, "r holds no report", make=run),
    row("the folder is a file", "export runs/tiny --as in-toto --out e", 2, "e is a file",
        make=each_of(run, file("e", "mine"))),
    row("another file is in the way", "export runs/tiny --as in-toto --out e", 2, "statement.json",
        make=each_of(run, file("e/statement.json", "mine"))),
    row("the run was changed", "export runs/tiny --as bundle --out e", 2, "split.csv", make=changed_run),
    row("the verification is of no run", "export runs/tiny --as in-toto --out e --verification v.json", 2, "v.json",
        make=each_of(run, file("v.json", "[]"))),
    row("the bundle is not a zip file", "verify b.zip", 2, "b.zip", "bundle", make=file("b.zip", "mine")),
    row("the bundle is cut off", "verify b.zip", 2, "b.zip", make=file("b.zip", b"PK\x03\x04" + bytes(40))),
    row("the bundle is another program's", "verify b.zip", 2, "b.zip", "run/config.json",
        make=zipped("run/config.json")),
    row("a name in the bundle leads out", "verify b.zip", 2, "b.zip", "../x", make=zipped("../x")),
]  # fmt: skip
