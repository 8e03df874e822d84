"""Pictures of a run's feature maps: one PNG file for each of its first test images and each module, and an index."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from in4310repro.data.images import evaluation_batches
from in4310repro.evaluation.feature_maps import tiles
from in4310repro.evaluation.feature_maps.measurement import parse_modules
from in4310repro.features.axes import AxisFinder
from in4310repro.features.hooks import ForwardPass, capture_outputs, check_calls_hooks, choose, evaluation_mode
from in4310repro.features.tensors import iterate_values, plain_tensor
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, write_file

INDEX = "pictures.json"
LONGEST = 60  # characters of a name of an image or module in the name of a file
Maps = dict[str, Float[Tensor, "channel height width"]]  # of one image, by the title of the module


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
        raise ValueError(f"{images} images are requested; at least 1 is needed")
    asked = list(run.config.modules) if modules is None else parse_modules(modules)
    model = context.numerics.place(run.selected_network())
    chosen, split = choose(model, asked), run.split_below(data)
    # No other image is decoded.
    first = run.config.load("test", split.root, split.parts["test"][:images], context.progress, cache=False)
    rows: list[dict[str, Any]] = []
    not_drawn: dict[str, str] = {}
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
            # All maps of an image are drawn before one is written: what is refused leaves no file.
            for row, png in list(_draw_image(maps, folder, path)):
                (to / row["file"]).parent.mkdir(parents=True, exist_ok=True)
                write_file(to / row["file"], png)
                rows.append(row)
            not_drawn |= reasons
            advance(1, "")
    label = run.config.protocol.label
    index = {
        "network": f"{run.config.model} as trained here by setting {run.metrics['setting']}",
        "weights_sha256": run.metrics["weights_sha256"],
        **({"label": label} if label else {}),
        "colours": {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in tiles.COLOURS.items()},
        "shade": "sqrt(|value| / m), where m is |minimum| below zero and the maximum above, of the whole file",
        "pictures": rows,
        "not_drawn": not_drawn,
    }
    return [*(to / row["file"] for row in rows), write_file(to / INDEX, json_bytes(index))]


def maps_of(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    image: Float[Tensor, "1 channel height width"],
    channel_axis: Mapping[str, int],
) -> tuple[Maps, dict[str, str]]:
    """Pass one image through a network in eval mode; return copies of the modules' outputs, with channels first.

    Also return why other modules have none. The network's modes and hooks are as before afterwards. A module that runs
    several times has the titles `NAME#0`, `NAME#1` and so on, and a part of a nested output has its path at the end of
    the title.

    Raises:
        ValueError: two outputs have the same title.
    """
    check_calls_hooks(model, modules)
    axes = AxisFinder(model, modules, channel_axis, needed=True)
    outputs: dict[tuple[str, int, str], Tensor] = {}
    reasons: dict[str, str] = dict.fromkeys(modules, "it did not run")
    alike: list[str] = []

    def keep(name: str, call: int, _images: int | None, output: object) -> None:
        reasons.pop(name, None)
        for path, _, value in iterate_values(output):
            if (name, call, path) in outputs:
                alike.append(f"{name}{path}")
            try:
                outputs[name, call, path] = _channels(axes, name, path, value)
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


def _channels(axes: AxisFinder, name: str, path: str, output: object) -> Float[Tensor, "channel height width"]:
    """Return a copy of the output for the only image.

    Raises:
        ValueError: the output is not a tensor of image, channel, height and width, or its channel axis is unknown.
    """
    values = plain_tensor(output)
    if values.ndim != 4 or len(values) != 1 or not values.numel():
        raise ValueError(
            f"its output has shape {tuple(values.shape)} for one image; image x channel x height x width is drawn"
        )
    # Cloned: torchvision's ReLU and residual sum overwrite it in place.
    return values.movedim(axes.axis_of(name, path, output), 1)[0].detach().cpu().float().clone()


def _draw_image(maps: Maps, folder: str, image: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield the entry in the index and the picture of each map."""
    width = len(str(len(maps)))
    for number, (title, channels) in enumerate(maps.items(), 1):
        finite = channels[channels.isfinite()]
        row = {
            "file": f"{folder}/{number:0{width}}-{portable_name(title) or 'network'}.png",
            "image": image,
            "module": title,
            "shape": list(channels.shape),
            "minimum": float(finite.min()) if len(finite) else None,
            "maximum": float(finite.max()) if len(finite) else None,
            "non_positive": float((channels <= 0).double().mean()),
            "non_finite": channels.numel() - len(finite),
        }
        try:
            yield row, tiles.to_png(channels.numpy())
        except ValueError as error:
            raise ValueError(f"module {title!r} cannot be drawn: {error}") from None


def portable_name(name: str) -> str:
    """Return the name with only ASCII letters, digits, `.`, `_` and `-`, for the end of a file's name.

    A number before it makes the file's name unique, also where upper and lower case are one, and no device of Windows.

    Examples:
        >>> portable_name("buildings/0003"), portable_name("layer1.0.relu#1"), portable_name("été: *?")
        ('buildings-0003', 'layer1.0.relu-1', 't')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-LONGEST:].strip("-. ")
