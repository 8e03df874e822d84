"""File access: reading of regular files only, atomic writes, hashes, JSON, paths that stay in a folder, and locks."""

import atexit
import codecs
import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any

# filelock, which loads asyncio, is imported where something is locked: `--help` locks nothing.
if TYPE_CHECKING:
    from filelock import FileLock

LARGEST_TEXT = 2**28  # bytes of a file of JSON, TOML or CSV
LARGEST = 2**32  # bytes of any file that is read whole
# With which programs of Windows begin a text.
MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF8)
LONGEST_NAME = 60  # characters of a folder's name; file systems take 255 bytes
DEVICES_OF_WINDOWS = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
_HELD: "dict[Path, FileLock]" = {}  # by path of the lock's file
# By the names of errno, of which a system may lack some.
REASONS = {
    getattr(errno, name, -1): words
    for name, words in json.loads(Path(__file__).with_name("reasons.json").read_bytes()).items()
}
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def reason(error: OSError | ValueError) -> str:
    """Return the operating system's reason for an error in words, without the file's name; or the text of another."""
    known = isinstance(error, OSError) and (REASONS.get(error.errno or 0) or error.strerror)
    return known or f"{error}"


def describe(error: OSError | ValueError) -> str:
    """Return the error as a sentence, which names the file if the error has one."""
    if not isinstance(error, OSError):
        return f"{error}"
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason(error)}"
    # `write_atomically` raises errors whose text is already a sentence.
    if error.strerror and error.errno is not None and error.strerror != os.strerror(error.errno):
        return error.strerror
    return reason(error)


@contextlib.contextmanager
def open_regular(path: Path, largest: int = LARGEST) -> Iterator[BufferedReader]:
    """Open a regular file for reading; refuse other files, such as pipes, without blocking.

    Args:
        path: a file, or a link to one.
        largest: the file's maximal number of bytes.

    Raises:
        ValueError: the path leads to a folder, named pipe, socket or device, or the file is too large.
        OSError: the file does not exist or cannot be opened.
    """
    # Also checked before it is opened: opening a device can have an effect, and a socket cannot be opened.
    _refuse_irregular(path, path.stat())
    # A pipe that took the file's place since would wait for its writer.
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        _refuse_irregular(path, status)
        if status.st_size > largest:
            raise ValueError(f"{path} has {status.st_size} bytes; at most {largest} are allowed")
        yield file


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refuse_irregular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "not a regular file")
        raise ValueError(f"{path} is {kind}; a regular file is needed")


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a regular file; raise the errors of `open_regular`."""
    with open_regular(path, largest) as file:
        return file.read()


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; raise the errors of `open_regular`, or UnicodeDecodeError."""
    return read_bytes(path, LARGEST_TEXT).decode()


