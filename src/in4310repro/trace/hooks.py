"""Hooks of a model's modules, and models in which hooks would not see what is computed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from in4310repro.trace.records import BACKWARD, FORWARD


class Hook:
    """Hook of one module; in a copy of the model, as weight averaging makes, it becomes an `IdleHook`.

    Args:
        module: the module.
        record: the function called with the hook's arguments, except the module.
    """

    def __init__(self, module: nn.Module, record: Callable[..., None]) -> None:
        self._module, self._record = module, record

    def __call__(self, module: nn.Module, *arguments: object) -> None:
        """Call `record` with the arguments, if `module` is the hooked module and is not being compiled."""
        # A compiler that follows the code would record tensors without values.
        if module is self._module and not torch.compiler.is_compiling():
            self._record(*arguments)

    def __reduce__(self) -> tuple[type[IdleHook], tuple[()]]:
        return IdleHook, ()


class IdleHook:
    """A hook that does nothing."""

    def __call__(self, *_: object) -> None:
        """Do nothing."""


def refuse(model: nn.Module) -> None:
    """Raise ValueError if hooks would not see what the model computes.

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
    """Return BACKWARD during a backward pass, otherwise FORWARD.

    A module call that activation checkpointing repeats during a backward pass thus counts as BACKWARD.
    """
    return BACKWARD if torch._C._current_graph_task_id() != -1 else FORWARD
