"""npz files that the program did not write are rejected with a one-sentence message."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from in4310repro.runs.folder import array_bytes, read_arrays

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
