"""One case of fuzzing: a damaged file, the command that reads it, and the outcome."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.random import Generator

from in4310repro import cli
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.report import figures
from in4310repro.runs.config import to_json
from in4310repro.runs.presets import PRESETS
from in4310repro.training import experiment
from tests.bad_input import splits
from tests.bad_input.sandbox import (
    Outcome,
    Sandbox,
    changes,
    link_or_copy,
    make_one_setting,
    seal,
    snapshot,
)
from tests.fuzzing import damages
from tests.fuzzing.printed import ENDINGS, print_result

RUN, OTHER = "runs/tiny", "runs/other"
CODES = (0, 1, 2)
LOCKS = ("work/*.lock",)
# How often each command reads a damaged run.
COMMANDS = ("verify",) * 8 + ("compare",) * 5 + ("evaluate",) * 3 + ("report",)
WORDS = {
    "verify": ("verify", RUN),
    "compare": ("compare", OTHER, RUN),
    "evaluate": ("evaluate", RUN),
    "report": ("report", RUN),
}
# What a command was told to write.
WRITTEN = {
    "report": ("work/reports", "work/reports/*", f"work/{RUN}/features.json", f"work/{RUN}/manifest.json"),
    "train": ("work/runs", "work/runs/*"),
    "audit": ("work/page.html",),
}
# Of 20 cases: 11 damaged runs, 3 settings, 2 splits, 4 printed results.
KINDS = ("run",) * 11 + ("TOML",) * 3 + ("split",) * 2 + ("printed",) * 4
SETTINGS: dict[str, Any] = {
    name: value for name, value in to_json(PRESETS["tiny"]).items() if name not in ("format", "preset", "protocol")
}


@dataclass(frozen=True, kw_only=True)
class Case:
    number: int
    kind: str  # of file
    command: str
    outcome: Outcome
    faults: tuple[str, ...]

    @property
    def ending(self) -> str:
        names = {0: "accepted", 1: "difference", 2: "refused"}
        return "fault" if self.faults else names.get(self.outcome.code or 0, "fault")


@dataclass(frozen=True)
class Bases:
    """Undamaged runs: one with a single optimizer, and one without weights."""

    one_setting: Path
    corrected: Path


def make_bases(finished_run: Path, folder: Path) -> Bases:
    """Make the two runs from the tiny run, each as the program itself would write it."""
    bases = Bases(make_one_setting(finished_run, folder / "one"), folder / "corrected")
    shutil.copytree(finished_run, bases.corrected, ignore=shutil.ignore_patterns("*.safetensors"))
    return bases


def damage(name: str, data: bytes, generator: Generator) -> bytes:
    """Return the content of a run's file, damaged in a way that suits its format."""
    damage = {
        ".json": damages.damage_json_text,
        ".csv": damages.damage_table,
        ".npz": damages.damage_arrays,
        ".safetensors": damages.damage_tensors,
    }[Path(name).suffix]
    return damage(data, generator)


@dataclass(frozen=True)
class Ways:
    """Options of a fuzzing case: the commands to draw from, the damaging function, and the file (None: random)."""

    commands: tuple[str, ...] = COMMANDS
    damage: Callable[[str, bytes, Generator], bytes] = damage
    file: str | None = None


def run_case(number: int, bases: Bases, root: Path, ways: Ways = Ways(), main: Callable[[], object] = cli.main) -> Case:
    """Damage one file of a run, run a command on it, and return the case with the faults of the outcome."""
    kind = KINDS[number % len(KINDS)]
    generator = np.random.default_rng([2024, number])
    box = Sandbox(root / str(number), bases.corrected, bases.one_setting)
    box.main = main
    try:
        file, words, intact = _MAKERS[kind](box, bases, number, generator, ways)
        before = snapshot(box.root)
        outcome = box.call(words)
        changed = changes(before, snapshot(box.root))
        allowed = (*WRITTEN.get(words[0], ()), *LOCKS)
        faults = [f"printed {line!r}" for line in outcome.stray]
        if outcome.code not in CODES:
            faults.append(f"exit code {outcome.code}")
        if outcome.code == 2 and len(outcome.sentences) != 1:
            faults.append(f"{len(outcome.sentences)} sentences")
        faults += [f"changed {path}" for path in changed if not any(fnmatchcase(path, each) for each in allowed)]
        if words[0] == "verify" and not intact and outcome.code == 0:
            faults.append("calls a damaged run intact")
        return Case(number=number, kind=file, command=" ".join(words), outcome=outcome, faults=tuple(faults))
    finally:
        shutil.rmtree(box.root)


