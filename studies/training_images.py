"""The value of training images: accuracy by their number, and without doubtful images, copies or look-alikes.

    nox -s evidence -- training-images --data mandatory1/data --findings doubts.json

FINDINGS is the file that `data check --weights runs/photographs-head --out` wrote. Writes `reports/training-images`,
without photographs; numbers that are already in its `numbers.json` are not computed again.
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

from in4310repro.data.folders import Entry
from in4310repro.data.images import ImageSet
from in4310repro.evaluation.doubts.folder_features import plane
from in4310repro.evaluation.embedding import Embedding, embed
from in4310repro.evaluation.prediction import predict
from in4310repro.metrics import wilson
from in4310repro.metrics.scores import Scores
from in4310repro.models import building
from in4310repro.report import contact_sheet, markup
from in4310repro.runs import chain, names
from in4310repro.runs.config import Config
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import command_line_options, configure, with_one_setting
from in4310repro.runs.record_types import HistoryRow
from in4310repro.runs.selection import best_epoch, select
from in4310repro.runs.settings import LOOK_ALIKES, STRENGTHS
from in4310repro.system.context import Context
from in4310repro.system.files import bytes_sha256, json_bytes, read_json, write_file
from in4310repro.system.numerics import Numerics, activate, generator_for
from in4310repro.system.progress import Progress
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import head, training
from in4310repro.training.preparation import TrainingPlan, plan_training

FOLDER = Path(__file__).parents[1] / "reports/training-images"
NUMBERS = FOLDER / "numbers.json"
PUBLISHED, TEST_IMAGES = FOLDER.parent / "published/numbers.json", 3000
IMAGES, SEEDS = (500, 1500, 4500, 12034), range(3)
ALL = "all training images"
SCRATCH = {"weights": "none", "image_size": 64, "batch_size": 32, "numerics": "portable"}


def head_config(data: str, seed: int) -> Config:
    return configure("photographs-head", None, {"data": data, "seed": seed})


def scratch_config(data: str) -> Config:
    return with_one_setting(configure("course", None, {"data": data, **SCRATCH}), "AdamW", None)


def draw_subset(entries: Sequence[Entry], images: int, seed: int) -> list[int]:
    """Return indices of `images` images in proportion to class sizes; smaller draws are subsets of larger ones."""
    ranked: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for position, entry in enumerate(entries):
        ranked[entry.label].append((generator_for(seed, "training images", entry.sha256).random(), position))
    # Sorting by relative rank within the class gives every prefix the classes' proportions.
    places = [
        ((place + 0.5) / len(of_class), draw_figures, position)
        for of_class in ranked.values()
        for place, (draw_figures, position) in enumerate(sorted(of_class))
    ]
    return sorted(position for _, _, position in sorted(places)[:images])


def train(plan: TrainingPlan, numerics: Numerics, images: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train on `images` images, select on validation, and score the test set once."""
    config = plan.config
    chosen = plan.sets["training"].at(draw_subset(plan.split.parts["training"], images, config.seed))
    files, histories = RunFolder.create(folder), dict[str, list[HistoryRow]]()
    for setting in config.settings:
        inputs, split_sha256 = plan.inputs(setting, Context(numerics, progress)), bytes_sha256(plan.split_csv)
        initial = tensors_sha256(inputs.model.state_dict())
        task = training.Task(
            **vars(inputs) | {"training": chosen},
            files=files,
            start_sha256=chain.start_sha256(config, setting, split_sha256, initial, numerics.numeric_class),
        )
        histories[setting.name] = (head if config.fits_head(setting) else training).fit(task)
    name, best = select(histories, "mean_class_accuracy")
    weights = files.read_tensors(f"{name}/{names.BEST_WEIGHTS}")
    network = numerics.place(plan.network_with(weights, "the selected weights"))
    scores = predict(network, plan.sets["test"], config, Context(numerics, progress))
    return {
        "images": images,
        "row": best["epoch"],
        "validation": best["mean_class_accuracy"],
        **scores.metrics(by_logits=config.protocol.ranks_logits),
    }


def last_point_from_scratch(config: Config) -> dict[str, Any]:
    """Return the point of all training images, which is the training by AdamW of the corrected run.

    Raises:
        SystemExit: the corrected run scored the test set with the network of another setting.
    """
    run = read_json(PUBLISHED)["corrected"]
    (setting,) = config.settings
    if run["selected"] != setting.name:
        raise SystemExit(f"{PUBLISHED}: the corrected run selected {run['selected']}; expected {setting.name}")
    of_setting, test = run["settings"][setting.name], run["test"]
    shown = ("class_accuracy", "average_precision", "mean_class_accuracy", "mean_average_precision")
    return {
        "images": IMAGES[-1],
        "row": of_setting["epoch"],
        "validation": of_setting["mean_class_accuracy"],
        **{name: test[name] for name in shown},
    }


