"""Hooks of a model's modules, and models in which hooks would not see what is computed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from in4310repro.trace.records import BACKWARD, FORWARD


class Hook:
    """A hook of one module. A copy of the model, as averages of weights make, gets hooks that do nothing.

    Args:
        module: the module.
        record: the function that gets what a hook gets behind the module.
    """

    def __init__(self, module: nn.Module, record: Callable[..., None]) -> None:
        self._module, self._record = module, record

    def __call__(self, module: nn.Module, *arguments: object) -> None:
        """Record, if the hook is called by its module."""
        # A compiler that follows the code would record tensors without values.
        if module is self._module and not torch.compiler.is_compiling():
            self._record(*arguments)

    def __reduce__(self) -> tuple[type[IdleHook], tuple[()]]:
        return IdleHook, ()


class IdleHook:
    """A hook that does nothing."""

    def __call__(self, *_: object) -> None:
        """Return at once."""


def refuse(model: nn.Module) -> None:
    """Check that hooks see what a model computes.

    Raises:
        ValueError: the model or one of its modules is compiled, scripted, or copied to several GPUs by DataParallel.
    """
    for name, module in model.named_modules():
        where = f"module {name!r} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ValueError(f"{where} copies itself to {len(module.device_ids)} GPUs; trace the model on one of them")
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{where} is scripted, and calls no hooks; trace the model that it was made of")
        if hasattr(module, "_orig_mod") or module._compiled_call_impl is not None:
            raise ValueError(
                f"{where} is compiled, and calls no hooks; trace it before torch.compile, or modules=False"
            )


def current_phase() -> str:
    """Return the phase of a module's call: checkpointing computes maps again inside of a backward pass."""
    return BACKWARD if torch._C._current_graph_task_id() != -1 else FORWARD
