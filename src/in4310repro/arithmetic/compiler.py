"""Postpones the import of torch.compile's package, torch._dynamo, which takes more than a second, until it is used."""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch

RULES, UTILITIES = "torch._dynamo.trace_rules", "torch._dynamo.utils"


def leave_uncompiled() -> None:
    """Make torch.compile call what this package computes as it is, and compile the rest."""
    importlib.import_module(RULES).add("in4310repro.arithmetic")


def leave_uncompiled_later() -> None:
    """Call `leave_uncompiled`, but not before torch._dynamo is imported."""
    _around(RULES, _rule_added)


@functools.cache
def postpone() -> torch.library.Library | None:
    """Let the import of torchvision, and constructors of networks on the meta device, not import torch._dynamo.

    Returns:
        What was registered for the meta device, which must be kept; None where torch._dynamo is imported already.
    """
    if UTILITIES in sys.modules:
        return None
    _around("torchvision", _utilities_replaced)
    # A tensor without values keeps its shape, which is all that torch's own function computes.
    registered = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    registered.impl("normal_", lambda self, *_, **__: self, "Meta", allow_override=True)  # type: ignore[no-untyped-call]
    return registered


@contextmanager
def _rule_added() -> Iterator[None]:
    yield
    leave_uncompiled()


@contextmanager
def _utilities_replaced() -> Iterator[None]:
    replacement = sys.modules.setdefault(UTILITIES, _Utilities(UTILITIES))
    try:
        yield
    finally:
        if sys.modules[UTILITIES] is replacement and isinstance(replacement, _Utilities):
            del sys.modules[UTILITIES]


class _Utilities(ModuleType):
    """Replaces torch._dynamo.utils, of which `torchvision.ops` imports one function, which only `roi_align` calls."""

    def is_compile_supported(self, device: str) -> Any:
        return importlib.import_module(UTILITIES).is_compile_supported(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(UTILITIES) is self:
            del sys.modules[UTILITIES]
        return getattr(importlib.import_module(UTILITIES), name)


class _Around(MetaPathFinder):
    """Leaves the search for a module to Python's other finders, and runs the module inside a context manager."""

    def __init__(self, name: str, context: Callable[[], AbstractContextManager[None]]) -> None:
        self.name, self.context = name, context

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        if (spec := importlib.util.find_spec(name)) and spec.loader:
            run = spec.loader.exec_module

            def run_inside(module: ModuleType) -> None:
                with self.context():
                    run(module)

            spec.loader.exec_module = run_inside  # type: ignore[method-assign]
        return spec


def _around(name: str, context: Callable[[], AbstractContextManager[None]]) -> None:
    if name in sys.modules:
        with context():
            return
    sys.meta_path.insert(0, _Around(name, context))
