"""Causes planted in trainings that nobody here wrote, recorded without changing a line, and what `diff` says of each.

    python -m benchmarks.foreign_causes [--sources FOLDER] [--only REGEX]

writes docs/causes.json and the table of docs/caught.md. foreign_causes.toml lists code bases, what is planted, and what
is right, written before the first recording. Code bases are cloned, or taken from folders in --sources; they need the
extra `frameworks`. With --only, rows whose base and plant match are run and printed, and nothing is written.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from tests.docs.marks import replaced

from benchmarks.foreign_data import MAKERS
from in4310repro.cli.application import invoke

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".toml")
JSON, PAGE = ROOT / "docs" / "causes.json", ROOT / "docs" / "caught.md"
LIMIT = 120  # seconds of a recording
EVIDENCE = {"arguments": "args", "source": "edit", "variables": "env"}  # code -> what of a row makes it true
VERDICTS = ("equal", "alone", "first", "one of several", "missed", "false", "not seen", "failed")  # best first
FIGURES = ("planted", "first place right", *VERDICTS, "honest", "accused", "words: median", "words: most")
PARTS = ("all", "shown", "held back")
SHOWN = 90  # characters of a cell on the page
COMMAND = (sys.executable, "-m", "in4310repro")
Row = dict[str, Any]


def one_more(file: Path, place: int) -> None:
    """Add one to a byte of a file."""
    content = bytearray(file.read_bytes())
    content[place] = (content[place] + 1) % 256
    file.write_bytes(content)


def other_word(file: Path, place: int) -> None:
    """Replace the next word after a place of a text by another one of its words."""
    text = file.read_text(encoding="utf-8")
    found = re.compile(r"word\d+").search(text, place)
    assert found, f"{file} has no word after {place}"
    file.write_text(text[: found.start()] + ("word7" if found[0] != "word7" else "word8") + text[found.end() :])


def other_image(file: Path, _: int) -> None:
    """Turn an image around."""
    Image.open(file).rotate(180).save(file)


DATA: dict[str, Callable[[Path, int], None]] = {each.__name__: each for each in (one_more, other_word, other_image)}


def is_recorded(path: Path) -> bool:
    """Return whether one process has written `path`, or several `path.0`, `path.1`, ..."""
    return path.exists() or Path(f"{path}.0").exists()


class Verdict(NamedTuple):
    base: str
    planted: str
    where: str  # phase, step and tensor; "equal"
    cause: str  # what is printed as the cause
    codes: list[str]
    words: int
    first_place: bool
    verdict: str
    developed: bool  # whether the row was shown while `diff` was written


def sources(folder: Path | None, base: Row, work: Path) -> Path:
    """Return a folder with the code base: in the given one, or a clone of its default branch."""
    name = str(base["source"]).rpartition("/")[2]
    if folder:
        return folder / name
    target = work / "sources" / name
    if not target.exists():
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", base["source"], str(target)], check=True)
    return target


def edits(script: str, listed: list[Any]) -> Iterable[tuple[str, str, str]]:
    """Yield file, old and new text of each edit, of which one or several are listed."""
    for edit in [listed] if listed and isinstance(listed[0], str) else listed:
        yield tuple(edit) if len(edit) == 3 else (script, *edit)


class Tree:
    """A fresh copy of a base with its data, always at the same path."""

    def __init__(self, base: Row, source: Path, work: Path) -> None:
        self.base, self.pristine, self.path = base, work / "pristine" / base["name"], work / "tree"
        words = base["command"].split()
        self.script = words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0]
        target = self.pristine if base["folder"] == "." else self.pristine / base["folder"]
        shutil.rmtree(self.pristine, ignore_errors=True)
        shutil.copytree(source / base["folder"], target, ignore=shutil.ignore_patterns(".git"))
        if data := base.get("data"):
            MAKERS[data[0]](self.pristine / base["at"] / data[1])
        self._edit(self.pristine / base["at"], base.get("edits", []))

    def _edit(self, folder: Path, listed: list[Any]) -> None:
        for name, old, new in edits(self.script, listed):
            text = (folder / name).read_text(encoding="utf-8")
            assert old in text, f"{self.base['name']}: {name} has no {old!r}"
            (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    def record(self, out: Path, row: Row, planted: bool) -> None:
        """Record the base, with what a row plants if `planted`; raise RuntimeError if its command fails."""
        folder = self.path / self.base["at"]
        if not (planted and row.get("resumed")):
            shutil.rmtree(self.path, ignore_errors=True)
            shutil.copytree(self.pristine, self.path)
        self._edit(folder, row.get("with", []))
        command, environment = shlex.split(self.base["command"]), {**os.environ, **self.base.get("env", {})}
        if planted:
            self._edit(folder, row.get("edit", []))
            self._edit(folder, row.get("inert", []))
            if data := row.get("data"):
                DATA[data[1]](folder / data[0], data[2])
            command += shlex.split(row.get("args", ""))
            environment |= row.get("env", {})
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(self.base.get("processes", 1))]
        start = [sys.executable, *launcher, *COMMAND[1:]] if "processes" in self.base else COMMAND
        words = [*start, "record", str(out), "--steps", str(self.base["steps"]), "--", *command]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT)
        if done.returncode or not is_recorded(out):
            raise RuntimeError(f"{shlex.join(words)}: exit code {done.returncode}: {done.stderr[-1500:]}")


def judge(row: Row, said: dict[str, Any]) -> str:
    """Return the verdict on the causes that `diff` prints, by what the row says is right.

    Evidence (lines, arguments and variables that differ) is true where the row has it, and names only what the row says
    that it may name.
    """
    right, also = (row.get(name, "").split() for name in ("right", "also"))
    if said["equal"]:
        return "equal" if "equal" in right else "not seen"
    several = "one of" in said["text"]
    evidence = {code for code, name in EVIDENCE.items() if name in row} - {*right}
    causes = [each for each in said["causes"] if each["code"] not in evidence]
    printed = causes if several else causes[:1]
    true = [each["code"] in {*right, *also} for each in printed]
    contradicted = "never" in row and re.search(row["never"], said["text"], re.DOTALL)
    if row["right"] == "equal" or contradicted or (printed and not any(true)):
        return "false"
    named = [each["code"] in right and bool(re.search(row.get("says", ""), each["text"])) for each in printed]
    if True not in named:
        return "missed"
    return "one of several" if not named[0] else "first" if several else "alone"


def examine(row: Row, one: Path, other: Path) -> Verdict:
    """Return what `diff` says of two recordings, beside what is right."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = invoke(["diff", str(one), str(other), "--json"])
    said = json.loads(printed.getvalue())
    if code not in (0, 1):
        raise RuntimeError(f"diff {one} {other}: exit code {code}")
    where = said["where"]
    place = f"{where['phase']} {where['step']} {where['tensor']}" if where else "equal"
    images = [each["index"] for each in where["images"]] if where else []
    first = bool(re.match(row["first"], place)) if where else "equal" in row["right"].split()
    return Verdict(
        row["on"],
        row["plant"],
        place,
        said["text"].partition("\nWHERE")[0].removeprefix("CAUSE").strip(),
        [each["code"] for each in said["causes"]],
        len(said["text"].split()),
        first and row.get("images", images) == images,
        judge(row, said),
        not held_back(row),
    )


