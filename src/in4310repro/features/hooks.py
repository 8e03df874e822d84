"""Forward hooks that leave no trace: which modules, which call, which tensors of the output."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

ModuleChoice = Sequence[str] | re.Pattern[str] | Literal["leaves"]
Hook = Callable[[nn.Module, tuple[Any, ...], object], None]
# (module name, how many times it ran before in this forward pass, batch size of the model's input, output)
Consumer = Callable[[str, int, int | None, object], None]


def choose(model: nn.Module, modules: ModuleChoice) -> dict[str, nn.Module]:
    """Modules by name: a list of exact names, a compiled pattern for whole names, or "leaves".

    Raises:
        ValueError: a name or pattern that fits no module, a bare string, an empty list or a repeated name.
    """
    named = dict(model.named_modules(remove_duplicate=False))
    if isinstance(modules, re.Pattern):
        chosen = {name: module for name, module in named.items() if modules.fullmatch(name)}
        if not chosen:
            raise ValueError(f"no module name matches {modules.pattern!r}; the model has {sorted(named)}")
        return chosen
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


def tensors(output: object, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor inside nested tuples, lists and mappings, each with its path: "", "[0]", "[hidden][1]"."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from tensors(value, f"{path}[{key}]")
    elif isinstance(output, tuple | list):
        for position, value in enumerate(output):
            yield from tensors(value, f"{path}[{position}]")


@contextmanager
def measuring(model: nn.Module) -> Iterator[None]:
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
class Passes:
    """Where the model is: in a forward pass, outside, or out of one that ended in an error."""

    images: int | None = None  # of the pass; None outside, and where no input is a tensor
    calls: Counter[str] = field(default_factory=Counter)  # of each module in the pass
    inside: bool = False
    taken: bool = False  # a module has measured the images of the pass
    torn: bool = False  # so it had, and then an error came


@contextmanager
def capture(model: nn.Module, modules: Mapping[str, nn.Module], consume: Consumer, passes: Passes) -> Iterator[None]:
    """Hand each output of the modules to `consume`, inside the hook; remove every hook on the way out.

    The call number starts again at 0 with each forward pass of `model`; outside of one it is 0.
    """

    def begin(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        passes.calls.clear()
        passes.images = next((int(t.shape[0]) for _, t in tensors((args, kwargs)) if t.ndim), None)
        passes.inside, passes.taken = True, False

    def end(*_: object) -> None:
        passes.inside = False

    def after(*_: object) -> None:
        # Also after an error, which has kept `end` from running.
        passes.torn |= passes.inside and passes.taken
        passes.calls.clear()
        passes.images, passes.inside = None, False

    def hook(name: str) -> Hook:
        def consumed(_module: nn.Module, _args: tuple[Any, ...], output: object) -> None:
            call = passes.calls[name]
            if passes.inside:
                passes.calls[name] += 1
            consume(name, call, passes.images, output)
            passes.taken = True

        # torch.compile would trace the statistics; disabled, they break its graph and stay exact.
        disable: Callable[[Hook], Hook] = torch.compiler.disable
        return disable(consumed)

    with ExitStack() as placed:
        placed.callback(model.register_forward_pre_hook(begin, with_kwargs=True).remove)
        for name, module in modules.items():
            placed.callback(module.register_forward_hook(hook(name)).remove)
        placed.callback(model.register_forward_hook(end).remove)
        placed.callback(model.register_forward_hook(after, always_call=True).remove)
        yield
