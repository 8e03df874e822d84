"""A bundle, the zip file with a run and what belongs to it: layout, unpacking, and checks of its other files."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from in4310repro.data.splits import from_csv
from in4310repro.runs import chain, names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system import archive, signals
from in4310repro.system.files import describe as describe_error
from in4310repro.system.files import file_sha256, read_json, read_text, regular_file
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
# A type of a file in an RO-Crate, whose context makes both one; it may be a whole address.
FILE_TYPE = re.compile(r"(?s)(.*[/:#])?(File|MediaObject)")
SELECTED = ("setting", "epoch", "weights_sha256")
Digests = list[tuple[Any, dict[str, Any]]]  # name and digests, by algorithm, of each file that a JSON value is about
# What is not compared, by file or folder.
KINDS = {README: BESIDE_HASHES, CRATE: BESIDE_HASHES, VERIFICATION: "a claim", REPORT: "report", IMAGES: "image"}


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle: its zip file, the temporary folder with its files, and their names."""

    file: Path
    folder: Path
    names: list[str]
    run: Path
    report: Path | None  # folder of the report; None if the bundle has none
    images: Path | None  # folder of the run's images; None if the bundle has none

    @cached_property
    def descriptions(self) -> dict[str, Any]:
        """The JSON of the RO-Crate and of each in-toto statement by its file; None of a crate that is no JSON."""
        described: dict[str, Any] = dict.fromkeys({CRATE} & {*self.names})
        for name in self.names:
            if name == CRATE or (name.startswith(f"{STATEMENT}/") and name.endswith(".json")):
                with suppress(ValueError):
                    content = read_json(self.folder / name)
                    kind = f"{content.get('_type')}" if isinstance(content, Mapping) else ""
                    if name == CRATE or kind.startswith(IN_TOTO):
                        described[name] = content
        return described

    def shown(self, text: str) -> str:
        """Return a text with the bundle's name in place of the temporary folder's."""
        text = re.sub(rf"{re.escape(f'{self.run}')}(?![\w./\\-])", lambda _: f"{self.file}", text)
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
    with signals.temporary_folder() as folder:
        listed = archive.unpack(file, folder, _refusal)
        others = (place if (place := folder / name).is_dir() else None for name in (REPORT, IMAGES))
        bundle = Bundle(file, folder, listed, folder / RUN, *others)
        try:
            yield bundle
        except (ValueError, OSError) as error:
            text = describe_error(error) if isinstance(error, OSError) else f"{error}"
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
    hashes: Digests = [(match[2], {"sha256": match[1]}) for match in matches.values() if match]
    if f"{RUN}/{names.MANIFEST}" not in dict(hashes):
        return [f"{bundle.file}/{README} does not name the sha256 of {RUN}/{names.MANIFEST}"]
    differences = [*_hash_differences(bundle, README, hashes)]
    differences += [
        f"{bundle.file}/{README}: {line[:200]!r} has a hash and no file's name behind it, as sha256sum writes it"
        for line, match in matches.items()
        if not match and HEX.search(line)
    ]
    run = None
    # What is wrong with the run `verify` says.
    with suppress(ValueError, OSError):
        run = FinishedRun.open(bundle.run)
    for source, content in bundle.descriptions.items():
        named = _digests(content, source == CRATE)
        if not named:
            differences.append(f"{bundle.file}/{source} has no list of files, each with its name and sha256")
        differences += _hash_differences(bundle, source, named)
        if run:
            differences += _contradictions(bundle, source, content, named, run)
    return differences


