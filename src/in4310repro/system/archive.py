"""Zip archives of one form: equal files give equal bytes, and nothing of any other form is read.

Entries are stored, in the order of their names' bytes, one after the other from the first byte of the file on. All have
the same date and attributes; names are UTF-8; zip64 fields are there only where a number needs them. A reader takes
names, sizes and checksums from the directory, and requires that every other byte is the one that `write` writes.
So nothing can be hidden between entries, before them or behind them, and no two readers can see different files.
"""

from __future__ import annotations

import io
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from in4310repro.system.files import DEVICES_OF_WINDOWS, relative_path, write_atomically

LOCAL, DIRECTORY, END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
END_64, LOCATOR_64 = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
LOCAL_SIGN, DIRECTORY_SIGN, END_SIGN = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
END_64_SIGN, LOCATOR_64_SIGN = b"PK\x06\x06", b"PK\x06\x07"
LARGEST_16, LARGEST_32 = 2**16 - 1, 2**32 - 1  # these and larger numbers stand in zip64 fields
PLAIN, WITH_64 = 20, 45  # the version that a reader needs
MADE_BY = 3 << 8 | WITH_64  # Unix, so that the attributes hold a mode
UTF_8, ENCRYPTED, STORED = 1 << 11, 1, 0
FIRST_DAY = 1 << 5 | 1  # 1980-01-01, the first that zip has
ATTRIBUTES = (stat.S_IFREG | 0o644) << 16
LONGEST_PATH, LONGEST_PART = 1024, 255  # bytes of UTF-8
REFUSED_BY_WINDOWS = frozenset('<>:"|?*')
DEVICES = DEVICES_OF_WINDOWS | {"CONIN$", "CONOUT$", *(f"{port}{n}" for port in ("COM", "LPT") for n in "¹²³")}
PIECE = 2**20  # bytes that are copied at a time


@dataclass(frozen=True)
class Entry:
    """A file of an archive: its name, its size in bytes, its CRC-32, and where its header begins."""

    name: str
    size: int
    crc: int
    offset: int

    @property
    def local(self) -> bytes:
        """The header before the content."""
        name, extra = self.name.encode(), _fields_64(self.size, self.size)
        sizes = (min(self.size, LARGEST_32),) * 2
        version = WITH_64 if extra else PLAIN
        fields = (version, UTF_8, STORED, 0, FIRST_DAY, self.crc, *sizes, len(name), len(extra))
        return LOCAL.pack(LOCAL_SIGN, *fields) + name + extra

    @property
    def central(self) -> bytes:
        """The header in the directory."""
        name, extra = self.name.encode(), _fields_64(self.size, self.size, self.offset)
        sizes = (min(self.size, LARGEST_32),) * 2
        version = WITH_64 if extra else PLAIN
        fields = (MADE_BY, version, UTF_8, STORED, 0, FIRST_DAY, self.crc, *sizes, len(name), len(extra), 0, 0, 0)
        return DIRECTORY.pack(DIRECTORY_SIGN, *fields, ATTRIBUTES, min(self.offset, LARGEST_32)) + name + extra

    @property
    def end(self) -> int:
        """The offset of the first byte behind the content."""
        return self.offset + len(self.local) + self.size


def _fields_64(*numbers: int) -> bytes:
    """Return the zip64 field with those numbers that need more than 32 bits; empty if none does."""
    large = [number for number in numbers if number >= LARGEST_32]
    return struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""


def ending(entries: int, size: int, offset: int) -> bytes:
    """Return the bytes behind a directory with this number of entries, of bytes, and this offset."""
    fields_64 = b""
    if entries >= LARGEST_16 or max(size, offset) >= LARGEST_32:
        fields = (END_64.size - 12, MADE_BY, WITH_64, 0, 0, entries, entries, size, offset)
        fields_64 = END_64.pack(END_64_SIGN, *fields) + LOCATOR_64.pack(LOCATOR_64_SIGN, 0, offset + size, 1)
    count = min(entries, LARGEST_16)
    return fields_64 + END.pack(END_SIGN, 0, 0, count, count, min(size, LARGEST_32), min(offset, LARGEST_32), 0)


