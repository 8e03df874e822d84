"""Readers of reported results, one module per format: `read` tries them all, `show` lists what they recognised."""

from in4310repro.audit.readers.reading import read, show

__all__ = ["read", "show"]
