"""Forward hooks on chosen modules, which pass on each output with its module, call number and batch size."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import nn

from in4310repro.features.tensors import HINT, ImageCounter, check_count, check_output, count_images

ModuleChoice = Sequence[str] | re.Pattern[str] | Literal["leaves"]
Hook = Callable[[nn.Module, tuple[object, ...], object], None]
# (module name, how many times it ran before in this forward pass, batch size of the model's input, output)
Consumer = Callable[[str, int, int | None, object], None]


class LeaveOut:
    """Modules and parts of outputs that are excluded, given as names like `pool[1]` or as a compiled pattern.

    Raises:
        ValueError: a bare string was given instead of a list.
    """

    def __init__(self, names: Sequence[str] | re.Pattern[str]) -> None:
        if isinstance(names, str):
            raise ValueError(f"leave_out is {names!r}; give a list of names or a compiled pattern")
        self._names = names if isinstance(names, re.Pattern) else tuple(names)

    def __bool__(self) -> bool:
        return isinstance(self._names, re.Pattern) or bool(self._names)

    def includes(self, title: str) -> bool:
        """Return whether the module or output part named `title` is excluded.

        The name of an excluded module also excludes everything inside it. A pattern must match the whole of `title`.
        """
        if isinstance(self._names, re.Pattern):
            return bool(self._names.fullmatch(title))
        return any(_is_inside(title, name) for name in self._names)

    def drop_modules(self, modules: dict[str, nn.Module]) -> None:
        """Remove from `modules` the modules that are excluded as a whole, not only in parts of their output.

        Raises:
            ValueError: no module remains, or a name is neither a module nor a part of a module's output.
        """
        for left_out in () if isinstance(self._names, re.Pattern) else self._names:
            if not any(_is_inside(name, left_out) or _is_inside(left_out, name) for name in modules):
                raise ValueError(f"leave_out names {left_out!r}; the modules are {sorted(modules)}")
        for name in filter(self.includes, [*modules]):
            del modules[name]
        if not modules:
            raise ValueError(f"leave_out is {self.describe()}; no module is left")

    def describe(self) -> str | list[str]:
        """Return the pattern or the sorted names that are excluded."""
        return self._names.pattern if isinstance(self._names, re.Pattern) else sorted(self._names)


def _is_inside(name: str, other: str) -> bool:
    return name == other or name.startswith((f"{other}[", f"{other}."))


def choose(model: nn.Module, modules: ModuleChoice) -> dict[str, nn.Module]:
    """Return the selected modules of a model, by name.

    `modules` is a list of names, a compiled pattern that must match the whole name, or "leaves" for the modules
    without children.

    Raises:
        ValueError: a name or pattern fits no module, a name is repeated, or a bare string or empty list is given.
    """
    named = dict(model.named_modules(remove_duplicate=False))
    if isinstance(modules, re.Pattern):
        if matching := {name: module for name, module in named.items() if modules.fullmatch(name)}:
            return matching
        raise ValueError(f"no module name matches {modules.pattern!r}; the model has {sorted(named)}")
    if isinstance(modules, str):
        if modules != "leaves":
            raise ValueError(f'modules is {modules!r}; give a list of names, a compiled pattern or "leaves"')
        return dict(_leaves(model))
    if missing := [name for name in modules if name not in named]:
        raise ValueError(f"no module named {missing}; the model has {sorted(named)}")
    if not modules or len({*modules}) < len(modules):
        raise ValueError(f"modules is {list(modules)}; give at least one name, each once")
    return {name: named[name] for name in modules}


def _leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield modules without children, with their names; do not descend into quantised modules."""
    within: str | None = None  # of a quantised module
    for name, module in model.named_modules():
        if within is not None and name.startswith(within):
            continue
        quantised = type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized"))
        within = f"{name}." if quantised and name else None
        if within or not any(module.children()):
            yield name, module