def _contradictions(bundle: Bundle, source: str, content: Any, named: Digests, run: FinishedRun) -> Iterator[str]:
    """Yield a message for each text of a description that does not fit the run or the bundle.

    These are the hashes of the run in a statement's predicate, and its selection, if they are others; texts of 64 or
    more hex digits that are no hash of the bundle or its run, whose hashes are also those that its files hold, such
    as of weights and images; and places in the folders of a bundle that are not there.
    """
    said, place = content.get("predicate") if source != CRATE else None, f"{bundle.file}/{source}"
    said, manifest = said if isinstance(said, Mapping) else {}, run.files.manifest()
    hashes = {"manifest_sha256": run.files.manifest_sha256(), "chain_sha256": run.training_sha256}
    compared: list[tuple[str, Any, Any]] = [(name, value, said.get(name, value)) for name, value in hashes.items()]
    if "selected" in said:
        inner = said["selected"] if isinstance(said["selected"], Mapping) else {}
        of_run = {name: value for name, value in run.metrics.items() if name in SELECTED}
        compared += [(f"selected.{name}", value, inner.get(name)) for name, value in of_run.items()]
    for name, value, found in compared:
        if found != value or type(found) is not type(value):
            words = f"{found}"[:100] if isinstance(found, type(value)) else "no text"
            yield f"{place}: {name} is {words}; the run has {value}"
    texts = [read_text(run.folder / name) for name in manifest if name.endswith((".json", ".csv"))]
    known = {
        *(each for text in texts for each in HEX.findall(text)),
        *manifest.values(),
        *(file_sha256(regular_file(bundle.folder, name)) for name in bundle.names),
        run.files.manifest_sha256(),
        *(chain.sha256_of(each[-1], run.config) for each in run.tensors.values()),
        *(value for _, digests in named for value in digests.values()),
    }
    for sha256 in dict.fromkeys(HEX.findall(json.dumps(content))):
        if sha256 not in known:
            yield f"{place} names {sha256[:200]}, which is no hash of the bundle or of its run"
    for path in dict.fromkeys(_places(content)):
        if not any(f"{name}/".startswith(f"{path.rstrip('/')}/") for name in bundle.names):
            yield f"{place} names {path[:200]}, which the bundle does not hold"


def _places(content: Any) -> Iterator[str]:
    """Yield each `@id` anywhere in a JSON value that is a place in the folders of a bundle."""
    if isinstance(content, dict | list):
        for each in content.values() if isinstance(content, dict) else content:
            yield from _places(each)
    place = content.get("@id") if isinstance(content, dict) else None
    if isinstance(place, str) and place.removeprefix("./").partition("/")[0] in (RUN, *OTHER_FOLDERS):
        yield place.removeprefix("./")


def _digests(content: Any, of_crate: bool) -> Digests:
    """Return what an RO-Crate or a statement says of files if it is texts; nothing where it has another form."""
    try:
        named = (
            [
                (each["@id"], {name: each[name] for name in ("sha256", SIZE, *ALGORITHMS) if name in each})
                for each in content["@graph"]
                if "sha256" in each or _is_file(each.get("@type"))
            ]
            if of_crate
            else [(each["name"], dict(each["digest"])) for each in content["subject"]]
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return []
    texts = (isinstance(each, str) for name, found in named for each in (name, *found.values()))
    return named if all(texts) and all("sha256" in found for _, found in named) else []


def _is_file(types: Any) -> bool:
    """Return whether an entry of an RO-Crate with these types is a file."""
    return any(FILE_TYPE.fullmatch(f"{each}") for each in (types if isinstance(types, list) else [types]))


def _hash_differences(bundle: Bundle, source: str, named: Digests) -> Iterator[str]:
    """Yield a message if no file of a name, in the bundle or in its run, has the hashes that `source` names."""
    for name, digests in named:
        present = [each for each in (name, f"{RUN}/{name}") if each in bundle.names]
        if not present:
            yield f"{bundle.file}/{source} names {name[:200]}, which the bundle does not hold"
            continue
        files = [regular_file(bundle.folder, each) for each in present]
        for algorithm, digest in digests.items():
            if algorithm not in (SIZE, *ALGORITHMS):
                place = f"{algorithm[:100]} of {present[0]}"
                yield f"{bundle.file}/{source} names a {place}; of hashes, {', '.join(ALGORITHMS)} are compared"
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
    skipped = (RUN, REPORT) if report == bundle.report else (RUN,)
    kinds = {name: KINDS.get(name.partition("/")[0], UNKNOWN) for name in bundle.names if name not in checked}
    kinds |= dict.fromkeys(bundle.descriptions, BESIDE_HASHES)
    return [Unchecked(path=name, kind=kind) for name, kind in kinds.items() if name.partition("/")[0] not in skipped]


def describe_unchecked(listed: list[Unchecked]) -> str:
    """Return a sentence on the files of a bundle that were not checked."""
    places = [f"{each['path']} ({each['kind']})" for each in listed]
    return f"not checked: {first_of(places)}"
