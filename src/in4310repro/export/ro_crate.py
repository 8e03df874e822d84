"""Export as an RO-Crate: run, report, software and the action that made them, as a folder that describes itself."""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from in4310repro.export import facts
from in4310repro.export.table import Extras, refuse_dateless
from in4310repro.report.page import make_record
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import json_bytes
from in4310repro.verification.bundle import CRATE, VERIFICATION

VERSION = "https://w3id.org/ro/crate/1.1"
AUTHORS, SOFTWARE, TRAINING, NO_LICENCE = "#authors", "#software", "#training", "#no-licence"
GIVEN = "What `verify` computed again, and what remains a claim"
Entity = dict[str, Any]


def contents(run: FinishedRun, extras: Extras) -> dict[str, bytes | Path]:
    """Return the crate: its metadata, a copy of the run and, where they are given, of the report and the verification.

    Raises:
        ValueError: no date is given, which a crate must have.
    """
    refuse_dateless("ro-crate", extras.date)
    files = facts.files(run, extras)
    of_verify = facts.verification(extras)
    given = {VERIFICATION: json_bytes(of_verify["verification"])} if of_verify else {}
    crate = {"@context": [f"{VERSION}/context", {"sha256": "https://schema.org/sha256"}]}
    described = [_file(name, each.what, each.place.stat().st_size, each.sha256) for name, each in files.items()]
    described += [_file(name, GIVEN, len(each), hashlib.sha256(each).hexdigest()) for name, each in given.items()]
    entities = [*_head(run, extras, [*files, *given]), *_folders(files), *described, *_made_by(run, files)]
    metadata = json_bytes(crate | {"@graph": entities})
    return {CRATE: metadata, **given, **{name: file.place for name, file in files.items()}}


def _references(identifiers: Iterable[str]) -> list[Entity]:
    return [{"@id": each} for each in identifiers]


def _head(run: FinishedRun, extras: Extras, files: list[str]) -> list[Entity]:
    """Return the descriptor of the metadata and the root of the crate."""
    missing = facts.left_out(run, extras)
    lacks = f" Left out: {'; '.join(missing)}." if missing else ""
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": facts.title(run),
        "description": (
            f"A training by {facts.PACKAGE} and its results. `{facts.verify_commands(run, copied=True)[0]}` computes "
            f"them again.{lacks}"
        ),
        "datePublished": extras.date,
        "license": {"@id": NO_LICENCE},
        "hasPart": _references([*files, *_folder_names(files)]),
        "mentions": {"@id": TRAINING},
    }
    descriptor = {"@id": CRATE, "@type": "CreativeWork", "conformsTo": {"@id": VERSION}, "about": {"@id": "./"}}
    licence = {
        "@id": NO_LICENCE,
        "@type": "CreativeWork",
        "name": "No licence stated",
        "description": "The run records no licence of its images and weights; who publishes this crate states one.",
    }
    return [descriptor, root, licence]


def _folder_names(files: Iterable[str]) -> list[str]:
    return sorted({f"{name.split('/')[0]}/" for name in files if "/" in name})


def _folders(files: Iterable[str]) -> list[Entity]:
    what = {f"{facts.RUN}/": "The run", f"{facts.REPORT}/": "The report of the run"}
    return [
        {
            "@id": folder,
            "@type": "Dataset",
            "name": what[folder],
            "description": f"{what[folder]}, as {facts.PACKAGE} wrote it",
            "hasPart": _references(name for name in files if name.startswith(folder)),
        }
        for folder in _folder_names(files)
    ]


def _file(name: str, what: str, size: int, sha256: str) -> Entity:
    return {
        "@id": name,
        "@type": "File",
        "name": what,
        "contentSize": str(size),
        "encodingFormat": facts.MEDIA_TYPES[PurePath(name).suffix],
        "sha256": sha256,
    }


def _made_by(run: FinishedRun, files: Iterable[str]) -> list[Entity]:
    """Return the training as an action, with the software and its authors."""
    software, split = facts.software(), f"{facts.RUN}/{names.SPLIT}"
    action = {
        "@id": TRAINING,
        "@type": "CreateAction",
        "name": "Training, test and report",
        "description": make_record(run)["command"],
        "instrument": {"@id": SOFTWARE},
        "object": {"@id": split},
        "result": _references(name for name in files if name != split),
    }
    application = {
        "@id": SOFTWARE,
        "@type": "SoftwareApplication",
        "name": facts.PACKAGE,
        "description": software["summary"],
        "softwareVersion": run.fingerprint["versions"][facts.PACKAGE],
        "softwareRequirements": [f"{n} {v}" for n, v in run.fingerprint["versions"].items() if n != facts.PACKAGE],
        "license": {"@id": f"https://spdx.org/licenses/{software['license']}"},
        "author": {"@id": AUTHORS},
    }
    return [action, application, {"@id": AUTHORS, "@type": "Organization", "name": software["author"]}]
