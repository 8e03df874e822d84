"""Two runs side by side: equal to the bit, or where they part and what could explain it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from in4310repro.evaluation import read_scores
from in4310repro.runs import Run, file_sha256

# Of a history row: how long it took is no result.
TIMES = ("images_per_second",)


def compare(one: Run, other: Run) -> list[str]:
    """In sentences: the first epoch and tensor in which two runs part, and every recorded input that differs.

    Empty when split, losses, weights, buffers and scores are equal to the bit; then the fingerprints may differ.

    Raises:
        ValueError: one of them holds no finished run.
    """
    found = [*_results(one, other)]
    if not found:
        return []
    inputs = [
        f"{name[:-5]} differs: {line}"
        for name in ("config.json", "fingerprint.json")
        for line in _leaves_apart(one.read_json(name), other.read_json(name))
    ]
    return [*found, *(inputs or ["configuration and fingerprint are equal"])]


def _results(one: Run, other: Run) -> Iterator[str]:
    if (one.folder / "split.csv").read_bytes() != (other.folder / "split.csv").read_bytes():
        yield "the splits list other images or parts"
    settings = [[setting["name"] for setting in run.read_json("config.json")["settings"]] for run in (one, other)]
    for name in dict.fromkeys([*settings[0], *settings[1]]):
        if name in settings[0] and name in settings[1]:
            yield from _setting(one, other, name)
        else:
            yield f"setting {name} is in one run only"
    ours, theirs = read_scores(one), read_scores(other)
    if ours.paths != theirs.paths or not np.array_equal(ours.labels, theirs.labels):
        yield "the test scores are of other images, in another order or of other classes"
    elif ours.softmax.shape != theirs.softmax.shape or ours.softmax.tobytes() != theirs.softmax.tobytes():
        yield "test scores differ"
    if one.read_json("metrics.json") != other.read_json("metrics.json"):
        yield "test metrics differ"
    for run in (one, other):
        yield from (
            f"{run.folder / name} is missing or has other bytes than were written" for name in run.changed_files()
        )


def _setting(one: Run, other: Run, name: str) -> Iterator[str]:
    """Where the trainings of one setting part, if they do."""
    histories = [run.read_json(f"{name}/history.json") for run in (one, other)]
    tensors = [run.read_json(f"{name}/tensors.json") for run in (one, other)]
    for ours, theirs, our_tensors, their_tensors in zip(*histories, *tensors, strict=False):
        if {**ours, **dict.fromkeys(TIMES)} == {**theirs, **dict.fromkeys(TIMES)}:
            continue
        fields = ", ".join(key for key in ours if key not in TIMES and ours[key] != theirs.get(key))
        changed = [key for key in our_tensors if our_tensors[key] != their_tensors.get(key)]
        first = f"; first tensor {changed[0]}, {len(changed)} of {len(our_tensors)} in all" if changed else ""
        yield f"setting {name} parts in epoch {ours['epoch']} ({fields}){first}"
        return
    ours, theirs = (file_sha256(run.folder / name / "best.safetensors") for run in (one, other))
    if ours != theirs:
        yield f"setting {name} has other best weights"
    if len(histories[0]) != len(histories[1]):
        yield f"setting {name} has {len(histories[0])} epochs in one run and {len(histories[1])} in the other"


def _leaves_apart(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Every entry of two JSON values that is not equal, by its path."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in dict.fromkeys([*ours, *theirs]):
            yield from _leaves_apart(ours.get(key), theirs.get(key), f"{path}.{key}" if path else key)
    elif ours != theirs:
        yield f"{path} {ours!r} and {theirs!r}"
