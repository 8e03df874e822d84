"""The document that `verify RUN --json` prints, read for an export."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import read_json
from in4310repro.system.schema import Count, PositiveCount, Sha256, Text, check
from in4310repro.verification.checks import BITWISE, NUMERICAL

LEFT_OUT = "what `verify` computes again: no result of `in4310repro verify RUN --json` was given"


class Claimed(TypedDict):
    """A statement about a run that nothing confirmed, and what would."""

    what: str
    shown_by: Text


class OfReplay(TypedDict):
    """The epochs of a setting that `--replay` trained again."""

    replayed: list[PositiveCount]
    first_tensors: Any
    drawn: list[PositiveCount]
    draw: Count
    missing: dict[str, str]  # why an epoch was not trained again


class Document(TypedDict):
    """What `verify RUN --json` prints where nothing differs; the keys from `replays` on are those of `--replay`.

    Of a replay of one setting, its values are also keys of the document.
    """

    differences: list[str]
    bitwise: bool
    proven: list[str]
    claimed: list[Claimed]
    notes: list[str]
    not_checked: list[dict[str, str]]
    manifest_sha256: Sha256
    not_checked_in_report: NotRequired[list[dict[str, str]]]
    not_checked_in_bundle: NotRequired[list[dict[str, str]]]
    replays: NotRequired[dict[Text, OfReplay]]  # by setting
    replayed: NotRequired[list[PositiveCount]]
    first_tensors: NotRequired[Any]
    drawn: NotRequired[list[PositiveCount]]
    draw: NotRequired[Count]
    missing: NotRequired[dict[str, str]]


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
    of a replay `epochs_trained_again`, `epochs_not_trained_again`, `drawn_epochs` and `seed_of_draw`; these also by
    setting in `settings_trained_again`.
    """
    kept = {
        "agreement": BITWISE if document["bitwise"] else NUMERICAL,
        "computed_again": document["proven"],
        "claimed": {each["what"]: each["shown_by"] for each in document["claimed"]},
    }
    if "replayed" in document:
        kept |= _of_replay(document)
    replays = {setting: _of_replay(each) for setting, each in document.get("replays", {}).items()}
    return kept | ({"settings_trained_again": replays} if replays else {})


def _of_replay(values: Mapping[str, Any]) -> dict[str, Any]:
    named = {"replayed": "epochs_trained_again", "drawn": "drawn_epochs", "draw": "seed_of_draw"}
    # The reasons can name folders.
    missing = {"epochs_not_trained_again": [int(each) for each in values.get("missing", ())]}
    return {name: values[key] for key, name in named.items() if key in values} | missing
