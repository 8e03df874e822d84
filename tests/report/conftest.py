"""The tiny run, its figures and its report, which tests must not change."""

from pathlib import Path

import pytest

from in4310repro.report import page
from in4310repro.report.exhibit import Exhibit
from in4310repro.report.page import exhibits
from in4310repro.runs.finished import FinishedRun


@pytest.fixture(scope="session")
def run(finished_run: Path) -> FinishedRun:
    return FinishedRun.open(finished_run)


@pytest.fixture(scope="session")
def all_exhibits(run: FinishedRun) -> list[Exhibit]:
    return exhibits(run)


@pytest.fixture(scope="session")
def written(run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    page.write(run, folder)
    return folder
