"""Arithmetic modes: how a process is set to compute, and the probe that tests whether it does.

Facts behind the settings: the same ResNet-18 steps, run on Intel and AMD processors, gave equal bits with these
environment variables, a fixed number of threads and NumPy's PCG64, and other bits without any one of them.
torch reads the variables at its first operation, so this module imports torch only after it has set them.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from in4310repro.randomness import generator_for

if TYPE_CHECKING:
    import torch

# Read when torch is loaded, so set here and not in `activate`. Threads that spin for long while they wait for each
# other made training 5 times slower on a machine that had other work; threads that sleep at once made it 11 % slower
# on one that had none, and counting half as fast.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

MODES = ("auto", "native", "portable")
PORTABLE_THREADS = 2
PORTABLE_ENVIRONMENT = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    # MKL_CBWR=AVX2 is not enough: Intel and AMD differ under it.
    "MKL_CBWR": "COMPATIBLE",
}
MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_THRESHOLD = -1, -3  # parameters of mallopt, from malloc.h
# torch 2.13. Classes listed here spare the comparison with a fresh process, which takes seconds.
KNOWN_PORTABLE_CLASSES = ("3ddf797599d7",)


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The arithmetic that a process really uses, as probed."""

    mode: str
    numeric_class: str
    probe: dict[str, str]
    threads: int
    device: str
    device_name: str = "cpu"  # a card's model
    note: str = ""


def activate(mode: str = "auto", device: str = "auto") -> Numerics:
    """Sets the arithmetic of this process and proves that it took effect.

    Args:
        mode: `native`, `portable`, or `auto` (portable where the processor can, else native with a note).
        device: `auto`, `cpu`, or a torch device such as `cuda` or `cuda:1`. Portable runs on the CPU alone.

    Raises:
        ValueError: an unknown mode or device, or portable arithmetic that this process cannot reach.
    """
    if mode not in MODES:
        raise ValueError(f"no numerics mode {mode!r}; valid are {', '.join(MODES)}")
    if mode == "native":
        return _activate_native(device)
    obstacle = _portable_obstacle(device)
    if not obstacle:
        return _describe("portable", "cpu")
    if mode == "portable":
        raise ValueError(f"portable arithmetic is not reached: {obstacle}; --numerics native is the way out")
    return _activate_native(device, note=f"native arithmetic, since portable is not reached: {obstacle}")


def _activate_native(device: str, note: str = "") -> Numerics:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return _describe("native", _resolve_device(device), note)


def _resolve_device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"no device {device!r}; valid are auto, cpu, cuda and cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for and torch {torch.__version__} sees no CUDA device; use cpu")
    return device


def _portable_obstacle(device: str) -> str:
    """Why this process cannot compute in portable arithmetic; empty where it does."""
    if device not in ("auto", "cpu"):
        return f"it runs on the CPU and the device asked for is {device!r}"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"it needs an x86-64 processor with AVX2 and this one is {platform.machine()}"
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    if limit.isdigit() and int(limit) < PORTABLE_THREADS:
        return f"it computes with {PORTABLE_THREADS} threads and OMP_THREAD_LIMIT allows {limit}"
    os.environ.update(PORTABLE_ENVIRONMENT)
    import torch

    _deterministic(PORTABLE_THREADS)
    capability = torch.backends.cpu.get_cpu_capability()
    if capability != "AVX2":
        return f"torch computes with {capability} and not AVX2 (no such processor, or set after the first operation)"
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return f"torch {torch.__version__} is built without oneDNN or MKL"
    if _numeric_class(probe(), PORTABLE_THREADS, "cpu") in KNOWN_PORTABLE_CLASSES:
        return ""
    if probe() != _probe_of_a_fresh_process():
        return "a fresh process computes other bits (a library was in use before the variables were set)"
    return ""


def _deterministic(threads: int) -> None:
    import torch

    _keep_freed_memory()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory costs 10-15 % and hides nothing here: no kernel in use reads before it writes.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def _keep_freed_memory() -> None:
    """Has glibc use freed memory again, where it would return large blocks to the system.

    The gradients of each step then come in pages that are there already: a training step takes 13 to 19 % less time.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        # Sizes from which blocks are mapped one by one, and from which a free end of the heap is given back.
        library.mallopt(MALLOPT_MMAP_THRESHOLD, 2**30)
        library.mallopt(MALLOPT_TRIM_THRESHOLD, 2**31 - 1)


def _describe(mode: str, device: str, note: str = "") -> Numerics:
    import torch

    threads = PORTABLE_THREADS if mode == "portable" else _processors()
    _deterministic(threads)
    hashes = probe(device)
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return Numerics(
        mode=mode,
        numeric_class=_numeric_class(hashes, threads, name),
        probe=hashes,
        threads=threads,
        device=device,
        device_name=name,
        note=note,
    )


def _processors() -> int:
    """Processors that this process may use; macOS and Windows know only how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _numeric_class(hashes: dict[str, str], threads: int, device_name: str) -> str:
    return _sha256(json.dumps([hashes, threads, device_name]).encode())[:12]


def probe(device: str = "cpu") -> dict[str, str]:
    """Hashes of small computations, one for each library that changes bits: 12 hex digits each."""
    import torch
    from PIL import Image

    generator = generator_for(0, "probe")

    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(generator.standard_normal(shape, dtype="float32")).to(device)

    images = normal(4, 16, 20, 20).contiguous(memory_format=torch.channels_last)
    kernel = normal(24, 16, 3, 3).requires_grad_()
    convolved = torch.nn.functional.conv2d(images, kernel, padding=1)
    # The forward pass has the same bits with AVX2 and AVX-512; the gradient of the weights has not.
    (gradient,) = torch.autograd.grad(convolved.square().sum(), kernel)
    product = normal(96, 200) @ normal(200, 96)
    weight = torch.nn.Parameter(normal(4096))
    optimizer = torch.optim.AdamW([weight], fused=True)
    weight.grad = normal(4096)
    optimizer.step()
    photograph = Image.fromarray(generator.integers(0, 256, (40, 60, 3), dtype="uint8"))
    results = {
        "convolution": convolved.detach(),
        "convolution_gradient": gradient,
        "matrix_product": product,
        "softmax": torch.softmax(product, dim=1),
        "square_root": product.abs().rsqrt(),
        "optimizer_step": weight.detach(),
        "eigenvalues": torch.linalg.eigvalsh((product @ product.T).double()),
    }
    hashes = {name: _sha256(value.contiguous().cpu().numpy().tobytes())[:12] for name, value in results.items()}
    resized = photograph.resize((32, 32), Image.Resampling.BILINEAR)
    return hashes | {"resize": _sha256(resized.tobytes())[:12]}


def _probe_of_a_fresh_process() -> dict[str, str]:
    """The same hashes from a new interpreter whose environment was right from the start."""
    code = (
        "import json, torch; from in4310repro import numerics; "
        f"torch.set_num_threads({PORTABLE_THREADS}); print(json.dumps(numerics.probe()))"
    )
    environment = os.environ | PORTABLE_ENVIRONMENT
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    hashes: dict[str, str] = json.loads(done.stdout)
    return hashes


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
