"""The page on the experiment, and the program that adds finished runs to it.

    python -m tests.sessions.evidence experiment RUN... --data mandatory1/data

Runs are recognised as cells of predictions.toml by their configuration; what is kept of them goes to cells.json.
Without runs the page is written again from the committed numbers.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from scipy.special import logsumexp

from in4310repro.report.exhibit import original
from in4310repro.runs.deviations import PUBLISHED, Protocol, parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.names import TENSORS
from in4310repro.system.files import json_bytes, read_json, write_file
from studies.experiment import cells, counts, levels, precisions
from studies.experiment.cells import FOLDER, Kept, Predictions
from studies.experiment.effects import measure_effect, parse_contrast
from studies.experiment.statements import STATEMENTS, printed_as_run
from studies.published import evidence
from studies.published.numbers import RunSummary

FEATURE_MAPS = FOLDER.parent / "feature-maps/numbers.json"
PUBLISHED_NUMBERS = FOLDER.parent / "published/numbers.json"
FILE, COUNTS = FOLDER / "cells.json", FOLDER / "counts.json"
PAGE, CHART = FOLDER / "experiment.md", FOLDER / "levels.svg"
TEMPLATE = Path(__file__).with_name("experiment.md.jinja")
WIDTHS = SPREADS = (0.25, 0.5, 1.0, 2.0)
# Cells that stand for readings, with whether the two last tables are looks at the same images. `separate`, the
# assignment's own reading, was added after the first trainings.
READINGS = {"rival": False, "separate": False, "shared": True, "shared-warm": True}
# Statements whose outcome in a cell follows from a run that was known, or from how cells are evaluated: the first
# setting of a warm start starts as without one, and evaluation without flips gives the same images the same scores.
SETTLED = {
    ("separate-warm", "first"): ("scratch", "imagenet"),
    ("shared", "first"): ("scratch", "imagenet"),
    ("shared", "two-looks"): ("scratch", "imagenet"),
    ("shared", "level"): ("imagenet",),
}
FEWEST_PLACED = 5  # printed pairs, of which a median is given


def add(kept: Kept, folder: Path, data: str, predictions: Predictions) -> None:
    run = FinishedRun.open(folder)
    network, cell = cells.cell_of(run.config, predictions)
    kept.setdefault(network, {}).setdefault(cell, {})[f"{run.config.seed}"] = cells.measure(run, data)


def _runs(kept: Kept) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield network, cell and seed of each run, and what is kept of it."""
    for network, of_network in kept.items():
        for cell, seeds in of_network.items():
            for seed, run in seeds.items():
                yield network, cell, seed, run


def printed_counts(kept: Kept) -> counts.Counts:
    """Return the printed numbers of correct images, by the class sizes of any cell's test set."""
    sizes = next(_runs(kept))[-1]["summary"]["supports"].values()
    tables = [
        tuple(round(a * n) for a, n in zip(original()["settings"][name]["class_accuracy"], sizes, strict=True))
        for name in (*original()["optimizers"], "test")
    ]
    return counts.Counts(tuple(sizes), tuple(tables[:3]), tables[3])


def expected_levels(kept: Kept, network: str, predictions: Predictions) -> dict[str, list[float]]:
    """Return the accuracy that each reading expects of the three networks and of the selected one.

    Readings whose cell was not run are left out.
    """
    rival = predictions["bayes"]["rival"]
    found = {"rival": [rival] * 4}
    for reading in list(READINGS)[1:]:
        if seeds := kept.get(network, {}).get(reading):
            reached = [_levels_of(run["summary"]) for run in seeds.values()]
            found[reading] = [min(float(level), levels.HIGHEST) for level in np.mean(reached, axis=0)]
    return found


def _levels_of(run: RunSummary) -> list[float]:
    """Return the mean class accuracy of each setting, and of the selected one, on the protocol's validation."""
    return [*levels.levels_of(run)[:3], run["settings"][run["selected"]]["mean_class_accuracy"]]


