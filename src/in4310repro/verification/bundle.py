"""A bundle, the zip file with a run and what belongs to it: layout, unpacking, and checks of its other files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from in4310repro.data.splits import from_csv
from in4310repro.runs import chain, names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.archive import unpack
from in4310repro.system.files import describe as describe_error
from in4310repro.system.files import file_sha256, read_json, read_text, regular_file
from in4310repro.system.signals import temporary_folder
from in4310repro.verification.folder import Unchecked, first_of

README = "README.txt"
# Of an RO-Crate, whose root is that of the bundle, so that it describes files that are there already.
CRATE, VERIFICATION = "ro-crate-metadata.json", "verification.json"
RUN, REPORT, STATEMENT, IMAGES = "run", "report", "statement", "images"  # folders
OTHER_FILES, OTHER_FOLDERS = (README, CRATE, VERIFICATION), (REPORT, STATEMENT, IMAGES)
SHA256_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")  # as sha256sum writes it
IN_TOTO = "https://in-toto.io/Statement/"
BESIDE_HASHES, UNKNOWN = "what it says beside sha256", "unknown file"
SIZE = "contentSize"  # of a file in an RO-Crate, in bytes
ALGORITHMS = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")
HEX = re.compile(r"[0-9a-fA-F]{64,}")
FILE_TYPES = ("File", "MediaObject")  # of an RO-Crate, whose context makes them one
Digests = list[tuple[Any, dict[str, Any]]]  # name and digests, by algorithm, of each file that a JSON value is about
# What is not compared, by file or folder.
KINDS = {README: BESIDE_HASHES, CRATE: BESIDE_HASHES, VERIFICATION: "a claim", REPORT: "report", IMAGES: "image"}


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle: its zip file, the temporary folder with its files, and their names."""

    file: Path
    folder: Path
    names: list[str]

    @property
    def run(self) -> Path:
        """Folder of the run."""
        return self.folder / RUN

    @property
    def report(self) -> Path | None:
        """Folder of the report; None if the bundle has none."""
        return self._folder(REPORT)

    @property
    def images(self) -> Path | None:
        """Folder of the run's images; None if the bundle has none."""
        return self._folder(IMAGES)

    @cached_property
    def descriptions(self) -> dict[str, Any]:
        """The JSON of the RO-Crate and of each in-toto statement by its file; None of a crate that is no JSON."""
        described = {}
        for name in self.names:
            if name == CRATE or (name.startswith(f"{STATEMENT}/") and name.endswith(".json")):
                try:
                    content = read_json(self.folder / name)
                except ValueError:
                    content = None
                kind = content.get("_type") if isinstance(content, Mapping) else None
                if name == CRATE or (isinstance(kind, str) and kind.startswith(IN_TOTO)):
                    described[name] = content
        return described

    def _folder(self, name: str) -> Path | None:
        place = self.folder / name
        return place if place.is_dir() else None

    def shown(self, text: str) -> str:
        """Return a text with the bundle's name in place of the temporary folder's."""
        run = re.escape(f"{self.run}")
        text = re.sub(rf"{run}(?![\w./\\-])", lambda _: f"{self.file}", text)
        return text.replace(f"{self.folder}", f"{self.file}")


@contextmanager
def unpacked(file: Path) -> Iterator[Bundle]:
    """Unpack a bundle into a temporary folder, which is deleted at the end of the `with` block.

    Errors that are raised in the block name the bundle in place of the folder.

    Raises:
        ValueError: the file is no bundle in exactly the form in which `export --as bundle` writes one.
        OSError: the file cannot be read, or its content cannot be written.
    """
    with file.open("rb") as beginning:
        if beginning.read(2) != b"PK":
            raise ValueError(f"{file} is no run folder, and no bundle that `in4310repro export RUN --as bundle` writes")
    with temporary_folder() as folder:
        bundle = Bundle(file, folder, unpack(file, folder, _refusal))
        try:
            yield bundle
        except (ValueError, OSError) as error:
            text = describe_error(error) if isinstance(error, OSError) else str(error)
            raise ValueError(bundle.shown(text)) from None


