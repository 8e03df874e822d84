import os
import runpy
from unittest.mock import Mock

import pytest

from in4310repro import cli
from in4310repro.system import signals


@pytest.mark.parametrize(("code", "ends_at_once"), [(signals.INTERRUPTED, True), (1, False)])
def test_the_command_takes_over_the_process_and_ends_it_at_once_if_it_was_interrupted(
    code: int, ends_at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Mock()
    calls.main.side_effect = SystemExit(code)
    calls.exit.side_effect = SystemExit(code)
    monkeypatch.setattr(signals, "take_over_process", calls.take)
    monkeypatch.setattr(cli, "main", calls.main)
    monkeypatch.setattr(os, "_exit", calls.exit)
    with pytest.raises(SystemExit):
        runpy.run_module("in4310repro", run_name="__main__")
    names = [name for name, *_ in calls.method_calls]
    assert names == ["take", "main", "exit"][: 2 + ends_at_once]
    runpy.run_module("in4310repro.__main__")
    assert len(calls.method_calls) == len(names)
