"""The cases of the golden files: functions without arguments that return claims.

`test_golden.py` only reads the files; `nox -s golden -- CASE --reason "..."` runs this module and writes one and its
line in `golden/environments.json`. With `environments` in the place of a case no value moves: files of older kernels
are computed again and, where every bit is equal, get the numeric class of now.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import hashlib
import io
import itertools
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from matplotlib import pyplot

from in4310repro import models
from in4310repro.data import scenes
from in4310repro.data.embedded import embedded_catalogue
from in4310repro.data.folders import catalogue
from in4310repro.data.images import load_images, training_batches
from in4310repro.data.splits import PARTS, parse_sizes, stratified_split, to_csv
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.golden import Claim, update
from in4310repro.golden.claims import Case
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.record_types import FeatureMaps, ImageSetFeatures
from in4310repro.runs.selection import best_epoch
from in4310repro.system.context import Context
from in4310repro.system.files import file_sha256, json_bytes, read_json
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import experiment, optimizers
from tests.golden_renewal import renew
from tests.narrow import used
from tests.processes import METHOD

FOLDER = Path(__file__).parents[1] / "golden"
COURSE_IMAGES, COURSE_RUNS = "IN4310REPRO_COURSE_IMAGES", "IN4310REPRO_COURSE_RUNS"
PHOTOGRAPHS_RUNS = "IN4310REPRO_PHOTOGRAPHS_RUNS"
# Where lanes of tests beside each other find whole runs, so that one of them makes each.
SHARED: Path | None = None
TOLERANCES = Path(__file__).with_name("tolerances.json")


@functools.cache
def numerics(device: str = "cpu") -> Numerics:
    return activate("auto" if device == "cpu" else "native", device)


def scene_pixels() -> dict[str, Claim]:
    """Return a sha256 of the drawn scenes' pixels for each class of the presets tiny and demo."""
    claims = {}
    for preset in ("tiny", "demo"):
        config = PRESETS[preset]
        for label in scenes.CLASSES:
            drawn = (scenes.draw(label, index, config.image_size, config.seed) for index in range(config.scenes))
            pixels = b"".join(picture.tobytes() for picture in drawn)
            claims[f"{preset}/{label}"] = Claim(value=hashlib.sha256(pixels).hexdigest())
    return claims


def split_and_order() -> dict[str, Claim]:
    """Return the tiny preset's split, and the order and pixels of its training images in epochs 0 and 1."""
    config = PRESETS["tiny"]
    images = embedded_catalogue(config.scenes, config.image_size, config.seed)
    parts = stratified_split(images, parse_sizes(config.split, len(images.entries)), config.seed)
    training = load_images("training", images.root, parts.parts["training"], config.image_size)
    claims = {part: Claim(value=[entry.path for entry in parts.parts[part]]) for part in PARTS}
    for epoch in (0, 1):
        batches = list(training_batches(training, config.batch_size, config.augmentation, config.seed, epoch))
        claims[f"order of epoch {epoch}"] = Claim(value=[path for batch in batches for path in batch.paths])
        pixels = torch.cat([batch.images for batch in batches]).contiguous()
        claims[f"pixels of epoch {epoch}"] = Claim(value=hashlib.sha256(pixels.numpy().tobytes()).hexdigest())
    return claims


def initial_weights() -> dict[str, Claim]:
    """Return a sha256 of the initial weights and buffers of each of three ResNets for seed 0."""
    return {
        name: Claim(value=tensors_sha256(models.build(name, 6, seed=0).state_dict()))
        for name in ("resnet18", "resnet34", "resnet50")
    }


def make_run(preset: str, device: str, folder: Path, narrow: bool) -> None:
    """Train a preset and measure features, unless another process has already done so."""
    with FileLock(folder.with_suffix(".lock")), used(narrow=narrow):
        if not (folder / "features.json").exists():
            run = experiment.train(PRESETS[preset], folder, context=Context(numerics(device)))
            of_run.write_features(run, PRESETS[preset], Context(numerics(device)))


@functools.cache
def _make_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="golden-")
    atexit.register(shutil.rmtree, folder)
    return Path(folder)


@functools.cache
def start_run(preset: str, device: str = "cpu", *, narrow: bool = False) -> tuple[Path, BaseProcess | None]:
    """Start a process that makes a complete run of a preset, unless it is made; return the run's folder and it."""
    folder = (SHARED or _make_folder()) / f"{preset}-{device}{'-narrow' if narrow else ''}"
    with contextlib.suppress(Timeout), FileLock(folder.with_suffix(".lock"), timeout=0):
        if (folder / "features.json").exists():
            return folder, None
    context: Any = multiprocessing.get_context("spawn" if device == "cuda" else METHOD)
    process = context.Process(target=make_run, args=(preset, device, folder, narrow), daemon=True)
    process.start()
    return folder, process


