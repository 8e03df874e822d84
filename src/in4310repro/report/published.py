"""How the published numbers may have come about: the audit of what is printed, and the experiment beside it.

The hypothesis is that of `protocols`. It is held against what is printed in predictions that could each have failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from in4310repro import presets
from in4310repro.audit import examine
from in4310repro.audit.oddities import CEILINGS
from in4310repro.protocols import CORRECTED, MEANING, PUBLISHED, PUBLISHED_BATCH, counted_images
from in4310repro.report import figures, page, tables
from in4310repro.runs import Run, json_bytes, read_json_file, write_file

METRICS = ("class_accuracy", "average_precision", "mean_class_accuracy", "mean_average_precision")
# No single network in the public competition on these images came above it.
CEILING = float(max(CEILINGS.values()))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What follows from the hypothesis, what is printed, what the runs show, and whether they show it."""

    claim: str
    printed: str
    found: str
    holds: bool


def write(corrected: Run, published: Sequence[Run], ablations: Sequence[Path], reports: Path) -> list[Path]:
    """Writes `published.md`, and `published/` with its figures, numbers and the printed values as a file to audit.

    Args:
        corrected: a finished run as the assignment defines it, with its features measured.
        published: finished runs of the published protocol that differ from it in nothing else but their seeds.
        ablations: files `ablation.json`.
        reports: where the page goes.

    Raises:
        ValueError: a run is not finished or not of these protocols, or the runs cannot be compared.
    """
    _comparable(corrected, published)
    original = tables.original()
    printed = write_file(reports / "published" / "original.toml", _toml(original).encode())
    audit = examine.audit(printed)
    runs = {_name(run): page.record(run) for run in (corrected, *published)}
    numbers = {
        "classes": original["classes"],
        "printed": original["settings"],
        "corrected": summary(corrected),
        "published": [summary(run) for run in published],
        "non_positive_percent": _shares(corrected, original),
        "audit": audit.to_json(),
    }
    found = predictions(numbers)
    numbers |= {"predictions": [asdict(prediction) for prediction in found], "runs": runs}
    ways = _four_ways(numbers)
    drawn = {
        "accuracy": figures.four_ways(ways),
        "settings": figures.settings(numbers),
        "non_positive": figures.shares(numbers["non_positive_percent"]),
    }
    files = {f"published/{name}.png": figures.png(figure) for name, figure in drawn.items()}
    files["published/numbers.json"] = json_bytes(numbers)
    context = _context(numbers, ways, found, [read_json_file(file) for file in ablations], reports)
    files["published.md"] = page.rendered("published.md.jinja", context | {"audit": audit}).encode()
    return [printed, *(write_file(reports / name, content) for name, content in files.items())]


def _comparable(corrected: Run, published: Sequence[Run]) -> None:
    """Refuses runs that differ in more than what is asked."""
    if not published:
        raise ValueError("no run of the published protocol; `in4310repro train --protocol published` makes one")
    base, seeds = presets.from_json(corrected.read_json("config.json")), []
    for run in (corrected, *published):
        config = presets.from_json(run.read_json("config.json"))
        expected = CORRECTED if run is corrected else PUBLISHED
        if config.protocol != expected:
            raise ValueError(f"{run.folder} is of protocol {config.protocol}; {expected} is needed in its place")
        apart = presets.differences(config, presets.to_json(replace(base, protocol=expected, seed=config.seed)))
        if apart:
            raise ValueError(f"{run.folder} differs from {corrected.folder} in more than protocol and seed: {apart[0]}")
        if list(run.read_json("metrics.json")["classes"]) != tables.original()["classes"]:
            raise ValueError(
                f"{run.folder} has other classes than the report: {run.read_json('metrics.json')['classes']}"
            )
        seeds += [config.seed] if run is not corrected else []
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"the published runs have the seeds {seeds}; one of each is valid")


def _name(run: Run) -> str:
    """The run's folder as it was given; its last part where the whole would name somebody's machine."""
    return run.folder.name if run.folder.is_absolute() else run.folder.as_posix()


def _toml(original: Mapping[str, Any]) -> str:
    """The printed values as strings, since their decimals are information."""
    lines = ["# What the published report prints, for `in4310repro audit`."]
    for name, values in original["settings"].items():
        title = "test" if name == "test" else f"validation of {name}"
        lines += ["", "[[table]]", f'name = "{title}"']
        for key, source in (("accuracy", "class_accuracy"), ("average_precision", "average_precision")):
            cells = [f'{label} = "{value}"' for label, value in zip(original["classes"], values[source], strict=True)]
            mean = values[f"mean_{source}"]
            lines += [f"{key} = {{ {', '.join(cells)} }}", f'mean_{key} = "{mean}"']
    return "\n".join(lines) + "\n"


