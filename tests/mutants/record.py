"""docs/caught/mutants.csv: a line for each module or kernel that was tried, which tests.docs.caught sums up."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from tests.mutants.changes import list_keys
from tests.mutants.tasks import PACKAGE, ROOT, Outcome

FILE, REASONS = ROOT / "docs/caught/mutants.csv", Path(__file__).with_name("equivalent.toml")
REQUIRED, EQUIVALENT = 0.95, 0.02
LINES, MANY, FEW = 100, 20, 8  # a module with less lines is tried with fewer changes


@dataclass(frozen=True)
class Row:
    """What became of the changes of a module; `commit` drew them."""

    module: str
    possible: int
    drawn: int
    killed_at_first: int
    killed: int
    equivalent: int
    seconds: float
    commit: str

    @property
    def share(self) -> float:
        return self.killed / (self.drawn - self.equivalent) if self.drawn > self.equivalent else 1.0


@dataclass(frozen=True)
class Reason:
    """A change that no test can notice, identified by module, function and line, with the reason why."""

    module: str
    function: str
    before: str
    after: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Key that identifies the change, as in `Outcome.key`."""
        return self.module, self.function, self.before, self.after


def usual_number(file: str) -> int:
    """Return how many changes of a module are tried, unless a call says so."""
    return FEW if len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) < LINES else MANY


def read_reasons(file: Path = REASONS) -> list[Reason]:
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("equivalent", []) if file.exists() else []
    names = {field.name for field in fields(Reason)}
    for entry in entries:
        if set(entry) != names or len(str(entry["reason"]).split()) < 3:
            raise ValueError(f"{file.name}: {entry} must have {', '.join(sorted(names))}, and a reason in words")
    return [Reason(**entry) for entry in entries]


def find_stale_reasons(reasons: Iterable[Reason], killed: set[tuple[str, str, str, str]]) -> Iterator[str]:
    """Yield a sentence for each reason whose change no longer exists or is killed."""
    possible: dict[str, set[tuple[str, str, str]]] = {}
    for reason in reasons:
        module = PACKAGE / reason.module
        if reason.module not in possible:
            text = module.read_text(encoding="utf-8") if module.exists() else ""
            possible[reason.module] = list_keys(text)
        why = "there is no such change" if reason.key[1:] not in possible[reason.module] else ""
        if why or reason.key in killed:
            why = why or "a test kills it"
            yield f"{reason.module}, {reason.function}: a reason is given for `{reason.after}`, and {why}"


def read_rows(file: Path = FILE) -> dict[str, Row]:
    if not file.exists():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["module"]: _row(row) for row in csv.DictReader(lines)}


def _row(row: dict[str, str]) -> Row:
    possible, drawn, first, killed, equivalent = (
        int(row[name]) for name in ("possible", "drawn", "killed_at_first", "killed", "equivalent")
    )
    return Row(row["module"], possible, drawn, first, killed, equivalent, float(row["seconds"]), row["commit"])


def write(rows: Iterable[Row]) -> None:
    """Write the rows of modules that there are, kernels last."""
    kept = [
        row
        for row in sorted(rows, key=lambda row: (row.module.endswith(".cpp"), row.module))
        if (PACKAGE / row.module).exists()
    ]
    with FILE.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        writer.writerows(astuple(row) for row in kept)


def summarise(
    module: str,
    possible: int,
    outcomes: Sequence[Outcome],
    reasons: set[tuple[str, str, str, str]],
    commit: str,
    old: Row | None,
) -> Row:
    """Return the row of a module's outcomes; if survivors were tried again, with those that are left."""
    killed = sum(bool(outcome.killer) for outcome in outcomes)
    equivalent = sum(not outcome.killer and outcome.key in reasons for outcome in outcomes)
    seconds = round(sum(outcome.seconds for outcome in outcomes), 1)
    if old is None:
        return Row(module, possible, len(outcomes), killed, killed, equivalent, seconds, commit)
    left = min(len(outcomes) - killed, old.drawn - old.killed)
    return replace(
        old, killed=old.drawn - left, equivalent=min(equivalent, left), seconds=round(old.seconds + seconds, 1)
    )


def find_weak(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a sentence for each module, and for all of them, where too few changes are killed."""
    for row in rows:
        if row.share < REQUIRED and row.killed + row.equivalent < row.drawn - 1:
            yield f"{row.module}: {row.share:.1%} of {row.drawn} changes are killed, not {REQUIRED:.0%}"
