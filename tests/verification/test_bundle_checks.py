"""`verify BUNDLE.zip`: as its folder, with what else is in it, and without a trace on the disk."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from in4310repro.data.embedded import embedded_catalogue
from in4310repro.export.bundle import contents
from in4310repro.export.table import Extras
from in4310repro.report import page
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.system import archive, signals
from in4310repro.system.files import file_sha256, json_bytes
from in4310repro.verification.bundle_checks import bundle_differences, unpacked
from tests.conftest import Call, refused

SUBJECTS = ("metrics.json", "run/scores.npz", "report/index.html")


def statement(run: FinishedRun, extras: Extras) -> dict[str, bytes]:
    """Return an in-toto statement with the three ways in which a subject can be named, and a signature beside it."""
    assert extras.report
    files = (run.folder / "metrics.json", run.folder / "scores.npz", extras.report / "index.html")
    subjects = [
        {"name": name, "digest": {"sha256": file_sha256(file)}} for name, file in zip(SUBJECTS, files, strict=True)
    ]
    content = {"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicate": {"note": "said"}}
    return {"statement.json": json_bytes(content), "statement.json.sig": b"signed"}


def crate(run: FinishedRun) -> dict[str, bytes]:
    """Return the metadata of an RO-Crate, which describes a file of the run, and a file beside it."""
    described = {"@id": "run/split.csv", "@type": "File", "sha256": file_sha256(run.folder / "split.csv")}
    metadata = json_bytes({"@graph": [{"@id": "./"}, described]})
    return {"ro-crate-metadata.json": metadata, "verification.json": b"{}"}


def scenes() -> Path:
    tiny = PRESETS["tiny"]
    return embedded_catalogue(tiny.scenes, tiny.image_size, tiny.seed).root


@pytest.fixture(scope="module")
def bundle(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of the tiny run with everything that can be in one, which a test must not change."""
    place, run = tmp_path_factory.mktemp("bundle"), FinishedRun.open(finished_run)
    page.write(run, place / "report")
    (place / "report" / "check-pixels.safetensors").write_bytes(bytes(18))
    extras = Extras(report=place / "report", images=scenes())
    others = {f"statement/{name}": each for name, each in statement(run, extras).items()} | crate(run)
    archive.write(place / "bundle.zip", contents(run, extras) | others)
    return place / "bundle.zip"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which temporary files are made."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def rewrite(bundle: Path, file: Path, changes: Mapping[str, Callable[[bytes], bytes]]) -> Path:
    """Write a bundle with changed files and the checksums that fit them, as a forger does."""
    with zipfile.ZipFile(bundle) as zipped:
        contents = {name: zipped.read(name) for name in zipped.namelist()}
    archive.write(file, contents | {name: change(contents.get(name, b"")) for name, change in changes.items()})
    return file


def flip(data: bytes) -> bytes:
    """Return the bytes with the last bit of the middle one changed, of a page before its first photograph."""
    # A page is made again with the photographs that are in it.
    place = len(data.partition(b"data:image/jpeg")[0]) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.long(20)
def test_a_bundle_verifies_like_its_folder(call: Call, bundle: Path, finished_run: Path, temporary: Path) -> None:
    code, of_bundle, _ = call("verify", f"{bundle}", "--json")
    assert code == 0
    report = f"{bundle.parent / 'report'}"
    code, of_folder, _ = call("verify", f"{finished_run}", "--report", report, "--data", f"{scenes()}", "--json")
    assert code == 0
    document = json.loads(of_bundle)
    assert document.pop("not_checked_in_bundle") == [
        {"path": "README.txt", "kind": "what it says beside sha256"},
        {"path": "ro-crate-metadata.json", "kind": "what it says beside sha256"},
        {"path": "statement/statement.json", "kind": "what it says beside sha256"},
        {"path": "statement/statement.json.sig", "kind": "unknown file"},
        {"path": "verification.json", "kind": "a claim"},
    ]
    assert document["not_checked_in_report"] == [{"path": "check-pixels.safetensors", "kind": "unknown file"}]
    assert document == json.loads(of_folder)
    assert [*temporary.iterdir()] == []


UNCHECKED = ("verification.json", "statement/statement.json.sig", "report/check-pixels.safetensors")


@pytest.mark.long(10)
def test_what_is_compared_with_nothing_is_named(call: Call, bundle: Path, temporary: Path, tmp_path: Path) -> None:
    changes = {
        **dict.fromkeys(UNCHECKED, flip),
        "README.txt": lambda data: data.replace(b"networks", b"a network"),
        "statement/statement.json": lambda data: data.replace(b"said", b"told"),
        "ro-crate-metadata.json": lambda data: data.replace(b'"File"', b'"Film"'),
    }
    code, printed, error = call("verify", f"{rewrite(bundle, tmp_path / 'b.zip', changes)}")
    assert code == 0
    assert f"{tmp_path / 'b.zip'}: not checked: README.txt (what it says beside sha256), ro-crate" in printed
    assert all(name.removeprefix("report/") in printed for name in changes)
    assert f"{temporary}" not in printed + error
    assert [*temporary.iterdir()] == []


