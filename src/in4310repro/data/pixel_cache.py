"""Cache files of decoded pixels: one record per image with its pixels and their sha256, checked before use.

The sha256 is of the key of the image set, the image's position and the sha256 of its pixels. Therefore a
changed byte, a moved record and a file of a different image set are all noticed: when the file is opened, and
whenever an image is taken from it. The sha256 needs no secret, so somebody who changes pixels on purpose can
also write a matching sha256. Therefore no check of a run may rely on this file, and `verify` decodes the
images itself.

Each record shows by itself if it is complete. Therefore several threads and processes can fill the same file.
After a kill or damage, the missing records are exactly those with a wrong sha256.
"""

import functools
import hashlib
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import UInt8
from numpy.typing import NDArray

from in4310repro.data import cache
from in4310repro.system.files import name_file_in_errors
from in4310repro.system.machine import refuse_beyond_disk, size_text
from in4310repro.system.progress import Progress

HASH_BYTES = 32
SHARE = 128  # images that a thread takes at a time, and that a process claims
# Seconds to wait for a share claimed by another process. If that process was stopped, or a lock is never released, its
# images are decoded twice, to the same bytes.
PATIENCE = 60.0
WAIT = 0.5  # seconds between looks at whether a waiting thread should stop
SAID = 10**8  # bytes of decoded pixels from which a message says how much they take
Decode = Callable[[int], NDArray[np.uint8] | None]
Stack = UInt8[np.ndarray, "image height width channel"]


