"""Planted causes of different bits and honest trainings, and what `diff` and `explain` say of each.

    python -m benchmarks.causes

writes docs/caught/causes.csv and honest.csv; it takes minutes.
"""

from __future__ import annotations

import sys
import time

import torch
from tests.docs import caught
from tests.trace.honest import HONEST
from tests.trace.planted import HEADS, PLANTED, ROOT, RUN, Verdict, examine, nearly_equal_pixels, with_head

from in4310repro.trace.causes import explain
from in4310repro.trace.comparison import compare
from in4310repro.trace.explanation import Explanation
from in4310repro.trace.processes import Processes, Training

COLUMNS = ("planted", "diff: the first difference", "explain")
HONEST_COLUMNS = ("training", "diff", "explain", "moves it by rounding")
Row = tuple[str, ...]


def planted_row(verdict: Verdict) -> Row:
    found = verdict.comparison.difference
    first = f"{found.name}, step {found.step}, {found.phase}" if found else "none"
    return verdict.planted.what, first, verdict.said or "not named"


def decoder_row(processes: Processes) -> tuple[Row, bool]:
    """Return the table row of the cause "another image decoder", and whether `compare` names that cause."""
    command = (*RUN, "tests.trace.honest:shuffled_loader")
    trace = processes.open("first").run(Training(command, path=(str(ROOT),), steps=1)).trace
    one, other = (with_head(each, head) for each, head in zip((trace, nearly_equal_pixels(trace)), HEADS, strict=True))
    text = compare(one, other).text()
    return ("another libjpeg, by the heads of two traces", text, "does not apply"), "jpeg" in text


def honest_row(name: str, processes: Processes) -> tuple[Row, Explanation, bool]:
    command = (*RUN, f"tests.trace.honest:{name}")
    training = Training(command, path=(str(ROOT),))
    runs = [processes.open(f"hash seed {each}", {"PYTHONHASHSEED": each}).run(training) for each in "56"]
    equal = compare(*(each.trace for each in runs)).equal
    found = explain(command, path=[str(ROOT)], processes=processes)
    rounding = [each.change.name for each in found.effects if each.moved and each.change.numerical]
    said = "; ".join(found.causes) or "no cause"
    return (name, "equal" if equal else "different", said, ", ".join(rounding)), found, equal


def main() -> None:
    """Write both tables; exit with 1 if a cause is not named or an honest training is accused."""
    verdicts, seconds = [], []
    with Processes() as processes:
        for planted in PLANTED:
            start = time.monotonic()
            verdicts.append(examine(planted, processes))
            seconds.append(time.monotonic() - start)
            sys.stderr.write(f"{planted.function}: {verdicts[-1].said or 'NOT NAMED'}\n")
        row, named = decoder_row(processes)
        honest = [honest_row(each.__name__, processes) for each in HONEST]
    right = sum(each.by_diff and bool(each.said) for each in verdicts) + named
    accused = sum(bool(found.causes) or not equal for _, found, equal in honest)
    caught.write("honest", HONEST_COLUMNS, [each for each, *_ in honest])
    caught.write("causes", COLUMNS, [*map(planted_row, verdicts), row])
    sys.stdout.write(
        f"{right} of {len(verdicts) + 1} planted causes are named right, and {accused} of {len(honest)} honest "
        f"trainings are accused, with torch {torch.__version__}\n"
        f"seconds of an explanation: {min(seconds):.0f} to {max(seconds):.0f}\n"
    )
    sys.exit(right != len(verdicts) + 1 or bool(accused))


if __name__ == "__main__":
    main()
