"""What several formats say of a run: its software, title, files with their sha256, and how to verify it."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from in4310repro.export import verified
from in4310repro.export.table import Extras
from in4310repro.report import check_page
from in4310repro.report.page import exhibits, list_report_files
from in4310repro.runs import names
from in4310repro.runs.config import Config, to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.names import RECORD
from in4310repro.runs.presets import publishable
from in4310repro.system.files import file_sha256, regular_file

PACKAGE = "in4310repro"
RUN, REPORT = "run", "report"  # folders of an export with copies of files
# Of a run folder, by name; `SETTING/` stands for a setting's folder.
WHAT_FILES_ARE = {
    names.CONFIG: "Everything that changes the numbers of the run",
    names.FINGERPRINT: "Libraries, processor, arithmetic, source, and hashes of the decoded pixels",
    names.SPLIT: "Each image with its class, sha256 and part",
    names.PIXELS: "The sha256 of the decoded pixels of each image",
    names.GROUPS: "Images that the split holds on one side",
    names.SCORES: "Scores of the selected network on the test images",
    names.METRICS: "Metrics of the selected network on the test images",
    names.FEATURES: "Feature maps of the selected network",
    names.HISTORY: "Losses and metrics of each epoch",
    names.TENSORS: "Chain of hashes of every tensor after each epoch",
    names.BEST_WEIGHTS: "Weights of the best epoch",
    names.LAST_WEIGHTS: "Weights of the last epoch",
    names.MANIFEST: "The sha256 of each file of the run",
}
WHAT_PAGES_ARE = {
    "index.html": "Report of the run, one page with its figures",
    "report.md": "Report of the run",
    check_page.PAGE: "Page that checks the run in a browser",
    check_page.IMAGES: "Test images for the page that checks the run",
    RECORD: "Command, configuration, fingerprint, metrics and file hashes",
}
MEDIA_TYPES = {".csv": "text/csv", ".html": "text/html", ".md": "text/markdown", ".json": "application/json"}
MEDIA_TYPES |= {".npz": "application/zip", ".zip": "application/zip", ".safetensors": "application/octet-stream"}
MEDIA_TYPES |= {".png": "image/png", ".svg": "image/svg+xml"}


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


def software() -> Mapping[str, str]:
    """Return `author`, `license` and `summary` of this package, as it was installed.

    Raises:
        ValueError: the installation lacks one of them, since it is of an older version.
    """
    fields = {"author": "author", "license": "license_expression", "summary": "summary"}
    installed = metadata.metadata(PACKAGE).json
    values = {name: str(installed.get(field, "")) for name, field in fields.items()}
    if missing := [name for name, value in values.items() if not value]:
        raise ValueError(f"the installation of {PACKAGE} has no {missing[0]}; install it again: pip install -e .")
    return values


def title(run: FinishedRun) -> str:
    """Return a title of the run, such as "resnet18 on 6 classes of drawn scenes"."""
    return f"{run.config.model} on {len(run.classes)} classes of {images_name(run)}"


def images_name(run: FinishedRun) -> str:
    """Return the name of the run's images: the publishable name of their folder, or "drawn scenes"."""
    data = publishable(run.config).data
    return f"{Path(data).name or data}" if data else "drawn scenes"


def selected_weights(run: FinishedRun) -> str:
    """Return the name of the file with the selected network's weights, below the run folder."""
    return f"{run.metrics['setting']}/{names.BEST_WEIGHTS}"


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
        what = f"{WHAT_FILES_ARE[file]}{f', setting {setting}' if setting else ''}"
        found[f"{RUN}/{name}"] = File(run.files.file(name), what, sha256)
    if extras.report is None:
        return found
    pages = dict(WHAT_PAGES_ARE)
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
    """Return what a verification computed again under the key `verification`; nothing where none was given."""
    given = extras.verification
    return {} if given is None else {"verification": verified.publishable(given)}


def left_out(run: FinishedRun, extras: Extras) -> list[str]:
    """Return clauses on what an export with copied files lacks, and why."""
    config = f"{names.CONFIG}, which names a private folder, so that `verify` needs the original run folder"
    lacks = {
        config: private_places(run.config),
        "the report: no --report was given": extras.report is None,
        verified.LEFT_OUT: extras.verification is None,
    }
    return [clause for clause, is_left_out in lacks.items() if is_left_out]
