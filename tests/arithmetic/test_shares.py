"""Several processes that share a batch compute the bits of one process; a wrong order of the sum does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock, call

import numpy as np
import pytest
import torch
import torchvision
from torch import distributed as dist, multiprocessing, nn

from benchmarks.shares import add_from_the_last, depth_wise, plain_layers
from in4310repro.arithmetic import cross_entropy, portable, shares, tree
from tests.arithmetic import formulas
from tests.processes import METHOD

SIDE = 16
BATCHES = (5, 8, 20, 32, 33)
NETWORKS = ("resnet18", "depth-wise", "without batch norm", "dropout")
OF_NO_NORM = ("without batch norm", 40)


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "resnet18":
        return portable(torchvision.models.resnet18(num_classes=6))
    if name == "dropout":
        return portable(nn.Sequential(nn.Dropout2d(0.2), plain_layers(6), nn.Dropout(0.5)))
    return portable(depth_wise(6) if name == "depth-wise" else plain_layers(6))


def step(name: str, images: int, connection: shares.Connection | None = None) -> str:
    """Return the sha256 of loss, gradients and buffers after one forward and backward pass over a batch."""
    generator = torch.Generator().manual_seed(images)
    maps = torch.randn(images, 3, SIDE, SIDE, generator=generator)
    labels = torch.randint(0, 6, (images,), generator=generator)
    model = network(name)
    if connection:
        with shares.Share(images, connection) as share:
            own = slice(share.images.start, share.images.stop)
            loss = cross_entropy(model(maps[own]), labels[own])
        loss.backward()  # type: ignore[no-untyped-call]
        share.finish()
    else:
        loss = cross_entropy(model(maps), labels)
        loss.backward()  # type: ignore[no-untyped-call]
    digest = hashlib.sha256(loss.detach().numpy().tobytes())
    for value in (*(parameter.grad for parameter in model.parameters()), *model.buffers()):
        assert value is not None
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def rank_main(rank: int, size: int, folder: str, cases: list[tuple[str, int]], wrong: list[tuple[str, int]]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size)
    connection = shares.connect()
    hashes = [step(name, images, connection) for name, images in cases]
    tree.add = add_from_the_last  # type: ignore[assignment]
    hashes += [step(name, images, connection) for name, images in wrong]
    Path(folder, f"{rank}.json").write_text(json.dumps(hashes))
    dist.destroy_process_group()


def by_processes(
    size: int, folder: Path, cases: list[tuple[str, int]], wrong: list[tuple[str, int]] | None = None
) -> list[list[str]]:
    """Run all cases in `size` processes; return a list of hashes per process.

    The hashes of `cases` are followed by those of `wrong`, which are computed with a wrong order of additions.
    """
    mp: Any = multiprocessing
    mp.start_processes(rank_main, args=(size, str(folder), cases, wrong or []), nprocs=size, start_method=METHOD)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


def test_three_processes_have_the_gradients_and_running_statistics_of_one_and_those_of_another_order_have_not(
    tmp_path: Path,
) -> None:
    cases = [("resnet18", 20), ("depth-wise", 33), OF_NO_NORM, ("without batch norm", 5), ("dropout", 20)]
    alone = [step(*case) for case in cases]
    for *hashes, of_another_order in by_processes(3, tmp_path, cases, wrong=[OF_NO_NORM]):
        assert hashes == alone
        assert of_another_order != alone[2]


@pytest.mark.parametrize(
    "size",
    [pytest.param(size, marks=pytest.mark.slow if size in (2, 5) else pytest.mark.soak) for size in (1, 2, 3, 4, 5)],
)
def test_any_number_of_processes_has_the_bits_of_one(size: int, tmp_path: Path) -> None:
    cases = [(name, images) for name in NETWORKS for images in BATCHES]
    alone = [step(*case) for case in cases]
    assert by_processes(size, tmp_path, cases) == [alone] * size


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 11])
@pytest.mark.parametrize("images", [1, 8, 9, 20, 33, 64, 100])
def test_shares_have_every_image_once_and_their_nodes_add_to_the_tree_over_leaves(images: int, size: int) -> None:
    own = [tree.share(images, rank, size) for rank in range(size)]
    assert [image for each in own for image in tree.images_of(each, images)] == list(range(images))
    assert max(map(len, own)) - min(map(len, own)) <= 1
    leaves = np.random.default_rng(images).normal(size=(len(tree.leaves(images)), 50)).astype(np.float32)
    rows = torch.from_numpy(leaves)
    sums = {
        node: torch.from_numpy(formulas.tree(list(leaves[node.start : node.stop].copy())))
        for share in own
        for node in tree.nodes(share, tree.leaves(images))
    }
    assert torch.equal(tree.add(tree.leaves(images), sums), torch.from_numpy(formulas.tree(list(leaves))))
    assert torch.equal(tree.add_rows(rows.double()), torch.from_numpy(formulas.tree(list(leaves.astype(np.float64)))))


def test_a_process_computes_the_largest_nodes_that_it_has_whole() -> None:
    assert tree.nodes(range(8), range(8)) == [range(8)]
    assert tree.nodes(range(3, 8), range(8)) == [range(3, 4), range(4, 8)]
    assert tree.nodes(range(2, 2), range(8)) == []


def test_a_gap_in_the_tree_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^no sum has leaf 1$"):
        tree.add(range(3), {range(1): torch.zeros(1), range(2, 3): torch.zeros(1)})


def test_other_images_than_those_of_the_share_and_computed_weights_are_refused() -> None:
    group: Any = None
    share = shares.Share(20, shares.Connection(1, 2, group, group))
    assert (share.own, share.images) == (range(1, 3), range(8, 20))
    assert shares.Share(8, shares.Connection(0, 2, group, group)).images == range(1)
    message = r"^8 images; there must be 12, the share of process 1 in a batch of 20$"
    with pytest.raises(ValueError, match=message), share:
        cross_entropy(torch.zeros(8, 6), torch.zeros(8, dtype=torch.int64))
    assert shares.current() is shares.WHOLE
    with pytest.raises(ValueError, match=r"^a weight is computed from other tensors, .*; train in one process$"):
        share.parts(torch.zeros(2, requires_grad=True) * 2)


def in_threads(size: int, act: Callable[[shares.Connection], Any]) -> list[Any]:
    """Return what `act` returns in each of `size` threads, which gloo connects as it connects processes."""
    untyped = cast("Any", dist)
    store = untyped.HashStore()
    kind = untyped.ProcessGroup.BackendType.GLOO

    def connect(rank: int, name: str) -> Any:
        group = untyped.ProcessGroup(of_group := untyped.PrefixStore(name, store), rank, size)
        group._set_default_backend(kind)
        gloo = untyped.ProcessGroupGloo(of_group, rank, size, timedelta(seconds=30))
        group._register_backend(torch.device("cpu"), kind, gloo)
        return group

    def run(rank: int) -> Any:
        return act(shares.Connection(rank, size, connect(rank, "messages"), connect(rank, "gradients")))

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))


@pytest.mark.parametrize(("images", "size"), [(5, 2), (20, 2), (33, 3), (100, 3)])
def test_sums_and_gradients_in_messages_of_any_length_have_the_bits_of_one_process(
    images: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "BUCKET", 30)  # exceeded by the first weight, reached by the next two, and begun again
    shapes = ((40,), (2, 3, 2, 2), (6,), (4, 5))
    leaves = np.random.default_rng(images).normal(size=(len(tree.leaves(images)), 40))

    def sums(share: shares.Whole, own: range) -> list[torch.Tensor]:
        def compute(some: range, result: torch.Tensor) -> None:
            start, stop = ((own.start + end) / tree.LEAF for end in (some.start, some.stop))
            total = formulas.tree([*leaves[int(start) : int(np.ceil(stop)), : result.numel()].astype(np.float32)])
            result.as_strided((result.numel(),), (1,)).copy_(torch.from_numpy(total))

        weights = [torch.zeros(shape, requires_grad=True) for shape in shapes]
        for weight in weights:
            for some, result in share.parts(weight):
                compute(range(len(own))[some], result)
                weight.grad = None if share.is_shared else result
        share.finish()
        rows = torch.from_numpy(leaves[own.start // tree.LEAF : -(-own.stop // tree.LEAF)]).clone()
        return [share.total(rows), *(weight.grad for weight in weights if weight.grad is not None)]

    def shared(connection: shares.Connection) -> list[torch.Tensor]:
        share = shares.Share(images, connection)
        return sums(share, share.images)

    alone = sums(shares.WHOLE, range(images))
    for found in in_threads(size, shared):
        assert [*map(torch.equal, found, alone)] == [True] * 5


def test_gradients_are_sent_a_million_values_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_to_all_single", sent := Mock())
    share = shares.Share(8, shares.Connection(0, 1, Mock(), Mock()))
    calls = []
    for values in (1 << 19, 1 << 19, 1):
        share.parts(torch.empty(values, requires_grad=True))
        calls.append(sent.call_count)
    assert calls == [0, 0, 1]


def test_each_process_has_the_bytes_of_all_whatever_their_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "get_backend", lambda _: "gloo")
    data = [b"first", b"", b"3"]
    assert in_threads(3, lambda own: shares.all_gather_bytes(data[own.rank], own.messages)) == [data] * 3


@pytest.mark.parametrize(("backend", "device"), [("gloo", "cpu"), ("nccl", "cuda")])
def test_messages_are_on_the_device_from_which_their_backend_sends(
    backend: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "get_backend", lambda _: backend)
    assert shares.device_of() == torch.device(device)


def test_processes_are_connected_by_two_groups_of_gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"get_rank": [1], "get_world_size": [3], "new_group": ["messages", "gradients"]}
    asked = {name: Mock(side_effect=answer) for name, answer in answers.items()}
    for name, answer in asked.items():
        monkeypatch.setattr(dist, name, answer)
    assert [*vars(shares.connect()).values()] == [1, 3, "messages", "gradients"]
    assert asked["new_group"].call_args_list == [call(backend="gloo")] * 2


def test_a_batch_is_that_of_its_block_and_thread_alone() -> None:
    first, second = shares.Whole(), shares.Whole()
    with ThreadPoolExecutor(1) as pool:
        with first, second, second:
            assert shares.current() is second
            assert pool.submit(shares.current).result() is shares.WHOLE
            pool.submit(first.__enter__).result()
            assert shares.current() is second
        assert shares.current() is shares.WHOLE
        assert pool.submit(shares.current).result() is first
