"""Archives of one form: equal bytes for equal files, read by others, and refused in any other form."""

from __future__ import annotations

import io
import itertools
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import arm64
from in4310repro.system import archive
from in4310repro.system.archive import DIRECTORY, END, LOCAL, Entry

CONTENTS = {"README.txt": b"what this is\n", "run/æ.json": b"{}", "run/empty": b"", "run/z": bytes(range(256))}


def written(names: Sequence[str], contents: Mapping[str, bytes] | None = None) -> bytes:
    """Return an archive of our form with any names in any order, as a stranger can write it."""
    file = io.BytesIO()
    archive._write(file, names, contents or dict.fromkeys(names, b"content"))
    return file.getvalue()


HONEST = written(sorted(CONTENTS, key=str.encode), CONTENTS)
LENGTH, START = END.unpack(HONEST[-END.size :])[5:7]  # of its directory


def unpack(data: bytes, place: Path) -> dict[str, bytes]:
    """Return the files that an archive with these bytes is unpacked to."""
    folder = place / "folder"
    folder.mkdir()
    (place / "a.zip").write_bytes(data)
    try:
        names = archive.unpack(place / "a.zip", folder, lambda _name: "")
        return {name: (folder / name).read_bytes() for name in names}
    finally:
        shutil.rmtree(folder)
        assert [*place.iterdir()] == [place / "a.zip"]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    archive.write(tmp_path / "b" / "a.zip", CONTENTS)
    assert (tmp_path / "b" / "a.zip").read_bytes() == HONEST
    assert unpack(HONEST, tmp_path / "b") == CONTENTS


