"""What a trace tells apart by name: libraries, environment variables, folders, plain tensors."""

from __future__ import annotations

import runpy

import pytest
import torch

from in4310repro.trace import hashing
from in4310repro.trace.environment import LIBRARIES, environment
from in4310repro.trace.evidence import PIXELS
from in4310repro.trace.notes import is_own

VARIABLES = """
OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS OMP_SCHEDULE OMP_DYNAMIC KMP_AFFINITY MKL_CBWR MKL_DYNAMIC
MKL_ENABLE_INSTRUCTIONS ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA ONEDNN_DEFAULT_FPMATH_MODE DNNL_DEFAULT_FPMATH_MODE
ATEN_CPU_CAPABILITY PYTHONHASHSEED OPENBLAS_CORETYPE MALLOC_PERTURB_ CUBLAS_WORKSPACE_CONFIG NVIDIA_TF32_OVERRIDE
CUDA_LAUNCH_BLOCKING TORCH_ALLOW_TF32_CUBLAS_OVERRIDE TORCH_CUDNN_V8_API_DISABLED
"""


def test_libraries_decode_and_augment_images_or_only_compute() -> None:
    assert {*PIXELS} - {*LIBRARIES.values()} == {"jpeg"}
    compute = {"timm", "transformers", "accelerate", "lightning", "scipy", "scikit-learn"}
    assert {*LIBRARIES.values()} - {*PIXELS} == compute


def test_every_variable_that_can_move_bits_is_in_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES.split():
        monkeypatch.setenv(name, "1")
    found = environment(torch.device("cpu"))
    assert [name for name in VARIABLES.split() if found.get(name) != "1"] == []


@pytest.mark.parametrize(
    ("folder", "own"), [("lib/site-packages", False), ("lib/dist-packages", False), ("lib/packages", True)]
)
def test_what_is_in_a_folder_of_packages_is_not_the_users_own(folder: str, own: bool) -> None:
    assert is_own(f"/data/{folder}/train.py") == own


def test_plain_tensors_are_known_whatever_the_default_device_is_when_the_package_is_imported() -> None:
    with torch.device("meta"):
        again = runpy.run_path(hashing.__file__)
    assert again["_PLAIN_KEYS"] == hashing._PLAIN_KEYS
