"""The commands on trainings: `record` one, find where two differ (`diff`), and try what moves bits (`explain`)."""

import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from in4310repro.cli import console
from in4310repro.cli.console import conclude, print_line, print_text, progress
from in4310repro.cli.options import Place, argument, check_output, command, ending, option
from in4310repro.system import launch, signals
from in4310repro.system.files import open_regular, write_file
from in4310repro.system.text import columns

FIRST_STEPS = "in4310repro.verification.first_steps"
A_TRACE = (
    "A file that in4310repro record or in4310repro.trace.Trace wrote; of several processes OUT.0, OUT.1, ... by OUT."
)
COMMAND = "After --: the Python file of a training with its arguments, or -m MODULE with them."


def _parse_keep(texts: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return what `--keep STEP:TENSOR` names, as `Trace` takes it."""
    found = [re.fullmatch(r"(\d+):(.+)", each) for each in texts]
    if None in found:
        raise ValueError(f"--keep {texts[found.index(None)]}; it must be STEP:TENSOR, such as 0:fc.weight")
    return [{"step": int(each[1]), "tensors": [each[2]]} for each in found if each]


def _check_out(out: Path) -> None:
    check_output(out)
    if not out.parent.is_dir():
        raise ValueError(f"the folder {out.parent} is not there")


def _check_command(words: Sequence[str]) -> None:
    """Raise ValueError where no program is named; torch is not needed to see that."""
    named = [each for each in words if not Path(each).name.startswith("python") or each.endswith(".py")]
    if not named or (named[0] != "-m" and not Path(named[0]).is_file()):
        raise ValueError(f"{' '.join(words) or 'nothing'} is not a file; give a Python file, or -m MODULE, after --")


@command()
@argument("out", "The file to write; of several processes under torchrun OUT.0, OUT.1, ...", check=_check_out)
@argument("training", COMMAND, str, nargs=-1)
@option("--steps", "Steps of optimizers after which the training is ended; default: none.", int, within=(1, None))
@option("--keep", "STEP:TENSOR whose values are kept for diff --values; repeat for several.", multiple=True)
def record(out: Path, training: tuple[str, ...], steps: int | None, keep: tuple[str, ...]) -> None:
    """Run a training with PyTorch as it is, and record what each of its steps reads, computes and changes.

    The exit code is that of the training; it is 2 if no optimizer took a step.

    Examples:
        in4310repro record a.trace -- train.py --lr 0.1
        in4310repro record b.trace --steps 20 -- train.py --lr 0.2
        torchrun --nproc-per-node 2 -m in4310repro record c.trace -- train.py
    """
    kept = _parse_keep(keep)
    _check_command(training)
    console.load_torch()
    from in4310repro.trace import program

    with signals.as_python_has_them():
        done, code = program.record(out, training, steps or 0, kept)
    if not done and not code:
        raise ValueError(f"{' '.join(training)} took no step of an optimizer with parameters of a torch.nn.Module")
    if not launch.is_silent():
        print_line(f"wrote {out}: {done} steps")
    conclude({"wrote": [f"{out}"], "steps": done}, code)


def _check_regular(path: Path) -> None:
    # Raises for a named pipe, for whose writer reading would wait.
    for each in _ranks(path):
        with open_regular(each, sys.maxsize):
            pass


def _ranks(path: Path) -> list[Path]:
    """Return the traces of all processes of a training: `path`, or `path.0`, `path.1` and so on."""
    if path.exists() or not path.with_name(f"{path.name}.0").exists():
        return [path]
    numbers = [each.name.removeprefix(f"{path.name}.") for each in path.parent.glob(f"{path.name}.*")]
    return [path.with_name(f"{path.name}.{i}") for i in sorted(int(each) for each in numbers if each.isdecimal())]


@command()
@argument("first", A_TRACE, check=_check_regular)
@argument("second", A_TRACE, check=_check_regular)
@option("--why", "Print all that the answer rests on: sizes, what was equal, growth, what could not be compared.", bool)
@option("--values", "Compare elements of tensors whose values both trainings kept.", bool)
@option("--figure", "SVG file for a drawing of how the difference grows.", Path, check=ending("--figure", ".svg"))
def diff(first: Path, second: Path, why: bool, values: bool, figure: Place) -> None:
    """Print why, where and in which tensor two recorded trainings first differ; exit code 1 if they differ.

    Examples:
        in4310repro diff a.trace b.trace
        in4310repro diff a.trace b.trace --why
        in4310repro diff a.trace b.trace --values
        in4310repro diff a.trace b.trace --figure growth.svg
    """
    console.load_torch()
    from in4310repro.report.markup import draw_growth
    from in4310repro.trace.comparison import compare_elements, compare_ranks

    comparison = compare_ranks(_ranks(first), _ranks(second))
    elements = compare_elements(comparison) if values else {}
    print_text(comparison.text())
    if why:
        _print_why(comparison)
    for name, found in elements.items():
        print_line(f"{name}: {found.describe() if found else 'all elements are equal to the bit.'}")
    if why and not values and (lines := [f"keep={json.dumps(each)}" for each in comparison.keep()]):
        print_line(f"Its elements: record both again by Trace(..., {' and '.join(lines)}), and add --values.")
    if figure:
        print_line(f"wrote {write_file(figure, draw_growth(comparison.growth).encode())}")
    kept = {name: asdict(found) if found else None for name, found in elements.items()}
    conclude(comparison.to_json() | {"elements": kept}, 0 if comparison.equal else console.DIFFERENCE)


def _print_why(comparison: Any) -> None:
    print_line(*(comparison.verdict.why if comparison.verdict else ()))
    for note in comparison.notes:
        print_line(f"Not compared: {note}.")
    if comparison.difference:
        # The last equal step, the first that differs, steps at doubling distances after it, and the last one.
        start, last = comparison.difference.equal_steps, len(comparison.growth) - 1
        chosen = {start - 1, start, *(start + 2**power for power in range(last.bit_length())), last}
        rows = [("step", "tensors that differ", "relative: parameters", "loss", "loss, ulps")]
        for each in (comparison.growth[i] for i in sorted(chosen) if 0 <= i <= last):
            loss = "" if each.relative_loss is None else f"{each.relative_loss:.1e}"
            ulps = "" if each.loss_ulps is None else f"{each.loss_ulps:,}"
            rows.append((f"{each.step}", f"{each.differing:,} of {each.tensors:,}", f"{each.relative:.1e}", loss, ulps))
        print_text("\n".join(["", *columns(rows, ">>>>>"), ""]))


@command()
@argument("training", f"A run folder of this package; or, {COMMAND[0].lower()}{COMMAND[1:]}", str, nargs=-1)
@option("--steps", "Steps of each run.", int, default=2, within=(1, None))
@option("--only", "A change to try, such as threads or compile; repeat for several.", multiple=True)
@option("--time-limit", "Seconds after which a run is stopped.", float, default=300, within=(1, None))
def explain(training: tuple[str, ...], steps: int, only: tuple[str, ...], time_limit: float) -> None:
    """Run steps of a training under one change at a time, and print which change its bits; exit code 1 for a mistake.

    A mistake is a dependence on something that should not matter: the clock, entropy, the order in which files are
    listed, a hash seed, memory, worker processes. Threads and vector instructions change rounding in any training.

    Examples:
        in4310repro explain -- train.py --lr 0.1
        in4310repro explain --only threads --only "hash seed" -- train.py
        in4310repro explain runs/demo
    """
    if not math.isfinite(time_limit):
        raise ValueError(f"--time-limit {time_limit}; it must be a number of seconds")
    words, libraries = list(training), list[str]()
    if len(words) == 1 and Path(words[0]).is_dir():
        words, libraries = ["-m", FIRST_STEPS, words[0]], [FIRST_STEPS]
    _check_command(words)
    if "compile" in only:
        progress().message("torch.compile compiles the model, which takes minutes on a slow machine")
    console.load_torch()
    from in4310repro.trace import causes

    with progress().steps(f"running {' '.join(training)}") as shown:
        found = causes.explain(words, libraries=libraries, steps=steps, only=only, limit=time_limit, shown=shown)
    for line in found.lines():
        print_line(line)
    conclude(found.to_json(), console.DIFFERENCE if found.findings else 0)
