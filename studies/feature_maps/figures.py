"""Figures of the study, drawn from its numbers as SVG."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.feature_maps.images import CIFAR, IMAGENET, SCENES
from studies.feature_maps.statements import KINDS, Network, in_depth, modules_of

# Colours that differ in lightness too (Okabe and Ito), and marks.
STYLES = {SCENES: ("#0072b2", "o"), IMAGENET: ("#d55e00", "s"), CIFAR: ("#222222", "^")}
LINES: tuple[Any, ...] = (  # of networks of one kind
    "-",
    "--",
    ":",
    "-.",
    (0, (1, 4)),
    (0, (8, 2)),
    (0, (6, 2, 1, 2, 1, 2)),
    (0, (3, 6)),
)
SETTINGS = {
    "initial": ("#999999", "o"),
    "adamw": ("#0072b2", "s"),
    "rmsprop": ("#d55e00", "^"),
    "sgd": ("#009e73", "v"),
}
CHANGED = {
    "as it is": "as it is",
    "its input centred": "input\ncentred",
    "its weights centred": "weights\ncentred",
    "its initial weights": "initial\nweights",
}


def svg(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "feature maps", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    return b"\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + b"\n"


def of_kind(networks: Sequence[Network], kind: str) -> list[Network]:
    return [network for network in networks if network["kind"] == kind and "sets" in network]


def name_setting(network: Network) -> str:
    """Return a setting, with the one whose weights it starts from."""
    return f"{network['setting']} after {network['after']}" if network.get("after") else f"{network['setting']}"


def label(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names)), list(names), fontsize=7)
    axes.set_xlim(-0.5, len(names) - 0.5)
    tidy(axes)


def label_depth(axes: Axes, names: Sequence[str]) -> None:
    label(axes, [name.replace(".1.conv1", ".1\n.conv1").replace(".expand", "\n.expand") for name in names])


def tidy(axes: Axes) -> None:
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def offsets(count: int) -> list[float]:
    """Return as many places around 0 as there are marks side by side."""
    step = min(0.12, 0.7 / max(count, 1))
    return [step * (place - (count - 1) / 2) for place in range(count)]


def add_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Add one legend below all panels, with each label once."""
    found = {text: handle for axes in panels for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=min(len(found), 5),
        fontsize=8,
        frameon=False,
    )


def draw_spectra(networks: Sequence[Network]) -> bytes:
    """Draw the largest eigenvalues of each module on the three image sets, a row for each kind of network."""
    kinds = [kind for kind in KINDS if of_kind(networks, kind)]
    figure = Figure(figsize=(11, 0.6 + 1.9 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), 5, sharex=True, sharey="row", squeeze=False)
    for row, kind in zip(panels, kinds, strict=True):
        measured = of_kind(networks, kind)
        for axes, module in zip(row, modules_of(measured[0]), strict=True):
            plot_spectra(axes, measured, module)
            axes.set_title(module, fontsize=8)
        row[0].set_ylabel(f"{KINDS[kind].replace(', ', chr(10))}\neigenvalue", fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("eigenvalue number", fontsize=8)
        axes.set_xticks([1, 5, 10, 15])
    for network, line in zip(of_kind(networks, "trained"), itertools.cycle(LINES), strict=False):
        panels[0][-1].plot([], [], color="#777777", linestyle=line, label=f"trained: {network['name']}")
    add_legend(figure, [panels[0][0], panels[0][-1]])
    return svg(figure)


def plot_spectra(axes: Axes, measured: Sequence[Network], module: str) -> None:
    """Plot a line for each image set and network."""
    for network, line in zip(measured, itertools.cycle(LINES), strict=False):
        for name, (colour, mark) in STYLES.items():
            values = network["sets"][name][module]["eigenvalues"]
            style: dict[str, Any] = {"color": colour, "marker": mark, "markersize": 2.5, "linewidth": 0.8}
            axes.plot(range(1, len(values) + 1), values, linestyle=line, label=name if line == "-" else None, **style)
    axes.set_yscale("log")
    axes.tick_params(labelsize=7)
    tidy(axes)


def draw_shares(networks: Sequence[Network], printed: Mapping[str, float]) -> bytes:
    """Draw shares of values <= 0 by depth: ResNet-18's two ways, and EfficientNet-Lite0's."""
    figure = Figure(figsize=(11.5, 3.8), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    ours = [network for network in networks if network["kind"] != "imagenet"]
    lite = next(network for network in networks if network["kind"] == "imagenet")
    for axes, what in zip(panels, ("as it is", "after batch norm"), strict=False):
        for network, offset in zip(ours, offsets(len(ours)), strict=True):
            plot_shares(axes, network, what, offset)
        label_depth(axes, list(printed))
        axes.set_title(f"ResNet-18, {'output of the convolution' if what == 'as it is' else what}", fontsize=9)
    panels[0].plot(list(printed.values()), color="#000000", marker="*", linestyle="none", markersize=9, label="printed")
    shares = {**in_depth(lite), "last.0": lite["signs"]["changes"]["last.0"]}
    for what, mark in (("as it is", "D"), ("after batch norm", "d")):
        text = f"EfficientNet-Lite0, {'output' if what == 'as it is' else what}"
        values = [100 * changed[what] for changed in shares.values()]
        axes = panels[2]
        axes.plot(values, color="#cc79a7" if mark == "D" else "#882255", marker=mark, linestyle="none", label=text)
    label_depth(panels[2], list(shares))
    panels[2].set_title("EfficientNet-Lite0, ImageNet weights", fontsize=9)
    for axes in panels:
        mark_half(axes)
    panels[0].set_ylabel("values that are not positive, %")
    add_legend(figure, panels)
    return svg(figure)


def mark_half(axes: Axes) -> None:
    axes.axhline(50, color="#999999", linewidth=0.8, label="50 %")
    axes.set_ylim(0, 100)


def plot_shares(axes: Axes, network: Network, what: str, offset: float) -> None:
    """Plot a network's shares by depth, `offset` to the right."""
    shares = [100 * changed[what] for changed in in_depth(network).values()]
    plot_points(axes, network, shares, offset)


def plot_points(axes: Axes, network: Network, shares: Sequence[float], offset: float) -> None:
    """Plot a point for each share; settings that start from another's weights have open marks."""
    colour, mark = SETTINGS.get(network["setting"], ("#000000", "x"))
    axes.plot(
        [place + offset for place in range(len(shares))],
        shares,
        color=colour,
        marker=mark,
        markersize=4.5,
        markerfacecolor="none" if network["after"] else colour,
        linestyle="none",
        label="before training" if network["kind"] == "initial" else name_setting(network),
    )


def draw_changes(networks: Sequence[Network]) -> bytes:
    """Draw the share of each later convolution of the trained networks, as it is and after three changes."""
    trained = [network for network in networks if network["kind"] == "trained"]
    names = list(trained[0]["signs"]["changes"])[1:]
    figure = Figure(figsize=(2.9 * len(names), 3.4), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for network, offset in zip(trained, offsets(len(trained)), strict=True):
            changed = network["signs"]["changes"][name]
            plot_points(axes, network, [100 * changed[change] for change in CHANGED], offset)
        mark_half(axes)
        label(axes, list(CHANGED.values()))
        axes.set_title(name, fontsize=9)
    panels[0].set_ylabel("values that are not positive, %")
    add_legend(figure, panels)
    return svg(figure)
