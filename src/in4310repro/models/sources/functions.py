"""Networks from the user's own functions, given as MODULE:FUNCTION and called with num_classes=N."""

from __future__ import annotations

import difflib
import importlib
import sys

from in4310repro.models.sources.base import Source
from in4310repro.system.text import as_function

# Names that the user has given in this process.
TRUSTED: set[str] = set()


class Functions(Source):
    """Functions in modules that Python can import, also from the current folder."""

    pattern = r"[\w.]{1,100}:\w{1,100}"
    example = "MODULE:FUNCTION"
    foreign = True
    named_by_user = True

    def check(self, name: str) -> None:
        """Raise ValueError unless the user has named the function, which allows it to run."""
        if name not in TRUSTED:
            raise ValueError(
                f"the network {name} is code, which is run only where you name it yourself: --model {name}"
            )

    def create(self, name: str, classes: int) -> object:
        """Import the user's function and call it with num_classes=classes to create the network."""
        module, _, function = name.partition(":")
        # As Python does with a file that it is given: modules in the current folder are found.
        if "" not in sys.path:
            sys.path.insert(0, "")
        try:
            imported = importlib.import_module(module)
        except ImportError as error:
            near = as_function(name)
            meant = f"; did you mean {near}?" if near != name else ""
            raise ValueError(
                f"{name} cannot be imported: {error}; it is looked for in this folder and in Python's{meant}"
            ) from None
        if not hasattr(imported, function):
            close = difflib.get_close_matches(function, [each for each in vars(imported) if each[0] != "_"], 1)
            raise ValueError(
                f"{module} has no {function!r}; MODULE:FUNCTION names a function that returns a network"
                + (f"; did you mean {module}:{close[0]}?" if close else "")
            )
        try:
            return getattr(imported, function)(num_classes=classes)
        except Exception as error:
            raise ValueError(
                f"{name} failed when it was called with num_classes={classes}: {type(error).__name__}: {error}"
            ) from error
