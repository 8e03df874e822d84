"""Reasons why a network cannot run in portable arithmetic: unsupported modules or operations between modules."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from in4310repro import arithmetic
from in4310repro.models.building import construct
from in4310repro.models.modules import pass_one
from in4310repro.models.sources import Source

# What a network may compute between its modules in portable arithmetic: nothing that adds in an order of torch's.
# fmt: off
EQUAL_EVERYWHERE = frozenset({
    "_to_copy", "_unsafe_view", "add", "add_", "alias", "as_strided", "cat", "chunk", "clone", "constant_pad_nd",
    "contiguous", "copy_", "detach", "empty", "empty_like", "empty_strided", "fill_", "flatten", "hardtanh",
    "hardtanh_", "lift_fresh", "narrow", "ones", "pad", "permute", "relu", "relu_", "reshape", "resolve_neg", "select",
    "set_", "slice", "split", "squeeze", "stack", "t", "to", "transpose", "unbind", "unsqueeze", "view", "zero_",
    "zeros", "zeros_like",
})
# fmt: on


@functools.lru_cache(maxsize=1000)
def obstacle(network: Source, side: int) -> str:
    """Return a clause that explains why a network cannot run in portable arithmetic; empty if it can.

    Every module needs a kernel, and what the network computes between modules must have the same bits everywhere.
    The five ResNets are known to fulfil this. Results are cached, since the command line and a training both need
    them.

    Raises:
        ValueError: the network does not exist.
    """
    if network.is_resnet:
        return ""
    # Any number of classes will do.
    model = construct(network, 10)
    if any(value.is_meta for value in model.state_dict().values()):
        model = model.to_empty(device="cpu")
        for value in model.state_dict().values():
            value.zero_()
    reasons = arithmetic.refused_modules(model)
    reasons += [
        f"{key} (dropout, which draws from torch's generator)"
        for key, module in model.named_modules()
        if isinstance(module, nn.Dropout) and module.p > 0
    ]
    if reasons:
        return f"{'; '.join(reasons[:3])}{f' and {len(reasons) - 3} more' if len(reasons) > 3 else ''}"
    with _operations() as seen:
        pass_one(arithmetic.portable(model), network.name, side)
    foreign = sorted(seen - EQUAL_EVERYWHERE)
    return f"its forward() calls {', '.join(foreign)}, whose bits are torch's" if foreign else ""


@contextlib.contextmanager
def _operations() -> Iterator[set[str]]:
    """Yield a set that collects the names of the torch operations that run in the block."""
    seen: set[str] = set()

    class Listen(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
            shapes = {value.shape for value in arguments if isinstance(value, Tensor)}
            name = function.overloadpacket.__name__
            # Its gradient is a sum, in an order of torch's.
            seen.add(f"{name} of two shapes" if name in ("add", "add_") and len(shapes) > 1 else name)
            return function(*arguments, **(keywords or {}))

    with Listen():  # type: ignore[no-untyped-call]
        yield seen