def measure_curve(kind: str, config: Config, numbers: Sequence[int], progress: Progress) -> None:
    """Train with each number of training images not yet measured for the seed, and store the results."""
    numerics = activate(config.numerics, config.device)
    plan: TrainingPlan | None = None
    for images in numbers:
        rows = read_number("curve", kind, f"{config.seed}", default=[])
        if images in [row["images"] for row in rows]:
            continue
        plan = plan or plan_training(config, Context(numerics, progress))
        with tempfile.TemporaryDirectory() as folder:
            row = train(plan, numerics, images, Path(folder) / "run", progress)
        keep([*rows, row], "curve", kind, f"{config.seed}")


class Features(NamedTuple):
    """Images of a part (training, validation or test), and the inputs of the last layer for them."""

    images: ImageSet
    rows: Embedding


def measure_worth(data: str, seed: int, findings: Mapping[str, Any], progress: Progress) -> None:
    """Fit the last layer, for one seed, with and without doubted images, copies or look-alikes; store the results."""
    if read_number("worth", f"{seed}"):
        return
    config = head_config(data, seed)
    numerics = activate(config.numerics, config.device)
    plan = plan_training(config, Context(numerics, progress))
    network, parts = read_features(plan, numerics, progress)
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
    strength = choose_strength(network, parts, config, numerics)
    fitted = {what: score_without(network, parts, paths, strength, config, numerics) for what, paths in without.items()}
    parts["training"] = add_test_images(parts)
    fitted["with all test images in training"] = score_without(network, parts, set(), strength, config, numerics)
    grouped = plan_training(replace(config, group=LOOK_ALIKES), Context(numerics, progress))
    network, parts = read_features(grouped, numerics, progress)
    strength = choose_strength(network, parts, config, numerics)
    fitted["split by --group look-alikes"] = score_without(network, parts, set(), strength, config, numerics)
    first = fitted[ALL].scores
    keep(
        {
            what: {
                "training": each.training,
                **summarize(each.scores, doubted),
                **(count_changes(first, each.scores) if each.scores.paths == first.paths else {}),
            }
            for what, each in fitted.items()
        },
        "worth",
        f"{seed}",
    )


def read_features(
    plan: TrainingPlan, numerics: Numerics, progress: Progress
) -> tuple[torch.nn.Module, dict[str, Features]]:
    network, config = numerics.place(plan.network), plan.config
    return network, {
        part: Features(images, embed(network, config, images, Context(numerics, progress)))
        for part, images in plan.sets.items()
    }


def add_test_images(parts: Mapping[str, Features]) -> Features:
    """Return the training images joined with the test images."""
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
    """The number of images to which a head was fitted, and its scores of the test images."""

    training: int
    scores: Scores


def score_without(
    network: torch.nn.Module,
    parts: Mapping[str, Features],
    paths: Collection[str],
    strength: float,
    config: Config,
    numerics: Numerics,
    part: str = "test",
) -> Fitted:
    """Fit the last layer to the training images except `paths`, and score the images of a part of the split."""
    images, rows = parts["training"]
    kept = [position for position, path in enumerate(images.paths) if path not in paths]
    fitted = head.fit_head(Embedding(rows.records, rows.places[kept]), images.labels[kept], strength)
    _, layer = building.last_layer(network, config.network)
    with torch.no_grad():
        layer.weight.copy_(fitted.weight)
        layer.bias.copy_(fitted.bias)
    size = config.evaluation_batch_size
    return Fitted(len(kept), head.scores_of_features(layer, parts[part].rows, parts[part].images, size, numerics))


def choose_strength(
    network: torch.nn.Module, parts: Mapping[str, Features], config: Config, numerics: Numerics
) -> float:
    """Return the penalty with the best validation accuracy among the four strongest."""
    rows = []
    for strength in STRENGTHS[:4]:
        _, scores = score_without(network, parts, (), strength, config, numerics, "validation")
        rows.append({"strength": strength, **scores.metrics()})
    chosen: float = best_epoch(rows, "mean_class_accuracy")["strength"]  # type: ignore[arg-type]
    return chosen


def summarize(scores: Scores, doubted: Collection[str]) -> dict[str, Any]:
    """Return a dict of results: accuracy and its interval, mean metrics, and accuracy without `doubted` images."""
    found, right = scores.metrics(), find_correct(scores)
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


def count_changes(first: Scores, second: Scores) -> dict[str, int]:
    """Count the test images that became correct, and those that became wrong."""
    before, now = find_correct(first), find_correct(second)
    return {"gained": int((now & ~before).sum()), "lost": int((before & ~now).sum())}


def find_correct(scores: Scores) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = scores.softmax.argmax(axis=1) == scores.labels
    return right


