"""The command `features`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import activate_arithmetic, print_line, progress
from in4310repro.cli.options import Device, Model, Weights, choices
from in4310repro.config import check_choice


def features(
    data: Annotated[str, typer.Option(help="Folder of images, in any layout.")],
    out: Annotated[Path, typer.Option(help="FILE.json; FILE.csv and FILE.png stand beside it.")],
    model: Annotated[str, typer.Option(help=Model)] = "resnet18",
    weights: Annotated[str, typer.Option(help=Weights)] = "imagenet",
    modules: Annotated[
        str | None, typer.Option(help="NAME,NAME or leaves or /PATTERN/; default: five, see in4310repro modules.")
    ] = None,
    samples: Annotated[str, typer.Option(help=f"{choices('samples')[:-1]} (counts alone).")] = "images",
    precision: Annotated[str, typer.Option(help=choices("precision"))] = "fast",
    calls: Annotated[str, typer.Option(help="pool or keep the calls of a module that runs several times.")] = "pool",
    images: Annotated[int, typer.Option(help="Images in the sample; all, if there are fewer.")] = 200,
    image_size: Annotated[int, typer.Option(help="Side, pixels.", min=32, max=2**14)] = 224,
    batch_size: Annotated[int, typer.Option(min=1, max=2**20)] = 16,
    eigenvalues: Annotated[int, typer.Option(help="How many are written, the largest first.", min=1)] = 15,
    seed: Annotated[int, typer.Option(help="Of the sample and of weights none.", min=0, max=2**63 - 1)] = 0,
    device: Annotated[str, typer.Option(help=Device)] = "auto",
    numerics: Annotated[str, typer.Option(help=choices("numerics"))] = "native",
    resume: Annotated[bool, typer.Option("--resume", help="Continue a measurement that was interrupted.")] = False,
) -> None:
    """Statistics of feature maps over a folder of images, on one process or under torchrun."""
    active = activate_arithmetic(numerics, device)
    from in4310repro import architectures, capacity
    from in4310repro.feature_maps.of_folder import measure
    from in4310repro.feature_maps.partial import remove_partial_results, with_ending
    from in4310repro.feature_maps.records import to_csv
    from in4310repro.feature_maps.request import Request
    from in4310repro.features import kernel_description
    from in4310repro.files import json_bytes, write_file
    from in4310repro.fingerprint import fingerprint
    from in4310repro.report import figures

    for name, value in (("samples", samples), ("precision", precision), ("calls", calls)):
        check_choice(name, value)
    architectures.trust(model)
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
    )
    if active.device == "cpu":
        need = batch_size * image_size**2 * capacity.EVALUATION_BYTES
        capacity.refuse_beyond_memory(f"--batch-size {batch_size} at --image-size {image_size} takes", need)
    result = measure(request, active, progress(), out, resume=resume)
    if result is None:
        return
    made_by = fingerprint(active) | {"feature_kernel": kernel_description()}
    content = {
        ".json": json_bytes(result | {"fingerprint": made_by}),
        ".csv": to_csv(result).encode(),
        ".png": figures.png(figures.features(result["modules"])),
    }
    for suffix, written in content.items():
        print_line(f"wrote {write_file(with_ending(out, suffix), written)}")
    remove_partial_results(out)
