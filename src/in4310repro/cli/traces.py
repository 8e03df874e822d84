"""The commands on traces of trainings: `diff` names the first tensor that differs, `explain` tries out causes."""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

from in4310repro.cli import console
from in4310repro.cli.console import DIFFERENCE, conclude, load_torch, print_line, progress
from in4310repro.cli.options import Place, argument, command, ending, option
from in4310repro.system.files import open_regular, write_file
from in4310repro.system.text import columns

FIRST_STEPS = "in4310repro.verification.replay.epoch"
A_TRACE = "A file that in4310repro.trace.Trace wrote, such as a.trace."


def _check_regular(path: Path) -> None:
    # A named pipe would be waited for.
    with open_regular(path, sys.maxsize):
        pass


@command()
@argument("first", A_TRACE, check=_check_regular)
@argument("second", A_TRACE, check=_check_regular)
@option("--values", "Compare elements of tensors whose values both trainings kept.", bool)
@option("--figure", "SVG file for a drawing of how the difference grows.", Path, check=ending("--figure", ".svg"))
def diff(first: Path, second: Path, values: bool, figure: Place) -> None:
    """Say in which tensor two traced trainings first differ, and what may have caused it; exit code 1 if they do.

    Examples:
        in4310repro diff a.trace b.trace
        in4310repro diff a.trace b.trace --values
        in4310repro diff a.trace b.trace --figure growth.svg
    """
    load_torch()
    from in4310repro.report.trace_chart import draw_growth
    from in4310repro.trace import compare, read_trace
    from in4310repro.trace.comparison import compare_elements

    comparison = compare(read_trace(first), read_trace(second))
    elements = compare_elements(comparison) if values else {}
    print_line(comparison.paragraph())
    for note in comparison.notes:
        print_line(f"Not compared: {note}.")
    if comparison.difference:
        # The step before the first difference, that of it, steps at doubling distances after it, and the last one.
        start, last = comparison.difference.equal_steps, len(comparison.growth) - 1
        chosen = {start - 1, start, *(start + 2**power for power in range(last.bit_length())), last}
        rows = [("step", "tensors that differ", "relative: parameters", "loss", "loss, ulps")]
        for each in (comparison.growth[i] for i in sorted(chosen) if 0 <= i <= last):
            loss = "" if each.relative_loss is None else f"{each.relative_loss:.1e}"
            ulps = "" if each.loss_ulps is None else f"{each.loss_ulps:,}"
            rows.append((f"{each.step}", f"{each.differing:,} of {each.tensors:,}", f"{each.relative:.1e}", loss, ulps))
        console.print_text("\n".join(["", *columns(rows, ">>>>>"), ""]))
    for name, found in elements.items():
        print_line(f"{name}: {found.describe() if found else 'all elements are equal to the bit.'}")
    if not values and (lines := [f"keep={json.dumps(each)}" for each in comparison.keep()]):
        print_line(f"Its elements: record both again by Trace(..., {' and '.join(lines)}), and add --values.")
    if figure:
        print_line(f"wrote {write_file(figure, draw_growth(comparison.growth).encode())}")
    kept = {name: asdict(found) if found else None for name, found in elements.items()}
    conclude(comparison.to_json() | {"elements": kept}, 0 if comparison.equal else DIFFERENCE)


@command()
@argument("training", "MODULE:FUNCTION, which returns model, loss, optimizer and batches; or a run folder.", str)
@option("--steps", "Steps of each run.", int, default=2, within=(1, None))
@option("--only", "A change to try, such as threads or compile; once for each.", multiple=True)
@option("--time-limit", "Seconds after which a run is stopped.", float, default=300, within=(1, None))
def explain(training: str, steps: int, only: tuple[str, ...], time_limit: float) -> None:
    """Run some steps of a training under one change at a time, and say which moves its bits; exit code 1 for a mistake.

    A mistake is something that should not matter and does: the clock, entropy, the order in which files are listed, a
    hash seed, memory, worker processes. Threads, vector instructions and the like move honest trainings by rounding.

    Examples:
        in4310repro explain train:make
        in4310repro explain train:make --only threads --only "hash seed"
        in4310repro explain runs/demo
    """
    if not math.isfinite(time_limit):
        raise ValueError(f"--time-limit {time_limit}; a number of seconds is valid")
    function, arguments, libraries = training, list[str](), list[str]()
    if Path(training).is_dir():
        function, arguments, libraries = f"{FIRST_STEPS}:first_steps", [str(Path(training).absolute())], [FIRST_STEPS]
    elif ":" not in training:
        raise ValueError(f"{training} is no run folder; MODULE:FUNCTION, such as train:make, or a run folder is valid")
    if "compile" in only:
        progress().message("torch.compile compiles the model, which takes minutes on a slow machine")
    load_torch()
    from in4310repro.trace import causes

    with progress().steps(f"running {training}") as shown:
        found = causes.explain(
            function, arguments=arguments, libraries=libraries, steps=steps, only=only, limit=time_limit, shown=shown
        )
    for line in found.lines():
        print_line(line)
    conclude(found.to_json(), DIFFERENCE if found.findings else 0)