Made = tuple[str, list[str], bool]  # kind of file, command, whether the manifest agrees with the files


def _damage_run(box: Sandbox, bases: Bases, number: int, generator: Generator, ways: Ways) -> Made:
    # Numbered without the other kinds, so that every command comes up.
    ordinal = number // len(KINDS) * KINDS.count("run") + number % len(KINDS)
    command = ways.commands[ordinal % len(ways.commands)]
    run = Path(shutil.copytree(bases.one_setting, box.work / RUN, copy_function=link_or_copy))
    if command == "compare":
        shutil.copytree(bases.one_setting, box.work / OTHER, copy_function=link_or_copy)
    names = sorted(file.relative_to(run).as_posix() for file in run.rglob("*") if file.is_file())
    name = ways.file or damages.pick(generator, names)
    original = (run / name).read_bytes()
    chance = generator.random()
    if chance < 0.04:
        (run / name).unlink()
        new = b""
    else:
        new = ways.damage(name, original, generator)
        box.write(f"{RUN}/{name}", new)
    # Half of the damages are entered in the manifest, as one who forges a run would do.
    sealed = name != "manifest.json" and chance > 0.5 and not name.endswith(".safetensors")
    if sealed:
        seal(run, name)
    harmless = new == original or (name == "manifest.json" and _same_manifest(original, new))
    return f"run: {Path(name).name}", list(WORDS[command]), sealed or (harmless and (run / name).is_file())


def _same_manifest(original: bytes, new: bytes) -> bool:
    """Return True if every line of a damaged manifest is also in the original."""
    try:
        return bool(json.loads(original).items() >= json.loads(new).items())
    except (ValueError, AttributeError, RecursionError):
        return False


def _damage_settings(box: Sandbox, _bases: Bases, number: int, generator: Generator, _ways: Ways) -> Made:
    box.write("mine.toml", damages.damage_toml(SETTINGS, generator))
    return (
        "TOML",
        ["train", "--preset", "tiny", "--config", "mine.toml", *(["--resume"] if number % 7 == 0 else [])],
        True,
    )


def _damage_split(box: Sandbox, _bases: Bases, _number: int, generator: Generator, _ways: Ways) -> Made:
    splits.table(len)(box)
    box.write("split.csv", damages.damage_table((box.work / "split.csv").read_bytes(), generator))
    return "split", ["data", "check", "photos", "--split", "split.csv"], True


def _damage_print(box: Sandbox, _bases: Bases, number: int, generator: Generator, _ways: Ways) -> Made:
    ending = ENDINGS[number // len(KINDS) % len(ENDINGS)]
    data = print_result(ending, number)
    if ending == "json" and generator.random() < 0.6:
        data = damages.damage_json_text(data, generator)
    elif ending == "csv" and generator.random() < 0.6:
        data = damages.damage_table(data, generator)
    else:
        data = damages.damage_print(data, generator)
    box.write(f"report.{ending}", data)
    more = (["--show"], ["--show"], [], ["--out", "page.html"])[number % 4]
    return f"printed: .{ending}", ["audit", f"report.{ending}", *more], True


_MAKERS = {"run": _damage_run, "TOML": _damage_settings, "split": _damage_split, "printed": _damage_print}


@contextlib.contextmanager
def skip_long_work(*, drawing: bool) -> Iterator[None]:
    """End trainings before their first step and, unless `drawing`, skip figures and features in reports."""

    def begin(*_task: object) -> None:
        raise click.exceptions.Exit(0)

    replaced: list[tuple[object, str, object]] = [(experiment, "fit", begin)]
    if not drawing:
        replaced.append((of_run, "write_features", lambda run, *_how, **_named: run))
        replaced.append((figures, "to_png", lambda *_drawing: b""))
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    for module, name, value in replaced:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
