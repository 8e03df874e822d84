"""The commands `features`, which measures feature maps, and `modules`, which lists a network's modules."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from in4310repro.cli import console, options
from in4310repro.cli.console import conclude, print_line, print_text
from in4310repro.cli.options import RUN, Place, Text, argument, choices, command, flag, of_config, option
from in4310repro.data.folders import refuse_no_folder
from in4310repro.models.sources import RESNETS, known_names, open_network, refuse_no_weights
from in4310repro.runs import names
from in4310repro.runs.settings import IMAGES, MACHINE, OPTIONS
from in4310repro.system import machine
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.text import columns

NETWORK = "Network and statistics"
SAMPLE = 200  # images
OF_A_FOLDER = "Folder of images, in any layout; for a run: where its images are now, if they moved."
CALLS = "For a module that runs several times: pool its calls, or keep them separate."
AXIS = "NAME=AXIS: channel axis of a module that is refused because the axis is unknown; can be repeated."
IN_SAMPLE = f"Images in the sample (default {SAMPLE}), or the first of a run (default 10); all, if there are fewer."
DRAWS = "a run and --pictures FOLDER"
# Options that have a meaning with a run; its configuration has the others.
OF_PICTURES = ("run", "pictures", "data", "modules", "channel_axis", "images", "model", "device", "numerics")
CLASSES, SIDE = 1000, 224  # pixels


@command()
@argument("run", "A run folder, for --pictures; without it, --data and --out.", required=False, check=options.check_run)
@of_config("data", help_text=OF_A_FOLDER, check=refuse_no_folder)
@option("--out", "FILE.json for the result; FILE.csv and FILE.png are written, too.", Path, RUN)
@option("--pictures", "New folder for pictures of a run's feature maps.", Path, RUN)
@of_config("model", panel=NETWORK, default="resnet18")
@of_config("weights", panel=NETWORK, default="imagenet", check=refuse_no_weights)
@option("--modules", "NAME,NAME or leaves or /PATTERN/; default: those that in4310repro modules marks.", panel=NETWORK)
@option(
    "--samples",
    f"Samples of the covariance: {choices('samples')} (counts and quantiles alone).",
    panel=NETWORK,
    choice="samples",
    default="images",
)
@of_config("precision", help_text=f"Precision: {choices('precision')}.", panel=NETWORK, default="fast")
@option("--calls", CALLS, panel=NETWORK, choice="calls", default="pool")
@option("--channel-axis", AXIS, panel=NETWORK, multiple=True)
@option("--images", IN_SAMPLE, int, IMAGES)
@option("--image-size", "Side, pixels.", int, IMAGES, default=SIDE, within=(32, 2**14))
@option("--batch-size", "Images at a time.", int, MACHINE, default=16, within=(1, 2**20))
@option("--eigenvalues", "Number of the largest eigenvalues to write.", int, NETWORK, default=15, within=(1, None))
@option("--seed", "Seed of the sample, and of the weights with --weights none.", panel=IMAGES, **options.SEED)
@of_config("device", default="auto")
@of_config("numerics", default="native")
@option("--resume", "Continue a measurement that was interrupted.", bool, RUN)
def features(
    run: Place, pictures: Place, data: Text, out: Place, device: str, numerics: str, resume: bool, **how: Any
) -> None:
    """Statistics of feature maps over a folder of images, or pictures of a run's feature maps.

    Examples:
        in4310repro features --data photos --out maps.json
        in4310repro features --data photos --out maps.json --model vgg16 --modules leaves --samples none
        in4310repro features --data photos --out maps.json --resume
        in4310repro features runs/demo --pictures maps
    """
    if run or pictures:
        words = click.get_current_context()
        named = {name for name in words.params if words.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        given = {name: words.params[name] for name in named}
        if run is None or pictures is None:
            raise ValueError(f"give {DRAWS}; the statistics of a run's feature maps are in its {names.FEATURES}")
        if unused := sorted(given.keys() - {*OF_PICTURES}):
            valid = ", ".join(map(flag, OF_PICTURES[1:]))
            raise ValueError(f"{flag(unused[0])} cannot be used with --pictures; a run takes {valid}")
        with console.opened(run, *map(given.get, ("model", "numerics", "device"))) as (finished, context):
            if not context.processes.leads:
                return
            from in4310repro.evaluation.feature_maps import measurement
            from in4310repro.evaluation.feature_maps.pictures import draw_pictures

            how = {name: given[name] for name in ("modules", "images", "data") if name in given}
            axes = measurement.parse_axes(given.get("channel_axis", ()))
            *drawn, index = draw_pictures(finished, pictures, context, channel_axis=axes, **how)
        print_line(f"wrote {len(drawn)} pictures, and {index}")
        conclude({"wrote": [f"{index}"], "pictures": len(drawn)})
        return
    if data is None or out is None:
        raise ValueError(
            f"{'--out' if data else '--data'} is missing; give --data FOLDER and --out FILE.json, or {DRAWS}"
        )
    network = open_network(how["model"])
    context = console.activate(numerics, device)
    from in4310repro.evaluation.feature_maps import measurement, of_folder
    from in4310repro.features.kernel import kernel_description
    from in4310repro.report import figures
    from in4310repro.system.fingerprint import fingerprint

    how["channel_axis"] = measurement.parse_axes(how["channel_axis"])
    how["images"] = SAMPLE if how["images"] is None else how["images"]
    how["samples"] = None if how["samples"] == "none" else how["samples"]
    request = measurement.Request(data=data, **how)
    network.trust()
    if context.numerics.device == "cpu":
        machine.refuse_beyond_memory(
            f"--batch-size {request.batch_size} at --image-size {request.image_size} takes",
            request.batch_size * request.image_size**2 * machine.EVALUATION_BYTES,
        )
    console.keep_if(
        lambda: bool(of_folder.partial_results(out)), "the statistics so far are kept, and --resume continues from them"
    )
    result = of_folder.measure_folder(request, context, out, resume=resume)
    if result is None:
        return
    made_by = fingerprint(context.numerics) | {"feature_kernel": kernel_description()}
    content = {
        ".json": json_bytes(result | {"fingerprint": made_by}),
        ".csv": measurement.to_csv(result).encode(),
        ".png": figures.to_png(figures.draw_features(result["modules"])),
    }
    written = [write_file(of_folder.with_ending(out, suffix), data) for suffix, data in content.items()]
    of_folder.remove_partial_results(out)
    print_text(measurement.to_text(result))
    conclude(console.print_written(written))


@command()
@argument("network", OPTIONS["model"].help, str, required=False)
@option("--list listed", "List torchvision's networks whose names match, such as 'vgg*'.")
@option("--image-size", "Side, pixels.", int, default=SIDE, within=(16, 2**12))
def modules(network: Text, listed: Text, image_size: int) -> None:
    """List the modules of a network and the shapes of their outputs; * marks those measured by default.

    Examples:
        in4310repro modules resnet18
        in4310repro modules --list 'vgg*'
    """
    if (network is None) == (listed is None):
        raise ValueError("give a network, such as in4310repro modules resnet18, or --list '*'")
    opened = open_network(network or RESNETS[0])
    console.load_torch()
    from in4310repro.models.modules import default_modules, obstacle, outputs

    if listed is not None:
        rows, cells = [], [("network", "parameters", "smallest px", "weights", "arithmetic")]
        for found in map(open_network, known_names(listed)):
            try:
                reason = obstacle(found, image_size)
            except ValueError as error:
                reason = f"{error}"
            facts, arithmetic = found.imagenet, f"native: {reason}" if reason else "portable"
            row = {"name": found.name, "parameters": facts.parameters, "smallest": facts.smallest}
            rows.append(row | {"weights": facts.label, "native_since": reason})
            cells.append((found.name, f"{facts.parameters / 1e6:.1f} M", f"{facts.smallest}", facts.label, arithmetic))
        if not rows:
            raise ValueError(f"no network of torchvision fits {listed!r}; --list '*' shows all")
        print_text("\n".join(line.rstrip() for line in columns(cells, "<>><<")))
        conclude({"networks": rows})
        return
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
