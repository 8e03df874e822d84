"""Tests of the mutation testing: its changes, the survivors of tests without assertions, and its page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import kernels, page, survey, table
from tests.mutants.changes import list_keys, make_changes, rewrite
from tests.mutants.table import Reason
from tests.mutants.trials import Outcome

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


def test_a_change_is_the_only_one_in_its_text() -> None:
    lines = rewrite(MODULE).splitlines()
    for each in make_changes(MODULE):
        different = [pair for pair in zip(lines, each.source.splitlines(), strict=True) if pair[0] != pair[1]]
        assert [(before.strip(), after.strip()) for before, after in different] == [(each.before, each.after)]


def test_a_sample_is_drawn_by_its_seed() -> None:
    first, again, other = (make_changes(MODULE, 4, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 4
    assert {each.key for each in (*first, *other)} <= list_keys(MODULE)


TESTED = "def is_large(value):\n    return value > 3\n"
ENDLESS = "def steps(number):\n    done = 0\n    while done < number:\n        done += 1\n    return done\n"
ASSERTING = "from in4310repro.{0} import is_large\n\ndef test():\n    assert is_large(4) and is_large(3) is False\n"
SILENT = "from in4310repro.{0} import is_large\n\ndef test():\n    is_large(4)\n"
FAILING = "def test():\n    assert False\n"
STEPS = "from in4310repro.{0} import steps\n\ndef test():\n    assert steps(2) == 2\n"
MADE_UP = {
    "asserting": (TESTED, ASSERTING),
    "silent": (TESTED, SILENT),
    "failing": (TESTED, FAILING),
    "endless": (ENDLESS, STEPS),
}
SURVEY = """
import json, sys
from pathlib import Path
from tests.mutants import survey
from tests.mutants.table import Module

survey.PATIENCE = 1.0
root = Path(sys.argv[1])
modules = [Module(name, f"{name}.py", (f"tests/test_{name}.py",)) for name in sys.argv[2:]]
with survey.start_workers(root, 1) as pool:
    rows = survey.survey(modules, root, pool, None, 0, lambda text: None)
print(json.dumps({row.module.room: [row.tried, sorted(key[2] for key in row.killed), len(row.faults)] for row in rows}))
"""


@pytest.mark.process
@pytest.mark.slow
def test_what_asserts_nothing_leaves_survivors_and_what_fails_without_a_change_kills_none(tmp_path: Path) -> None:
    for name, (module, test) in MADE_UP.items():
        for file, text in ((f"src/in4310repro/{name}.py", module), (f"tests/test_{name}.py", test.format(name))):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(text)
    (tmp_path / "src/in4310repro/__init__.py").touch()
    before = sorted(path for path in tmp_path.rglob("*"))
    words = [sys.executable, "-c", SURVEY, str(tmp_path), *MADE_UP]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    rows = json.loads(done.stdout)
    assert rows["asserting"] == [4, ["return None", "return value > 2", "return value > 4", "return value >= 3"], 0]
    assert rows["silent"] == [4, [], 0]
    assert rows["failing"] == [0, [], 1]
    assert "done -= 1" in rows["endless"][1]
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("ending", "killed"),
    [("failed", True), ("out of time", True), ("SIGSEGV", True), ("passed", False), ("no tests", False)],
)
def test_tests_that_did_not_run_have_noticed_nothing(ending: str, killed: bool) -> None:
    assert Outcome(ending, 1.0, "").killed is killed


def test_a_reason_for_a_change_that_is_not_there_or_that_tests_notice_is_found(tmp_path: Path) -> None:
    (tmp_path / table.PACKAGE).mkdir(parents=True)
    (tmp_path / table.PACKAGE / "made.py").write_text(MODULE)
    here, noticed = (("is_large", "return value > least", f"return {after}") for after in ("value >= least", "None"))
    row = survey.Row(table.Module("made", "made.py", ()), 9, killed={noticed})
    known = [
        Reason("made.py", *key, "no test can tell") for key in (here, noticed, ("is_large", "return 4", "return 5"))
    ]
    assert survey.find_stale_reasons(known, [row], tmp_path) == [
        "made.py, is_large: a reason is given for `return 5`, and there is no such change",
        "made.py, is_large: a reason is given for `return None`, and its tests notice it",
    ]


def test_every_reason_is_for_a_change_that_can_be_made() -> None:
    known = table.read_reasons()
    named = {reason.module for reason in known}
    rows = [survey.Row(module, 0) for module in table.list_modules(ROOT) if module.file in named]
    assert survey.find_stale_reasons(known, rows, ROOT) == []
    assert len(rows) == len(named)


def test_a_reason_has_words(tmp_path: Path) -> None:
    keys_of = 'module = "a.py"\nfunction = "f"\nbefore = "1"\nafter = "2"\nreason = "equivalent"\n'
    (tmp_path / "list.toml").write_text(f"[[equivalent]]\n{keys_of}")
    with pytest.raises(ValueError, match="reason in words"):
        table.read_reasons(tmp_path / "list.toml")


def test_every_module_has_tests_that_are_there() -> None:
    for module in table.list_modules(ROOT):
        assert (ROOT / table.PACKAGE / module.file).is_file()
        assert module.tests
        for file in module.tests:
            assert (ROOT / file).is_file(), file


def test_every_fault_of_a_kernel_can_be_put_into_its_source() -> None:
    assert len(kernels.FAULTS) >= 20
    for fault in kernels.FAULTS:
        text = (ROOT / table.PACKAGE / fault.source).read_text(encoding="utf-8")
        assert text.count(fault.before) == 1, fault.fault
        assert fault.after != fault.before


def test_the_share_that_is_killed_leaves_equivalent_changes_out_and_counts_others() -> None:
    survivors = [{"line": 1, "function": "f", "before": "a", "after": after} for after in ("b", "c")]
    entry = {"room": "made", "sites": 99, "tried": 40, "killed": 38, "sample": 40, "seed": 0, "survivors": survivors}
    known = [Reason("made.py", "f", "a", "b", "no test can tell")]
    assert "| made | 99 | 40 | 38 | 1 | 97.4% |" in page.table({"made.py": entry}, known)
    assert page.find_weak_parts({"made.py": entry}, known) == []
    assert page.find_weak_parts({"made.py": entry | {"killed": 36, "tried": 40}}, known) == ["made"]
    assert "a test is missing" in page.survivors({"made.py": entry}, known)


def test_the_page_names_modules_that_are_there_and_not_most_of_the_package() -> None:
    content = json.loads((page.DOCS / "mutants.json").read_text(encoding="utf-8"))
    package = ROOT / table.PACKAGE
    assert [file for file in content["modules"] if not (package / file).is_file()] == []
    assert 2 * len(content["modules"]) < len(list(package.rglob("*.py")))


def test_the_page_is_what_was_measured() -> None:
    content = json.loads((page.DOCS / "mutants.json").read_text(encoding="utf-8"))
    assert (page.DOCS / "mutants.md").read_text(encoding="utf-8") == page.page(content, table.read_reasons())
