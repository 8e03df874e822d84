"""Libraries, processor, options and environment variables that can move bits, as the head of a trace has them.

No path, user name or host name is among them.
"""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from in4310repro import arithmetic

# Libraries that decode, augment or compute, if they are loaded: name of the module, name of the distribution.
LIBRARIES = {
    "torchvision": "torchvision",
    "PIL": "pillow",
    "cv2": "opencv-python",
    "albumentations": "albumentations",
    "kornia": "kornia",
    "timm": "timm",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "lightning": "lightning",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
}
SWITCHES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_SCHEDULE", "OMP_DYNAMIC", "KMP_AFFINITY"),
    *("MKL_CBWR", "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "ATEN_CPU_CAPABILITY", "PYTHONHASHSEED"),
    *("OPENBLAS_CORETYPE", "MALLOC_PERTURB_", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
    *("CUDA_LAUNCH_BLOCKING", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "TORCH_CUDNN_V8_API_DISABLED"),
)


def environment(device: torch.device) -> dict[str, Any]:
    """Return versions, processor, arithmetic options, threads and environment variables, as JSON values.

    Args:
        device: the device of the model's first parameter.
    """
    values = {
        "python": platform.python_version(),
        "system": platform.system(),
        "C library": " ".join(platform.libc_ver()).strip() or None,
        "machine": platform.machine(),
        "processor": processor("model name", "CPU part"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **{each: version for name, each in LIBRARIES.items() if (version := _version(name, each))},
        "jpeg": _jpeg(),
        "portable arithmetic": arithmetic.VERSION if "in4310repro.arithmetic.networks" in sys.modules else None,
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "BLAS": _blas(),
        "threads": torch.get_num_threads(),
        "threads between operations": torch.get_num_interop_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "precision of products": _precision(),
        "processes": processes if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1 else None,
        "default dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "denormals are zero": not bool(torch.tensor(1e-40, dtype=torch.float32) * 1),
        "oneDNN": torch.backends.mkldnn.enabled,
        "precision of oneDNN": _onednn_precision(),
        "device": device.type,
        **(_cuda(device) if device.type == "cuda" else {}),
        **{name: os.environ[name] for name in SWITCHES if name in os.environ},
    }
    return {name: value for name, value in values.items() if value is not None}


def _version(module: str, distribution: str) -> str | None:
    if module not in sys.modules:
        return None
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules[module], "__version__", "unknown"))


def _jpeg() -> str | None:
    """Return name and version of Pillow's JPEG library; None if Pillow is not loaded."""
    if "PIL" not in sys.modules:
        return None
    from PIL import features

    turbo = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
    return f"{turbo} {features.version_codec('jpg')}"


def _blas() -> str:
    lines = [line.strip(" -") for line in torch.__config__.show().splitlines()]
    found = [line for line in lines if "Math Kernel Library" in line or "MKL-DNN" in line]
    return "; ".join(found) or "unknown"


def _precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        # Torch refuses to say it by this name once it was set by another.
        return "set for each library"


def _onednn_precision() -> str:
    onednn: Any = torch.backends.mkldnn
    return f"products {onednn.matmul.fp32_precision}, convolutions {onednn.conv.fp32_precision}"


def processor(*names: str) -> str:
    """Return the processor's name as its manufacturer gives it, under one of these names where Linux tells it."""
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(names):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cuda(device: torch.device) -> dict[str, Any]:
    """Return the GPU, and the versions and options of CUDA and cuDNN that can change the bits of results."""
    driver: Any = torch._C
    cudnn: Any = torch.backends.cudnn
    return {
        "GPU": torch.cuda.get_device_name(device),
        "CUDA": torch.version.cuda,
        "CUDA of the driver": driver._cuda_getDriverVersion(),
        "cuDNN": cudnn.version(),
        "cuDNN deterministic": cudnn.deterministic,
        "cuDNN benchmark": cudnn.benchmark,
        "TF32 in products": torch.backends.cuda.matmul.fp32_precision,
        "TF32 in convolutions": cudnn.conv.fp32_precision,
    }
