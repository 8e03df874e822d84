"""Checks of names and paths that users or files give: a path must stay inside its folder."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

LONGEST_NAME = 60  # characters; file systems take 255 bytes
DEVICES_OF_WINDOWS = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}


def relative_path(path: str) -> str:
    """Return the path `FOLDER/FILE` after checking that it is printable, and relative on every system.

    Raises:
        ValueError: the path is empty, has a root, a drive, `.`, `..`, a backslash or an unprintable character.

    Examples:
        >>> relative_path("sea/1.png")
        'sea/1.png'
        >>> relative_path("sea/../../1.png")
        Traceback (most recent call last):
        ValueError: 'sea/../../1.png' is not valid: FOLDER/FILE is, relative, without .., drive or backslash
    """
    strays = any(part in ("", ".", "..") for part in path.split("/"))
    if strays or "\\" in path or PureWindowsPath(path).drive or not path.isprintable():
        raise ValueError(f"{path[:100]!r} is not valid: FOLDER/FILE is, relative, without .., drive or backslash")
    return path


def folder_name(name: str, what: str) -> str:
    """Return the name after checking that it is a valid folder name on every system.

    Args:
        name: the name of a preset or a setting.
        what: what the name is for, in the error message.

    Raises:
        ValueError: the name has characters besides letters, digits, - and _; has no letter or digit; is too
            long; or is the name of a Windows device.
    """
    letters = name.replace("-", "").replace("_", "")
    if not letters.isalnum() or len(name) > LONGEST_NAME or name.upper() in DEVICES_OF_WINDOWS:
        raise ValueError(
            f"{what} {name[:100]!r} names a folder: up to {LONGEST_NAME} letters and digits are valid, with - and _ "
            "beside them, but for the names of Windows' devices"
        )
    return name


def path_below(folder: Path, name: str) -> Path:
    """Return the path of a file inside a folder; the file need not exist.

    Raises:
        ValueError: the name is not a relative path, or a link leads out of the folder.
    """
    path = folder / relative_path(name)
    refuse_link_out(path, folder)
    return path


def refuse_link_out(path: Path, folder: Path) -> None:
    """Raise ValueError if a path leads out of its folder when links are followed.

    Raises:
        ValueError: a link leads out of the folder.
    """
    try:
        stays = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        # Links in a circle.
        stays = False
    if not stays:
        raise ValueError(f"{path} is a link that leads out of {folder}; put the file itself there")


def regular_file(folder: Path, name: str) -> Path:
    """Return the path of an existing regular file inside a folder.

    Raises:
        ValueError: the name is not a relative path, a link leads out of the folder, or there is no such regular
            file.
    """
    path = path_below(folder, name)
    if not path.exists():
        raise ValueError(f"{path} is not there")
    if not path.is_file():
        raise ValueError(f"{path} is no regular file")
    return path
