"""docs/mutants.md, written from docs/mutants.json, which has an entry for each module or kernel tried."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.mutants.survey import Row
from tests.mutants.table import Reason

DOCS = Path(__file__).parents[2] / "docs"
REQUIRED = 0.95
INTRODUCTION = """# Mutants

Can the tests fail? One thing at a time is changed in the modules that numbers come from, and the tests of that
module are run on it. A change that they do not notice survives. `nox -s evidence -- mutants` writes this page;
`-- mutants features`, `-- mutants head.py --sample 0` and the like renew a part of it. It ends with exit code 1 where
fewer than 95 % of the changes of a part of the package are killed, where tests fail on the unchanged module, or where a
reason is given for a change that there is no longer.

A change is one of the syntax tree: another comparison, constant or operator, a branch always or never taken, `None`
returned, a call or a `raise` left out. Texts, types, decorators, `strict=` of `zip` and the words of errors are left as
they are. Of each module so many changes are tried as the table says, drawn by the seed. Killed means that a test fails,
that Python ends, or that the tests run more than four times as long as on the unchanged module, which has to pass
first.
The shares are of the changes that were tried, in the {count} modules of the second table. They say nothing of modules
that it does not name, which are most of the package, nothing of what was changed in a module after it was tried, and,
where few of many possible changes were drawn, little of a module. Tests were added for survivors and the changes tried
again, so that a share is what was reached, and no estimate for changes that were never drawn.
Equivalent are survivors with a reason in `tests/mutants/equivalent.toml`; they do not count in the share.

