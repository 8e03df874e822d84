"""The benchmark in small: what it writes, what it says of tools that are missing, and that its errors are errors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from in4310repro.bench import pipelines
from in4310repro.bench.peers import PEERS, PlainSums
from in4310repro.bench.pipelines import contenders, error_of, ours, peer, reference, run
from in4310repro.bench.report import benchmark, memory
from in4310repro.numerics import Numerics


@pytest.fixture
def few_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"plain float32 sums": PEERS["plain float32 sums"], "absent": ("no-such-distribution", PlainSums)}
    monkeypatch.setattr(pipelines, "PEERS", kept)


def test_report_has_a_row_for_every_contender_and_says_what_is_not_installed(
    few_peers: None, tmp_path: Path, numerics: Numerics
) -> None:
    del few_peers
    files = benchmark(tmp_path, numerics, repeats=1, seconds=0.0, images=2, batch_size=1, side=32, many=500)
    report = json.loads(files[0].read_text())
    for rows in report["layouts"].values():
        named = {row["name"]: row for row in rows}
        assert list(named) == [contender.name for contender in contenders(("c",) * 20, ("m",) * 5)]
        assert named["absent"]["version"] is None
        assert named["`positions` exact"]["error"] < 1e-12
        assert named["`positions` exact"]["repeats"] == 1
    assert "absent | no-such-distribution is not installed" in files[1].read_text()


def test_errors_of_plain_float32_sums_grow_with_the_mean_and_ours_do_not() -> None:
    model = nn.Sequential(nn.Identity())
    batches = list(torch.split(torch.randn(40, 16, 6, 6, generator=torch.Generator().manual_seed(0)) + 100, 8))
    expected = reference(model, batches, ("0",), "positions")["0"]
    fast = run(ours("ours", ("0",), "positions"), model, batches).covariances["0"]
    plain = run(peer("plain", "torch", PlainSums, ("0",)), model, batches).covariances["0"]
    assert error_of(fast, expected) < 1e-6 < 1e-4 < error_of(plain, expected)


def test_reference_is_numpys_covariance_of_the_rows() -> None:
    model = nn.Sequential(nn.Identity())
    maps = torch.randn(9, 4, 3, 2, generator=torch.Generator().manual_seed(1))
    found = reference(model, [maps[:5], maps[5:]], ("0",), "positions")["0"]
    rows = maps.double().permute(1, 0, 2, 3).flatten(start_dim=1).numpy()
    np.testing.assert_allclose(found, np.cov(rows, bias=True), rtol=1e-12)


def test_no_hook_stays_behind() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    for contender in contenders(("0",), ("0",))[:9]:
        run(contender, model, [torch.randn(3, 3, 8, 8)])
    assert not model[0]._forward_hooks


def test_no_repeats_are_refused(tmp_path: Path, numerics: Numerics) -> None:
    with pytest.raises(ValueError, match="repeats 0, images 64, batch size 32; each must be at least 1"):
        benchmark(tmp_path, numerics, repeats=0)


def test_twenty_times_as_many_images_take_the_same_memory() -> None:
    found = memory(10_000, "cpu")
    few, many = found["500 images"], found["10000 images"]
    if few is None or many is None:
        pytest.skip("this system does not tell the peak memory of a process")
    # Storing the maps of 9,500 more images would take 370 MB.
    assert many - few < 10