@pytest.mark.long(10)
@pytest.mark.parametrize(
    "names",
    [
        ("run/metrics.json", "run/adamw/best.safetensors", "run/split.csv"),
        ("report/figure01.json", "report/figure01.svg", "report/index.html", "report/report.md"),
        ("images/forest/0000.bmp",),
    ],
    ids=["run", "report", "images"],
)
def test_what_is_changed_elsewhere_is_a_difference(
    names: tuple[str, ...], call: Call, bundle: Path, temporary: Path, tmp_path: Path
) -> None:
    code, printed, _ = call("verify", f"{rewrite(bundle, tmp_path / 'b.zip', dict.fromkeys(names, flip))}")
    assert code == 1
    for name in names:
        assert any("difference: " in line and name.removeprefix("images/") in line for line in printed.splitlines())
    assert f"{temporary}" not in printed
    assert [*temporary.iterdir()] == []


def other_digest(data: bytes) -> bytes:
    statement = json.loads(data)
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    return json_bytes(statement)


def other_name(data: bytes) -> bytes:
    statement = json.loads(data)
    statement["subject"][1]["name"] = "../../etc/passwd"
    return json_bytes(statement)


def other_run(data: bytes) -> bytes:
    return json_bytes({**json.loads(data), "predicate": {"chain_sha256": "0" * 64, "manifest_sha256": "1" * 64}})


def with_an_absent_file(types: str | list[str]) -> Callable[[bytes], bytes]:
    """Return a change that adds an entry of these types, without a hash, to an RO-Crate."""

    def change(data: bytes) -> bytes:
        crate = json.loads(data)
        return json_bytes({**crate, "@graph": [*crate["@graph"], {"@id": "report/none.html", "@type": types}]})

    return change


def selecting(**values: Any) -> Callable[[bytes], bytes]:
    """Return a change that puts these values into the selection of a statement's predicate."""
    return lambda data: json_bytes({**json.loads(data), "predicate": {"selected": values}})


def of_type(*types: str) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(b'"File"', json.dumps(types).encode()).replace(b"run/split.csv", b"run/none.csv")


def beside_sha256(key: str, algorithm: str, value: str) -> Callable[[bytes], bytes]:
    """Return a change that puts another hash beside each right sha256 of a list of files."""

    def change(data: bytes) -> bytes:
        content = json.loads(data)
        for entry in content[key]:
            inside = entry.get("digest", entry)
            if "sha256" in inside:
                inside[algorithm] = value
        return json_bytes(content)

    return change


def mentioning(key: str, value: object) -> Callable[[bytes], bytes]:
    return lambda data: json_bytes({**json.loads(data), key: value})


