"""Writing of golden files: by name, with a reason, and only if the git tree is clean."""

import datetime
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from in4310repro.golden import folder as golden
from in4310repro.golden.claims import Case, Cases, Claims, Content, Words, check_value, compare_values
from in4310repro.system.files import file_sha256, json_bytes, write_file
from in4310repro.system.fingerprint import fingerprint, git
from in4310repro.system.machine import nearest
from in4310repro.system.numerics import Numerics


def update(
    folder: Path,
    case: str,
    cases: Cases,
    reason: str,
    numerics: Numerics,
    environment: Words,
    versions: Words | None = None,
    command: golden.Command = golden.NOX,
) -> Path:
    """Compute one case, write its golden file (in a subfolder for a GPU), and update environments.json.

    Args:
        folder: the folder of golden files.
        case: name of the case to write.
        cases: all cases by name.
        reason: the reason why the values changed.
        numerics: the arithmetic that the values are computed in.
        environment: the environment variables of the process.
        versions: versions of the libraries that computed the values; None for those in this process.
        command: the command to record in the file.

    Raises:
        ValueError: the reason is missing, the case is unknown, the process runs in CI, the tree has changes outside the
            golden folder, or a value would not be read as it was written. Nothing is written then.
        OSError: a file cannot be written; files and folders are then as before.
    """
    if case not in cases:
        raise ValueError(f"unknown case {case!r}; give one of {', '.join(sorted(cases))}")
    device = "" if numerics.device == "cpu" else f" --device {numerics.device}"
    listed = begin(folder, f"{case}{device}", reason, environment, command)
    content = describe(case, cases[case], listed, numerics, _entries(case, cases[case]()), versions)
    file = golden.device_folder(folder, numerics.device_name) / f"{case}.json"
    before, made = file.read_bytes() if file.exists() else None, [each for each in file.parents if not each.exists()]
    try:
        write_file(file, json_bytes(content))
        write_file(folder / golden.ENVIRONMENTS, add_file(listed, folder, file, content, numerics.mode).to_bytes())
    except BaseException:
        if before is not None:
            write_file(file, before)
        elif made:
            shutil.rmtree(made[-1], ignore_errors=True)
        else:
            file.unlink(missing_ok=True)
        raise
    return file


def begin(folder: Path, case: str, reason: str, environment: Words, command: golden.Command) -> golden.Environments:
    """Return the environments that are listed, an empty list where there is no file, with the origin of an update.

    A damaged list is thus refused before anything is computed.
    """
    refuse_unguarded(reason, environment, command)
    commit = clean_commit(folder, golden_too=case == "environments")
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    there = (folder / golden.ENVIRONMENTS).exists()
    return golden.Environments(
        provenance=dict(zip(golden.HEAD, (reason, created, commit, command(case, reason)), strict=True)),
        environments=golden.read_environments(folder, command).environments if there else (),
    )


def _entries(case: str, claims: Claims) -> Content:
    """Return the entries of values; raise ValueError if one would not be read from a golden file as it was written."""
    for key, claim in claims.items():
        name, wrong = f"{case}: {key}", list[str]()
        try:
            check_value(name, claim.value)
        except RecursionError:
            raise ValueError(f"{name} is nested too deep") from None
        try:
            entry = json.loads(json_bytes(claim.to_json()))
            for same in (True, False):
                wrong += compare_values(case, {key: entry}, {key: claim}, same).differences
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} cannot be stored in a golden file: {error}") from None
        if wrong:
            raise ValueError(f"{wrong[0]}, when it is read again; a golden file cannot store it")
    return {key: claim.to_json() for key, claim in claims.items()}


def refuse_unguarded(reason: str, environment: Words, command: golden.Command) -> None:
    """Raise ValueError if the reason of an update has too few words or is that of a hint, or the process runs in CI."""
    if re.findall(r"\w+", reason.lower()) in (golden.EXAMPLE.split(), golden.EXAMPLE_OF_CLASSES.split()):
        raise ValueError(f"{command.reason} is still the example text; write what changed and why")
    if len(reason.split()) < 2:
        raise ValueError(
            f"reason {reason!r}; expected {command.reason} with at least two words on why the golden value changes"
        )
    if environment.get("CI", "").lower() not in ("", "0", "false"):
        raise ValueError("golden files are never written in CI; run this on your machine and commit the change")


def describe(
    case: str,
    compute: Case,
    listed: golden.Environments,
    numerics: Numerics,
    values: Content,
    versions: Words | None = None,
) -> dict[str, Any]:
    """Return the content of a golden file."""
    place = (dict(versions or fingerprint(numerics)["versions"]), numerics.numeric_class, numerics.device_name)
    named = (case, f"{compute.__module__}.{compute.__name__}")
    return dict(zip(golden.PROVENANCE, (*named, *listed.provenance.values(), *place, values), strict=True))


def add_file(listed: golden.Environments, folder: Path, file: Path, content: Content, mode: str) -> golden.Environments:
    """Return the environments with `file` listed in the environment that `content` describes, and in no other."""
    name = file.relative_to(folder).as_posix()
    others = replace(listed, environments=listed.without(name))
    known = others.written_in(content)
    files = {**(known.files if known else {}), name: file_sha256(file)}
    line = golden.Environment(
        numerics=mode, files=dict(sorted(files.items())), **{key: content[key] for key in golden.PLACE}
    )
    lines = [*(each for each in others.environments if each != known), line]
    return replace(others, environments=tuple(sorted(lines, key=lambda each: (each.device_name, min(each.files)))))


def clean_commit(folder: Path, *, golden_too: bool = False) -> str:
    """Return the hash of the current commit; raise ValueError if files outside the golden folder have changes.

    Args:
        folder: the folder of golden files, which need not exist.
        golden_too: True to refuse changes of golden files too.

    Raises:
        ValueError: the tree has changes outside the golden folder, or is not a git checkout.
    """
    there = nearest(folder)
    below = folder.absolute().relative_to(there.absolute()).as_posix()
    excluded = [] if golden_too else [f":(exclude,literal){below}"]
    try:
        commit = git(there, "rev-parse", "HEAD")
        changed = git(there, "status", "--porcelain", "--", ":/", *excluded)
    except ValueError as error:
        raise ValueError(f"{folder} is not in a git checkout with a commit: {error}") from None
    if changed:
        raise ValueError(
            "the tree has changes, and a golden file must be reproducible from a commit, so commit or undo them first: "
            f"{changed.splitlines()[0].strip()}"
        )
    return commit
