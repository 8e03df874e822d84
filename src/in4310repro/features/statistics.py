"""Statistics of the feature maps of any module of any model, taken in while the model runs."""

import copy
import math
import re
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from in4310repro.features.blocks import BLOCK
from in4310repro.features.covariance import Precision
from in4310repro.features.hooks import ModuleChoice, Passes, capture, choose, measuring, tensors
from in4310repro.features.result import FeatureResult, finished
from in4310repro.features.state import joint, split
from in4310repro.features.stream import Settings, Stream, channel_axis

Key = tuple[str, int, str]  # module, call in a forward pass, path in a nested output


class FeatureStatistics:
    """Counts, mean, covariance and spectrum of module outputs over every image that passes through a model.

    Inside the `with` block the model is in evaluation mode and no gradients are recorded; hooks consume each output
    before the next layer can overwrite it, and keep nothing but sums. Afterwards the model is as it was.

    Args:
        model: the model that the caller will run, with images on the first axis of its first tensor.
        modules: exact names; a compiled pattern that whole names must match; or "leaves", all modules without children.
        samples: "images": one sample an image, the mean over positions. "positions": every position is a sample.
            "flat": the flattened maps, whose spectrum alone is computed and for which every map is kept.
            None: counts only.
        precision: "fast": float32 products of shifted data, float64 sums of them. "exact": float64 throughout.
        correction: the covariance divides by rows - correction.
        calls: a module that runs several times in a forward pass has its calls pooled under its name ("pool"), or each
            under `name#0`, `name#1`, ... ("keep").
        on_non_finite: "count" leaves samples with nan or inf out and says how many; "raise" refuses them at once, on a
            GPU in `result()`.
        first_image: index of the first image that will pass, a multiple of 64; for parts that are merged later.
        channel_axis: the axis of the channels, for modules where the rule is wrong. The rule: the last axis of tokens
            (image, token, channel), nn.Linear and nn.LayerNorm; axis 1 of everything else.

    Raises:
        ValueError: a name, pattern or value that does not exist. Nothing has been attached to the model then.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: ModuleChoice,
        samples: Literal["images", "positions", "flat"] | None = None,
        precision: Precision = "fast",
        correction: Literal[0, 1] = 0,
        calls: Literal["pool", "keep"] = "pool",
        on_non_finite: Literal["count", "raise"] = "count",
        first_image: int = 0,
        channel_axis: Mapping[str, int] | None = None,
    ) -> None:
        self._settings = Settings(
            samples=samples,
            precision=precision,
            calls=calls,
            on_non_finite=on_non_finite,
            correction=correction,
        )
        if first_image < 0 or first_image % BLOCK:
            raise ValueError(f"first_image is {first_image}; it can be 0 or a multiple of {BLOCK}")
        self._model = model
        # A compiled model wraps the one whose names the caller knows.
        self._modules = choose(getattr(model, "_orig_mod", model), modules)
        self._all_must_run = not isinstance(modules, str | re.Pattern)
        self._first_image = first_image
        self._axes = dict(channel_axis or {})
        if unknown := sorted(self._axes.keys() - self._modules.keys()):
            raise ValueError(f"channel_axis names {unknown}; the modules are {sorted(self._modules)}")
        self._begin()

    def _begin(self) -> None:
        """All that measuring changes."""
        self._streams: dict[Key, Stream] = {}
        self._thread: int | None = None
        self._passes = Passes()
        self._placed: ExitStack | None = None
        self._entered = False

    def __enter__(self) -> "FeatureStatistics":
        if self._entered:
            raise ValueError("these statistics were entered before; make new ones for another set of images")
        self._entered = True
        with ExitStack() as stack:
            stack.enter_context(measuring(self._model))
            stack.enter_context(capture(self._model, self._modules, self._consume, self._passes))
            self._placed = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._placed is not None:
            self._placed.__exit__(kind, error, trace)

    def _consume(self, name: str, call: int, images: int | None, output: object) -> None:
        if self._thread not in (None, threading.get_ident()):
            raise ValueError(f"module {name!r} runs in a second thread; images have an order in one alone")
        self._thread = threading.get_ident()
        if not (torch.is_grad_enabled() or torch.is_inference_mode_enabled()):
            return self._take(name, call, images, output)
        # The caller has changed the mode: sums stay usable in every other one.
        with torch.inference_mode(mode=False), torch.no_grad():
            return self._take(name, call, images, output)

    def _take(self, name: str, call: int, images: int | None, output: object) -> None:
        for path, values in tensors(output):
            axis = self._axes.get(name, channel_axis(self._modules[name], values.ndim))
            try:
                number = self._images(values, axis, images)
                self._agree(self._streams.get((name, 0, path)), values, axis)
                stream = self._stream((name, call, path))
                stream.update(values, axis, number)
            except ValueError as error:
                raise ValueError(f"module {name!r}{path}: {error}") from error

    def _images(self, values: Tensor, axis: int, images: int | None) -> int:
        shape = tuple(values.shape)
        if not values.is_floating_point():
            raise ValueError(f"its output is {values.dtype}; statistics are of floating-point values")
        if not shape or (self._settings.samples is not None and not 0 < axis < len(shape)):
            raise ValueError(f"its output has shape {shape}; axis 0 must be images and axis {axis} channels")
        if self._settings.samples is not None and images not in (None, shape[0]):
            raise ValueError(f"its output has shape {shape}; axis 0 must be the {images} images of the batch")
        return shape[0] if images is None else images

    def _agree(self, first: Stream | None, values: Tensor, axis: int) -> None:
        """Nothing, if the calls of a module can be pooled with its first one."""
        before = None if first is None or first.samples is None else first.samples.width
        if self._settings.calls == "keep" or before is None:
            return
        flat = self._settings.samples == "flat"
        width = math.prod(values.shape[1:]) if flat else values.shape[axis]
        if width != before:
            what = "values an image" if flat else "channels"
            raise ValueError(
                f"{width} {what}, and {before} before; they cannot be pooled: measure another module, "
                'or its calls apart with calls="keep"'
            )

    def _stream(self, key: Key) -> Stream:
        if key not in self._streams:
            self._streams[key] = Stream(self._settings, self._first_image)
        return self._streams[key]

    def result(self) -> dict[str, FeatureResult]:
        """Statistics by module name, with `#call` if calls are kept and the path (`[0]`) if the output was nested.

        They stand in the order of the names that were given, or of the model. With a pattern or "leaves", modules that
        never ran have no result.

        Raises:
            ValueError: a requested module never ran, non-finite values were to raise, or a forward pass was cut by an
                error, after which nobody knows which modules have measured its images.
        """
        self._check_whole()
        self._check_ran()
        groups: dict[str, list[Stream]] = {}
        place = {name: index for index, name in enumerate(self._modules)}
        for key in sorted(self._streams, key=lambda key: (place[key[0]], *key[1:])):
            name, call, path = key
            number = f"#{call}" if self._settings.calls == "keep" else ""
            groups.setdefault(f"{name}{number}{path}", []).append(self._streams[key])
        results = {}
        for title, streams in groups.items():
            try:
                results[title] = finished(streams, self._settings)
            except ValueError as error:
                raise ValueError(f"module {title!r}: {error}") from error
        return results

    def _check_whole(self) -> None:
        if self._passes.torn:
            raise ValueError(
                "a forward pass ended in an error: some modules measured its images and others did not; measure again, "
                "or go on from a state_dict of before"
            )

    def _check_ran(self) -> None:
        ran = {name for name, _, _ in self._streams}
        silent = [name for name in self._modules if name not in ran]
        if silent and (self._all_must_run or not ran):
            why = "only forward passes inside the with block, of the very model that was given, count"
            if hasattr(self._model, "_orig_mod"):
                why = "code that torch.compile made before calls no hooks: measure the model that was compiled"
            raise ValueError(f"modules {silent} never ran or gave no tensor; {why}")

    def fresh(self) -> "FeatureStatistics":
        """Statistics of the same model, modules and settings with nothing measured: for another set of images."""
        new = copy.copy(self)
        new._begin()
        return new

    def merge(self, other: "FeatureStatistics") -> None:
        """Add the images that another has measured with the same settings; the order of merges changes no bit.

        Raises:
            ValueError: modules or settings differ, an image was measured by both, or a forward pass ended in an error.
        """
        if self._described() != other._described():
            raise ValueError(f"merging {other._described()} into {self._described()}; they must be equal")
        for each in (self, other):
            each._check_whole()
        for key, stream in sorted(other._streams.items()):
            self._stream(key).merge(stream)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything measured so far as tensors, for safetensors; reads back from the GPU.

        Raises:
            ValueError: a forward pass ended in an error.
        """
        self._check_whole()
        numbers: dict[str, Any] = {"described": self._described(), "streams": []}
        parts: dict[str, Tensor] = {}
        for index, (key, stream) in enumerate(sorted(self._streams.items())):
            numbers["streams"].append({"key": list(key)} | stream.numbers())
            if stream.samples is not None:
                parts |= {f"{index}.{name}": value for name, value in stream.samples.state().items()}
        return joint(numbers, parts)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state` left off: the same batches from there give the same bits as without the break.

        Raises:
            ValueError: something was measured already, or modules or settings differ.
        """
        device = next(self._model.parameters(), torch.empty(0)).device
        numbers, parts = split(state, device)
        if self._streams:
            raise ValueError(f"{len(self._streams)} modules were measured already; load into new statistics")
        if numbers["described"] != self._described():
            raise ValueError(f"a state of {numbers['described']}, loaded into {self._described()}; they must be equal")
        try:
            for index, saved in enumerate(numbers["streams"]):
                name, call, path = saved["key"]
                prefix = f"{index}."
                own = {key.removeprefix(prefix): value for key, value in parts.items() if key.startswith(prefix)}
                self._stream((name, call, path)).restore(saved, own)
        except BaseException:
            self._streams.clear()
            raise

    def _described(self) -> dict[str, Any]:
        return vars(self._settings) | {"modules": sorted(self._modules), "channel_axis": self._axes}