@functools.cache
def finish_run(preset: str, device: str = "cpu", *, narrow: bool = False) -> Path:
    """Return the folder of a complete run of a preset, which is trained only once."""
    folder, process = start_run(preset, device, narrow=narrow)
    if process:
        process.join()
    if process and process.exitcode:
        raise RuntimeError(f"the run of preset {preset} ended with exit code {process.exitcode}; its output says why")
    return folder


def run_bits(preset: str, device: str = "cpu") -> dict[str, Claim]:
    """Return hashes of everything that a run computes, compared only on processors that compute equal bits."""
    run = FinishedRun.open(finish_run(preset, device))
    claims: dict[str, Any] = {}
    for setting, rows in run.histories.items():
        claims[f"{setting}/weights"] = [row["weights_sha256"] for row in rows]
        claims[f"{setting}/train_loss"] = [row["train_loss"] for row in rows]
        claims[f"{setting}/val_loss"] = [row["val_loss"] for row in rows]
    claims["scores"] = file_sha256(run.folder / "scores.npz")
    sets = read_features(run)["sets"]
    others = [
        {name: value for name, value in module.items() if name not in ("eigenvalues", "activations")}
        for images in sets
        for module in images["modules"].values()
    ]
    claims["features but eigenvalues"] = hashlib.sha256(json_bytes(others)).hexdigest()
    return {name: Claim(value=value, tier="bitwise") for name, value in claims.items()} | eigenvalue_claims(sets)


def eigenvalue_claims(sets: list[ImageSetFeatures]) -> dict[str, Claim]:
    """Return claims of eigenvalues, whose last bits depend on LAPACK's version and the processor."""
    claims = {}
    for images in sets:
        for name, module in images["modules"].items():
            # A power of ten, so that the tolerance itself does not depend on the last bits.
            tolerance = 10.0 ** (math.ceil(math.log10(module["eigenvalues"][0])) - 12)
            claims[f"eigenvalues/{images['name']}/{name}"] = Claim(
                value=module["eigenvalues"],
                tier="numerical",
                tolerance=tolerance,
                reason="LAPACK's rounding, 1e-12 of the largest",
            )
    return claims


def read_features(run: FinishedRun) -> FeatureMaps:
    assert run.features is not None, f"{run.folder} has no measured feature maps"
    return run.features


def headline_numbers(run: FinishedRun) -> dict[str, Any]:
    values: dict[str, Any] = {
        "test mean_class_accuracy": run.metrics["mean_class_accuracy"],
        "test mean_average_precision": run.metrics["mean_average_precision"],
    }
    for setting, rows in run.histories.items():
        values[f"{setting} best validation"] = best_epoch(rows, "mean_class_accuracy")["mean_class_accuracy"]
    modules = read_features(run)["sets"][0]["modules"]
    return values | {"non-positive shares": [module["non_positive"] for module in modules.values()]}


def claim_with_tolerance(values: dict[str, Any], tier: str) -> dict[str, Claim]:
    """Return claims compared bit for bit in an equal numeric class, and with a tolerance otherwise."""
    tolerances = read_json(TOLERANCES)["numbers"]
    return {
        name: Claim(value=value, tier="bitwise", otherwise=tier, **tolerances[name]) for name, value in values.items()
    }


def run_numbers(preset: str) -> dict[str, Claim]:
    """Return the main numbers of a run, with measured tolerances for processors that round differently."""
    run = FinishedRun.open(finish_run(preset))
    claims = claim_with_tolerance(headline_numbers(run), "statistical")
    supports = run.metrics["supports"]
    return claims | {"images of each part": Claim(value=[sum(counts.values()) for counts in supports.values()])}


