"""Commands in console blocks of pages print what the pages say."""

import re
import shutil
from pathlib import Path

import click
import pytest

from in4310repro.cli.application import app
from tests.docs import consoles

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="the page's commands are of a POSIX shell")


def alike(page: str) -> str:
    """Return a page without what another machine, or a busy one, prints otherwise."""
    return re.sub(r"\s+", " ", consoles.VARIES.sub("VARIES", page))


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.long(120)
@pytest.mark.parametrize("page", consoles.PAGES, ids=lambda page: page.name)
def test_the_calls_of_a_page_print_what_it_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", f"{tmp_path / 'cache'}")
    text = page.read_text(encoding="utf-8")
    assert alike(consoles.renew(text, tmp_path)) == alike(text)


def test_every_command_has_a_real_call() -> None:
    blocks = consoles.CONSOLE.findall(consoles.PAGES[0].read_text(encoding="utf-8"))
    calls = "\n".join(blocks)
    of_data = app.commands["data"]
    assert isinstance(of_data, click.Group)
    names = [*app.commands, *(f"data {name}" for name in of_data.commands)]
    assert [name for name in names if not re.search(rf"^\$ .*\bin4310repro {name}\b", calls, re.MULTILINE)] == []


def test_only_times_and_sizes_may_differ() -> None:
    assert alike("wrote 3 files in 2.5 s, 17 MB") == alike("wrote 3 files in 31 s, 1.2 GB")
    assert alike("mAP 0.3642, 12 images") != alike("mAP 0.3643, 12 images")
