"""The environment variables of torchrun, and the messages between processes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import Mock, call

import pytest
import torch

from in4310repro.system import processes
from in4310repro.system.processes import ALONE, Processes, conclude, is_consequence, join

faked: Any = processes  # of which `heartbeat` replaces what connects processes


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'; torchrun sets it to a number from 1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE is ''"),
        ({"WORLD_SIZE": "2"}, "RANK is ''; torchrun sets it to a number from 0 to 1"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is '2'"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "x"}, "MASTER_PORT is 'x'"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "29500"}, "WORLD_SIZE is 2 without MASTER_ADDR"),
    ],
    ids=str,
)
def test_an_environment_that_torchrun_does_not_make_is_refused(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORLD_SIZE", "RANK", "MASTER_PORT", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=words), join("cpu"):
        pass


def test_a_process_alone_tells_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join("cpu") as processes:
        assert processes == ALONE
        assert processes.leads
        assert processes.broadcast_json({"epoch": 3}) == {"epoch": 3}
        assert processes.gather(b"mine") == [b"mine"]


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Pretend to be the first of two processes on CPUs or cards that torchrun started; return its heartbeat."""
    of_torchrun = "WORLD_SIZE=2 RANK=0 LOCAL_RANK=1 MASTER_ADDR=localhost MASTER_PORT=65535 TORCHELASTIC_RUN_ID=none"
    for each in (*of_torchrun.split(), "TORCHELASTIC_USE_AGENT_STORE=True"):
        monkeypatch.setenv(*each.split("="))
    heartbeat = Mock(finished=False)
    heartbeat.conclude.side_effect = SystemExit
    monkeypatch.setattr(processes, "_heartbeats", [])
    monkeypatch.setattr(processes, "Heartbeat", Mock(return_value=heartbeat))
    for name in ("distributed", "connect"):
        monkeypatch.setattr(processes, name, Mock())
    for name in ("record", "tell_torchrun"):
        monkeypatch.setattr(faked.launch, name, Mock())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", Mock())
    return heartbeat


def test_processes_are_connected_for_days_and_each_time_with_a_heartbeat_of_its_own(heartbeat: Mock) -> None:
    heartbeat.finished = True
    for times, device in enumerate(("cpu", "cuda")):
        with join(device) as joined:
            assert joined.connection == (faked.connect.return_value if device == "cpu" else None)
            assert faked.distributed.destroy_process_group.call_count == times
        assert faked.distributed.destroy_process_group.call_count == times + 1
        assert heartbeat.finish.call_count == times + 1
        assert faked.distributed.init_process_group.call_args.kwargs["timeout"] >= timedelta(days=7)
    assert faked.Heartbeat.call_args_list == [call(0), call(1)]
    faked.torch.cuda.set_device.assert_called_once_with(1)


@pytest.mark.parametrize("by_agent", ["True", "False"])
def test_a_failure_disconnects_a_process_that_no_heartbeat_ends(
    by_agent: str, heartbeat: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", by_agent)
    with pytest.raises(KeyError), join("cpu"):
        raise KeyError
    assert faked.distributed.destroy_process_group.called == (by_agent == "False")
    heartbeat.finish.assert_not_called()


@pytest.mark.usefixtures("heartbeat")
@pytest.mark.parametrize(("own", "other"), [(False, False), (False, True), (True, False)])
def test_a_question_is_answered_yes_if_any_process_says_so(
    own: bool, other: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_reduce(said: torch.Tensor, _: object, **_options: bool) -> Mock:
        return Mock(wait=lambda: said.clamp_(min=int(other)))

    monkeypatch.setattr(processes, "device_of", lambda: "cpu")
    monkeypatch.setattr(faked.distributed, "all_reduce", all_reduce)
    assert Processes(0, 2).ask(lambda: own)() is (own or other)


@pytest.mark.parametrize(
    ("error", "explained", "size", "consequence"),
    [
        (RuntimeError("Connection closed by peer"), True, "2", True),
        (RuntimeError("Connection closed by peer"), False, "2", False),
        (RuntimeError("Connection closed by peer"), True, "1", False),
        (RuntimeError("Connection closed by peer"), True, "two", False),
        (RuntimeError("9 images; valid are 8"), True, "2", False),
        (ValueError("a wrong Socket"), True, "2", False),
    ],
    ids=str,
)
def test_only_a_broken_connection_that_the_others_explain_is_a_consequence(
    error: Exception, explained: bool, size: str, consequence: bool, heartbeat: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    heartbeat.explains_trouble.return_value = explained
    assert is_consequence(error) is consequence


def test_a_failure_ends_as_all_agree_and_a_success_is_recorded_and_no_error_of_torchrun(heartbeat: Mock) -> None:
    assert conclude(0, "", None) == ""
    faked.launch.tell_torchrun.assert_not_called()
    faked.launch.record.assert_called_once_with(0, "", 0)
    error = ValueError("9 is wrong")
    with pytest.raises(SystemExit):
        conclude(2, "9 is wrong", error)
    heartbeat.conclude.assert_called_once_with(2, "9 is wrong", error)
    faked.launch.tell_torchrun.assert_not_called()
    heartbeat.finished = True
    assert conclude(2, "9 is wrong", error) == "9 is wrong"
    faked.launch.tell_torchrun.assert_called_once_with(error)
    assert faked.launch.record.call_args == call(2, "9 is wrong", 0)
