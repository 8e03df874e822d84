"""Trainings by several processes: the bytes of one, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from in4310repro import experiment
from in4310repro.presets import PRESETS
from in4310repro.processes import Processes
from tests.conftest import active
from tests.sessions import shares


def test_three_processes_train_and_score_to_the_bytes_of_one_and_a_wrong_order_does_not(tmp_path: Path) -> None:
    # Three leaves each, the last of four images.
    config = shares.config_of(shares.NETWORKS["three layers without batch norm"], 20)
    for size in (1, 3):
        shares.train_together(size, config, tmp_path / f"{size}")
    shares.train_together(3, config, tmp_path / "wrong", from_the_last=True)
    one, three, wrong = (shares.digest(tmp_path / name, config) for name in ("1", "3", "wrong"))
    assert one == three != wrong


@pytest.mark.slow
@pytest.mark.parametrize("model", shares.NETWORKS.values())
def test_five_and_two_processes_train_any_network_to_the_bytes_of_one(model: str, tmp_path: Path) -> None:
    config = shares.config_of(model, 32)
    for size in (1, 2, 5):
        shares.train_together(size, config, tmp_path / f"{size}")
    assert len({shares.digest(tmp_path / f"{size}", config) for size in (1, 2, 5)}) == 1


def test_native_arithmetic_by_several_processes_on_the_cpu_is_refused(tmp_path: Path) -> None:
    native = replace(active(), mode="native")
    with pytest.raises(ValueError, match=r"^2 processes on the CPU need portable arithmetic, and this one has native"):
        experiment.train(PRESETS["tiny"], native, tmp_path / "run", processes=Processes(0, 2))
    assert not (tmp_path / "run").exists()
