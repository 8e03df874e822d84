"""Statistics of the feature maps of any module of a model, computed in hooks during forward passes."""

import copy
import json
import math
import operator
import re
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Literal

import torch
from safetensors.torch import load, save
from torch import Tensor, distributed as dist, nn

from in4310repro.arithmetic.shares import all_gather_bytes
from in4310repro.features import hooks, outputs
from in4310repro.features.axes import AxisFinder
from in4310repro.features.blocks import BLOCK
from in4310repro.features.covariance import Precision
from in4310repro.features.hooks import ForwardPass, ModuleChoice, Names
from in4310repro.features.outputs import ImageCounter, State, iterate_values
from in4310repro.features.result import FeatureResult
from in4310repro.features.stream import Settings, Stream, finalize

StreamKey = tuple[str, int, str]  # module, call in a forward pass, path in a nested output
Source = tuple[str, str]  # module, and the exact path
HALF = "a forward pass was aborted: some modules measured its images and others did not; measure again or load a state"
METADATA = "metadata"  # of a state: a JSON text as uint8


class FeatureStatistics:
    """Counts, mean, covariance and spectrum of module outputs over all images that a model processes.

    Inside the `with` block the model is in evaluation mode and no gradients are recorded; hooks consume each
    output before the next layer can overwrite it, and keep nothing but sums. Afterwards the model is unchanged: each
    module has its mode from before, or the one that the caller has switched it to inside.

    Args:
        model: the model that the caller will run. Its images are counted in the first argument that holds a
            tensor. A tensor has its images on axis 0. A list of mappings, or of tensors with three axes, has one
            image per entry, as in detection. All parts of another nested argument must have the same number of
            images. The output must agree with a number from a nested argument, or the pass is refused.
        modules: exact names; a compiled pattern that whole names must match; or "leaves", all modules without
            children.
        samples: "images": one sample per image, the mean over positions. "positions": every position is a sample.
            "flat": the flattened maps are samples; only the spectrum is computed, and every map is kept. None:
            counts only.
        precision: "fast": float32 products of shifted data, float64 sums of them. "exact": float64 throughout.
        correction: the covariance divides by rows - correction; 1 gives that of `numpy.cov`.
        calls: a module that runs several times in a forward pass has its calls pooled under its name ("pool"), or
            each under `name#0`, `name#1`, ... ("keep").
        on_non_finite: "count" excludes samples with nan or inf and counts them; "raise" raises ValueError at
            once, on a GPU in `result()`.
        first_image: index of the first image, a multiple of 64; for shards that are merged later. Top images need
            indices below 2^32.
        channel_axis: the axis of the channels, by names of modules, of parts of outputs such as `attention[1]`, or of
            modules' classes. It is needed only if the axis is not known. Layers define their axis, and activations
            after a layer and sums of layers have it too. Inputs of the model are assumed to have channels on axis 1
            (images) or on the last axis (tokens: image, token, channel).
        leave_out: names of modules or of parts of outputs, such as `pool[1]`, that are not measured; a module
            includes its children. Or a compiled pattern for whole names. Outputs that cannot be measured must be
            left out, since they raise an error: outputs that are not dense floating-point tensors and, unless
            `samples` is None, outputs whose axis 0 is not images.
        count_images: a function that gets the arguments of the model and returns their number of images, if the
            rule under `model` is wrong or refuses them.
        histogram: whether to count the values by sign, exponent and leading bits, for quantiles.
        top_images: number of images to keep for each channel, those with the largest values. The result then also
            has the channels that are never positive. Outputs need images on axis 0 and channels.

    Raises:
        ValueError: a name, pattern or value is invalid, or the model calls no hooks because torch.jit or
            torch.export made it.

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
        modules: ModuleChoice = "leaves",
        samples: Literal["images", "positions", "flat"] | None = "images",
        precision: Precision = "fast",
        correction: Literal[0, 1] = 0,
        calls: Literal["pool", "keep"] = "pool",
        on_non_finite: Literal["count", "raise"] = "count",
        first_image: int = 0,
        channel_axis: Mapping[str, int] | None = None,
        leave_out: Names = (),
        count_images: ImageCounter | None = None,
        histogram: bool = False,
        top_images: int = 0,
    ) -> None:
        self._settings = Settings(samples, precision, calls, on_non_finite, correction, histogram, top_images)
        if not hasattr(first_image, "__index__") or first_image < 0 or first_image % BLOCK:
            raise ValueError(f"first_image is {first_image}; it must be 0 or a multiple of {BLOCK}")
        self._model = model
        # A compiled model wraps the one whose names the caller knows.
        original = getattr(model, "_orig_mod", model)
        if isinstance(leave_out, str):
            raise ValueError(f"leave_out is {leave_out!r}; give a list of names or a compiled pattern")
        self._leave_out: Names = leave_out if isinstance(leave_out, re.Pattern) else sorted(leave_out)
        self._modules = hooks.leave_out_modules(hooks.choose(original, modules), self._leave_out)
        hooks.check_calls_hooks(original, self._modules)
        self._count_images, self._first_image = count_images, operator.index(first_image)
        self._all_must_run, self._channel_axes = not isinstance(modules, str | re.Pattern), dict(channel_axis or {})
        # Settings with which axis 0 of an output may be anything; none where it may already.
        cut = samples is not None or top_images > 0
        self._uncut = f"samples=None{' and top_images=0' * (top_images > 0)}" * cut
        self._reset()

    def _reset(self) -> None:
        cut = self._settings.samples in ("images", "positions") or self._settings.top_images > 0
        self._axes = AxisFinder(self._model, self._modules, self._channel_axes, cut)
        self._streams: dict[StreamKey, Stream] = {}
        self._sources: dict[str, Source] = {}  # by the name in the result
        self._thread: int | None = None
        self._forward = ForwardPass(self._count_images)
        self._hooks: ExitStack | None = None  # of the block that was entered

    def __enter__(self) -> "FeatureStatistics":
        if self._hooks:
            raise ValueError("these statistics were entered before; make new ones for another set of images")
        with ExitStack() as stack:
            stack.enter_context(hooks.evaluation_mode(self._model))
            stack.enter_context(self._axes.watch())
            stack.enter_context(hooks.capture_outputs(self._model, self._modules, self._consume, self._forward))
            self._hooks = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._hooks:
            self._hooks.__exit__(*error)

    # Where the caller has changed the mode, tensors made here must stay usable in every other mode.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def _consume(self, name: str, call: int, images: int | None, output: object) -> None:
        """Measure the output of a module. All outputs must come from the same thread; otherwise raise ValueError."""
        if self._thread not in (None, threading.get_ident()):
            raise ValueError(f"module {name!r} runs in a second thread; images have an order in one alone")
        self._thread = threading.get_ident()
        paths, module = list[str](), self._modules[name]
        for path, exact, value in iterate_values(output):
            paths.append(path)
            if path and hooks.is_left_out(f"{name}{path}", self._leave_out):
                continue
            hint = f"; leave_out={[name + path]} leaves it out"
            try:
                if paths.count(path) > 1:
                    raise ValueError("two parts of its output have this name, and would be pooled")
                _name_source(self._sources, self._title(name, call, path), (name, exact))
                values = outputs.plain_tensor(value)
                number = outputs.images_of(module, path, values, images, self._uncut, self._count_images is not None)
                axis = self._axes.axis_of(name, path, value) if self._uncut else 1
                measured = self._streams.get((name, call, path)) or Stream(self._settings, self._first_image)
                # Pooled calls are like the first.
                first = self._streams.get((name, 0 if self._settings.calls == "pool" else call, path), measured)
                for earlier in (first, measured) if self._uncut else ():
                    earlier.check_widths((math.prod(values.shape[1:]), values.shape[axis]))
                hint = ""
                measured.check(values, axis, number)
                self._forward.changed = True
                self._streams[name, call, path] = measured
                measured.update(values, axis, number)
            except ValueError as error:
                raise ValueError(f"module {name!r}{path}: {error}{hint}") from error
        if not paths and output not in ((), [], {}):
            raise ValueError(
                f"module {name!r}: its output is of type {type(output).__name__} and holds no tensor; "
                f"leave_out={[name]} leaves it out"
            )

    def _title(self, name: str, call: int, path: str) -> str:
        """Return the name of an output in the result."""
        return f"{name}{f'#{call}' if self._settings.calls == 'keep' else ''}{path}"

    def result(self) -> dict[str, FeatureResult]:
        """Return the statistics of all measured outputs, by name.

        A name is `MODULE`, or `MODULE#CALL` if `calls` is "keep". A part of a nested output has its path, such as
        `[1]`, at the end of the name. If names of modules were given, the results have the order of these names.
        With a pattern or "leaves", the results have the order of the modules in the model, and modules that never
        ran have no result.

        Raises:
            ValueError: a requested module never ran, there are non-finite values and `on_non_finite` is "raise", or
                an error or interrupt ended a forward pass when its images were measured in part.
        """
        self._check_not_aborted()
        ran = {name for name, _, _ in self._streams}
        missing = [name for name in self._modules if name not in ran]
        if missing and (self._all_must_run or not ran):
            reason = "only forward passes inside the with block, of the very model that was given, count"
            if isinstance(self._model, torch.fx.GraphModule):
                reason = "a graph of torch.fx calls its innermost modules alone: name those, or measure the model"
            elif hooks.is_compiled(self._model):
                reason = "code that torch.compile made before calls no hooks: measure the model that was compiled"
            raise ValueError(f"modules {missing} never ran or gave no tensor; {reason}")
        groups: dict[str, list[Stream]] = {}
        position = {name: index for index, name in enumerate(self._modules)}
        for key in sorted(self._streams, key=lambda key: (position[key[0]], *key[1:])):
            groups.setdefault(self._title(*key), []).append(self._streams[key])
        results: dict[str, FeatureResult] = {}
        for title, streams in groups.items():
            try:
                results[title] = finalize(streams, self._settings)
            except ValueError as error:
                raise ValueError(f"module {title!r}: {error}") from error
        return results

    def _check_not_aborted(self) -> None:
        if self._forward.aborted or self._forward.changed:
            raise ValueError(HALF)

    def fresh(self) -> "FeatureStatistics":
        """Return empty statistics of the same model with the same modules and settings, for another image set."""
        new = copy.copy(self)
        new._reset()
        return new

    def merge(self, *others: "FeatureStatistics") -> None:
        """Add the images that `others` have measured; the result has the same bits in any order of merging.

        After an error, none of their images are added.

        Raises:
            ValueError: modules or settings differ, an image was measured twice, or a forward pass was aborted.
        """
        self._check_not_aborted()
        streams, sources = dict(self._streams), dict(self._sources)
        for other in others:
            self._check_settings("two statistics", other._describe())
            other._check_not_aborted()
            for title, source in other._sources.items():
                _name_source(sources, title, source)
            for key, of_other in sorted(other._streams.items()):
                # A copy, which shares its tensors: after an error, the stream is as it was.
                merged = copy.copy(streams.get(key)) or Stream(self._settings, self._first_image)
                merged.accumulator = copy.copy(merged.accumulator)
                merged.merge(of_other)
                streams[key] = merged
        self._streams, self._sources = streams, sources

    def state_dict(self) -> State:
        """Return everything measured so far as a dict of tensors that safetensors can save.

        Tensors on the GPU are copied to the memory of the CPU.

        Raises:
            ValueError: a forward pass was aborted.
        """
        self._check_not_aborted()
        streams: list[dict[str, object]] = []
        values: State = {}
        for index, ((module, call, path), each) in enumerate(sorted(self._streams.items())):
            streams.append({"module": module, "call": call, "path": path, "state": each.state()})
            values |= {f"{index}.{name}": value for name, value in each.tensors().items()}
        metadata = json.dumps({"settings": self._describe(), "streams": streams}).encode()
        values[METADATA] = torch.frombuffer(bytearray(metadata), dtype=torch.uint8)
        return {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in values.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state; the remaining batches then give the same bits as without interruption.

        Raises:
            ValueError: images have been measured already, modules or settings differ, or the state is corrupt.
        """
        if METADATA not in state:
            raise ValueError(f"no entry {METADATA!r} in a state of {sorted(state)}; it was not made by state_dict")
        metadata = json.loads(bytes(state[METADATA].tolist()))
        if self._streams:
            raise ValueError(f"{len(self._streams)} modules were measured already; load into new statistics")
        self._check_settings("these statistics and the state", metadata["settings"])
        device = next(self._model.parameters(), torch.empty(0, device="cpu")).device
        streams: dict[StreamKey, Stream] = {}
        for index, entry in enumerate(metadata["streams"]):
            new = streams[entry["module"], entry["call"], entry["path"]] = Stream(self._settings, self._first_image)
            own = (key for key in state if key.startswith(f"{index}."))
            new.restore(entry["state"], {key.partition(".")[2]: state[key].to(device, copy=True) for key in own})
        self._streams = streams

    def _describe(self) -> dict[str, object]:
        """Return the settings that two statistics must have in common before they can be merged."""
        described = self._settings.describe() | {"modules": sorted(self._modules), "channel_axis": self._channel_axes}
        if self._leave_out:
            described["leave_out"] = getattr(self._leave_out, "pattern", self._leave_out)
        return described

    def _check_settings(self, which: str, other: Mapping[str, object]) -> None:
        """Raise ValueError where settings differ, with both values of each."""
        own = self._describe()
        if differing := [name for name in sorted(own.keys() | other.keys()) if own.get(name) != other.get(name)]:
            raise ValueError(
                f"{which} have {', '.join(f'{name} {own.get(name)!r} and {other.get(name)!r}' for name in differing)}; "
                "they must be equal"
            )