def first_losses(seed: int, active: Numerics) -> dict[str, list[float]]:
    """Return the losses before and after the first step of each optimizer, at a low learning rate."""
    config = PRESETS["tiny"]
    images = embedded_catalogue(config.scenes, config.image_size, config.seed)
    training = load_images("training", images.root, images.entries, config.image_size)
    first: dict[str, list[float]] = {}
    for setting in config.settings:
        model = active.place(models.build(config.model, 6, seed).train())
        optimizer = optimizers.build(replace(setting, learning_rate=1e-4), model.parameters(), portable=active.portable)
        losses = []
        for batch in itertools.islice(training_batches(training, 16, config.augmentation, seed, 0), 2):
            optimizer.zero_grad()
            loss = active.cross_entropy(model(batch.images), batch.labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        first[f"{setting.name} first losses"] = losses
    return first


def first_steps() -> dict[str, Claim]:
    """Return the losses of the first training steps, with small tolerances for processors that round differently."""
    return claim_with_tolerance(first_losses(PRESETS["tiny"].seed, numerics()), "numerical")


def run_notebook(name: str) -> dict[str, Any]:
    """Run the code cells of a notebook in docs/, except those that use golden files; return its variables."""
    cells = read_json(FOLDER.parent / "docs" / f"{name}.ipynb")["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code" and not cell["metadata"]]
    variables: dict[str, Any] = {"__name__": name}
    with torch.random.fork_rng(), contextlib.redirect_stdout(io.StringIO()):
        exec("\n".join(code), variables)  # noqa: S102  # of this checkout
    return variables


def statistics_tutorial() -> dict[str, Claim]:
    """Return results of the notebook docs/statistics.ipynb, with tolerances for rounding in torch's convolutions."""
    pyplot.switch_backend("agg")
    conv1 = run_notebook("statistics")["conv1"]
    pyplot.close("all")
    claims = {
        "non-positive share": ([conv1.non_positive], 1e-4, "a few values of 2 million change their sign"),
        "eigenvalues": (conv1.eigenvalues(5).tolist(), 1e-5, "convolutions in float32 have other last bits"),
        "effective rank": ([conv1.spectrum.effective_rank()], 1e-2, "as the eigenvalues"),
    }
    return {"images and samples": Claim(value=[conv1.images, conv1.rows])} | {
        name: Claim(value=value, tier="numerical", tolerance=tolerance, reason=reason)
        for name, (value, tolerance, reason) in claims.items()
    }


def tiny_bits() -> dict[str, Claim]:
    return run_bits("tiny")


def demo_bits() -> dict[str, Claim]:
    return run_bits("demo")


def demo_numbers() -> dict[str, Claim]:
    return run_numbers("demo")


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        scene_pixels,
        split_and_order,
        initial_weights,
        first_steps,
        statistics_tutorial,
        tiny_bits,
        demo_bits,
        demo_numbers,
    )
}

# Both look at one training that takes minutes.
SLOW = ("demo_bits", "demo_numbers")
# All of these is of networks that were trained in portable arithmetic, eigenvalues too: in another nothing is near.
TRAINED = ("tiny_bits", "demo_bits")


def course_folder(name: str) -> Path | None:
    return Path(os.environ[name]) if os.environ.get(name) else None


def course_images(folder: Path) -> dict[str, Claim]:
    """Return sizes of classes and split parts, and hashes of the contents and the split, for 17,034 photographs."""
    images = catalogue(folder)
    config = PRESETS["course"]
    parts = stratified_split(images, parse_sizes(config.split, len(images.entries)), config.seed)
    supports = parts.supports()
    contents = "\n".join(f"{entry.sha256} {entry.path}" for entry in images.entries)
    claims = {
        "images/classes": list(images.counts().values()),
        "images/sha256 of the list of contents and paths": hashlib.sha256(contents.encode()).hexdigest(),
        "images/sha256 of split.csv": hashlib.sha256(to_csv(parts)).hexdigest(),
    }
    for part in PARTS:
        claims[f"images/{part}"] = list(supports[part].values())
    return {name: Claim(value=value) for name, value in claims.items()}


def course_numbers(corrected: FinishedRun, published: list[FinishedRun]) -> dict[str, Claim]:
    """Return results, with tolerances, of the run without deviations and the first run with the published ones."""
    fair = corrected.metrics
    claims = {}
    name: Literal["mean_class_accuracy", "mean_average_precision"]
    for name in ("mean_class_accuracy", "mean_average_precision"):
        chance = 3 * math.sqrt(2 * fair[name] * (1 - fair[name]) / sum(fair["supports"]["test"].values()))
        claims[f"runs/corrected, {name}"] = Claim(
            value=fair[name],
            tier="bitwise",
            otherwise="statistical",
            tolerance=round(chance, 3),
            reason="3 standard errors of the difference of two runs on 3000 images; one seed was run",
        )
        for where in ("seen", "unseen"):
            each = [run.metrics["unseen"] if where == "unseen" else run.metrics for run in published]
            values = [metrics[name] for metrics in each]
            claims[f"runs/published, {where} images, {name}"] = Claim(
                value=values[0],
                tier="bitwise",
                otherwise="statistical",
                tolerance=round(2 * (max(values) - min(values)), 3),
                reason=f"twice the range over {len(values)} seeds",
            )
    return claims


def course_runs(folder: Path) -> tuple[FinishedRun, list[FinishedRun]]:
    """Return the run without deviations from the assignment, and the runs with the published ones, sorted by name."""
    return FinishedRun.open(folder / "corrected"), [FinishedRun.open(run) for run in sorted(folder.glob("published*"))]


