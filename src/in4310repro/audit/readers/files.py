"""Load the text of a file in any usual encoding, or raise one clear error."""

from __future__ import annotations

import codecs
from pathlib import Path

from in4310repro.audit.readers.pdf import text_of_pdf
from in4310repro.system.files import read_bytes, reason

LARGEST = 100_000_000  # bytes
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def load_text(path: Path) -> str:
    """Return the text of a PDF, or of a file in UTF-8, UTF-16 or Latin-1.

    Raises:
        ValueError: no such file, a folder or device, an empty or binary file, or a PDF that cannot be read.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise ValueError(f"{path} {what}; expected a text, table, JSON, TOML or PDF file")
    try:
        content = read_bytes(path, LARGEST)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from error
    if content.startswith(b"%PDF-"):
        return text_of_pdf(path)
    text = decode_text(content)
    if not text.strip():
        raise ValueError(f"{path} is empty; expected a file with printed results")
    if is_binary(text):
        raise ValueError(f"{path} is not text: it has control characters; expected UTF-8, UTF-16 or Latin-1 text")
    return text


def decode_text(content: bytes) -> str:
    """Decode bytes as UTF-8, as UTF-16 with or without byte order mark, or else as Latin-1."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    # Latin letters in UTF-16 without a mark: every second byte is zero.
    head = content[:1000]
    for bytes_of, encoding in ((head[::2], "utf-16-be"), (head[1::2], "utf-16-le")):
        if len(content) >= 4 and bytes_of.count(0) * 3 > len(bytes_of):
            return content.decode(encoding, errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def is_binary(text: str) -> bool:
    """Return whether over 1 % of the first 20,000 characters are control characters that no text file has."""
    head = text[:20_000]
    return sum(ord(character) < 32 and character not in "\t\n\r\f\v\x1b\b" for character in head) * 100 > len(head)