@dataclass(eq=False)
class CachedPixels:
    """Records of a cache file, mapped into memory: one for each image, some of which may be missing meanwhile.

    Attributes:
        file: the cache file.
        pixels: the pixels [image, height, width, channel], a read-only memory map; undefined where missing.
        hashes: sha256 of each image's pixels; in memory, so that they stay what they were.
        missing: positions of the images that have no intact record.
        damaged: whether a record that was written is not what was written.
    """

    name: str  # of the set, for progress
    key: str  # text that differs for sets of other images, of another order or another decoding
    images: int
    size: int  # width and height, pixels
    decode: Decode  # the pixels of the image at a position; None where it cannot be read

    def load(self, file: Path, progress: Progress, *, private: bool = False) -> "CachedPixels":
        """Open a cache file and decode the images that are missing in it; return this object, with the pixels.

        Several processes that need the same file divide the decoding. Images that cannot be read are skipped:
        `decode` returns None for them. The mapping into memory stays valid after the file is closed.

        Args:
            file: the file in the cache; created, completed or repaired if necessary.
            progress: shows the progress, the size of the file, and messages about damaged or removed files.
            private: decode all into a file beside it, which has no name and is deleted when this process ends.

        Raises:
            ValueError: the disk has too little space, or `decode` raises this error; the file is then removed.
            OSError: the file cannot be written.
        """
        # The pixels of an image and their sha256.
        record = np.dtype([("pixels", np.uint8, (self.size, self.size, 3)), ("sha256", np.uint8, HASH_BYTES)])
        total = self.images * record.itemsize
        if private:
            refuse_beyond_disk(f"decoded pixels of {self.name} take", total, file.parent)
        most, claims = (0, None) if private else (cache.limit(), cache.claims_folder(file))
        with name_file_in_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        with name_file_in_errors(file, total), _open(file, private) as stream:
            cache.mark_used(stream)
            length = os.fstat(stream.fileno()).st_size
            if length != total:
                stream.truncate(total)
            self.file, self._stream = file, stream
            self._records = np.memmap(stream, record, mode="r", shape=(self.images,))
            self.pixels: Stack = self._records["pixels"]
            self.hashes, self.missing = [bytes(HASH_BYTES)] * self.images, {*range(self.images)}
            self.damaged, self._writing, self._stopped = False, threading.Lock(), False
            if length:
                with progress.task(f"checking the cached pixels of {self.name}", self.images) as advance:
                    self._in_threads(lambda share: bool([*map(self._look_at, share)]), self._shares(), advance)
                if self.damaged or length != total:
                    progress.message(f"{file} is damaged; what is wrong in it is decoded again")
            try:
                if self.missing:
                    for evicted in () if private else cache.make_room(file, total, most):
                        progress.message(f"{evicted} was evicted from the cache: it was not used for the longest time")
                    if total >= SAID:
                        progress.message(
                            f"decoded pixels of {self.name} take {size_text(total)} below {file.parent}, "
                            f"where {size_text(shutil.disk_usage(file.parent).free)} are free"
                        )
                    self._fill(progress, claims)
            except (ValueError, OSError):
                # Images that an interrupted process has decoded are kept.
                if not length:
                    cache.remove(file)
                raise
        shutil.rmtree(cache.claims_folder(file), ignore_errors=True)
        return self

    def check(self, positions: Sequence[int], pixels: Stack) -> None:
        """Check that pixels copied from the file are the same as when the file was opened.

        Raises:
            ValueError: the pixels differ from those in the file when it was opened.
        """
        for position, image in zip(positions, pixels, strict=True):
            if sha256_of_pixels(image) != self.hashes[position]:
                raise ValueError(f"{self.file} was changed while it was in use (image {position}); start again")

    def _fill(self, progress: Progress, claims: Path | None = None) -> None:
        """Decode missing records, and check records that other processes have decoded in the meantime.

        Args:
            progress: shows the progress.
            claims: the folder of locks by which processes divide the work; None if no other process has the file.
        """
        left = self._shares()
        with progress.task(f"decoding {self.name}", sum(map(len, left))) as advance:
            # Shares claimed by others come last, when most of them are written.
            for last in (False, True):
                left = self._in_threads(functools.partial(self._fill_share, claims, last), left, advance)

    def _in_threads(
        self, work: Callable[[list[int]], bool], shares: list[list[int]], advance: Callable[[int, str], None]
    ) -> list[list[int]]:
        """Work on groups of records in several threads; return those for which `work` returned that it is not done."""
        left = []
        # Threads suffice: Pillow and hashlib release the interpreter's lock.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            try:
                for share, done in zip(shares, threads.map(work, shares), strict=True):
                    if done:
                        advance(len(share), "")
                    else:
                        left.append(share)
            except BaseException:
                # The executor waits for tasks that have begun.
                self._stopped = True
                raise
        return left

    def _shares(self) -> list[list[int]]:
        """Return the indices of the missing records, divided into groups.

        All processes use the same boundaries between the groups, so that they can divide the work.
        """
        return [[*group] for _, group in itertools.groupby(sorted(self.missing), lambda position: position // SHARE)]

    def _fill_share(self, claims: Path | None, last: bool, share: Sequence[int]) -> bool:
        """Decode the missing records of a group; return whether this was done.

        It is not done if another process is still decoding them. If `last` is True, wait for the other process
        instead, but no longer than `PATIENCE`, then decode what is still missing.

        Args:
            claims: the folder of locks by which processes divide the work; None if no other process has the
                file.
            last: whether this is the last attempt.
            share: indices of the missing records of the group.
        """
        lock = f"{share[0] // SHARE}.lock"
        patience = PATIENCE if last else 0
        with _claim(claims / lock, patience, lambda: self._stopped) if claims else nullcontext(True) as ours:
            if not ours and not last:
                return False
            for position in share:
                if self._stopped:
                    break
                self._look_at(position)
                if position in self.missing and (pixels := self.decode(position)) is not None:
                    self._write(position, pixels)
        return True

    def _look_at(self, position: int) -> None:
        """Check a record's sha256, and note whether the record is intact."""
        record = self._records[position]
        # The hash is read before the pixels because it is written after them.
        stored = record["sha256"].tobytes()
        if any(stored):
            self.hashes[position] = digest = sha256_of_pixels(record["pixels"])
            if stored == self._signed(position, digest):
                self.missing.discard(position)
            else:
                self.damaged = True

    def _write(self, position: int, pixels: NDArray[np.uint8]) -> None:
        digest = sha256_of_pixels(pixels)
        content = memoryview(pixels.tobytes() + self._signed(position, digest))
        with self._writing:
            self._stream.seek(position * len(content))
            # On a full disk one call writes less than requested, and the next one raises an error.
            while content:
                content = content[self._stream.write(content) :]
        self.hashes[position] = digest
        self.missing.discard(position)

    def _signed(self, position: int, digest: bytes) -> bytes:
        """Return the sha256 to store with a record.

        It is computed from the cache key, the position of the record, and `digest`, the hash of its pixels.
        """
        return hashlib.sha256(f"{self.key} {position} ".encode() + digest).digest()


def _open(file: Path, private: bool) -> IO[bytes]:
    """Open a file for reading, and for writing if permitted; refuse symbolic links. A private one has no name."""
    if private:
        return tempfile.TemporaryFile(dir=file.parent, buffering=0)
    create = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        return open(file, "r+b", buffering=0, opener=lambda path, flags: os.open(path, flags | create, 0o666))
    except OSError:
        # A complete file in a read-only cache can be used as well.
        if not file.is_file() or file.is_symlink():
            raise
        return file.open("rb", buffering=0)


@contextmanager
def _claim(claim: Path, patience: float, stopped: Callable[[], bool]) -> Iterator[bool]:
    """Lock a group of records within the `with` block, so that no other process decodes the same images.

    The context manager yields whether this process has the lock.
    """
    lock, ours = FileLock(claim), False
    # If no lock can be created, or another process has just removed them all, processes work independently.
    with suppress(OSError):
        claim.parent.mkdir(exist_ok=True)
        for wait in (0, *[WAIT] * round(patience / WAIT)):
            with suppress(Timeout):
                ours = bool(lock.acquire(timeout=wait))
            if ours or stopped():
                break
    try:
        yield ours
    finally:
        lock.release()


def sha256_of_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Return the sha256 of an image's pixels [row][column][RGB]."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
