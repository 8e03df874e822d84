"""Exclusion of modules, or of parts of their outputs, from a measurement."""

import re
from collections.abc import Sequence

from torch import nn


class LeaveOut:
    """Names of excluded modules or parts of outputs (`pool[1]`), or a compiled pattern for whole names.

    Raises:
        ValueError: a bare string was given instead of a list.
    """

    def __init__(self, names: Sequence[str] | re.Pattern[str]) -> None:
        if isinstance(names, str):
            raise ValueError(f"leave_out is {names!r}; give a list of names or a compiled pattern")
        self._names = names if isinstance(names, re.Pattern) else tuple(names)

    def __bool__(self) -> bool:
        return isinstance(self._names, re.Pattern) or bool(self._names)

    def includes(self, title: str) -> bool:
        """Return whether a module or output part is excluded, by its own name or by that of what contains it."""
        if isinstance(self._names, re.Pattern):
            return bool(self._names.fullmatch(title))
        return any(_is_inside(title, name) for name in self._names)

    def drop_modules(self, modules: dict[str, nn.Module]) -> None:
        """Remove the modules that are excluded completely.

        Raises:
            ValueError: no module remains, or a name is neither a module nor a part of a module's output.
        """
        for left_out in () if isinstance(self._names, re.Pattern) else self._names:
            if not any(_is_inside(name, left_out) or _is_inside(left_out, name) for name in modules):
                raise ValueError(f"leave_out names {left_out!r}; the modules are {sorted(modules)}")
        dropped = [name for name in modules if self.includes(name)]
        for name in dropped:
            del modules[name]
        if not modules:
            raise ValueError(f"leave_out is {self.describe()}; no module is left")

    def describe(self) -> str | list[str]:
        """Return the pattern or the sorted names that are excluded."""
        return self._names.pattern if isinstance(self._names, re.Pattern) else sorted(self._names)


def _is_inside(name: str, other: str) -> bool:
    return name == other or name.startswith((f"{other}[", f"{other}."))
