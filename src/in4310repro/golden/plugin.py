"""A pytest plugin for any project: the fixture `golden`, updates by name with a reason, and a check for unused files.

Enable it by `pytest_plugins = ["in4310repro.golden.plugin"]` in the topmost conftest.py, or by
`pytest -p in4310repro.golden.plugin`. Golden files are in `golden` beside pytest's configuration, or in the folder that
its setting `golden_folder` names; `golden_numerics` (native, portable or auto) is the arithmetic of torch.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from in4310repro.golden import folder as files
from in4310repro.golden.claims import NOT_COMPARED, TIERS, Case, Cases, Claim, Claims, Comparison
from in4310repro.golden.folder import ENVIRONMENTS, PYTEST
from in4310repro.golden.writing import clean_commit, refuse_unguarded, update
from in4310repro.system.numerics import Numerics, activate

if TYPE_CHECKING:
    import pytest

# Entries of a test's report: a case and the number of values by tier, or "" if the test has the fixture.
PROPERTY, WRITTEN = "golden", "written"
# Options of pytest that skip tests without counting them as deselected.
PARTIAL = ("lf", "ignore", "ignore_glob", "collectonly")


class Golden(Protocol):
    """Type of the fixture `golden`, a function that compares values with a golden file."""

    def __call__(self, case: str, values: Any) -> None:
        """Compare values with the golden file of a case; fail the test if a value differs or the file is missing.

        The numeric class is a hash that identifies the arithmetic of a process. In native arithmetic, values of the
        tier "bitwise" can be compared only if the golden file was written with the numeric class and libraries of
        this process. In portable arithmetic, they can be compared if the file was written in portable arithmetic; the
        test fails if the numeric class has changed since then.

        Bitwise values that cannot be compared are compared at the claim's weaker tier. If it has none, the rest of
        the test is skipped. In portable arithmetic, and in environments that `environments.json` lists, the test
        fails instead.

        Args:
            case: the name of the file: letters, digits, - and _. Each name may be used only once, by one test.
            values: a number, text, list of them, NumPy array or `Claim`, or a mapping of names to any of these. What is
                not a `Claim` is compared at the tier "exact".

        Raises:
            ValueError: the name or a claim is invalid.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's command-line options and ini settings."""
    group = parser.getgroup("golden")
    names = "Write the golden files of these cases, separated by commas, instead of comparing."
    group.addoption("--golden-update", metavar="NAME", action="append", default=[], help=names)
    group.addoption("--golden-reason", metavar="WORDS", default="", help="Why their values moved.")
    parser.addini("golden_folder", "Folder of the golden files, beside this file.", default="golden")
    parser.addini("golden_numerics", "Arithmetic of torch: native, portable or auto.", default="native")


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixture for this session.

    Raises:
        UsageError: an update lacks a name or a reason, or would be refused whatever the tests compute.
    """
    # Imported where it runs: the package without its extras has no pytest, and every module of it can be imported.
    import pytest

    class Fixture:
        @pytest.fixture
        def golden(self, request: pytest.FixtureRequest) -> Golden:
            """Compare values with the golden file of a case; see `Golden.__call__`."""
            session.begin_test()
            return functools.partial(session.check, request.node)

    session = GoldenSession(config)
    try:
        # The processes of xdist start after the first one has checked.
        if not hasattr(config, "workerinput"):
            check_request(session.names, config.getoption("golden_reason"), session.folder, os.environ)
        if len(session.names) > 1 and config.getoption("numprocesses", None):
            raise ValueError("one process writes several golden files; expected -n 0")
    except ValueError as error:
        raise pytest.UsageError(f"golden: {error}") from None
    config.pluginmanager.register(session, "golden session")
    config.pluginmanager.register(Fixture(), "golden fixture")


def check_request(names: Sequence[str], reason: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Check what can be known of a request to write files before a test runs.

    Raises:
        ValueError: only one of names and reason is given, a name is invalid, the reason has too few words, the process
            runs in CI, or the tree has changes.
    """
    if bool(names) != bool(reason):
        raise ValueError(f"an update takes a name and a reason: {PYTEST(','.join(names) or 'NAME')}")
    for name in names:
        check_name(name)
    if names:
        refuse_unguarded(reason, environment, PYTEST)
        clean_commit(folder)


