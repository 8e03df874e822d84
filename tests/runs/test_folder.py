"""The run folder: each file is complete or absent, a changed byte is detected, and files of others are rejected."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch

from in4310repro.runs import names
from in4310repro.runs.folder import (
    RunFolder,
    array_bytes,
    finished_files,
    read_arrays,
    unchanged,
    write_status,
    written,
)
from in4310repro.system.files import is_locked_here, json_bytes, release, write_atomically
from in4310repro.system.tensors import tensors_sha256
from in4310repro.verification.folder_checks import describe, recorded_files, unchecked_in
from tests.conftest import Call
from tests.processes import held_by_another_process

ARRAYS = {"paths": np.array(["a/1.png"]), "softmax": np.array([[0.25, 0.75]], np.float32)}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path / "run")
    made.write_json("config.json", {"preset": "tiny"})
    made.write_json("sgd/history.json", [{"loss": 0.1}])
    made.write_weights("sgd/best.safetensors", {"weight": torch.arange(6.0).reshape(2, 3)})
    made.write_bytes("scores.npz", array_bytes(ARRAYS))
    return made


def test_what_was_written_reads_back_as_it_was(run: RunFolder) -> None:
    assert run.read_json("sgd/history.json") == [{"loss": 0.1}]
    assert torch.equal(run.read_tensors("sgd/best.safetensors")["weight"], torch.arange(6.0).reshape(2, 3))
    assert read_arrays(run.file("scores.npz"))["softmax"].tolist() == [[0.25, 0.75]]


def test_an_unchanged_run_has_no_changed_files(run: RunFolder) -> None:
    assert run.changed_files() == []


@pytest.mark.parametrize("name", ["config.json", "sgd/best.safetensors", "scores.npz"])
@pytest.mark.parametrize("position", [0, 20, -1])
def test_one_flipped_bit_anywhere_is_found(name: str, position: int, run: RunFolder) -> None:
    file = run.folder / name
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(bytes(data))
    assert run.changed_files() == [name]


def test_a_missing_file_is_found(run: RunFolder) -> None:
    (run.folder / "scores.npz").unlink()
    assert run.changed_files() == ["scores.npz"]


def test_equal_arrays_make_equal_bytes(run: RunFolder, tmp_path: Path) -> None:
    again = RunFolder.create(tmp_path / "again")
    again.write_bytes("scores.npz", array_bytes(ARRAYS))
    assert (again.folder / "scores.npz").read_bytes() == (run.folder / "scores.npz").read_bytes()


def test_an_interrupted_write_leaves_the_file_as_it_was(run: RunFolder) -> None:
    def interrupted(stream: IO[bytes]) -> None:
        stream.write(b"half of it")
        raise KeyboardInterrupt

    before = (run.folder / "config.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_atomically(run.folder / "config.json", interrupted)
    assert (run.folder / "config.json").read_bytes() == before
    assert not [file for file in run.folder.iterdir() if file.name.endswith(".part")]


def test_a_new_run_moves_the_one_before_aside(run: RunFolder) -> None:
    for number in (1, 2):
        RunFolder.create(run.folder).write_json("config.json", {"preset": str(number)})
    assert RunFolder.open(run.folder).read_json("config.json") == {"preset": "2"}
    assert RunFolder.open(run.folder.with_name("run.1")).read_json("config.json") == {"preset": "tiny"}
    assert RunFolder.open(run.folder.with_name("run.2")).read_json("config.json") == {"preset": "1"}


@pytest.mark.parametrize(
    "left",
    [
        [".fingerprint.json.0123456789ab.part"],
        ["fingerprint.json"],
        ["fingerprint.json", ".manifest.json.0123456789ab.part"],
    ],
)
def test_what_a_run_killed_as_it_began_has_left_stops_no_new_one(left: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in left:
        (folder / name).write_text("{")
    assert not [*RunFolder.create(folder).folder.iterdir()]
    assert {file.name for file in (tmp_path / "run.1").iterdir()} == {*left}


def test_a_folder_with_a_persons_files_is_never_moved(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("mine")
    with pytest.raises(ValueError, match="thesis holds other files than a run's"):
        RunFolder.create(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").is_file()


def test_two_processes_cannot_train_in_one_folder(run: RunFolder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "shared"))
    with held_by_another_process(folder):
        for begin in (RunFolder.create, RunFolder.reopen):
            with pytest.raises(ValueError, match=f"another process works on {re.escape(str(folder))}"):
                begin(folder)
    assert RunFolder.open(folder).changed_files() == []


def test_a_run_without_a_manifest_is_not_taken_for_unchanged(run: RunFolder) -> None:
    (run.folder / "manifest.json").unlink()
    assert run.changed_files() == ["manifest.json"]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a run folder: it has no config\.json"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"{not json", b"\xff\xfe"])
def test_a_missing_or_damaged_file_is_named(content: bytes | None, run: RunFolder) -> None:
    for name, read in (
        ("config.json", run.read_json),
        ("scores.npz", lambda name: read_arrays(run.file(name))),
        ("sgd/best.safetensors", run.read_tensors),
    ):
        file = run.folder / name
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read(name)


def test_nan_is_not_written_as_json(run: RunFolder) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json("metrics.json", {"loss": float("nan")})


def test_the_hash_of_tensors_sees_names_bits_and_shapes_and_not_the_layout() -> None:
    value = torch.arange(48.0).reshape(1, 3, 4, 4)
    known = tensors_sha256({"w": value, "b": torch.zeros(2)})
    same = {"b": torch.zeros(2), "w": value.to(memory_format=torch.channels_last)}
    assert tensors_sha256(same) == known
    for other in ({"v": value}, {"w": value.reshape(3, 1, 4, 4)}, {"w": value.double()}, {"w": -value}):
        assert tensors_sha256({"b": torch.zeros(2)} | other) != known
    assert tensors_sha256({"w": torch.zeros(1)}) != tensors_sha256({"w": -torch.zeros(1)})


def test_an_empty_folder_becomes_the_run_and_is_not_moved(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    made = RunFolder.create(tmp_path / "new")
    made.write_json("config.json", {"preset": "tiny"})
    assert (made.folder, (tmp_path / "new.1").exists()) == (tmp_path / "new", False)


def test_a_run_may_lie_in_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path / "runs" / "new" / "run").folder.is_dir()


@pytest.mark.parametrize("name", ["best.safetensors", "sgd/best.safetensors", "sgd"])
def test_a_run_with_a_link_that_leads_out_is_not_resumed_and_keeps_its_files(
    name: str, run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    place = run.folder / name
    if place.exists():
        place.rename(tmp_path / "before")
    place.symlink_to(tmp_path / "elsewhere")
    (run.folder / ".config.json.part").touch()
    sentence = f"{place} is a link that leads out of {run.folder}; put the file itself there"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        RunFolder.reopen(run.folder)
    assert (run.folder / ".config.json.part").exists()


def test_what_a_killed_writer_left_is_removed_where_a_run_is_resumed(run: RunFolder) -> None:
    left = [run.folder / ".config.json.part", run.folder / "sgd" / ".history.json.part"]
    for file in (*left, run.folder / "notes.part"):
        file.touch()
    assert RunFolder.reopen(run.folder) == RunFolder(run.folder)
    assert [file.exists() for file in (*left, run.folder / "notes.part")] == [False, False, True]


def test_the_hash_of_a_run_is_of_its_manifest_without_the_feature_maps(run: RunFolder) -> None:
    listed = dict(sorted(run.manifest().items()))
    needed = hashlib.sha256(json_bytes(listed)).hexdigest()
    assert list(listed) == ["config.json", "scores.npz", "sgd/best.safetensors", "sgd/history.json"]
    assert run.manifest_sha256() == needed
    run.write_json("features.json", {})
    assert run.manifest_sha256() == needed
    run.write_json("metrics.json", {})
    assert run.manifest_sha256() != needed


def test_some_files_of_a_run_are_compared_alone(run: RunFolder) -> None:
    for name in ("config.json", "scores.npz"):
        (run.folder / name).write_bytes(b"")
    assert run.changed_files() == ["config.json", "scores.npz"]
    assert run.changed_files(["scores.npz", "sgd/history.json", "features.json"]) == ["scores.npz"]
    assert run.changed_files([]) == []


VALUES = np.array([[1.5, -2.0, 0.0], [3.0, np.inf, 5.0]], np.float32)


def npy(values: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.lib.format.write_array(stream, values, version)
    return stream.getvalue()


def header(text: str, data: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


def npz(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def test_arrays_read_back_with_names_dtypes_and_shapes_and_can_be_written_to(tmp_path: Path) -> None:
    written = {
        "rows": VALUES,
        "columns": np.asfortranarray(VALUES),
        "text": np.array(["sea", "bay"]),
        "none": VALUES[:0],
    }
    (tmp_path / "a.npz").write_bytes(array_bytes(written))
    read = read_arrays(tmp_path / "a.npz")
    assert list(read) == list(written)
    for name, array in written.items():
        assert (read[name].dtype, read[name].shape, read[name].tolist()) == (array.dtype, array.shape, array.tolist())
        assert read[name].flags.writeable


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is not there"),
        (npz(("a.npy", npy(VALUES)), ("a.npy", npy(VALUES))), "is damaged: it holds two arrays of one name"),
        (npz(("a.npy", npy(VALUES)), compression=zipfile.ZIP_DEFLATED), "is damaged: a.npy is compressed"),
        (
            npz(("a.npy", npy(VALUES, (2, 0)))),
            "is damaged: a.npy is of another version of the npy format than 1.0",
        ),
        (npz(("a.npy", npy(VALUES) + b"x")), "is damaged: a.npy claims float32 of shape (2, 3) and has 25 bytes"),
        (npz(("a.npy", npy(VALUES)[:-1])), "is damaged: a.npy claims float32 of shape (2, 3) and has 23 bytes"),
        (
            npz(("a.npy", header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", bytes(8)))),
            "is damaged: a.npy claims object of shape (1,) and has 8 bytes",
        ),
        # As Python 2 wrote it, which NumPy would read with a warning.
        (
            npz(("a.npy", header("{'descr': '<f4', 'fortran_order': False, 'shape': (1L,), }\n", bytes(4)))),
            "is damaged: Reading `.npy` or `.npz` file required additional header parsing",
        ),
        (npz(("a.npy", b"\x93NUMPY\x01\x00")), "is damaged: EOF: reading array header length"),
        (b"", "is damaged: File is not a zip file"),
    ],
    ids=[
        "missing",
        "two of one name",
        "compressed",
        "another version",
        "too long",
        "too short",
        "objects",
        "of Python 2",
        "no header",
        "empty",
    ],
)
def test_what_is_not_as_it_was_written_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    if content is not None:
        file.write_bytes(content)
    # Whatever is said of warnings elsewhere.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=f"^{re.escape(f'{file} {words}')}"):
            read_arrays(file)


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path: Path) -> None:
    data = bytearray(npz(("a.npy", npy(VALUES))))
    data[data.index(VALUES.tobytes())] ^= 1
    (tmp_path / "a.npz").write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"is damaged: Bad CRC-32 for file 'a\.npy'"):
        read_arrays(tmp_path / "a.npz")


@pytest.fixture
def unfinished(tmp_path: Path) -> RunFolder:
    files = RunFolder.create(tmp_path / "run")
    files.write_json(names.CONFIG, {})
    return files


def recorded(files: RunFolder) -> object:
    return json.loads((files.folder / "status.json").read_text())


def test_an_unfinished_run_says_how_its_training_ended(unfinished: RunFolder, call: Call) -> None:
    write_status(unfinished.folder, 130, "rank 2 of 4 has not answered for 30 s", 2)
    assert recorded(unfinished) == {"code": 130, "message": "rank 2 of 4 has not answered for 30 s", "rank": 2}
    ending = "no metrics.json; its training ended with exit code 130: rank 2 of 4 has not answered for 30 s"
    for opened in (recorded_files, finished_files):
        with pytest.raises(ValueError, match=ending):
            opened(unfinished.folder)
    code, _, said = call("verify", str(unfinished.folder))
    assert code == 2
    assert said.endswith(f"{ending}\n")


def test_it_is_a_file_of_the_run_and_not_of_its_manifest(unfinished: RunFolder) -> None:
    write_status(unfinished.folder, 0, "", 0)
    assert unfinished.manifest().keys() == {"config.json"}
    assert describe(unchecked_in(unfinished.folder, {"config.json", "manifest.json"}, {"adamw": 2})) == (
        "not checked: status.json (a training leaves them)"
    )
    (unfinished.folder / "adamw").mkdir()
    (unfinished.folder / "status.json").rename(unfinished.folder / "adamw/status.json")
    listed = unchecked_in(unfinished.folder, {"config.json", "manifest.json"}, {"adamw": 2})
    assert describe(listed) == "not checked: unknown: adamw/status.json"


def contradict(run: RunFolder) -> None:
    run.write_json("metrics.json", {"loss": 2})
    raise ValueError("its files contradict each other")


def test_a_run_that_changes_while_it_is_read_is_refused_whatever_was_found(run: RunFolder) -> None:
    release(run.folder)
    with unchanged(run.folder):
        # Several may read.
        assert [path.name for path in run.folder.parent.iterdir()] == ["run"]
    changed = "was changed by another process while it was read"
    with pytest.raises(ValueError, match=changed), unchanged(run.folder):
        run.write_json("metrics.json", {"loss": 1})
    with pytest.raises(ValueError, match=changed), unchanged(run.folder):
        contradict(run)
    with pytest.raises(ValueError, match="its images are missing"), unchanged(run.folder):
        raise ValueError("its images are missing")
    link = run.folder.with_name("link")
    link.symlink_to(run.folder)
    with held_by_another_process(run.folder):
        for name in (run.folder, link):
            with pytest.raises(ValueError, match=r"another process works on .*; wait for it$"), unchanged(name):
                pass
            with pytest.raises(ValueError, match=r"another process works on .*; wait for it$"), written(name):
                pass


def test_a_run_that_nobody_can_write_is_read_without_a_lock(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    release(run.folder)
    with written(run.folder) as locked:
        assert locked
        assert is_locked_here(run.folder)
    assert not is_locked_here(run.folder)

    refusal: OSError = PermissionError(errno.EACCES, "Permission denied")

    def refused(_path: Path, _otherwise: str) -> None:
        raise refusal

    monkeypatch.setattr("in4310repro.runs.folder.lock", refused)
    with written(run.folder) as locked:
        assert not locked
    refusal = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left"), written(run.folder):
        pass
    assert [path.name for path in run.folder.parent.iterdir()] == ["run"]
