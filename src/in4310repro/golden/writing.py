"""Writing of golden files: by name, with a reason, and only if the git tree is clean."""

import contextlib
import datetime
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from in4310repro.golden.claims import Case, Claim, check_value
from in4310repro.golden.comparison import Comparison, compare_values
from in4310repro.golden.folder import (
    ENVIRONMENTS,
    EXAMPLE,
    EXAMPLE_OF_CLASSES,
    HEAD,
    NOX,
    PLACE,
    PROVENANCE,
    Command,
    Environment,
    Environments,
    device_folder,
    list_files,
    read,
    read_environments,
)
from in4310repro.system.files import file_sha256, json_bytes, write_file
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics


def update(
    folder: Path,
    case: str,
    cases: Mapping[str, Case],
    reason: str,
    numerics: Numerics,
    environment: Mapping[str, str],
    versions: Mapping[str, str] | None = None,
    command: Command = NOX,
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
    refuse_unguarded(reason, environment, command)
    if case not in cases:
        raise ValueError(f"no case {case!r}; valid cases are {', '.join(sorted(cases))}, one at a time")
    device = "" if numerics.device == "cpu" else f" --device {numerics.device}"
    origin = _make_origin(reason, clean_commit(folder), command(f"{case}{device}", reason))
    # Read now, so that a damaged list is refused before anything is computed.
    listed = _read_list(folder, origin, command)
    claims = cases[case]()
    _refuse_unreadable(case, claims)
    values = {key: claim.to_json() for key, claim in claims.items()}
    content = _describe(case, cases[case], origin, numerics, values, versions)
    file = device_folder(folder, numerics.device_name) / f"{case}.json"
    with _undo_on_error(file):
        write_file(file, json_bytes(content))
        write_file(folder / ENVIRONMENTS, _add_file(listed, folder, file, content, numerics.mode).to_bytes())
    return file


def _refuse_unreadable(case: str, claims: Mapping[str, Claim]) -> None:
    """Raise ValueError if a value would not be read from a golden file as it was written."""
    for key, claim in claims.items():
        name = f"{case}: {key}"
        result = Comparison()
        try:
            check_value(name, claim.value)
        except RecursionError:
            raise ValueError(f"{name} is nested too deep") from None
        try:
            entry = json.loads(json_bytes(claim.to_json()))
            for same in (True, False):
                compare_values(case, {key: entry}, {key: claim}, same, result)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} cannot be held by a golden file: {error}") from None
        if result.differences:
            raise ValueError(f"{result.differences[0]}, when it is read again; a golden file cannot hold it")


@contextlib.contextmanager
def _undo_on_error(file: Path) -> Iterator[None]:
    """If the `with` block raises, restore a file, or remove it together with the folders that were made for it."""
    before = file.read_bytes() if file.exists() else None
    missing = [place for place in file.parents if not place.exists()]
    try:
        yield
    except BaseException:
        if before is None:
            file.unlink(missing_ok=True)
        else:
            write_file(file, before)
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def renew(
    folder: Path, cases: Mapping[str, Case], reason: str, numerics: Numerics, environment: Mapping[str, str]
) -> list[str]:
    """Update environments.json and golden files after the portable kernels changed without changing a value.

    A numeric class names an arithmetic; equal classes compute equal bits. The values of a file are computed
    again if its class is not that of the present kernels, or if its sha256 is not the one in
    environments.json. If all values have the same bits as before, the file gets the present class, versions
    and origin. A file that has the present class and is not listed yet is only added to the list.

    Files that only other machines can compute are not written. If environments.json does not exist yet, it
    is created and lists these files with their present sha256.

    Args:
        folder: the folder of golden files.
        cases: the cases that this process can compute, by name.
        reason: the reason why the class changed.
        numerics: portable arithmetic.
        environment: the environment variables of the process.

    Returns:
        The names of the files that were written, including environments.json.

    Raises:
        ValueError: a value changed (write its case with `update` instead); a file that this process cannot
            compute was changed; the reason is missing; `numerics` is not portable; the process runs
            in CI; or the git tree has changes.
    """
    refuse_unguarded(reason, environment, NOX)
    if not numerics.portable:
        raise ValueError(
            f"the list can only be renewed in portable arithmetic, which other machines can compare: {numerics.note}"
        )
    origin = _make_origin(reason, clean_commit(folder, golden_too=True), NOX("environments", reason))
    first, listed, written = not (folder / ENVIRONMENTS).exists(), _read_list(folder, origin, NOX), []
    for name in list_files(folder):
        case = Path(name).stem
        listing, content = listed.listing(name), read((folder / name).parent, case)
        intact = listing is not None and listing.files[name] == file_sha256(folder / name)
        mode = listing.numerics if listing else "native"
        if name == f"{case}.json" and case in cases:
            mode = "portable"
            other = content["numeric_class"] != numerics.numeric_class
            if other or not intact:
                _refuse_moved(case, content, cases[case])
            if other or not (intact or listing is None):
                content = _describe(case, cases[case], origin, numerics, content["values"])
                write_file(folder / name, json_bytes(content))
                written.append(name)
        elif not intact and not first:
            raise ValueError(
                f"{name} differs from the sha256 in {ENVIRONMENTS}; only the machine that computes it can write it"
            )
        listed = _add_file(listed, folder, folder / name, content, mode)
    write_file(folder / ENVIRONMENTS, listed.to_bytes())
    return [*written, ENVIRONMENTS]


