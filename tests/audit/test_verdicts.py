"""The audit says of several hundred documents what it said: `python -m tests.audit.test_verdicts` writes it anew.

A line of verdicts.txt has the hash of a document, its exit code, its findings of each rank, and a hash of all that is
printed of it as text, as a page and as JSON. What is true is held by other tests; this one finds what moved.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from in4310repro.audit import html, output
from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Audit, Rank
from tests.audit.habits import HABITS, report
from tests.audit.planted import KINDS
from tests.audit.reports import Report

FOLDER = Path(__file__).parent
RECORD = FOLDER / "verdicts.txt"
RANKS = list(Rank)


def documents() -> dict[str, tuple[str, Callable[[], Audit]]]:
    """Return the text of each document by its name, and a function that audits it."""
    found: dict[str, tuple[str, Callable[[], Audit]]] = {}
    for folder in ("printed", "documents", "wild"):
        for file in sorted((FOLDER / folder).iterdir()):
            if file.suffix != ".read" and file.name != "manifest.json":
                text = file.read_bytes().decode("utf-8", errors="replace")
                found[f"{folder}/{file.name}"] = (text, partial(audit, file, power=False))
    for number, name in enumerate(HABITS):
        made = report(name, 0)
        kind = list(KINDS)[number % len(KINDS)]
        wrong = KINDS[kind](made, np.random.default_rng([0, zlib.crc32(kind.encode())]))
        if wrong is not None:
            found[f"{name}/{kind}"] = (wrong.text, partial(of_report, wrong))
    return found


def of_report(made: Report) -> Audit:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"report{made.suffix}"
        path.write_bytes(made.text.encode(made.encoding))
        return audit(path, sizes={} if made.sizes_printed else made.sizes, power=False)


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


def lines() -> Iterator[str]:
    for name, (text, run) in documents().items():
        yield f"{name}\t{hash_text(text)}\t{describe(run)}"


DOCUMENTS = documents()
RECORDED = RECORD.read_text(encoding="utf-8").splitlines() if RECORD.exists() else ()
VERDICTS = {name: (hashed, verdict) for name, hashed, verdict in (line.split("\t") for line in RECORDED)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_verdict_of_a_document_is_what_it_was(name: str) -> None:
    text, run = DOCUMENTS[name]
    hashed, verdict = VERDICTS[name]
    if hash_text(text) != hashed and name.partition("/")[0] in HABITS:
        pytest.skip("this version of NumPy draws another report")
    assert describe(run) == verdict, text


def test_the_record_has_the_documents_that_there_are() -> None:
    assert list(VERDICTS) == list(DOCUMENTS)


if __name__ == "__main__":
    RECORD.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
