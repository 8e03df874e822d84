"""Recording of a training's steps: inputs, maps, gradients, parameters and optimizer state."""

import operator
import re
import warnings
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from in4310repro.trace.environment import environment
from in4310repro.trace.facts import options_of
from in4310repro.trace.hashing import measure, read
from in4310repro.trace.hooks import current_phase, observe, refuse
from in4310repro.trace.recording import Layouts, Recorded, Recording
from in4310repro.trace.records import DATA, FORWARD, GRADIENT, UPDATE, Writer, printable
from in4310repro.trace.tensors import (
    Named,
    batch_tensors,
    generator_states,
    iterate_arguments,
    iterate_tensors,
    model_tensors,
    optimizer_tensors,
    parameters_of,
    plain_name,
    plain_options,
)
from in4310repro.trace.values import KeptValues

Keep = Mapping[str, Any]


class Recorder:
    """Recorder of a model's calls and of its optimizers' steps while a step of the training is open.

    `Trace` and `script` say which model it is and where a step begins and ends.

    Args:
        path: the file to write.
        kept: collector of tensors whose values are kept.
        rows: number of images of each batch that are recorded in the forward pass; None: all.
    """

    def __init__(self, path: Path, kept: KeptValues, rows: int | None = None) -> None:
        self.path = path
        self.current: Recording | None = None
        self.optimizers: list[torch.optim.Optimizer] = []
        self.model: nn.Module = nn.Module()
        # Ids of optimizers within their step: one that calls the step of its base class calls hooks twice.
        self.stepping: list[int] = []
        self._kept, self.rows = kept, rows
        self._writer: Writer | None = None
        self._handles = ExitStack()
        self._modules: list[nn.Module] = []  # in the order of the file
        self._names: list[str] = []
        self._places: dict[int, int] = {}  # of modules, by id
        self._written = self._last_recorded = -2
        self._hooked: dict[int, nn.Parameter] = {}
        self._layouts: Layouts = {}
        # Parameters, buffers and optimizer state as recorded last, by name: tensor, version, step and digest.
        self._state: dict[str, tuple[weakref.ref[Tensor], int, int, Any]] = {}

    @property
    def is_open(self) -> bool:
        """True if the file can be written."""
        return self._writer is not None and not self._writer.closed

    @property
    def was_opened(self) -> bool:
        """True between `open` and `close`, also where the file can no longer be written."""
        return self._writer is not None

    def open(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], head: Mapping[str, Any] | None = None
    ) -> None:
        """Begin the file of a trace.

        Raises:
            OSError: the file cannot be written.
        """
        self.model, self.optimizers = model, list(optimizers)
        self._name_modules()
        first = next(model.parameters(), None)
        header = {
            "modules": self._described(0),
            "optimizers": [type(each).__qualname__ for each in optimizers],
            "environment": environment(torch.device("cpu") if first is None else first.device),
            **(head or {}),
        }
        self._writer, self._written = Writer(self.path, header), len(self._modules)

    def close(self) -> None:
        """Remove all hooks and close the file; a step that is open is left out."""
        self.abandon()
        self._handles.close()
        self._hooked.clear()
        self._state.clear()
        if self._writer:
            self._writer.close()
            self._writer = None

    def _described(self, first: int) -> list[list[str]]:
        return [
            [printable(name), type(module).__qualname__]
            for name, module in zip(self._names[first:], self._modules[first:], strict=True)
        ]

    def _name_modules(self) -> None:
        """Give a place to each module that has none; one that replaces another takes its place."""
        by_name = {name: place for place, name in enumerate(self._names)}
        for full, module in self.model.named_modules():
            name = plain_name(full)
            if id(module) in self._places and self._modules[self._places[id(module)]] is module:
                continue
            place = self._places[id(module)] = by_name.setdefault(name, len(self._modules))
            if place == len(self._modules):
                self._modules.append(module)
                self._names.append(name)
            elif not hasattr(self._modules[place], "_orig_mod"):
                self._modules[place] = module

    def is_known(self, module: nn.Module) -> bool:
        """Return whether a module is part of the model."""
        return id(module) in self._places

    def begin(self, number: int) -> Recording:
        """Begin a step, and record the state that has changed since the last recorded one."""
        self._name_modules()
        self._hook_parameters()
        self.current = Recording(number, self._layouts, self._kept.of_step(number))
        self.current.modes = [_mode(module) for module in self._modules]
        state = model_tensors(self.model)
        of_optimizers = [each for i in range(len(self.optimizers)) for each in self._state_of(i)]
        if self._last_recorded == number - 1:
            state = [*self._edited(state), *(each for each in of_optimizers if self._was_replaced(*each))]
        else:
            state += of_optimizers
        self.current.add_all(DATA, [(f"start.{name}", values) for name, values in state])
        return self.current

    def _edited(self, state: Sequence[Named]) -> list[Named]:
        """Return the parameters and buffers that changed after they were recorded last.

        Hashes decide: a write through `.data` moves no version counter.
        """
        known = [(each, found[3]) for each in state if (found := self._state.get(each[0]))]
        try:
            now = read(measure([values for (_, values), _ in known]))
        except ValueError:
            return []
        before = read([found for _, found in known])
        return [each for (each, _), a, b in zip(known, before, now, strict=True) if a.hash != b.hash]

    def _was_replaced(self, name: str, values: Tensor) -> bool:
        """Return whether a tensor of an optimizer's state is another one, or changed, since it was recorded last."""
        known = self._state.get(name)
        return known is not None and values.ndim > 0 and (known[0]() is not values or known[1] != values._version)

    def _state_of(self, number: int) -> list[Named]:
        return optimizer_tensors(self.optimizers[number], number, self._parameter_names())

    def _parameter_names(self) -> dict[int, str]:
        return {id(each): plain_name(name) for name, each in self.model.named_parameters()}

    def _record_state(self, named: Sequence[Named]) -> None:
        current = self.opened()
        digests = current.add_all(UPDATE, named)
        for (name, values), found in zip(named, digests, strict=False):
            version = -1 if values.is_inference() else values._version
            self._state[name] = (weakref.ref(values), version, current.number, found)

    def add_batch(self, images: object, labels: object = None, indices: Iterable[int] | None = None) -> None:
        """Record a batch that the open step reads.

        Raises:
            ValueError: `images` holds no tensor.
        """
        named = [] if images is None else [*batch_tensors(images)]
        named += iterate_tensors(labels, "labels")
        if indices is not None:
            numbers = [operator.index(each) for each in indices]
            named.append(("indices", torch.tensor(numbers, dtype=torch.int64)))
            self.opened().facts["indices"] = [*self.opened().facts.get("indices", ()), *numbers]
        self.opened().add_all(DATA, named)

    def add_generators(self) -> None:
        """Record the states of the global generators, and the seed that torch's was given."""
        self.opened().facts["seed"] = torch.initial_seed()
        self.opened().add_all(DATA, [*generator_states()])
        self.opened().note_generator("")

    def opened(self) -> Recording:
        """Return the open step."""
        assert self.current is not None  # noqa: S101 - for the type checker
        return self.current

    def end(self) -> bool:
        """Record what the step left in the model and its optimizers, and write the step; return whether it could."""
        current = self.opened()
        state = [each for i in range(len(self.optimizers)) if i not in current.groups for each in self._state_of(i)]
        self._record_state([each for each in (*model_tensors(self.model), *state) if not self._is_recorded(*each)])
        names = self._parameter_names()
        for i, optimizer in enumerate(self.optimizers):
            current.groups.setdefault(i, plain_options(optimizer, names))
        options = {name: options_of(each) for name, each in zip(self._names, self._modules, strict=True)}
        frozen = [plain_name(name) for name, each in self.model.named_parameters() if not each.requires_grad]
        current.facts["options"] = options | current.facts.get("options", {})
        current.facts["frozen"] = frozen
        step = current.finish()
        self.abandon()
        assert self._writer is not None  # noqa: S101 - for the type checker
        try:
            if self._written < len(self._modules):
                self._writer.add_modules(self._described(self._written))
                self._written = len(self._modules)
            self._writer.write(step)
            self._kept.write(step.number)
            self._last_recorded = step.number
        except OSError as error:
            self._writer.close()
            message = f"{self.path}: no step from {step.number} on can be written ({error}); the training goes on"
            warnings.warn(message, RuntimeWarning, stacklevel=5)
        return self.is_open

    def _is_recorded(self, name: str, values: Tensor) -> bool:
        """Return whether the open step has recorded a tensor of the state as it is now."""
        known = self._state.get(name)
        version = -1 if values.is_inference() else values._version
        return known is not None and known[0]() is values and known[1:3] == (version, self.opened().number)

    def abandon(self) -> None:
        """Leave the open step out of the file, if there is one."""
        if self.current:
            self.stepping.clear()
            self.current.close()
            self.current = None

    def observe(self, *, calls: bool) -> None:
        """Register hooks of torch for modules, if `calls`, and for optimizers."""
        self._handles.enter_context(observe(self, calls=calls))

    def before_call(self, module: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Record the inputs of a module of the model, and the generator where it may draw from it."""
        current, place = self.current, self._places.get(id(module))
        if not current or place is None or (self._modules[place] is not module and not hasattr(module, "_orig_mod")):
            return
        current.module_was_called, current.rows = True, self.rows
        current.modes += "t" * (place + 1 - len(current.modes))
        current.modes[place] = _mode(module)
        title = self._names[place] or "model"
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            current.facts["autocast"] = str(torch.get_autocast_dtype("cpu")).removeprefix("torch.")
        if current_phase() == FORWARD:
            current.note_generator(f"{title}.generator")
        for path, values in iterate_arguments(args, kwargs):
            current.add(current_phase(), f"{title}.input{path}", values, again=True)

    def after_call(self, module: nn.Module, output: object) -> None:
        """Record the outputs of a module of the model, and wait for their gradients."""
        current, place = self.current, self._places.get(id(module))
        if not current or place is None or (self._modules[place] is not module and not hasattr(module, "_orig_mod")):
            return
        name = self._names[place]
        for path, values in iterate_tensors(output):
            full = current.add(current_phase(), f"{name or 'model'}.output{path}", values, again=True)
            current.watch(full, values, self._add_gradient)
        if not name:
            # Some models create parameters in their first forward pass.
            self._hook_parameters()

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Record the gradients that an optimizer is about to use, and its options."""
        number = self._number_of(optimizer)
        if not self.current or number is None:
            return
        names = self._parameter_names()
        self.current.groups[number] = plain_options(optimizer, names)
        gradients = [(names.get(id(each)), each.grad) for each in parameters_of(optimizer) if each.grad is not None]
        named = [each for name, values in gradients if name for each in iterate_tensors(values, f"{name}.used_grad")]
        self.current.add_all(GRADIENT, named)

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Record the parameters and the state that an optimizer has changed."""
        number = self._number_of(optimizer)
        if not self.current or number is None:
            return
        names = self._parameter_names()
        named = [
            (name, each) for each in parameters_of(optimizer) if (name := names.get(id(each))) and not is_lazy(each)
        ]
        self._record_state([*named, *self._state_of(number)])

    def _number_of(self, optimizer: torch.optim.Optimizer) -> int | None:
        return next((i for i, each in enumerate(self.optimizers) if each is optimizer), None)

    def _add_gradient(self, name: str, gradient: Tensor | None) -> None:
        if self.current:
            self.current.add_gradient(name, gradient)

    def _hook_parameters(self) -> None:
        """Register a hook on the gradient of each parameter that requires a gradient and has no hook yet."""
        for full, parameter in self.model.named_parameters():
            if parameter.requires_grad and id(parameter) not in self._hooked and not is_lazy(parameter):
                self._hooked[id(parameter)] = parameter

                def record(parameter: Tensor, name: str = plain_name(full)) -> None:
                    self._add_gradient(name, parameter.grad)

                handle: Any = parameter.register_post_accumulate_grad_hook(record)  # type: ignore[no-untyped-call]
                self._handles.callback(handle.remove)


class Trace:
    """Recorder of training steps, for any model, optimizer and training loop.

    `in4310repro record` records a training without a changed line; this class is for loops that say what a step is.
    Each call of a module is recorded: `fc.output`, then `fc.output@2`. Gradients are recorded as they are
    computed (`fc.weight.grad` is the gradient accumulated after one backward pass, `fc.weight.grad@2` after a
    second one) and as the optimizer uses them (`fc.weight.used_grad`). Maps that checkpointing recomputes are
    recorded again. Parameters that change between two steps are recorded at the start of the second one. Tensors that
    cannot be hashed, as inside of torch.func, are noted.

    If the file can no longer be written, as on a full disk, recording stops with a warning; the training goes on.

    Args:
        model: the model. Of a compiled one, or compiled modules in it, nothing inside is recorded.
        optimizer: the optimizer, or several; None: parameters and buffers are the only state.
        path: the file to write; an existing file is replaced.
        steps: numbers of the steps to record; None: all.
        every: record each step whose number is a multiple of this.
        keep: tensors whose values are written beside the trace, for `diff --values`, as
            `{"step": NUMBER, "tensors": [NAME, ...]}` or a list of such entries.
        modules: False records only the inputs of a step, its losses, parameter gradients and state, but no inputs
            and outputs of modules.
        rows: number of images of each batch that are recorded in the forward pass; None: all.

    Raises:
        OSError: the file cannot be written when the trace begins.
        ValueError: an argument is not valid, or the model is scripted, or copied to several GPUs by DataParallel.

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
        ['bias.grad', 'weight.grad', 'weight.used_grad', 'bias.used_grad', 'weight', 'bias']
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
        self._optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer or ())
        for each in self._optimizers:
            if not isinstance(each, torch.optim.Optimizer):
                raise ValueError(
                    f"optimizer is {type(each).__name__}; it must be a torch.optim.Optimizer, several or None"
                )
        self._steps, self._every, self._with_modules = steps, every, modules
        kept = [keep] if isinstance(keep, Mapping) else list(keep)
        self.model = model
        self._recorder = Recorder(Path(path), KeptValues(Path(path), kept), rows)
        for number in [each["step"] for each in kept]:
            if not self._is_wanted(number):
                raise ValueError(f"keep names step {number}, which is not recorded: steps is {steps}, every {every}")
        self._number = -1

    def __enter__(self) -> Self:
        self._recorder.open(self.model, self._optimizers)
        self._recorder.observe(calls=self._with_modules)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._recorder.close()

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
            RuntimeError: the trace is not open, another step is being recorded, or the block called no module.
            ValueError: the number is not larger than that of the step before, or `images` holds no tensor.
        """
        recorder = self._recorder
        if not recorder.was_opened or recorder.current is not None:
            raise RuntimeError("a step can be recorded inside of `with Trace(...)`, one at a time")
        number = self._number + 1 if number is None else number
        if number <= self._number:
            raise ValueError(f"step {number} after {self._number}; numbers must rise")
        self._number = number
        if not recorder.is_open or not self._is_wanted(number):
            yield Recorded(None)
            return
        current = recorder.begin(number)
        try:
            current.paths = None if paths is None else tuple(map(file_name, paths))
            recorder.add_batch(images, labels, indices)
            recorder.add_generators()
            yield Recorded(current)
            if self._with_modules and not current.module_was_called:
                raise RuntimeError(
                    f"step {number} called no module of the model ({type(self.model).__name__}): it is compiled or "
                    "another object was trained; trace the object that is called, or use modules=False"
                )
            recorder.end()
        finally:
            recorder.abandon()

    def _is_wanted(self, number: int) -> bool:
        return (self._steps is None or number in self._steps) and number % self._every == 0


def file_name(path: object) -> str:
    """Return the name of a file without its folders."""
    return re.split(r"[\\/]", str(path))[-1]


def _mode(module: nn.Module) -> str:
    return "t" if module.training else "e"