def without_subjects(data: bytes) -> bytes:
    return json_bytes({**json.loads(data), "subject": [{"name": "x"}]})


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("run/metrics.json", flip, ["run/metrics.json has another sha256 than statement/statement.json names"]),
        ("run/manifest.json", flip, ["run/manifest.json has another sha256 than README.txt names"]),
        ("run/scores.npz", flip, ["run/scores.npz has another sha256 than statement/statement.json names"]),
        ("report/index.html", flip, ["report/index.html has another sha256 than statement/statement.json names"]),
        ("README.txt", lambda data: data.replace(b"  run/", b" run/"), ["does not name the sha256 of run/manifest"]),
        ("README.txt", lambda data: data + b"0" * 64 + b"  run/x\n", ["names run/x, which the bundle does not hold"]),
        ("README.txt", lambda _data: b"\xff", ["README.txt is not UTF-8"]),
        (
            "README.txt",
            lambda data: data + b"A" * 64 + b" *run/split.csv\n",
            ["has a hash and no file's name behind it"],
        ),
        ("README.txt", lambda data: data + b"The weights have " + b"0" * 64, ["'The weights have 0000"]),
        ("statement/statement.json", selecting(weights_sha256="0" * 64), ["selected.weights_sha256 is 0000"]),
        ("statement/statement.json", selecting(setting="sgd", epoch=9), ["selected.setting is sgd", "epoch is 9"]),
        ("statement/statement.json", beside_sha256("subject", "sha512", "0"), ["another sha512 than statement/"]),
        ("statement/statement.json", beside_sha256("subject", "c" * 101, "0"), [f"a {'c' * 100} of run/metrics.json"]),
        ("statement/statement.json", mentioning("note", {"x": ["0" * 64]}), ["which is not a hash of the bundle"]),
        ("ro-crate-metadata.json", of_type("File"), ["names run/none.csv, which the bundle does not hold"]),
        ("ro-crate-metadata.json", of_type("x", "https://schema.org/MediaObject"), ["names run/none.csv"]),
        ("ro-crate-metadata.json", beside_sha256("@graph", "sha512", "0" * 128), ["another sha512 than ro-crate"]),
        ("ro-crate-metadata.json", beside_sha256("@graph", "contentSize", "1"), ["another contentSize than ro-cr"]),
        (
            "ro-crate-metadata.json",
            mentioning("hasPart", [{"@id": "./run/none"}]),
            ["names run/none, which the bundle"],
        ),
        ("README.txt", lambda data: b"0" * 64 + b"  run/manifest.json\n" + data, ["manifest.json has another sha256"]),
        ("statement/statement.json", other_run, ["chain_sha256 is 0000", "manifest_sha256 is 1111"]),
        ("ro-crate-metadata.json", with_an_absent_file("File"), ["ro-crate-metadata.json has no list of files"]),
        ("ro-crate-metadata.json", with_an_absent_file(["it's:File"]), ["ro-crate-metadata.json has no list of files"]),
        ("statement/statement.json", other_digest, ["run/metrics.json has another sha256 than statement/"]),
        ("statement/statement.json", other_name, ["names ../../etc/passwd, which the bundle does not hold"]),
        ("statement/statement.json", without_subjects, ["statement.json has no list of files, each with its name"]),
        ("run/split.csv", flip, ["run/split.csv has another sha256 than ro-crate-metadata.json names"]),
        ("ro-crate-metadata.json", lambda _data: b"{}", ["ro-crate-metadata.json has no list of files"]),
        ("ro-crate-metadata.json", lambda _data: b"?", ["ro-crate-metadata.json has no list of files"]),
    ],
)
def test_hashes_of_readme_and_statement_are_compared(
    name: str, change: Callable[[bytes], bytes], words: list[str], small: Path, tmp_path: Path
) -> None:
    with unpacked(rewrite(small, tmp_path / "b.zip", {name: change})) as opened:
        differences = bundle_differences(opened)
    assert [any(each in difference for difference in differences) for each in words] == [True] * len(words)
    assert all(f"{tmp_path / 'b.zip'}/" in difference for difference in differences)


ANOTHER_FORM: list[Any] = [
    *(None, 7, "", "sha256", {}, [], ["x"], ["sha256"], [None], [7], [True], [[]], [["@id"]], [{}], [[{}]]),
    *([{"@id": "x", "name": "x", "sha256": sha256, "digest": sha256}] for sha256 in (None, 7, ["x"], {"x": 1})),
    *([{"@id": name, "name": name, "sha256": "0", "digest": {"sha256": "0"}}] for name in (None, 7, ["x"], {"x": 1})),
    [{"@id": "x", "name": "x", "sha256": ["x"], "digest": {"sha256": ["x"]}}],
    [{"@type": "File", "sha256": "0", "digest": {"sha256": "0"}}],
]


@pytest.mark.parametrize("value", ANOTHER_FORM, ids=str)
@pytest.mark.parametrize(
    ("name", "key"), [("ro-crate-metadata.json", "@graph"), ("statement/statement.json", "subject")]
)
def test_a_list_of_files_in_another_form_is_a_difference(
    name: str, key: str, value: Any, small: Path, tmp_path: Path
) -> None:
    forged = rewrite(small, tmp_path / "b.zip", {name: lambda data: json_bytes({**json.loads(data), key: value})})
    with unpacked(forged) as opened:
        assert bundle_differences(opened) == [f"{forged}/{name} has no list of files, each with its name and sha256"]


@pytest.mark.parametrize("value", [None, 7, [], {}], ids=str)
def test_another_form_of_a_predicate_or_type_is_compared_with_nothing_and_that_of_a_hash_is_a_difference(
    value: Any, small: Path, tmp_path: Path
) -> None:
    def differences(**changed: Any) -> list[str]:
        changes = {"statement/statement.json": lambda data: json_bytes({**json.loads(data), **changed})}
        with unpacked(rewrite(small, tmp_path / "b.zip", changes)) as opened:
            return bundle_differences(opened)

    assert differences(predicate=value) == differences(_type=value, subject=value) == []
    (difference,) = differences(predicate={"chain_sha256": value})
    assert "/statement/statement.json: chain_sha256 is not a text; the run has " in difference


