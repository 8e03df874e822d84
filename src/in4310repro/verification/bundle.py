"""A bundle, the zip file with a run and what belongs to it: layout, unpacking, and checks of its other files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from in4310repro.data.splits import from_csv
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import describe as describe_error
from in4310repro.system.files import file_sha256, read_json, read_text, regular_file
from in4310repro.system.signals import temporary_folder
from in4310repro.system.unpacking import unpack
from in4310repro.verification.folder import Unchecked, first_of

README = "README.txt"
# Of an RO-Crate, whose root is that of the bundle, so that it describes files that are there already.
CRATE, VERIFICATION = "ro-crate-metadata.json", "verification.json"
RUN, REPORT, STATEMENT, IMAGES = "run", "report", "statement", "images"  # folders
OTHER_FILES, OTHER_FOLDERS = (README, CRATE, VERIFICATION), (REPORT, STATEMENT, IMAGES)
SHA256_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")  # as sha256sum writes it
IN_TOTO = "https://in-toto.io/Statement/"
BESIDE_HASHES, UNKNOWN = "what it says beside sha256", "unknown file"
Pairs = list[tuple[Any, Any]]  # name and sha256 of each file that a JSON value is about
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
    """Return a message for each sha256 in README, in-toto statements and RO-Crate that no file of the bundle has.

    A README without the hash of the run's manifest is a difference, too.
    """
    if README not in bundle.names:
        return [f"{bundle.file} holds no {README}"]
    try:
        lines = map(SHA256_LINE.fullmatch, read_text(bundle.folder / README).splitlines())
    except UnicodeDecodeError:
        return [f"{bundle.file}/{README} is not UTF-8"]
    hashes = [(line[2], line[1]) for line in lines if line]
    if f"{RUN}/{names.MANIFEST}" not in dict(hashes):
        return [f"{bundle.file}/{README} does not name the sha256 of {RUN}/{names.MANIFEST}"]
    differences = [each for name, sha256 in hashes for each in _hash_differences(bundle, README, name, sha256)]
    for source, content in bundle.descriptions.items():
        named = _pairs(content, _of_crate if source == CRATE else _of_statement)
        if not named:
            differences.append(f"{bundle.file}/{source} has no list of files, each with its name and sha256")
        differences += [each for name, sha256 in named for each in _hash_differences(bundle, source, name, sha256)]
        if source != CRATE:
            differences += _predicate_differences(bundle, source, content.get("predicate"))
    return differences


def _predicate_differences(bundle: Bundle, source: str, predicate: object) -> Iterator[str]:
    """Yield a message for each hash of the whole run in a statement's predicate that the run does not have."""
    try:
        run = FinishedRun.open(bundle.run)
    except (ValueError, OSError):
        # Which `verify` says of the run.
        return
    hashes = {"manifest_sha256": run.files.manifest_sha256(), "chain_sha256": run.training_sha256}
    for name, value in hashes.items():
        said = predicate.get(name, value) if isinstance(predicate, Mapping) else value
        if said != value:
            words = said[:100] if isinstance(said, str) else "no text"
            yield f"{bundle.file}/{source}: {name} is {words}; the run has {value}"


def _of_crate(crate: Any) -> Pairs:
    return [(e["@id"], e["sha256"]) for e in crate["@graph"] if "sha256" in e or e.get("@type") == "File"]


def _of_statement(statement: Any) -> Pairs:
    return [(e["name"], e["digest"]["sha256"]) for e in statement["subject"]]


def _pairs(content: Any, read: Callable[[Any], Pairs]) -> list[tuple[str, str]]:
    """Return what `read` finds in a JSON value if it is texts; nothing where the value has another form."""
    try:
        pairs = read(content)
    except (AttributeError, KeyError, TypeError):
        return []
    return pairs if all(isinstance(each, str) for pair in pairs for each in pair) else []


def _hash_differences(bundle: Bundle, source: str, name: str, sha256: str) -> Iterator[str]:
    """Yield a message if no file of this name, in the bundle or in its run, has the hash that `source` names."""
    present = [each for each in (name, f"{RUN}/{name}") if each in bundle.names]
    if not present:
        yield f"{bundle.file}/{source} names {name[:200]}, which the bundle does not hold"
    elif all(file_sha256(regular_file(bundle.folder, each)) != sha256 for each in present):
        yield f"{bundle.file}/{present[0]} has another sha256 than {source} names"


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
