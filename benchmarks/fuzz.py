"""Fuzzing: damages 2,000 run folders, TOML files, splits and printed results, and runs a command on each."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.docs import caught
from tests.fuzzing import cases

from in4310repro.evaluation.feature_maps import of_run
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import activate
from in4310repro.training import experiment

# The test suite uses the cases before this one.
FIRST = 1000
ENDINGS = ("accepted", "difference", "refused", "fault")
COLUMNS = ("damaged file", "cases", "accepted (0)", "difference (1)", "refused (2)", "faults")


def results(done: Sequence[cases.Case]) -> list[tuple[object, ...]]:
    """Return the counts of how the commands ended, by type of file."""
    counts = Counter((case.kind, case.ending) for case in done)
    kinds = sorted({case.kind for case in done})
    return [
        (kind, sum(case.kind == kind for case in done), *(counts[kind, each] for each in ENDINGS)) for kind in kinds
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s evidence -- fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="number of cases; the table is written for 2,000")
    parser.add_argument("--first", type=int, default=FIRST, help="number of the first case, which is also its seed")
    arguments = parser.parse_args()
    numerics = activate("auto", "cpu")
    start, done = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        # One cache outside the sandboxes: a cache inside would be drawn for each case and count as a written file.
        os.environ["IN4310REPRO_CACHE"] = str(folder / "cache")
        run = experiment.train(PRESETS["tiny"], folder / "tiny", context=Context(numerics))
        of_run.write_features(run, PRESETS["tiny"], Context(numerics))
        bases = cases.make_bases(folder / "tiny", folder)
        with cases.skip_long_work(drawing=True):
            for number in range(arguments.first, arguments.first + arguments.cases):
                case = cases.run_case(number, bases, folder)
                done.append(case)
                if case.faults:
                    sys.stdout.write(f"case {number}, {case.kind}, `{case.command}`: {'; '.join(case.faults)}\n")
                    sys.stdout.write(f"{case.outcome.err[-2000:]}\n")
                elif len(done) % 100 == 0:
                    sys.stdout.write(f"{len(done)} of {arguments.cases} cases, {time.monotonic() - start:.0f} s\n")
                sys.stdout.flush()
    rows = results(done)
    sys.stdout.write(caught.text_of(COLUMNS, rows))
    if arguments.cases == 2000 and arguments.first == FIRST:
        caught.write("fuzz", COLUMNS, rows)
    sys.exit(any(case.faults for case in done))


if __name__ == "__main__":
    main()