def refuse_unguarded(reason: str, environment: Mapping[str, str], command: Command) -> None:
    """Raise ValueError if the reason of an update has too few words or is that of a hint, or the process runs in CI."""
    words = re.findall(r"\w+", reason.lower())
    if words in (EXAMPLE.split(), EXAMPLE_OF_CLASSES.split()):
        raise ValueError(f"reason {reason!r} is the example of the hint; expected {command.reason} with what changed")
    if len(reason.split()) < 2:
        raise ValueError(
            f"reason {reason!r}; expected {command.reason} with at least two words on why the golden value changes"
        )
    if environment.get("CI", "").lower() not in ("", "0", "false"):
        raise ValueError("golden files are never written in CI; run this on your machine and commit the change")


def _refuse_moved(case: str, content: Mapping[str, Any], compute: Case) -> None:
    """Raise ValueError if a value of a golden file is no longer reproduced to the bit."""
    result = Comparison()
    compare_values(case, content["values"], compute(), same=True, result=result)
    if result.differences:
        raise ValueError(
            f"{result.differences[0]}; write a value that moves by name: nox -s golden -- {case} --reason ..."
        )


def _make_origin(reason: str, commit: str, command: str) -> dict[str, str]:
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return dict(zip(HEAD, (reason, created, commit, command), strict=True))


def _describe(
    case: str,
    compute: Case,
    origin: Mapping[str, str],
    numerics: Numerics,
    values: Mapping[str, Any],
    versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the content of a golden file."""
    place = (dict(versions or fingerprint(numerics)["versions"]), numerics.numeric_class, numerics.device_name)
    named = (case, f"{compute.__module__}.{compute.__name__}")
    return dict(zip(PROVENANCE, (*named, *origin.values(), *place, values), strict=True))


def _read_list(folder: Path, origin: Mapping[str, str], command: Command) -> Environments:
    """Return the environments that are listed, none where there is no list, as the list of a new origin."""
    there = read_environments(folder, command).environments if (folder / ENVIRONMENTS).exists() else ()
    return Environments(provenance=origin, environments=there)


def _add_file(listed: Environments, folder: Path, file: Path, content: Mapping[str, Any], mode: str) -> Environments:
    """Return the environments with `file` listed in the environment that `content` describes, and in no other."""
    name = file.relative_to(folder).as_posix()
    others = replace(listed, environments=listed.without(name))
    known = others.written_in(content)
    files = {**(known.files if known else {}), name: file_sha256(file)}
    line = Environment(numerics=mode, files=dict(sorted(files.items())), **{key: content[key] for key in PLACE})
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
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    below = folder.absolute().relative_to(there.absolute()).as_posix()

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(there), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{folder} is not in a git checkout with a commit: {done.stderr.strip()}")
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", ":/", *([] if golden_too else [f":(exclude,literal){below}"]))
    if changed:
        raise ValueError(
            "the tree has changes, and a golden file must be reproducible from a commit, so commit or undo them first: "
            f"{changed.splitlines()[0].strip()}"
        )
    return commit
