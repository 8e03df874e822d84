"""Tables of what the tests catch, in docs/caught/*.csv, and the page that shows their most telling rows.

Tests and `nox -s evidence` write tables; `python -m tests.docs.caught` renews docs/caught.md from all of them.
"""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.docs.marks import replaced

PAGE = Path(__file__).parents[2] / "docs" / "caught.md"
FOLDER = PAGE.with_suffix("")
SHOWN = 72  # characters of a cell on the page
# Columns that the page leaves to the files.
LEFT_OUT = {"group", "number", "unchanged afterwards", "what the check holds"}
SHARES = ("subpackage or module", "drawn", "killed at first")
Rows = list[dict[str, str]]

# The rows that the page shows of each table: the column that names a row, and ten names.
TELLING: dict[str, tuple[str, tuple[str, ...]]] = {
    "bad-input": (
        "bad input",
        (
            "an image is a FIFO",
            "a file name turns the terminal's text around",
            "two files differ by Unicode normalisation",
            "a class has two images",
            "sizes do not add up to the images",
            "a setting's name leads out of the run",
            "a pickle holds code",
            "images are larger than memory",
            "the scores unpack to much more than they are",
            "the disk is full as a training begins",
        ),
    ),
    "forgeries": (
        "forgery",
        (
            "the last bit of a mean",
            "every prediction right, the metrics fit",
            "training and test swapped, everything computed anew",
            "a class with a letter that looks alike, everywhere",
            "a quantile by one bin",
            "one bit of the body, everything computed anew",
            "learning rate",
            "a last layer fitted to the test images, everything computed anew",
            "one epoch spliced, the chain rewritten, not drawn",
            "the better of two runs, the other hidden",
        ),
    ),
    "mistakes": (
        "mistake",
        (
            "labels in the order of a directory listing",
            "no normalisation",
            "selection on test",
            "true negatives counted in class accuracy",
            "average precision from hard labels",
            "the scored loader is shuffled",
            "an array compared with itself",
            "next(iter(loader)) in a loop: the first batch again",
            "covariance over the wrong axis",
            "n - 1 instead of n",
        ),
    ),
    "causes": (
        "planted",
        (
            "a generator of a worker process has no seed",
            "files in the order of the file system",
            "index_add_ by threads in no order",
            "a learning rate from the clock",
            "a seed from the process number",
            "the order of a set",
            "images split among workers",
            "weights drawn before any seed",
            "a sum on one thread and on two",
            "a matrix product by other vector instructions",
        ),
    ),
}


def file_of(name: str) -> Path:
    return FOLDER / f"{name}.csv"


def text_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV, with unprintable characters escaped."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([printable(str(value)) for value in row] for row in rows)
    return text.getvalue()


def printable(text: str) -> str:
    """Return a text with unprintable characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def write(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table and renew the page."""
    FOLDER.mkdir(exist_ok=True)
    file_of(name).write_text(text_of(columns, rows), encoding="utf-8")
    update()


def read(name: str) -> Rows:
    with file_of(name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def markdown(rows: Rows) -> str:
    """Return rows as a Markdown table, with long cells truncated."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([_cell(each) for each in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(text: str) -> str:
    return textwrap.shorten(text, SHOWN, placeholder=" ...").replace("|", "\\|").replace("<", "&lt;")


def telling(name: str) -> str:
    """Return a table's most telling rows in the order of `TELLING`."""
    column, names = TELLING[name]
    rows = {row[column]: row for row in reversed(read(name))}
    shown = [{key: _shown(key, cell) for key, cell in rows[each].items() if key not in LEFT_OUT} for each in names]
    return markdown(shown)


def _shown(column: str, cell: str) -> str:
    """Return a command by its name, a file without its run, and a cause without the line that it is at."""
    if column == "command":
        return f"`{cell.partition(' ')[0]}`"
    return re.sub(r"^[\w' ]+: | \(.*", "", cell) if column == "explain" else cell.removeprefix("runs/tiny/")


def renew(page: str) -> str:
    """Return the page with counts and rows of the tables that there are now."""
    for name in TELLING:
        page = replaced(page, name, f"{summary(name)}\n\n{telling(name)}")
    return replaced(page, "mutants", mutants())


def summary(name: str) -> str:
    """Return a sentence with a table's counts, and a link to the file."""
    rows, link = read(name), f"[all rows](caught/{name}.csv)"
    if name == "bad-input":
        codes = Counter(row["exit code"] for row in rows)
        listed = ", ".join(f"{number} with {code}" for code, number in codes.most_common())
        return f"{len(rows)} calls by their exit codes: {listed} ({link}):"
    if name == "forgeries":
        by = Counter(row["caught by"] for row in rows)
        return (
            f"{len(rows)} forgeries: {by['verify']} are caught by `verify`, {by['verify --replay']} by "
            f"`verify --replay`, {by['nothing']} by nothing ({link}):"
        )
    if name == "causes":
        honest = read("honest")
        accused = sum(row["explain"] != "no cause" or row["diff"] != "equal" for row in honest)
        named = sum(row["explain"] != "not named" for row in rows)
        return (
            f"{named} of {len(rows)} planted causes are named ({link}), and {accused} of {len(honest)} "
            "[honest trainings](caught/honest.csv) accused:"
        )
    return f"{len(rows)} faulty twins of {len({row['number'] for row in rows})} mistakes ({link}):"


def mutants() -> str:
    """Return the sums over all modules, and the ten subpackages of whose changes the fewest are killed at first."""
    rows = read("mutants")
    modules = [row for row in rows if not row["module"].endswith(".cpp")]
    kernels = [row for row in rows if row["module"].endswith(".cpp")]
    rooms: dict[str, Rows] = {}
    for row in modules:
        rooms.setdefault(row["module"].partition("/")[0], []).append(row)
    sums = [_sum(room, group) for room, group in rooms.items()]
    lines = sorted(sums, key=lambda each: float(each["killed at first"].rstrip(" %")))[:10]
    killed, drawn = (sum(int(row[name]) for row in kernels) for name in ("killed", "drawn"))
    whole = _sum("all", modules)
    return (
        f"Of {int(whole['possible']):,} possible changes in {whole['modules']} modules, {int(whole['drawn']):,} were "
        f"tried ([all modules](caught/mutants.csv)). Without {whole['equivalent']} equivalent ones, "
        f"{whole['killed at first']} were killed at first, {whole['in the end']} in the end. Of {drawn} faults of the "
        f"compiled kernels, written by hand (`tests/mutants/kernels.py`), {killed} are killed.\n\n"
        f"{markdown([{key: each[key] for key in SHARES} for each in lines])}"
    )


def _sum(name: str, rows: Rows) -> dict[str, str]:
    possible, drawn, first, killed, equivalent = (
        sum(int(row[field]) for row in rows)
        for field in ("possible", "drawn", "killed_at_first", "killed", "equivalent")
    )
    at_first, at_last = (f"{number / max(drawn - equivalent, 1):.1%}".replace("%", " %") for number in (first, killed))
    return {
        "subpackage or module": f"`{name}`",
        "modules": f"{len(rows)}",
        "possible": f"{possible}",
        "drawn": f"{drawn}",
        "killed at first": at_first,
        "in the end": at_last,
        "equivalent": f"{equivalent}",
    }


def update() -> None:
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    update()
