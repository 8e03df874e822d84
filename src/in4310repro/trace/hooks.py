"""Hooks of torch for all modules and optimizers, which leave nothing in a model: it can be copied and saved."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from os import getpid
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

from in4310repro.trace.records import BACKWARD, FORWARD

if TYPE_CHECKING:
    from in4310repro.trace.recorder import Recorder


def observe(observer: Recorder, *, calls: bool = True) -> ExitStack:
    """Return a context in which an observer is told of all calls of modules (if `calls`) and steps of optimizers.

    Modules inside of a compiled or scripted one call no hooks, and calls in a forked process are not told.
    """
    stack = ExitStack()
    if calls:
        _observe_calls(observer, stack)

    def before_step(optimizer: torch.optim.Optimizer, *_: object) -> None:
        if id(optimizer) not in observer.stepping:
            observer.before_step(optimizer)
        observer.stepping.append(id(optimizer))

    def after_step(optimizer: torch.optim.Optimizer, *_: object) -> None:
        if id(optimizer) in observer.stepping:
            observer.stepping.remove(id(optimizer))
        if id(optimizer) not in observer.stepping:
            observer.after_step(optimizer)

    stack.callback(optimizers.register_optimizer_step_pre_hook(before_step).remove)
    stack.callback(optimizers.register_optimizer_step_post_hook(after_step).remove)
    return stack


def _observe_calls(observer: Recorder, stack: ExitStack) -> None:
    process = getpid()

    def before(module: nn.Module, args: tuple[object, ...]) -> None:
        # While a compiler follows the code, tensors have no values.
        if not torch.compiler.is_compiling() and getpid() == process:
            # Hooks for all modules do not get the arguments by name; the caller has them.
            observer.before_call(module, args, sys._getframe(1).f_locals.get("kwargs") or {})

    def after(module: nn.Module, _args: object, output: object) -> None:
        if not torch.compiler.is_compiling() and getpid() == process:
            observer.after_call(module, output)

    # It says that hooks are called for the compiled module too, as they should be.
    warnings.filterwarnings("ignore", message=r"Using `torch\.compile\(module\)` when there are global hooks")
    stack.callback(modules.register_module_forward_pre_hook(before).remove)
    stack.callback(modules.register_module_forward_hook(after).remove)


def refuse(model: nn.Module) -> None:
    """Raise ValueError if hooks would not see what the model computes.

    Raises:
        ValueError: the model is compiled or scripted as a whole, or copied to several GPUs by DataParallel.
    """
    if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
        raise ValueError(f"the model (DataParallel) copies itself to {len(model.device_ids)} GPUs; trace it on one")
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            f"the model ({type(model).__name__}) is scripted, and calls no hooks; trace what it was made of"
        )


def current_phase() -> str:
    """Return BACKWARD during a backward pass, otherwise FORWARD.

    A module call that activation checkpointing repeats during a backward pass thus counts as BACKWARD.
    """
    return BACKWARD if torch._C._current_graph_task_id() != -1 else FORWARD