def check_calls_hooks(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Check that Python runs the modules, since modules inside a compiled program call no hooks.

    A traced model as a whole is accepted, since Python still calls it.

    Raises:
        ValueError: a module was scripted or exported, or is part of a program that was scripted, traced or
            exported.
    """
    for name, module in {"": model, **modules}.items():
        # Python calls a traced model itself, but not the modules inside it.
        kind = type(module)
        scripted = isinstance(module, torch.jit.ScriptModule) and kind.__name__ != "TopLevelTracedModule"
        if scripted or any(base.__module__.startswith("torch.export") for base in kind.__mro__):
            program = f"a program that torch.jit or torch.export made ({kind.__name__}), which calls no hooks"
            hint = "measure the model that it was made of" + (f", or leave_out={[name]}" if name else "")
            raise ValueError(f"module {name!r} is part of {program}; {hint}")


def is_compiled(model: nn.Module) -> bool:
    """Return whether the model or a part of it was compiled with torch.compile."""
    return any(hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in model.modules())


@dataclass
class _Held:
    """Mode that a module or a thread gets back after the last of the blocks that switched it off."""

    before: bool
    given: bool | None = None  # by the blocks; None until they have
    blocks: set[object] = field(default_factory=set)


# A module has the mode `training`, a thread that of recording gradients.
Owner = nn.Module | threading.Thread
_held: WeakKeyDictionary[Owner, _Held] = WeakKeyDictionary()


def _mode(owner: Owner) -> bool:
    return owner.training if isinstance(owner, nn.Module) else torch.is_grad_enabled()


def _keep_switch(owner: Owner, held: _Held) -> None:
    """Where the caller has switched the mode inside of the blocks, let it stay after them."""
    held.before = held.before if held.given in (None, _mode(owner)) else _mode(owner)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Run the `with` block in evaluation mode and without gradients, then restore the mode of each module.

    Blocks can overlap, on one model or on models that share modules, and end in any order. A module keeps evaluation
    mode until the last of them ends. It then has the mode from before the first, or the one that the caller has
    switched it to since.
    """
    owners: list[Owner] = [*model.modules(), threading.current_thread()]
    block = object()
    try:
        for owner in owners:
            held = _held.setdefault(owner, _Held(_mode(owner)))
            held.blocks.add(block)
            _keep_switch(owner, held)
        model.eval()
        torch.set_grad_enabled(False)
        for owner in owners:
            _held[owner].given = _mode(owner)
        yield
    finally:
        for owner in owners:
            of_owner = _held.get(owner, _Held(False))
            of_owner.blocks.discard(block)
            if of_owner.blocks or not _held.pop(owner, None):
                continue
            _keep_switch(owner, of_owner)
            if isinstance(owner, nn.Module):
                owner.training = of_owner.before
            else:
                torch.set_grad_enabled(of_owner.before)


@dataclass
class ForwardPass:
    """State of the model's current forward pass; the methods that change it are hooks."""

    count: ImageCounter | None = None  # of the caller; None: the rule of `count_images`
    batch_size: int | None = None  # images; None outside of a pass
    calls: Counter[str] = field(default_factory=Counter)  # of each module so far in the pass
    certain: bool = True  # the output of the model does not have to agree with the batch size
    running: bool = False
    # Each is set before what it says, and cleared after: an interrupt at any point leaves it set.
    changed: bool = False  # a result has images that it, or the results of other modules, may have in part
    failed: bool = False  # an output of this pass was not measured
    aborted: bool = False  # a pass, or a measurement outside of a pass, ended while `changed`

    def begin(self, model: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        """Record the number of images of a forward pass; called before the model runs."""
        if self.running:
            # After Ctrl-C, the hooks that end a forward pass are not called.
            began = "the model began a forward pass inside of another one, or after one that was interrupted"
            raise ValueError(f"{began}; images would count twice: measure a part that does not call itself, or anew")
        if self.count is not None:
            self.batch_size, self.certain = check_count(self.count(*args, **kwargs)), True
        elif getattr(model, "batch_first", True) is False:
            raise ValueError(f"batch_first of the model is False, and axis 0 of its input no images; {HINT}")
        else:
            self.batch_size, self.certain = count_images(args, kwargs)
        self.aborted |= self.changed
        self.failed, self.running = False, True

    def end(self, _module: nn.Module, _args: tuple[object, ...], output: object) -> None:
        """End a forward pass; called after the model has run.

        If the number of images is uncertain, check that the model's output is for the same number of images.
        """
        if self.batch_size is not None and not self.certain:
            check_output(self.batch_size, output)
        # The model can have caught the error of a hook.
        self.aborted |= self.failed
        self.changed = self.running = False

    def clean_up(self, *_: object) -> None:
        """Reset the state after a forward pass; called even after an error."""
        self.calls.clear()
        self.batch_size, self.running = None, False

    def module_hook(self, name: str, consume: Consumer) -> Hook:
        """Return a hook that passes a module's output to `consume`."""

        def consume_output(_module: nn.Module, _args: tuple[object, ...], output: object) -> None:
            call = self.calls[name]
            if self.running:
                self.calls[name] += 1
            else:
                self.aborted |= self.changed
            failed, self.failed = self.failed, True
            consume(name, call, self.batch_size, output)
            self.failed = failed
            if not self.running:
                self.changed = False

        # torch.compile would trace the statistics; disabled, they break its graph and stay exact.
        disable: Callable[[Hook], Hook] = torch.compiler.disable
        return disable(consume_output)


@contextmanager
def capture_outputs(
    model: nn.Module, modules: Mapping[str, nn.Module], consume: Consumer, forward: ForwardPass
) -> Iterator[None]:
    """Pass every output of the modules to `consume` while the `with` block runs, then remove all hooks.

    `consume` also gets the number of earlier calls of the module in the same forward pass of `model`. Outside of
    a forward pass this number is 0.
    """
    with ExitStack() as handles:
        handles.callback(model.register_forward_pre_hook(forward.begin, with_kwargs=True).remove)
        for name, module in modules.items():
            handles.callback(module.register_forward_hook(forward.module_hook(name, consume)).remove)
        handles.callback(model.register_forward_hook(forward.end).remove)
        handles.callback(model.register_forward_hook(forward.clean_up, always_call=True).remove)
        yield
