"""Zip archives of one form: equal files give equal bytes, and nothing of any other form is read.

Entries are stored, in the order of their names' bytes, one after the other from the first byte of the file on. All have
the same date and attributes; names are UTF-8; zip64 fields are there only where a number needs them. A reader takes
names, sizes and checksums from the headers before the contents, and requires that every other byte is the one that
`write` writes. So nothing can be hidden between entries, before them or behind them, and no two readers can see
different files. Python's zipfile has zip64 fields from 2 GiB on, and another version of it may write other bytes.
"""

import io
import stat
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from in4310repro.system.files import DEVICES_OF_WINDOWS, open_regular, relative_path, write_atomically
from in4310repro.system.machine import refuse_beyond_disk

LOCAL, DIRECTORY, END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q4sLQL")  # and where it is
LOCAL_SIGN = b"PK\x03\x04"
LARGEST_16, LARGEST_32 = 2**16 - 1, 2**32 - 1  # these and larger numbers are written into zip64 fields
PLAIN, WITH_64 = 20, 45  # the version that a reader needs
MADE_BY = 3 << 8 | WITH_64  # Unix, so that the attributes hold a mode
UTF_8, ENCRYPTED, STORED = 1 << 11, 1, 0
FIRST_DAY = 1 << 5 | 1  # 1980-01-01, the first that zip has
ATTRIBUTES = (stat.S_IFREG | 0o644) << 16
LARGEST_ARCHIVE, LONGEST_DIRECTORY = 2**48, 2**28  # bytes
MOST_ENTRIES = 10**6
LONGEST_PATH, LONGEST_PART = 1024, 255  # bytes of UTF-8
REFUSED_BY_WINDOWS = frozenset('<>:"|?*')
DEVICES = DEVICES_OF_WINDOWS | {"CONIN$", "CONOUT$", *(f"{port}{n}" for port in ("COM", "LPT") for n in "¹²³")}
PIECE = 2**20  # bytes that are copied at a time


class Entry(NamedTuple):
    """A file of an archive: its name, its size in bytes, its CRC-32, and where its header begins."""

    name: str
    size: int
    crc: int
    offset: int

    @property
    def local(self) -> bytes:
        """The header before the content."""
        return self._header(LOCAL, (LOCAL_SIGN,))

    @property
    def central(self) -> bytes:
        """The header in the directory."""
        return self._header(DIRECTORY, (b"PK\x01\x02", MADE_BY), 0, 0, 0, ATTRIBUTES, self.offset)

    def _header(self, form: struct.Struct, begin: tuple[bytes | int, ...], *end: int) -> bytes:
        name, large = self.name.encode(), [n for n in (self.size, self.size, *end[-1:]) if n >= LARGEST_32]
        extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        version, size = WITH_64 if extra else PLAIN, min(self.size, LARGEST_32)
        fields = version, UTF_8, STORED, 0, FIRST_DAY, self.crc, size, size, len(name), len(extra)
        return form.pack(*begin, *fields, *(min(n, LARGEST_32) for n in end)) + name + extra

    @property
    def end(self) -> int:
        """The offset of the first byte behind the content."""
        return self.offset + len(self.local) + self.size


def ending(entries: int, size: int, offset: int) -> bytes:
    """Return the bytes behind a directory with this number of entries, of bytes, and this offset."""
    fields_64 = b""
    if entries >= LARGEST_16 or max(size, offset) >= LARGEST_32:
        fields = (44, MADE_BY, WITH_64, 0, 0, entries, entries, size, offset, b"PK\x06\x07", 0, offset + size, 1)
        fields_64 = END_64.pack(b"PK\x06\x06", *fields)
    count = min(entries, LARGEST_16)
    return fields_64 + END.pack(b"PK\x05\x06", 0, 0, count, count, min(size, LARGEST_32), min(offset, LARGEST_32), 0)


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
    sizes = [len(each) if isinstance(each, bytes) else each.stat().st_size for each in contents.values()]
    write_atomically(path, lambda file: _write(file, sorted(contents, key=str.encode), contents), sum(sizes))


def _write(file: IO[bytes], names: Sequence[str], contents: Mapping[str, Path | bytes]) -> None:
    directory = bytearray()
    for name in names:
        with _open(contents[name]) as source:
            entry = Entry(name, source.seek(0, io.SEEK_END), 0, file.tell())
            source.seek(0)
            file.write(entry.local)
            entry = entry._replace(crc=copy(source, file, entry.size, contents[name]))
        # The checksum, which is written before the content, is known only now.
        file.seek(entry.offset)
        file.write(entry.local)
        file.seek(entry.end)
        directory += entry.central
    file.write(directory + ending(len(names), len(directory), file.tell()))


def _open(content: Path | bytes) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def copy(source: IO[bytes], target: IO[bytes], size: int, name: Path | bytes) -> int:
    """Copy the next `size` bytes and return their CRC-32; raise ValueError with the name if there are fewer."""
    crc = 0
    while size:
        if not (piece := source.read(min(size, PIECE))):
            raise ValueError(f"{name!s:.200} became shorter while it was read")
        target.write(piece)
        crc, size = zlib.crc32(piece, crc), size - len(piece)
    return crc


