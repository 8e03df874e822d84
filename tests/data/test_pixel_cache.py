"""The cache file of decoded pixels: several processes, killed processes, a full disk and a size limit."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console

from in4310repro.data import cache, images, pixel_cache, reading
from in4310repro.data.folders import catalogue
from in4310repro.data.images import ImageSet, load_images
from in4310repro.system.progress import SILENT, Progress
from tests.builders import write_images
from tests.conftest import Call, refused

IMAGES = 60
RECORD = 16 * 16 * 3 + 32  # bytes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IN4310REPRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pixel_cache, "SHARE", 8)
    return write_images(tmp_path / "images", *(f"{'ab'[n % 2]}/{n:02d}.png" for n in range(IMAGES)), size=20)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that collects the file names of all images that are decoded."""
    names: list[str] = []
    decode = reading.decode

    def noted(file: Path, *arguments: object) -> object:
        names.append(file.name)
        return decode(file, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "decode", noted)
    return names


def load(folder: Path, size: int = 16, progress: Progress = SILENT) -> ImageSet:
    return load_images("images", folder, catalogue(folder).entries, size, progress=progress)


def files() -> list[Path]:
    return sorted((cache.cache_folder() / "pixels").iterdir())


# Another process, which loads the images of a folder; `doing` is done before each is decoded.
OTHER = """
import os, signal, sys, time
from pathlib import Path
from in4310repro.data import images, pixel_cache
from in4310repro.data.folders import catalogue
root, log, others = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
pixel_cache.SHARE = 8
decode, done = images.decode, []
def noted(file, *arguments):
    done.append(file)
    with log.open("a") as stream:
        stream.write(f"{os.getpid()} {file.name}\\n")
    {doing}
    return decode(file, *arguments)
images.decode = noted
entries = catalogue(root).entries
Path(f"{log}.{os.getpid()}").touch()
while len(list(log.parent.glob(f"{log.name}.*"))) < others:
    time.sleep(0.01)
images.load_images("images", root, entries, 16)
"""


