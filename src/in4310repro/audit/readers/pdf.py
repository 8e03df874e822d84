"""Extract the text of a PDF with pypdf, a dependency of the extra `audit`."""

from __future__ import annotations

from pathlib import Path

from in4310repro.system.machine import install_command


def text_of_pdf(path: Path) -> str:
    """Return the text of all pages in their layout, so that columns remain columns.

    Raises:
        ValueError: pypdf is not installed, or the file is damaged or has no text.
    """
    try:
        import pypdf
    except ImportError as error:
        raise ValueError(f"{path} is a PDF; reading it needs pypdf: {install_command('pypdf')}") from error
    try:
        pages = [page.extract_text(extraction_mode="layout") for page in pypdf.PdfReader(path).pages]
    except Exception as error:  # of many kinds for damaged files
        raise ValueError(f"{path} is a PDF that cannot be read: {error}") from error
    text = "\n".join(pages)
    if not text.strip():
        raise ValueError(f"{path} is a PDF without text: its pages are images; expected a PDF with text")
    return text