def summary(run: Run) -> dict[str, Any]:
    """What the page says of a run: each setting at its best epoch and after every one, then the selected network."""
    config, metrics = presets.from_json(run.read_json("config.json")), run.read_json("metrics.json")
    settings = {}
    for setting in config.settings:
        rows = run.read_json(f"{setting.name}/history.json")
        best = max(rows, key=lambda row: row["mean_class_accuracy"])
        settings[setting.name] = {name: best[name] for name in ("epoch", *METRICS)} | {
            "curve": [row["mean_class_accuracy"] for row in rows]
        }
    found = {
        "seed": config.seed,
        "settings": settings,
        "selected": metrics["setting"],
        "supports": metrics["supports"]["test"],
        "test": {name: metrics[name] for name in METRICS},
    }
    if unseen := metrics.get("unseen"):
        found["unseen"] = {name: unseen[name] for name in ("images", *METRICS)}
    return found


def _shares(run: Run, original: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Percent of values that are not positive: as printed, with 208 counted images put right, and measured here."""
    images = run.read_json("features.json")["sets"][0]
    printed = original["non_positive_percent"]
    factor = counted_images(200) / 200
    return {
        "as printed": printed,
        "printed x 208/200": {name: value * factor for name, value in printed.items()},
        "ours": {name: 100 * images["modules"][name]["non_positive"] for name in printed},
    }


def predictions(numbers: Mapping[str, Any]) -> list[Prediction]:
    """What the hypothesis says must be seen, held against every published run."""
    printed, published = numbers["printed"], numbers["published"]
    fair = numbers["corrected"]["test"]["mean_class_accuracy"]
    names = list(published[0]["settings"])
    best = [[run["settings"][name]["mean_class_accuracy"] for name in names] for run in published]
    seen = [run["test"]["mean_class_accuracy"] for run in published]
    unseen = [run["unseen"]["mean_class_accuracy"] for run in published]
    as_printed = [printed[name]["mean_class_accuracy"] for name in tables.original()["optimizers"]]
    levels = list(zip(*best, strict=True))
    looks = [_two_looks(run["settings"][run["selected"]], run["test"], run["supports"]) for run in published]
    first = _two_looks(printed["sgd"], printed["test"], published[0]["supports"])
    return [
        Prediction(
            claim=f"On the images that it was trained on the selected network is above {CEILING}, the best of the "
            "public competition",
            printed=f"{printed['test']['mean_class_accuracy']:.4f}",
            found=_span(seen),
            holds=min(seen) > CEILING,
        ),
        Prediction(
            claim=f"On images that it never read it is no better than the corrected protocol's {fair:.4f}",
            printed="-",
            found=_span(unseen),
            holds=max(unseen) <= fair,
        ),
        Prediction(
            claim="One network goes on: each setting is better than the one before, and the last is selected",
            printed=" < ".join(f"{value:.4f}" for value in as_printed),
            found=" < ".join(_span(values) for values in levels),
            holds=all(row == sorted(row) for row in best) and all(run["selected"] == names[-1] for run in published),
        ),
        Prediction(
            claim="Validation and test are two looks at the same images, each with its own flips: few images change "
            "and classes keep their counts",
            printed=_look(first),
            found="; ".join(map(_look, looks)),
            holds=all(equal >= 1 and abs(apart) <= 30 for equal, apart in looks),
        ),
        Prediction(
            claim="If all else were equal, too: each setting reaches the printed level within the range of the seeds",
            printed=", ".join(f"{value:.4f}" for value in as_printed),
            found=", ".join(_span(values) for values in levels),
            holds=all(min(v) <= value <= max(v) for v, value in zip(levels, as_printed, strict=True)),
        ),
    ]


def _two_looks(one: Mapping[str, Any], other: Mapping[str, Any], supports: Mapping[str, int]) -> tuple[int, int]:
    """Classes with an equal number of correct images, and by how many images the totals differ."""
    counts = [
        [round(value * images) for value, images in zip(look["class_accuracy"], supports.values(), strict=True)]
        for look in (one, other)
    ]
    return sum(a == b for a, b in zip(*counts, strict=True)), sum(counts[1]) - sum(counts[0])


def _look(found: tuple[int, int]) -> str:
    return f"{found[0]} of 6 equal, {found[1]:+d} images"


def _span(values: Sequence[float]) -> str:
    """One value, or the lowest and the highest."""
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    return low if low == high else f"{low} to {high}"


def _four_ways(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The bars of the main figure: for each way of measuring the classes and their mean, one row a run."""

    def rows(measured: Sequence[Mapping[str, Any]]) -> list[list[float]]:
        return [[*values["class_accuracy"], values["mean_class_accuracy"]] for values in measured]

    published = numbers["published"]
    return {
        "classes": numbers["classes"],
        "bars": {
            "as printed": rows([numbers["printed"]["test"]]),
            "published protocol, seen images": rows([run["test"] for run in published]),
            "the same networks, unseen images": rows([run["unseen"] for run in published]),
            "corrected protocol": rows([numbers["corrected"]["test"]]),
        },
    }


def _context(
    numbers: Mapping[str, Any],
    ways: Mapping[str, Any],
    found: Sequence[Prediction],
    ablations: Sequence[Mapping[str, Any]],
    reports: Path,
) -> dict[str, Any]:
    bars = ways["bars"]
    names = [*numbers["classes"], "mean"]
    runs = numbers["runs"]
    corrected = next(iter(runs.values()))
    config = presets.from_json(corrected["config"])
    published = numbers["published"]
    fair = numbers["corrected"]["test"]["mean_class_accuracy"]
    return {
        "numbers": numbers,
        "predictions": found,
        "supported": all(prediction.holds for prediction in found[:2]),
        "span": _span,
        "seen": [run["test"]["mean_class_accuracy"] for run in published],
        "unseen": [run["unseen"]["mean_class_accuracy"] for run in published],
        "unseen_images": published[0]["unseen"]["images"],
        "accuracy_rows": [
            (name, *(_span([row[place] for row in rows]) for rows in bars.values())) for place, name in enumerate(names)
        ],
        "bars": list(bars),
        "setting_rows": _setting_rows(numbers),
        "departures": tables.departures(config, corrected["metrics"])[:-1],
        "ablations": [_effects(report) for report in ablations],
        "meaning": MEANING,
        "batch": PUBLISHED_BATCH,
        "commands": [_command(record, name) for name, record in runs.items()],
        "page_command": f"in4310repro published {' '.join(runs)}",
        "first": _first_setting(numbers),
        "standard_error": math.sqrt(fair * (1 - fair) / sum(numbers["corrected"]["supports"].values())),
        "fingerprint": corrected["fingerprint"],
        "folder": reports.name,
    }


def _command(record: Mapping[str, Any], name: str) -> str:
    return f"in4310repro train {presets.options(presets.from_json(record['config']))} --out {name}"


def _first_setting(numbers: Mapping[str, Any]) -> dict[str, str]:
    """The first setting starts afresh in either protocol: what it gains is the one set's (and flips'), no other's."""
    name = next(iter(numbers["corrected"]["settings"]))
    fair = numbers["corrected"]["settings"][name]["mean_class_accuracy"]
    gains = [run["settings"][name]["mean_class_accuracy"] - fair for run in numbers["published"]]
    rest = [
        max(s["mean_class_accuracy"] for s in run["settings"].values()) - fair - gain
        for run, gain in zip(numbers["published"], gains, strict=True)
    ]
    return {"name": name, "one_set": _span(gains), "going_on": _span(rest)}


def _setting_rows(numbers: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Each setting's best epoch: mean class accuracy and mAP as printed, published protocol, corrected."""
    found = []
    for optimizer, name in zip(tables.original()["optimizers"], numbers["corrected"]["settings"], strict=True):
        cells = [name]
        for metric in METRICS[2:]:
            cells += [
                f"{numbers['printed'][optimizer][metric]:.4f}",
                _span([run["settings"][name][metric] for run in numbers["published"]]),
                f"{numbers['corrected']['settings'][name][metric]:.4f}",
            ]
        found.append(tuple(cells))
    return found


def _effects(report: Mapping[str, Any]) -> dict[str, Any]:
    """An ablation as rows of departures: how far each moves what a reader looks at first."""
    base = report["numbers"][CORRECTED]
    config = presets.from_json(report["config"])
    shares = [name for name in base if name.startswith("non-positive share")]
    values = [name for name in base if name.startswith("largest eigenvalue")]

    def row(found: Mapping[str, float | None]) -> tuple[str, ...]:
        moved = [_moved(base[name], found[name]) for name in ("test accuracy", "test mAP")]
        unseen = found["accuracy on unseen images"]
        share = 100 * sum(found[name] - base[name] for name in shares) / len(shares)
        ratios = [found[name] / base[name] for name in values]
        return (
            *moved,
            "-" if unseen is None else f"{unseen:.4f}",
            "." if share == 0 else f"{share:+.2f}",
            "." if set(ratios) == {1.0} else f"{min(ratios):.2f} to {max(ratios):.2f}",
        )

    return {
        "data": "The photographs" if config.data else "Drawn scenes",
        "config": config,
        "command": report["command"],
        "corrected": {name: base[name] for name in ("test accuracy", "test mAP")},
        "rows": [(name, *row(found)) for name, found in report["numbers"].items() if name != CORRECTED],
    }


def _moved(before: float | None, after: float | None) -> str:
    return "." if before == after else f"{after - before:+.4f}"  # type: ignore[operator]
