"""Run `verify` on a forgery through the command-line entry point, and report what detected it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from in4310repro.runs.folder import RunFolder
from in4310repro.system.numerics import Numerics
from tests.bad_input.sandbox import PROGRAM, Outcome, call, link_or_copy
from tests.forgeries.forger import Forger, sha256_of
from tests.forgeries.row import HANDED_OVER, By, Forgery
from tests.forgeries.starts import LONG, RUN

DIFFERENCE = "difference: "
# What depends on the clock or on the processor of an honest run.
DIGITS = re.compile(r"(?<![\w.])[0-9a-f]{12,64}\b")
# Of an eigenvalue the last digits are LAPACK's.
FLOAT = re.compile(r"\d+\.\d{7,}(e-?\d+)?")


@dataclass(frozen=True)
class Verdict:
    """The outcome of a forgery: what detected it, the messages about it, and unexpected output."""

    by: By
    sentences: tuple[str, ...]
    stray: tuple[str, ...]
    trusted: bool  # by one who compares files with the manifest alone

    def sentence(self, words: tuple[str, ...]) -> str:
        """Return the first message that contains all `words`, else the first message, or "" without messages."""
        fitting = (each for each in self.sentences if all(word in each for word in words))
        return next(fitting, next(iter(self.sentences), ""))


def judge(forgery: Forgery, work: Path, starts: Callable[[str], Path], numerics: Numerics) -> Verdict:
    """Make a forgery in the new folder `work`, verify it, and return which command detects it."""
    shutil.copytree(starts(forgery.start), work, copy_function=link_or_copy)
    options = forgery.options.replace(HANDED_OVER, RunFolder(work / RUN).manifest_sha256()).split()
    forgery.forge(Forger(work, starts, numerics))
    trusted = trusts(work / RUN)
    environment = {"IN4310REPRO_CACHE": str(work / "cache")} if forgery.own_cache else {}
    plain = call(["verify", RUN, *options], work, environment, LONG)
    if plain.code != 0:
        return Verdict("verify", read_sentences(plain, work), tuple(plain.stray), trusted)
    if forgery.replay:
        replayed = call(["verify", RUN, *options, *forgery.replay.split()], work, environment, LONG)
        if replayed.code != 0:
            return Verdict("replay", read_sentences(replayed, work), tuple(replayed.stray), trusted)
    return Verdict("nothing", read_sentences(plain, work), tuple(plain.stray), trusted)


def read_sentences(outcome: Outcome, work: Path) -> tuple[str, ...]:
    """Return the messages below the verdict, without hashes and paths, which differ between machines."""
    lines = [line.removeprefix(DIFFERENCE) for line in outcome.out.splitlines()[1:]]
    lines += [line.removeprefix(PROGRAM) for line in outcome.sentences]
    if outcome.code is None:
        lines += outcome.err.splitlines()[-1:]
    lines = [DIGITS.sub("...", line.replace(f"{work}/", "")) for line in lines if line]
    return tuple(FLOAT.sub(_rounded, line) if "eigenvalue" in line else line for line in lines)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.6g}"


def faults(forgery: Forgery, verdict: Verdict) -> list[str]:
    """Return a sentence for each difference between the verdict and the one that the forgery should get."""
    found = [f"printed {line!r}" for line in verdict.stray]
    if verdict.by != forgery.by:
        found.append(f"caught by {verdict.by} and not by {forgery.by}: {verdict.sentences[:3]}")
    elif not any(all(word in line for word in forgery.words) for line in verdict.sentences):
        found.append(f"no sentence with {forgery.words}: {verdict.sentences[:5]}")
    if verdict.trusted != forgery.sealed:
        found.append(f"the manifest fits the files: {verdict.trusted}")
    return found


def trusts(folder: Path) -> bool:
    """Return True if every file matches its manifest hash, the only check of a naive verifier."""
    try:
        listed: dict[str, str] = json.loads((folder / "manifest.json").read_text())
        return bool(listed) and all(sha256_of(folder / name) == sha256 for name, sha256 in listed.items())
    except (OSError, ValueError):
        return False
