"""Rows of bad input: splits, as tables to check and as sizes on the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tests.bad_input.row import refusals_of, rows_of
from tests.bad_input.sandbox import Sandbox
from tests.special_files import link_to_a_device, named_pipe

row = rows_of("splits")

CHECK = "data check photos --split split.csv"
refused = refusals_of("splits", CHECK)
HEADING = "path,class,sha256,part"


def rows(box: Sandbox) -> list[list[str]]:
    """Make photographs and return the rows of a valid split: path, class, sha256 and part of each image."""
    root = box.photos()
    files = sorted(file for file in root.rglob("*.png"))
    parts = ["training"] * 5 + ["validation", "validation", "test", "test"]
    return [
        [file.relative_to(root).as_posix(), file.parent.name, hashlib.sha256(file.read_bytes()).hexdigest(), part]
        for file, part in zip(files, parts * 2, strict=True)
    ]


def table(change: Callable[[list[list[str]]], object], heading: str = HEADING) -> Callable[[Sandbox], object]:
    """Write a split table with one change."""

    def make(box: Sandbox) -> None:
        lines = rows(box)
        change(lines)
        box.write("split.csv", "\n".join([heading, *map(",".join, lines)]) + "\n")

    return make


def cell(row_number: int, column: int, value: str) -> Callable[[Sandbox], object]:
    def change(lines: list[list[str]]) -> None:
        lines[row_number][column] = value

    return table(change)


def text(content: str | bytes) -> Callable[[Sandbox], object]:
    """Write photographs, and `content` as the split file."""

    def make(box: Sandbox) -> None:
        box.photos()
        box.write("split.csv", content)

    return make


def swapped_classes(lines: list[list[str]]) -> None:
    for line in lines:
        line[1] = {"cat": "dog", "dog": "cat"}[line[1]]


def fifo(box: Sandbox) -> None:
    box.photos()
    named_pipe(box.work / "split.csv")


def device(box: Sandbox) -> None:
    box.photos()
    link_to_a_device(box.work / "split.csv")


def folder(box: Sandbox) -> None:
    box.photos()
    (box.work / "split.csv").mkdir()


def sizes(text_of_sizes: str) -> str:
    return f"train --preset tiny --split '{text_of_sizes}'"


ROWS = [
    refused("the split is not there", "split.csv", make=lambda box: box.photos()),
    refused("the split is empty", "split.csv", make=text("")),
    refused("the split is a heading alone", "split.csv", make=text(f"{HEADING}\n")),
    refused("the split is JSON", "split.csv", make=text('{"path": 1}')),
    refused("the split is not UTF-8", "split.csv", make=text(b"path,class\n\xff\xfe")),
    refused("the split has a byte 0", "split.csv", make=cell(0, 0, "cat/\0.png")),
    refused("the split is a folder", "split.csv", make=folder),
    refused("the split is a FIFO", "split.csv", make=fifo),
    refused("the split is a link to a device", "split.csv", make=device),
    refused("the split has other columns", "split.csv", "path,class,sha256,part",
        make=table(len, "path,label,sha256,part")),
    refused("the split lacks a column", "split.csv",
        make=table(lambda lines: [line.pop() for line in lines], "path,class,sha256")),
    refused("a row of the split is short", "split.csv", make=table(lambda lines: lines[3].pop())),
    refused("a row of the split is long", "split.csv", make=table(lambda lines: lines[3].append("more"))),
    refused("the split has a quotation mark without end", "split.csv", make=cell(4, 0, '"cat/4.png')),
    refused("a field of the split is 200,000 characters long", "split.csv", make=cell(4, 0, "x" * 200_000)),
    refused("the split names an unknown part", "split.csv", "training", make=cell(2, 3, "train")),
    refused("the split names an absolute path", "split.csv", "/etc/passwd", make=cell(0, 0, "/etc/passwd")),
    refused("the split names a path that leads out", "split.csv", "..", make=cell(0, 0, "cat/../../victim/secret.png")),
    refused("the split names a path of another system", "split.csv", make=cell(0, 0, "..\\victim\\secret.png")),
    refused("the split names a drive", "split.csv", make=cell(0, 0, "C:/secret.png")),
    refused("a hash in the split is not a hash", "split.csv", "sha256", make=cell(0, 2, "abc")),
    refused("a class in the split is empty", "split.csv", make=cell(0, 1, "")),
    row("a path is in two parts", CHECK, 1, "cat/0.png", "training", "test",
        make=table(lambda lines: lines.append([*lines[0][:3], "test"]))),
    row("a path is in a part twice", CHECK, 1, "cat/0.png", make=table(lambda lines: lines.append(lines[0]))),
    row("the classes of a split are swapped", CHECK, 1, "cat/0.png", "dog", make=table(swapped_classes)),
    row("an image has other bytes than in the split", CHECK, 1, "cat/0.png has other bytes", make=cell(0, 2, "0" * 64)),
    row("an image of the split is missing", CHECK, 1, "cat/x.png is in the split", make=cell(0, 0, "cat/x.png")),
    row("an image is in no part", CHECK, 1, "cat/0.png is in the folder", make=table(lambda lines: lines.pop(0))),
    row("sizes are words", sizes("a/b/c"), 2, "a/b/c", "48 images"),
    row("there are two sizes", sizes("24/24"), 2, "24/24", "three"),
    row("a size is 0", sizes("24/24/0"), 2, "24/24/0", "positive"),
    row("a size is negative", sizes("36/24/-12"), 2, "36/24/-12"),
    row("a size is not a number", sizes("nan/24/12"), 2, "nan/24/12"),
    row("a size is infinite", sizes("inf/24/12"), 2, "inf/24/12"),
    row("a size is beyond every float", sizes("1e999/24/12"), 2, "1e999/24/12"),
    row("sizes do not add up to the images", sizes("24/12/13"), 2, "49", "48 images"),
    row("shares do not add up to 1", sizes("0.5/0.3/0.3"), 2, "1.1", "instead of 1"),
    row("a share is too small for every class", sizes("0.9/0.05/0.05"), 2, "enlarge"),
]  # fmt: skip
