"""The benchmark at a small size: its files, the tools it reports as missing, and its error values."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import arithmetic, runtimes, tables, traces
from benchmarks.contenders import contenders, feature_statistics, peer
from benchmarks.features import BenchmarkOptions, benchmark, peak_memory
from benchmarks.measurement import measure, reference_covariances, relative_error
from benchmarks.peers import PEERS, PlainSums
from benchmarks.plain import SET, PlainScript
from benchmarks.workloads import Layer, Workload, convolution_operations, fold, layers
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics, activate


@pytest.mark.slow
def test_report_has_a_row_for_every_contender_and_names_what_is_not_installed(
    tmp_path: Path, numerics: Numerics
) -> None:
    peers = {"plain float32 sums": PEERS["plain float32 sums"], "absent": ("no-such-distribution", PlainSums)}
    sizes = {"images": 2, "batch_size": 1, "side": 32, "memory_images": 500}
    options = BenchmarkOptions(repeats=1, seconds=0.0, peers=peers, **sizes)
    files = benchmark(tmp_path, Context(numerics), options)
    report = json.loads(files[0].read_text())
    for rows in report["layouts"].values():
        named = {row["name"]: row for row in rows}
        assert list(named) == [contender.name for contender in contenders(("c",) * 20, ("m",) * 5, peers)]
        assert named["absent"]["version"] is None
        assert named["`positions` exact"]["error"] < 1e-12
        assert named["`positions` exact"]["repeats"] == 1
    assert "absent | no-such-distribution is not installed" in files[1].read_text()


def test_errors_of_plain_float32_sums_grow_with_the_mean_and_ours_do_not() -> None:
    model = nn.Sequential(nn.Identity())
    batches = list(torch.split(torch.randn(40, 16, 6, 6, generator=torch.Generator().manual_seed(0)) + 100, 8))
    expected = reference_covariances(model, batches, ("0",), "positions")["0"]
    fast = measure(feature_statistics("ours", ("0",), "positions"), model, batches).covariances["0"]
    plain = measure(peer("plain", "torch", PlainSums, ("0",)), model, batches).covariances["0"]
    assert relative_error(fast, expected) < 1e-6 < 1e-4 < relative_error(plain, expected)


def test_reference_is_numpys_covariance_of_the_rows() -> None:
    model = nn.Sequential(nn.Identity())
    maps = torch.randn(9, 4, 3, 2, generator=torch.Generator().manual_seed(1))
    covariance = reference_covariances(model, [maps[:5], maps[5:]], ("0",), "positions")["0"]
    rows = maps.double().permute(1, 0, 2, 3).flatten(start_dim=1).numpy()
    np.testing.assert_allclose(covariance, np.cov(rows, bias=True), rtol=1e-12)


def test_no_hook_stays_behind() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    for contender in contenders(("0",), ("0",))[:9]:
        measure(contender, model, [torch.randn(3, 3, 8, 8)])
    assert not model[0]._forward_hooks


def test_no_repeats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="repeats 0, images 64, batch size 32; each must be at least 1"):
        BenchmarkOptions(repeats=0)
    with pytest.raises(ValueError, match="repeats 0; expected at least 1"):
        arithmetic.benchmark(tmp_path, arithmetic.ArithmeticOptions(repeats=0))
    with pytest.raises(ValueError, match="repeats 0; expected at least 1"):
        traces.TraceOptions(repeats=0)


def test_twenty_times_as_many_images_take_the_same_memory() -> None:
    peaks = peak_memory(10_000, "cpu")
    few, many = peaks["500 images"], peaks["10000 images"]
    if few is None or many is None:
        pytest.skip("this system does not report the peak memory of a process")
    # Storing the maps of 9,500 more images would take 370 MB.
    assert many - few < 10


@pytest.mark.slow
def test_the_benchmark_of_arithmetic_has_a_row_for_each_network_layer_and_batch(
    tmp_path: Path, numerics: Numerics
) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    options = arithmetic.ArithmeticOptions(
        repeats=1,
        seconds=0.0,
        threads=1,
        workloads=(Workload("resnet18", 32, 2, training=True), Workload("resnet18", 32, 2, training=False)),
        layers=((32, 2),),
        loop_batches=(8,),
        loop_images=24,
    )
    json_file, table = arithmetic.benchmark(tmp_path, options)
    report = json.loads(json_file.read_text())
    assert [row["name"] for row in report["networks"]] == [workload.name for workload in options.workloads]
    assert [row["name"] for row in report["bfloat16"]] == [workload.name for workload in options.workloads]
    # Images have no gradient.
    assert len(report["layers"]) == 3 * len(layers(32)) - 1
    assert {row["method"] for row in report["layers"] if "1x1" in row["name"]} == {"direct"}
    assert report["gflops_per_thread"] > 1
    for row in [*report["networks"], *report["bfloat16"], *report["layers"]]:
        assert row["lowest"] <= row["ratio"] <= row["highest"]
    text = table.read_text()
    for row in report["networks"]:
        stock = f"{row['native_ms']:.1f} {tables.FORMATS[row['memory_format']]}"
        assert f"| {row['name']} | 1 | {stock} | {row['portable_ms']:.1f} | {row['ratio']:.2f} [" in text
    for row in report["layers"]:
        layer = row["name"].partition(": ")[2].rpartition(", ")[0]
        (line,) = {line for line in text.splitlines() if line.startswith(f"| {layer} |")}
        assert f"{row['ratio']:.2f} {row['method']}" in line
    assert "stock PyTorch with bfloat16 autocast takes this part of its float32 time for resnet18" in text
    (loop,) = report["loop"]
    assert min(loop["native"], loop["portable"], loop["bare_native"]) > 0


def test_rows_of_the_benchmark_of_arithmetic_are_chosen_by_their_name(tmp_path: Path, numerics: Numerics) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    options = arithmetic.ArithmeticOptions(repeats=1, layers=((32, 2),), only="1x1, 64 to 128")
    json_file, table = arithmetic.benchmark(tmp_path, options)
    report = json.loads(json_file.read_text())
    assert len(report["layers"]) == 3
    assert [report[each] for each in ("networks", "bfloat16", "loop")] == [[], [], []]
    assert "bfloat16" not in table.read_text()
    with pytest.raises(ValueError, match="no row has 'resnet19' in its name"):
        arithmetic.benchmark(tmp_path, replace(options, only="resnet19"))


@pytest.mark.parametrize("name", arithmetic.NETWORKS)
def test_each_network_of_the_benchmark_trains_in_both_arithmetics(name: str, numerics: Numerics) -> None:
    workload = Workload(name, 32, 2, training=True)
    workload.prepare(numerics)()
    workload.prepare(activate("native", "cpu"), bfloat16=True)()


def test_a_row_has_every_contender_that_is_installed_and_the_page_names_the_others(
    tmp_path: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not numerics.portable:
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    monkeypatch.setattr(runtimes, "version", lambda _name: None)
    workload = Workload("resnet18", 32, 1, training=False)
    options = arithmetic.ArithmeticOptions(
        repeats=2, seconds=0.0, workloads=(workload,), layers=(), loop_batches=(), only="1 image"
    )
    json_file, table = arithmetic.benchmark(tmp_path, options)
    (row,) = json.loads(json_file.read_text())["networks"]
    assert (row["name"], row["threads"], row["pairs"]) == (workload.name, 1, 2)
    assert workload.name == "resnet18, 32 px, 1 image, inference"
    assert set(row["contenders"]) == {arithmetic.FOLDED, arithmetic.PLAIN}
    assert all(each["lowest"] <= each["ratio"] <= each["highest"] for each in row["contenders"].values())
    text = table.read_text()
    assert "* onnxruntime is not installed." in text
    assert "* OpenVINO is not installed." in text
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {workload.name} |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    folded, plain = (f"{row['contenders'][name]['ratio']:.2f}" for name in (arithmetic.FOLDED, arithmetic.PLAIN))
    assert cells[5:] == [folded, plain, f"{row['ratio_to_plain']:.2f}"]


def test_pairs_go_on_for_the_seconds_that_are_asked_for() -> None:
    calls: list[float] = []

    def measure() -> float:
        calls.append(time.perf_counter())
        return float(len(calls))

    seconds = arithmetic._alternate({"a": measure, "b": measure}, 3)
    # Each second call is timed.
    assert seconds == {"a": [2.0, 6.0, 10.0], "b": [4.0, 8.0, 12.0]}
    assert len(arithmetic._alternate({"a": measure}, 1, 0.05)["a"]) > 1


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_runtimes_compute_the_scores_of_stock_pytorch(name: str) -> None:
    if runtimes.version(name) is None:
        pytest.skip(f"{name} is not installed")
    native = activate("native", "cpu")
    workload = Workload("efficientnet_lite0", 32, 3, training=False)
    works = {"native": workload.prepare(native), name: runtimes.RUNTIMES[name](workload, 1)}
    arithmetic._check_scores(workload, works)
    other = replace(workload, model="mobilenet_v2").prepare(native)
    with pytest.raises(ValueError, match=rf"3 images, inference: scores of {name} differ from stock PyTorch's by"):
        arithmetic._check_scores(workload, {"native": other, name: works[name]})


@pytest.mark.parametrize("name", arithmetic.NETWORKS)
def test_folded_networks_have_the_same_scores_and_no_batch_norm(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    model = Workload(name, 32, 2, training=False).network()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    with torch.inference_mode():
        expected = model(images)
        folded = fold(model)
        scores = folded(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    # Weights are multiplied before the sums instead of after them.
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.process
def test_the_plain_script_has_none_of_the_variables_that_this_package_sets() -> None:
    code = "import os; a = {*os.environ}; import in4310repro.system.numerics; print(*sorted({*os.environ} - a))"
    without = {name: value for name, value in os.environ.items() if name not in SET}
    command = [sys.executable, "-c", code]
    assert tuple(subprocess.check_output(command, env=without, text=True).split()) == tuple(sorted(SET))


@pytest.mark.process
def test_the_plain_script_times_a_workload_and_its_end_is_an_error() -> None:
    with PlainScript() as plain:
        work = plain.prepare(Workload("resnet18", 32, 1, training=False), 1, "contiguous")
        assert 0 < work() < 60
        plain._process.kill()
        plain._process.wait()
        with pytest.raises((RuntimeError, BrokenPipeError)):
            work()


def test_methods_are_those_of_the_kernels() -> None:
    wide, pair, small = (Layer(512, 512, 3, 1, size, 1) for size in (14, 2, 1))
    assert [wide.method(kernel) for kernel in wide.kernels] == ["F(4x4)", "F(4x4)", "F(2x2)"]
    assert pair.method("forward") == "2x2 maps"
    assert small.method("forward") == "direct"


def test_the_benchmark_of_traces_has_a_row_for_each_contender_and_the_size_of_the_file(tmp_path: Path) -> None:
    ours, _ = traces.CONTENDERS
    absent = ("absent", "no-such-distribution", traces.traced_step)
    options = traces.TraceOptions(repeats=1, image_size=32, batch_size=2, threads=1, contenders=(ours, absent))
    json_file, table = traces.benchmark(tmp_path, options)
    report = json.loads(json_file.read_text())
    traced, missing = report["rows"]
    assert traced["ratio"] == pytest.approx(traced["ms"] / traced["bare_ms"])
    assert missing["version"] is None
    # 62 parameters, each with three tensors of AdamW's, 60 buffers, and the maps and gradients.
    assert report["tensors"] > 62 * 4 + 60 + 2 * 62
    assert 0 < report["bytes_of_each"] < 200
    assert "absent | no-such-distribution is not installed" in table.read_text()


def test_operations_are_those_of_the_literature() -> None:
    # Billion products at 224 px: He et al. 2015, table 1, torchvision's own count, Sandler et al. 2018.
    for name, products in {"resnet18": 1.814, "resnet50": 4.089, "mobilenet_v2": 0.300}.items():
        assert sum(convolution_operations(name, 224)) == pytest.approx(2e9 * products, rel=2e-3)
    # Images have no gradient.
    first, *others = convolution_operations("resnet18", 64)
    assert Workload("resnet18", 64, 32, training=True).operations() == 32 * (2 * first + 3 * sum(others))


def test_resnet18_has_twenty_convolutions() -> None:
    assert sum(layer.times for layer in layers(64)) == 20
