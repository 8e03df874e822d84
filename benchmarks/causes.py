"""Planted causes of different bits and honest trainings, and what `diff` and `explain` say of each.

    python -m benchmarks.causes

writes docs/causes.md; it takes minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tests.trace.honest import HONEST
from tests.trace.planted import HEADS, MODULE, PLANTED, ROOT, Verdict, examine, nearly_equal_pixels, with_head

from in4310repro.system.files import write_file
from in4310repro.trace.causes import explain
from in4310repro.trace.comparison import compare
from in4310repro.trace.explanation import Explanation
from in4310repro.trace.processes import Processes, Training

PAGE = Path(__file__).parents[1] / "docs/causes.md"
HEAD = """# Planted causes of different bits

Do `in4310repro diff` and `in4310repro explain` name what makes two trainings differ, and spare honest ones?

Each row is a small training of `tests/trace/trainings.py` with one mistake. `diff` compares two runs of it in processes
of their own; where the mistake shows only on another machine, the second run has what that machine has: another order
of files, number of workers or threads, other vector instructions, a second training in the process. `explain` is given
the function alone. Lines are those of the training. `nox -s evidence -- causes` writes this page.

"""
HONEST_HEAD = """
Honest trainings, two runs of each in processes with different hash seeds, and `explain`:

"""


def sentence(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def planted_rows(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield "| planted | `diff`: the first difference | `explain` |"
    yield "| --- | --- | --- |"
    for each in verdicts:
        found = each.comparison.difference
        first = f"`{found.name}`, step {found.step}, {found.phase}" if found else "none"
        yield f"| {each.planted.what} | {first} | {sentence(each.said) or 'not named'} |"


def decoder_row(processes: Processes) -> tuple[str, bool]:
    """Return the table row of the cause "another image decoder", and whether `compare` names that cause."""
    trace = processes.open("first").run(Training(f"{MODULE}:honest", path=(str(ROOT),), steps=1)).trace
    one, other = (with_head(each, head) for each, head in zip((trace, nearly_equal_pixels(trace)), HEADS, strict=True))
    text = compare(one, other).paragraph()
    return f"| another libjpeg, by the heads of two traces | {sentence(text)} | does not apply |", "jpeg" in text


def honest_row(name: str, processes: Processes) -> tuple[str, Explanation, bool]:
    function = f"tests.trace.honest:{name}"
    training = Training(function, path=(str(ROOT),))
    runs = [processes.open(f"hash seed {each}", {"PYTHONHASHSEED": each}).run(training) for each in "56"]
    equal = compare(*(each.trace for each in runs)).equal
    found = explain(function, path=[str(ROOT)], processes=processes)
    rounding = [each.change.name for each in found.effects if each.moved and each.change.numerical]
    said = "; ".join(found.causes) or "no cause"
    return (
        f"| `{name}` | {'equal' if equal else 'different'} | {sentence(said)} | {', '.join(rounding)} |",
        found,
        equal,
    )


def page(processes: Processes) -> tuple[str, int, list[float]]:
    """Return the page, the number of wrong verdicts, and the seconds of each explanation."""
    verdicts, seconds = [], []
    for planted in PLANTED:
        start = time.monotonic()
        verdicts.append(examine(planted, processes))
        seconds.append(time.monotonic() - start)
        sys.stderr.write(f"{planted.function}: {verdicts[-1].said or 'NOT NAMED'}\n")
    row, named = decoder_row(processes)
    lines = [*planted_rows(verdicts), row]
    right = sum(each.by_diff and bool(each.said) for each in verdicts) + named
    honest = [honest_row(each.__name__, processes) for each in HONEST]
    accused = sum(bool(found.causes) or not equal for _, found, equal in honest)
    summary = (
        f"\n{right} of {len(verdicts) + 1} planted causes are named right, and {accused} of {len(honest)} honest "
        f"trainings are accused, with torch {torch.__version__}.\n"
    )
    head = "| training | `diff` | `explain` | moves it by rounding |\n| --- | --- | --- | --- |\n"
    table = "\n".join(line for line, _, _ in honest)
    text = f"{HEAD}{chr(10).join(lines)}\n{HONEST_HEAD}{head}{table}\n{summary}"
    return text, len(verdicts) + 1 - right + accused, seconds


def main() -> None:
    """Write the page; exit with 1 if a cause is not named or an honest training is accused."""
    with Processes() as processes:
        text, wrong, seconds = page(processes)
    write_file(PAGE, text.encode())
    sys.stdout.write(f"{text}\nseconds of an explanation: {min(seconds):.0f} to {max(seconds):.0f}\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