def write(path: Path, contents: Mapping[str, Path | bytes]) -> None:
    """Write an archive in one step; equal contents give equal bytes on every system.

    Args:
        path: the archive; a file in its place is replaced.
        contents: file or bytes of each entry, by name.

    Raises:
        ValueError: a name is not valid on every system, or a file becomes shorter while it is read.
        OSError: a file cannot be read, or the archive cannot be written.
    """
    refuse_names(contents, f"{path}")
    names = sorted(contents, key=str.encode)
    sizes = [len(each) if isinstance(each, bytes) else each.stat().st_size for each in contents.values()]
    write_atomically(path, lambda file: _write(file, names, contents), sum(sizes))


def _write(file: IO[bytes], names: Iterable[str], contents: Mapping[str, Path | bytes]) -> None:
    entries: list[Entry] = []
    for name in names:
        with _open(contents[name]) as source:
            size = source.seek(0, io.SEEK_END)
            source.seek(0)
            begun = Entry(name, size, 0, file.tell())
            file.write(begun.local)
            try:
                crc = copy(source, file, size)
            except EOFError:
                raise ValueError(f"{contents[name]!s:.200} became shorter while it was read") from None
        # The checksum, which stands before the content, is known only now.
        entries.append(Entry(name, size, crc, begun.offset))
        file.seek(begun.offset)
        file.write(entries[-1].local)
        file.seek(entries[-1].end)
    offset, directory = file.tell(), b"".join(entry.central for entry in entries)
    file.write(directory + ending(len(entries), len(directory), offset))


def _open(content: Path | bytes) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def copy(source: IO[bytes], target: IO[bytes], size: int) -> int:
    """Copy the next `size` bytes and return their CRC-32; raise EOFError if there are fewer."""
    crc = 0
    while size:
        piece = source.read(min(size, PIECE))
        if not piece:
            raise EOFError
        target.write(piece)
        crc, size = zlib.crc32(piece, crc), size - len(piece)
    return crc


def refuse_names(names: Iterable[str], archive: str) -> None:
    """Check that files with these names can lie beside each other on every system.

    Args:
        names: the names of an archive's entries.
        archive: the archive, for messages.

    Raises:
        ValueError: a name leads out of a folder, is one that Windows refuses or is too long, or two names are one file
            or a file and a folder on a system that ignores case or Unicode normalisation.
    """
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        if fault := _fault(name):
            raise ValueError(f"{archive}: the entry {name[:100]!a} {fault}")
        key = _folded(name)
        parents = [_folded(name[:place]) for place, letter in enumerate(name) if letter == "/"]
        other = seen.get(key) or folders.get(key) or next((seen[each] for each in parents if each in seen), None)
        if other is not None:
            raise ValueError(
                f"{archive}: the entries {other[:100]!a} and {name[:100]!a} would be the same file on some systems"
            )
        seen[key] = name
        folders.update(dict.fromkeys(parents, name))


def _folded(name: str) -> str:
    """Return what is equal for names that some system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _fault(name: str) -> str:
    """Return why a name is not valid; empty if it is."""
    try:
        length = len(relative_path(name).encode())
    except ValueError as error:
        return f"is not valid: {str(error).partition(' is not valid: ')[2]}"
    parts = name.split("/")
    if length > LONGEST_PATH or max(len(part.encode()) for part in parts) > LONGEST_PART:
        return f"is too long; {LONGEST_PATH} bytes are valid, {LONGEST_PART} for each folder or file"
    if any(
        REFUSED_BY_WINDOWS & set(part) or part[-1] in " ." or part.partition(".")[0].rstrip().upper() in DEVICES
        for part in parts
    ):
        return "has a name that Windows refuses"
    return ""