def key(row: Row) -> str:
    """Return what stands for a row: hexadecimal digits of a hash of its base and of what is planted."""
    return hashlib.sha256(f"{row['on']}: {row['plant']}".encode()).hexdigest()


def held_back(row: Row) -> bool:
    """Return whether a row is of the half, drawn by a hash, that was not shown while `diff` was written."""
    return bool(int(key(row)[:2], 16) % 2)


def verdicts(base: Row, rows: list[Row], source: Path, work: Path) -> Iterable[Verdict]:
    """Yield the verdict on each row of a base, beginning with its honest repetition."""
    tree = Tree(base, source, work)
    for row in [{"on": base["name"], "plant": "nothing: repeated", "right": "equal"}, *rows]:
        own = row if "with" in row or "resumed" in row else {"on": base["name"], "plant": "as it is"}
        try:
            one, other = work / f"{key(own)}.one", work / f"{key(row)}.other"
            if not (is_recorded(one) and is_recorded(other)):
                if own is row or not is_recorded(one):
                    tree.record(one, own, planted=False)
                tree.record(other, row, planted=True)
            verdict = examine(row, one, other)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            sys.stderr.write(f"{error}\n")
            verdict = Verdict(row["on"], row["plant"], "", "", [], 0, False, "failed", not held_back(row))
        sys.stderr.write(f"{' | '.join(map(str, verdict))}\n")
        yield verdict


