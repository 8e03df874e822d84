"""Export as an RO-Crate: run, report, software and the action that made them, as a folder that describes itself."""

from collections.abc import Iterable
from importlib import metadata
from pathlib import PurePath
from typing import Any

from in4310repro.export import facts
from in4310repro.export.table import Contents, Extras, refuse_dateless
from in4310repro.report.page import make_record
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import bytes_sha256, json_bytes
from in4310repro.verification.bundle_checks import CRATE, VERIFICATION

VERSION = "https://w3id.org/ro/crate/1.1"
AUTHORS, SOFTWARE, TRAINING, NO_LICENCE = "#authors", "#software", "#training", "#no-licence"
GIVEN = "What `verify` computed again, and what remains a claim"


def contents(run: FinishedRun, extras: Extras) -> Contents:
    """Return the crate: its metadata, a copy of the run and, where they are given, of the report and the verification.

    Raises:
        ValueError: no date is given, which a crate must have, or this package is of an older version and does not say
            its author, licence or summary.
    """
    refuse_dateless("ro-crate", extras.date)
    files = facts.files(run, extras)
    of_verify, missing = facts.verification(extras), facts.left_out(run, extras)
    given = {VERIFICATION: json_bytes(of_verify["verification"])} if of_verify else {}
    lacks = f" Left out: {'; '.join(missing)}." if missing else ""
    folders = sorted({f"{name.split('/')[0]}/" for name in files})
    what = {f"{facts.RUN}/": "The run", f"{facts.REPORT}/": "The report of the run"}
    split, versions = f"{facts.RUN}/{names.SPLIT}", run.fingerprint["versions"]
    installed = metadata.metadata(facts.PACKAGE).json
    software = {name: f"{installed.get(name, '')}" for name in ("author", "license_expression", "summary")}
    if lacking := [name for name, value in software.items() if not value]:
        missed = lacking[0].partition("_")[0]
        raise ValueError(f"the installation of {facts.PACKAGE} has no {missed}; install it again: pip install -e .")
    described = [(name, each.what, each.place.stat().st_size, each.sha256) for name, each in files.items()]
    described += [(name, GIVEN, len(each), bytes_sha256(each)) for name, each in given.items()]
    graph = [
        {"@id": CRATE, "@type": "CreativeWork", "conformsTo": {"@id": VERSION}, "about": {"@id": "./"}},
        _entity(
            "./",
            "Dataset",
            facts.title(run),
            description=f"A training by {facts.PACKAGE} and its results. "
            f"`{facts.verify_commands(run, copied=True)[0]}` computes them again.{lacks}",
            datePublished=extras.date,
            license={"@id": NO_LICENCE},
            hasPart=_references([*files, *given, *folders]),
            mentions={"@id": TRAINING},
        ),
        _entity(
            NO_LICENCE,
            "CreativeWork",
            "No licence stated",
            description="The run records no licence of its images and weights; who publishes this crate states one.",
        ),
        *(
            _entity(
                folder,
                "Dataset",
                what[folder],
                description=f"{what[folder]}, as {facts.PACKAGE} wrote it",
                hasPart=_references(name for name in files if name.startswith(folder)),
            )
            for folder in folders
        ),
        *(
            _entity(
                name,
                "File",
                what,
                contentSize=str(size),
                encodingFormat=facts.MEDIA_TYPES[PurePath(name).suffix],
                sha256=sha256,
            )
            for name, what, size, sha256 in described
        ),
        _entity(
            TRAINING,
            "CreateAction",
            "Training, test and report",
            description=make_record(run)["command"],
            instrument={"@id": SOFTWARE},
            object={"@id": split},
            result=_references(name for name in files if name != split),
        ),
        _entity(
            SOFTWARE,
            "SoftwareApplication",
            facts.PACKAGE,
            description=software["summary"],
            softwareVersion=versions[facts.PACKAGE],
            softwareRequirements=[f"{name} {each}" for name, each in versions.items() if name != facts.PACKAGE],
            license={"@id": f"https://spdx.org/licenses/{software['license_expression']}"},
            author={"@id": AUTHORS},
        ),
        _entity(AUTHORS, "Organization", software["author"]),
    ]
    crate = {"@context": [f"{VERSION}/context", {"sha256": "https://schema.org/sha256"}], "@graph": graph}
    return {CRATE: json_bytes(crate), **given, **{name: file.place for name, file in files.items()}}


def _entity(identifier: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"@id": identifier, "@type": kind, "name": name, **more}


def _references(identifiers: Iterable[str]) -> list[dict[str, str]]:
    return [{"@id": each} for each in identifiers]
