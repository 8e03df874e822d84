"""The audit says of several hundred documents what it said: `python -m tests.audit.test_verdicts` writes it anew.

A line of verdicts.txt has the hash of a document, its exit code, its findings of each rank, and a hash of all that is
printed of it as text, as a page and as JSON. What is true is held by other tests; this one finds what moved.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from in4310repro.audit import html, output
from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Audit, Rank
from tests.audit.habits import HABITS
from tests.audit.planted import KINDS
from tests.audit.validation import examined, with_error

FOLDER = Path(__file__).parent
RECORD = FOLDER / "verdicts.txt"
FOLDERS = ("printed", "documents", "wild")
RANKS = list(Rank)


def names() -> Iterator[str]:
    """Yield the name of each document: a file in its folder, or a printing style with an error planted in it."""
    for folder in FOLDERS:
        files = sorted(file.name for file in (FOLDER / folder).iterdir())
        yield from (f"{folder}/{file}" for file in files if not file.endswith((".read", "manifest.json")))
    for number, habit in enumerate(HABITS):
        kind = list(KINDS)[number % len(KINDS)]
        if with_error(habit, 0, kind) is not None:
            yield f"{habit}/{kind}"


def find(name: str) -> tuple[str, Callable[[], Audit]]:
    """Return the text of a document, and a function that audits it."""
    habit, _, kind = name.rpartition("/")
    if habit in FOLDERS:
        file = FOLDER / name
        return file.read_bytes().decode("utf-8", errors="replace"), partial(audit, file, power=False)
    wrong = with_error(habit, 0, kind)
    assert wrong is not None
    return wrong.text, partial(examined, wrong, {} if wrong.sizes_printed else wrong.sizes)


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe(run: Callable[[], Audit]) -> str:
    """Return the exit code, the number of findings of each rank, and a hash of everything that is printed."""
    try:
        result = run()
    except ValueError as error:
        return f"refused - {hash_text(str(error))}"
    result = replace(result, document=replace(result.document, source="report"))
    ranks = Counter(finding.rank for finding in result.findings)
    texts = (output.render(result), json.dumps(output.audit_json(result)), html.render(result))
    counts = ",".join(str(ranks[rank]) for rank in RANKS)
    return f"exit {result.exit_code} {counts} {hash_text(chr(0).join(texts))}"


RECORDED = RECORD.read_text(encoding="utf-8").splitlines() if RECORD.exists() else ()
VERDICTS = {name: (hashed, verdict) for name, hashed, verdict in (line.split("\t") for line in RECORDED)}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_of_a_document_is_what_it_was(name: str) -> None:
    text, run = find(name)
    hashed, verdict = VERDICTS[name]
    if hash_text(text) != hashed and name.rpartition("/")[0] in HABITS:
        pytest.skip("this version of NumPy draws another report")
    assert describe(run) == verdict, text


def test_the_record_has_the_documents_that_there_are() -> None:
    assert list(VERDICTS) == list(names())


if __name__ == "__main__":
    made = ((name, *find(name)) for name in names())
    rows = (f"{name}\t{hash_text(text)}\t{describe(run)}\n" for name, text, run in made)
    RECORD.write_text("".join(rows), encoding="utf-8")
