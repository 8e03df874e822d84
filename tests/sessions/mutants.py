"""Mutation tests: changes one thing at a time in each module of the package, and runs the tests that touch it."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import coverage

from tests.mutants import kernels, record
from tests.mutants.changes import Change, count_changes, make_changes
from tests.mutants.fresh import try_fresh
from tests.mutants.swap import NOT_SWAPPED
from tests.mutants.tasks import PACKAGE, ROOT, Outcome, Task, abridge, hash_file, list_modules, read_commit

KERNELS = "kernels"


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s evidence -- mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"a module, a folder such as metrics, or {KERNELS}; default: all")
    parser.add_argument("--number", type=int, help="changes of a module; default: 20, or 8 of a small module; 0: all")
    parser.add_argument("--draw", help="commit whose hash draws the changes; default: the one that is checked out")
    parser.add_argument("--again", action="store_true", help="try only what survived the last call with this folder")
    parser.add_argument("--tests", nargs="+", default=[], help="run these test files, whatever lines they run")
    parser.add_argument("--folder", type=Path, help="where recordings and survivors are kept for the next call")
    parser.add_argument("--lanes", type=int, default=2, help="processes that try changes")
    arguments = parser.parse_args()
    every = list_modules()
    chosen = [file for file in every if not arguments.modules or any(_names(each, file) for each in arguments.modules)]
    if not chosen and arguments.modules != [KERNELS]:
        parser.error(f"no module {arguments.modules}; valid values are {KERNELS}, {', '.join(every)}")
    draw = arguments.draw or read_commit()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        if chosen:
            if not arguments.tests:
                record_tests(folder)
            wrong += survey(folder, chosen, draw, arguments)
    if not arguments.modules or KERNELS in arguments.modules:
        rows = kernels.survey(_say)
        record.write([*(record.read_rows() | {row.module: row for row in rows}).values()])
        wrong += [
            f"{row.module}: {row.killed} of {row.drawn} faults are noticed" for row in rows if row.killed < row.drawn
        ]
    _say("\n".join(wrong))
    sys.exit(bool(wrong))


def _names(word: str, file: str) -> bool:
    """Return True if a command-line argument names the module or a folder that contains it."""
    return word == file or file.startswith(f"{word.rstrip('/')}/")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def record_tests(folder: Path) -> None:
    """Record which lines the quick tests run, unless the folder has it."""
    if (folder / "modules.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    _say("the quick tests are run once, to see which lines each of them runs")
    words = ("-q", "-p", "tests.mutants.touched", "-n", "2", "--dist", "worksteal")
    hashes = {file: hash_file(PACKAGE / file) for file in list_modules()}
    subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT,
        env=os.environ | {"MUTANTS_RECORD": str(folder)},
        check=False,
    )
    recorder = coverage.Coverage(data_file=str(folder / "all"), config_file=False)
    recorder.combine([str(file) for file in folder.glob("lines*")])
    recorder.save()
    (folder / "modules.json").write_text(json.dumps(hashes), encoding="utf-8")


def survey(folder: Path, files: Sequence[str], draw: str, arguments: argparse.Namespace) -> list[str]:
    """Try changes of modules, write their rows, and return what is wrong with them."""
    start, kept = time.monotonic(), folder / "survivors.json"
    before = {tuple(key) for key in json.loads(kept.read_text(encoding="utf-8"))} if kept.exists() else set()
    others = sorted(key for key in before if key[0] not in files)
    again = before - set(others) if arguments.again else None
    changes = [
        (file, change)
        for file in files
        for change in _draw(file, None if again is not None else arguments.number, draw, again)
    ]
    _say(f"{len(changes)} changes of {len(files)} modules, drawn by {draw[:12]}")
    outcomes = []
    for outcome in try_changes(folder, changes, arguments.tests, arguments.lanes):
        outcomes.append(outcome)
        if not outcome.killer:
            change = abridge(outcome.before, outcome.after)
            _say(f"{outcome.file}:{outcome.line} {outcome.function}: `{change}` ({outcome.ending})")
        if len(outcomes) % 100 == 0:
            _say(f"{len(outcomes)} of {len(changes)}, {time.monotonic() - start:.0f} s")
    left = [outcome.key for outcome in outcomes if not outcome.killer]
    kept.write_text(json.dumps([*others, *left], indent=0), encoding="utf-8")
    reasons = record.read_reasons()
    rows = record.read_rows()
    # A survivor whose code was deleted has no outcome.
    for file in files if again is None else sorted({key[0] for key in again}):
        mine = [outcome for outcome in outcomes if outcome.file == file]
        possible = count_changes((PACKAGE / file).read_text(encoding="utf-8"))
        old = rows.get(file) if again is not None else None
        rows[file] = record.summarise(file, possible, mine, {reason.key for reason in reasons}, draw[:12], old)
    record.write(rows.values())
    _say(f"{len(outcomes)} changes in {time.monotonic() - start:.0f} s")
    killed = {outcome.key for outcome in outcomes if outcome.killer}
    of_files = [reason for reason in reasons if reason.module in files]
    return [
        *record.find_stale_reasons(of_files, killed),
        *record.find_weak(row for row in rows.values() if row.module in files),
    ]


def _draw(file: str, number: int | None, draw: str, again: set[tuple[str, ...]] | None) -> Iterator[Change]:
    source = (PACKAGE / file).read_text(encoding="utf-8")
    if again is not None:
        wanted = {key[1:] for key in again if key[0] == file}
        yield from (change for change in (make_changes(source) if wanted else ()) if change.key in wanted)
        return
    number = record.usual_number(file) if number is None else number
    yield from make_changes(source, number or None, f"{draw} {file}")


def try_changes(
    folder: Path, changes: Sequence[tuple[str, Change]], tests: Sequence[str], lanes: int
) -> Iterator[Outcome]:
    """Try changes in forks of one pytest, then in new imports those that need one."""
    files = {name: folder / f"{name}-{os.getpid()}" for name in ("changes", "tasks", "outcomes")}
    files["changes"].write_bytes(pickle.dumps(list(changes)))
    files["outcomes"].touch()
    named = {f"MUTANTS_{name.upper()}": str(file) for name, file in files.items()}
    environment = {"OMP_NUM_THREADS": "1", "MUTANTS_ALL": "1" if tests else "", "MUTANTS_LANES": str(lanes)}
    environment = os.environ | named | environment | {"MUTANTS_RECORD": str(folder)}
    words = ("-q", "-s", "-p", "tests.mutants.swap", "-p", "no:cacheprovider", *tests)
    survivors: list[Outcome] = []
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *words], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        for outcome in _follow(process, files["outcomes"]):
            if outcome.killer:
                yield outcome
            else:
                survivors.append(outcome)
    if process.returncode:
        raise RuntimeError(f"the tests were not tried: {(folder / 'log').read_text(encoding='utf-8')[-2000:]}")
    tasks, seconds = pickle.loads(files["tasks"].read_bytes())  # noqa: S301
    fresh: list[Task] = [task for task in tasks if task.change.at_import]
    by_key = {(task.file, *task.change.key): task for task in tasks}
    for outcome in survivors:
        task = by_key[outcome.key]
        if outcome.ending == NOT_SWAPPED or task.elsewhere:
            fresh.append(task)
        else:
            yield outcome
    for file in files.values():
        file.unlink()
    _say(f"{len(fresh)} of them are imported anew")
    with tempfile.TemporaryDirectory(prefix="mutants-") as copies:
        yield from try_fresh(ROOT, Path(copies), fresh, seconds, folder, lanes)


def _follow(process: subprocess.Popen[bytes], file: Path) -> Iterator[Outcome]:
    """Yield the outcomes that a process writes, until it ends."""
    text = ""
    with file.open(encoding="utf-8") as lines:
        while True:
            over = process.poll() is not None
            # The last line may still be written.
            *whole, text = f"{text}{lines.read()}".split("\n")
            yield from (Outcome(**json.loads(line)) for line in whole)
            if over:
                return
            time.sleep(0.2)


if __name__ == "__main__":
    main()
