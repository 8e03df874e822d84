"""Arithmetic modes: portable (own kernels, equal bits on all processors) and native (torch's kernels).

The module also has random generators that depend only on a seed and names.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from in4310repro.system.text import did_you_mean

if TYPE_CHECKING:
    import torch

# Read when torch is loaded, so set here and not in `activate`, and for speed alone. Threads that spin for long while
# they wait for each other made training 5 times slower on a machine that had other work; threads that sleep at once
# made it 11 % slower on one that had none, and counting half as fast.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

MODES = ("auto", "native", "portable")
MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_THRESHOLD = -1, -3  # parameters of mallopt, from malloc.h


@dataclass(frozen=True)
class Numerics:
    """Arithmetic mode of this process, with a numeric class; processes of the same class compute equal bits."""

    mode: str  # portable or native
    numeric_class: str  # processes of one class give equal bits
    probe: dict[str, str]
    threads: int
    device: str
    device_name: str = "cpu"  # a GPU's model
    note: str = ""

    @property
    def portable(self) -> bool:
        """True in portable arithmetic, which uses the kernels of the package `arithmetic`."""
        return self.mode == "portable"

    def place(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return the network on the device, converted to this arithmetic mode.

        Its modules may be replaced, but its state dict remains the same.

        Raises:
            ValueError: a module has no portable arithmetic; the message names the module and says what to do.
        """
        if not self.portable:
            return model.to(self.device)
        from in4310repro.arithmetic import portable

        return portable(model)

    def cross_entropy(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of a batch as a tensor with gradients."""
        from torch.nn import functional

        from in4310repro import arithmetic

        return arithmetic.cross_entropy(logits, labels) if self.portable else functional.cross_entropy(logits, labels)

    def losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of each image as float64, without a gradient."""
        from torch.nn import functional

        from in4310repro import arithmetic

        if self.portable:
            return arithmetic.losses(logits, labels)
        return functional.cross_entropy(logits, labels, reduction="none").double()

    def softmax(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the softmax of each image's logits."""
        from in4310repro import arithmetic

        return arithmetic.softmax(logits) if self.portable else logits.softmax(dim=1)


def activate(mode: str = "auto", device: str = "auto") -> Numerics:
    """Choose the arithmetic mode of this process, and compute its numeric class.

    Processes of the same numeric class compute equal bits.

    Args:
        mode: `native`, `portable` or `auto`. The mode `auto` means portable if that is available here,
            otherwise native with a note that says why.
            Callers whose network or optimizers have no portable arithmetic must ask for native.
        device: `auto`, `cpu`, or a torch device such as `cuda` or `cuda:1`. Portable arithmetic runs only on
            the CPU.

    Raises:
        ValueError: the mode or device is unknown, this machine does not have the device, the mode is
            `portable` and unavailable here, or an environment variable of OpenMP has an invalid number of
            threads.
    """
    # OpenMP would ignore other numbers.
    number = r"\s*0*[1-9][0-9]{0,8}\s*"
    # OMP_NUM_THREADS may list a number for each level of nested teams.
    for name, valid in (("OMP_NUM_THREADS", f"{number}(,{number})*"), ("OMP_THREAD_LIMIT", number)):
        value = os.environ.get(name, "").strip()
        if value and not re.fullmatch(valid, value):
            raise ValueError(f"{name} is {value!r}; it must be a number of threads, 1 or more")
    if mode not in MODES:
        raise ValueError(f"numerics is {mode!r}; it must be one of {', '.join(MODES)}{did_you_mean(mode, MODES)}")
    if mode == "native":
        return _native(device)
    from in4310repro import arithmetic

    on_cpu = f"it runs on the CPU and the device asked for is {device!r}"
    if obstacle := arithmetic.obstacle() if device in ("auto", "cpu") else on_cpu:
        if mode == "portable":
            raise ValueError(f"portable arithmetic is unavailable: {obstacle}; use --numerics native")
        return _native(device, note=f"native arithmetic, because portable is unavailable: {obstacle}")
    import torch

    _deterministic()
    hashes = arithmetic.self_test()
    return Numerics("portable", class_of(arithmetic.VERSION, hashes), hashes, torch.get_num_threads(), "cpu")


def _native(device: str, note: str = "") -> Numerics:
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = resolve_device(device, torch.cuda.device_count() if torch.cuda.is_available() else 0)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    names = ("OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS", "OMP_THREAD_LIMIT")
    dynamic, levels, limit = (os.environ.get(name, "").strip() for name in names)
    # OpenMP decides from call to call where it is dynamic. With more threads than it starts, oneDNN's backward pass
    # would wait for ever for the others.
    most = 1 if dynamic.lower() in ("true", "1") or levels == "0" else int(limit or processors)
    if (threads := min(processors, most)) < processors:
        note = "; ".join(filter(None, (note, f"OpenMP is limited by the environment: threads {threads}")))
    torch.set_num_threads(threads)
    _deterministic()
    hashes = probe(device)
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return Numerics("native", class_of(hashes, threads, name), hashes, threads, device, name, note)


def check_device(device: str) -> None:
    """Raise ValueError if no machine has the device, whatever its cards are; nothing is imported."""
    if not re.fullmatch(r"auto|cpu(:0)?|cuda(:(0|[1-9][0-9]{0,2}))?", device, re.ASCII):
        near = did_you_mean(device, ("auto", "cpu", "cuda"))
        raise ValueError(f"device is {device!r}; it must be auto, cpu, cuda or cuda:N{near}")


def resolve_device(device: str, cards: int) -> str:
    """Return the name of the torch device for a value of `--device`, given the number of CUDA devices.

    Raises:
        ValueError: the device is unknown, or this machine does not have it.
    """
    import torch

    check_device(device)
    if device == "auto":
        return "cuda" if cards else "cpu"
    asked = torch.device(device)
    if asked.type == "cuda" and not cards:
        raise ValueError(f"device {device!r} was asked for and torch {torch.__version__} sees no CUDA device; use cpu")
    if asked.type == "cuda" and (asked.index or 0) >= cards:
        raise ValueError(f"device {device!r} was asked for; it must be one of cuda:0 to cuda:{cards - 1}")
    return device


def _deterministic() -> None:
    import torch

    from in4310repro.arithmetic import compiler

    compiler.postpone()
    # Makes glibc keep large blocks of freed memory for reuse instead of returning them to the system. Gradients of the
    # next step then reuse mapped memory pages, which makes a training step 13 to 19 % faster.
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        # Sizes from which blocks are mapped one by one, and from which a free end of the heap is given back.
        # A glibc before 2.35 takes no more than 2**25 for the first.
        library.mallopt(MALLOPT_MMAP_THRESHOLD, 2**30) or library.mallopt(MALLOPT_MMAP_THRESHOLD, 2**25)
        library.mallopt(MALLOPT_TRIM_THRESHOLD, 2**31 - 1)
    # Inductor reads its flag from it when it is imported, which is when torch.compile is used.
    os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"
    if "torch._inductor.config" in sys.modules:
        torch.use_deterministic_algorithms(True)
    else:
        # Sets the same state; the function above imports inductor for its flag, which takes more than a second.
        torch.set_deterministic_debug_mode("error")
    # Filling fresh memory costs 10-15 % and hides nothing here: no kernel in use reads before it writes.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def class_of(*facts: object) -> str:
    """Return the numeric class that these facts decide; processes of the same class compute equal bits.

    Of portable arithmetic, the facts are its version and the self-test's hashes; of native arithmetic, the probe's
    hashes, the number of threads and the name of the device. The class is 12 hex digits of their hash.
    """
    return _sha256(json.dumps(facts).encode())


def probe(device: str = "cpu") -> dict[str, str]:
    """Return a dict from the name of a small computation to 12 hex digits of a hash of its result.

    The bits of these results may differ between machines.
    """
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
    hashes = {name: _sha256(value.contiguous().cpu().numpy().tobytes()) for name, value in results.items()}
    resized = photograph.resize((32, 32), Image.Resampling.BILINEAR)
    return hashes | {"resize": _sha256(resized.tobytes())}


def _sha256(data: bytes, digits: int = 12) -> str:
    return hashlib.sha256(data).hexdigest()[:digits]


def generator_for(seed: int, *names: int | str) -> Any:
    """Return a random generator that depends only on the seed and the names.

    A random number can thus belong to an image or a parameter, independently of the order in which numbers are
    drawn. NumPy's generators use integer arithmetic, so they give equal bits on all processors; torch's do not.

    Args:
        seed: an integer that is not negative.
        names: integers that are not negative, or strings, of which the first 64 bits of the sha256 are used.

    Returns:
        A `numpy.random.Generator` with PCG64; annotated as Any, since NumPy is not imported here.

    Examples:
        >>> generator_for(0, "split", "a.png").random() == generator_for(0, "split", "a.png").random()
        True
        >>> generator_for(0, "split", "a.png").random() == generator_for(0, "split", "b.png").random()
        False
    """
    # Imported here, since --help needs no NumPy.
    import numpy as np

    integers = [int(_sha256(n.encode(), 16), 16) if isinstance(n, str) else n for n in names]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *integers])))
