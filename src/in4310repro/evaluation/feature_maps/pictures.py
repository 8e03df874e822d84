"""Pictures of a run's feature maps: one PNG file for each of its first test images and each module, and an index."""

import io
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from PIL import Image
from torch import Tensor, nn

from in4310repro.data.images import evaluation_batches
from in4310repro.evaluation.feature_maps.measurement import parse_modules
from in4310repro.features.axes import AxisFinder
from in4310repro.features.hooks import ForwardPass, capture_outputs, check_calls_hooks, choose, evaluation_mode
from in4310repro.features.outputs import iterate_values, plain_tensor
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, write_file

SHADES = 126  # of values that are not positive, and as many of positive ones
NOT_FINITE, GAP = 2 * SHADES, 2 * SHADES + 1  # indices in the palette
COLOURS = {
    "zero": (70, 130, 255),
    "the minimum below zero": (8, 16, 60),
    "just above zero": (60, 36, 10),
    "the maximum above zero": (255, 222, 130),
    "not finite": (255, 0, 200),
    "between tiles": (255, 255, 255),
}
SIDE = 1024  # pixels; a picture is enlarged up to this width and height
LARGEST_FACTOR = 16
LARGEST = 2**26  # pixels


def to_png(channels: Float32[np.ndarray, "channel height width"]) -> bytes:
    """Return the channels of one image's feature map as a PNG file, in a grid in row-major order.

    Each value is a square of equal pixels, and tiles are one pixel apart. Values <= 0 are blue, positive ones from
    brown to yellow. The shade is sqrt(|value| / m), where m is the magnitude of the lowest or of the highest finite
    value of the whole map, so that a colour means the same value in each channel.

    Raises:
        ValueError: the picture would have more than 2^26 pixels.
    """
    count, height, width = channels.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    room = min(SIDE // columns - 1, SIDE // rows - 1)
    factor = max(1, min(LARGEST_FACTOR, room // max(height, width)))
    tall, wide = height * factor + 1, width * factor + 1
    if rows * tall * columns * wide > LARGEST:
        raise ValueError(
            f"{rows} x {columns} tiles of {height} x {width} values are too many for a picture of {LARGEST} pixels; "
            "choose other modules"
        )
    finite = np.isfinite(channels)
    known = np.where(finite, channels, 0).astype(np.float64)
    sides = (each.clip(min=0) for each in (-known, known))
    # Square roots of the values as shares of the highest one; 0 where all are 0.
    below, above = (np.rint(np.sqrt(each / (each.max() or 1)) * (SHADES - 1)) for each in sides)
    # The place of each value in the palette: 0 for zero, 125 minimum, 126 just above zero, 251 maximum.
    shades = np.where(finite, np.where(known > 0, SHADES + above, below), NOT_FINITE).astype(np.uint8)
    tiles = np.full((rows * columns, tall, wide), GAP, np.uint8)
    tiles[:count, :-1, :-1] = shades.repeat(factor, axis=1).repeat(factor, axis=2)
    grid = tiles.reshape(rows, columns, tall, wide).swapaxes(1, 2).reshape(rows * tall, columns * wide)
    # The gap after the last row and column is left out.
    picture = Image.fromarray(grid[:-1, :-1])
    steps, colours = np.linspace(0, 1, SHADES)[:, None], np.array([*COLOURS.values()])
    ramps = [np.rint((1 - steps) * start + steps * end) for start, end in (colours[:2], colours[2:4])]
    picture.putpalette(np.concatenate([*ramps, colours[4:]]).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return buffer.getvalue()


INDEX = "pictures.json"
LONGEST = 60  # characters of a name of an image or module in the name of a file


def draw_pictures(
    run: FinishedRun,
    to: Path,
    context: Context,
    *,
    modules: str | None = None,
    images: int = 10,
    channel_axis: Mapping[str, int] | None = None,
    data: str | None = None,
) -> list[Path]:
    """Draw feature maps of a run's selected network for its first test images; return the paths of the written files.

    Each image passes through the network alone, so no batch size matters. The index is written last.

    Args:
        run: gives network and test images.
        to: a new or empty folder.
        context: arithmetic and progress of the computation.
        modules: the modules, as `parse_modules` reads them; None: those that the run measured.
        images: how many of the test set, the first; all, if there are fewer.
        channel_axis: axes of modules of which nothing else tells it.
        data: the present folder of the run's images; None: the recorded one.

    Raises:
        ValueError: the folder has files; there is no such module; a named module gives no maps of channels, height
            and width, or maps that are too large; or fewer than one image is requested.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ValueError(f"{to} is not an empty folder; --pictures takes a new or empty one")
    if images < 1:
        raise ValueError(f"{images} images were requested; at least 1 is needed")
    asked = list(run.config.modules) if modules is None else parse_modules(modules)
    model = context.numerics.place(run.selected_network())
    chosen, split = choose(model, asked), run.split_below(data)
    # No other image is decoded.
    first = run.config.load("test", split.root, split.parts["test"][:images], context.progress, cache=False)
    rows, written, not_drawn = list[dict[str, Any]](), list[Path](), dict[str, str]()
    with context.progress.task("drawing feature maps", len(first)) as advance:
        for number, batch in enumerate(evaluation_batches(first, 1)):
            maps, reasons = maps_of(model, chosen, batch.images.to(context.numerics.device), channel_axis or {})
            if isinstance(asked, list) and reasons:
                name, why = next(iter(reasons.items()))
                raise ValueError(f"module {name!r} cannot be drawn: {why}; leaves draws all modules that can be")
            if not maps:
                raise ValueError(f"none of the modules {sorted(reasons)} can be drawn")
            path = first.paths[number]
            name = portable_name(path.rpartition(".")[0] or path)
            folder = f"{number + 1:0{max(3, len(str(len(first))))}}" + (f"-{name}" if name else "")
            drawn = {}
            for place, (title, channels) in enumerate(maps.items(), 1):
                file = f"{folder}/{place:0{len(str(len(maps)))}}-{portable_name(title) or 'network'}.png"
                finite = channels[channels.isfinite()]
                rows.append(
                    {
                        "file": file,
                        "image": path,
                        "module": title,
                        "shape": list(channels.shape),
                        "minimum": float(finite.min()) if len(finite) else None,
                        "maximum": float(finite.max()) if len(finite) else None,
                        "non_positive": float((channels <= 0).double().mean()),
                        "non_finite": channels.numel() - len(finite),
                    }
                )
                try:
                    drawn[to / file] = to_png(channels.numpy())
                except ValueError as error:
                    raise ValueError(f"module {title!r} cannot be drawn: {error}") from None
            # All maps of an image are drawn before one is written: what is refused leaves no file.
            (to / folder).mkdir(parents=True, exist_ok=True)
            written += [write_file(file, png) for file, png in drawn.items()]
            not_drawn |= reasons
            advance(1, "")
    index = {
        "network": f"{run.config.model} as trained here by setting {run.metrics['setting']}",
        "weights_sha256": run.metrics["weights_sha256"],
        **({"label": label} if (label := run.config.protocol.label) else {}),
        "colours": {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in COLOURS.items()},
        "shade": "sqrt(|value| / m), where m is |minimum| below zero and the maximum above, of the whole file",
        "pictures": rows,
        "not_drawn": not_drawn,
    }
    return [*written, write_file(to / INDEX, json_bytes(index))]


def maps_of(
    model: nn.Module, modules: Mapping[str, nn.Module], image: Tensor, channel_axis: Mapping[str, int]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Pass one image through a network in eval mode; return copies of the outputs [channel, height, width].

    Also return why other modules have none. The network's modes and hooks are as before afterwards. A module that runs
    several times has the titles `NAME#0`, `NAME#1` and so on, and a part of a nested output has its path at the end of
    the title.

    Raises:
        ValueError: two outputs have the same title.
    """
    check_calls_hooks(model, modules)
    axes = AxisFinder(model, modules, channel_axis, needed=True)
    outputs: dict[tuple[str, int, str], Tensor] = {}
    reasons = dict.fromkeys(modules, "it did not run")
    alike: list[str] = []

    def keep(name: str, call: int, _images: int | None, output: object) -> None:
        reasons.pop(name, None)
        for path, _, value in iterate_values(output):
            if (name, call, path) in outputs:
                alike.append(f"{name}{path}")
            try:
                tensor = plain_tensor(value)
                if tensor.ndim != 4 or len(tensor) != 1 or not tensor.numel():
                    raise ValueError(
                        f"its output has shape {tuple(tensor.shape)} for one image; image x channel x height x width "
                        "is drawn"
                    )
                channels = tensor.movedim(axes.axis_of(name, path, value), 1)[0]
                # Cloned: torchvision's ReLU and residual sum overwrite it in place.
                outputs[name, call, path] = channels.detach().cpu().float().clone()
            except ValueError as error:
                reasons[f"{name}{path}"] = str(error)

    with evaluation_mode(model), axes.watch(), capture_outputs(model, modules, keep, ForwardPass()):
        model(image)
    repeated = {name for name, call, _ in outputs if call}
    order = list(modules)
    keys = sorted(outputs, key=lambda key: (order.index(key[0]), key[1]))
    titles = {key: f"{key[0]}{f'#{key[1]}' if key[0] in repeated else ''}{key[2]}" for key in keys}
    alike += [title for title, number in Counter(titles.values()).items() if number > 1]
    if alike:
        raise ValueError(f"two outputs are named {alike[0]!r}; a picture needs a name of its own")
    return {titles[key]: outputs[key] for key in keys}, reasons


def portable_name(name: str) -> str:
    """Return the name with only ASCII letters, digits, `.`, `_` and `-`, for the end of a file's name.

    A number before it makes the file's name unique, also where upper and lower case are one, and no device of Windows.

    Examples:
        >>> portable_name("buildings/0003"), portable_name("layer1.0.relu#1"), portable_name("été: *?")
        ('buildings-0003', 'layer1.0.relu-1', 't')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-LONGEST:].strip("-. ")