def figures(found: list[Verdict]) -> dict[str, int]:
    """Return the numbers that the page shows of some verdicts."""
    honest = [each for each in found if each.planted.startswith("nothing")]
    planted = [each for each in found if each not in honest]
    counts = Counter(each.verdict for each in planted)
    words = sorted(each.words for each in planted) or [0]
    numbers = (
        len(planted),
        sum(each.first_place for each in planted),
        *(counts[each] for each in VERDICTS),
        len(honest),
        sum(each.verdict != "equal" for each in honest),
        words[len(words) // 2],
        words[-1],
    )
    return dict(zip(FIGURES, numbers, strict=True))


def markdown(document: dict[str, Any]) -> str:
    """Return the page's tables: counts, and the rows of which nothing right or something false is printed."""
    lines = [
        f"| | {' | '.join(FIGURES)} |",
        f"| --- {'| --- ' * len(FIGURES)}|",
        *(f"| {part} | {' | '.join(str(document[part][name]) for name in FIGURES)} |" for part in PARTS),
        "",
        "| script | planted | verdict |",
        "| --- | --- | --- |",
    ]
    for row in sorted(document["rows"], key=lambda each: VERDICTS.index(each["verdict"]), reverse=True):
        if VERDICTS.index(row["verdict"]) >= VERDICTS.index("missed"):
            cells = (row["base"], row["planted"], row["verdict"])
            shown = (textwrap.shorten(cell, SHOWN, placeholder=" ...") for cell in cells)
            lines.append(f"| {' | '.join(cell.replace('|', '/').replace('<', '&lt;') for cell in shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the rows; exit with 1 if a statement is false, an honest repetition is accused or a recording fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--half", choices=("shown", "held"))
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    found: list[Verdict] = []
    with tempfile.TemporaryDirectory() as folder:
        work = (options.work or Path(folder)).resolve()
        for base in table["base"]:
            rows = [row for row in table["rows"] if row["on"] == base["name"]]
            rows = [row for row in rows if re.search(options.only, f"{row['on']}: {row['plant']}")]
            if options.half:
                rows = [row for row in rows if held_back(row) == (options.half == "held")]
            if rows:
                found += verdicts(base, rows, sources(options.sources, base, work), work)
    document = {
        "torch": torch.__version__,
        "all": figures(found),
        "shown": figures([each for each in found if each.developed]),
        "held back": figures([each for each in found if not each.developed]),
        "rows": [each._asdict() for each in found],
    }
    sys.stdout.write(json.dumps({key: value for key, value in document.items() if key != "rows"}, indent=1) + "\n")
    if not (options.only or options.half):
        JSON.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(
            replaced(PAGE.read_text(encoding="utf-8"), "foreign-causes", markdown(document)), encoding="utf-8"
        )
    sys.exit(any(each.verdict in ("false", "failed", "not seen") for each in found))


if __name__ == "__main__":
    main()