def _refusal(name: str) -> str:
    """Return why an entry of this name belongs to no bundle; empty if it may be in one."""
    folder, _, rest = name.partition("/")
    of_run = rest == names.MANIFEST or names.is_of_run(rest) or names.is_kept_epoch(rest)
    if name in OTHER_FILES or (of_run if folder == RUN else rest and folder in OTHER_FOLDERS):
        return ""
    valid = f"{', '.join(OTHER_FILES)}, {RUN}/ with the files of a run, {'/, '.join(OTHER_FOLDERS)}/"
    return f"does not belong in a bundle; valid are {valid}"


def bundle_differences(bundle: Bundle) -> list[str]:
    """Return a message for each hash in README, in-toto statements and RO-Crate that is not that of what it names.

    A README without the hash of the run's manifest is a difference, too, and so is a hash that names nothing.
    """
    if README not in bundle.names:
        return [f"{bundle.file} holds no {README}"]
    try:
        lines = read_text(bundle.folder / README).splitlines()
    except UnicodeDecodeError:
        return [f"{bundle.file}/{README} is not UTF-8"]
    matches = {line: SHA256_LINE.fullmatch(line) for line in lines}
    hashes = [(match[2], match[1]) for match in matches.values() if match]
    if f"{RUN}/{names.MANIFEST}" not in dict(hashes):
        return [f"{bundle.file}/{README} does not name the sha256 of {RUN}/{names.MANIFEST}"]
    differences = [each for name, found in hashes for each in _hash_differences(bundle, README, name, sha256=found)]
    differences += [
        f"{bundle.file}/{README}: {line[:200]!r} has a hash and no file's name behind it, as sha256sum writes it"
        for line, match in matches.items()
        if not match and HEX.search(line)
    ]
    try:
        run = FinishedRun.open(bundle.run)
    except (ValueError, OSError):
        # Which `verify` says of the run.
        run = None
    for source, content in bundle.descriptions.items():
        named = _digests(content, _of_crate if source == CRATE else _of_statement)
        if not named:
            differences.append(f"{bundle.file}/{source} has no list of files, each with its name and sha256")
        differences += [each for name, found in named for each in _hash_differences(bundle, source, name, **found)]
        if run and source != CRATE:
            differences += _predicate_differences(bundle, source, content.get("predicate"), run)
        if run:
            differences += _unknown_hashes(bundle, source, content, named, run)
    return differences


def _predicate_differences(bundle: Bundle, source: str, predicate: object, run: FinishedRun) -> Iterator[str]:
    """Yield a message for each hash of the run in a statement's predicate, and for its selection, if it is another."""
    said = predicate if isinstance(predicate, Mapping) else {}
    of_run = {"manifest_sha256": run.files.manifest_sha256(), "chain_sha256": run.training_sha256}
    selected = {name: run.metrics[name] for name in ("setting", "epoch", "weights_sha256")}
    yield from _other_values(bundle, source, "", said, of_run)
    if "selected" in said:
        inner = said["selected"] if isinstance(said["selected"], Mapping) else {}
        yield from _other_values(bundle, source, "selected.", {**dict.fromkeys(selected), **inner}, selected)


def _other_values(
    bundle: Bundle, source: str, place: str, said: Mapping[str, Any], needed: Mapping[str, Any]
) -> Iterator[str]:
    for name, value in needed.items():
        if (found := said.get(name, value)) != value or type(found) is not type(value):
            words = f"{found}"[:100] if isinstance(found, type(value)) else "no text"
            yield f"{bundle.file}/{source}: {place}{name} is {words}; the run has {value}"


def _unknown_hashes(bundle: Bundle, source: str, content: Any, named: Digests, run: FinishedRun) -> Iterator[str]:
    """Yield a message for each text of 64 or more hex digits in a JSON value that is no hash of the bundle or its run.

    Hashes of the run are also those that its files hold, such as of weights and images.
    """
    texts = [read_text(run.folder / name) for name in run.files.manifest() if name.endswith((".json", ".csv"))]
    known = {each for text in texts for each in HEX.findall(text)} | {*run.files.manifest().values()}
    known |= {file_sha256(regular_file(bundle.folder, name)) for name in bundle.names}
    known |= {run.files.manifest_sha256(), *(chain.sha256_of(each[-1], run.config) for each in run.tensors.values())}
    known |= {value for _, digests in named for value in digests.values()}
    for found in dict.fromkeys(HEX.findall(json.dumps(content))):
        if found not in known:
            yield f"{bundle.file}/{source} names {found[:200]}, which is no hash of the bundle or of its run"
    for place in dict.fromkeys(_places(content)):
        if not any(name == place or name.startswith(f"{place.rstrip('/')}/") for name in bundle.names):
            yield f"{bundle.file}/{source} names {place[:200]}, which the bundle does not hold"


