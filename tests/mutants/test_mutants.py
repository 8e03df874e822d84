"""Tests of the mutation testing: its changes, the survivors of tests without assertions, and its record."""

from __future__ import annotations

import ast
import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants import kernels, record
from tests.mutants.changes import list_keys, make_changes
from tests.mutants.record import Reason, Row
from tests.mutants.tasks import PACKAGE, Known, Outcome, Task, confirm

ROOT = Path(__file__).parents[2]
MODULE = '''
"""A module."""

def is_large(value: int, *, least: int = 3) -> bool:
    """Whether it is: 3 is not."""
    if value < 0:
        raise ValueError(f"{value} is below {0 + 0}")
    return value > least
'''


def test_every_change_is_one_of_the_code_and_not_of_words_and_types() -> None:
    found = {(each.kind, each.before, each.after) for each in make_changes(MODULE)}
    heading = "def is_large(value: int, *, least: int={}) -> bool:"
    raised = "raise ValueError(f'{value} is below {0 + 0}')"
    assert found == {
        ("constant", heading.format(3), heading.format(4)),
        ("constant", heading.format(3), heading.format(2)),
        ("branch", "if value < 0:", "if True:"),
        ("branch", "if value < 0:", "if False:"),
        ("comparison", "if value < 0:", "if value <= 0:"),
        ("constant", "if value < 0:", "if value < 1:"),
        ("branch", raised, "pass"),
        ("return", "return value > least", "return None"),
        ("comparison", "return value > least", "return value >= least"),
    }
    assert {each.function for each in make_changes(MODULE)} == {"is_large"}


def test_entries_of_tables_and_arguments_are_left_out_one_at_a_time() -> None:
    source = "__all__ = ['a', 'b']\nPair = tuple[[int, str], 3]\nNAMES = ('a', 'b')\n\n"
    source += "def find(a, b):\n    return call(a, b, {'x': 1, 'y': 2}, key=len, help='words')\n"
    found = [(each.after, each.at_import) for each in make_changes(source) if each.kind in ("table", "argument")]
    call = "return call({}, {{{}}}, {}help='words')"
    assert found == [
        ("NAMES = ('b',)", True),
        ("NAMES = ('a',)", True),
        (call.format("a, b", "'x': 1, 'y': 2", ""), False),
        (call.format("b, a", "'x': 1, 'y': 2", "key=len, "), False),
        (call.format("a, b", "'y': 2", "key=len, "), False),
        (call.format("a, b", "'x': 1", "key=len, "), False),
    ]


def test_a_change_says_whether_it_decides_and_whether_python_reads_it_at_import() -> None:
    marked = {(each.after, each.at_import, each.decides) for each in make_changes(MODULE)}
    heading = "def is_large(value: int, *, least: int={}) -> bool:"
    assert {(heading.format(4), True, False), ("if True:", False, True), ("pass", False, True)} <= marked
    assert {("return None", False, False), ("return value >= least", False, True)} <= marked


def test_a_change_is_the_only_one_in_its_text() -> None:
    lines = ast.unparse(ast.parse(MODULE)).splitlines()
    for each in make_changes(MODULE):
        different = [pair for pair in zip(lines, each.source.splitlines(), strict=True) if pair[0] != pair[1]]
        assert [(before.strip(), after.strip()) for before, after in different] == [(each.before, each.after)]


