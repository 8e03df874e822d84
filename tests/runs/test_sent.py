"""Processes without a run folder receive the files that they need from the first process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from in4310repro.runs import names
from in4310repro.runs.finished import open_run
from in4310repro.system.processes import ALONE, Processes


@dataclass(frozen=True)
class Beside(Processes):
    """Stand-in for two processes: the second receives what the first broadcasts."""

    size: int = 2
    said: tuple[list[bytes]] = ([],)

    def broadcast(self, data: bytes = b"") -> bytes:
        if self.leads:
            self.said[0].append(data)
        return self.said[0][0]


def test_another_process_opens_the_run_that_the_first_one_sends(finished_run: Path) -> None:
    said: tuple[list[bytes]] = ([],)
    with open_run(finished_run, Beside(rank=0, said=said)) as first:
        assert first.folder == finished_run
    with open_run(Path("nowhere"), Beside(rank=1, said=said)) as second:
        assert second.folder not in (finished_run, Path("nowhere"))
        assert (second.config, second.metrics, second.histories) == (first.config, first.metrics, first.histories)
        mine, theirs = (run.selected_network().state_dict() for run in (first, second))
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        weights = list(second.folder.rglob(names.BEST_WEIGHTS))
    assert [file.parent.name for file in weights] == [first.metrics["setting"]]
    assert not second.folder.exists()


def test_a_process_alone_reads_the_folder_and_sends_nothing(finished_run: Path, tmp_path: Path) -> None:
    with open_run(finished_run, ALONE) as run:
        assert run.folder == finished_run
    with pytest.raises(ValueError, match="no run folder"), open_run(tmp_path / "none", ALONE):
        pass
