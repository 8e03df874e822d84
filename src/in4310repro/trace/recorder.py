"""Recording of a training's steps: inputs, maps, gradients, parameters and optimizer state."""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from in4310repro.trace.environment import environment
from in4310repro.trace.hooks import Hook, current_phase, refuse
from in4310repro.trace.recording import Layouts, Recorded, Recording
from in4310repro.trace.records import DATA, UPDATE, Step, Writer, printable
from in4310repro.trace.tensors import (
    batch_tensors,
    generator_states,
    iterate_arguments,
    iterate_tensors,
    plain_options,
    state_tensors,
)
from in4310repro.trace.values import KeptValues

Keep = Mapping[str, Any]


class Trace:
    """Recorder of training steps, for any model, optimizer and training loop.

    Each call of a module is recorded: `fc.output`, then `fc.output@2`. Gradients are recorded as they are
    computed: `fc.weight.grad` is the gradient accumulated after one backward pass, `fc.weight.grad@2` after a
    second one. Maps that checkpointing recomputes are recorded again. A write through `.data` to a tensor between
    two modules shows only in the output of the second module.

    If the file can no longer be written, as on a full disk, recording stops with a warning; the training goes on.

    Args:
        model: the model.
        optimizer: the optimizer, or several; None: parameters and buffers are the only state.
        path: the file to write; an existing file is replaced.
        steps: numbers of the steps to record; None: all.
        every: record each step whose number is a multiple of this.
        keep: tensors whose values are written beside the trace, for `diff --values`, as
            `{"step": NUMBER, "tensors": [NAME, ...]}` or a list of such entries.
        modules: False, as a compiled model needs, records only the inputs of a step, its losses, parameter
            gradients and state, but no inputs and outputs of modules.
        rows: number of images of each batch that are recorded in the forward pass; None: all.

    Raises:
        OSError: the file cannot be written when the trace begins.
        ValueError: an argument is not valid, or the model is compiled, scripted, or copied to several GPUs by
            DataParallel.

    Examples:
        >>> import tempfile
        >>> from torch import nn
        >>> model = nn.Linear(4, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> file = Path(tempfile.mkdtemp()) / "a.trace"
        >>> with Trace(model, optimizer, file) as trace:
        ...     for images in torch.ones(3, 8, 4):
        ...         with trace.step(images=images) as step:
        ...             loss = model(images).square().mean()
        ...             optimizer.zero_grad(); loss.backward(); optimizer.step()
        ...             step.record(loss=loss)
        >>> from in4310repro.trace import read_trace
        >>> [event.tensor.name for event in read_trace(file).steps[0].events][-6:]
        ['loss', 'model.output.grad', 'bias.grad', 'weight.grad', 'weight', 'bias']
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None,
        path: Path | str,
        *,
        steps: Collection[int] | None = None,
        every: int = 1,
        keep: Keep | Sequence[Keep] = (),
        modules: bool = True,
        rows: int | None = None,
    ) -> None:
        if every < 1 or (rows is not None and rows < 1):
            raise ValueError(f"every is {every} and rows {rows}; both must be at least 1")
        if modules:
            refuse(model)
        # torch.compile wraps a model, and puts a word in front of all of its names.
        self.model, self.path = getattr(model, "_orig_mod", model), Path(path)
        self._optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer or ())
        for each in self._optimizers:
            if not isinstance(each, torch.optim.Optimizer):
                raise ValueError(
                    f"optimizer is {type(each).__name__}; it must be a torch.optim.Optimizer, several or None"
                )
        self._steps, self._every, self._rows, self._with_modules = steps, every, rows, modules
        kept = [keep] if isinstance(keep, Mapping) else list(keep)
        self._kept = KeptValues(self.path, kept)
        for number in [each["step"] for each in kept]:
            if not self._is_wanted(number):
                raise ValueError(f"keep names step {number}, which is not recorded: steps is {steps}, every {every}")
        self._number, self._last_recorded = -1, -2
        self._current: Recording | None = None
        self._handles = ExitStack()
        self._writer: Writer | None = None
        self._modules: list[tuple[str, nn.Module]] = []
        self._hooked: dict[int, nn.Parameter] = {}
        self._layouts: Layouts = {}

    def __enter__(self) -> Self:
        self._modules = list(self.model.named_modules())
        first = next(self.model.parameters(), None)
        header = {
            "modules": [[printable(name), type(module).__qualname__] for name, module in self._modules],
            "optimizers": [type(each).__qualname__ for each in self._optimizers],
            "environment": environment(torch.device("cpu") if first is None else first.device),
        }
        self._writer = Writer(self.path, header)
        for index, (name, module) in enumerate(self._modules if self._with_modules else ()):
            before, after = self._before(index, name or "model"), self._after(name)
            self._handles.callback(module.register_forward_pre_hook(Hook(module, before), with_kwargs=True).remove)
            self._handles.callback(module.register_forward_hook(Hook(module, after)).remove)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._handles.close()
        self._hooked.clear()
        if self._writer:
            self._writer.close()
            self._writer = None

    @contextmanager
    def step(
        self,
        *,
        images: object = None,
        labels: object = None,
        indices: Iterable[int] | None = None,
        paths: Iterable[object] | None = None,
        number: int | None = None,
    ) -> Iterator[Recorded]:
        """Record the code of the `with` block as one training step. If the code raises an error, write no step.

        Args:
            images: the batch, a tensor or a container of tensors; if it is a tensor, each image gets a hash.
            labels: the labels of the batch, a tensor or a container of tensors.
            indices: the indices of the images in their data set.
            paths: the files of the images; only the file names are recorded, without folders.
            number: number of the step; None continues the count of the steps, which starts at 0.

        Raises:
            RuntimeError: the trace is not open, another step is being recorded, the model's modules have changed
                since the trace began, or the block called none of them.
            ValueError: the number is not larger than that of the step before, or a tensor cannot be recorded, such
                as a nested one.
        """
        if self._writer is None or self._current is not None:
            raise RuntimeError("a step can be recorded inside of `with Trace(...)`, one at a time")
        number = self._number + 1 if number is None else number
        if number <= self._number:
            raise ValueError(f"step {number} after {self._number}; numbers must rise")
        self._number = number
        if self._writer.closed or not self._is_wanted(number):
            yield Recorded(None)
            return
        self._check_modules()
        names = None if paths is None else tuple(re.split(r"[\\/]", str(each))[-1] for each in paths)
        modes = [_mode(module) for _, module in self._modules]
        self._current = Recording(number, modes, names, self._layouts, self._kept.of_step(number), self._rows)
        try:
            self._record_start(self._current, images, labels, indices)
            yield Recorded(self._current)
            self._record_end(self._current)
        finally:
            self._current.close()
            self._current = None

    def _is_wanted(self, number: int) -> bool:
        return (self._steps is None or number in self._steps) and number % self._every == 0

    def _check_modules(self) -> None:
        now = {id(module): name for name, module in self.model.named_modules()}
        before = {id(module): name for name, module in self._modules}
        if now != before:
            changed = sorted({*now.items()} ^ {*before.items()}, key=lambda each: each[1])
            names = ", ".join(dict.fromkeys(name for _, name in changed))
            raise RuntimeError(
                f"the model's modules changed after the trace began: {names}; begin it when they are final"
            )

    def _record_start(self, current: Recording, images: object, labels: object, indices: Iterable[int] | None) -> None:
        self._hook_parameters()
        if self._last_recorded != current.number - 1:
            state = state_tensors(self.model, self._optimizers)
            current.add_all(DATA, [(f"start.{name}", values) for name, values in state])
        named = [] if images is None else [*batch_tensors(images)]
        named += iterate_tensors(labels, "labels")
        if indices is not None:
            named.append(("indices", torch.tensor([operator.index(each) for each in indices], dtype=torch.int64)))
        current.add_all(DATA, [*named, *generator_states()])

    def _record_end(self, current: Recording) -> None:
        if self._with_modules and not current.module_was_called:
            raise RuntimeError(
                f"step {current.number} called no module of the model ({type(self.model).__name__}): it is compiled or "
                "another object was trained; trace the object that is called, or use modules=False"
            )
        current.add_all(UPDATE, state_tensors(self.model, self._optimizers))
        self._write(current.finish(plain_options(self._optimizers)))

    def _write(self, step: Step) -> None:
        assert self._writer is not None  # noqa: S101 - for the type checker
        try:
            self._writer.write(step)
            self._kept.write(step.number)
            self._last_recorded = step.number
        except OSError as error:
            self._writer.close()
            message = f"{self.path}: no step from {step.number} on can be written ({error}); the training goes on"
            warnings.warn(message, RuntimeWarning, stacklevel=5)

    def _before(self, index: int, title: str) -> Callable[..., None]:
        module = self._modules[index][1]

        def record(args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
            if self._current:
                self._current.module_was_called = True
                self._current.modes[index] = _mode(module)
                for path, values in iterate_arguments(args, kwargs):
                    self._current.add(current_phase(), f"{title}.input{path}", values, again=True)

        return record

    def _after(self, name: str) -> Callable[..., None]:
        def record(_args: tuple[object, ...], output: object) -> None:
            current = self._current
            if current:
                for path, values in iterate_tensors(output):
                    full = current.add(current_phase(), f"{name or 'model'}.output{path}", values, again=True)
                    current.watch(full, values, self._add_gradient)
                if not name:
                    # Some models create parameters in their first forward pass.
                    self._hook_parameters()

        return record

    def _add_gradient(self, name: str, gradient: Tensor | None) -> None:
        if self._current:
            self._current.add_gradient(name, gradient)

    def _hook_parameters(self) -> None:
        """Register a hook on the gradient of each parameter that requires a gradient and has no hook yet."""
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and id(parameter) not in self._hooked and not is_lazy(parameter):
                self._hooked[id(parameter)] = parameter

                def record(parameter: Tensor, name: str = name) -> None:
                    self._add_gradient(name, parameter.grad)

                self._handles.callback(parameter.register_post_accumulate_grad_hook(record).remove)


def _mode(module: nn.Module) -> str:
    return "t" if module.training else "e"
