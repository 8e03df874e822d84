"""The package needs no POSIX system, no UTF-8 locale, and no more than `pip install in4310repro` installs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.laptop import refuse_in_use

ROOT = Path(__file__).parents[2]


def run_as_laptop(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run tests/laptop.py, which simulates missing modules and locked files, with warnings about encodings."""
    return subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-m", "tests.laptop", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def ours(warnings: str) -> list[str]:
    return [line for line in warnings.splitlines() if "EncodingWarning" in line and "in4310repro" in line]


@pytest.mark.process
@pytest.mark.slow
def test_every_module_is_imported_without_what_an_extra_or_posix_alone_brings(tmp_path: Path) -> None:
    done = run_as_laptop(tmp_path, "--imports")
    assert (done.returncode, ours(done.stderr)) == (0, []), done.stderr


@pytest.mark.process
@pytest.mark.slow
def test_a_run_is_trained_reported_and_verified_as_on_a_laptop(tmp_path: Path) -> None:
    train = ["train", "--preset", "tiny", "--epochs", "1", "--optimizer", "SGD"]
    # Twice, so that a run moves aside.
    run = f"{Path('runs/tiny')}"
    done = run_as_laptop(tmp_path, *train, "then", *train, "then", "report", run, "then", "verify", run)
    assert (done.returncode, ours(done.stderr)) == (0, []), done.stderr
    assert (tmp_path / "reports/tiny/index.html").is_file()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not tell which files are open")
def test_a_file_that_is_renamed_or_removed_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "open"
    file.parent.mkdir()
    with file.open("w", encoding="utf-8"), pytest.raises(PermissionError, match="is in use"):
        refuse_in_use("os.rename", (f"{tmp_path / 'folder'}", f"{tmp_path / 'other'}", -1, -1))
    refuse_in_use("os.rename", (f"{tmp_path / 'folder'}", f"{tmp_path / 'other'}", -1, -1))
