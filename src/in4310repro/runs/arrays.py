"""Reading and writing of npz files; sizes in their headers are checked before memory is allocated."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def array_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes of an npz file with these arrays; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays in an npz file that `array_bytes` made, which has no compression and no Python objects.

    Raises:
        ValueError: the file does not exist, is damaged, or has sizes that differ from those in its headers.
    """
    try:
        with zipfile.ZipFile(file) as archive, warnings.catch_warnings():
            # NumPy warns of headers that Python 2 wrote.
            warnings.simplefilter("error")
            entries = archive.infolist()
            if len({entry.filename for entry in entries}) < len(entries):
                raise ValueError("it holds two arrays of one name")
            return {entry.filename.removesuffix(".npy"): _read_entry(archive, entry) for entry in entries}
    except FileNotFoundError:
        raise ValueError(f"{file} is not there") from None
    except Exception as error:
        # zipfile and NumPy raise a dozen kinds of exception for damaged files.
        raise ValueError(f"{file} is damaged: {str(error)[:200] or type(error).__name__}") from None


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed")
    with archive.open(entry) as stream:
        # To the end, where the checksum is compared; what is not compressed cannot be longer than the file.
        data = io.BytesIO(stream.read())
    if np.lib.format.read_magic(data) != (1, 0):
        raise ValueError(f"{entry.filename} is of another version of the npy format than 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(data)
    values = data.read()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"{entry.filename} claims {dtype} of shape {shape} and has {len(values)} bytes")
    # Copied: what is made of bytes cannot be written to.
    return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran_order else "C").copy()