def _name_source(sources: dict[str, Source], title: str, source: Source) -> None:
    """Record the source of an output in `sources`; raise ValueError if its title already names another one."""
    if (known := sources.setdefault(title, source)) != source:
        raise ValueError(
            f"{title!r} names {known[1] or 'the output'} of module {known[0]!r}, and {source[1] or 'the output'} of "
            f"module {source[0]!r}: they would be pooled, so one needs another name"
        )


def gather(statistics: FeatureStatistics, group: dist.ProcessGroup | None = None) -> None:
    """Merge the statistics of all ranks in place. Afterwards every rank has the statistics of all images.

    This is a collective operation. Every rank of the group must call it, after the `with` block that measures.

    Raises:
        ValueError: settings differ between ranks, or two ranks measured the same image.

    Examples:
        Here two ranks take turns in one process, and `merge` replaces `gather(statistics)`. After `gather`, every
        rank has the statistics of all images, with the same bits for any number of ranks.

        >>> import torch
        >>> from torch import nn
        >>> from in4310repro.features import FeatureStatistics, batches, first_image
        >>> images = torch.linspace(-1, 1, 100 * 3 * 4 * 4).reshape(100, 3, 4, 4)
        >>> model = nn.Sequential(nn.ReLU())
        >>> shards = []
        >>> for rank in range(2):
        ...     start = first_image(len(images), rank, world_size=2)
        ...     with FeatureStatistics(model, ["0"], first_image=start) as statistics:
        ...         for batch in batches(len(images), 32, rank, world_size=2):
        ...             outputs = model(images[batch.start : batch.stop])
        ...     shards.append(statistics)
        >>> shards[0].merge(shards[1])
        >>> shards[0].result()["0"].images, shards[0].result()["0"].non_positive
        (100, 0.5)
    """
    this_rank, others = dist.get_rank(group), []
    for rank, state in enumerate(all_gather_bytes(save(statistics.state_dict()), group)):
        if rank != this_rank:
            other = statistics.fresh()
            other.load_state_dict(load(state))
            others.append(other)
    # All at once, so that an error leaves none of them in.
    statistics.merge(*others)
