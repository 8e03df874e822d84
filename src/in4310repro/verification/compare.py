"""Comparison of two runs: bitwise equality, or the first differences and their possible causes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from in4310repro.runs import chain, names
from in4310repro.runs.config import to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import SPEED
from in4310repro.runs.selection import best_epoch, unit
from in4310repro.system.schema import differences
from in4310repro.system.tensors import tensor_hashes
from in4310repro.verification import changed_files, wrong_in_manifest
from in4310repro.verification.records import ignored, known_differences

# What is equal where there is no mismatch; feature maps are not compared.
COMPARED = (
    "split, losses and metrics of each epoch with the hashes of its weights, buffers and optimizer state, best weights "
    "and buffers of each setting, test scores and metrics"
)


def compare_runs(first: FinishedRun, second: FinishedRun) -> list[str]:
    """Return messages on the first differences in the results of two runs, and on differences in their inputs.

    Inputs are the configuration and the fingerprint. The list is empty if everything named in `COMPARED` is
    bitwise equal, even if inputs differ. The tensors of `best.safetensors` are compared with each other and with
    their hashes in `tensors.json`.

    Raises:
        ValueError: weights are missing or damaged.
    """
    mismatches = [*_result_mismatches(first, second)]
    if not mismatches:
        return []
    inputs = {
        "config": (to_json(first.config), to_json(second.config)),
        "fingerprint": (first.fingerprint, second.fingerprint),
    }
    explanations = [
        f"{name} differs: {each.path} {each.first!r} and {each.second!r}"
        for name, pair in inputs.items()
        for each in differences(*pair)
    ]
    return [*mismatches, *(explanations or ["configuration and fingerprint are equal"])]


def _result_mismatches(first: FinishedRun, second: FinishedRun) -> Iterator[str]:
    if first.split.parts != second.split.parts or first.split.classes != second.split.classes:
        yield "the splits list other images or parts"
    for name in dict.fromkeys([*first.histories, *second.histories]):
        if name in first.histories and name in second.histories:
            yield from _setting_mismatches(first, second, name)
        else:
            yield f"setting {name} is in one run only"
    scores, others = first.scores, second.scores
    if scores.paths != others.paths or not np.array_equal(scores.labels, others.labels):
        yield "the test scores are of other images, in another order or of other classes"
    elif scores.softmax.shape != others.softmax.shape or scores.softmax.tobytes() != others.softmax.tobytes():
        yield "test scores differ"
    if [*known_differences(first.metrics, second.metrics)]:
        yield "test metrics differ"
    for run in (first, second):
        yield from changed_files(run.files)
        yield from wrong_in_manifest(run)


def first_different_epoch(first: FinishedRun, second: FinishedRun) -> tuple[str, int] | None:
    """Return the name of the first setting with an epoch in which two runs differ, and the number of that epoch.

    Epochs count from 1. Return None if all epochs are equal.
    """
    for name in first.histories:
        if name in second.histories and (found := _different_epoch(first, second, name)):
            return name, found[0]
    return None


def _different_epoch(first: FinishedRun, second: FinishedRun, name: str) -> tuple[int, str] | None:
    """Return the number of the first epoch in which two runs differ in a setting, and a clause on what differs.

    Return None if all epochs are equal.
    """
    records = (first.histories[name], second.histories[name], first.tensors[name], second.tensors[name])
    for row, other_row, hashes, other_hashes in zip(*records, strict=False):
        fields = {each.path.partition(".")[0]: None for each in known_differences(row, other_row, {SPEED: ignored})}
        changed = [*differences(hashes["tensors"], other_hashes["tensors"])]
        if fields or changed or hashes["optimizer_sha256"] != other_hashes["optimizer_sha256"]:
            count = f"{len(changed)} of {len(hashes['tensors'])} in all"
            detail = f"; first tensor {changed[0].path}, {count}" if changed else ""
            return row["epoch"], f"({', '.join(fields or [names.TENSORS])}){detail}"
    return None


def _setting_mismatches(first: FinishedRun, second: FinishedRun, name: str) -> Iterator[str]:
    """Yield messages on the differences between two runs in one setting.

    If epochs differ, yield one message on the first of them. If all epochs are equal, yield messages on the best
    weights, the numbers of epochs and the recorded hashes.
    """
    if found := _different_epoch(first, second, name):
        yield f"setting {name} differs from {unit(first.histories[name])} {found[0]} on {found[1]}"
        return
    lengths, best_weights = (
        [len(run.histories[name]) for run in (first, second)],
        names.of_setting(name, names.BEST_WEIGHTS),
    )
    saved, other = (tensor_hashes(run.files.read_tensors(best_weights)) for run in (first, second))
    if changed := [*differences(saved, other)]:
        yield f"setting {name} has other best weights; first tensor {changed[0].path}, {len(changed)} in all"
    if lengths[0] != lengths[1]:
        yield f"setting {name} has {lengths[0]} epochs in one run and {lengths[1]} in the other"
    for run, of_weights in ((first, saved), (second, other)):
        recorded = run.tensors[name][best_epoch(run.histories[name], run.config.select)["epoch"] - 1]["tensors"]
        short = {tensor: digits[: chain.DIGITS] for tensor, digits in of_weights.items()}
        if changed := [*differences(recorded, short)]:
            file = run.folder / names.of_setting(name, names.TENSORS)
            yield f"{file} has other hashes than the best weights: {changed[0].path}, {len(changed)} in all"