def _places(content: Any) -> Iterator[str]:
    """Yield each `@id` anywhere in a JSON value that is a place in the folders of a bundle."""
    if isinstance(content, dict | list):
        for each in content.values() if isinstance(content, dict) else content:
            yield from _places(each)
    place = content.get("@id") if isinstance(content, dict) else None
    if isinstance(place, str) and place.removeprefix("./").partition("/")[0] in (RUN, *OTHER_FOLDERS):
        yield place.removeprefix("./")


def _of_crate(crate: Any) -> Digests:
    files = [each for each in crate["@graph"] if "sha256" in each or _is_file(each.get("@type"))]
    measures = ({name: each[name] for name in (SIZE, *ALGORITHMS) if name in each} for each in files)
    return [(each["@id"], {"sha256": each["sha256"], **found}) for each, found in zip(files, measures, strict=True)]


def _is_file(types: Any) -> bool:
    """Return whether an entry of an RO-Crate with these types is a file; a type may be a whole address."""
    listed = types if isinstance(types, list) else [types]
    return any(isinstance(each, str) and re.split(r"[/:#]", each)[-1] in FILE_TYPES for each in listed)


def _of_statement(statement: Any) -> Digests:
    return [(entry["name"], {"sha256": entry["digest"]["sha256"], **entry["digest"]}) for entry in statement["subject"]]


def _digests(content: Any, read: Callable[[Any], Digests]) -> Digests:
    """Return what `read` finds in a JSON value if it is texts; nothing where the value has another form."""
    try:
        named = read(content)
    except (AttributeError, KeyError, TypeError):
        return []
    return named if all(isinstance(each, str) for name, found in named for each in (name, *found.values())) else []


def _hash_differences(bundle: Bundle, source: str, name: str, **digests: str) -> Iterator[str]:
    """Yield a message if no file of this name, in the bundle or in its run, has the hashes that `source` names."""
    present = [each for each in (name, f"{RUN}/{name}") if each in bundle.names]
    if not present:
        yield f"{bundle.file}/{source} names {name[:200]}, which the bundle does not hold"
        return
    files = [regular_file(bundle.folder, each) for each in present]
    for algorithm, digest in digests.items():
        if algorithm not in (SIZE, *ALGORITHMS):
            valid = ", ".join(ALGORITHMS)
            yield f"{bundle.file}/{source} names a {algorithm[:100]} of {present[0]}; of hashes, {valid} are compared"
        elif all(_measure(file, algorithm) != digest for file in files):
            yield f"{bundle.file}/{present[0]} has another {algorithm} than {source} names"


def _measure(file: Path, algorithm: str) -> str:
    if algorithm == SIZE:
        return f"{file.stat().st_size}"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def unchecked_in_bundle(bundle: Bundle, data: object, report: Path | None) -> list[Unchecked]:
    """List the files of a bundle that were compared with nothing, except those in the folders of run and report.

    Args:
        bundle: an unpacked bundle, whose run has no differences.
        data: the folder of images that was compared.
        report: the report that was compared; the files of another one in the bundle are listed.
    """
    split = from_csv(bundle.run / names.SPLIT, bundle.folder)
    checked = {f"{IMAGES}/{entry.path}" for entry in split.catalogue().entries} if data == bundle.images else set()
    listed = []
    for name in bundle.names:
        folder = name.partition("/")[0]
        if folder == RUN or name in checked or (folder == REPORT and report == bundle.report):
            continue
        kind = BESIDE_HASHES if name in bundle.descriptions else KINDS.get(folder, UNKNOWN)
        listed.append(Unchecked(path=name, kind=kind))
    return listed


def describe_unchecked(listed: list[Unchecked]) -> str:
    """Return a sentence on the files of a bundle that were not checked."""
    places = [f"{each['path']} ({each['kind']})" for each in listed]
    return f"not checked: {first_of(places)}"
