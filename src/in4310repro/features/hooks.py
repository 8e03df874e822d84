"""Forward hooks on chosen modules, removed afterwards: each output with its module, call and batch size."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

ModuleChoice = Sequence[str] | re.Pattern[str] | Literal["leaves"]
Hook = Callable[[nn.Module, tuple[object, ...], object], None]
# (module name, how many times it ran before in this forward pass, batch size of the model's input, output)
Consumer = Callable[[str, int, int | None, object], None]


def choose(model: nn.Module, modules: ModuleChoice) -> dict[str, nn.Module]:
    """Modules by name: a list of exact names, a compiled pattern for whole names, or "leaves".

    Raises:
        ValueError: a name or pattern that fits no module, a bare string, an empty list or a repeated name.
    """
    named = dict(model.named_modules(remove_duplicate=False))
    if isinstance(modules, re.Pattern):
        matching = {name: module for name, module in named.items() if modules.fullmatch(name)}
        if not matching:
            raise ValueError(f"no module name matches {modules.pattern!r}; the model has {sorted(named)}")
        return matching
    if isinstance(modules, str):
        if modules != "leaves":
            raise ValueError(f'modules is {modules!r}; give a list of names, a compiled pattern or "leaves"')
        return {name: module for name, module in model.named_modules() if not any(module.children())}
    modules = list(modules)
    missing = [name for name in modules if name not in named]
    if missing:
        raise ValueError(f"no module named {missing}; the model has {sorted(named)}")
    repeated = [name for name, times in Counter(modules).items() if times > 1]
    if repeated or not modules:
        raise ValueError(f"modules is {list(modules)}; give at least one name, each once")
    return {name: named[name] for name in modules}


def iterate_tensors(output: object, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor inside nested tuples, lists and mappings, each with its path: "", "[0]", "[hidden][1]"."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from iterate_tensors(value, f"{path}[{key}]")
    elif isinstance(output, tuple | list):
        for position, value in enumerate(output):
            yield from iterate_tensors(value, f"{path}[{position}]")


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module's mode is what it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@dataclass
class ForwardPass:
    """State of the model's current forward pass; only its methods, which are hooks, write it; others read `aborted`."""

    batch_size: int | None = None  # images; None outside of a pass, and where no input is a tensor
    calls: Counter[str] = field(default_factory=Counter)  # of each module so far in the pass
    running: bool = False
    measured: bool = False  # at least one module has measured the images of the pass
    aborted: bool = False  # a pass ended in an error after a module had measured its images

    def begin(self, _module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        """Before the model's forward."""
        self.calls.clear()
        self.batch_size = next((int(t.shape[0]) for _, t in iterate_tensors((args, kwargs)) if t.ndim), None)
        self.running, self.measured = True, False

    def end(self, *_: object) -> None:
        """After the model's forward, unless it raised."""
        self.running = False

    def clean_up(self, *_: object) -> None:
        """After `end`, or after an error that has skipped it."""
        self.aborted |= self.running and self.measured
        self.calls.clear()
        self.batch_size, self.running = None, False

    def module_hook(self, name: str, consume: Consumer) -> Hook:
        """The hook that passes a module's output on to `consume`."""

        def consume_output(_module: nn.Module, _args: tuple[object, ...], output: object) -> None:
            call = self.calls[name]
            if self.running:
                self.calls[name] += 1
            consume(name, call, self.batch_size, output)
            self.measured = True

        # torch.compile would trace the statistics; disabled, they break its graph and stay exact.
        disable: Callable[[Hook], Hook] = torch.compiler.disable
        return disable(consume_output)


@contextmanager
def capture_outputs(
    model: nn.Module, modules: Mapping[str, nn.Module], consume: Consumer, forward: ForwardPass
) -> Iterator[None]:
    """Call `consume` with each output of the modules, inside the hook; remove every hook on leaving the block.

    The call number starts again at 0 with each forward pass of `model`; outside of one it is 0.
    """
    with ExitStack() as handles:
        handles.callback(model.register_forward_pre_hook(forward.begin, with_kwargs=True).remove)
        for name, module in modules.items():
            handles.callback(module.register_forward_hook(forward.module_hook(name, consume)).remove)
        handles.callback(model.register_forward_hook(forward.end).remove)
        handles.callback(model.register_forward_hook(forward.clean_up, always_call=True).remove)
        yield