def compare_counts(printed: counts.Counts, expected: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return log10 P(counts) of each reading and prior, of the selected network's 12 counts and of all 24."""
    return [
        {
            "width": width,
            "spread": spread,
            "log10": {
                reading: [
                    counts.log10_probability(which, of_which, width, spread, same_images=READINGS[reading])
                    for which, of_which in ((printed.last_network(), accuracies[3:]), (printed, accuracies[:3]))
                ]
                for reading, accuracies in expected.items()
            },
        }
        for width in WIDTHS
        for spread in SPREADS
    ]


def compare_looks(printed: counts.Counts) -> list[float]:
    """Return, for each spread, how many times more probable the last network's 12 counts are as two looks."""
    chosen = printed.last_network()
    return [
        10
        ** (
            counts.log10_of_any_level(chosen, spread, same_images=True)
            - counts.log10_of_any_level(chosen, spread, same_images=False)
        )
        for spread in SPREADS
    ]


def compute_counts(kept: Kept, predictions: Predictions) -> dict[str, Any]:
    """Return the content of counts.json, which takes a minute."""
    printed = printed_counts(kept)
    expected = {network: expected_levels(kept, network, predictions) for network in predictions["networks"]}
    return {
        "looks": compare_looks(printed),
        **{network: {"levels": of, "rows": compare_counts(printed, of)} for network, of in expected.items()},
    }


def bayes_factors(rows: list[dict[str, Any]], reading: str, which: int) -> dict[str, float]:
    """Return log10 of the Bayes factor of a reading against the rival: lowest, highest, and averaged over priors.

    The average is of probabilities, with each prior equally probable.
    """
    ours, rival = (np.array([row["log10"][name][which] for row in rows]) for name in (reading, "rival"))
    averages = [logsumexp(values * np.log(10)) / np.log(10) for values in (ours, rival)]
    factors = ours - rival
    return {
        "low": float(factors.min()),
        "high": float(factors.max()),
        "average": float(averages[0] - averages[1]),
        "for": int((factors > 1).sum()),
        "against": int((factors < -1).sum()),
    }


def chances_and_outcomes(kept: Kept, network: str, predictions: Predictions) -> list[dict[str, Any]]:
    """Return for each statement and cell the chance that was given, and in how many seeds it holds."""
    rows = []
    for statement in predictions["statements"]:
        for cell, chance in statement[network].items():
            seeds = kept.get(network, {}).get(cell, {})
            outcomes = [bool(STATEMENTS[statement["name"]](run["summary"])) for run in seeds.values()]
            known = cell in predictions["networks"][network]["known"]
            known |= network in SETTLED.get((cell, statement["name"]), ())
            rows.append({"name": statement["name"], "cell": cell, "chance": chance, "known": known, "holds": outcomes})
    return rows


def statements_held(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the names of the statements that hold of the first seed of each cell that was run."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["holds"]:
            found.setdefault(row["cell"], []).extend([row["name"]] if row["holds"][0] else [])
    return found


def same_trainings(of_network: dict[str, dict[str, Any]]) -> dict[tuple[str, ...], list[str]]:
    """Return the settings of which every epoch has the same bits in several cells, by these cells and seeds."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell, seeds in of_network.items():
        for seed, run in seeds.items():
            for name, sha256 in run["files_sha256"].items():
                if name.endswith(TENSORS):
                    setting = name.removesuffix(f"/{TENSORS}")
                    found.setdefault((setting, sha256), []).append(f"`{cell}` of seed {seed}")
    groups: dict[tuple[str, ...], list[str]] = {}
    for (setting, _), runs in found.items():
        if len(runs) > 1:
            groups.setdefault(tuple(runs), []).append(setting)
    return groups


def first_shares() -> tuple[float, float]:
    """Return the lowest and highest share of values <= 0 in conv1 of the ResNet-18s that were measured, in percent."""
    numbers = read_json(FEATURE_MAPS)
    measured = [each["signs"]["changes"].get("conv1") for each in numbers["networks"]]
    shares = [100 * each["as it is"] for each in measured if each] + [numbers["corrected_run"]["conv1"]]
    return min(shares), max(shares)


def is_surprise(row: dict[str, Any]) -> bool:
    """Return whether a statement that counts came out as we gave it 10 % or less."""
    if not row["holds"] or row["known"]:
        return False
    chance: float = row["chance"] if row["holds"][0] else 1 - row["chance"]
    return chance <= 0.1


def brier(rows: list[dict[str, Any]], low: float = 0, high: float = 1) -> dict[str, float] | None:
    """Return number and mean squared error of the chances between `low` and `high` that count; None if none does.

    The first seed of a cell counts, and no outcome that was known or settled.
    """
    scored = [
        (row["chance"] - row["holds"][0]) ** 2
        for row in rows
        if row["holds"] and not row["known"] and low <= row["chance"] <= high
    ]
    return {"statements": len(scored), "error": float(np.mean(scored))} if scored else None


def effects_of(kept: Kept, network: str, predictions: Predictions) -> list[dict[str, Any]]:
    return [
        {
            "name": effect["name"],
            "of": effect["of"],
            "expected": effect[network],
            "found": measure_effect(kept.get(network, {}), parse_contrast(effect["of"], effect["divisor"])),
            "known": any(
                cell in predictions["networks"][network]["known"] or network in SETTLED.get((cell, "level"), ())
                for cell in effect["of"].split()[::2]
            ),
        }
        for effect in predictions["effects"]
        if network in effect
    ]


def looks_of(kept: Kept) -> list[dict[str, Any]]:
    """Return for each run how much two looks with random flips at the same test images differ."""
    rows = []
    for network, cell, seed, run in _runs(kept):
        looks: list[Any] = [{"class_accuracy": accuracies} for accuracies in run["looks"]["flipped"]]
        found = [
            evidence.compare_counts(*pair, run["summary"]["supports"]) for pair in itertools.combinations(looks, 2)
        ]
        equal, moved = [each for each, _ in found], [abs(difference) for _, difference in found]
        rows.append({"network": network, "cell": cell, "seed": seed, "equal": equal, "moved": moved})
    return rows


def precisions_of(kept: Kept) -> list[dict[str, Any]]:
    """Return for each network and cell how the printed average precisions lie among its own."""
    rows = []
    for network, of_network in kept.items():
        for cell, seeds in of_network.items():
            pairs = precisions.pairs_of(seeds.values())
            tables = {name: precisions.compare(values, pairs) for name, values in original()["settings"].items()}
            lower = sorted(each["lower"] for table in tables.values() for each in table if each["lower"] is not None)
            middle = float(np.median(lower)) if len(lower) >= FEWEST_PLACED else None
            rows.append({"network": network, "cell": cell, "lower": lower, "middle": middle})
    return rows


def context_of(kept: Kept) -> dict[str, Any]:
    """Return what the page's template shows; all of it follows from cells.json and predictions.toml."""
    predictions = cells.read_predictions()
    printed, computed = printed_counts(kept), read_json(COUNTS)
    networks = {}
    for network in predictions["networks"]:
        rows = chances_and_outcomes(kept, network, predictions)
        networks[network] = {
            "what": predictions["networks"][network]["what"],
            "name": predictions["networks"][network]["what"].split(",")[0],
            "statements": rows,
            "held": statements_held(rows),
            "same_training": same_trainings(kept.get(network, {})),
            "surprises": [row for row in rows if is_surprise(row)],
            "brier": brier(rows),
            "open": brier(rows, 0.05, 0.95),
            "effects": effects_of(kept, network, predictions),
            "cells": {cell: kept.get(network, {}).get(cell, {}) for cell in (*predictions["cells"], PUBLISHED)},
            "comparison": computed[network],
        }
    published = read_json(PUBLISHED_NUMBERS)
    levels_of_first = [next(iter(run["settings"].values()))["mean_class_accuracy"] for run in published["published"]]
    return {
        "predictions": predictions,
        "networks": networks,
        "scored": sum(each["brier"]["statements"] for each in networks.values() if each["brier"]),
        "open_chances": sum(each["open"]["statements"] for each in networks.values() if each["open"]),
        "first_levels": (min(levels_of_first), max(levels_of_first)),
        "all_hold": [
            f"`{cell}` of {each['name']}"
            for each in networks.values()
            for cell, names in each["held"].items()
            if len(names) == len(STATEMENTS)
        ],
        "printed": original(),
        "optimizers": dict(zip(original()["optimizers"], levels.COLUMNS, strict=False)),
        "consequences": published["consequences"],
        "first_shares": first_shares(),
        "two_looks": computed["looks"],
        "factors": bayes_factors,
        "rival": predictions["bayes"]["rival"],
        "looks": looks_of(kept),
        "printed_looks": evidence.compare_counts(
            original()["settings"]["sgd"],
            original()["settings"]["test"],
            dict(zip(original()["classes"], printed.images, strict=True)),
        ),
        "precisions": precisions_of(kept),
        "command": cells.command_of,
        "made": sorted({f"format {run['format']}, {run['arithmetic']} arithmetic" for *_, run in _runs(kept)}),
        "fewest": precisions.FEWEST,
        "beside": precisions.BESIDE,
        "fewest_placed": FEWEST_PLACED,
        "near": precisions.NEAR,
    }


def render(kept: Kept) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(context_of(kept)) + "\n"


def draw_chart(kept: Kept) -> str:
    shown = context_of(kept)
    return levels.draw(shown["networks"], shown["rival"], deviation_label(shown["predictions"]))


def deviation_label(predictions: Predictions) -> str:
    """Return the label of the chart: which cells deviate from the assignment, and how."""
    protocols = {name: parse(options.split()[1]) for name, options in predictions["cells"].items()}
    names = [name for name, protocol in protocols.items() if not protocol.is_corrected]
    return f"DEVIATION in {', '.join(names)}: {Protocol(frozenset().union(*protocols.values())).meaning}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="finished runs")
    parser.add_argument("--data", default="mandatory1/data", help="folder of the photographs")
    given = parser.parse_args()
    if not all(check(printed_as_run()) for check in STATEMENTS.values()):
        raise SystemExit("a statement does not hold of the printed numbers")
    kept: Kept = read_json(FILE) if FILE.is_file() else {}
    for folder in given.runs:
        add(kept, folder, given.data, cells.read_predictions())
    kept = cells.in_order(kept, cells.read_predictions())
    write_file(FILE, json_bytes(kept))
    write_file(COUNTS, json_bytes(compute_counts(kept, cells.read_predictions())))
    write_file(PAGE, render(kept).encode())
    write_file(CHART, draw_chart(kept).encode())


if __name__ == "__main__":
    main()
