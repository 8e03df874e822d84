"""What torchrun tells its processes, read without importing torch, and what a command tells torchrun of its end."""

import contextlib
import os
import re
from collections.abc import Callable


def by_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_silent() -> bool:
    """Return whether this process must print nothing, since only rank 0 prints."""
    return by_torchrun() and os.environ.get("RANK", "0") != "0"


def number(name: str, valid: range) -> int:
    """Return the integer value of an environment variable that torchrun sets.

    Raises:
        ValueError: the variable is missing, or its value is not one of the valid numbers.
    """
    value = os.environ.get(name, "")
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) not in valid:
        raise ValueError(
            f"{name} is {value!r}; torchrun sets it to a number from {valid[0]} to {valid[-1]}, and without WORLD_SIZE "
            "there is one process"
        )
    return int(value)


def size() -> int:
    """Return the number of processes of this command; 1 without torchrun.

    Raises:
        ValueError: the variable WORLD_SIZE is not as torchrun sets it.
    """
    return number("WORLD_SIZE", range(1, 10**6)) if "WORLD_SIZE" in os.environ else 1


def restarts() -> bool:
    """Return whether torchrun was told to restart this command after failures (--max-restarts)."""
    return by_torchrun() and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"


def advice() -> str:
    """Return advice to use one process if several processes share one machine; otherwise an empty text."""
    if not by_torchrun() or not 1 < size() == number("LOCAL_WORLD_SIZE", range(1, 10**6)):
        return ""
    return f"{size()} processes share the cores of one machine; one process with all of them is the better choice"


def tell_torchrun(error: BaseException) -> None:
    """Record an error so that torchrun's summary shows it."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        raise error
    except BaseException as raised:  # the handler asks Python for the traceback of what is being handled
        with contextlib.suppress(OSError):
            get_error_handler().record_exception(raised)


def record_nothing(_code: int, _message: str, _rank: int) -> None:
    """Record nothing; this is the default, for commands that keep no record of how they ended."""


# Records how the command ended, since torchrun hides its exit code: the code, the message, and the rank that failed.
record: Callable[[int, str, int], None] = record_nothing
