"""compare_runs(): two runs equal to the bit, or where they begin to differ and what could explain it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from in4310repro.config import to_json
from in4310repro.differences import differences
from in4310repro.files import file_sha256
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.records import HistoryRow
from in4310repro.verification import changed_files

# Of a history row: how long it took is no result.
SPEED = "images_per_second"


def compare_runs(first: FinishedRun, second: FinishedRun) -> list[str]:
    """In sentences: the first epoch and tensor in which two runs differ, and every recorded input that differs.

    Empty when split, losses, weights, buffers and scores are equal to the bit; then the fingerprints may differ.
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
    if first.scores.paths != second.scores.paths or not np.array_equal(first.scores.labels, second.scores.labels):
        yield "the test scores are of other images, in another order or of other classes"
    elif (
        first.scores.softmax.shape != second.scores.softmax.shape
        or first.scores.softmax.tobytes() != second.scores.softmax.tobytes()
    ):
        yield "test scores differ"
    if first.metrics != second.metrics:
        yield "test metrics differ"
    for run in (first, second):
        yield from changed_files(run.files)


def _setting_mismatches(first: FinishedRun, second: FinishedRun, name: str) -> Iterator[str]:
    """Where the trainings of one setting begin to differ, if they do."""
    rows = (first.histories[name], second.histories[name])
    tensors = (first.tensors[name], second.tensors[name])
    for row, other_row, hashes, other_hashes in zip(*rows, *tensors, strict=False):
        fields = _different_fields(row, other_row)
        if not fields:
            continue
        changed = [tensor for tensor in hashes if hashes[tensor] != other_hashes.get(tensor)]
        detail = f"; first tensor {changed[0]}, {len(changed)} of {len(hashes)} in all" if changed else ""
        yield f"setting {name} differs from epoch {row['epoch']} on ({', '.join(fields)}){detail}"
        return
    weights = [file_sha256(run.folder / names.of_setting(name, names.BEST_WEIGHTS)) for run in (first, second)]
    if weights[0] != weights[1]:
        yield f"setting {name} has other best weights"
    if len(rows[0]) != len(rows[1]):
        yield f"setting {name} has {len(rows[0])} epochs in one run and {len(rows[1])} in the other"


def _different_fields(row: HistoryRow, other: HistoryRow) -> list[str]:
    return [each.path for each in differences(row, other) if each.path != SPEED]