def read_number(*keys: str, default: Any = None) -> Any:
    value = read_json(NUMBERS) if NUMBERS.exists() else {}
    for key in keys:
        value = value.get(key, {}) if isinstance(value, dict) else {}
    return value or default


def keep(value: Any, *keys: str) -> None:
    """Set the value at a path of keys in the JSON file of numbers, and keep the file's other values."""
    numbers = read_json(NUMBERS) if NUMBERS.exists() else {}
    inner = numbers
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
    inner[keys[-1]] = value
    write_file(NUMBERS, json_bytes(numbers))


def draw_figures(data: str, progress: Progress) -> None:
    """Draw the accuracy curve, and the feature map of the test images."""
    numbers, config = read_json(NUMBERS), head_config(data, 0)
    numerics = activate(config.numerics, config.device)
    plan = plan_training(config, Context(numerics, progress))
    _, parts = read_features(plan, numerics, progress)
    places = plane(parts["test"].rows.take(range(len(parts["test"].images))), seed=0)
    on_plane = contact_sheet.draw_plane(places, plan.split.classes, parts["test"].images.labels)
    alternative = "Test images near each other have similar features"
    write_file(FOLDER / "map.svg", markup.file([on_plane], alternative).encode())
    write_file(FOLDER / "curve.svg", draw_curve_of(numbers).encode())


def draw_curve_of(numbers: Mapping[str, Any]) -> str:
    """Return the accuracy curve as an SVG file."""
    return markup.file([draw_curve(numbers["curve"])], "Accuracy by training images")


def draw_curve(measured: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> markup.Panel:
    """Draw mean accuracy over the number of images, on a logarithmic axis, with the range over seeds."""
    points = {kind: mean_points(seeds) for kind, seeds in measured.items()}
    legend, height = markup.legend(list(points), 14)
    top, bottom = height + 32.0, height + 252.0
    x = markup.Scale(
        (math.log(IMAGES[0]), math.log(IMAGES[-1])), [(math.log(n), f"{n}") for n in IMAGES], (48, markup.WIDTH - 24)
    )
    y = markup.Scale(
        (0.5, 1), [(tenth / 10, f".{tenth}" if tenth < 10 else "1") for tenth in range(5, 11)], (bottom, top)
    )
    parts = [legend, markup.axes(40, x, y, ("training images", "mean class accuracy on test"))]
    for style, (kind, of_kind) in enumerate(points.items()):
        rows = [row for of_seed in measured[kind].values() for row in of_seed]
        for images, _ in of_kind:
            seeds = [y(row["mean_class_accuracy"]) for row in rows if row["images"] == images]
            place = x(math.log(images))
            # Wider than a mark, which can be higher than the range.
            ends = (min(seeds), max(seeds)) if len(seeds) > 1 else ()
            parts += [markup.line(place - 8, end, place + 8, end, f"l{style}") for end in ends]
        shown = [(x(math.log(images)), y(value)) for images, value in of_kind]
        parts += [markup.path(shown, f"l{style} bold"), *(markup.mark(*point, style) for point in shown)]
    return markup.Panel("Accuracy by training images", bottom + 38, markup.join(parts))


def mean_points(seeds: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[int, float]]:
    """Return (images, mean class accuracy over the seeds) for each number of images."""
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
    shown = [of[what] for of in worth for what in (ALL, "without doubted ones")]
    left_out = sum(TEST_IMAGES - each["undoubted"]["images"] for each in shown)
    right = sum(each["correct"] - each["undoubted"]["correct"] for each in shown)
    doubted = "all" if not right else f"{left_out - right} of {left_out}"
    values = {"points": points, "leaves_out": fewer, "chance": by_chance, "wrong": doubted}
    return template.render(numbers, images=IMAGES, options=options, **values) + "\n"


def main(data: str, findings: Path, parts: Collection[str]) -> None:
    progress = Progress()
    if "scratch" in parts:
        config, fewer = scratch_config(data), IMAGES[:-1]
        measure_curve("scratch", config, fewer, progress)
        trained = read_number("curve", "scratch", f"{config.seed}")[: len(fewer)]
        keep([*trained, last_point_from_scratch(config)], "curve", "scratch", f"{config.seed}")
    for seed in SEEDS:
        if "head" in parts:
            measure_curve("head", head_config(data, seed), IMAGES, progress)
        if "worth" in parts:
            measure_worth(data, seed, read_json(findings), progress)
    if "page" in parts:
        draw_figures(data, progress)
        write_file(FOLDER / "training-images.md", page(data).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--findings", type=Path, required=True)
    parser.add_argument("parts", nargs="*", default=("scratch", "head", "worth", "page"))
    given = parser.parse_args()
    main(given.data, given.findings, given.parts)
