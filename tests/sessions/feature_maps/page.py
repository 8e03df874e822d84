"""The page on feature maps and its figures, from the numbers that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from in4310repro.system.files import read_json, write_file
from tests.sessions.feature_maps import figures, statements
from tests.sessions.feature_maps.images import CIFAR, IMAGENET, ONE_CLASS, REDUCED, SCENES, THREE, TRAINED_ON
from tests.sessions.feature_maps.networks import LITE_PROJECTIONS
from tests.sessions.feature_maps.spectra import DEVIATIONS
from tests.sessions.feature_maps.statements import KINDS, Network, classes_of, modules_of

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "reports/feature-maps"
NUMBERS, PAGE = FOLDER / "numbers.json", FOLDER / "feature-maps.md"
COURSE = ROOT / "reports/course/figure08.json"  # shares of the corrected run, beside the printed ones
LAST = "layer4.1.conv1"
# Columns of the table of changes, as headings and keys.
COLUMNS = {
    "as it is": "as it is",
    "input centred": "its input centred",
    "weights centred": "its weights centred",
    "initial weights": "its initial weights",
    "no ReLU before": "no ReLU before it",
    "bias 0 before": "batch norm's bias 0 before it",
    "channels with mean <= 0": "channels with a mean <= 0",
    "after batch norm": "after batch norm",
}


def spread(values: Sequence[float], form: str) -> str:
    """Return the lowest and the highest of some values, or the one that both are printed as."""
    low, high = (format(end, form) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def with_interval(values: Sequence[Sequence[float]], form: str, scale: float = 1) -> str:
    """Return values with the half-width of their 95 % intervals; of several, the ends and the largest half-width."""
    widest = max(DEVIATIONS * error for _, error in values)
    return f"{spread([scale * value for value, _ in values], form)} ± {scale * widest:{form}}"


class Numbers:
    """The measured networks, and what a page says of them."""

    def __init__(self, numbers: dict[str, Any]) -> None:
        self.networks: list[Network] = numbers["networks"]
        self.images, self.more_images = numbers["images"], numbers["more_images"]
        self.corrected_run: dict[str, float] = numbers["corrected_run"]

    def of(self, kind: str) -> list[Network]:
        return figures.of_kind(self.networks, kind)

    def modules(self, kind: str) -> list[str]:
        return modules_of(self.of(kind)[0])

    def cell(self, kind: str, images: str, module: str, quantity: str, form: str = ".1f", scale: float = 1) -> str:
        found = [network["sets"][images][module][quantity] for network in self.of(kind)]
        return with_interval(found, form, scale)

    def more(self, kind: str, images: str, module: str) -> str:
        return spread([network["more"][images][module] for network in self.of(kind)], ".1f")

    def value(self, kind: str, images: str, module: str, quantity: str, scale: float = 1, form: str = ".1f") -> str:
        found = [network["sets"][images][module][quantity][0] for network in self.of(kind)]
        return spread([scale * value for value in found], form)

    def range_of(self, kind: str, names: Sequence[str], what: str = "as it is") -> str:
        """Return the range of a share, in percent, over several convolutions of all networks of a kind."""
        found = [network["signs"]["changes"] for network in self.networks if network["kind"] == kind]
        return spread([100 * changed[name][what] for changed in found for name in names], ".1f")

    def runs(self) -> str:
        """Return which runs the networks from scratch are of."""
        trained = [network for network in self.networks if network["kind"] == "trained"]
        runs = list(dict.fromkeys(network["run"] for network in trained))
        seeds = sorted({network["seed"] for network in trained})
        named = ", ".join(f"`{run}`" for run in runs)
        listed = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        return f"{listed}; {len(trained)} trained network{'s' * (len(trained) > 1)}, of {named}"

    columns = tuple(COLUMNS)

    def says(self, statement: statements.Statement, kind: str) -> str:
        """Return on how many trials a statement holds in the networks of a kind, as "3 of 5"."""
        [row] = statements.try_statements(self.networks, [statement])
        outcome: str = row["outcomes"][kind]
        return outcome.rpartition(", ")[2]

    def first(self, kind: str, what: str) -> str:
        """Return the share of the first module, in percent, as it is or on pixels that are not normalised."""
        found = [network["signs"] for network in self.networks if network["kind"] == kind]
        shares = [
            signs[what]["non_positive"] if what == "not normalised" else next(iter(signs["changes"].values()))[what]
            for signs in found
        ]
        return spread([100 * share for share in shares], ".1f")

    def rank_change(self) -> str:
        """Return by how much the first module's effective rank changes at most on pixels that are not normalised."""
        changes = []
        for network in self.networks:
            if modules := modules_of(network):
                before = network["sets"][SCENES][modules[0]]["effective_rank"][0]
                changes.append(abs(network["signs"]["not normalised"]["effective_rank"] / before - 1))
        return f"{100 * max(changes):.1f}"

    def limit(self) -> str:
        """Return the largest ratio of the effective rank of more images to that of fewer, with its place."""
        ratios = [
            (network["more"][images][module] / network["sets"][images][module]["effective_rank"][0], module, images)
            for network in self.networks
            for images in THREE
            for module in modules_of(network)
        ]
        ratio, module, images = max(ratios)
        return f"{ratio:.2f} times as much ({module}, {images})"

    @property
    def fan_in(self) -> int:
        """Number of weights of a channel of the last module: 512 channels, 3 x 3 taps."""
        return 512 * 3 * 3

    def optimizers(self) -> str:
        """Return the range of the last module's share by optimizer, of settings with a fresh start."""
        fresh: dict[str, list[float]] = {}
        for network in self.networks:
            if network["kind"] == "trained" and not network["after"]:
                share = network["signs"]["changes"][LAST]["as it is"]
                fresh.setdefault(network["setting"], []).append(100 * share)
        listed = "; ".join(f"{setting} {spread(of, '.1f')} % ({len(of)})" for setting, of in fresh.items())
        if len(fresh) < 2:
            return f"Only {listed} has a fresh start in these runs, so that optimizers cannot be compared."
        return f"Of settings with a fresh start, with the number of networks: {listed}."

    def one_class(self, kind: str, module: str) -> str:
        """Return the lowest and the highest effective rank of one class of scenes."""
        return spread([rank for rank, _ in self._classes(kind, module)], ".1f")

    def classes(self, kind: str, module: str) -> str:
        """Return the same with the names of the two classes."""
        (low, first), (high, last) = min(ranks := self._classes(kind, module)), max(ranks)
        return f"{low:.1f} ({first}) to {high:.1f} ({last})"

    def _classes(self, kind: str, module: str) -> list[tuple[float, str]]:
        return [
            (network["sets"][name][module]["effective_rank"][0], name.removeprefix(ONE_CLASS))
            for network in self.of(kind)
            for name in classes_of(network)
        ]

    def change(self, kind: str, name: str, what: str, form: str = ".1f", scale: float = 100) -> str:
        found = [network["signs"]["changes"][name] for network in self.networks if network["kind"] == kind]
        return spread([scale * each[what] for each in found if what in each], form)

    def groups(self) -> list[dict[str, Any]]:
        """Return a row of the table of changes for each protocol and setting, over its seeds."""
        grouped: dict[tuple[Any, ...], list[Network]] = {}
        for network in self.networks:
            if network["kind"] == "initial":
                grouped.setdefault(("before training", "", ""), []).append(network)
            elif network["kind"] == "trained":
                images = f"{network['protocol']}, {network['training_images']} images, {network['epochs']} epochs"
                start = f" after {network['after']}" if network["after"] else ""
                grouped.setdefault((images, network["setting"], start), []).append(network)
        return [
            {
                "images": images,
                "setting": f"{setting}{start}",
                "seeds": ", ".join(sorted({f"{network['seed']}" for network in of})),
                "cells": {heading: self._cell(of, key) for heading, key in COLUMNS.items()},
                "weight": spread([1e3 * each["signs"]["changes"][LAST]["mean weight"] for each in of], ".2f"),
            }
            for (images, setting, start), of in grouped.items()
        ]

    def _cell(self, networks: Sequence[Network], key: str) -> str:
        found = [changed[key] for each in networks if key in (changed := each["signs"]["changes"][LAST])]
        return spread([100 * share for share in found], ".1f") if found else "-"

    def rows(self, of: str) -> list[dict[str, Any]]:
        return statements.try_statements(self.networks, getattr(statements, of))