def check_name(case: str) -> None:
    """Raise ValueError unless the name of a case can be the name of a file."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", case) or f"{case}.json" == ENVIRONMENTS:
        raise ValueError(f"case {case[:100]!r} names a file; expected up to 60 letters, digits, - and _")


class GoldenSession(MetaPathFinder):
    """The golden files that the tests of one pytest session use; and a finder that waits for the import of torch."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.folder = config.rootpath / config.getini("golden_folder")
        # Names of the files to write.
        given: list[str] = config.getoption("golden_update")
        self.names = [*dict.fromkeys(name.strip() for each in given for name in each.split(","))]
        self.mode = config.getini("golden_numerics")
        self.written: list[str] = []
        self.tests: dict[str, str] = {}  # case -> the test that used it
        self.tiers: Counter[str] = Counter()
        self.partial = any(config.getoption(name, None) for name in PARTIAL)

    @functools.cached_property
    def numerics(self) -> Numerics:
        """Arithmetic of this process; the first access activates it and imports torch."""
        return activate(self.mode, "cpu")

    def begin_test(self) -> None:
        """Activate the session's arithmetic before a test.

        In native mode, the activation is postponed until torch is imported. A test that uses only NumPy never
        imports torch and runs without the activation.
        """
        if self.mode != "native" or "torch" in sys.modules:
            self.numerics  # noqa: B018
        elif self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Leave the first search for torch to Python's finders; activate the arithmetic after torch has run."""
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        if (spec := importlib.util.find_spec(name)) and spec.loader:
            run = spec.loader.exec_module

            def run_and_activate(module: ModuleType) -> None:
                run(module)
                self.begin_test()

            spec.loader.exec_module = run_and_activate  # type: ignore[method-assign]
        return spec

    def check(self, test: pytest.Item, case: str, values: Any) -> None:
        """Compare the values of a case with its golden file, or write the file, as documented in `Golden`."""
        __tracebackhide__ = True
        import pytest

        check_name(case)
        if case in self.tests:
            raise ValueError(
                f"case {case!r} is already used by {self.tests[case]}; expected one case for each test and parameter "
                "set, with all of its values"
            )
        self.tests[case] = test.nodeid
        cases, comparison = {case: make_case(test.nodeid, make_claims(values))}, Comparison(tiers=Counter({WRITTEN: 1}))
        try:
            if case in self.names:
                reason = self.config.getoption("golden_reason")
                update(self.folder, case, cases, reason, self.numerics, os.environ, command=PYTEST)
            else:
                comparison = self._compare(case, cases)
        except (ValueError, OSError) as error:
            raise pytest.fail.Exception(f"golden: {error}", pytrace=False) from None
        test.user_properties.append((PROPERTY, (case, dict(comparison.tiers))))
        if comparison.differences:
            advice = f"if the new values are right: {PYTEST(case)}"
            pytest.fail("\n".join([*comparison.differences, advice]), pytrace=False)
        if missing := comparison.tiers[NOT_COMPARED]:
            pytest.skip(f"golden {case}: {missing} bitwise values are of another numeric class or other libraries")

    def _compare(self, case: str, cases: Cases) -> Comparison:
        name, claims = f"{case}.json", cases[case]()
        if not (self.folder / name).exists():
            return Comparison([f"{case}: {self.folder.name}/{name} does not exist"])
        environments = files.read_environments(self.folder, PYTEST)
        if faults := files.find_file_faults(self.folder, name, cases, environments):
            return Comparison(faults)
        # Other tiers do not depend on the arithmetic and libraries of this process, which may not have imported torch.
        numerics, versions = Numerics("native", "", {}, 0, "cpu"), dict[str, str]()
        if self.mode != "native" or any(claim.tier == "bitwise" for claim in claims.values()):
            from in4310repro.system.fingerprint import fingerprint

            numerics, versions = self.numerics, fingerprint(self.numerics)["versions"]
        return files.compare(case, files.read(self.folder, case), claims, numerics, versions, environments)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Mark each test that uses the fixture `golden`.

        If a marked test does not pass, the session counts as incomplete and reports no unused files.
        """
        if "golden" in getattr(item, "fixturenames", ()):
            item.user_properties.append((PROPERTY, ("", {})))

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Record that some tests of the session are deselected."""
        self.partial |= bool(items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the golden files that a test used.

        If such a test did not pass, mark the session as incomplete. With xdist, this hook is also called in the main
        process.
        """
        used: list[Any] = [content for name, content in report.user_properties if name == PROPERTY]
        self.partial |= bool(used) and report.outcome != "passed"
        for case, tiers in used if report.when == "call" else ():
            if case:
                self.tests.setdefault(case, report.nodeid)
                self.tiers += Counter(tiers)
                self.written += [case] * (WRITTEN in tiers)

    def orphans(self) -> list[str]:
        """Return the golden files that no test used.

        The list is empty if the session did not run all tests of the project, or if a test with golden files did not
        pass.
        """
        config = self.config
        whole = config.args_source != type(config).ArgsSource.ARGS and config.invocation_params.dir == config.rootpath
        if self.partial or not whole or not self.folder.is_dir():
            return []
        return [name for name in files.list_files(self.folder) if name.removesuffix(".json") not in self.tests]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Set exit code 1 if golden files are unused, and 4 if no test used a case of `--golden-update`."""
        if hasattr(self.config, "workerinput"):
            return
        if set(self.names) - set(self.tests):
            session.exitstatus = 4
        elif session.exitstatus == 0 and self.orphans():
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the number of values compared at each tier, the files written and the unused files."""
        write = terminalreporter.write_line
        if self.tiers:
            counts = (f"{self.tiers[tier]} {tier}" for tier in (*TIERS, NOT_COMPARED) if self.tiers[tier])
            write(f"golden values: {', '.join(counts) or 'none compared'}")
        for case in self.written:
            write(f"golden: wrote {self.folder.name}/{case}.json; commit it with {ENVIRONMENTS}")
        if unused := [repr(name) for name in self.names if name not in self.tests]:
            used = ", ".join(sorted(self.tests)) or "none"
            write(f"golden: no test uses case {', '.join(unused)}; cases used: {used}")
        for name in self.orphans():
            write(f"golden: no test uses {self.folder.name}/{name}; remove it or restore its test")


def make_claims(values: Any) -> dict[str, Claim]:
    """Return claims by name: one for each entry if `values` is a mapping, otherwise a single one named `value`.

    Raises:
        ValueError: a mapping is empty, or two of its names print alike.
    """
    if not isinstance(values, Mapping):
        values = {"value": values}
    claims = {f"{name}": each if isinstance(each, Claim) else Claim(value=each) for name, each in values.items()}
    if not claims:
        raise ValueError("an empty mapping has no values to compare")
    if len(claims) < len(values):
        raise ValueError(f"two of the names {', '.join(map(repr, values))} print alike")
    return claims


def make_case(test: str, claims: Claims) -> Case:
    """Return a function that returns `claims`, for use as a case in `update`.

    Its module and name are those of the test, so that the golden file records the test.
    """

    def compute() -> Claims:
        return claims

    path, _, name = test.rpartition("::")
    compute.__module__, compute.__name__ = path.removesuffix(".py").replace("/", "."), name.partition("[")[0]
    return compute
