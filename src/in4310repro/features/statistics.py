"""Statistics of the feature maps of any module of any model, computed in hooks while the model runs."""

import copy
import math
import re
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor, nn

from in4310repro.features.blocks import BLOCK
from in4310repro.features.covariance import Precision
from in4310repro.features.hooks import (
    ForwardPass,
    ModuleChoice,
    capture_outputs,
    choose,
    evaluation_mode,
    iterate_tensors,
)
from in4310repro.features.result import FeatureResult, finalize
from in4310repro.features.state import StateMetadata, pack, tensors_of_stream, unpack
from in4310repro.features.stream import Settings, Stream, default_channel_axis

StreamKey = tuple[str, int, str]  # module, call in a forward pass, path in a nested output


class FeatureStatistics:
    """Counts, mean, covariance and spectrum of module outputs over every image that passes through a model.

    Inside the `with` block the model is in evaluation mode and no gradients are recorded; hooks consume each output
    before the next layer can overwrite it, and keep nothing but sums. Afterwards the model is unchanged.

    Args:
        model: the model that the caller will run, with images on the first axis of its first tensor.
        modules: exact names; a compiled pattern that whole names must match; or "leaves", all modules without children.
        samples: "images": one sample per image, the mean over positions. "positions": every position is a sample.
            "flat": the flattened maps are samples; only the spectrum is computed, and every map is kept.
            None: counts only.
        precision: "fast": float32 products of shifted data, float64 sums of them. "exact": float64 throughout.
        correction: the covariance divides by rows - correction.
        calls: a module that runs several times in a forward pass has its calls pooled under its name ("pool"), or each
            under `name#0`, `name#1`, ... ("keep").
        on_non_finite: "count" excludes samples with nan or inf and counts them; "raise" raises ValueError at once, on a
            GPU in `result()`.
        first_image: index of the first image that will pass, a multiple of 64; for shards that are merged later.
        channel_axis: the axis of the channels, for modules where the rule is wrong. The rule: the last axis of tokens
            (image, token, channel), nn.Linear and nn.LayerNorm; axis 1 of everything else.

    Raises:
        ValueError: a name, pattern or value that does not exist. No hook has been placed then.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Identity(), nn.ReLU())
        >>> images = torch.arange(-8.0, 8.0).reshape(4, 1, 2, 2)  # 4 images, 1 channel, 2 x 2 positions
        >>> with FeatureStatistics(model, ["0", "1"], samples="images") as statistics:
        ...     for batch in torch.split(images, 2):
        ...         outputs = model(batch)
        >>> {name: result.non_positive for name, result in statistics.result().items()}
        {'0': 0.5625, '1': 0.5625}
        >>> statistics.result()["0"].covariance.tolist()  # of the means -6.5, -2.5, 1.5, 5.5
        [[20.0]]
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
        self._channel_axes = dict(channel_axis or {})
        if unknown := sorted(self._channel_axes.keys() - self._modules.keys()):
            raise ValueError(f"channel_axis names {unknown}; the modules are {sorted(self._modules)}")
        self._reset()

    def _reset(self) -> None:
        """Set every attribute that measuring changes; all others are written by __init__ alone."""
        self._streams: dict[StreamKey, Stream] = {}
        self._thread: int | None = None
        self._forward = ForwardPass()
        self._hooks: ExitStack | None = None
        self._entered = False

    def __enter__(self) -> "FeatureStatistics":
        if self._entered:
            raise ValueError("these statistics were entered before; make new ones for another set of images")
        self._entered = True
        with ExitStack() as stack:
            stack.enter_context(evaluation_mode(self._model))
            stack.enter_context(capture_outputs(self._model, self._modules, self._consume, self._forward))
            self._hooks = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hooks is not None:
            self._hooks.__exit__(kind, error, trace)

    def _consume(self, name: str, call: int, images: int | None, output: object) -> None:
        """The Consumer of `capture_outputs`: checks the thread and the autograd mode, then measures."""
        if self._thread not in (None, threading.get_ident()):
            raise ValueError(f"module {name!r} runs in a second thread; images have an order in one alone")
        self._thread = threading.get_ident()
        if not (torch.is_grad_enabled() or torch.is_inference_mode_enabled()):
            return self._measure(name, call, images, output)
        # The caller has changed the mode: tensors made here must stay usable in every other mode.
        with torch.inference_mode(mode=False), torch.no_grad():
            return self._measure(name, call, images, output)

    def _measure(self, name: str, call: int, images: int | None, output: object) -> None:
        for path, values in iterate_tensors(output):
            axis = self._channel_axes.get(name, default_channel_axis(self._modules[name], values.ndim))
            try:
                image_count = self._count_images(values, axis, images)
                self._check_poolable(self._streams.get((name, 0, path)), values, axis)
                self._stream((name, call, path)).update(values, axis, image_count)
            except ValueError as error:
                raise ValueError(f"module {name!r}{path}: {error}") from error

    def _count_images(self, values: Tensor, axis: int, images: int | None) -> int:
        shape = tuple(values.shape)
        if not values.is_floating_point():
            raise ValueError(f"its output is {values.dtype}; statistics are of floating-point values")
        if not shape or (self._settings.samples is not None and not 0 < axis < len(shape)):
            raise ValueError(f"its output has shape {shape}; axis 0 must be images and axis {axis} channels")
        if self._settings.samples is not None and images not in (None, shape[0]):
            raise ValueError(f"its output has shape {shape}; axis 0 must be the {images} images of the batch")
        return shape[0] if images is None else images

    def _check_poolable(self, first: Stream | None, values: Tensor, axis: int) -> None:
        """Raise ValueError unless this output can be pooled with those of the module's first call."""
        first_width = None if first is None or first.accumulator is None else first.accumulator.row_width
        if self._settings.calls == "keep" or first_width is None:
            return
        flat = self._settings.samples == "flat"
        width = math.prod(values.shape[1:]) if flat else values.shape[axis]
        if width != first_width:
            unit = "values per image" if flat else "channels"
            raise ValueError(
                f"{width} {unit}, and {first_width} before; they cannot be pooled: measure another module, "
                'or its calls separately with calls="keep"'
            )

    def _stream(self, key: StreamKey) -> Stream:
        """The stream of a key, made on first use."""
        if key not in self._streams:
            self._streams[key] = Stream(self._settings, self._first_image)
        return self._streams[key]

    def result(self) -> dict[str, FeatureResult]:
        """Statistics by module name, with `#call` if calls are kept and the path (`[0]`) if the output was nested.

        They stand in the order of the names that were given, or of the model. With a pattern or "leaves", modules that
        never ran have no result.

        Raises:
            ValueError: a requested module never ran, there are non-finite values and `on_non_finite` is "raise", or an
                error aborted a forward pass after some modules had measured its images and others had not.
        """
        self._check_not_aborted()
        self._check_ran()
        groups: dict[str, list[Stream]] = {}
        position = {name: index for index, name in enumerate(self._modules)}
        for key in sorted(self._streams, key=lambda key: (position[key[0]], *key[1:])):
            name, call, path = key
            number = f"#{call}" if self._settings.calls == "keep" else ""
            groups.setdefault(f"{name}{number}{path}", []).append(self._streams[key])
        results = {}
        for title, streams in groups.items():
            try:
                results[title] = finalize(streams, self._settings)
            except ValueError as error:
                raise ValueError(f"module {title!r}: {error}") from error
        return results

    def _check_not_aborted(self) -> None:
        if self._forward.aborted:
            raise ValueError(
                "a forward pass was aborted: some modules measured its images and others did not; measure again, "
                "or continue from an earlier state_dict"
            )

    def _check_ran(self) -> None:
        ran = {name for name, _, _ in self._streams}
        missing = [name for name in self._modules if name not in ran]
        if missing and (self._all_must_run or not ran):
            reason = "only forward passes inside the with block, of the very model that was given, count"
            if hasattr(self._model, "_orig_mod"):
                reason = "code that torch.compile made before calls no hooks: measure the model that was compiled"
            raise ValueError(f"modules {missing} never ran or gave no tensor; {reason}")

    def fresh(self) -> "FeatureStatistics":
        """Statistics of the same model, modules and settings with nothing measured: for another set of images."""
        new = copy.copy(self)
        new._reset()
        return new

    def merge(self, other: "FeatureStatistics") -> None:
        """Add the images that another has measured with the same settings; the order of merges changes no bit.

        Raises:
            ValueError: modules or settings differ, an image was measured by both, or a forward pass was aborted.
        """
        if self._describe() != other._describe():
            raise ValueError(f"merging {other._describe()} into {self._describe()}; they must be equal")
        for statistics in (self, other):
            statistics._check_not_aborted()
        for key, stream in sorted(other._streams.items()):
            self._stream(key).merge(stream)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything measured so far as tensors, for safetensors; reads back from the GPU.

        Raises:
            ValueError: a forward pass was aborted.
        """
        self._check_not_aborted()
        metadata: StateMetadata = {"settings": self._describe(), "streams": []}
        tensors: dict[str, Tensor] = {}
        for index, ((module, call, path), stream) in enumerate(sorted(self._streams.items())):
            metadata["streams"].append({"module": module, "call": call, "path": path, "state": stream.state()})
            if stream.accumulator is not None:
                tensors |= {f"{index}.{name}": value for name, value in stream.accumulator.state().items()}
        return pack(metadata, tensors)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state` was taken: the same batches from there give the same bits as without interruption.

        Raises:
            ValueError: something was measured already, modules or settings differ, or the state is corrupt.
        """
        device = next(self._model.parameters(), torch.empty(0)).device
        metadata, tensors = unpack(state, device)
        if self._streams:
            raise ValueError(f"{len(self._streams)} modules were measured already; load into new statistics")
        if metadata["settings"] != self._describe():
            raise ValueError(f"a state of {metadata['settings']}, loaded into {self._describe()}; they must be equal")
        try:
            for index, entry in enumerate(metadata["streams"]):
                stream = self._stream((entry["module"], entry["call"], entry["path"]))
                stream.restore(entry["state"], tensors_of_stream(tensors, index))
        except BaseException:
            self._streams.clear()
            raise

    def _describe(self) -> dict[str, object]:
        """All that must be equal for two statistics to merge."""
        return vars(self._settings) | {"modules": sorted(self._modules), "channel_axis": self._channel_axes}
