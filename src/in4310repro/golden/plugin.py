"""A pytest plugin for any project: a fixture `golden`, updates by name and for a reason, files that no test asks for.

Turned on by `pytest_plugins = ["in4310repro.golden.plugin"]` in the topmost conftest.py, or by
`pytest -p in4310repro.golden.plugin`. Golden files lie in `golden` beside pytest's configuration, or in the folder that
`golden_folder` names there; `golden_numerics` (native, portable or auto) is the arithmetic of torch.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from in4310repro.golden.claims import TIERS, Claim
from in4310repro.golden.commands import EXAMPLE, PYTEST
from in4310repro.golden.comparison import NOT_COMPARED, Comparison, compare
from in4310repro.golden.environments import ENVIRONMENTS, read_environments
from in4310repro.golden.folder import file_faults, files, read
from in4310repro.golden.imports import after_import
from in4310repro.golden.writing import update
from in4310repro.numerics import Numerics, activate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

# The arithmetic of a process in which torch was not loaded.
UNKNOWN = Numerics(mode="native", numeric_class="", probe={}, threads=0, device="cpu")
# Of a test's report: that it has the fixture; a case, and how many values were compared at which tier.
PROPERTY, FIXTURE, WRITTEN = "golden", "", "written"
# Options of pytest that leave tests out before they are counted as deselected.
PARTIAL = ("lf", "ignore", "ignore_glob", "collectonly")


class Golden(Protocol):
    """The fixture `golden`."""

    def __call__(
        self,
        case: str,
        values: Any,
        *,
        tier: str = "exact",
        otherwise: str | None = None,
        tolerance: float | None = None,
        reason: str = "",
    ) -> None:
        """Compares values with the golden file of a case; fails the test where one differs or there is no file.

        Bitwise values of another numeric class or other libraries, without a tier for that, skip the rest of the test.

        Args:
            case: the name of the file: letters, digits, - and _. Each is asked for once, by one test.
            values: a number, text, list of them, NumPy array or `Claim`, or a mapping of names to any of these.
            tier: exact, bitwise or numerical, of all that is no `Claim`.
            otherwise: the tier of bitwise values in another numeric class or with other libraries: numerical or
                statistical; None: they are not compared there.
            tolerance: absolute, of a weaker tier.
            reason: for the tolerance.

        Raises:
            ValueError: a name, or a claim, that is not valid.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options and settings."""
    group = parser.getgroup("golden")
    group.addoption("--golden-update", metavar="NAME", help="Write the golden file of this case instead of comparing.")
    group.addoption("--golden-reason", metavar="WORDS", default="", help="Why its values moved.")
    parser.addini("golden_folder", "Folder of the golden files, beside this file.", default="golden")
    parser.addini("golden_numerics", "Arithmetic of torch: native, portable or auto.", default="native")


def pytest_configure(config: pytest.Config) -> None:
    """Adds the fixture to this session.

    Raises:
        UsageError: an update without a reason.
    """
    import pytest

    case, reason = config.getoption("golden_update"), config.getoption("golden_reason")
    if bool(case) != bool(reason):
        raise pytest.UsageError(f"a golden moves by name and for a reason: {PYTEST(case or 'NAME', EXAMPLE)}")
    session = GoldenSession(config)
    config.pluginmanager.register(session, "golden session")
    config.pluginmanager.register(_fixture_of(session), "golden fixture")


class GoldenSession:
    """The golden files that the tests of one session ask for."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.folder = config.rootpath / config.getini("golden_folder")
        self.tests: dict[str, str] = {}  # case -> the test that asked for it
        self.tiers: Counter[str] = Counter()
        self.partial = any(config.getoption(name, None) for name in PARTIAL)

    @functools.cached_property
    def numerics(self) -> Numerics:
        """The arithmetic of this process; reading it sets it, and loads torch."""
        return activate(self.config.getini("golden_numerics"), "cpu")

    def begin_test(self) -> None:
        """Set the arithmetic before a test computes anything: now, or when torch is first imported.

        A test of NumPy's values does not wait for torch.
        """
        native = self.config.getini("golden_numerics") == "native"
        if native and "torch" not in sys.modules:
            after_import("torch", lambda: self.numerics)
        else:
            self.numerics  # noqa: B018

    def check(self, test: pytest.Item, case: str, values: Any, **traits: Any) -> None:
        """What the fixture does; see `Golden`."""
        __tracebackhide__ = True
        import pytest

        self._claim_name(case, test)
        claims = claims_of(values, traits)
        if self.config.getoption("golden_update") == case:
            try:
                self._update(test, case, claims)
            except ValueError as error:
                pytest.fail(f"golden: {error}", pytrace=False)
            test.user_properties.append((PROPERTY, (case, {WRITTEN: 1})))
            return
        comparison = self._compare(test, case, claims)
        test.user_properties.append((PROPERTY, (case, dict(comparison.tiers))))
        if comparison.differences:
            advice = f"if that is right: {PYTEST(case, EXAMPLE)}"
            pytest.fail("\n".join([*comparison.differences, advice]), pytrace=False)
        if missing := comparison.tiers[NOT_COMPARED]:
            pytest.skip(f"golden {case}: {missing} bitwise values are of another numeric class or other libraries")

    def _claim_name(self, case: str, test: pytest.Item) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", case) or f"{case}.json" == ENVIRONMENTS:
            raise ValueError(f"case {case[:100]!r} names a file: up to 60 letters, digits, - and _ are valid")
        if case in self.tests:
            raise ValueError(
                f"case {case!r} was asked for by {self.tests[case]} before; a test and its parameters have a case of "
                "their own, which holds all of its values"
            )
        self.tests[case] = test.nodeid

    def _update(self, test: pytest.Item, case: str, claims: Mapping[str, Claim]) -> None:
        reason = self.config.getoption("golden_reason")
        cases = {case: _computing(test, claims)}
        update(self.folder, case, cases, reason, self.numerics, os.environ, command=PYTEST)

    def _compare(self, test: pytest.Item, case: str, claims: Mapping[str, Claim]) -> Comparison:
        name = f"{case}.json"
        if not (self.folder / name).exists():
            return Comparison(differences=[f"{case}: there is no {self.folder.name}/{name}"])
        try:
            environments = read_environments(self.folder, PYTEST)
            golden = read(self.folder, case)
        except ValueError as error:
            return Comparison(differences=[str(error)])
        if faults := file_faults(self.folder, name, {case: _computing(test, claims)}, environments, PYTEST):
            return Comparison(differences=faults)
        tiers = {claim.tier for claim in claims.values()} | {value["tier"] for value in golden["values"].values()}
        if tiers.isdisjoint(("bitwise",)) and self.config.getini("golden_numerics") == "native":
            # No other tier depends on the arithmetic of this process or its libraries.
            return compare(case, golden, claims, UNKNOWN, {}, environments, PYTEST)
        from in4310repro.fingerprint import fingerprint

        versions = fingerprint(self.numerics)["versions"]
        return compare(case, golden, claims, self.numerics, versions, environments, PYTEST)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Marks a test that has the fixture: if it does not pass, it may not have come to ask."""
        if "golden" in getattr(item, "fixturenames", ()):
            item.user_properties.append((PROPERTY, (FIXTURE, {})))

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Notes that not all tests run."""
        self.partial = self.partial or bool(items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes what a test asked for, in xdist's controller too, and whether it may have asked for more."""
        asked: list[Any] = [content for name, content in report.user_properties if name == PROPERTY]
        if asked and report.outcome != "passed":
            self.partial = True
        for case, tiers in asked if report.when == "call" else ():
            if case != FIXTURE:
                self.tests.setdefault(case, report.nodeid)
                self.tiers += Counter(tiers)

    def orphans(self) -> list[str]:
        """Golden files that no test asked for; none where not all tests ran to their end."""
        config = self.config
        whole = config.args_source != type(config).ArgsSource.ARGS and config.invocation_params.dir == config.rootpath
        if self.partial or not whole or not self.folder.is_dir():
            return []
        return [name for name in files(self.folder) if name.removesuffix(".json") not in self.tests]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Ends with exit code 1 where there are orphans, and 4 where no test asked for the case to be written."""
        if hasattr(self.config, "workerinput"):
            return
        if self._unasked():
            session.exitstatus = 4
        elif session.exitstatus == 0 and self.orphans():
            session.exitstatus = 1

    def _unasked(self) -> bool:
        case = self.config.getoption("golden_update")
        return bool(case) and case not in self.tests

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Says how many values were compared at which tier, what was written, and which files no test asked for."""
        write, case = terminalreporter.write_line, self.config.getoption("golden_update")
        if self.tiers:
            counts = (f"{self.tiers[tier]} {tier}" for tier in (*TIERS, NOT_COMPARED) if self.tiers[tier])
            write(f"golden values: {', '.join(counts) or 'none compared'}")
        if self.tiers[WRITTEN]:
            write(f"golden: wrote {self.folder.name}/{case}.json; commit it with {ENVIRONMENTS}")
        if self._unasked():
            write(f"golden: no test asked for case {case!r}; asked for were: {', '.join(sorted(self.tests)) or 'none'}")
        for name in self.orphans():
            write(f"golden: no test asks for {self.folder.name}/{name}; remove it, or bring its test back")


def claims_of(values: Any, traits: Mapping[str, Any]) -> dict[str, Claim]:
    """Claims by name: of a mapping each entry, else one that is called `value`.

    Raises:
        ValueError: tier, tolerance and reason do not fit, or a mapping is empty.
    """
    if not isinstance(values, Mapping):
        values = {"value": values}
    if not values:
        raise ValueError("an empty mapping has no values to compare")
    return {f"{k}": v if isinstance(v, Claim) else Claim(value=v, **traits) for k, v in values.items()}


def _computing(test: pytest.Item, claims: Mapping[str, Claim]) -> Callable[[], Mapping[str, Claim]]:
    """A case, as `golden.update` takes it, with the name of the test that computed its claims."""

    def compute() -> Mapping[str, Claim]:
        return claims

    path, _, name = test.nodeid.rpartition("::")
    compute.__module__, compute.__name__ = path.removesuffix(".py").replace("/", "."), name.partition("[")[0]
    return compute


def _fixture_of(session: GoldenSession) -> object:
    """A plugin with the fixture alone; made here, so that the module can be imported without pytest."""
    import pytest

    class Fixture:
        @pytest.fixture
        def golden(self, request: pytest.FixtureRequest) -> Golden:
            """Compares the values of a case with its golden file: `Golden.__call__`."""
            session.begin_test()
            return functools.partial(session.check, request.node)

    return Fixture()
