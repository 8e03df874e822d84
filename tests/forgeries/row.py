"""One forgery: how it is made from an honest run, what detects it, and words of the message that reports it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.forgeries.forger import Forger

# What would show a claim.
RERUN = "a training by the same command; `verify` lists it as claimed"
HANDED_OVER = "SHA256"  # in the options: the hash that `verify` printed of the honest run
By = Literal["verify", "replay", "nothing"]
Forge = Callable[[Forger], object]


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """A forged run; `by` is the weakest command that detects it: `verify`, `verify --replay` or nothing."""

    group: str
    name: str  # what is forged
    forge: Forge
    by: By = "verify"
    words: tuple[str, ...] = ()  # in one sentence that is printed
    shown_by: str = ""  # where nothing here shows it: what would
    options: str = ""  # of verify
    replay: str = ""  # options that replay epochs, where the run kept them
    start: str = "tiny"  # the honest run
    own_cache: bool = False  # the verifier's cache is the one that the forger left in the working folder
    sealed: bool = True  # the manifest fits the files, so that one who trusts it alone sees nothing


def forgeries_of(group: str, **common: object) -> Callable[..., Forgery]:
    """Return a function that makes a Forgery of `group` from a name, a change and words of the expected message."""

    def row(name: str, forge: Forge, *words: str, **more: object) -> Forgery:
        return Forgery(group=group, name=name, forge=forge, words=words, **{**common, **more})  # type: ignore[arg-type]

    return row