def course() -> dict[str, Claim]:
    images, runs = course_folder(COURSE_IMAGES), course_folder(COURSE_RUNS)
    if not images or not runs:
        raise ValueError(f"{COURSE_IMAGES} names the folder of the 17,034 photographs, {COURSE_RUNS} that of the runs")
    return course_images(images) | course_numbers(*course_runs(runs))


FITTED: dict[str, Any] = {
    "tier": "numerical",
    "tolerance": 1.1e-3,
    "reason": "BLAS adds in another order on another processor: three images near a boundary may change class, each "
    "1/463 of the smallest class and that a sixth of the mean",
}
# Runs from ImageNet weights, by the names of their folders, with how firmly their numbers are compared.
OF_PHOTOGRAPHS: dict[str, dict[str, Any]] = {
    "photographs": {"tier": "bitwise"},
    "photographs-published": {"tier": "bitwise"},
    # Of seeds 0 to 2, and of seed 0 with --group look-alikes.
    "photographs-head": FITTED,
    "photographs-head-1": FITTED,
    "photographs-head-2": FITTED,
    "photographs-head-grouped": FITTED,
}


def photographs_runs(folder: Path) -> dict[str, FinishedRun]:
    return {name: FinishedRun.open(folder / name) for name in OF_PHOTOGRAPHS}


def photographs_numbers(runs: Mapping[str, FinishedRun]) -> dict[str, Claim]:
    """Return each run's mean class accuracy and mean average precision on test images and, if any, unseen images."""
    claims = {}
    for name, run in runs.items():
        results: dict[str, Any] = {"test": run.metrics}
        results |= {"unseen": run.metrics["unseen"]} if "unseen" in run.metrics else {}
        for images, metrics in results.items():
            for key in ("mean_class_accuracy", "mean_average_precision"):
                claims[f"{name}, {images} images, {key}"] = Claim(value=metrics[key], **OF_PHOTOGRAPHS[name])
    return claims


def photographs() -> dict[str, Claim]:
    folder = course_folder(PHOTOGRAPHS_RUNS)
    if not folder:
        raise ValueError(f"{PHOTOGRAPHS_RUNS} names the folder of the runs {', '.join(OF_PHOTOGRAPHS)}")
    return photographs_numbers(photographs_runs(folder))


# What only a machine with the photographs can compute; `test_course.py` compares as much as is available.
COURSE_CASES: dict[str, Case] = {"course": course, "photographs": photographs}


def tiny_bits_of_a_card() -> dict[str, Claim]:
    return run_bits("tiny", "cuda")


# What a card computes; its golden files are in a folder with its name.
CARD_CASES: dict[str, Case] = {"tiny_bits": tiny_bits_of_a_card}


def recorded_arithmetic(recorded: Fingerprint, active: Numerics) -> Numerics:
    """Return `active` with the arithmetic (mode, numeric class, device name) that a run recorded."""
    return replace(
        active, mode=recorded["numerics"], numeric_class=recorded["numeric_class"], device_name=recorded["device_name"]
    )


def _read_fingerprint(case: str) -> Fingerprint:
    """Return the fingerprint of the first recorded run that a case uses."""
    if case == "photographs":
        return next(iter(photographs_runs(course_folder(PHOTOGRAPHS_RUNS) or Path("runs")).values())).fingerprint
    return course_runs(course_folder(COURSE_RUNS) or Path("runs"))[0].fingerprint


def write(case: str, device: str, reason: str) -> list[str]:
    """Write a case's golden file or, for the case `environments`, renew outdated files; return the file names."""
    active, versions = numerics(device), None
    if case == "environments":
        return renew(FOLDER, CASES, reason, active, os.environ)
    if case in COURSE_CASES:
        recorded = _read_fingerprint(case)
        active, versions = recorded_arithmetic(recorded, active), recorded["versions"]
    elif active.device == "cpu" and active.mode != "portable":
        raise ValueError(f"golden files are written in portable arithmetic: {active.note}")
    cases = CASES | COURSE_CASES if active.device == "cpu" else CARD_CASES
    return [str(update(FOLDER, case, cases, reason, active, os.environ, versions))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s golden --", description="Write one golden file again.")
    parser.add_argument("case", help=f"{', '.join((*CASES, *COURSE_CASES))}; or environments, which moves no value")
    parser.add_argument("--reason", required=True, help="why the numbers moved")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for the golden files of this card")
    arguments = parser.parse_args()
    try:
        names = write(arguments.case, arguments.device, arguments.reason)
    except ValueError as error:
        sys.exit(f"golden: {error}")
    sys.stdout.write(f"wrote {', '.join(names)}\n")


if __name__ == "__main__":
    # By its own name, under which a golden file records its function.
    from tests import golden_cases

    golden_cases.main()