def test_a_sample_is_drawn_by_its_seed() -> None:
    first, again, other = (make_changes(MODULE, 4, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 4
    assert {each.key for each in (*first, *other)} <= list_keys(MODULE)


# A module, its test, and what is left of the changes that are made there.
MADE_UP = {
    "asserting": (
        "def is_large(value):\n    return value > LEAST\n\nLEAST = 3\n",
        "from in4310repro.{0} import is_large\n\ndef test():\n    assert is_large(4) and is_large(3) is False\n",
        set(),
    ),
    "silent": (
        "def is_large(value):\n    return value > 3\n",
        "from in4310repro.{0} import is_large\n\ndef test():\n    is_large(4)\n",
        {"return value >= 3", "return value > 4", "return value > 2", "return None"},
    ),
    "failing": (
        "def is_large(value):\n    return value\n",
        "from in4310repro.{0} import is_large\n\ndef test():\n    assert is_large(4) == 5\n",
        {"return None"},
    ),
    "defaulted": (
        "def double(value, change=lambda value: value * 2):\n    return change(value)\n",
        "from in4310repro.{0} import double\n\ndef test():\n    assert double(3) == 6\n",
        set(),
    ),
    "endless": (
        "def steps(number):\n    done = 0\n    while done < number:\n        done += 1\n    return done\n",
        "from in4310repro.{0} import steps\n\ndef test():\n    assert steps(3) == 3\n",
        {"done = 1"},
    ),
    "started": (
        "def double(value):\n    return value * 2\n\nif __name__ == '__main__':\n    raise SystemExit(double(3))\n",
        "import subprocess, sys\n\ndef test():\n    words = [sys.executable, '-m', 'in4310repro.{0}']\n"
        "    assert subprocess.run(words).returncode == 6\n",
        {"if True:"},
    ),
}


@pytest.mark.process
@pytest.mark.slow
def test_what_asserts_nothing_leaves_survivors_and_a_test_that_fails_without_a_change_kills_none(
    tmp_path: Path,
) -> None:
    shutil.copytree(
        Path(__file__).parent, tmp_path / "tests/mutants", ignore=shutil.ignore_patterns("test_*", "*.toml")
    )
    (tmp_path / "tests/sessions").mkdir()
    shutil.copy2(ROOT / "tests/sessions/mutants.py", tmp_path / "tests/sessions")
    texts = {"src/in4310repro/__init__.py": "", "docs/caught/mutants.csv": "", "pytest.ini": "[pytest]\n"}
    texts |= {f"tests/{name}__init__.py": "" for name in ("", "sessions/")}
    texts["tests/golden_cases.py"] = "def finish_run(preset):\n    pass\n"
    for name, (module, test, _) in MADE_UP.items():
        texts |= {f"src/in4310repro/{name}.py": module, f"tests/test_{name}.py": test.format(name)}
    for file, text in texts.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    words = [sys.executable, "-m", "tests.sessions.mutants", "--draw", "made up", "--folder", "kept"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{tmp_path}"}
    words += [f"{name}.py" for name in MADE_UP]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stderr
    with (tmp_path / "docs/caught/mutants.csv").open() as lines:
        rows = {row["module"].removesuffix(".py"): row for row in csv.DictReader(lines)}
    found: dict[str, set[str]] = {name: set() for name in MADE_UP}
    for name, after in re.findall(r"^(\w+)\.py:\d+ .*` -> `(.*)` \(", done.stdout, re.MULTILINE):
        found[name].add(after)
    for name, (module, _, left) in MADE_UP.items():
        drawn = len(make_changes(module, 8, f"made up {name}.py"))
        assert found[name] == left, done.stdout
        assert (int(rows[name]["drawn"]), int(rows[name]["killed"])) == (drawn, drawn - len(left))
    assert "silent.py: 0.0% of 4 changes are killed" in done.stdout


def _outcome(task: Task, killer: str) -> Outcome:
    return Outcome(task.file, "", 1, "", "", False, killer, "failed" if killer else "passed", 1.0)


def test_a_test_that_fails_without_a_change_is_left_out_and_one_that_passes_is_believed() -> None:
    broken = "broken"
    change = make_changes(MODULE)[0]
    tasks = [Task("a.py", change, (broken, "asserts"), 1.0), Task("b.py", change, (broken, "silent"), 1.0)]
    known = Known()

    def run(some: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        for task in some:
            notice = {broken, *({"asserts"} if task.change else ())} - known.bad
            yield task, _outcome(task, next((test for test in task.tests if test in notice), ""))

    assert {outcome.file: outcome.killer for outcome in confirm(tasks, run, known)} == {"a.py": "asserts", "b.py": ""}
    assert (known.bad, known.good) == ({broken}, {"asserts"})


def test_a_reason_for_a_change_that_is_not_there_or_that_a_test_kills_is_found() -> None:
    known = record.read_reasons()[0]
    gone = Reason(known.module, known.function, "return 4", "return 5", "no test can tell")
    assert list(record.find_stale_reasons([known, gone], set())) == [
        f"{known.module}, {known.function}: a reason is given for `return 5`, and there is no such change"
    ]
    assert "a test kills it" in next(record.find_stale_reasons([known], {known.key}))


def test_every_reason_is_for_a_change_that_can_be_made() -> None:
    assert list(record.find_stale_reasons(record.read_reasons(), set())) == []


def test_a_reason_has_words(tmp_path: Path) -> None:
    keys_of = 'module = "a.py"\nfunction = "f"\nbefore = "1"\nafter = "2"\nreason = "equivalent"\n'
    (tmp_path / "list.toml").write_text(f"[[equivalent]]\n{keys_of}")
    with pytest.raises(ValueError, match="reason in words"):
        record.read_reasons(tmp_path / "list.toml")


def test_every_fault_of_a_kernel_can_be_put_into_its_source() -> None:
    assert len(kernels.FAULTS) >= 20
    for fault in kernels.FAULTS:
        assert (PACKAGE / fault.source).read_text(encoding="utf-8").count(fault.before) == 1, fault.fault
        assert fault.after != fault.before


def test_the_share_that_is_killed_leaves_equivalent_changes_out_and_counts_others() -> None:
    row = Row("made/made.py", 99, 40, 30, 38, 1, 1.0, "")
    assert round(row.share, 3) == 0.974
    assert list(record.find_weak([row])) == []
    assert list(record.find_weak([replace(row, killed=36)])) == [
        "made/made.py: 92.3% of 40 changes are killed, not 95%"
    ]


def test_survivors_that_are_tried_again_are_added_to_the_row_of_their_draw() -> None:
    task = Task("made.py", None, (), 1.0)
    first = record.summarise("made.py", 9, [_outcome(task, "test"), _outcome(task, "")], set(), "abc", None)
    again = record.summarise("made.py", 9, [_outcome(task, "new")], set(), "def", first)
    assert (first.killed_at_first, first.killed) == (1, 1)
    assert (again.killed_at_first, again.killed, again.drawn, again.commit) == (1, 2, 2, "abc")


def test_the_record_has_modules_that_there_are_with_enough_changes_of_each() -> None:
    rows = record.read_rows()
    for row in rows.values():
        assert (PACKAGE / row.module).is_file(), row.module
        if row.module.endswith(".py"):
            assert row.drawn >= min(record.usual_number(row.module), row.possible), row.module
    equivalent, drawn = (sum(getattr(row, name) for row in rows.values()) for name in ("equivalent", "drawn"))
    assert equivalent <= record.EQUIVALENT * drawn
