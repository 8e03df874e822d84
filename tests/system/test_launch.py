"""Effects of torchrun's environment variables: which process prints, advice, and repeated signals."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from in4310repro.cli.console import progress
from in4310repro.system import launch, signals
from in4310repro.system.progress import SILENT
from tests.conftest import Call


@pytest.fixture(autouse=True)
def _without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    return monkeypatch


def test_the_first_process_alone_prints(call: Call, torchrun: pytest.MonkeyPatch) -> None:
    printed = {}
    for rank in ("0", "1"):
        torchrun.setenv("RANK", rank)
        printed[rank] = call("cache")[1], call("cache", "--json")[1], progress() is SILENT
    assert printed["1"] == ("", "", True)
    assert all(printed["0"][:2])
    assert not printed["0"][2]


def test_a_rank_of_another_launcher_silences_nobody(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert call("cache")[1] != ""


@pytest.mark.parametrize(
    ("size", "local", "advised"),
    [("4", "4", True), ("999999", "999999", True), ("4", "2", False), ("1", "1", False), (None, None, False)],
)
def test_processes_that_share_one_machine_are_told_what_is_better(
    size: str | None, local: str | None, advised: bool, torchrun: pytest.MonkeyPatch
) -> None:
    for name, value in (("WORLD_SIZE", size), ("LOCAL_WORLD_SIZE", local)):
        if value:
            torchrun.setenv(name, value)
    assert launch.advice().startswith(f"{size} processes share the cores of one machine") == advised
    assert bool(launch.advice()) == advised
    torchrun.delenv("TORCHELASTIC_RUN_ID")
    assert launch.advice() == ""


def test_a_signal_soon_after_the_first_is_one_with_it_under_torchrun_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 64.0
    monkeypatch.setattr(signals, "time", Mock(monotonic=lambda: now))
    assert not signals.is_repeat(now)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert signals.is_repeat(now)
    assert not signals.is_repeat(now - signals.ONE_SIGNAL)
