"""Three falsifications of a run, each with a rewritten manifest, to show what detects them (`demo --break`)."""

import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from in4310repro.data.splits import from_csv, to_csv
from in4310repro.runs import finished, names
from in4310repro.runs.folder import RunFolder


class Change(NamedTuple):
    """A falsification of a run: a sentence that describes it, and the names of the changed files."""

    sentence: str
    files: tuple[str, ...]


def copy_run(run: Path, folder: Path) -> RunFolder:
    """Copy a run, over a copy with changes too; without checkpoints and saved epochs, which no check here needs."""
    left_out = shutil.ignore_patterns(names.CHECKPOINTS, names.KEPT_EPOCHS)
    shutil.copytree(run, folder, ignore=left_out, dirs_exist_ok=True)
    for place in (folder, *folder.rglob("*")):
        # The run may be read-only.
        place.chmod(place.stat().st_mode | stat.S_IWUSR)
    return RunFolder(folder)


def flip_bit(copy: RunFolder) -> Change:
    """Flip the lowest bit of one of the selected network's weights."""
    run = finished.FinishedRun.open(copy.folder)
    name = run.best_weights
    tensors = copy.read_tensors(name)
    # By name: safetensors gives them in another order each time.
    layer = max(tensor for tensor, value in tensors.items() if value.dtype == torch.float32)
    weight = tensors[layer].view(-1)
    before = weight[0].item()
    weight.view(torch.int32)[0] ^= 1
    copy.write_weights(name, tensors, run.config.preprocessing)
    return Change(f"{name}: the first number of {layer} is {weight[0].item():.9g} and was {before:.9g}", (name,))


def raise_accuracy(copy: RunFolder) -> Change:
    """Raise the lowest class accuracy by 0.1, or lower it by 0.1 if it is 0.9 or more."""
    metrics = copy.read_json(names.METRICS)
    accuracies, classes = metrics["class_accuracy"], metrics["classes"]
    before, worst = min(zip(accuracies, range(len(classes)), strict=True))
    accuracies[worst] += 0.1 if before < 0.9 else -0.1
    copy.write_json(names.METRICS, metrics)
    said = f"the accuracy of {classes[worst]} is {accuracies[worst]:.4f} and was {before:.4f}"
    return Change(f"{names.METRICS}: {said}", (names.METRICS,))


def leak_image(copy: RunFolder) -> Change:
    """Add one test image to the training part of the split."""
    split = from_csv(copy.folder / names.SPLIT, Path())
    leaked = split.parts["test"][0]
    training = tuple(sorted((*split.parts["training"], leaked), key=lambda entry: entry.path))
    copy.write_bytes(names.SPLIT, to_csv(replace(split, parts={**split.parts, "training": training})))
    return Change(f"{names.SPLIT}: {leaked.path} is in the test set and in the training set", (names.SPLIT,))


def printed_accuracies(copy: RunFolder) -> str:
    """Return a run's class accuracies and their mean as a table in Markdown, which the audit reads with certainty."""
    metrics = copy.read_json(names.METRICS)
    pairs = zip(metrics["classes"], metrics["class_accuracy"], strict=True)
    rows = [f"| {name} | {accuracy:.4f} |" for name, accuracy in pairs]
    mean = f"| macro avg | {metrics['mean_class_accuracy']:.4f} |"
    return "\n".join(["| class | accuracy |", "| --- | --- |", *rows, mean, ""])


CHANGES: dict[str, Callable[[RunFolder], Change]] = {
    "One bit of a weight": flip_bit,
    "One printed accuracy": raise_accuracy,
    "One test image in training": leak_image,
}
