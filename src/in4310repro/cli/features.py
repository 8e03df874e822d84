"""The commands `features`, which measures feature maps, and `modules`, which lists a network's modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from in4310repro.cli import before
from in4310repro.cli.console import (
    activate_arithmetic,
    activate_as_recorded,
    conclude,
    context_of,
    keep_if,
    load_torch,
    print_line,
    print_text,
    print_written,
    trust_network,
)
from in4310repro.cli.options import DEVICES, IMAGES, MACHINE, RUN, Device, Model, Weights, choices, option
from in4310repro.models.network import open_network
from in4310repro.models.sources import RESNETS
from in4310repro.runs import names
from in4310repro.runs.settings import CHOICES

NETWORK = "Network and statistics"
Samples = f"{choices('samples')[:-1]} (counts and quantiles alone)."
ChannelAxis = "NAME=AXIS: channel axis of a module that is refused because the axis is unknown; can be repeated."
Calls = "pool or keep the calls of a module that runs several times."
SAMPLE = 200  # images
Images = f"Images in the sample, default {SAMPLE}; of a run: the first ones, default 10; all, if there are fewer."
DRAWS = "a run and --pictures FOLDER"
# Options that have a meaning with a run; its configuration has the others.
OF_PICTURES = ("run", "pictures", "data", "modules", "channel_axis", "images", "model", "device", "numerics")


def features(
    context: typer.Context,
    run: Annotated[
        Path | None, typer.Argument(help="A run folder, for --pictures; without it, --data and --out."), before.RUN
    ] = None,
    data: Annotated[
        str | None,
        option("Folder of images, in any layout; of a run: its images, if they moved.", IMAGES),
        before.FOLDER,
    ] = None,
    out: Annotated[
        Path | None, option("FILE.json for the result; FILE.csv and FILE.png are written, too.", RUN)
    ] = None,
    pictures: Annotated[Path | None, option("New folder for pictures of a run's feature maps.", RUN)] = None,
    model: Annotated[str, option(Model, NETWORK, of=RESNETS)] = "resnet18",
    weights: Annotated[str, option(Weights, NETWORK, of=("none", "imagenet")), before.WEIGHTS] = "imagenet",
    modules: Annotated[
        str | None, option("NAME,NAME or leaves or /PATTERN/; default: five, see in4310repro modules.", NETWORK)
    ] = None,
    samples: Annotated[str, option(Samples, NETWORK, of=CHOICES["samples"]), before.choice("samples")] = "images",
    precision: Annotated[
        str, option(choices("precision"), NETWORK, of=CHOICES["precision"]), before.choice("precision")
    ] = "fast",
    calls: Annotated[str, option(Calls, NETWORK, of=CHOICES["calls"]), before.choice("calls")] = "pool",
    channel_axis: Annotated[list[str] | None, option(ChannelAxis, NETWORK, "--channel-axis")] = None,
    images: Annotated[int | None, option(Images, IMAGES)] = None,
    image_size: Annotated[int, option("Side, pixels.", IMAGES, min=32, max=2**14)] = 224,
    batch_size: Annotated[int, option("Images at a time.", MACHINE, min=1, max=2**20)] = 16,
    eigenvalues: Annotated[int, option("Number of the largest eigenvalues to write.", NETWORK, min=1)] = 15,
    seed: Annotated[int, option("Seed of the sample, and of weights none.", IMAGES, min=0, max=2**63 - 1)] = 0,
    device: Annotated[str, option(Device, MACHINE, of=DEVICES), before.DEVICE] = "auto",
    numerics: Annotated[
        str, option(choices("numerics"), MACHINE, of=CHOICES["numerics"]), before.choice("numerics")
    ] = "native",
    resume: Annotated[bool, option("Continue a measurement that was interrupted.", RUN, "--resume")] = False,
) -> None:
    """Statistics of feature maps over a folder of images, or pictures of a run's feature maps.

    Examples:
        in4310repro features --data photos --out maps.json
        in4310repro features --data photos --out maps.json --model vgg16 --modules leaves --samples none
        in4310repro features --data photos --out maps.json --resume
        in4310repro features runs/demo --pictures maps
    """
    if run or pictures:
        _draw(run, pictures, _given(context))
        return
    if data is None or out is None:
        raise ValueError(
            f"{'--out' if data else '--data'} is missing; give --data FOLDER and --out FILE.json, or {DRAWS}"
        )
    open_network(model)
    active = activate_arithmetic(numerics, device)
    from in4310repro.evaluation.feature_maps.measurement import Request, parse_axes
    from in4310repro.evaluation.feature_maps.of_folder import (
        measure_folder,
        partial_results,
        remove_partial_results,
        with_ending,
    )
    from in4310repro.evaluation.feature_maps.records import to_csv, to_text
    from in4310repro.features import kernel_description
    from in4310repro.report import figures
    from in4310repro.system import machine
    from in4310repro.system.files import json_bytes, write_file
    from in4310repro.system.fingerprint import fingerprint

    request = Request(
        data=data,
        model=model,
        weights=weights,
        modules=modules,
        samples=None if samples == "none" else samples,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        calls=calls,  # type: ignore[arg-type]
        images=SAMPLE if images is None else images,
        image_size=image_size,
        batch_size=batch_size,
        eigenvalues=eigenvalues,
        seed=seed,
        channel_axis=parse_axes(channel_axis or ()),
    )
    request.network.trust()
    if active.device == "cpu":
        need = batch_size * image_size**2 * machine.EVALUATION_BYTES
        machine.refuse_beyond_memory(f"--batch-size {batch_size} at --image-size {image_size} takes", need)
    keep_if(lambda: bool(partial_results(out)), "the statistics so far are kept, and --resume continues from them")
    result = measure_folder(request, context_of(active), out, resume=resume)
    if result is None:
        return
    made_by = fingerprint(active) | {"feature_kernel": kernel_description()}
    content = {
        ".json": json_bytes(result | {"fingerprint": made_by}),
        ".csv": to_csv(result).encode(),
        ".png": figures.to_png(figures.draw_features(result["modules"])),
    }
    written = [write_file(with_ending(out, suffix), data) for suffix, data in content.items()]
    remove_partial_results(out)
    print_text(to_text(result))
    conclude(print_written(written))


def _given(context: typer.Context) -> dict[str, Any]:
    """Return the values of the options that the user gave, by the names of the parameters."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name: context.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _draw(run: Path | None, folder: Path | None, given: Mapping[str, Any]) -> None:
    """Draw the feature maps of a run into a folder, by the options that were given."""
    if run is None or folder is None:
        raise ValueError(f"give {DRAWS}; {names.FEATURES} of a run has the statistics of its feature maps")
    if unused := sorted(set(given) - {*OF_PICTURES, "quiet", "json"}):
        raise ValueError(
            f"--{unused[0].replace('_', '-')} has no meaning with --pictures; valid with a run are "
            + ", ".join(f"--{name.replace('_', '-')}" for name in OF_PICTURES[1:])
        )
    load_torch()
    from in4310repro.evaluation.feature_maps.measurement import parse_axes
    from in4310repro.evaluation.feature_maps.pictures import draw_pictures
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.runs.folder import unchanged
    from in4310repro.system.processes import join

    chosen = {name: given[name] for name in ("modules", "images", "data") if name in given}
    axes = parse_axes(given.get("channel_axis") or ())
    with join("cpu") as processes:
        if not processes.leads:
            return
        with unchanged(run):
            finished = FinishedRun.open(run)
            trust_network(given.get("model"), finished.config.model)
            active = activate_as_recorded(finished.fingerprint, given.get("numerics"), given.get("device"))
            *drawn, index = draw_pictures(finished, folder, context_of(active), channel_axis=axes, **chosen)
    print_line(f"wrote {len(drawn)} pictures, and {index}")
    conclude({"wrote": [str(index)], "pictures": len(drawn)})


