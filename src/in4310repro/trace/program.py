"""A program run unchanged while its training is recorded: models and optimizers are found, batches and losses seen."""

import collections
import contextlib
import gc
import os
import runpy
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, dataloader

from in4310repro.trace import facts
from in4310repro.trace.recorder import Recorder
from in4310repro.trace.tensors import iterate_tensors, parameters_of
from in4310repro.trace.values import KeptValues

PENDING = 8  # batches that a loader has read ahead


class EnoughSteps(SystemExit):
    """Raised in the program after the last step that is recorded."""


class Batch:
    """A batch that a DataLoader returned: its tensors, indices and files."""

    def __init__(self, content: object, loader: Any, indices: object) -> None:
        self.content, self.loader = content, loader
        numbers = indices if isinstance(indices, list | tuple) else None
        self.indices = [int(each) for each in numbers] if numbers and all(_is_index(each) for each in numbers) else None
        self.files = facts.files_of(loader.dataset, self.indices) if self.indices else None

    def parts(self) -> tuple[object, object]:
        """Return images and labels; labels are None if the batch is not a pair of them."""
        content = self.content
        if isinstance(content, list | tuple) and len(content) == 2 and isinstance(content[0], Tensor):
            return content[0], content[1]
        return (dict(content), None) if hasattr(content, "keys") else (content, None)  # type: ignore[call-overload]


def _is_index(value: object) -> bool:
    return isinstance(value, int) or type(value).__name__.startswith("int")


