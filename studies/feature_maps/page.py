"""The page on feature maps and its figures, from the numbers that were measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import jinja2

from in4310repro.system.files import read_json, write_file
from studies.feature_maps import figures, statements
from studies.feature_maps.images import CIFAR, IMAGENET, REDUCED, SCENES, THREE, TRAINED_ON
from studies.feature_maps.networks import LITE_PROJECTIONS
from studies.feature_maps.spectra import DEVIATIONS
from studies.feature_maps.statements import KINDS, Network, classes_of, modules_of

ROOT = Path(__file__).parents[2]
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


def protocol_of(network: Network) -> str:
    return f"{network['protocol']}, {network['training_images']:,} images, {network['epochs']} epochs"


def count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


class Numbers:
    """The measured networks, and what a page says of them."""

    def __init__(self, numbers: dict[str, Any]) -> None:
        self.networks: list[Network] = numbers["networks"]
        self.images, self.more_images = numbers["images"], numbers["more_images"]
        self.corrected_run: dict[str, float] = numbers["corrected_run"]
        self.printed: dict[str, float] = numbers["printed"]

    def of(self, kind: str) -> list[Network]:
        return figures.of_kind(self.networks, kind)

    def modules(self, kind: str) -> list[str]:
        return modules_of(self.of(kind)[0])

    def cell(self, kind: str, images: str, module: str, quantity: str, form: str = ".1f", scale: float = 1) -> str:
        found = [network["sets"][images][module][quantity] for network in self.of(kind)]
        return with_interval(found, form, scale)

    def value(self, kind: str, images: str, module: str, quantity: str, scale: float = 1, form: str = ".1f") -> str:
        found = [network["sets"][images][module][quantity][0] for network in self.of(kind)]
        return spread([scale * value for value in found], form)

    def range_of(self, kind: str, names: Sequence[str], what: str = "as it is") -> str:
        """Return the range of a share, in percent, over several convolutions of all networks of a kind."""
        found = [network["signs"]["changes"] for network in self.networks if network["kind"] == kind]
        return spread([100 * changed[name][what] for changed in found for name in names], ".1f")

    def runs(self) -> str:
        """Return how many networks and trainings there are from scratch, and their protocols, settings and seeds."""
        trained = [network for network in self.networks if network["kind"] == "trained"]
        settings: dict[str, dict[str, None]] = {}
        for facts, _ in self._occurrences():
            settings.setdefault(facts["protocol"], {})[figures.name_setting(facts)] = None
        seeds = sorted({network["seed"] for network in trained})
        listed = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        named = "; ".join(f"`{protocol}`: {', '.join(of)}" for protocol, of in settings.items())
        trainings = sum(not network["after"] for network in trained)
        counted = f"{count(trained, 'network')} of {count(range(trainings), 'training')} from a fresh start"
        return f"{counted}, {listed}; {named}"

    def _occurrences(self) -> Iterator[tuple[Mapping[str, Any], Network]]:
        """Yield the facts of each trained network, once for every run that has it, with its numbers."""
        for network in self.networks:
            if network["kind"] == "trained":
                yield from ((facts, network) for facts in (network, *network["also"]))

    def after_training(self) -> str:
        """Return effective ranks and total variances in the last module, of each network with spectra."""
        listed = []
        for network in self.of("trained"):
            of = {name: network["sets"][name][LAST] for name in (*THREE, TRAINED_ON)}
            ranks = ", ".join(f"{of[name]['effective_rank'][0]:.1f}" for name in THREE)
            first, second = (f"{of[name]['total_variance'][0]:,.0f}" for name in (SCENES, TRAINED_ON))
            variances = f"total variance of scenes {first}, of those of its training {second}"
            listed.append(f"{ranks} ({network['name']}; {variances})")
        return "; ".join(listed)

    def selected(self) -> str:
        return "; ".join(network["name"] for network in self.of("trained"))

    def count(self, kind: str) -> str:
        """Return how many networks of a kind have spectra, in words."""
        return count(self.of(kind), "network")

    def ways(self, kind: str, images: str) -> str:
        """Return how far reducing a set to 32 px moves effective ranks to CIFAR-10's, in percent of the difference."""
        found = [100 * way for network in self.of(kind) for way in statements.ways(network, images).values()]
        return f"{spread(found, '.0f')} % ({len(found)})" if found else "none differs"

    def furthest(self, images: str) -> str:
        """Return the module of EfficientNet-Lite0 in which a set differs most from CIFAR-10, in effective rank."""

        def distance(module: str) -> float:
            return abs(math.log(self._rank(images, module) / self._rank(CIFAR, module)))

        return max(self.modules("imagenet"), key=distance)

    def _rank(self, images: str, module: str) -> float:
        rank: float = self.of("imagenet")[0]["sets"][images][module]["effective_rank"][0]
        return rank

    def by_class(self, kind: str, module: str, what: str, scale: float = 1, form: str = ".1f") -> str:
        return spread([scale * network["by_class"][module][what] for network in self.of(kind)], form)

    def departures(self, names: Sequence[str]) -> str:
        """Return by how many points shares of the corrected run differ from the printed ones."""
        return spread([abs(self.corrected_run[name] - self.printed[name]) for name in names], ".1f")

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
        """Return the range of ratios of the effective rank of more images to that of fewer, with the ends' places."""
        ratios = [
            (
                network["more"][images][module] / network["sets"][images][module]["effective_rank"][0],
                f"{module}, {images}, {KINDS[network['kind']]}",
            )
            for network in self.networks
            for images in THREE
            for module in modules_of(network)
        ]
        (low, first), (high, last) = min(ratios), max(ratios)
        return f"{low:.2f} ({first}) to {high:.2f} times as much ({last})"

    @property
    def fan_in(self) -> int:
        """Number of weights of a channel of the last module: 512 channels, 3 x 3 taps."""
        return 512 * 3 * 3

    def optimizers(self) -> str:
        """Return the last module's share by optimizer, of settings with a fresh start in the same protocol."""
        fresh: dict[str, dict[str, list[float]]] = {}
        for facts, network in self._occurrences():
            if not facts["after"]:
                share = 100 * network["signs"]["changes"][LAST]["as it is"]
                fresh.setdefault(protocol_of(facts), {}).setdefault(facts["setting"], []).append(share)
        compared = []
        for protocol, of in fresh.items():
            if len(of) > 1:
                named = [f"{setting} {spread(shares, '.1f')} % ({len(shares)})" for setting, shares in of.items()]
                compared.append(f"{protocol}: {', '.join(named)}")
        if not compared:
            return "No protocol has two settings with a fresh start here: optimizers are not compared."
        return f"Of settings with a fresh start in one protocol, with the number of networks: {'; '.join(compared)}."

    def one_class(self, kind: str, module: str) -> str:
        """Return the lowest and the highest effective rank of one class of scenes, over classes and networks."""
        found = [
            network["sets"][name][module]["effective_rank"][0]
            for network in self.of(kind)
            for name in classes_of(network)
        ]
        return spread(found, ".1f")

    def change(self, kind: str, name: str, what: str, form: str = ".1f", scale: float = 100) -> str:
        found = [network["signs"]["changes"][name] for network in self.networks if network["kind"] == kind]
        return spread([scale * each[what] for each in found if what in each], form)

    def groups(self) -> list[dict[str, Any]]:
        """Return a row of the table of changes for each protocol and setting, over its seeds."""
        grouped: dict[tuple[Any, ...], list[Network]] = {}
        grouped[("before training", "")] = [network for network in self.networks if network["kind"] == "initial"]
        for facts, network in self._occurrences():
            grouped.setdefault((protocol_of(facts), figures.name_setting(facts)), []).append(network)
        return [
            {
                "images": images,
                "setting": setting,
                "seeds": ", ".join(sorted({f"{network['seed']}" for network in of})),
                "cells": {heading: self._cell(of, key) for heading, key in COLUMNS.items()},
                "weight": spread([1e3 * each["signs"]["changes"][LAST]["mean weight"] for each in of], ".2f"),
            }
            for (images, setting), of in grouped.items()
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
    names = {"scenes": SCENES, "imagenet": IMAGENET, "cifar": CIFAR, "reduced": REDUCED}
    return (
        template.render(
            n=Numbers(numbers),
            tried=statements,
            kinds=KINDS,
            three=THREE,
            printed=numbers["printed"],
            last=LAST,
            zip=zip,
            projections=LITE_PROJECTIONS,
            **names,
        )
        + "\n"
    )


def draw(numbers: dict[str, Any]) -> dict[str, bytes]:
    """Return the figures as SVG, by file name."""
    networks = numbers["networks"]
    return {
        "spectra.svg": figures.draw_spectra(networks),
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
