"""What several formats say of a run: its software, title, files with their sha256, and how to verify it."""

import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

from typing_extensions import TypedDict

from in4310repro.export.table import Extras
from in4310repro.report.page import exhibits, list_report_files
from in4310repro.runs import names
from in4310repro.runs.config import Config, to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import publishable
from in4310repro.system.files import file_sha256, read_json, regular_file
from in4310repro.system.schema import Count, PositiveCount, Sha256, Text, check
from in4310repro.verification.checks import BITWISE, NUMERICAL

PACKAGE = "in4310repro"
RUN, REPORT = "run", "report"  # folders of an export with copies of files
# Sentences about the files of these folders, by name; those of a setting lie in its folder.
WHAT_FILES_ARE: dict[str, dict[str, str]] = read_json(Path(__file__).with_name("descriptions.json"))
# Those of Python, not of this machine.
_COMMON, _STRICT = mimetypes.MimeTypes().types_map
MEDIA_TYPES = _COMMON | _STRICT | {".md": "text/markdown", ".npz": "application/zip"}
MEDIA_TYPES[".safetensors"] = "application/octet-stream"


class File(NamedTuple):
    """A file of a run or its report.

    Attributes:
        place: where it is.
        what: what it holds, in words.
        sha256: of its bytes.
    """

    place: Path
    what: str
    sha256: str


def title(run: FinishedRun) -> str:
    """Return a title of the run, such as "resnet18 on 6 classes of drawn scenes"."""
    return f"{run.config.model} on {len(run.classes)} classes of {images_name(run)}"


def images_name(run: FinishedRun) -> str:
    """Return the name of the run's images: the publishable name of their folder, or "drawn scenes"."""
    data = publishable(run.config).data
    return f"{Path(data).name or data}" if data else "drawn scenes"


def verify_commands(run: FinishedRun, *, copied: bool = False) -> list[str]:
    """Return the commands that verify the run, with the sha256 that identifies it; the second one replays epochs.

    They verify the copy of the run in an export if there is a complete one, which `copied` says; else a folder `RUN`.
    """
    folder = RUN if copied and not private_places(run.config) else "RUN"
    option = f"{run.config.network.option} --manifest-sha256 {run.files.manifest_sha256()}"
    return [f"{PACKAGE} verify {folder}{option}", f"{PACKAGE} verify {folder}{option} --replay 2"]


def files(run: FinishedRun, extras: Extras) -> dict[str, File]:
    """Return the files of the run, and of its report where it is given, by their path below `RUN` and `REPORT`.

    Left out is `config.json` where it names a private place: another configuration would not fit the manifest.

    Raises:
        ValueError: a file of the report, which `report_differences` accepts, is missing.
    """
    listed = run.files.manifest() | {names.MANIFEST: file_sha256(run.files.file(names.MANIFEST))}
    if private_places(run.config):
        del listed[names.CONFIG]
    found = {}
    for name, sha256 in sorted(listed.items()):
        setting, _, file = name.rpartition("/")
        what = f"{WHAT_FILES_ARE[RUN][file]}{f', setting {setting}' if setting else ''}"
        found[f"{RUN}/{name}"] = File(run.files.file(name), what, sha256)
    if extras.report is None:
        return found
    pages = dict(WHAT_FILES_ARE[REPORT])
    for each in exhibits(run):
        pages |= {f"{each.name}.json": f"{each.heading}, its numbers", f"{each.name}.svg": each.heading}
    for name in sorted(list_report_files(extras.report)):
        place = regular_file(extras.report, name)
        found[f"{REPORT}/{name}"] = File(place, pages[name], file_sha256(place))
    return found


def private_places(config: Config) -> dict[str, str]:
    """Return the options that name a place on somebody's machine, each with a name that can be published instead."""
    shown = to_json(publishable(config))
    return {name: shown[name] for name, value in to_json(config).items() if value != shown[name]}


def verification(extras: Extras) -> dict[str, Any]:
    """Return what a verification computed again and left as a claim, without its notes, which can name folders.

    It is under the key `verification`; nothing where none was given. Keys: `agreement` (how exactly values had to
    agree), `computed_again`, `claimed` (what -> what would show it), and of a replay `epochs_trained_again`,
    `epochs_not_trained_again`, `drawn_epochs` and `seed_of_draw`; these also by setting in `settings_trained_again`.
    """
    if (document := extras.verification) is None:
        return {}
    kept = {
        "agreement": BITWISE if document["bitwise"] else NUMERICAL,
        "computed_again": document["proven"],
        "claimed": {each["what"]: each["shown_by"] for each in document["claimed"]},
    }
    if "replayed" in document:
        kept |= _of_replay(document)
    if replays := document.get("replays"):
        kept["settings_trained_again"] = {setting: _of_replay(each) for setting, each in replays.items()}
    return {"verification": kept}


def _of_replay(values: Mapping[str, Any]) -> dict[str, Any]:
    named = {"replayed": "epochs_trained_again", "drawn": "drawn_epochs", "draw": "seed_of_draw"}
    # The reasons can name folders.
    missing = {"epochs_not_trained_again": [int(each) for each in values.get("missing", ())]}
    return {name: values[key] for key, name in named.items() if key in values} | missing


def left_out(run: FinishedRun, extras: Extras) -> list[str]:
    """Return clauses on what an export with copied files lacks, and why."""
    config = f"{names.CONFIG}, which names a private folder, so that `verify` needs the original run folder"
    lacks = {
        config: private_places(run.config),
        "the report: no --report was given": extras.report is None,
        LEFT_OUT: extras.verification is None,
    }
    return [clause for clause, is_left_out in lacks.items() if is_left_out]


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


Listed = list[dict[str, str]]  # files that were not compared, each with its kind


class Document(TypedDict):
    """What `verify RUN --json` prints where nothing differs; the keys from `replays` on are those of `--replay`.

    Of a replay of one setting, its values are also keys of the document.
    """

    differences: list[str]
    bitwise: bool
    proven: list[str]
    claimed: list[Claimed]
    notes: list[str]
    not_checked: Listed
    manifest_sha256: Sha256
    not_checked_in_report: NotRequired[Listed]
    not_checked_in_bundle: NotRequired[Listed]
    replays: NotRequired[dict[Text, OfReplay]]  # by setting
    replayed: NotRequired[list[PositiveCount]]
    first_tensors: NotRequired[Any]
    drawn: NotRequired[list[PositiveCount]]
    draw: NotRequired[Count]
    missing: NotRequired[dict[str, str]]


def read_verification(file: Path, run: FinishedRun) -> Mapping[str, Any]:
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
