"""The cache file of decoded pixels: several processes, killed processes, a full disk and a size limit."""

from __future__ import annotations

import errno
import io
import itertools
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console

from in4310repro.data import cache, pixel_cache
from in4310repro.data.pixel_cache import CachedPixels
from in4310repro.system.progress import SILENT, Progress
from tests.conftest import Call, refused
from tests.processes import METHOD

IMAGES = 60
RECORD = 16 * 16 * 3 + 32  # bytes


def pixels_of(position: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(position).integers(0, 256, (size, size, 3), dtype=np.uint8)


@dataclass
class Decoded:
    """Images for the pixel cache, decoded in blocks of 8; `positions` lists the indices of decoded images."""

    size: int = 16
    images: int = IMAGES
    patience: float = 60.0
    positions: list[int] = field(default_factory=list)
    first: Callable[[int], object] = lambda _position: None  # what is done before an image is decoded

    def decode(self, position: int) -> NDArray[np.uint8] | None:
        self.first(position)
        self.positions.append(position)
        return pixels_of(position, self.size)

    @property
    def file(self) -> Path:
        return cache.cache_folder() / "pixels" / f"{self.size}{cache.SUFFIX}"

    @property
    def wanted(self) -> CachedPixels:
        return CachedPixels("images", key=f"{self.size}", images=self.images, size=self.size, decode=self.decode)

    def load(self, progress: Progress = SILENT) -> CachedPixels:
        """Load the images; `positions` then lists the indices of the images that this call decoded."""
        self.positions.clear()
        with mock.patch.multiple(pixel_cache, SHARE=8, PATIENCE=self.patience):
            return self.wanted.load(self.file, progress)


@pytest.fixture
def decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decoded:
    monkeypatch.setenv("IN4310REPRO_CACHE", str(tmp_path / "cache"))
    return Decoded()


def files() -> list[Path]:
    return sorted((cache.cache_folder() / "pixels").iterdir())


def load_in_process(cached: str, log: Path, processes: int, act: Callable[[int], object]) -> None:
    """Load the same images as one of several processes, and log them; `act` is called before each is decoded."""
    os.environ["IN4310REPRO_CACHE"] = cached
    numbers = itertools.count(1)

    def note(position: int) -> None:
        with log.open("a") as stream:
            stream.write(f"{os.getpid()} {position}\n")
        act(next(numbers))

    Path(f"{log}.{os.getpid()}").touch()
    while len(list(log.parent.glob(f"{log.name}.*"))) < processes:
        time.sleep(0.01)
    Decoded(first=note).load()


def wait(_number: int) -> None:
    time.sleep(0.02)


def die_at_23(number: int) -> None:
    if number == 23:
        os.kill(os.getpid(), signal.SIGKILL)


def start(log: Path, processes: int, act: Callable[[int], object]) -> list[int]:
    """Load the same images in several processes at once, and return the exit codes.

    Before a process decodes its n-th image, it calls `act(n)`.
    """
    context: Any = multiprocessing.get_context(METHOD)
    arguments = (os.environ["IN4310REPRO_CACHE"], log, processes, act)
    started = [context.Process(target=load_in_process, args=arguments) for _ in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    return [process.exitcode for process in started]


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of Unix")
def test_decoding_goes_on_after_a_kill_and_gives_the_same_file(decoded: Decoded, tmp_path: Path) -> None:
    assert start(tmp_path / "log", 1, die_at_23) == [-signal.SIGKILL]
    (_, cut) = files()
    decoded.load()
    # A thread beside the one that died may have had a share of its own.
    assert IMAGES - 23 <= len(decoded.positions) < IMAGES - 8
    assert files() == [cut] == [decoded.file]
    resumed = cut.read_bytes()
    cut.unlink()
    decoded.load()
    assert cut.read_bytes() == resumed


def read_log(log: Path) -> tuple[list[int], set[str]]:
    """Return the sorted indices of the images that were decoded, and the ids of the processes that decoded them."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return sorted(int(position) for _, position in lines), {process for process, _ in lines}


@pytest.mark.process
def test_two_processes_share_the_images_and_decode_each_once(decoded: Decoded, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert start(log, 2, wait) == [0, 0]
    positions, processes = read_log(log)
    assert positions == list(range(IMAGES))
    assert len(processes) == 2
    assert files() == [decoded.file]
    # Where nothing can be claimed, each decodes what the other one decodes.
    decoded.file.unlink()
    cache.claims_folder(decoded.file).write_bytes(b"no folder")
    assert start(tmp_path / "other", 2, wait) == [0, 0]
    assert len(read_log(tmp_path / "other")[0]) > IMAGES


def test_a_share_that_a_stopped_process_holds_is_decoded_all_the_same(decoded: Decoded) -> None:
    decoded.load()
    whole = decoded.file.read_bytes()
    decoded.file.unlink()
    claims = cache.claims_folder(decoded.file)
    claims.mkdir()
    decoded.patience = 0.0
    with FileLock(claims / "3.lock"):
        decoded.load()
    assert sorted(decoded.positions) == list(range(IMAGES))
    assert sorted(decoded.positions[-8:]) == list(range(24, 32))
    assert decoded.file.read_bytes() == whole


def test_of_a_damaged_file_only_the_damaged_records_are_decoded_again(decoded: Decoded) -> None:
    decoded.load()
    whole = decoded.file.read_bytes()
    content = bytearray(whole)
    content[5 * RECORD + 7] ^= 1
    content[33 * RECORD - 1] ^= 1
    decoded.file.write_bytes(content)
    decoded.load()
    assert sorted(decoded.positions) == [5, 32]
    assert decoded.file.read_bytes() == whole


def fill_disk(_decoded: Decoded) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def limit_files(decoded: Decoded, size: int = 20 * RECORD) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    decoded.first = lambda _position: None


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (fill_disk, rf"no space is left on the disk; it takes {IMAGES * RECORD} bytes and \d+ are free"),
        pytest.param(
            limit_files,
            r"the file would be larger than the disk or a limit \(`ulimit -f`\) allows",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="limits are of Unix"),
        ),
    ],
    ids=["full", "limited"],
)
def test_a_disk_that_fills_up_gives_one_sentence_and_leaves_nothing(
    act: Callable[[Decoded], None], words: str, decoded: Decoded
) -> None:
    decoded.first = lambda position: act(decoded) if position >= 40 else None
    try:
        with pytest.raises(OSError, match=rf"cannot be written: {words}"):
            decoded.load()
    finally:
        if act is limit_files:
            limit_files(decoded, -1)
    assert files() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows makes no file that is larger than what is free")
def test_a_disk_with_too_little_room_is_refused_before_anything_is_decoded(decoded: Decoded, tmp_path: Path) -> None:
    # A file with a hole takes no room yet.
    decoded.size, free = 20_000, shutil.disk_usage(tmp_path).free
    decoded.images = free // decoded.size**2 // 3 + 10
    with pytest.raises(ValueError, match=r"decoded pixels take .* below .*, where .* are free; IN4310REPRO_C"):
        decoded.load()
    assert (files(), decoded.positions) == ([], [])


def test_size_and_free_disk_are_said_before_much_is_decoded(decoded: Decoded) -> None:
    printed = io.StringIO()
    decoded.size, decoded.images = 2_000, 9
    wanted = replace(decoded.wanted, decode=lambda _position: None)
    wanted.load(decoded.file, Progress(Console(file=printed, width=500)))
    assert re.fullmatch(
        r"decoded pixels of images take 108 MB below .*pixels, where .* are free\n(.*\n)*decoding images: 9/9, .*\n",
        printed.getvalue(),
    )


def test_an_interrupt_ends_the_threads_and_what_is_decoded_stays_even_where_a_disk_is_full(
    decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_position: int) -> None:
        if len(decoded.positions) >= 20:
            raise KeyboardInterrupt

    decoded.first = interrupt
    with pytest.raises(KeyboardInterrupt):
        decoded.load()
    before = {*decoded.positions}
    assert 0 < len(before) < IMAGES
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=-1))
        with pytest.raises(ValueError, match="decoded pixels take"):
            decoded.load()
    decoded.first = lambda _position: None
    decoded.load()
    assert before.isdisjoint(decoded.positions)
    assert len(before) + len(decoded.positions) == IMAGES


def test_an_interrupt_ends_the_wait_for_another_process(decoded: Decoded, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(position: int) -> None:
        if position < 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(pixel_cache, "WAIT", 0.05)
    decoded.first, claims = interrupt, cache.claims_folder(decoded.file)
    # A share that cannot be claimed is decoded while the one behind it is waited for.
    (claims / "0.lock").mkdir(parents=True)
    began = time.monotonic()
    with FileLock(claims / "1.lock"), pytest.raises(KeyboardInterrupt):
        decoded.load()
    assert time.monotonic() - began < decoded.patience / 2


def test_a_cache_that_can_only_be_read_serves(decoded: Decoded, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded.load()
    opened = os.open

    # An administrator, as in a container, may write into every file.
    def read_only(path: str, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    assert len(decoded.load().pixels) == IMAGES
    assert decoded.positions == []


def test_a_link_in_the_cache_is_not_written_through(decoded: Decoded, tmp_path: Path) -> None:
    decoded.load()
    decoded.file.unlink()
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    decoded.file.symlink_to(mine)
    with pytest.raises(OSError, match="cannot be written"):
        decoded.load()
    assert mine.read_bytes() == b"mine"


@pytest.mark.skipif(os.utime not in os.supports_fd, reason="this system marks files by their names")
def test_use_of_an_open_file_is_not_recorded_through_a_link_that_took_its_name(tmp_path: Path) -> None:
    file, mine = tmp_path / "a.pixels", tmp_path / "mine"
    file.touch()
    mine.touch()
    os.utime(mine, (0, 0))
    with file.open("rb") as stream:
        file.unlink()
        file.symlink_to(mine)
        cache.mark_used(stream)
    assert mine.stat().st_mtime == 0


def load_sizes(*sizes: int) -> list[Path]:
    """Load one image set per size and return their cache files, dated one minute apart from 1970 on."""
    sets = [Decoded(size) for size in sizes]
    for minute, each in enumerate(sets):
        each.load()
        os.utime(each.file, (minute * 60, minute * 60))
    return [each.file for each in sets]


def bytes_of(*sizes: int) -> float:
    return sum(IMAGES * (size * size * 3 + 32) for size in sizes)


@pytest.mark.usefixtures("decoded")
def test_beyond_the_limit_the_longest_unused_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = load_sizes(8, 9, 10)
    Decoded(8).load()  # which is used now
    monkeypatch.setenv(cache.LIMIT_VARIABLE, f"{bytes_of(8, 10, 11) / 1e9:.9f}")
    printed = io.StringIO()
    Decoded(11).load(Progress(Console(file=printed, width=500)))
    assert {first, third} < set(files())
    assert second not in files()
    assert f"{second} was evicted" in printed.getvalue()
    assert f"{third} was evicted" not in printed.getvalue()


@pytest.mark.usefixtures("decoded")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses it by itself")
def test_what_is_in_use_is_not_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = load_sizes(8, 9)
    used = Decoded(8).load()
    os.utime(first, (0, 0))
    monkeypatch.setenv(cache.LIMIT_VARIABLE, f"{1e-9:.9f}")
    Decoded(10).load()
    assert first in files()
    assert second not in files()
    del used
    Decoded(11).load()
    assert first not in files()
    assert len(files()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="links are of Unix")
def test_a_file_that_vanished_goes_first_and_takes_nothing(tmp_path: Path) -> None:
    gone, old, last = (tmp_path / f"{name}.pixels" for name in ("gone", "old", "last"))
    gone.symlink_to("nowhere")
    for second, file in enumerate((old, last)):
        file.write_bytes(bytes(10))
        os.utime(file, (second + 0.5, second + 0.5))
    assert cache.make_room(tmp_path / "new.pixels", 5, 17) == [gone, old]
    assert (gone.is_symlink(), last.exists()) == (False, True)


@pytest.mark.skipif(sys.platform == "win32", reason="blocks of 512 bytes are of Unix")
@pytest.mark.parametrize("short", [0, 1])
def test_a_file_with_a_hole_needs_room_for_the_hole(
    short: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hole.pixels"
    with file.open("wb") as stream:
        stream.write(bytes(4096))
        stream.truncate(100_000)
        os.fsync(stream.fileno())
    free = 100_000 - 512 * file.stat().st_blocks - short
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(ValueError, match="decoded pixels take") if short else nullcontext():
        cache.make_room(file, 100_000, 10**6)


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
    text: str, decoded: Decoded, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setenv(cache.LIMIT_VARIABLE, text)
    with pytest.raises(ValueError, match=r"IN4310REPRO_CACHE_LIMIT is '.*'; it must be above 0 and up to 1000000"):
        decoded.load()
    refused(call, ("cache",), "IN4310REPRO_CACHE_LIMIT is ", text[:5], "such as 20")


@pytest.mark.parametrize(
    ("text", "size"), [("0.5", 5 * 10**8), ("+1.", 10**9), (" 2e1 ", 2 * 10**10), (".5E-3", 500_000), ("1e9", 10**18)]
)
def test_a_limit_is_a_decimal_number_of_gigabytes(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT_VARIABLE, text)
    assert cache.limit() == size
    monkeypatch.delenv(cache.LIMIT_VARIABLE)
    assert cache.limit() == 20 * 10**9


def test_images_are_decoded_apart_into_no_file_that_stays(
    decoded: Decoded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pixel_cache, "SAID", IMAGES * RECORD)
    apart = decoded.wanted.load(decoded.file, Progress(Console()), private=True)
    assert "decoded pixels of images take" in capsys.readouterr().out
    assert files() == []
    assert np.array_equal(apart.pixels, decoded.load().pixels)
