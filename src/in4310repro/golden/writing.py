"""update() and renew(): golden files are written by name, for a reason, by hand, and on a clean tree."""

from __future__ import annotations

import datetime
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from in4310repro.files import file_sha256, json_bytes, write_file
from in4310repro.fingerprint import fingerprint
from in4310repro.golden.claims import Case
from in4310repro.golden.commands import EXAMPLE, EXAMPLE_OF_CLASSES, NOX, Command
from in4310repro.golden.comparison import Comparison, compare_values
from in4310repro.golden.environments import ENVIRONMENTS, HEAD, Environment, Environments, read_environments
from in4310repro.golden.folder import files, of_device, read
from in4310repro.numerics import Numerics


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
    """Computes one case and writes its golden file, that of a card into the card's folder, and its environment.

    Args:
        folder: of the golden files.
        case: the one to write.
        cases: all of them.
        reason: why the values moved.
        numerics: the arithmetic that the values are computed in.
        environment: of the process.
        versions: of the libraries that computed the values; None: those of this process.
        command: that the file says it was written by.

    Raises:
        ValueError: no reason, an unknown case, in CI, or on a tree with changes outside the golden folder.
    """
    _refuse_unguarded(reason, environment, command)
    if case not in cases:
        raise ValueError(f"no case {case!r}; valid are {', '.join(sorted(cases))}, one at a time")
    folder.mkdir(exist_ok=True)
    device = "" if numerics.device == "cpu" else f" --device {numerics.device}"
    origin = _origin(reason, clean_commit(folder), command(f"{case}{device}", reason))
    if (folder / ENVIRONMENTS).exists():
        # Before anything is computed: a damaged list is refused.
        read_environments(folder, command)
    values = {key: claim.to_json() for key, claim in cases[case]().items()}
    content = _named(case, cases[case]) | origin | _place(numerics, versions) | {"values": values}
    file = write_file(of_device(folder, numerics.device_name) / f"{case}.json", json_bytes(content))
    _record(folder, file, content, numerics.mode)
    return file


def renew(
    folder: Path, cases: Mapping[str, Case], reason: str, numerics: Numerics, environment: Mapping[str, str]
) -> list[str]:
    """Brings the list of environments, and golden files of other portable kernels, up to date; no value moves.

    A file of another portable class, and one that the list has not with its bytes, is computed again: where every value
    is equal to the bit, the file gets the class, the versions and the origin of now. What only other machines compute
    stays as the list has it; the first list takes it over as it is committed.

    Args:
        folder: of the golden files.
        cases: those that this process can compute.
        reason: why the class changed.
        numerics: portable arithmetic.
        environment: of the process.

    Returns:
        The names of the files that were written.

    Raises:
        ValueError: a value moved, so that its case has to be written by name; a file that only another machine computes
            was changed; no reason, in CI, or on a tree with changes.
    """
    _refuse_unguarded(reason, environment, NOX)
    if not numerics.portable:
        raise ValueError(f"the list is renewed in portable arithmetic, which others can compare: {numerics.note}")
    origin = _origin(reason, clean_commit(folder, golden_too=True), NOX("environments", reason))
    first = not (folder / ENVIRONMENTS).exists()
    listed = Environments(provenance=origin, environments=()) if first else read_environments(folder)
    written = []
    for name in files(folder):
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
                content = _named(case, cases[case]) | origin | _place(numerics) | {"values": content["values"]}
                write_file(folder / name, json_bytes(content))
                written.append(name)
        elif not intact and not first:
            raise ValueError(
                f"{name} has other bytes than {ENVIRONMENTS} lists; the machine that computes it writes it"
            )
        listed = _with_file(listed, folder, folder / name, content, mode)
    write_file(folder / ENVIRONMENTS, replace(listed, provenance=origin).to_bytes())
    return [*written, ENVIRONMENTS]


def _refuse_unguarded(reason: str, environment: Mapping[str, str], command: Command) -> None:
    words = re.findall(r"\w+", reason.lower())
    if words in (EXAMPLE.split(), EXAMPLE_OF_CLASSES.split()):
        raise ValueError(f"reason {reason!r} is the example of the hint; {command.reason} says what changed")
    if len(reason.split()) < 2:
        raise ValueError(f"reason {reason!r}; a golden moves for a reason: {command.reason} with at least two words")
    if environment.get("CI", "").lower() not in ("", "0", "false"):
        raise ValueError("golden files are never written in CI; run this on your machine and commit the change")


def _refuse_moved(case: str, content: Mapping[str, Any], compute: Case) -> None:
    """Raises ValueError where a value of a golden file is no longer computed to the bit."""
    result = Comparison()
    compare_values(case, content["values"], compute(), same=True, result=result)
    if result.differences:
        raise ValueError(
            f"{result.differences[0]}; a value that moves is written by name: nox -s golden -- {case} --reason ..."
        )


def _origin(reason: str, commit: str, command: str) -> dict[str, str]:
    """From where a file comes that is written now."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return dict(zip(HEAD, (reason, created, commit, command), strict=True))


def _named(case: str, compute: Case) -> dict[str, Any]:
    """Which case a file holds, and the function that computes it."""
    return {"case": case, "function": f"{compute.__module__}.{compute.__name__}"}


def _place(numerics: Numerics, versions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Where a file is written: libraries, numeric class and device."""
    return {
        "versions": dict(versions or fingerprint(numerics)["versions"]),
        "numeric_class": numerics.numeric_class,
        "device_name": numerics.device_name,
    }


def _record(folder: Path, file: Path, content: Mapping[str, Any], mode: str) -> None:
    """Lists a file that was just written, with its environment and its bytes."""
    listed = Environments(provenance={}, environments=())
    if (folder / ENVIRONMENTS).exists():
        listed = read_environments(folder)
    provenance = {name: content[name] for name in HEAD}
    listed = replace(_with_file(listed, folder, file, content, mode), provenance=provenance)
    write_file(folder / ENVIRONMENTS, listed.to_bytes())


def _with_file(listed: Environments, folder: Path, file: Path, content: Mapping[str, Any], mode: str) -> Environments:
    """The list with a file in the environment that its content says, and in no other."""
    name = file.relative_to(folder).as_posix()
    others = replace(listed, environments=listed.without(name))
    place = {key: content[key] for key in ("numeric_class", "device_name", "versions")}
    known = others.written_in(content)
    lines = known.files if known else {}
    line = Environment(numerics=mode, files=dict(sorted({**lines, name: file_sha256(file)}.items())), **place)
    lines_now = [*(each for each in others.environments if each != known), line]
    return replace(others, environments=tuple(sorted(lines_now, key=lambda each: (each.device_name, min(each.files)))))


def clean_commit(folder: Path, *, golden_too: bool = False) -> str:
    """The commit that the tree stands at.

    Args:
        folder: of the golden files.
        golden_too: changes of golden files count too.

    Raises:
        ValueError: the tree has changes outside the golden folder, or is no checkout.
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{folder} is in no git checkout with a commit: {done.stderr.strip()}")
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", ":/", *([] if golden_too else [":(exclude)."]))
    if changed:
        raise ValueError(f"the tree has changes, so no commit made this golden: {changed.splitlines()[0].strip()}")
    return commit