@pytest.fixture(scope="module")
def small(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle whose weights are a few bytes; only checks that compute nothing can be made with it."""
    with zipfile.ZipFile(bundle) as zipped:
        kept = [name for name in zipped.namelist() if not name.endswith(".safetensors")]
        contents: dict[str, Path | bytes] = {name: zipped.read(name) for name in kept}
    readme = bytes(contents["README.txt"])
    contents["README.txt"] = b"".join(line for line in readme.splitlines(True) if b".safetensors" not in line)
    archive.write(file := tmp_path_factory.mktemp("small") / "small.zip", contents)
    return file


def test_an_unchanged_bundle_has_no_differences(bundle: Path, small: Path) -> None:
    for file in (bundle, small):
        with unpacked(file) as opened:
            assert bundle_differences(opened) == []


def test_a_difference_of_a_hash_is_told_with_those_of_the_run(call: Call, small: Path, tmp_path: Path) -> None:
    forged = rewrite(small, tmp_path / "b.zip", {"statement/statement.json": other_digest})
    code, printed, _ = call("verify", f"{forged}", "--json")
    assert code == 1
    differences = json.loads(printed)["differences"]
    assert f"{forged}/run/metrics.json has another sha256 than statement/statement.json names" in differences
    assert f"{forged}/run/adamw/best.safetensors is missing or has other bytes than were written" in differences


def end_by(error: type[BaseException], bundle: Path) -> None:
    with unpacked(bundle) as opened:
        assert opened.run.is_dir()
        raise error


def test_the_folder_is_deleted_whatever_ends_the_check(small: Path, temporary: Path) -> None:
    for error in (KeyboardInterrupt, SystemExit, RuntimeError):
        with pytest.raises(error):
            end_by(error, small)
        assert [*temporary.iterdir()] == []


def test_the_folder_is_deleted_where_a_signal_ends_the_process_at_once(
    small: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[list[Path]] = []

    def end(code: int) -> NoReturn:
        left.append([*temporary.iterdir()])
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", end)
    with unpacked(small), pytest.raises(SystemExit, match="130"):
        signals.leave()
    assert left == [[]]


def test_errors_name_the_bundle_and_not_the_folder(small: Path) -> None:
    with pytest.raises(ValueError, match=r"small\.zip/run/x: it is not there"), unpacked(small) as opened:
        (opened.run / "x").read_bytes()
    with pytest.raises(ValueError, match=f"^{small} holds nothing; {small}/run/x$"), unpacked(small) as opened:
        raise ValueError(f"{opened.run} holds nothing; {opened.run / 'x'}")


@pytest.mark.parametrize(
    "name",
    [
        *("run/status.json", "run/logs/adamw/steps.csv", "run/adamw/checkpoint/000001-00000000-0123456789abcdef.x"),
        *("run/notes.txt", "run/a/b/best.safetensors", "run/adamw/epochs/1.safetensors", "config.json", "other/a"),
        *("run", "report", "readme.md"),
    ],
)
def test_what_no_bundle_holds_is_refused(name: str, call: Call, temporary: Path, tmp_path: Path) -> None:
    archive.write(tmp_path / "b.zip", {name: b"x"})
    refused(call, ("verify", "b.zip"), f"b.zip: the entry '{name}' does not belong in a bundle")
    assert [*temporary.iterdir()] == []


def test_a_file_that_is_no_bundle_is_refused_in_one_sentence(
    call: Call, small: Path, temporary: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("x")
    refused(call, ("verify", "a.txt"), "a.txt is not a run folder, nor a bundle of `in4310repro export")
    (tmp_path / "cut.zip").write_bytes(small.read_bytes()[:-40])
    refused(call, ("verify", "cut.zip"), "cut.zip is not a zip file, was cut off")
    with zipfile.ZipFile(tmp_path / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("run/config.json", "{}")
    refused(call, ("verify", "deflated.zip"), "the entry 'run/config.json' is compressed")
    archive.write(tmp_path / "empty.zip", {})
    refused(call, ("verify", "empty.zip"), "empty.zip is not a run folder: it has no config.json")
    damaged = bytearray(small.read_bytes())
    damaged[damaged.rindex(b'"orientation"')] ^= 1
    (tmp_path / "damaged.zip").write_bytes(damaged)
    refused(call, ("verify", "damaged.zip"), "the entry 'run/config.json' is damaged")
    assert [*temporary.iterdir()] == []


def test_a_repacked_bundle_is_refused(call: Call, small: Path, tmp_path: Path) -> None:
    """The same files stored by another program have other dates; their bytes are not those of the bundle."""
    file = io.BytesIO()
    with zipfile.ZipFile(small) as zipped, zipfile.ZipFile(file, "w") as again:
        for name in zipped.namelist():
            again.writestr(name, zipped.read(name))
    (tmp_path / "b.zip").write_bytes(file.getvalue())
    refused(call, ("verify", "b.zip"), "the entry 'README.txt' has header fields that do not match")


def test_images_that_are_not_used_are_named(call: Call, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes(), tmp_path / "scenes")
    code, printed, _ = call("verify", f"{bundle}", "--data", "scenes", "--json")
    assert code == 0
    kinds = {each["kind"] for each in json.loads(printed)["not_checked_in_bundle"]}
    assert "image" in kinds