def unpack(path: Path, folder: Path, refuse: Callable[[str], str]) -> list[str]:
    """Write the files of an archive below a folder, and return their names in order.

    Args:
        path: an archive that `write` wrote.
        folder: an empty folder.
        refuse: returns why an entry of this name does not belong into the archive; empty if it does.

    Raises:
        ValueError: the file is not such an archive: a byte besides names, sizes, checksums and contents differs from
            what is written for these; a name is refused; a content has another checksum; or the disk is full.
        OSError: the archive cannot be read, or a file cannot be written.
    """
    with open_regular(path, LARGEST_ARCHIVE) as file:
        entries = _entries(file, path)
        names = [entry.name for entry in entries]
        refuse_names(names, f"{path}")
        for name in names:
            if fault := refuse(name):
                raise ValueError(f"{path}: the entry {name[:100]!a} {fault}")
        refuse_beyond_disk(f"the files of {path} take", sum(entry.size for entry in entries), folder)
        for entry in entries:
            file.seek(entry.end - entry.size)
            target = folder / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as written:
                if copy(file, written, entry.size, path) != entry.crc:
                    raise ValueError(f"{path}: the entry {entry.name!a} is damaged: its bytes have another checksum")
    return names


def _entries(file: IO[bytes], path: Path) -> list[Entry]:
    """Return the entries, after checking all bytes but the contents."""
    entries: list[Entry] = []
    directory, total, offset, before = bytearray(), file.seek(0, io.SEEK_END), 0, b""
    file.seek(0)
    while len(header := file.read(LOCAL.size)) == LOCAL.size and header.startswith(LOCAL_SIGN):
        _, _, flags, method, _, _, crc, _, size, name_length, extra_length = LOCAL.unpack(header)
        encoded, extra = file.read(name_length), file.read(extra_length)
        try:
            named = f"{path}: the entry {encoded.decode()[:100]!a}"
        except UnicodeDecodeError:
            raise ValueError(f"{path}: the entry {encoded[:100]!r} has a name that is not UTF-8") from None
        if wrong := "encrypted" if flags & ENCRYPTED else "compressed" if method != STORED else "":
            raise ValueError(f"{named} is {wrong}; it must be a regular file, stored uncompressed")
        size = int.from_bytes(extra[4:12], "little") if size == LARGEST_32 else size
        entry = Entry(encoded.decode(), size, crc, offset)
        if header + encoded + extra != entry.local:
            raise ValueError(f"{named} has header fields that do not match its name and size")
        if entries and encoded <= before:
            raise ValueError(f"{named} appears twice, or is not in the order of names")
        if (offset := entry.end) > total:
            raise ValueError(f"{named} was cut off, or its size is wrong")
        file.seek(offset)
        entries.append(entry)
        directory += entry.central
        before = encoded
        if len(entries) > MOST_ENTRIES or len(directory) > LONGEST_DIRECTORY:
            raise ValueError(f"{path}: at most {MOST_ENTRIES} entries in {LONGEST_DIRECTORY} bytes are allowed")
    expected = directory + ending(len(entries), len(directory), offset)
    file.seek(offset)
    if file.read(len(expected) + 1) != expected:
        raise ValueError(
            f"{path} is not a zip file, was cut off, or has a comment or other bytes between or after its files; it "
            "must hold regular files, stored uncompressed, and nothing else"
        )
    return entries


def refuse_names(names: Iterable[str], archive: str) -> None:
    """Check that files with these names can lie beside each other on every system.

    Args:
        names: the names of an archive's entries.
        archive: the archive, for messages.

    Raises:
        ValueError: a name leads out of a folder, is one that Windows refuses or is too long, or two names are one file
            or a file and a folder on a system that ignores case or Unicode normalisation.
    """
    seen: dict[str, str] = {}  # names of files, and of files in a folder, by what some system takes for the same
    for name in names:
        fault, parts = "", name.split("/")
        try:
            relative_path(name)
        except ValueError as error:
            fault = f"is not valid: {f'{error}'.partition(' is not valid: ')[2]}"
        if not fault and (
            len(name.encode()) > LONGEST_PATH or max(len(part.encode()) for part in parts) > LONGEST_PART
        ):
            fault = f"is too long; at most {LONGEST_PATH} bytes are allowed, {LONGEST_PART} for each folder or file"
        if not fault and any(
            REFUSED_BY_WINDOWS & set(part) or part[-1] in " ." or part.partition(".")[0].rstrip().upper() in DEVICES
            for part in parts
        ):
            fault = "has a name that Windows refuses"
        if fault:
            raise ValueError(f"{archive}: the entry {name[:100]!a} {fault}")
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
        parents = [key[:place] for place, letter in enumerate(key) if letter == "/"]
        if taken := [seen[each] for each in (key, f"{key}/", *parents) if each in seen]:
            both = f"{taken[0][:100]!a} and {name[:100]!a}"
            raise ValueError(f"{archive}: the entries {both} would be the same file on some systems")
        seen |= {key: name} | {f"{parent}/": name for parent in parents}