class Program(Recorder):
    """Recorder of a program that does not know of it; each step of an optimizer ends a step.

    Args:
        path: the file to write.
        steps: number of steps after which the program is ended; 0: it ends by itself.
        kept: collector of tensors whose values are kept.
    """

    def __init__(self, path: Path, steps: int = 0, kept: KeptValues | None = None) -> None:
        super().__init__(path, kept or KeptValues(path, ()))
        self.done = 0
        self._most, self._endings = steps, 0
        self._batches: collections.deque[Batch] = collections.deque(maxlen=PENDING)
        self._others: dict[int, bool] = {}  # modules that are not part of the model, by id
        self.depth = 0  # of calls of modules
        self._is_paused = False
        # Of a training before this one in the same process.
        self._earlier = weakref.WeakSet(_existing(torch.optim.Optimizer))

    def __enter__(self) -> Self:
        self.observe(calls=True)
        self._watch_losses()
        self._watch_loaders()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replace(self, owner: Any, name: str, function: Callable[..., Any]) -> None:
        before = getattr(owner, name)
        setattr(owner, name, function)
        self._handles.callback(setattr, owner, name, before)

    def _watch_losses(self) -> None:
        backward = torch.autograd.backward

        def record(tensors: Any, *args: Any, **options: Any) -> Any:
            if self.current and not torch.compiler.is_compiling():
                for each in [tensors] if isinstance(tensors, Tensor) else list(tensors):
                    if isinstance(each, Tensor) and each.numel() == 1:
                        self.current.add_loss("loss", each)
            return backward(tensors, *args, **options)

        self._replace(torch.autograd, "backward", record)

    def _watch_loaders(self) -> None:
        kind: Any = dataloader._BaseDataLoaderIter
        next_index, next_batch, start = kind._next_index, kind.__next__, kind.__init__

        def begin(loader: Any, of: DataLoader[Any]) -> None:
            loader._recorded = (of, collections.deque())
            start(loader, of)

        def index(loader: Any) -> Any:
            found = next_index(loader)
            loader._recorded[1].append(found)
            return found

        def batch(loader: Any) -> Any:
            found = next_batch(loader)
            of, queue = getattr(loader, "_recorded", (None, None))
            indices = queue.popleft() if queue else None
            if of is not None and torch.is_grad_enabled():
                self._read(Batch(found, of, indices))
            return found

        self._replace(kind, "__init__", begin)
        self._replace(kind, "_next_index", index)
        self._replace(kind, "__next__", batch)

    def _read(self, batch: Batch) -> None:
        if not any(True for _ in iterate_tensors(batch.parts()[0])):
            return
        if self.current:
            self._add(batch)
        else:
            self._batches.append(batch)

    def _add(self, batch: Batch) -> None:
        current = self.opened()
        images, labels = batch.parts()
        self.add_batch(images, labels, batch.indices)
        current.facts["loader"] = facts.loader_facts(batch.loader)
        if batch.files:
            current.paths = (*(current.paths or ()), *batch.files)

    def before_call(self, module: nn.Module, args: tuple[object, ...], kwargs: Any) -> None:
        """Begin a step at the first call of a trained model; then record as `Recorder` does."""
        if not (self.current or self._is_paused) and torch.is_grad_enabled() and not self._ended():
            self._begin(module, (args, kwargs))
        if self.current and not self.is_known(module) and not self.depth and torch.is_grad_enabled():
            self._note_other(module, args)
        self.depth += 1
        super().before_call(module, args, kwargs)

    def after_call(self, module: nn.Module, output: object) -> None:
        """Record as `Recorder` does."""
        self.depth = max(0, self.depth - 1)
        super().after_call(module, output)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Record no call while the `with` block runs."""
        current, self.current = self.current, None
        self._is_paused = True
        try:
            yield
        finally:
            self.current, self._is_paused = current, False

    def _ended(self) -> bool:
        return bool(self._most) and self.done >= self._most

    def _begin(self, module: nn.Module, arguments: object) -> None:
        if not self.was_opened:
            if not self._find(module):
                return
        elif not self.is_known(module) or not self.is_open:
            return
        self.depth = 0
        self.begin(self.done)
        self._take_batch(arguments)
        self.add_generators()

    def _take_batch(self, arguments: object) -> None:
        """Record the batch that the model gets, of those that were read ahead; without it the one read last."""
        used = {(each.data_ptr(), each.shape) for _, each in iterate_tensors(arguments) if each.device.type == "cpu"}
        waiting = list(self._batches)
        places = [
            i
            for i, batch in enumerate(waiting)
            if any((each.data_ptr(), each.shape) in used for _, each in iterate_tensors(batch.content))
        ]
        place = places[0] if places else len(waiting) - 1
        if waiting:
            self._add(waiting[place])
            for _ in range(place + 1):
                self._batches.popleft()

    def _find(self, module: nn.Module) -> bool:
        """Find the models whose parameters optimizers change, if `module` has some; begin the file with them."""
        if id(module) in self._others or next(module.parameters(), None) is None:
            return False
        optimizers = [each for each in _existing(torch.optim.Optimizer) if each not in self._earlier]
        optimizers = [each for each in optimizers if "param_groups" in vars(each)]
        optimizers = [each for each in optimizers if not any(_wraps(each, other) for other in optimizers)]
        places = {id(each): i for i, each in enumerate(each for one in optimizers for each in parameters_of(one))}
        roots = _roots(_existing(nn.Module), places)
        if not roots or not any(module is each for root in roots for each in root.modules()):
            return False
        model = roots[0]
        if len(roots) > 1:
            names = [type(each).__name__ for each in roots]
            model = nn.ModuleDict(
                {f"{name}{names[:i].count(name) + 1 if name in names[:i] else ''}": each
                 for i, (name, each) in enumerate(zip(names, roots, strict=True))}
            )  # fmt: skip
        self.open(model, optimizers, {"arguments": facts.arguments(), "sources": facts.sources()})
        return True

    def _note_other(self, module: nn.Module, args: tuple[object, ...]) -> None:
        """Note the options of a module that is not part of the model, such as a loss, and the tensors that it gets."""
        current, name = self.opened(), type(module).__name__
        current.facts.setdefault("options", {})[name] = facts.options_of(module)
        for path, values in iterate_tensors(args):
            current.add("loss", f"{name}.input{path}", values, again=True)

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """End the step, and the program after the last one that is wanted."""
        inner = getattr(optimizer, "optimizer", None)
        if self.current and self._number_of(optimizer) is None and not isinstance(inner, torch.optim.Optimizer):
            self.optimizers.append(optimizer)
            self.before_step(optimizer)
        super().after_step(optimizer)
        if self.current:
            self.end()
            self.done += 1
        if self._ended():
            self._endings += 1
            if self._endings > 1:
                # The program caught the first, and goes on.
                sys.stdout.flush()
                os._exit(0)
            raise EnoughSteps(0)


def _existing(kind: type[Any]) -> list[Any]:
    """Return all objects of a class that Python knows."""
    return [each for each in gc.get_objects() if issubclass(type(each), kind)]


def _wraps(optimizer: Any, other: object) -> bool:
    """Return whether `optimizer` passes its steps on to `other`, as those of frameworks do."""
    return any(getattr(optimizer, name, None) is other for name in ("optimizer", "_optimizer"))


def _roots(modules: Sequence[nn.Module], places: dict[int, int]) -> list[nn.Module]:
    """Return the outermost modules with parameters that an optimizer changes, in the order of these parameters."""
    first = {
        id(each): place
        for each in modules
        if (place := min((places[id(one)] for one in each.parameters() if id(one) in places), default=-1)) >= 0
    }
    trained = [each for each in modules if id(each) in first]
    inner = {id(child) for each in trained for child in each.modules() if child is not each}
    outer = sorted((each for each in trained if id(each) not in inner), key=lambda each: first[id(each)])
    return [_unwrapped(each) for each in outer]


def _unwrapped(module: nn.Module) -> nn.Module:
    """Return the model inside of one that exchanges gradients between processes."""
    inside = getattr(module, "module", None)
    parallel = type(module).__name__ in ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel")
    return inside if parallel and isinstance(inside, nn.Module) else module


def check(command: Sequence[str]) -> list[str]:
    """Return the words of a command without a leading `python`.

    Raises:
        ValueError: the command is neither a file with arguments nor `-m MODULE` with them.
    """
    words = list(command)
    if words and Path(words[0]).name.startswith("python") and not words[0].endswith(".py"):
        words.pop(0)
    if not words or (words[0] == "-m" and len(words) < 2) or (words[0] != "-m" and not Path(words[0]).is_file()):
        raise ValueError(f"{' '.join(words) or 'nothing'} is not a file; give a Python file, or -m MODULE, after --")
    return words


def run(command: Sequence[str]) -> None:
    """Run `FILE ARGUMENTS...` or `-m MODULE ARGUMENTS...` as Python does, in this process; see `check`."""
    words = check(command)
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).resolve().parent))
    runpy.run_path(words[0], run_name="__main__")


def record(path: Path, command: Sequence[str], steps: int = 0, keep: Sequence[Any] = ()) -> tuple[int, int]:
    """Run a program and record its training; return the number of recorded steps and the program's exit code.

    Of several processes under torchrun, each writes a file of its own: `path.RANK`.

    Raises:
        ValueError: there is no such program.
        OSError: the file cannot be written.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        path = path.with_name(f"{path.name}.{os.environ['RANK']}")
    check(command)
    with path.open("wb"):
        pass
    code = 0
    with Program(path, steps, KeptValues(path, keep)) as program:
        try:
            run(command)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if code and not isinstance(end.code, int):
                sys.stderr.write(f"{end.code}\n")
        except Exception:
            traceback.print_exc()
            code = 1
    return program.done, code
