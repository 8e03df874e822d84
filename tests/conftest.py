"""What the tests share: arithmetic set before torch computes, a cache of their own, one tiny run."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from in4310repro.golden import NOT_COMPARED, Comparison
from in4310repro.golden import TIERS as TIERS_IN_ORDER
from in4310repro.numerics import Numerics, activate
from in4310repro.presets import PRESETS

NUMERICS = activate("auto", "cpu")


@pytest.fixture(scope="session")
def numerics() -> Numerics:
    return NUMERICS


@pytest.fixture(scope="session", autouse=True)
def _cache_of_this_session(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> None:
    os.environ["IN4310REPRO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    # The long runs are made beside the first tests, which leave a core half idle.
    from tests.golden_cases import begun

    if any("finished_run" in item.fixturenames for item in request.session.items if isinstance(item, pytest.Function)):
        begun("tiny")
    if any("[demo_" in item.name for item in request.session.items):
        begun("demo")


@pytest.fixture(scope="session")
def finished_run(_cache_of_this_session: None) -> Path:
    """The folder of a whole tiny run, features included; to be read, not changed."""
    from tests.golden_cases import trained

    return trained("tiny")


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run that a test may damage."""
    return Path(shutil.copytree(finished_run, tmp_path / "tiny"))


@pytest.fixture
def copied_scenes() -> Callable[[Path], Path]:
    """Copies the tiny preset's scenes to a folder, as a person moves a data set."""
    from in4310repro.data.embedded import embedded_catalogue

    tiny = PRESETS["tiny"]

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(embedded_catalogue(tiny.scenes, tiny.image_size, tiny.seed).root, folder))

    return copy


TIERS: dict[str, Comparison] = {}


@pytest.fixture
def golden_tiers() -> Callable[[str, Comparison], None]:
    """Notes at which tier a case was compared, for the summary at the end."""
    return TIERS.__setitem__


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many golden values were compared at which tier: nothing is weaker in silence."""
    total: Counter[str] = Counter()
    for found in TIERS.values():
        total += found.tiers
    if total:
        counts = ", ".join(f"{total[tier]} {tier}" for tier in (*TIERS_IN_ORDER, NOT_COMPARED) if total[tier])
        terminalreporter.write_line(
            f"golden values: {counts} (numeric class {NUMERICS.numeric_class}, {NUMERICS.mode} arithmetic)"
        )
