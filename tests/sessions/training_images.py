"""What training images are worth: accuracy by their number, and without those that are doubted, copies or look-alikes.

    python -m tests.sessions.training_images --data mandatory1/data --findings doubts.json

FINDINGS is what `data check --weights runs/photographs-head --out` wrote. Writes `reports/training-images`, without
photographs; what is in its `numbers.json` is not computed again.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import torch
from numpy.typing import NDArray

from in4310repro import head, trained_part, training
from in4310repro.config import LOOK_ALIKES, Config
from in4310repro.context import Context
from in4310repro.data.folders import Entry
from in4310repro.data.images import ImageSet
from in4310repro.doubts.plane import plane
from in4310repro.embedding import Embedding, embed
from in4310repro.files import json_bytes, read_json, write_file
from in4310repro.metrics import wilson
from in4310repro.numerics import Numerics, activate
from in4310repro.prediction import predict
from in4310repro.preparation import TrainingPlan, build_network, load_data, make_plan
from in4310repro.presets import command_line_options, configure, with_one_setting
from in4310repro.progress import Progress
from in4310repro.randomness import generator_for
from in4310repro.report import plane_chart, svg
from in4310repro.report.render import asset
from in4310repro.runs import chain, names
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.selection import best_epoch, select
from in4310repro.scores import Scores
from in4310repro.settings import STRENGTHS

FOLDER = Path(__file__).parents[2] / "reports/training-images"
NUMBERS = FOLDER / "numbers.json"
PUBLISHED, TEST_IMAGES = FOLDER.parent / "published/numbers.json", 3000
IMAGES, SEEDS = (500, 1500, 4500, 12034), range(3)
ALL = "all training images"
SCRATCH = {"weights": "none", "image_size": 64, "batch_size": 32, "numerics": "portable"}


def head_config(data: str, seed: int) -> Config:
    return configure("photographs-head", None, {"data": data, "seed": seed})


def scratch_config(data: str) -> Config:
    return with_one_setting(configure("course", None, {"data": data, **SCRATCH}), "AdamW", None)


def drawn(entries: Sequence[Entry], images: int, seed: int) -> list[int]:
    """Positions of so many of the images, with each class's share of them; those of fewer are among them."""
    ranked: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for position, entry in enumerate(entries):
        ranked[entry.label].append((generator_for(seed, "training images", entry.sha256).random(), position))
    # The place within the class, as a share of the class: any first part of all has the classes' shares.
    places = [
        ((place + 0.5) / len(of_class), draw, position)
        for of_class in ranked.values()
        for place, (draw, position) in enumerate(sorted(of_class))
    ]
    return sorted(position for _, _, position in sorted(places)[:images])


def planned(config: Config, context: Context) -> TrainingPlan:
    """What `experiment.train` would start from."""
    data = load_data(config, context)
    config, network = build_network(data, context)
    return make_plan(data, config, network, context)


