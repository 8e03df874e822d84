"""The benchmark of training by several processes, and the message sizes stated in docs/processes.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import distributed as dist

from benchmarks.processes import ProcessesOptions, benchmark, make_epochs
from benchmarks.shares import describe_rank, run_together
from benchmarks.tables import SECTIONS, page, processes_table
from in4310repro import models
from in4310repro.arithmetic import tree
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.processes import join
from tests.docs.commands import ROOT

IMAGES, SIZE = 40, 3  # five leaves: one, two and two, which are one node or two by where they lie
SMALL, GRADIENTS, STOP = "small", "gradients", "stop"


def count_messages(rank: int, size: int, port: int, folder: Path) -> None:
    """Train ResNet-18 for two steps as one of several processes; write the message sizes of the last step."""
    describe_rank(rank, size, port)
    with join("cpu") as processes:
        connection = processes.connection
        assert connection
        kinds = {id(connection.messages): SMALL, id(connection.gradients): GRADIENTS}
        sent: dict[str, list[int]] = {SMALL: [], GRADIENTS: [], STOP: []}
        last: dict[str, list[int]] = {}

        def counted(send: Callable[..., Any], bytes_of: Callable[..., int]) -> Callable[..., Any]:
            def call(*arguments: Any, group: Any = None, async_op: bool = False) -> Any:
                sent[kinds.get(id(group), STOP)].append(bytes_of(*arguments))
                return send(*arguments, group=group, async_op=async_op)

            return call

        def bytes_of_pieces(_received: Any, pieces: Any, _to_us: Any = None, to_each: Any = None) -> int:
            to_itself = to_each[rank] if to_each else len(pieces) // size
            return int(pieces[to_itself:].nbytes)

        def after_step() -> None:
            last.update({kind: [*sizes] for kind, sizes in sent.items()})
            for sizes in sent.values():
                sizes.clear()

        calls: Any = dist
        calls.all_gather = counted(dist.all_gather, lambda _received, own: (size - 1) * own.nbytes)
        calls.all_to_all_single = counted(dist.all_to_all_single, bytes_of_pieces)
        calls.all_reduce = counted(dist.all_reduce, lambda value, _operation: value.nbytes)
        make_epochs(32, IMAGES, 1, processes, activate("portable", "cpu")).train(after_step)
    (folder / f"{rank}.json").write_text(json.dumps(last), encoding="utf-8")


@pytest.mark.slow
def test_a_step_of_resnet18_sends_what_the_page_says(tmp_path: Path, numerics: Numerics) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    run_together(count_messages, SIZE, (tmp_path,))
    nodes = [len(tree.nodes(tree.share(IMAGES, rank, SIZE), tree.leaves(IMAGES))) for rank in range(SIZE)]
    assert nodes == [1, 2, 2]
    # He et al. 2015, table 1: 64 channels in 5 layers, and 4 of 128, 256 and 512 with a shortcut of as many.
    channels = 5 * 64 + 5 * (128 + 256 + 512)
    small = 8 * (2 * 2 * channels + 2 * 6 + 1)
    gradients = 4 * sum(each.numel() for each in models.build("resnet18", 6, seed=0).parameters() if each.ndim > 1)
    for rank, number in enumerate(nodes):
        sent = json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        assert {kind: len(sizes) for kind, sizes in sent.items()} == {SMALL: 42, GRADIENTS: 20, STOP: 1}
        assert sum(sent[SMALL]) == max(nodes) * small * (SIZE - 1)
        # Pieces are of whole values.
        assert sum(sent[GRADIENTS]) == pytest.approx((number + 1) * (SIZE - 1) / SIZE * gradients, rel=1e-5)
    page = " ".join((ROOT / "docs/processes.md").read_text(encoding="utf-8").split())
    assert f"42 messages, {small / 1000:.0f} kB for each other process" in page
    assert f"of which ResNet-18 has {gradients / 1e6:.0f} MB" in page


def test_the_published_page_of_the_benchmarks_is_that_of_its_numbers() -> None:
    folder = ROOT / "reports" / "bench"
    records = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in SECTIONS}
    assert page(records) == (folder / "bench.md").read_text(encoding="utf-8")


def test_no_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats 0; expected at least 1"):
        ProcessesOptions(repeats=0)


@pytest.mark.soak
def test_the_benchmark_has_every_process_of_every_run(tmp_path: Path, numerics: Numerics) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    json_file, table = benchmark(tmp_path, ProcessesOptions(repeats=1, workloads=((32, 24, 1),), sizes=(2, 3)))
    report = json.loads(json_file.read_text())
    (workload,) = report["workloads"]
    assert [len(run["ranks"]) for run in workload["runs"]] == [1, 1, 2, 3]
    for run in workload["runs"]:
        for rank in run["ranks"]:
            assert min(rank["alone"], rank["seconds"]) > 0
            assert (rank["alone"] == rank["seconds"]) == (len(run["ranks"]) == 1)
    assert processes_table(report) in table.read_text()
