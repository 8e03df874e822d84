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
from in4310repro.system.files import describe as describe_error, file_sha256, read_json, read_text
from in4310repro.system.schema import differences
from in4310repro.system.text import first_of
from in4310repro.verification.folder_checks import SHOWN, UNKNOWN, Unchecked

README = "README.txt"
# Files of an RO-Crate, whose root is that of the bundle, so that it describes files that are there already.
CRATE, VERIFICATION = "ro-crate-metadata.json", "verification.json"
RUN, REPORT, STATEMENT, IMAGES = "run", "report", "statement", "images"  # folders
OTHER_FILES, OTHER_FOLDERS = (README, CRATE, VERIFICATION), (REPORT, STATEMENT, IMAGES)
SHA256_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")  # as sha256sum writes it
IN_TOTO = "https://in-toto.io/Statement/"
BESIDE_HASHES = "what it says beside sha256"
SIZE = "contentSize"  # of a file in an RO-Crate, in bytes
ALGORITHMS = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")
HEX = re.compile(r"[0-9a-fA-F]{64,}")
# In the types of a file in an RO-Crate, whose context makes both one; each may be a whole address.
FILE_TYPE = re.compile(r"""(^|[/:#'"])(File|MediaObject)(['"]|$)""")
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
        """The JSON of the RO-Crate and of each in-toto statement by its file; None for a crate that is not JSON."""
        described: dict[str, Any] = {}
        for name in self.names:
            if name == CRATE or (name.startswith(f"{STATEMENT}/") and name.endswith(".json")):
                content = None
                with suppress(ValueError):
                    content = read_json(self.folder / name)
                if name == CRATE or (isinstance(content, dict) and f"{content.get('_type')}".startswith(IN_TOTO)):
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
        ValueError: the file is not a bundle in exactly the form in which `export --as bundle` writes one.
        OSError: the file cannot be read, or its content cannot be written.
    """
    with file.open("rb") as beginning:
        if beginning.read(2) != b"PK":
            raise ValueError(f"{file} is not a run folder, nor a bundle of `in4310repro export RUN --as bundle`")
    with signals.temporary_folder() as folder:
        listed = archive.unpack(file, folder, _refusal)
        others = (place if (place := folder / name).is_dir() else None for name in (REPORT, IMAGES))
        bundle = Bundle(file, folder, listed, folder / RUN, *others)
        try:
            yield bundle
        except (ValueError, OSError) as error:
            raise ValueError(bundle.shown(describe_error(error))) from None


def _refusal(name: str) -> str:
    """Return why an entry of this name belongs to no bundle; empty if it may be in one."""
    folder, _, rest = name.partition("/")
    of_run = rest == names.MANIFEST or names.is_of_run(rest) or names.is_kept_epoch(rest)
    if name in OTHER_FILES or (of_run if folder == RUN else rest and folder in OTHER_FOLDERS):
        return ""
    valid = f"{', '.join(OTHER_FILES)}, {RUN}/ with the files of a run, {'/, '.join(OTHER_FOLDERS)}/"
    return f"does not belong in a bundle, which holds {valid}"


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
    found = [*_hash_differences(bundle, README, hashes)]
    found += [
        f"{bundle.file}/{README}: {line[:200]!r} has a hash and no file's name behind it, as sha256sum writes it"
        for line, match in matches.items()
        if not match and HEX.search(line)
    ]
    run = None
    # Errors of the run itself are reported by `verify`.
    with suppress(ValueError, OSError):
        run = FinishedRun.open(bundle.run)
    for source, content in bundle.descriptions.items():
        named = _digests(content, source == CRATE)
        if not named:
            found.append(f"{bundle.file}/{source} has no list of files, each with its name and sha256")
        found += _hash_differences(bundle, source, named)
        if run:
            found += _contradictions(bundle, source, content, named, run)
    return found


def _contradictions(bundle: Bundle, source: str, content: Any, named: Digests, run: FinishedRun) -> Iterator[str]:
    """Yield a message for each text of a description that does not fit the run or the bundle.

    These are the hashes of the run in a statement's predicate, and its selection, if they are others; texts of 64 or
    more hex digits that are not a hash of the bundle or its run, whose hashes are also those that its files hold, such
    as of weights and images; and places in the folders of a bundle that are not there.
    """
    said, place = _inside(content, "predicate"), f"{bundle.file}/{source}"
    ours: dict[str, Any] = {"manifest_sha256": run.files.manifest_sha256(), "chain_sha256": run.training_sha256}
    theirs = {name: said.get(name, value) for name, value in ours.items()}
    if "selected" in said:
        ours["selected"] = {name: value for name, value in run.metrics.items() if name in SELECTED}
        theirs["selected"] = {name: _inside(said, "selected").get(name) for name in SELECTED}
    for each in differences(ours, theirs, rules={}):
        words = f"{each.second}"[:100] if isinstance(each.second, type(each.first)) else "not a text"
        yield f"{place}: {each.path} is {words}; the run has {each.first}"
    listed, text = run.files.manifest(), json.dumps(content)
    texts = [read_text(run.folder / name) for name in listed if name.endswith((".json", ".csv"))]
    known = {
        *HEX.findall(" ".join([*texts, *listed.values(), ours["manifest_sha256"]])),
        *(file_sha256(bundle.folder / name) for name in bundle.names),
        *(chain.sha256_of(each[-1], run.config) for each in run.tensors.values()),
        *(value for _, digests in named for value in digests.values()),
    }
    for sha256 in dict.fromkeys(HEX.findall(text)):
        if sha256 not in known:
            yield f"{place} names {sha256[:200]}, which is not a hash of the bundle or of its run"
    places: list[Any] = []
    # Called with each object anywhere in the description.
    json.loads(text, object_hook=lambda inner: places.append(inner.get("@id")))
    for path in dict.fromkeys(each.removeprefix("./") for each in places if isinstance(each, str)):
        there = any(f"{name}/".startswith(f"{path.rstrip('/')}/") for name in bundle.names)
        if path.partition("/")[0] in (RUN, *OTHER_FOLDERS) and not there:
            yield f"{place} names {path[:200]}, which the bundle does not hold"


def _inside(content: Any, key: str) -> Mapping[str, Any]:
    """Return the mapping under a key of a JSON value; an empty one if it has another form."""
    inner = content.get(key) if isinstance(content, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _digests(content: Any, of_crate: bool) -> Digests:
    """Return what an RO-Crate or a statement says of files if it is texts; nothing where it has another form."""
    try:
        named = (
            [
                (each["@id"], {name: each[name] for name in (*ALGORITHMS, SIZE) if name in each})
                for each in content["@graph"]
                if "sha256" in each or FILE_TYPE.search(f"{each.get('@type')}")
            ]
            if of_crate
            else [(each["name"], dict(each["digest"])) for each in content["subject"]]
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return []
    texts = (isinstance(each, str) for name, found in named for each in (name, *found.values()))
    return named if all(texts) and all("sha256" in found for _, found in named) else []


def _hash_differences(bundle: Bundle, source: str, named: Digests) -> Iterator[str]:
    """Yield a message if no file of a name, in the bundle or in its run, has the hashes that `source` names."""
    for name, digests in named:
        present = [each for each in (name, f"{RUN}/{name}") if each in bundle.names]
        if not present:
            yield f"{bundle.file}/{source} names {name[:200]}, which the bundle does not hold"
            continue
        for algorithm, digest in digests.items():
            if algorithm not in (*ALGORITHMS, SIZE):
                known = f"of hashes, {', '.join(ALGORITHMS)} are compared"
                yield f"{bundle.file}/{source} names a {algorithm[:100]} of {present[0]}; {known}"
            elif digest not in {_measure(bundle.folder / each, algorithm) for each in present}:
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
    # Without a kind: what was compared.
    kinds = {**KINDS, RUN: "", **({REPORT: ""} if report == bundle.report else {})}
    listed = {name: kinds.get(name.partition("/")[0], UNKNOWN) for name in bundle.names}
    listed |= dict.fromkeys(bundle.descriptions, BESIDE_HASHES)
    if data == bundle.images:
        entries = from_csv(bundle.run / names.SPLIT, bundle.folder).catalogue().entries
        listed |= {f"{IMAGES}/{entry.path}": "" for entry in entries}
    return [Unchecked(path=name, kind=kind) for name, kind in listed.items() if kind]


def describe_unchecked(listed: list[Unchecked]) -> str:
    """Return a sentence on the files of a bundle that were not checked."""
    return "not checked: " + first_of([f"{each['path']} ({each['kind']})" for each in listed], SHOWN)
