"""Paths that are not regular files; tests are skipped on systems without the required type."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest


def named_pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("this system has no sockets that are files")
    here = os.open(".", os.O_RDONLY)
    # The path of a socket is at most about 100 bytes long.
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.fchdir(here)
    os.close(here)


def link_to_a_device(path: Path) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("this system has no devices that are files")
    path.symlink_to("/dev/zero")