def trained(plan: TrainingPlan, numerics: Numerics, images: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Trains on so many images, selects on validation, and scores the test set once."""
    config = plan.config
    chosen = plan.sets["training"].at(drawn(plan.split.parts["training"], images, config.seed))
    files, histories = RunFolder.create(folder), dict[str, list[HistoryRow]]()
    for setting in config.settings:
        task = training.Task(
            model=plan.initial_network(),
            training=chosen,
            validation=plan.sets["validation"],
            config=config,
            setting=setting,
            files=files,
            context=Context(numerics, progress),
            split_sha256=chain.split_sha256(plan.split),
        )
        histories[setting.name] = (head if config.training.fits_head(setting) else training).fit(task)
    name, best = select(histories, "mean_class_accuracy")
    weights = files.read_tensors(names.of_setting(name, names.BEST_WEIGHTS))
    network = numerics.place(plan.network_with(weights, "the selected weights"))
    scores = predict(network, plan.sets["test"], config.evaluation, Context(numerics, progress))
    return {
        "images": images,
        "row": best["epoch"],
        "validation": best["mean_class_accuracy"],
        **scores.metrics(config.protocol),
    }


def measure_curve(kind: str, config: Config, progress: Progress) -> None:
    """Adds to the numbers what a seed lacks, a number of images at a time."""
    numerics = activate(config.numerics, config.device)
    plan: TrainingPlan | None = None
    for images in IMAGES:
        rows = known("curve", kind, f"{config.seed}", default=[])
        if images in [row["images"] for row in rows]:
            continue
        plan = plan or planned(config, Context(numerics, progress))
        with tempfile.TemporaryDirectory() as folder:
            row = trained(plan, numerics, images, Path(folder) / "run", progress)
        keep([*rows, row], "curve", kind, f"{config.seed}")


class Features(NamedTuple):
    """Images of a part, and what the last layer reads of them."""

    images: ImageSet
    rows: Embedding


def measure_worth(data: str, seed: int, findings: Mapping[str, Any], progress: Progress) -> None:
    """The head of a seed, fitted with and without some training images."""
    if known("worth", f"{seed}"):
        return
    config = head_config(data, seed)
    numerics = activate(config.numerics, config.device)
    plan = planned(config, Context(numerics, progress))
    network, parts = features(plan, numerics, progress)
    doubts = findings["doubts"]
    doubted = {each["path"] for each in doubts["doubts"]}
    test = set(parts["test"].images.paths)
    of_test = {
        "copies": {path for group in doubts["copies"] if test & set(group) for path in group},
        "look-alikes": {path for each in doubts["look_alikes"] if test & set(each["paths"]) for path in each["paths"]},
    }
    without: dict[str, set[str]] = {
        ALL: set(),
        "without doubted ones": doubted,
        "without copies of test images": of_test["copies"],
        "without look-alikes of test images in other classes": of_test["look-alikes"],
        "without copies and look-alikes of test images": of_test["copies"] | of_test["look-alikes"],
    }
    strength = chosen_strength(network, parts, config, numerics)
    fitted = {
        what: scores_without(network, parts, paths, strength, config, numerics) for what, paths in without.items()
    }
    parts["training"] = leaked(parts)
    fitted["with all test images in training"] = scores_without(network, parts, set(), strength, config, numerics)
    grouped = planned(replace(config, group=LOOK_ALIKES), Context(numerics, progress))
    network, parts = features(grouped, numerics, progress)
    strength = chosen_strength(network, parts, config, numerics)
    fitted["split by --group look-alikes"] = scores_without(network, parts, set(), strength, config, numerics)
    first = fitted[ALL].scores
    keep(
        {
            what: {
                "training": each.training,
                **of_scores(each.scores, doubted),
                **(changed(first, each.scores) if each.scores.paths == first.paths else {}),
            }
            for what, each in fitted.items()
        },
        "worth",
        f"{seed}",
    )


def features(plan: TrainingPlan, numerics: Numerics, progress: Progress) -> tuple[torch.nn.Module, dict[str, Features]]:
    network, config = numerics.place(plan.network), plan.config
    size = config.evaluation_batch_size
    return network, {
        part: Features(images, embed(network, config.network, images, size, Context(numerics, progress)))
        for part, images in plan.sets.items()
    }


def leaked(parts: Mapping[str, Features]) -> Features:
    """The training images and those of the test part."""
    first, second = parts["training"], parts["test"]
    images = ImageSet(
        "training",
        first.images.paths + second.images.paths,
        first.images.keys + second.images.keys,
        np.concatenate([first.images.labels, second.images.labels]),
        first.images.pixels[:0],
    )
    return Features(images, Embedding(first.rows.records, np.concatenate([first.rows.places, second.rows.places])))


class Fitted(NamedTuple):
    """How many images a head was fitted to, and its scores of the test part."""

    training: int
    scores: Scores


def scores_without(
    network: torch.nn.Module,
    parts: Mapping[str, Features],
    paths: Collection[str],
    strength: float,
    config: Config,
    numerics: Numerics,
    part: str = "test",
) -> Fitted:
    """Fits the head to the training images that are not among the paths, and scores the images of a part."""
    images, rows = parts["training"]
    kept = [position for position, path in enumerate(images.paths) if path not in paths]
    fitted = head.fit_head(Embedding(rows.records, rows.places[kept]), images.labels[kept], 6, strength)
    layer = trained_part.last_layer(network, config.network)
    with torch.no_grad():
        layer.weight.copy_(fitted.weight)
        layer.bias.copy_(fitted.bias)
    size = config.evaluation_batch_size
    return Fitted(len(kept), head.scores_of_features(layer, parts[part].rows, parts[part].images, size, numerics))


def chosen_strength(
    network: torch.nn.Module, parts: Mapping[str, Features], config: Config, numerics: Numerics
) -> float:
    """The penalty that validation selects, of the four strongest; weaker ones never were."""
    rows = []
    for strength in STRENGTHS[:4]:
        _, scores = scores_without(network, parts, (), strength, config, numerics, "validation")
        rows.append({"strength": strength, **scores.metrics()})
    chosen: float = best_epoch(rows, "mean_class_accuracy")["strength"]  # type: ignore[arg-type]
    return chosen


def of_scores(scores: Scores, doubted: Collection[str]) -> dict[str, Any]:
    """Both means, and accuracy on the images whose label nothing doubts."""
    found, right = scores.metrics(), correct(scores)
    undoubted = np.array([path not in doubted for path in scores.paths])
    counts = [int(right[undoubted].sum()), int(undoubted.sum())]
    return {
        "correct": int(right.sum()),
        "accuracy": float(right.mean()),
        "interval": wilson(int(right.sum()), len(right)),
        "mean_class_accuracy": found["mean_class_accuracy"],
        "mean_average_precision": found["mean_average_precision"],
        "undoubted": {"correct": counts[0], "images": counts[1], "accuracy": counts[0] / counts[1]},
    }


def changed(first: Scores, second: Scores) -> dict[str, int]:
    """How many test images are right now and were wrong, and the other way."""
    before, now = correct(first), correct(second)
    return {"gained": int((now & ~before).sum()), "lost": int((before & ~now).sum())}


def correct(scores: Scores) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = scores.softmax.argmax(axis=1) == scores.labels
    return right


def known(*keys: str, default: Any = None) -> Any:
    """A value of the numbers that are there."""
    value = read_json(NUMBERS) if NUMBERS.exists() else {}
    for key in keys:
        value = value.get(key, {}) if isinstance(value, dict) else {}
    return value or default


def keep(value: Any, *keys: str) -> None:
    """Writes a value into the numbers, which another process may have written to meanwhile."""
    numbers = read_json(NUMBERS) if NUMBERS.exists() else {}
    inner = numbers
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
    inner[keys[-1]] = value
    write_file(NUMBERS, json_bytes(numbers))


def draw(data: str, progress: Progress) -> None:
    """The curve and the map of the test images."""
    numbers, config = read_json(NUMBERS), head_config(data, 0)
    numerics = activate(config.numerics, config.device)
    plan = planned(config, Context(numerics, progress))
    _, parts = features(plan, numerics, progress)
    places = plane(parts["test"].rows.take(range(len(parts["test"].images))), seed=0)
    on_plane = plane_chart.panel(places, plan.split.classes, parts["test"].images.labels)
    style = asset("chart.css")
    alternative = "Test images near each other have similar features"
    write_file(FOLDER / "map.svg", svg.file([on_plane], alternative, style).encode())
    write_file(FOLDER / "curve.svg", curve_from(numbers).encode())


def curve_from(numbers: Mapping[str, Any]) -> str:
    """Draw the curve from its numbers alone."""
    return svg.file([curve(numbers["curve"])], "Accuracy by training images", asset("chart.css"))


def curve(measured: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> svg.Panel:
    """Mean accuracy over the number of images, on a logarithmic axis, and its range where there are several seeds."""
    points = {kind: mean_points(seeds) for kind, seeds in measured.items()}
    legend, height = svg.legend(list(points), 14)
    top, bottom = height + 32.0, height + 252.0
    x = svg.linear(
        (math.log(IMAGES[0]), math.log(IMAGES[-1])), (48, svg.WIDTH - 24), [(math.log(n), f"{n}") for n in IMAGES]
    )
    y = svg.linear(
        (0.5, 1), (bottom, top), [(tenth / 10, f".{tenth}" if tenth < 10 else "1") for tenth in range(5, 11)]
    )
    parts = [legend, svg.axes(40, top, bottom, x, y, ("training images", "mean class accuracy on test"))]
    for style, (kind, of_kind) in enumerate(points.items()):
        rows = [row for of_seed in measured[kind].values() for row in of_seed]
        for images, _ in of_kind:
            seeds = [y.pixel(row["mean_class_accuracy"]) for row in rows if row["images"] == images]
            place = x.pixel(math.log(images))
            # Wider than a mark, which can be higher than the range.
            ends = (min(seeds), max(seeds)) if len(seeds) > 1 else ()
            parts += [svg.line(place - 8, end, place + 8, end, f"l{style}") for end in ends]
        shown = [(x.pixel(math.log(images)), y.pixel(value)) for images, value in of_kind]
        parts += [svg.path(shown, f"l{style} bold"), *(svg.mark(*point, style) for point in shown)]
    return svg.Panel("Accuracy by training images", bottom + 38, svg.join(parts))


def mean_points(seeds: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[int, float]]:
    """Of each number of images the mean class accuracy, over the seeds."""
    return [
        (
            images,
            float(
                np.mean(
                    [row["mean_class_accuracy"] for rows in seeds.values() for row in rows if row["images"] == images]
                )
            ),
        )
        for images in IMAGES
    ]


def page(data: str) -> str:
    """The numbers as Markdown."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701
    template = environment.from_string(Path(__file__).with_suffix(".md.jinja").read_text("utf-8"))
    options = {
        "head": command_line_options(head_config(data, 0)),
        "scratch": command_line_options(scratch_config(data)),
    }
    numbers = read_json(NUMBERS)
    worth = list(numbers["worth"].values())
    first = [each[ALL] for each in worth]
    points = {
        what: ", ".join(
            f"{100 * (of[what]['accuracy'] - all_['accuracy']):+.2f}" for of, all_ in zip(worth, first, strict=True)
        )
        for what in worth[0]
    }
    fewer = {
        what: [all_["training"] - of[what]["training"] for of, all_ in zip(worth, first, strict=True)]
        for what in worth[0]
    }
    share = first[0]["accuracy"]
    by_chance = 100 * 1.96 * math.sqrt(2 * share * (1 - share) / TEST_IMAGES)
    native = read_json(PUBLISHED)["corrected"]["test"]["mean_class_accuracy"]
    values = {"points": points, "leaves_out": fewer, "chance": by_chance, "native": native}
    return template.render(numbers, images=IMAGES, options=options, **values) + "\n"


def main(data: str, findings: Path, parts: Collection[str]) -> None:
    progress = Progress()
    if "scratch" in parts:
        measure_curve("scratch", scratch_config(data), progress)
    for seed in SEEDS:
        if "head" in parts:
            measure_curve("head", head_config(data, seed), progress)
        if "worth" in parts:
            measure_worth(data, seed, read_json(findings), progress)
    if "page" in parts:
        draw(data, progress)
        write_file(FOLDER / "training-images.md", page(data).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--findings", type=Path, required=True)
    parser.add_argument("parts", nargs="*", default=("scratch", "head", "worth", "page"))
    given = parser.parse_args()
    main(given.data, given.findings, given.parts)
