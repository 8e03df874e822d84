"""Readers of printed results, one file per format: `read` tries them all, `show` lists what was recognised."""

from in4310repro.audit.readers.listing import show
from in4310repro.audit.readers.reading import read

__all__ = ["read", "show"]
