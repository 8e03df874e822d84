"""Changes of how a training is computed: worker processes, threads, algorithms of torch, and the content of new memory.

Each function of `COMPUTED` replaces functions or sets something in torch for the rest of this process, which `worker`
starts for one run.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import functools
import inspect
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import pool
from typing import TYPE_CHECKING, Any

from in4310repro.trace.notes import Notes
from in4310repro.trace.processes import NotApplicableError

if TYPE_CHECKING:
    from in4310repro.trace.program import Program

PATTERN = 165
M_PERTURB = -6  # parameter of mallopt, from malloc.h
LONGEST_JOIN = 10.0  # seconds
Call = Callable[..., Any]
Change = Callable[["Program", Any, Call], Call]


def change_workers(notes: Notes) -> None:
    """Give each DataLoader a different number of workers: two if it has fewer than two, otherwise one."""
    _change_loaders(notes, lambda asked: {**asked, "num_workers": 2 if asked["num_workers"] < 2 else 1})


def _change_loaders(notes: Notes, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    from torch.utils.data import DataLoader

    original = DataLoader.__init__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def other(*arguments: Any, **options: Any) -> None:
        notes.add("a DataLoader is made")
        bound = signature.bind(*arguments, **options)
        bound.apply_defaults()
        loader = bound.arguments.pop("self")
        original(loader, **change(bound.arguments))

    DataLoader.__init__ = other  # type: ignore[method-assign]


def order_results(notes: Notes) -> None:
    """Make process pools, futures and DataLoaders return results in the order of submission."""

    def imap(self: Any, *arguments: Any, **options: Any) -> Any:
        notes.add("results are taken in the order in which they end")
        return self.imap(*arguments, **options)

    def as_completed(fs: Iterable[Any], timeout: float | None = None) -> Iterator[Any]:
        notes.add("results are taken in the order in which they end")
        for each in list(fs):
            with contextlib.suppress(Exception):
                each.result(timeout)
            yield each

    pool.Pool.imap_unordered = imap  # type: ignore[method-assign]
    concurrent.futures.as_completed = as_completed
    _change_loaders(notes, lambda asked: {**asked, "in_order": True})


def use_one_thread(notes: Notes) -> None:
    """Limit torch to one thread, and make Python's threads run one after another."""
    import torch

    torch.set_num_threads(1)
    start = threading.Thread.start

    def start_and_wait(self: threading.Thread) -> None:
        notes.add("threads are started")
        start(self)
        if not self.daemon:
            self.join(LONGEST_JOIN)

    def run_now(
        _: Any, function: Callable[..., Any], /, *arguments: Any, **options: Any
    ) -> concurrent.futures.Future[Any]:
        notes.add("threads are started")
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            done.set_result(function(*arguments, **options))
        except Exception as error:
            done.set_exception(error)
        return done

    threading.Thread.start = start_and_wait  # type: ignore[method-assign]
    concurrent.futures.ThreadPoolExecutor.submit = run_now  # type: ignore[method-assign]


def be_deterministic(_: Notes) -> None:
    """Make torch use deterministic algorithms where it has them."""
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def fill_tensors(notes: Notes) -> None:
    """Make torch use deterministic algorithms, and fill uninitialised tensors with a known value."""
    import torch

    be_deterministic(notes)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]


def fill_memory(_: Notes) -> None:
    """Make the C library of Linux fill allocated memory with a pattern, as MALLOC_PERTURB_ does."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.mallopt(M_PERTURB, PATTERN)
    # Small pieces that wait in the cache of this thread were freed unfilled, seven of each size.
    for place in [library.malloc(size) for size in range(16, 1040, 16) for _ in range(7)]:
        library.free(place)


def allow_tf32(_: Notes) -> None:
    """Allow TF32 in matrix products and convolutions on an NVIDIA GPU."""
    import torch

    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.fp32_precision = "tf32"


def set_threads(threads: int) -> None:
    """Set torch's number of threads; for one thread, also bind the process to a single processor."""
    import torch

    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(threads)


COMPUTED: dict[str, Callable[[Notes], None]] = {
    "other workers": change_workers,
    "ordered results": order_results,
    "one thread": use_one_thread,
    "deterministic algorithms": be_deterministic,
    "filled tensors": fill_tensors,
    "filled memory": fill_memory,
    "TF32": allow_tf32,
}


def change_calls(program: Program, change: Change) -> None:
    """Change how a training calls its outermost trained module until the process ends.

    Args:
        program: the recorder of the training.
        change: gets the recorder, the module and a function that calls it, and returns the function to call.
    """
    import torch

    call, changed = torch.nn.Module.__call__, {}

    def other(module: Any, *args: Any, **options: Any) -> Any:
        outermost = not program.depth and torch.is_grad_enabled()
        if not outermost or not any(each.requires_grad for each in module.parameters()):
            return call(module, *args, **options)
        if id(module) not in changed:
            changed[id(module)] = change(program, module, functools.partial(call, module))
        return changed[id(module)](*args, **options)

    torch.nn.Module.__call__ = other  # type: ignore[method-assign]


def _use_channels_last(_: Program, module: Any, call: Call) -> Call:
    import torch

    if not any(each.ndim == 4 for each in module.parameters()):
        raise NotApplicableError("no parameter has four axes")
    module.to(memory_format=torch.channels_last)

    def turned(values: Any) -> Any:
        is_map = isinstance(values, torch.Tensor) and values.ndim == 4
        return values.contiguous(memory_format=torch.channels_last) if is_map else values

    return lambda *args, **options: call(*map(turned, args), **options)


def _use_portable_arithmetic(_: Program, module: Any, call: Call) -> Call:
    try:
        from in4310repro.arithmetic import portable

        portable(module)
    except (ValueError, ImportError) as error:
        raise NotApplicableError(str(error)) from None
    return call


def _compile(_: Program, module: Any, _call: Call) -> Call:
    import torch

    # What it calls is no longer the outermost call.
    return torch.compile(type(module).forward.__get__(module))


def _rows(args: Iterable[Any]) -> int:
    """Return half the number of images of a batch."""
    import torch

    count = next((len(each) for each in args if isinstance(each, torch.Tensor) and each.ndim), 0)
    if count < 2:
        raise NotApplicableError("a batch of one image has no half")
    return count // 2


def _record_first_half(program: Program, _module: Any, call: Call) -> Call:
    def called(*args: Any, **options: Any) -> Any:
        program.rows = _rows((*args, *options.values()))
        return call(*args, **options)

    return called


def _compute_half(program: Program, module: Any, call: Call) -> Call:
    """Record the forward pass of half of the batch, then compute the whole batch as if nothing had happened."""
    import torch

    def called(*args: Any, **options: Any) -> Any:
        rows = _rows((*args, *options.values()))

        def half(values: Any) -> Any:
            return values[:rows] if isinstance(values, torch.Tensor) and len(values) // 2 == rows else values

        buffers, state = [each.clone() for each in module.buffers()], torch.get_rng_state()
        call(*map(half, args), **{name: half(each) for name, each in options.items()})
        with torch.no_grad():
            for each, before in zip(module.buffers(), buffers, strict=True):
                each.copy_(before)
        torch.set_rng_state(state)
        with program.paused():
            return call(*args, **options)

    return called


CALLED: dict[str, Change] = {
    "memory format": _use_channels_last,
    "portable arithmetic": _use_portable_arithmetic,
    "compile": _compile,
    "first half": _record_first_half,
    "half a batch": _compute_half,
}
