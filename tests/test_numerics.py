"""Arithmetic modes: set in time, and tested by their effect."""

import os
import subprocess
import sys

import pytest
import torch

from in4310repro import numerics as module
from in4310repro.numerics import Numerics, activate, probe


def fresh(code: str) -> str:
    """What a new interpreter prints, without the variables of this one."""
    environment = {name: value for name, value in os.environ.items() if name not in module.PORTABLE_ENVIRONMENT}
    command = [sys.executable, "-c", f"from in4310repro.numerics import activate\n{code}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def portable_here(numerics: Numerics) -> None:
    if numerics.mode != "portable":
        pytest.skip(f"portable arithmetic is not reached here: {numerics.note}")


def test_portable_is_reached_by_a_fresh_process_and_has_the_class_of_this_one(numerics: Numerics) -> None:
    portable_here(numerics)
    assert fresh("print(activate('portable').numeric_class)") == numerics.numeric_class


def test_portable_set_too_late_stops_with_the_reason_and_the_way_out(numerics: Numerics) -> None:
    portable_here(numerics)
    code = (
        "import torch; torch.ones(9) @ torch.ones(9)\n"
        "try: activate('portable')\nexcept ValueError as error: print(error)"
    )
    printed = fresh(code)
    assert "portable arithmetic is not reached" in printed
    assert "--numerics native" in printed


def test_auto_falls_back_to_native_with_one_line(numerics: Numerics) -> None:
    portable_here(numerics)
    printed = fresh("import torch; torch.ones(9) @ torch.ones(9); n = activate('auto'); print(n.mode, n.note)")
    assert printed.startswith("native native arithmetic, since portable is not reached: ")


def test_a_thread_limit_below_the_portable_count_stops_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    with pytest.raises(ValueError, match="computes with 2 threads and OMP_THREAD_LIMIT allows 1"):
        activate("portable", "cpu")


@pytest.mark.parametrize(
    ("machine", "capability", "reason"),
    [
        ("aarch64", "DEFAULT", "needs an x86-64 processor with AVX2 and this one is aarch64"),
        ("x86_64", "DEFAULT", "DEFAULT and not AVX2"),
    ],
)
def test_a_processor_without_avx2_stops_portable_and_leaves_auto_native(
    machine: str, capability: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with pytest.raises(ValueError, match=f"{reason}.*--numerics native is the way out"):
        activate("portable", "cpu")
    active = activate("auto", "cpu")
    assert active.mode == "native"
    assert reason in active.note


def test_another_thread_count_is_another_numeric_class(numerics: Numerics) -> None:
    hashes = probe()
    classes = {module._numeric_class(hashes, threads, "cpu") for threads in (1, 2, 4)}
    assert len(classes) == 3
    assert len(numerics.numeric_class) == 12


def test_the_probe_repeats_and_sees_every_library() -> None:
    assert probe() == probe()
    assert {"convolution", "convolution_gradient", "matrix_product", "softmax", "square_root"} < set(probe())


def test_native_and_portable_arithmetic_differ_where_the_processor_has_more_than_avx2(numerics: Numerics) -> None:
    portable_here(numerics)
    if fresh("import torch; print(torch.backends.cpu.get_cpu_capability())") != "AVX512":
        pytest.skip("this processor computes with AVX2 in both modes")
    assert fresh("print(activate('native', 'cpu').numeric_class)") != numerics.numeric_class


@pytest.mark.parametrize(
    ("mode", "device", "message"),
    [
        ("fast", "cpu", "no numerics mode 'fast'; valid are auto, native, portable"),
        ("native", "tpu", "no device 'tpu'; valid are auto, cpu, cuda"),
        ("portable", "cuda", "it runs on the CPU and the device asked for is 'cuda'; --numerics native"),
    ],
)
def test_wrong_modes_and_devices_are_refused(mode: str, device: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        activate(mode, device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="sees no CUDA device; use cpu"):
        activate("native", "cuda")