def start(folder: Path, log: Path, processes: int = 1, doing: str = "pass") -> list[int]:
    """Start `processes` processes that load the images at the same time, and return their exit codes."""
    code = OTHER.replace("{doing}", doing)
    words = [sys.executable, "-c", code, str(folder), str(log), str(processes)]
    running = [subprocess.Popen(words, env=dict(os.environ)) for _ in range(processes)]
    return [process.wait(120) for process in running]


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of Unix")
def test_decoding_goes_on_after_a_kill_and_gives_the_same_file(
    folder: Path, decoded: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    kill = "len(done) == 23 and os.kill(os.getpid(), signal.SIGKILL)"
    assert start(folder, log, doing=kill) == [-signal.SIGKILL]
    (_, cut) = files()
    load(folder)
    # A thread beside the one that died may have had a share of its own.
    assert IMAGES - 23 <= len(decoded) < IMAGES - 8
    (file,) = files()
    assert file == cut
    resumed = file.read_bytes()
    file.unlink()
    load(folder)
    assert file.read_bytes() == resumed


def read_log(log: Path) -> tuple[list[str], set[str]]:
    """Return the names of the images that the processes decoded, and their process ids."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return sorted(name for _, name in lines), {process for process, _ in lines}


@pytest.mark.process
def test_two_processes_share_the_images_and_decode_each_once(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert start(folder, log, 2, "time.sleep(0.02)") == [0, 0]
    names, processes = read_log(log)
    assert names == [f"{n:02d}.png" for n in range(IMAGES)]
    assert len(processes) == 2
    assert len(files()) == 1
    # Where nothing can be claimed, each decodes what the other one decodes.
    (file,) = files()
    file.unlink()
    cache.claims_folder(file).write_bytes(b"no folder")
    assert start(folder, tmp_path / "other", 2, "time.sleep(0.02)") == [0, 0]
    assert len(read_log(tmp_path / "other")[0]) > IMAGES


def test_a_share_that_a_stopped_process_holds_is_decoded_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    load(folder)
    (file,) = files()
    whole = file.read_bytes()
    file.unlink()
    claims = cache.claims_folder(file)
    claims.mkdir()
    monkeypatch.setattr(pixel_cache, "WAITS", 2)
    monkeypatch.setattr(pixel_cache, "WAIT", 0.01)
    decoded.clear()
    with FileLock(claims / "3.lock"):
        load(folder)
    assert len(decoded) == IMAGES
    assert file.read_bytes() == whole


def test_of_a_damaged_file_only_the_damaged_records_are_decoded_again(folder: Path, decoded: list[str]) -> None:
    load(folder)
    (file,) = files()
    whole = file.read_bytes()
    content = bytearray(whole)
    content[5 * RECORD + 7] ^= 1
    content[33 * RECORD - 1] ^= 1
    file.write_bytes(content)
    decoded.clear()
    load(folder)
    assert len(decoded) == 2
    assert file.read_bytes() == whole


def test_a_disk_that_fills_up_gives_one_sentence_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, content: object) -> int:
            if self.tell() > 20 * RECORD:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(content)  # type: ignore[arg-type]

    def full(file: Path) -> io.FileIO:
        file.touch()
        return Full(file, "r+b")

    with monkeypatch.context() as patch:
        patch.setattr(pixel_cache, "_open", full)
        with pytest.raises(
            OSError, match=rf"cannot be written: no space is left on the disk; it takes {IMAGES * RECORD} bytes"
        ):
            load(folder)
    assert files() == []
    assert len(load(folder)) == IMAGES


def test_a_disk_with_too_little_room_is_refused_before_anything_is_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    usage = type("Usage", (), {"free": IMAGES * RECORD - 1})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match=r"decoded pixels take .* below .*, where .* are free; IN4310REPRO_C"):
        load(folder)
    assert (files(), decoded) == ([], [])


def test_size_and_free_disk_are_said_before_much_is_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_cache, "SAID", 1)
    printed = io.StringIO()
    load(folder, progress=Progress(Console(file=printed, width=500)))
    taken, done = (
        printed.getvalue().index(words) for words in ("decoded pixels of images take", "decoding images: 60/60")
    )
    assert taken < done


def test_an_interrupt_ends_the_threads_and_what_is_decoded_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    counted = images.decode  # type: ignore[attr-defined]  # the one that notes names

    def interrupted(file: Path, *arguments: object) -> object:
        if len(decoded) == 20:
            raise KeyboardInterrupt
        return counted(file, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(images, "decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(folder)
    assert 0 < len(decoded) < IMAGES
    before = len(decoded)
    load(folder)
    assert len(decoded) == IMAGES
    assert before < len(decoded)


def test_a_cache_that_can_only_be_read_serves(
    folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(folder)
    opened = os.open

    def reading(path: str, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", reading)
    decoded.clear()
    assert len(load(folder)) == IMAGES
    assert decoded == []


def test_a_link_in_the_cache_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    load(folder)
    (file,) = files()
    file.unlink()
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    file.symlink_to(mine)
    with pytest.raises(OSError, match="cannot be written"):
        load(folder)
    assert mine.read_bytes() == b"mine"


def sizes_loaded(folder: Path, *sizes: int) -> list[Path]:
    """Load the images at several sizes; return the cache files, whose access times are a minute apart."""
    made = []
    for minute, size in enumerate(sizes):
        before = set(files()) if (cache.cache_folder() / "pixels").exists() else set()
        load(folder, size)
        (file,) = set(files()) - before
        os.utime(file, (minute * 60, minute * 60))
        made.append(file)
    return made


def bytes_of(*sizes: int) -> float:
    return sum(IMAGES * (size * size * 3 + 32) for size in sizes)


def test_beyond_the_limit_the_longest_unused_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = sizes_loaded(folder, 8, 9, 10)
    load(folder, 8)  # which is used now
    monkeypatch.setenv(cache.LIMIT_VARIABLE, f"{bytes_of(8, 10, 11) / 1e9:.9f}")
    printed = io.StringIO()
    load(folder, 11, Progress(Console(file=printed, width=500)))
    assert {first, third} < set(files())
    assert second not in files()
    assert f"{second} was evicted" in printed.getvalue()
    assert f"{third} was evicted" not in printed.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses it by itself")
def test_what_is_in_use_is_not_evicted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = sizes_loaded(folder, 8, 9)
    used = load(folder, 8)
    os.utime(first, (0, 0))
    monkeypatch.setenv(cache.LIMIT_VARIABLE, f"{1e-9:.9f}")
    load(folder, 10)
    assert first in files()
    assert second not in files()
    del used
    load(folder, 11)
    assert first not in files()
    assert len(files()) == 1


NO_LIMITS = [
    "0",
    "-1",
    "many",
    "nan",
    "inf",
    "1e300",
    "1e400",
    "1e-400",
    "",
    " ",
    "0x10",
    "1_0",
    "1,5",
    "9" * 5000,
    "\u0663",
]


@pytest.mark.parametrize("text", NO_LIMITS, ids=lambda text: ascii(text[:10]))
def test_a_limit_that_is_no_number_above_zero_is_refused(
    text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setenv(cache.LIMIT_VARIABLE, text)
    with pytest.raises(ValueError, match=r"IN4310REPRO_CACHE_LIMIT is '.*'; a number of GB above 0 and up to 1000000"):
        load(folder)
    refused(call, ("cache",), "IN4310REPRO_CACHE_LIMIT is ", text[:5], "such as 20")


@pytest.mark.parametrize(
    ("text", "size"), [("0.5", 5 * 10**8), ("+1.", 10**9), (" 2e1 ", 2 * 10**10), (".5E-3", 500_000)]
)
def test_a_limit_is_a_decimal_number_of_gigabytes(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT_VARIABLE, text)
    assert cache.limit() == size
    monkeypatch.delenv(cache.LIMIT_VARIABLE)
    assert cache.limit() == 20 * 10**9


def test_images_are_decoded_apart_into_no_file_that_stays(folder: Path) -> None:
    apart = load_images("images", folder, catalogue(folder).entries, 16, cache=False)
    assert files() == []
    assert np.array_equal(apart.pixels, load(folder).pixels)