def page(numbers: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701
    template = environment.from_string(Path(__file__).with_name("page.md.jinja").read_text("utf-8"))
    spectra, shares, causes = statements.OF_SPECTRA, statements.OF_SHARES, statements.OF_CAUSES
    named = {
        "differs": spectra[0],
        "upscaled": spectra[3],
        "upscaled_scenes": spectra[4],
        "more_below": shares[1],
        "cut": shares[2],
        "free": causes[-1],
    }
    names = {"scenes": SCENES, "imagenet": IMAGENET, "cifar": CIFAR, "reduced": REDUCED, "trained_on": TRAINED_ON}
    return (
        template.render(
            n=Numbers(numbers),
            kinds=KINDS,
            three=THREE,
            printed=numbers["printed"],
            last=LAST,
            zip=zip,
            projections=LITE_PROJECTIONS,
            **names,
            **named,
        )
        + "\n"
    )


def draw(numbers: dict[str, Any]) -> dict[str, bytes]:
    """Return the figures as SVG, by file name."""
    networks = numbers["networks"]
    return {
        "ranks.svg": figures.draw_ranks(networks),
        "shares.svg": figures.draw_shares(networks, numbers["printed"]),
        "changes.svg": figures.draw_changes(networks),
    }


def write_page() -> None:
    numbers = read_json(NUMBERS)
    write_file(PAGE, page(numbers).encode())
    for name, content in draw(numbers).items():
        write_file(FOLDER / name, content)


if __name__ == "__main__":
    write_page()
