"""The command `modules`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from in4310repro.cli.console import conclude, load_torch, print_line, print_text
from in4310repro.cli.options import Model

CLASSES = 1000
SIDE = 224  # pixels


def modules(
    network: Annotated[str | None, typer.Argument(help=Model)] = None,
    listed: Annotated[str | None, typer.Option("--list", help="Show torchvision's networks, such as 'vgg*'.")] = None,
    image_size: Annotated[int, typer.Option(help="Side, pixels.", min=16, max=2**12)] = SIDE,
) -> None:
    """Show the modules of a network with the shape of what each returns; * marks those measured by default.

    Examples:
        in4310repro modules resnet18
        in4310repro modules --list 'vgg*'
    """
    load_torch()
    from in4310repro.models.network import open_network

    if listed is not None and network is None:
        rows = _rows(listed, image_size)
        print_text(_table(rows))
        conclude({"networks": rows})
        return
    if network is None or listed is not None:
        raise ValueError("give a network, such as in4310repro modules resnet18, or --list '*'")
    opened = open_network(network)
    opened.trust()
    model = opened.build(CLASSES, seed=0)
    seen = opened.outputs(model, image_size)
    default = opened.default_modules(model, image_size, seen)
    width = max(len(each.name) for each in seen)
    parameters = sum(value.numel() for value in model.parameters())
    print_line(f"{network}: {parameters / 1e6:.1f} M parameters; outputs for one image of {image_size} px")
    for each in seen:
        shape = " x ".join(map(str, each.shape))
        print_line(f"{'*' if each.name in default else ' '} {each.name:<{width}}  {each.kind:<24} {shape}")
    rows = [asdict(each) | {"measured_by_default": each.name in default} for each in seen]
    conclude({"network": network, "parameters": parameters, "image_size": image_size, "modules": rows})


def _rows(pattern: str, image_size: int) -> list[dict[str, Any]]:
    """Return a row of facts on each network whose name matches the pattern, such as parameters and arithmetic.

    Raises:
        ValueError: no network's name matches.
    """
    from in4310repro.models.network import known_names, open_network

    names = known_names(pattern)
    if not names:
        raise ValueError(f"no network of torchvision fits {pattern!r}; --list '*' shows all")
    rows = []
    for name in names:
        try:
            reason = open_network(name).obstacle(image_size)
        except ValueError as error:
            reason = str(error)
        rows.append({"name": name} | asdict(open_network(name).facts()) | {"native_since": reason})
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
