"""The command `features`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from in4310repro.cli.console import (
    activate_arithmetic,
    conclude,
    context_of,
    keep_if,
    print_text,
    print_written,
)
from in4310repro.cli.options import DEVICES, IMAGES, MACHINE, RUN, Device, Model, Weights, choices, option
from in4310repro.models.sources.torchvision import RESNETS
from in4310repro.runs.settings import CHOICES, check_choice

NETWORK = "Network and statistics"
Samples = f"{choices('samples')[:-1]} (counts and quantiles alone)."
ChannelAxis = "NAME=AXIS: where channels are, of modules that are refused because nothing tells; can be repeated."
Calls = "pool or keep the calls of a module that runs several times."


def features(
    data: Annotated[str, option("Folder of images, in any layout.", IMAGES)],
    out: Annotated[Path, option("FILE.json; FILE.csv and FILE.png stand beside it.", RUN)],
    model: Annotated[str, option(Model, NETWORK, of=RESNETS)] = "resnet18",
    weights: Annotated[str, option(Weights, NETWORK, of=("none", "imagenet"))] = "imagenet",
    modules: Annotated[
        str | None, option("NAME,NAME or leaves or /PATTERN/; default: five, see in4310repro modules.", NETWORK)
    ] = None,
    samples: Annotated[str, option(Samples, NETWORK, of=CHOICES["samples"])] = "images",
    precision: Annotated[str, option(choices("precision"), NETWORK, of=CHOICES["precision"])] = "fast",
    calls: Annotated[str, option(Calls, NETWORK, of=CHOICES["calls"])] = "pool",
    channel_axis: Annotated[list[str] | None, option(ChannelAxis, NETWORK, "--channel-axis")] = None,
    images: Annotated[int, option("Images in the sample; all, if there are fewer.", IMAGES)] = 200,
    image_size: Annotated[int, option("Side, pixels.", IMAGES, min=32, max=2**14)] = 224,
    batch_size: Annotated[int, option("Images at a time.", MACHINE, min=1, max=2**20)] = 16,
    eigenvalues: Annotated[int, option("How many are written, the largest first.", NETWORK, min=1)] = 15,
    seed: Annotated[int, option("Of the sample and of weights none.", IMAGES, min=0, max=2**63 - 1)] = 0,
    device: Annotated[str, option(Device, MACHINE, of=DEVICES)] = "auto",
    numerics: Annotated[str, option(choices("numerics"), MACHINE, of=CHOICES["numerics"])] = "native",
    resume: Annotated[bool, option("Continue a measurement that was interrupted.", RUN, "--resume")] = False,
) -> None:
    """Statistics of feature maps over a folder of images, on one process or under torchrun.

    Examples:
        in4310repro features --data photos --out maps.json
        in4310repro features --data photos --out maps.json --model vgg16 --modules leaves --samples none
        in4310repro features --data photos --out maps.json --resume
    """
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

    for name, value in (("samples", samples), ("precision", precision), ("calls", calls)):
        check_choice(name, value)
    request = Request(
        data=data,
        model=model,
        weights=weights,
        modules=modules,
        samples=None if samples == "none" else samples,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        calls=calls,  # type: ignore[arg-type]
        images=images,
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
