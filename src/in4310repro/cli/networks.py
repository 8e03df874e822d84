"""The command `modules`."""

from __future__ import annotations

from typing import Annotated

import typer

from in4310repro.cli.console import print_line, print_text
from in4310repro.cli.options import Model

CLASSES = 1000
SIDE = 224  # pixels


def modules(
    network: Annotated[str | None, typer.Argument(help=Model)] = None,
    listed: Annotated[str | None, typer.Option("--list", help="Show torchvision's networks, such as 'vgg*'.")] = None,
    image_size: Annotated[int, typer.Option(help="Side, pixels.", min=16, max=2**12)] = SIDE,
) -> None:
    """Show the modules of a network with the shape of what each returns; * marks those measured by default."""
    from in4310repro import architectures, models

    if listed is not None and network is None:
        print_text(_table(listed, image_size))
        return
    if network is None or listed is not None:
        raise ValueError("give a network, such as in4310repro modules resnet18, or --list '*'")
    architectures.trust(network)
    model = models.build(network, CLASSES, seed=0)
    seen = architectures.outputs(model, network, image_size)
    default = architectures.default_modules(model, network, image_size, seen)
    width = max(len(each.name) for each in seen)
    millions = sum(value.numel() for value in model.parameters()) / 1e6
    print_line(f"{network}: {millions:.1f} M parameters; outputs for one image of {image_size} px")
    for each in seen:
        shape = " x ".join(map(str, each.shape))
        print_line(f"{'*' if each.name in default else ' '} {each.name:<{width}}  {each.kind:<24} {shape}")


def _table(pattern: str, image_size: int) -> str:
    """Torchvision's networks that fit a pattern: parameters, smallest image, weights, and arithmetic of a training.

    Raises:
        ValueError: none fits.
    """
    from in4310repro import architectures

    names = architectures.torchvision_names(pattern)
    if not names:
        raise ValueError(f"no network of torchvision fits {pattern!r}; --list '*' shows all")
    rows = ["network                  parameters  smallest px  weights     arithmetic"]
    for name in names:
        facts = architectures.facts(name)
        try:
            reason = architectures.obstacle(name, image_size)
        except ValueError as error:
            reason = str(error)
        rows.append(
            f"{name:<24} {facts.parameters / 1e6:8.1f} M  {facts.smallest:>11}  {facts.weights:<10}  "
            + (f"native: {reason[:90]}" if reason else "portable")
        )
    return "\n".join(rows)
