"""The benchmark of processes: counted messages, and the model of a step's duration against values by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn

from benchmarks import messages
from benchmarks.messages import GRADIENTS, SMALL, STOP, SentMessages, count_messages
from benchmarks.processes import ProcessesOptions, benchmark
from benchmarks.processes_table import compare_with_model, find_paying_batch, processes_table
from benchmarks.step_time import Link, Work, fit_work, gradient_bytes, message_widths, small_bytes, step_time
from in4310repro import models
from in4310repro.arithmetic import cross_entropy, portable, shares, tree
from in4310repro.system.numerics import Numerics
from tests.docs.commands import ROOT
from tests.processes import METHOD

IMAGES, SIZE = 40, 3  # five leaves: one, two and two, which are one node or two by where they lie
FREE = Link(latency=0, peer=0, wire=0, bandwidth=1e18)
SECOND = Work(fixed=0, leaf=1, begun=[(1 << 20, 0.4), (1 << 20, 0.6), (0, 0.8)], widths=[2])


def network() -> nn.Module:
    """Return a network with a batch norm, whose gradients fill four buckets."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 6000), nn.Linear(6000, 200)
    return portable(nn.Sequential(*layers, nn.Linear(200, 6, bias=False)))


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=SIZE)
    connection, model = shares.connect(), network()
    before = dist.all_gather, dist.all_to_all_single
    with count_messages(connection) as kinds:
        with shares.Share(IMAGES, connection) as share:
            own = len(share.images)
            loss = cross_entropy(model(torch.ones(own, 3, 8, 8)), torch.zeros(own, dtype=torch.int64))
        loss.backward()  # type: ignore[no-untyped-call]
        share.finish()
        dist.all_reduce(torch.zeros(1), dist.ReduceOp.MAX, async_op=True).wait()
    assert (dist.all_gather, dist.all_to_all_single) == before
    assert all(sent.waiting > 0 for sent in kinds.values())
    Path(folder, f"{rank}.json").write_text(json.dumps({kind: sent.sizes for kind, sent in kinds.items()}))
    dist.destroy_process_group()


def test_messages_counted_where_they_are_sent_are_those_of_the_formula(tmp_path: Path) -> None:
    mp: Any = multiprocessing
    mp.start_processes(rank_main, args=(str(tmp_path),), nprocs=SIZE, start_method=METHOD)
    heard = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(SIZE)]
    model = network()
    values = [each.numel() for each in reversed([*model.parameters()]) if each.ndim > 1]
    nodes = [len(tree.nodes(tree.share(IMAGES, rank, SIZE), tree.leaves(IMAGES))) for rank in range(SIZE)]
    assert nodes == [1, 2, 2]
    for each, number in zip(heard, nodes, strict=True):
        assert sorted(each[SMALL]) == sorted(small_bytes(message_widths(model), max(nodes), SIZE))
        assert sum(each[GRADIENTS]) == gradient_bytes(values, number, SIZE)
        assert len(each[GRADIENTS]) == 2 * 4  # a small weight leaves alone where a large one is next
        assert each[STOP] == [4]


def test_resnet18_sends_42_small_messages_and_45_mb_of_gradients_by_hand() -> None:
    model = models.build("resnet18", 6, seed=0)
    # He et al. 2015, table 1: 64 channels in 5 layers, and 4 of 128, 256 and 512 with a shortcut of as many.
    channels = 5 * 64 + 5 * (128 + 256 + 512)
    assert len(message_widths(model)) == 20 + 20 + 1 + 1
    assert sum(small_bytes(message_widths(model), 1, 2)) == 8 * (2 * 2 * channels + 2 * 6 + 1)
    weights = [each.numel() for each in reversed([*model.parameters()]) if each.ndim > 1]
    assert gradient_bytes(weights, 1, 2) == pytest.approx(4 * sum(weights), rel=1e-6)
    assert gradient_bytes(weights, 1, 4) == pytest.approx(2 * 3 / 4 * 4 * sum(weights), rel=1e-6)


