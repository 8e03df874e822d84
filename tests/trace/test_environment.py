"""The head of a trace names what can move bits, and follows each switch."""

from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from in4310repro.trace.environment import LIBRARIES, environment

CPU = torch.device("cpu")


def test_versions_processor_and_threads_are_those_of_this_process() -> None:
    found = environment(CPU)
    assert (found["python"], found["torch"], found["numpy"]) == (
        platform.python_version(),
        torch.__version__,
        np.__version__,
    )
    assert found["threads"] == torch.get_num_threads()
    assert found["vectors"] == torch.backends.cpu.get_cpu_capability()
    assert (
        found["processor"] in Path("/proc/cpuinfo").read_text()
        if Path("/proc/cpuinfo").exists()
        else found["processor"]
    )
    assert found["device"] == "cpu"


@pytest.mark.process
def test_a_library_is_named_once_it_is_loaded() -> None:
    assert {"pillow", "torchvision"} <= {*LIBRARIES.values()}
    words = (
        "import torch; from in4310repro.trace.environment import environment as e; a = e(torch.device('cpu'));"
        "import PIL.Image; b = e(torch.device('cpu')); print(*({*b} - {*a}))"
    )
    ended = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True)
    assert {*ended.stdout.split()} == {"pillow", "jpeg"}


def test_switches_of_torch_show() -> None:
    before = environment(CPU)
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    try:
        torch.set_num_threads(threads + 1)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(not before["deterministic algorithms"])
        torch.set_flush_denormal(True)
        found = environment(CPU)
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(before["deterministic algorithms"])
        torch.set_flush_denormal(False)
    changed = {name: found[name] for name in found if found[name] != before[name]}
    assert changed == {
        "threads": threads + 1,
        "default dtype": "float64",
        "deterministic algorithms": not before["deterministic algorithms"],
        "denormals are zero": True,
    }
    assert environment(CPU) == before


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_CBWR", "PYTHONHASHSEED"])
def test_an_environment_variable_that_moves_bits_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name, raising=False)
    assert name not in environment(CPU)
    monkeypatch.setenv(name, "1")
    assert environment(CPU)[name] == "1"


@pytest.mark.parametrize(("told", "version"), [({"__version__": "1.2"}, "1.2"), ({}, "unknown")])
def test_a_library_without_a_distribution_has_the_version_that_it_tells(
    told: dict[str, str], version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIBRARIES, "of_no_distribution", "mine")
    assert "mine" not in environment(CPU)
    monkeypatch.setitem(sys.modules, "of_no_distribution", SimpleNamespace(**told))
    assert environment(CPU)["mine"] == version


@pytest.mark.parametrize("lines", [["Intel(R) oneAPI Math Kernel Library Version 2024.2", "Intel(R) MKL-DNN v3.7"], []])
def test_the_libraries_and_the_precision_of_products_are_named(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.__config__, "show", lambda: "\n  - ".join(["PyTorch built with:", *lines, "OpenMP 4.5"]))
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    found = environment(CPU)
    assert (found["BLAS"], found["precision of products"]) == ("; ".join(lines) or "unknown", "medium")


def test_a_processor_is_named_on_systems_without_a_file_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    monkeypatch.setattr(platform, "processor", lambda: "M2")
    assert environment(CPU)["processor"] == "M2"


def test_a_card_and_its_switches_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100")
    monkeypatch.setattr(torch._C, "_cuda_getDriverVersion", lambda: 12080, raising=False)
    # Of all operations of cuDNN nothing is said; convolutions have a setting of their own.
    precision = {"fp32_precision": "none", "conv": SimpleNamespace(fp32_precision="tf32")}
    cudnn = SimpleNamespace(version=lambda: 91002, deterministic=False, benchmark=True, **precision)
    monkeypatch.setattr(torch.backends, "cudnn", cudnn)
    expected = {"device": "cuda", "GPU": "H100", "CUDA of the driver": 12080, "cuDNN": 91002}
    expected |= {"cuDNN deterministic": False, "cuDNN benchmark": True, "TF32 in convolutions": "tf32"}
    assert expected.items() <= environment(torch.device("cuda")).items()


def test_nothing_private_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hidden-word")
    text = json.dumps(environment(CPU))
    private = [platform.node(), getpass.getuser(), str(Path.cwd()), sys.prefix, "hidden-word", os.environ["PATH"]]
    assert not [each for each in private if len(each) > 4 and each in text]
