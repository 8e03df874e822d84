"""The command line: each command names paths and settings, calls one function, and prints what it wrote."""

from in4310repro.cli.application import main

__all__ = ["main"]