def test_a_message_that_nobody_waits_for_costs_only_what_its_wait_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Work:
        def wait(self) -> None:
            now[0] += 3

    def said(*_arguments: Any, **_options: Any) -> Work:
        now[0] += 1
        return Work()

    group: Any = object()
    monkeypatch.setattr(dist, "all_reduce", said)
    monkeypatch.setattr(messages, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    with count_messages(shares.Connection(0, 2, group, group)) as kinds:
        work = dist.all_reduce(torch.zeros(2), dist.ReduceOp.SUM, async_op=True)
        now[0] += 100
        assert kinds[STOP] == SentMessages([8], 1)
        work.wait()
    assert kinds[STOP] == SentMessages([8], 4)
    kinds[STOP].clear()
    assert kinds[STOP] == SentMessages()


def test_the_line_through_what_one_process_took_gives_what_is_fixed_and_what_a_leaf_takes() -> None:
    work = fit_work({"8": 0.3, "20": 0.7, "32": 0.9}, [], [])
    # Three, one and four leaves on 0.1 + 0.2 x leaves.
    assert [work.fixed, work.leaf] == pytest.approx([0.1, 0.2])
    assert work.seconds(0) == work.seconds(1) == pytest.approx(0.3)


def test_a_step_by_hand() -> None:
    assert step_time(SECOND, 32, 1, FREE).total == 4
    alone = step_time(SECOND, 32, 2, FREE)
    assert [alone.compute, alone.total] == pytest.approx([2, 2])
    # Two leaves each: buckets of 4 MiB leave after 1.2 and 1.6 s, half of it there and half of it back.
    half = 1 << 21
    slow = Link(latency=0.25, peer=9, wire=0, bandwidth=half / 0.1)
    step = step_time(SECOND, 32, 2, slow)
    # The first is there before the second leaves; the second needs 0.1 s there and 0.1 s back after the pass, and the
    # sums of the first go between.
    assert step.gradients == pytest.approx(0.3)
    assert step.small == pytest.approx(0.25 + 16 / half * 0.1)
    # Where a bucket takes a second either way, the first is there 1 s and the second 2 s after the first left; both
    # sums follow.
    slow = Link(latency=0, peer=0, wire=0, bandwidth=half / 1)
    assert step_time(SECOND, 32, 2, slow).gradients == pytest.approx(1.2 + 4 - 1.6)
    # Two turns along the ring, and a small message to three others.
    wire = Link(latency=0, peer=0.5, wire=0.01, bandwidth=1e18)
    assert step_time(SECOND, 32, 4, wire).small == pytest.approx(0.5 * 2 + 0.01)
    assert step_time(SECOND, 32, 4, wire).gradients == pytest.approx(0.01 + 2 * 0.03)


def test_processes_that_share_cores_hide_nothing_and_take_turns() -> None:
    half = 1 << 21
    link = Link(latency=0, peer=0, wire=0, bandwidth=half / 0.1)
    step = step_time(SECOND, 32, 2, link, own_cores=False, cores=2)
    assert [step.compute, step.gradients] == pytest.approx([2, 0.4])
    assert step_time(SECOND, 32, 4, link, own_cores=False, cores=2).compute == 2


def test_machines_pay_where_messages_cost_less_than_they_save() -> None:
    assert (find_paying_batch(SECOND, 2, FREE), find_paying_batch(SECOND, 8, FREE)) == (16, 64)
    # A message of 3 s: two machines save 4 s of 8 leaves and 2 s of four.
    assert find_paying_batch(SECOND, 2, Link(latency=3, peer=0, wire=0, bandwidth=1e18)) == 64
    assert find_paying_batch(SECOND, 2, Link(latency=1e6, peer=0, wire=0, bandwidth=1e18)) is None


def test_the_published_table_is_the_models_and_within_a_quarter_of_what_was_measured() -> None:
    folder = ROOT / "reports" / "bench"
    report = json.loads((folder / "processes.json").read_text(encoding="utf-8"))
    assert processes_table(report) == (folder / "processes.md").read_text(encoding="utf-8")
    for workload in report["workloads"]:
        rows = compare_with_model(workload, report["cores"])
        assert [size for size, _, _ in rows] == [2, 4]
        for size, model, measured in rows:
            assert model.total == pytest.approx(measured, rel=0.25), (workload["image_size"], size)
        # A model in which four processes have four cores is not.
        _, model, measured = compare_with_model(workload, 4)[-1]
        assert model.total != pytest.approx(measured, rel=0.25), workload["image_size"]


def test_fewer_than_one_repeat_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^repeats 0; expected at least 1$"):
        ProcessesOptions(repeats=0)


@pytest.mark.soak
def test_the_benchmark_has_every_process_of_every_run(tmp_path: Path, numerics: Numerics) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    options = ProcessesOptions(repeats=1, workloads=((32, 24, 1),), sizes=(2, 3))
    json_file, table = benchmark(tmp_path, options)
    report = json.loads(json_file.read_text())
    (workload,) = report["workloads"]
    assert [len(run["ranks"]) for run in workload["runs"]] == [1, 1, 2, 3]
    assert workload["runs"][0]["ranks"][0]["alone"].keys() == {"8", "16", "24"}
    for run in workload["runs"][2:]:
        for rank in run["ranks"]:
            assert rank["shared"]["messages"] == {SMALL: 42, GRADIENTS: 20, STOP: 1}
            assert 0 < rank["shared"]["waiting"][SMALL] < rank["shared"]["seconds"]
    assert processes_table(report) == table.read_text()