def read_there(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a regular file; raise ValueError too if it is not there."""
    try:
        return read_bytes(path, largest)
    except FileNotFoundError:
        raise ValueError(f"{path} is not there") from None


def decode(content: bytes, errors: str = "strict") -> str:
    """Decode bytes as UTF-16 if they begin with its mark, as PowerShell's `>` may write them, and else as UTF-8.

    Raises:
        UnicodeDecodeError: the bytes are not such text.
    """
    return content.decode("utf-16" if content.startswith(MARKS[:2]) else "utf-8-sig", errors)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object], size: int | None = None) -> None:
    """Create or replace a file in one step, so that no reader sees an incomplete file.

    The content is written to a temporary file in the same folder and synced to the disk. Then the file is
    renamed. If the process is killed, either the old file or the new one is there.

    Args:
        path: the file; its folder is created if it is missing.
        write: a function that writes the content to a binary stream.
        size: number of bytes of the content, for the message about a full disk.

    Raises:
        ValueError: the path is empty, or leads to a folder, named pipe, socket or device.
        OSError: the file cannot be written; the message names it and, for a full disk, the bytes needed and
            free.
    """
    if not path.name:
        raise ValueError(f"{path} is a folder; the name of a file is needed")
    # A name of its own for each writer, so that two processes do not write into one temporary file.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    with name_file_in_errors(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _refuse_irregular(path, path.stat())
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def name_file_in_errors(path: Path, size: int | None = None) -> Iterator[None]:
    """Add the file's name to the message of an OSError that the `with` block raises.

    If the disk is full and `size` is given, the message also has this number of bytes and the number of free
    bytes.
    """
    try:
        yield
    except OSError as error:
        # NumPy's has no number.
        is_full = size is not None and error.errno in (None, errno.ENOSPC)
        need = f"; it takes {size} bytes and {shutil.disk_usage(path.parent).free} are free" if is_full else ""
        raise type(error)(error.errno, f"{path} cannot be written: {reason(error)}{need}") from None


def write_file(path: Path, data: bytes) -> Path:
    """Create or replace a file in one step with these bytes; return its path. See `write_atomically` for errors."""
    write_atomically(path, lambda file: file.write(data), len(data))
    return path


def bytes_sha256(data: bytes) -> str:
    """Return the sha256 of bytes in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes in lower-case hex; raise the errors of `open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_bytes(value: Any) -> bytes:
    """Return the value as indented JSON, with floats written so that they read back equal.

    Raises:
        ValueError: a number is nan or infinite, which JSON cannot represent.
    """
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        ValueError: the file does not exist, is not a regular file, or does not contain JSON.
    """
    content = read_there(path, LARGEST_TEXT)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {strip_advice(error)}") from None


def strip_advice(error: Exception) -> str:
    """Return a parser's error message, without Python's advice to raise a limit of the interpreter."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return "a number has too many digits" if "integer string conversion" in f"{error}" else f"{error}"


def relative_path(path: str) -> str:
    """Return the path `FOLDER/FILE` after checking that it is printable, and relative on every system.

    Raises:
        ValueError: the path is empty, has a root, a drive, `.`, `..`, a backslash or an unprintable character.

    Examples:
        >>> relative_path("sea/1.png")
        'sea/1.png'
        >>> relative_path("sea/../../1.png")
        Traceback (most recent call last):
        ValueError: 'sea/../../1.png' is not valid: it must be a relative FOLDER/FILE, no .., drive or backslash
    """
    strays = any(part in ("", ".", "..") for part in path.split("/"))
    if strays or "\\" in path or PureWindowsPath(path).drive or not path.isprintable():
        raise ValueError(f"{path[:100]!r} is not valid: it must be a relative FOLDER/FILE, no .., drive or backslash")
    return path


def folder_name(name: str, what: str) -> str:
    """Return the name after checking that it is a valid folder name on every system.

    Args:
        name: the name of a preset or a setting.
        what: what the name is for, in the error message.

    Raises:
        ValueError: the name has characters besides letters, digits, - and _; has no letter or digit; is too
            long; or is the name of a Windows device.
    """
    letters = name.replace("-", "").replace("_", "")
    if not letters.isalnum() or len(name) > LONGEST_NAME or name.upper() in DEVICES_OF_WINDOWS:
        raise ValueError(
            f"{what} {name[:100]!r} names a folder: it must be at most {LONGEST_NAME} letters, digits, - and _, "
            "and not the name of a Windows device"
        )
    return name


def path_below(folder: Path, name: str) -> Path:
    """Return the path of a file inside a folder; the file need not exist.

    Raises:
        ValueError: the name is not a relative path, or a link leads out of the folder.
    """
    path = folder / relative_path(name)
    refuse_link_out(path, folder)
    return path


def refuse_link_out(path: Path, folder: Path) -> None:
    """Raise ValueError if a path leads out of its folder when links are followed."""
    stays = False
    with contextlib.suppress(OSError, RuntimeError):  # links in a circle
        stays = path.resolve().is_relative_to(folder.resolve())
    if not stays:
        raise ValueError(f"{path} is a link that leads out of {folder}; put the file itself there")


def regular_file(folder: Path, name: str) -> Path:
    """Return the path of an existing regular file inside a folder.

    Raises:
        ValueError: the name is not a relative path, a link leads out of the folder, or there is no such regular
            file.
    """
    path = path_below(folder, name)
    if not path.is_file():
        raise ValueError(f"{path} is {'not a regular file' if path.exists() else 'not there'}")
    return path


def lock(place: Path, otherwise: str = ", or give another --out") -> None:
    """Lock a folder or file until this process ends or calls `release`.

    The lock is a file beside `place`. This lock file is removed when the process ends. A killed process leaves
    the lock file behind, but the lock file then no longer locks anything.

    Args:
        place: the folder or file.
        otherwise: what else than to wait can be done if another process has locked it.

    Raises:
        ValueError: another process has locked `place`.
        OSError: the lock file cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    if (path := _lock_file(place)) in _HELD:
        return
    from filelock import FileLock, Timeout

    held = FileLock(path)
    try:
        # The previous holder may have removed the file before this process acquired the lock. The lock is then useless,
        # since the next process creates a new file and locks that one.
        while True:
            before = _identity(path)
            held.acquire(blocking=False)
            after = _identity(path)
            if after is not None and before in (None, after):
                break
            held.release()
    except Timeout:
        # FileLock reports an unwritable folder as locked; `touch` then raises the true error. Not called earlier, since
        # without system locks an existing lock file counts as locked.
        path.touch()
        raise ValueError(f"another process works on {place}; wait for it{otherwise}") from None
    _HELD[path] = held
    atexit.register(release, Path(os.path.realpath(place)))


def release(place: Path) -> None:
    """Remove the lock file of a folder or file, then end this process's lock, if it has one.

    On Windows, an open file cannot be removed. There, only the release can remove the file.
    """
    if held := _HELD.pop(path := _lock_file(place), None):
        with contextlib.suppress(OSError):
            path.unlink()
        held.release()


def is_locked_here(place: Path) -> bool:
    """Return whether this process has locked a folder or file."""
    return _lock_file(place) in _HELD


def refuse_locked(place: Path) -> None:
    """Raise ValueError if another process has locked a folder or file.

    Reading needs no lock file of its own: where nobody can write, there is none, and nobody works on `place`.
    """
    # A lock of another user can be read.
    with contextlib.suppress(OSError), open(_lock_file(place), "rb", opener=_open_without_waiting) as stream:
        if not is_locked_here(place) and not try_lock(stream, shared=True):
            raise ValueError(f"another process works on {place}; wait for it")


def try_lock(stream: IO[bytes], *, shared: bool) -> bool:
    """Try to lock an open file until it is closed and unmapped; return False if another process prevents this.

    Several processes can hold a `shared` lock at once. On a system without file locks, return True.
    """
    # Windows cannot remove an open file.
    with contextlib.suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            return not isinstance(error, BlockingIOError)
    return True


def _lock_file(place: Path) -> Path:
    # One for all names of a folder.
    folder = Path(os.path.realpath(place))
    return folder.parent / f".{folder.name}.lock"


def _identity(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(FileNotFoundError):
        return (status := path.stat()).st_dev, status.st_ino
    return None
