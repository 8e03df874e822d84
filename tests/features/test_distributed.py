"""Processes of a gloo group, and tests that need a GPU."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor, distributed as dist, multiprocessing, nn

from in4310repro.features import FeatureStatistics, batches, first_image, gather, statistics
from in4310repro.features.blocks import BLOCK
from tests.features.copies import covariance_by_numpy, error_of, maps_by_copies
from tests.processes import METHOD

IMAGES = 6 * BLOCK + 21


def network() -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.ReLU(inplace=True)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


def all_images() -> Tensor:
    return torch.randn(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def measure(rank: int, world_size: int) -> FeatureStatistics:
    model, images = network(), all_images()
    start = first_image(IMAGES, rank, world_size)
    with FeatureStatistics(
        model, ["0", "1"], "positions", first_image=start, histogram=True, top_images=3
    ) as statistics:
        for batch in batches(IMAGES, 64, rank, world_size):
            model(images[batch.start : batch.stop])
    return statistics


def numbers(statistics: FeatureStatistics) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}
    for name, result in statistics.result().items():
        counts = [result.images, result.rows, result.values, result.non_positive_values, result.zeros]
        values[f"{name}.counts"] = torch.tensor(counts)
        values[f"{name}.mean"], values[f"{name}.covariance"] = result.mean, result.covariance
        assert result.histogram is not None
        assert result.top_images is not None
        values |= {f"{name}.histogram.{part}": value for part, value in vars(result.histogram).items()}
        values |= {f"{name}.top_images.{part}": value for part, value in vars(result.top_images).items()}
    return values


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_adds_the_statistics_of_each_other_rank_once(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [measure(each, 2) for each in range(2)]
    states = [save(each.state_dict()) for each in parts]
    monkeypatch.setattr(dist, "get_rank", lambda _group: rank)
    monkeypatch.setattr(statistics, "all_gather_bytes", lambda own, _group: states if own == states[rank] else [])
    gather(parts[rank])
    expected = numbers(measure(0, 1))
    found = numbers(parts[rank])
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], values) for name, values in expected.items())


def rank_main(rank: int, folder: str) -> None:
    """Gather statistics of four processes, then of two; the last rank of each group writes the result."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=4)
    for world_size in (4, 2):
        group = dist.new_group(list(range(world_size)))
        if rank < world_size:
            statistics = measure(rank, world_size)
            gather(statistics, group)
            if rank == world_size - 1:
                save_file(numbers(statistics), f"{folder}/{world_size}.safetensors")
    dist.destroy_process_group()


def test_two_and_four_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    mp: Any = multiprocessing
    mp.start_processes(rank_main, args=(str(tmp_path),), nprocs=4, start_method=METHOD)
    together = {n: load_file(tmp_path / f"{n}.safetensors") for n in (2, 4)}
    alone = numbers(measure(0, 1))
    for gathered in together.values():
        assert gathered.keys() == alone.keys()
        assert all(torch.equal(gathered[key], alone[key]) for key in alone)
    assert alone["0.counts"][0] == IMAGES


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@cuda
@pytest.mark.parametrize("samples", [None, "images", "positions"])
def test_nothing_waits_for_the_gpu_before_the_result(samples: Literal["images", "positions"] | None) -> None:
    model, images = network().cuda(), all_images().cuda()
    model(images[:16])
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with FeatureStatistics(model, ["0", "1"], samples) as statistics:
            for batch in torch.split(images, 16):
                model(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert statistics.result()["1"].images == IMAGES


@cuda
def test_a_gpu_with_tf32_allowed_still_meets_the_bound_of_fast() -> None:
    model, images = network().cuda(), all_images().cuda()
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with FeatureStatistics(model, ["0"], "positions") as statistics:
            for batch in torch.split(images, 16):
                model(batch)
        assert torch.backends.cuda.matmul.allow_tf32
        maps = torch.cat(maps_by_copies(model, "0", torch.split(images, 16))).cpu()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert error_of(statistics.result()["0"].covariance, covariance_by_numpy(maps, "positions")) <= 1e-6
