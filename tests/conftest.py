"""Fixtures of all tests: arithmetic chosen before torch computes, one cache per session, one tiny run."""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from in4310repro import cli
from in4310repro.golden import Comparison
from in4310repro.golden.claims import NOT_COMPARED, TIERS
from in4310repro.golden.folder import ENVIRONMENTS, read_environments
from in4310repro.runs.presets import PRESETS
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics, activate

worker = os.environ.get("PYTEST_XDIST_WORKER")
if worker and hasattr(os, "sched_setaffinity"):
    # Tests beside each other, and the processes that they start, each on processors of their own: threads that wait
    # for one that is not running cost more than a second processor gives.
    LANES, PROCESSORS = int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, PROCESSORS[int(worker.removeprefix("gw")) % len(PROCESSORS) :: LANES])
TIERS_KEY = "golden tiers"
Call = Callable[..., tuple[int, str, str]]
Replace = Callable[[Callable[..., object]], None]


active = functools.cache(functools.partial(activate, "auto", "cpu"))


# What our modules import. While jaxtyping's hook imports one of ours, Python finds no bytecode of what that one imports
# and compiles it again, which takes a lane ten seconds.
IMPORTED = (
    "click",
    "imagehash",
    "matplotlib.pyplot",
    "rich.progress",
    "scipy.optimize",
    "sklearn.metrics",
    "torchvision",
)


def pytest_report_header() -> list[str]:
    """Name what tests compile, for minutes on a slow machine; what they print themselves is captured."""
    compiled = {
        "rustc": "tests/oracle compiles the second implementation of the arithmetic (oracle/*.rs)",
        "clang++": "tests/arithmetic/test_build.py compiles the kernels of portable arithmetic again",
    }
    return [f"compiling: {what} with {name}" for name, what in compiled.items() if shutil.which(name)]


def pytest_configure(config: pytest.Config) -> None:
    """Choose the arithmetic before anything is computed, except in the main process of pytest-xdist."""
    if not config.getoption("numprocesses", None):
        for name in IMPORTED:
            importlib.import_module(name)
        active()


@pytest.fixture(scope="session")
def numerics() -> Numerics:
    return active()


@pytest.fixture(scope="session", autouse=True)
def _cache_of_this_session(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> None:
    os.environ["IN4310REPRO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    # Made beside the first tests, which leave a core half idle.
    from tests import golden_cases

    if worker:
        golden_cases.SHARED = tmp_path_factory.getbasetemp().parent
    if any("finished_run" in item.fixturenames for item in request.session.items if isinstance(item, pytest.Function)):
        golden_cases.start_run("tiny", narrow=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a test of the shared run the network of that run, before any of its fixtures is made."""
    from tests import narrow

    narrow.use(narrow="finished_run" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def finished_run(_cache_of_this_session: None) -> Path:
    """Return the folder of a complete tiny run of a narrow ResNet-18 with features, which a test must not change."""
    from tests.golden_cases import finish_run

    return finish_run("tiny", narrow=True)


@pytest.fixture(scope="session")
def resnet18_run(_cache_of_this_session: None) -> Path:
    """Return the folder of a complete tiny run of resnet18 itself, which a test must not change."""
    from tests.golden_cases import finish_run

    return finish_run("tiny")


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny run that a test may damage."""
    return Path(shutil.copytree(finished_run, tmp_path / "tiny"))


@pytest.fixture
def own_records(finished_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny run without its weights."""
    return Path(shutil.copytree(finished_run, tmp_path / "tiny", ignore=shutil.ignore_patterns("*.safetensors")))


@pytest.fixture
def copied_scenes() -> Callable[[Path], Path]:
    """Return a function that copies the tiny preset's scenes to a folder, like a user's own data set."""
    from in4310repro.data.embedded import embedded_catalogue

    tiny = PRESETS["tiny"]

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(embedded_catalogue(tiny.scenes, tiny.image_size, tiny.seed).root, folder))

    return copy


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Return a function that runs a command in an empty folder and returns its exit code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main(words)
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def remove_library(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that makes every compiled library of portable arithmetic unavailable."""
    return lambda: monkeypatch.setattr("in4310repro.arithmetic.library.available", lambda: None)


@pytest.fixture
def replace_train(monkeypatch: pytest.MonkeyPatch) -> Replace:
    return functools.partial(monkeypatch.setattr, "in4310repro.training.experiment.train")


@pytest.fixture
def replace_fit(monkeypatch: pytest.MonkeyPatch) -> Replace:
    return functools.partial(monkeypatch.setattr, "in4310repro.training.experiment.fit")


def refused(call: Call, words: tuple[str, ...], *parts: str) -> None:
    """Assert that a command ends with exit code 2 and one error line that contains `parts`."""
    code, _, error = call(*words)
    assert code == 2
    # Progress and the classes may stand above it.
    (line,) = (line for line in error.splitlines() if ", 0 s left" not in line and " classes, split " not in line)
    assert line.startswith("in4310repro: ")
    for part in parts:
        assert part in line


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests marked as long first, so that no worker waits for them at the end."""

    def length(item: pytest.Item) -> int:
        marker = item.get_closest_marker("long")
        return int(marker.args[0]) if marker else 0

    items.sort(key=length, reverse=True)


@pytest.fixture
def golden_tiers(request: pytest.FixtureRequest) -> Callable[[Comparison], None]:
    """Return a function that records how many golden values a test compared at each tier of strictness."""
    return lambda comparison: request.node.user_properties.append((TIERS_KEY, dict(comparison.tiers)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of golden values that were compared at each tier of strictness."""
    total: Counter[str] = Counter()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        for name, tiers in getattr(report, "user_properties", []):
            total += Counter(tiers) if name == TIERS_KEY and report.when == "call" else Counter()
    if total:
        counts = ", ".join(f"{total[tier]} {tier}" for tier in (*TIERS, NOT_COMPARED) if total[tier])
        terminalreporter.write_line(f"golden values: {counts} ({_environment(active())})")


def _environment(numerics: Numerics) -> str:
    """Describe the arithmetic in use, and state if it is in the list of golden environments."""
    from tests.golden_cases import FOLDER

    try:
        listed = read_environments(FOLDER).has(numerics, fingerprint(numerics)["versions"])
    except ValueError:
        # Which a test has said in full.
        listed = False
    listing = "listed" if listed else "not listed"
    return f"numeric class {numerics.numeric_class}, {numerics.mode} arithmetic, {listing} in {ENVIRONMENTS}"
