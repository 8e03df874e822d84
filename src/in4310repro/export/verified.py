"""The document that `verify RUN --json` prints, read for an export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import read_json
from in4310repro.system.schema import Count, PositiveCount, Sha256, Text, check
from in4310repro.verification.routine import BITWISE, NUMERICAL

LEFT_OUT = "what `verify` computes again: no result of `in4310repro verify RUN --json` was given"


class Claimed(TypedDict):
    """A statement about a run that nothing confirmed, and what would."""

    what: str
    shown_by: Text


class Document(TypedDict):
    """What `verify RUN --json` prints where nothing differs; the keys from `replayed` on are those of `--replay`."""

    differences: list[str]
    bitwise: bool
    proven: list[str]
    claimed: list[Claimed]
    notes: list[str]
    not_checked: list[dict[str, str]]
    manifest_sha256: Sha256
    not_checked_in_report: NotRequired[list[dict[str, str]]]
    not_checked_in_bundle: NotRequired[list[dict[str, str]]]
    replayed: NotRequired[list[PositiveCount]]
    first_tensors: NotRequired[Any]
    drawn: NotRequired[list[PositiveCount]]
    draw: NotRequired[Count]
    missing: NotRequired[dict[str, str]]  # why an epoch was not trained again


def read(file: Path, run: FinishedRun) -> Mapping[str, Any]:
    """Return the document in a file that `verify RUN --json` wrote, after checking that it is of this run.

    Raises:
        ValueError: the file holds no such document, it lists a difference, or it is of another run.
    """
    value = read_json(file)
    if isinstance(value, dict) and (found := value.get("differences")):
        raise ValueError(f"{file} lists differences of the run, such as {str(found)[:200]}; a verified run is exported")
    document: Mapping[str, Any] = check(value, Document, f"{file}")
    if (sha256 := run.files.manifest_sha256()) != document["manifest_sha256"]:
        raise ValueError(
            f"{file} is of the run with manifest sha256 {document['manifest_sha256']}; {run.folder} has {sha256}"
        )
    return document


def publishable(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a verification computed again and left as a claim, without its notes, which can name folders.

    Keys: `agreement` (how exactly values had to agree), `computed_again`, `claimed` (what -> what would show it), and
    of a replay `epochs_trained_again`, `epochs_not_trained_again` (epoch -> why), `drawn_epochs` and `seed_of_draw`.
    """
    kept = {
        "agreement": BITWISE if document["bitwise"] else NUMERICAL,
        "computed_again": document["proven"],
        "claimed": {each["what"]: each["shown_by"] for each in document["claimed"]},
    }
    of_replay = {"replayed": "epochs_trained_again", "drawn": "drawn_epochs", "draw": "seed_of_draw"}
    # The reasons can name folders.
    missing = {"epochs_not_trained_again": [int(each) for each in document.get("missing", ())]}
    kept |= {name: document[key] for key, name in of_replay.items() if key in document}
    return kept | (missing if "replayed" in document else {})
