"""Figures of the study, drawn from its numbers as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.sessions.feature_maps.images import CIFAR, IMAGENET, REDUCED, SCENES
from tests.sessions.feature_maps.spectra import DEVIATIONS
from tests.sessions.feature_maps.statements import KINDS, Network, in_depth, modules_of

# Colours that differ in lightness too (Okabe and Ito), and marks.
STYLES = {
    SCENES: ("#0072b2", "o", "-"),
    IMAGENET: ("#d55e00", "s", "-"),
    CIFAR: ("#222222", "^", "-"),
    REDUCED[SCENES]: ("#56b4e9", "o", ":"),
    REDUCED[IMAGENET]: ("#e69f00", "s", ":"),
}
SETTINGS = {
    "initial": ("#999999", "o"),
    "adamw": ("#0072b2", "s"),
    "rmsprop": ("#d55e00", "^"),
    "sgd": ("#009e73", "v"),
}
CHANGED = ("as it is", "its input centred", "its weights centred", "its initial weights")


def svg(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "feature maps", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    return b"\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + b"\n"


def of_kind(networks: Sequence[Network], kind: str) -> list[Network]:
    return [network for network in networks if network["kind"] == kind and "sets" in network]


def label_depth(axes: Axes, names: Sequence[str]) -> None:
    short = [name.replace(".expand.0", "").replace(".1.conv1", "") for name in names]
    axes.set_xticks(range(len(names)), short, fontsize=8)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def draw_ranks(networks: Sequence[Network]) -> bytes:
    """Draw the effective rank of each module on five image sets, one panel for each kind of network."""
    kinds = [kind for kind in KINDS if of_kind(networks, kind)]
    figure = Figure(figsize=(3.4 * len(kinds), 3.4), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        plot_ranks(axes, of_kind(networks, kind))
        axes.set_title(KINDS[kind].replace(", ", ",\n"), fontsize=9)
        axes.set_yscale("log", base=2)
        axes.set_yticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    panels[0].set_ylabel("effective rank")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8, frameon=False
    )
    return svg(figure)


def plot_ranks(axes: Axes, measured: Sequence[Network]) -> None:
    """Plot means over networks, with bars from the lowest to the highest end of their 95 % intervals."""
    modules = modules_of(measured[0])
    for place, (name, (colour, mark, line)) in enumerate(STYLES.items()):
        spots = [number + 0.09 * (place - 2) for number in range(len(modules))]
        found = [[network["sets"][name][module]["effective_rank"] for network in measured] for module in modules]
        means = [sum(value for value, _ in of) / len(of) for of in found]
        ends = [[(value - DEVIATIONS * error, value + DEVIATIONS * error) for value, error in of] for of in found]
        bars = [
            [mean - min(low for low, _ in of) for mean, of in zip(means, ends, strict=True)],
            [max(high for _, high in of) - mean for mean, of in zip(means, ends, strict=True)],
        ]
        style: dict[str, Any] = {"color": colour, "marker": mark, "linestyle": line, "markersize": 4, "linewidth": 1}
        axes.errorbar(spots, means, yerr=bars, label=name, capsize=2, **style)
    label_depth(axes, modules)


def draw_shares(networks: Sequence[Network], printed: Mapping[str, float]) -> bytes:
    """Draw shares of values <= 0 by depth, of each network's convolutions and after their batch norms."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, what in ((left, "as it is"), (right, "after batch norm")):
        for number, network in enumerate(sorted(networks, key=lambda each: each["kind"] == "imagenet")):
            plot_shares(axes, network, what, 0.03 * (number % 5 - 2))
        axes.axhline(50, color="#999999", linewidth=0.8)
        label_depth(axes, list(printed))
        axes.set_ylim(0, 100)
    left.plot(list(printed.values()), color="#000000", marker="*", linestyle="none", markersize=9, label="printed")
    left.set_title("of the convolution's output, as the assignment asks", fontsize=9)
    right.set_title("after the batch norm that follows it, what ReLU sets to 0", fontsize=9)
    left.set_ylabel("values that are not positive, %")
    legend = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return svg(figure)


def plot_shares(axes: Axes, network: Network, what: str, offset: float) -> None:
    """Plot a network's shares by depth, `offset` to the right."""
    colour, mark = SETTINGS.get(network.get("setting", ""), ("#cc79a7", "D"))
    label = f"ResNet-18, {network['setting']}" if network["kind"] == "trained" else KINDS[network["kind"]]
    shares = [100 * changed[what] for changed in in_depth(network)][:5]
    spots = [place + offset for place in range(5)]
    line = "--" if network["kind"] == "imagenet" else "-"
    axes.plot(spots, shares, color=colour, marker=mark, markersize=4, linewidth=0.8, linestyle=line, label=label)


def draw_changes(networks: Sequence[Network]) -> bytes:
    """Draw the share of each later convolution of the trained networks, as it is and after three changes."""
    trained = [network for network in networks if network["kind"] == "trained"]
    names = list(trained[0]["signs"]["changes"])[1:] if trained else []
    figure = Figure(figsize=(2.4 * max(len(names), 1), 3.2), layout="constrained")
    panels: Sequence[Any] = figure.subplots(1, max(len(names), 1), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=False):
        for network in trained:
            changed = network["signs"]["changes"][name]
            colour, mark = SETTINGS.get(network["setting"], ("#000000", "x"))
            shares = [100 * changed[change] for change in CHANGED]
            axes.plot(shares, color=colour, marker=mark, markersize=4, linewidth=0.8, label=network["setting"])
        axes.axhline(50, color="#999999", linewidth=0.8)
        label_depth(axes, CHANGED)
        axes.set_xticks(
            range(len(CHANGED)), ("as it is", "input\ncentred", "weights\ncentred", "initial\nweights"), fontsize=7
        )
        axes.set_title(name, fontsize=9)
        axes.set_ylim(0, 100)
    panels[0].set_ylabel("values that are not positive, %")
    legend = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return svg(figure)
