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
from torch import Tensor, nn

from in4310repro.features.outputs import HINT, Args, ImageCounter, count_images, iterate_values

QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
Names = Sequence[str] | re.Pattern[str]
Modules = Mapping[str, nn.Module]
ModuleChoice = Names | Literal["leaves"]
Hook = Callable[[nn.Module, Args, object], None]
# (module name, how many times it ran before in this forward pass, batch size of the model's input, output)
Consumer = Callable[[str, int, int | None, object], None]


def is_left_out(title: str, names: Names) -> bool:
    """Return whether names like `pool[1]`, or a pattern for whole titles, leave out the module or output `title`.

    The name of a module also leaves out everything inside it.
    """
    if isinstance(names, re.Pattern):
        return bool(names.fullmatch(title))
    return any(_is_inside(title, name) for name in names)


def leave_out_modules(modules: Modules, names: Names) -> Modules:
    """Return the modules that `names` do not leave out as a whole; they may leave out parts of their output.

    Raises:
        ValueError: no module remains, or a name is neither a module nor a part of a module's output.
    """
    for name in () if isinstance(names, re.Pattern) else names:
        if not any(_is_inside(each, name) or _is_inside(name, each) for each in modules):
            raise ValueError(f"leave_out names {name!r}; the modules are {sorted(modules)}")
    if kept := {name: module for name, module in modules.items() if not is_left_out(name, names)}:
        return kept
    raise ValueError(f"leave_out is {names}; no module is left")


def _is_inside(name: str, other: str) -> bool:
    return name == other or name.startswith((f"{other}[", f"{other}."))


def choose(model: nn.Module, modules: ModuleChoice) -> Modules:
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
        leaves, within = dict[str, nn.Module](), ""  # of a quantised module, whose insides are none
        for name, module in model.named_modules():
            if not within or not name.startswith(within):
                quantised = type(module).__module__.startswith(QUANTISED)
                within = f"{name}." if quantised and name else ""
                if within or not any(module.children()):
                    leaves[name] = module
        return leaves
    if missing := [name for name in modules if name not in named]:
        raise ValueError(f"no module named {missing}; the model has {sorted(named)}")
    if not modules or len({*modules}) < len(modules):
        raise ValueError(f"modules is {list(modules)}; give at least one name, each once")
    return {name: named[name] for name in modules}


def check_calls_hooks(model: nn.Module, modules: Modules) -> None:
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
            raise ValueError(
                f"module {name!r} is part of a program that torch.jit or torch.export made ({kind.__name__}), which "
                f"calls no hooks; measure the model that it was made of{f', or leave_out={[name]}' if name else ''}"
            )


def is_compiled(model: nn.Module) -> bool:
    """Return whether the model or a part of it was compiled with torch.compile."""
    return any(hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in model.modules())


# A module has the mode `training`, a thread that of recording gradients.
Owner = nn.Module | threading.Thread
# The open blocks of an owner, with the modes that it had before them or that the caller has switched it to since.
_held: WeakKeyDictionary[Owner, set[object]] = WeakKeyDictionary()


def _mode(owner: Owner) -> bool:
    return owner.training if isinstance(owner, nn.Module) else torch.is_grad_enabled()


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
            _held.setdefault(owner, set()).update((block, _mode(owner)))
        model.eval()
        torch.set_grad_enabled(False)
        yield
    finally:
        for owner in owners:
            held = _held.get(owner, set())
            held.add(_mode(owner))
            held.discard(block)
            if held <= {False, True}:
                _held.pop(owner, None)
                if isinstance(owner, nn.Module):
                    owner.training = True in held
                else:
                    torch.set_grad_enabled(True in held)


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

    def begin(self, model: nn.Module, args: Args, kwargs: dict[str, object]) -> None:
        """Record the number of images of a forward pass; called before the model runs."""
        if self.running:
            # After Ctrl-C, the hooks that end a forward pass are not called.
            raise ValueError(
                "the model began a forward pass inside of another one, or after one that was interrupted; images would "
                "count twice: measure a part that does not call itself, or anew"
            )
        if self.count is not None:
            count: object = self.count(*args, **kwargs)
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise ValueError(f"count_images gave {count!r}; it has to give the number of images, an int from 0")
            self.batch_size, self.certain = count, True
        elif getattr(model, "batch_first", True) is False:
            raise ValueError(f"batch_first of the model is False, and axis 0 of its input no images; {HINT}")
        else:
            self.batch_size, self.certain = count_images(args, kwargs)
        self.aborted |= self.changed
        self.failed, self.running = False, True

    def end(self, _module: nn.Module, _args: Args, output: object) -> None:
        """End a forward pass; called after the model has run.

        Raises:
            ValueError: the number of images is from a nested input, and the output is neither a list of as many
                entries nor has a tensor with as many rows.
        """
        if self.batch_size is not None and not self.certain:
            parts = [value for *_, value in iterate_values(output) if isinstance(value, Tensor) and value.dim()]
            numbers = {int(part.size(0)) for part in parts}
            numbers |= {len(output)} if isinstance(output, list | tuple) else set()
            if self.batch_size not in numbers:
                raise ValueError(
                    f"an input looks like {self.batch_size} images, and its output like {sorted(numbers)}; {HINT}"
                )
        # The model can have caught the error of a hook.
        self.aborted |= self.failed
        self.changed = self.running = False

    def clean_up(self, *_: object) -> None:
        """Reset the state after a forward pass; called even after an error."""
        self.calls.clear()
        self.batch_size, self.running = None, False

    def module_hook(self, name: str, consume: Consumer) -> Hook:
        """Return a hook that passes a module's output to `consume`."""

        def consume_output(_module: nn.Module, _args: Args, output: object) -> None:
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
        disabled: Hook = torch._disable_dynamo(consume_output)  # type: ignore[attr-defined]

        def consume_or_leave(module: nn.Module, args: Args, output: object) -> None:
            # Only there, since what is disabled imports torch.compile's package, which takes more than a second.
            (disabled if torch.compiler.is_compiling() else consume_output)(module, args, output)

        return consume_or_leave


@contextmanager
def capture_outputs(model: nn.Module, modules: Modules, consume: Consumer, forward: ForwardPass) -> Iterator[None]:
    """Pass every output of the modules to `consume` while the `with` block runs, then remove all hooks.

    `consume` also gets the number of earlier calls of the module in the same forward pass of `model`. Outside of
    a forward pass this number is 0.
    """
    with ExitStack() as handles:
        handles.enter_context(model.register_forward_pre_hook(forward.begin, with_kwargs=True))
        for name, module in modules.items():
            handles.enter_context(module.register_forward_hook(forward.module_hook(name, consume)))
        handles.enter_context(model.register_forward_hook(forward.end))
        handles.enter_context(model.register_forward_hook(forward.clean_up, always_call=True))
        yield
