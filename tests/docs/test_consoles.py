"""Commands on the page of commands print what the page says."""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs import consoles
from tests.docs.commands import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="the page's commands are of a POSIX shell")


def alike(page: str) -> str:
    """Return a page without what another machine, or a busy one, prints otherwise."""
    return re.sub(r"\s+", " ", consoles.VARIES.sub("VARIES", page))


@pytest.mark.slow
@pytest.mark.process
def test_the_calls_of_the_page_print_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", f"{tmp_path / 'cache'}")
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert alike(consoles.renew(page, tmp_path)) == alike(page)


def test_only_times_and_sizes_may_differ() -> None:
    assert alike("wrote 3 files in 2.5 s, 17 MB") == alike("wrote 3 files in 31 s, 1.2 GB")
    assert alike("mAP 0.3642, 12 images") != alike("mAP 0.3643, 12 images")
