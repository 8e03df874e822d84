"""Changes from which most forgeries are made; each also rewrites the manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from tests.forgeries.forger import Forger
from tests.forgeries.row import Forge

METRICS = "metrics.json"


def sealed(change: Callable[[Forger], object]) -> Forge:
    """Make a change, then rewrite the hash chains and the manifest."""

    def forge(forger: Forger) -> None:
        change(forger)
        with contextlib.suppress(ValueError, OSError, KeyError):
            # Where the change left no configuration or split to be read, a chain has no beginning.
            forger.rechain()
        forger.seal()

    return forge


def put(name: str, place: str, value: object) -> Forge:
    return sealed(lambda forger: forger.put(name, place, value))


def edit(name: str, change: Callable[[Any], object]) -> Forge:
    """Return a forgery that applies `change` to the content of a JSON file and renews the hashes of the run."""

    def forge(forger: Forger) -> None:
        content = forger.json(name)
        returned = change(content)
        forger.write_json(name, content if returned is None else returned)

    return sealed(forge)


def swap(name: str, old: str, new: str) -> Forge:
    return sealed(lambda forger: forger.replace(name, old, new))


def trailing(name: str) -> Forge:
    return sealed(lambda forger: forger.write(name, forger.read(name) + b"\0" * 16))