def bytes_by_zipfile(contents: Mapping[str, bytes]) -> bytes:
    """Return an archive as Python's zipfile writes it with the same fixed fields, for names that are not ASCII."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name in sorted(contents, key=str.encode):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.create_version, entry.external_attr = 3, 45, 0o100644 << 16
            zipped.writestr(entry, contents[name])
    return file.getvalue()


def test_the_bytes_are_those_that_zipfile_writes_for_these_fields() -> None:
    contents = {f"é/{name}": content for name, content in CONTENTS.items()}
    made = written(sorted(contents, key=str.encode), contents)
    assert made == bytes_by_zipfile(contents)
    # zipfile says of ASCII names that they are of no encoding.
    assert bytes_by_zipfile(CONTENTS) != HONEST


def test_others_read_it() -> None:
    with zipfile.ZipFile(io.BytesIO(HONEST)) as zipped:
        assert zipped.testzip() is None
        assert {name: zipped.read(name) for name in zipped.namelist()} == CONTENTS


def test_the_bytes_depend_on_nothing_but_names_and_contents(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        for name in ["run/z", "run/æ.json", "README.txt", "run/empty"]:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(CONTENTS[name])
            (tmp_path / name).chmod(0o700)
            os.utime(tmp_path / name, (10**9, 10**9))
        archive.write(tmp_path / "a.zip", {name: tmp_path / name for name in reversed(CONTENTS)})
    finally:
        os.umask(before)
    assert (tmp_path / "a.zip").read_bytes() == HONEST


WRITE = """import platform, sys; from pathlib import Path; from in4310repro.system import archive
file, *words = sys.argv[1:]
archive.write(Path(file), {name: bytes.fromhex(content) for name, content in zip(words[::2], words[1::2])})
print(platform.machine())"""


def write_elsewhere(command: Sequence[str], file: Path, **environment: str) -> str:
    """Write the archive in another process; return the kind of machine that this process sees."""
    code = f"# -*- coding: utf-8 -*-\n{WRITE}"
    words = [each for name, content in CONTENTS.items() for each in (name, content.hex())]
    variables = os.environ | {"PYTHONPATH": "src", "PYTHONUTF8": "1"} | environment
    done = subprocess.run([*command, "-c", code, str(file), *words], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.process
def test_another_process_in_another_language_writes_the_same_bytes(tmp_path: Path) -> None:
    write_elsewhere([sys.executable], tmp_path / "a.zip", LC_ALL="C", TZ="Asia/Tokyo", PYTHONHASHSEED="7")
    assert (tmp_path / "a.zip").read_bytes() == HONEST


@pytest.mark.process
def test_a_processor_of_another_kind_writes_the_same_bytes(tmp_path: Path) -> None:
    root = arm64.cache_path() / "root"
    if shutil.which("qemu-aarch64") is None or not root.is_dir():
        pytest.skip("no arm64 Python: apt-get install qemu-user, then `nox -s portability` prepares it")
    emulated = arm64.EmulatedPython(root, tmp_path, {}).command()
    assert "aarch64" in write_elsewhere(emulated, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == HONEST


def test_more_entries_than_16_bits_count_are_read_by_others(tmp_path: Path) -> None:
    names = [f"run/{number:05d}" for number in range(65536)]
    data = written(names, dict.fromkeys(names, b""))
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        assert zipped.namelist() == names
    assert [*unpack_without_writing(data, tmp_path)] == names


def unpack_without_writing(data: bytes, place: Path) -> list[str]:
    with io.BytesIO(data) as file:
        return [entry.name for entry in archive._entries(file, place / "a.zip")]


def test_a_file_beyond_32_bits_is_read_by_others(tmp_path: Path) -> None:
    large = Entry("large", 2**32 + 5, 0, 0)
    small = Entry("small", 4, zlib.crc32(b"tiny"), large.end)
    directory = large.central + small.central
    # With holes, so that it takes no room.
    with (tmp_path / "a.zip").open("w+b") as file:
        file.write(large.local)
        file.seek(small.offset)
        file.write(small.local + b"tiny" + directory + archive.ending(2, len(directory), small.end))
        assert archive._entries(file, tmp_path / "a.zip") == [large, small]
    with zipfile.ZipFile(tmp_path / "a.zip") as zipped:
        assert [each.file_size for each in zipped.infolist()] == [2**32 + 5, 4]
        assert zipped.read("small") == b"tiny"
        # Both headers of the large one have its size.
        with zipped.open("large") as stream:
            assert stream.read(9) == bytes(9)


def test_nothing_is_left_where_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        archive.write(tmp_path / "a.zip", {"a": b"a", "b": tmp_path / "nowhere"})
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_becomes_shorter_while_it_is_packed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, pieces = io.BytesIO(b"abc"), iter([b"ab", b""])
    monkeypatch.setattr(source, "read", lambda _size: next(pieces))
    monkeypatch.setattr(archive, "_open", lambda _content: source)
    with pytest.raises(ValueError, match=r"\.py became shorter while it was read"):
        archive.write(tmp_path / "a.zip", {"a": Path(__file__)})
    assert [*tmp_path.iterdir()] == []


def test_every_changed_bit_is_refused(tmp_path: Path) -> None:
    for place in range(len(HONEST)):
        changed = bytearray(HONEST)
        changed[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"a\.zip"):
            unpack(bytes(changed), tmp_path)


def test_every_beginning_and_every_added_byte_is_refused(tmp_path: Path) -> None:
    shorter = [HONEST[:length] for length in range(len(HONEST))]
    for data in (*shorter, b"\0" + HONEST, HONEST + b"\0", HONEST + HONEST):
        with pytest.raises(ValueError, match=r"a\.zip"):
            unpack(data, tmp_path)


def test_a_mixture_of_its_own_parts_is_refused(tmp_path: Path) -> None:
    # Cut at signatures, so that what is moved, left out or doubled is a whole header.
    cuts = [place for place in range(len(HONEST)) if HONEST[place : place + 2] == b"PK"] + [len(HONEST)]
    pieces = [HONEST[begin:end] for begin, end in itertools.pairwise(cuts)]
    draw = random.Random(0)
    for _ in range(300):
        mixed = b"".join(draw.choices(pieces, k=draw.randrange(1, len(pieces) + 3)))
        with pytest.raises(ValueError, match=r"a\.zip"):
            unpack(mixed, tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/passwd", "'/etc/passwd' is not valid: it must be a relative FOLDER/FILE"),
        ("../a", "'../a' is not valid"),
        ("run/../../a", "is not valid"),
        ("run//a", "is not valid"),
        ("run/./a", "is not valid"),
        ("run/", "is not valid"),
        ("c:/a", "is not valid"),
        ("c:a", "is not valid"),
        ("run\\..\\a", "is not valid"),
        ("run/a\0b", "is not valid"),
        ("run/a\x1b[31m", "is not valid"),
        ("run/\u202ea", "is not valid"),
        ("run/con", "Windows refuses"),
        ("run/Nul.json", "Windows refuses"),
        ("run/lpt1", "Windows refuses"),
        ("run/com¹.txt", "Windows refuses"),
        ("run/aux .txt", "Windows refuses"),
        ("run/a.", "Windows refuses"),
        ("run/a /b", "Windows refuses"),
        ("run/a:b", "Windows refuses"),
        ("run/a?", "Windows refuses"),
        ("run/" + "a" * 256, "too long"),
        ("a/" * 512 + "b", "too long"),
    ],
)
def test_a_name_that_is_not_valid_on_every_system_is_refused(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.zip: the entry '") as refusal:
        unpack(written([name]), tmp_path)
    assert words in str(refusal.value)
    # What cannot be read is not written either.
    with pytest.raises(ValueError, match="the entry"):
        archive.write(tmp_path / "b.zip", {name: b""})


@pytest.mark.parametrize(
    "names",
    [
        ["run/A", "run/a"],
        ["Run/a", "run/b/c", "run/b"],
        ["run/STRASSE", "run/straße"],
        [unicodedata.normalize(form, "run/ä") for form in ("NFD", "NFC")],
        ["run", "run/a"],
        ["RUN", "run/a"],
        ["run/a/b", "run/a.b", "run/A"],
    ],
)
def test_two_names_for_one_place_are_refused(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would be the same file on some systems"):
        unpack(written(sorted(names, key=str.encode)), tmp_path)


def test_names_that_differ_everywhere_are_not_refused(tmp_path: Path) -> None:
    names = ["a", "a.b", "c/b", "cons/x", "ee", "é"]
    assert {*unpack(written(sorted(names, key=str.encode)), tmp_path)} == {*names}


def test_a_name_twice_and_names_in_another_order_are_refused(tmp_path: Path) -> None:
    for names in (["a", "a"], ["b", "a"]):
        with pytest.raises(ValueError, match="the entry 'a' appears twice, or is not in the order of names"):
            unpack(written(names), tmp_path)


def test_a_name_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the entry b'\\xe9' has a name that is not UTF-8"):
        unpack(written(["a"]).replace(b"a", b"\xe9"), tmp_path)


Change = Callable[[bytearray], object]


def in_directory(index: int, value: int) -> Change:
    """Return a function that sets a field of the first entry in the directory, by its place in the header."""

    def change(data: bytearray) -> None:
        place = data.index(b"PK\1\2")
        fields = [*DIRECTORY.unpack_from(data, place)]
        fields[index] = value
        DIRECTORY.pack_into(data, place, *fields)

    return change


def in_header(index: int, value: int) -> Change:
    """Return a function that sets a field of the header before the first content."""

    def change(data: bytearray) -> None:
        fields = [*LOCAL.unpack_from(data, 0)]
        fields[index] = value
        LOCAL.pack_into(data, 0, *fields)

    return change


def at_end(index: int, value: int) -> Change:
    """Return a function that sets a field of the last record."""

    def change(data: bytearray) -> None:
        fields = [*END.unpack_from(data, len(data) - END.size)]
        fields[index] = value
        END.pack_into(data, len(data) - END.size, *fields)

    return change


def second_at_the_first(data: bytearray) -> None:
    place = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    fields = [*DIRECTORY.unpack_from(data, place)]
    fields[16] = 0
    DIRECTORY.pack_into(data, place, *fields)


def mode(kind: int) -> int:
    return (kind | 0o644) << 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (in_header(2, 0x801), "the entry 'README.txt' is encrypted"),
        (in_header(3, 8), "the entry 'README.txt' is compressed"),
        (in_header(8, 12), "the entry 'README.txt' has header fields that do not match its name and size"),
        (in_header(1, 45), "header fields"),
        (in_header(5, 1), "header fields"),
        (in_header(7, 12), "header fields"),
        (in_header(8, 2**32 - 1), "header fields"),
        (in_header(10, 1), "header fields"),
        (in_directory(3, 0x801), "between or after its files"),
        (in_directory(4, 8), "must hold regular files, stored uncompressed"),
        (in_directory(15, mode(stat.S_IFLNK)), "other bytes"),
        (in_directory(15, mode(stat.S_IFDIR)), "other bytes"),
        (in_directory(15, mode(stat.S_IFBLK)), "other bytes"),
        (in_directory(15, mode(stat.S_IFIFO)), "other bytes"),
        (in_directory(3, 0), "other bytes"),
        (in_directory(5, 1), "other bytes"),
        (in_directory(8, 12), "other bytes"),
        (in_directory(9, 12), "other bytes"),
        (in_directory(9, 2**32 - 1), "other bytes"),
        (in_directory(12, 1), "other bytes"),
        (in_directory(15, mode(stat.S_IFREG) | 0o111 << 16), "other bytes"),
        (in_directory(16, 1), "other bytes"),
        (second_at_the_first, "other bytes"),
        (at_end(3, 3), "other bytes"),
        (at_end(4, 3), "other bytes"),
        (at_end(4, 65535), "other bytes"),
        (at_end(5, 2**32 - 1), "other bytes"),
        (at_end(1, 1), "other bytes"),
        (at_end(7, 1), "other bytes"),
        (lambda data: (data.insert(-END.size, 0), at_end(5, LENGTH + 1)(data)), "other bytes"),
        (lambda data: (data.insert(START, 0), at_end(6, START + 1)(data)), "other bytes"),
        (
            lambda data: data.extend(b"\0"),
            "or has a comment or other bytes",
        ),
        (lambda data: data.insert(0, 0), "is not a zip file"),
        (lambda data: data.insert(data.index(b"PK\1\2"), 0), "other bytes"),
        (lambda data: data.__delitem__(slice(40, None)), "the entry 'README.txt' was cut off"),
        (lambda data: data.clear(), "is not a zip file"),
        (lambda data: data.reverse(), "is not a zip file"),
    ],
)
def test_what_is_not_of_this_form_is_refused(change: Change, words: str, tmp_path: Path) -> None:
    data = bytearray(HONEST)
    change(data)
    with pytest.raises(ValueError, match=r"a\.zip") as refusal:
        unpack(bytes(data), tmp_path)
    assert words in str(refusal.value)


def test_zipfile_alone_would_read_what_is_refused_here(tmp_path: Path) -> None:
    """The wrong way: files before the first entry, a comment, and headers that say something else."""
    for change in (lambda data: data.insert(0, 0), in_directory(15, mode(stat.S_IFLNK)), in_header(1, 99)):
        data = bytearray(HONEST)
        change(data)
        with zipfile.ZipFile(io.BytesIO(bytes(data))) as zipped:
            assert zipped.testzip() is None
        with pytest.raises(ValueError, match=r"a\.zip"):
            unpack(bytes(data), tmp_path)


def test_a_compressed_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("run/zeros", bytes(10**7))
    assert len(file.getvalue()) < 10**5
    with pytest.raises(ValueError, match="the entry 'run/zeros' is compressed"):
        unpack(file.getvalue(), tmp_path)


def test_too_many_entries_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_ENTRIES", 3)
    with pytest.raises(ValueError, match=r"a\.zip: at most 3 entries in 268435456 bytes are allowed"):
        unpack(HONEST, tmp_path)


@pytest.mark.parametrize(("count", "length"), [(2**60, 2**63), (1, 2**28 + 1)])
def test_a_directory_that_no_archive_needs_is_refused(count: int, length: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.zip is not a zip file, was cut off"):
        unpack(archive.ending(count, length, 0), tmp_path)


def test_names_that_no_archive_needs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LONGEST_DIRECTORY", LENGTH - 1)
    with pytest.raises(ValueError, match=rf"a\.zip: at most 1000000 entries in {LENGTH - 1} bytes are allowed"):
        unpack(HONEST, tmp_path)
    monkeypatch.setattr(archive, "LONGEST_DIRECTORY", LENGTH)
    assert unpack(HONEST, tmp_path) == CONTENTS


def test_files_that_do_not_fit_on_the_disk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: SimpleNamespace(free=9))
    with pytest.raises(ValueError, match=r"the files of .*a\.zip take 271 B"):
        unpack(HONEST, tmp_path)


def test_other_content_with_its_own_checksum_is_read(tmp_path: Path) -> None:
    """A checksum is no signature: whoever changes a file can write another; the sha256 of a manifest finds it."""
    other = written([*sorted(CONTENTS, key=str.encode)], CONTENTS | {"run/z": b"another"})
    assert unpack(other, tmp_path)["run/z"] == b"another"


def test_an_entry_that_the_caller_refuses_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(HONEST)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"a\.zip: the entry 'run/z' is none of these"):
        archive.unpack(tmp_path / "a.zip", folder, lambda name: "is none of these" if name == "run/z" else "")
    assert [*folder.iterdir()] == []


def test_the_zip64_fields_hold_what_appnote_says() -> None:
    entry = Entry("a", 2**32, 7, 2**33)
    assert entry.local[-20:] == struct.pack("<HHQQ", 1, 16, 2**32, 2**32)
    assert entry.central[-28:] == struct.pack("<HHQQQ", 1, 24, 2**32, 2**32, 2**33)
    assert Entry("a", 2**32 - 2, 7, 2**33).central[-12:] == struct.pack("<HHQ", 1, 8, 2**33)
    assert Entry("a", 2**32 - 2, 7, 2**32 - 2).central.endswith(struct.pack("<L", 2**32 - 2) + b"a")
    # A record at the end says how many of its 56 bytes follow the 12 of its signature and of this number.
    assert archive.ending(1, 0, 2**32)[:12] == struct.pack("<4sQ", b"PK\6\6", 44)