Two tools that exist were tried on `data/splits.py` (175 changes here) and `metrics/measurement.py` (106): mutmut 3.8.1
makes 74 and 54 of these changes, cosmic-ray 8.7.0 makes 89 and 79, and neither makes 79 and 25 of them, which take a
branch always or never, return `None`, or leave out a call or a `raise`. mutmut is the quickest (0.3 s of processor time
a change, here 3 s), but calls pytest several times in one process, so that it only runs without `--jaxtyping-packages`,
the checks of shapes; cosmic-ray starts pytest for each change (8.4 s for one of `data/splits.py`).
"""
KERNELS = """Faults written by hand (`tests/mutants/kernels.py`): each is compiled in a copy of the project, and the
tests of its kernel are run, which pass on kernels without a fault that were compiled in the same way.
"""

Entry = dict[str, Any]


def entries(rows: Sequence[Row], sample: int, seed: int) -> dict[str, Entry]:
    return {
        row.module.file: {
            "room": row.module.room,
            "sites": row.sites,
            "tried": row.tried,
            "killed": row.tried - len(row.survivors),
            "sample": sample,
            "seed": seed,
            "survivors": [
                {"line": c.line, "function": c.function, "before": c.before, "after": c.after} for c in row.survivors
            ],
        }
        for row in rows
    }


def count_equivalent(file: str, entry: Entry, known: Sequence[Reason]) -> int:
    """Count the survivors of a module (changes that no test noticed) that have a listed reason."""
    return sum(_reason(file, survivor, known) is not None for survivor in entry["survivors"])


def _percent(killed: int, tried: int, same: int) -> str:
    return f"{share(killed, tried, same):.1%}" if tried > same else "-"


def share(killed: int, tried: int, same: int) -> float:
    """Return the share of changes that tests notice, without equivalent changes; 1 if all are equivalent."""
    return killed / (tried - same) if tried > same else 1.0


def find_weak_parts(content: dict[str, Entry], known: Sequence[Reason]) -> list[str]:
    """Return the subpackages in which tests detect too small a fraction of the mutations."""
    return [room for room, _, tried, killed, same in _rooms(content, known) if share(killed, tried, same) < REQUIRED]


def table(content: dict[str, Entry], known: Sequence[Reason]) -> str:
    """Return two Markdown tables of mutations: one by subpackage and one by module."""
    return "\n".join([*_rows("part", _rooms(content, known)), "", *_rows("module", _modules(content, known))])


def _rows(title: str, rows: Sequence[tuple[str, int, int, int, int]]) -> Iterator[str]:
    yield f"| {title} | changes possible | tried | killed | equivalent | share killed |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, sites, tried, killed, same in rows:
        yield f"| {name} | {sites} | {tried} | {killed} | {same} | {_percent(killed, tried, same)} |"


def _modules(content: dict[str, Entry], known: Sequence[Reason]) -> list[tuple[str, int, int, int, int]]:
    return [
        (f"`{file}`", e["sites"], e["tried"], e["killed"], count_equivalent(file, e, known))
        for file, e in content.items()
    ]


def _rooms(content: dict[str, Entry], known: Sequence[Reason]) -> list[tuple[str, int, int, int, int]]:
    rows = []
    for room in dict.fromkeys(entry["room"] for entry in content.values()):
        mine = {file: entry for file, entry in content.items() if entry["room"] == room}
        sums = [sum(entry[key] for entry in mine.values()) for key in ("sites", "tried", "killed")]
        rows.append((room, *sums, sum(count_equivalent(file, entry, known) for file, entry in mine.items())))
    return rows


def survivors(content: dict[str, Entry], known: Sequence[Reason]) -> str:
    """Return the table of survivors with their reasons."""
    lines = ["| module | function | without | with | why no test can tell |", "|---|---|---|---|---|"]
    for file, entry in content.items():
        for each in entry["survivors"]:
            reason = _reason(file, each, known) or "**none is known: a test is missing**"
            before, after = _difference(each["before"], each["after"])
            lines.append(f"| `{file}` | `{each['function']}` | {_code(before)} | {_code(after)} | {reason} |")
    return "\n".join(lines)


def _reason(file: str, survivor: dict[str, Any], known: Sequence[Reason]) -> str | None:
    key = (survivor["function"], survivor["before"], survivor["after"])
    return next((reason.reason for reason in known if reason.module == file and reason.key == key), None)


def _difference(before: str, after: str, around: int = 30) -> tuple[str, str]:
    """Cut two lines to the text in which they differ, with some context on both sides."""
    shorter = min(len(before), len(after))
    start = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    end = next((i for i in range(shorter - start) if before[-1 - i] != after[-1 - i]), shorter - start)
    return _cut(before, start - around, len(before) - end + around), _cut(
        after, start - around, len(after) - end + around
    )


def _cut(text: str, start: int, end: int) -> str:
    start = max(start, 0)
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def _code(text: str) -> str:
    marks = "``" if "`" in text else "`"
    return f"{marks}{text}{marks}".replace("|", "\\|")


def update(
    new: dict[str, Entry], faults: Sequence[dict[str, Any]], known: Sequence[Reason], order: Sequence[str]
) -> None:
    """Write the page and its JSON file; new entries replace older ones."""
    file = DOCS / "mutants.json"
    content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"modules": {}, "kernels": []}
    merged = content["modules"] | new
    content["modules"] = {name: merged[name] for name in order if name in merged}
    content["kernels"] = list(faults) or content["kernels"]
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (DOCS / "mutants.md").write_text(page(content, known), encoding="utf-8")


def page(content: dict[str, Any], known: Sequence[Reason]) -> str:
    modules = content["modules"]
    drawn = sorted({(entry["sample"], entry["seed"]) for entry in modules.values()})
    said = "; ".join(f"{sample or 'all'} changes of a module by seed {seed}" for sample, seed in drawn)
    parts = [INTRODUCTION.format(count=len(modules)), f"Drawn: {said}.\n", f"{table(modules, known)}\n"]
    parts += ["## Survivors\n", f"{survivors(modules, known)}\n"]
    parts += ["## Faulty kernels\n", KERNELS, f"{faults_table(content['kernels'])}\n"]
    return "\n".join(parts)


def faults_table(faults: Sequence[dict[str, Any]]) -> str:
    rows = [f"| `{each['source']}` | {each['fault']} | {each['ending']} |" for each in faults]
    return "\n".join(["| source | fault | the tests |", "|---|---|---|", *rows])
