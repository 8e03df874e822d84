"""Reading of archives that `archive.write` wrote; every other zip file is refused before a file of it is written."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO

from in4310repro.system import archive
from in4310repro.system.archive import DIRECTORY, END, END_64, LOCATOR_64, Entry
from in4310repro.system.files import open_regular
from in4310repro.system.machine import refuse_beyond_disk

LARGEST_ARCHIVE = 2**48  # bytes
MOST_ENTRIES = 10**6
LONGEST_DIRECTORY = 2**28  # bytes
# Of an entry in the directory, by the place of the number among the fields of its header.
FAULTS: tuple[tuple[int, Callable[[int], bool], str], ...] = (
    (3, lambda flags: bool(flags & archive.ENCRYPTED), "is encrypted"),
    (4, lambda method: method != archive.STORED, "is compressed"),
    (15, lambda mode: stat.S_ISLNK(mode >> 16), "is a link"),
    (15, lambda mode: stat.S_ISDIR(mode >> 16) or bool(mode & 0x10), "is a folder"),
    (15, lambda mode: stat.S_IFMT(mode >> 16) not in (0, stat.S_IFREG), "is no regular file"),
)


def unpack(path: Path, folder: Path, refuse: Callable[[str], str]) -> list[str]:
    """Write the files of an archive below a folder, and return their names in order.

    Args:
        path: an archive that `archive.write` wrote.
        folder: an empty folder.
        refuse: returns why an entry of this name does not belong into the archive; empty if it does.

    Raises:
        ValueError: the file is no such archive: any of its bytes besides names, sizes, checksums and contents differs
            from what is written for these; a name is refused; a content has another checksum; or the disk is full.
        OSError: the archive cannot be read, or a file cannot be written.
    """
    with open_regular(path, LARGEST_ARCHIVE) as file:
        entries = _entries(file, path)
        names = [entry.name for entry in entries]
        archive.refuse_names(names, f"{path}")
        for name in names:
            if fault := refuse(name):
                raise ValueError(f"{path}: the entry {name[:100]!a} {fault}")
        refuse_beyond_disk(f"the files of {path} take", sum(entry.size for entry in entries), folder)
        for entry in entries:
            _unpack(file, entry, path, folder / entry.name)
    return names


def _unpack(file: IO[bytes], entry: Entry, path: Path, target: Path) -> None:
    file.seek(entry.offset)
    if file.read(len(entry.local)) != entry.local:
        raise ValueError(f"{path}: the entry {entry.name!a} has a header that differs from the directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as copy:
        try:
            crc = archive.copy(file, copy, entry.size)
        except EOFError:
            raise ValueError(f"{path} became shorter while it was read") from None
    if crc != entry.crc:
        raise ValueError(f"{path}: the entry {entry.name!a} is damaged: its bytes have another checksum")


def _entries(file: IO[bytes], path: Path) -> list[Entry]:
    """Return the entries of the directory, after checking all bytes from there to the end of the file."""
    count, length, start, total = _ends(file, path)
    file.seek(start)
    directory = file.read(length)
    entries: list[Entry] = []
    place, expected, last = 0, 0, b""
    for _ in range(count):
        entry, place, name = _entry(directory, place, path)
        if name <= last:
            raise ValueError(f"{path}: the entry {entry.name[:100]!a} is there twice, or not in the order of names")
        if entry.offset != expected:
            raise ValueError(f"{path}: the entry {entry.name[:100]!a} does not begin where the one before it ends")
        entries.append(entry)
        expected, last = entry.end, name
    if place != length or expected != start:
        raise ValueError(f"{path} has bytes between its entries, its directory and its end, or sizes that are not true")
    if file.read() != archive.ending(count, length, start) or file.tell() != total:
        raise ValueError(f"{path} has other bytes at its end than are written there")
    return entries


def _ends(file: IO[bytes], path: Path) -> tuple[int, int, int, int]:
    """Return the number of entries, the bytes of the directory, its offset, and the bytes of the file."""
    total = file.seek(0, io.SEEK_END)
    tail = min(total, END.size + LOCATOR_64.size + END_64.size)
    file.seek(total - tail)
    behind = file.read(tail)
    sign, *_, count, length, start, _comment = END.unpack(behind[-END.size :].rjust(END.size, b"\0"))
    if sign != archive.END_SIGN:
        raise ValueError(f"{path} is no zip file, or it was cut off, or has a comment or other bytes behind its end")
    end = total - END.size
    if count == archive.LARGEST_16 or archive.LARGEST_32 in (length, start):
        end -= LOCATOR_64.size + END_64.size
        if end < 0 or not behind.startswith(archive.END_64_SIGN):
            raise ValueError(f"{path} has other bytes at its end than are written there")
        *_, count, length, start = END_64.unpack(behind[: END_64.size])
    if count > MOST_ENTRIES or length > LONGEST_DIRECTORY:
        raise ValueError(
            f"{path} has {count} entries in {length} bytes; up to {MOST_ENTRIES} in {LONGEST_DIRECTORY} are valid"
        )
    if start + length != end:
        raise ValueError(f"{path} has bytes before its first entry or behind its directory, or it was cut off")
    return count, length, start, total


def _entry(directory: bytes, place: int, path: Path) -> tuple[Entry, int, bytes]:
    """Return the entry at a place of the directory, the place behind it, and the bytes of its name."""
    header = directory[place : place + DIRECTORY.size]
    if len(header) < DIRECTORY.size or not header.startswith(archive.DIRECTORY_SIGN):
        raise ValueError(f"{path} has a directory that ends before its last entry")
    fields = DIRECTORY.unpack(header)
    crc, _, size, name_length, extra_length = fields[7:12]
    begin = place + DIRECTORY.size + name_length
    encoded, extra = directory[begin - name_length : begin], directory[begin : begin + extra_length]
    try:
        name = encoded.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: the entry {encoded[:100]!r} has a name that is not UTF-8") from None
    for index, is_wrong, words in FAULTS:
        if is_wrong(fields[index]):
            raise ValueError(f"{path}: the entry {name[:100]!a} {words}; only regular files that are stored are valid")
    large = iter([int.from_bytes(extra[at : at + 8], "little") for at in range(4, len(extra), 8)])
    if size == archive.LARGEST_32:
        size, _ = next(large, size), next(large, size)
    entry = Entry(name, size, crc, next(large, fields[16]))
    if directory[place : place + len(entry.central)] != entry.central:
        raise ValueError(f"{path}: the entry {name[:100]!a} has other fields than are written for its name and size")
    return entry, place + len(entry.central), encoded