CLASSES = 1000
SIDE = 224  # pixels


def modules(
    network: Annotated[str | None, typer.Argument(help=Model)] = None,
    listed: Annotated[str | None, typer.Option("--list", help="Show torchvision's networks, such as 'vgg*'.")] = None,
    image_size: Annotated[int, typer.Option(help="Side, pixels.", min=16, max=2**12)] = SIDE,
) -> None:
    """List the modules of a network and the shapes of their outputs; * marks those measured by default.

    Examples:
        in4310repro modules resnet18
        in4310repro modules --list 'vgg*'
    """
    if (network is None) == (listed is None):
        raise ValueError("give a network, such as in4310repro modules resnet18, or --list '*'")
    opened = open_network(network or RESNETS[0])
    load_torch()
    if listed is not None:
        rows = _rows(listed, image_size)
        print_text(_table(rows))
        conclude({"networks": rows})
        return
    from in4310repro.models.modules import default_modules, outputs

    opened.trust()
    model = opened.build(CLASSES, seed=0)
    seen = outputs(model, opened.name, image_size)
    default = default_modules(model, opened.name, image_size, seen)
    width = max(len(each.name) for each in seen)
    parameters = sum(value.numel() for value in model.parameters())
    print_line(f"{network}: {parameters / 1e6:.1f} M parameters; outputs for one image of {image_size} px")
    for each in seen:
        shape = " x ".join(map(str, each.shape))
        print_line(f"{'*' if each.name in default else ' '} {each.name:<{width}}  {each.kind:<24} {shape}")
    rows = [each._asdict() | {"measured_by_default": each.name in default} for each in seen]
    conclude({"network": network, "parameters": parameters, "image_size": image_size, "modules": rows})


def _rows(pattern: str, image_size: int) -> list[dict[str, Any]]:
    """Return a dict for each network whose name matches the pattern.

    The dict has the network's number of parameters, smallest image side and weights. It also has the reason why
    the network cannot run in portable arithmetic, if there is one.

    Raises:
        ValueError: no network's name matches.
    """
    from in4310repro.models.sources import known_names

    names = known_names(pattern)
    if not names:
        raise ValueError(f"no network of torchvision fits {pattern!r}; --list '*' shows all")
    rows = []
    for name in names:
        try:
            reason = open_network(name).obstacle(image_size)
        except ValueError as error:
            reason = str(error)
        facts = open_network(name).imagenet
        row = {"name": name, "parameters": facts.parameters, "smallest": facts.smallest, "weights": facts.label}
        rows.append(row | {"native_since": reason})
    return rows


def _table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a text table with aligned columns; the last column is not cut."""
    cells = [("network", "parameters", "smallest px", "weights", "arithmetic")]
    for row in rows:
        arithmetic = f"native: {row['native_since']}" if row["native_since"] else "portable"
        count = f"{row['parameters'] / 1e6:.1f} M"
        cells.append((row["name"], count, f"{row['smallest']}", row["weights"], arithmetic))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        f"{name:<{widths[0]}}  {count:>{widths[1]}}  {side:>{widths[2]}}  {weights:<{widths[3]}}  {arithmetic}"
        for name, count, side, weights, arithmetic in cells
    )
