"""Comparison of two runs: bitwise equality, or the first differences and their possible causes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from in4310repro.data.images import training_ranges
from in4310repro.runs import config, folder, names, selection
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.record_types import SPEED
from in4310repro.system import schema, tensors, text
from in4310repro.trace import Comparison, TraceFile, compare, read_trace
from in4310repro.verification.folder_checks import changed_files, wrong_in_manifest
from in4310repro.verification.results import best_hash_differences, known_differences

# The parts that are equal if there is no mismatch; feature maps are not compared.
COMPARED = (
    "split, losses and metrics of each epoch with the hashes of its weights, buffers and optimizer state, best weights "
    "and buffers of each setting, test scores and metrics"
)


class RunComparison(list[str]):
    """Sentences on how two runs differ: a list of the first differences of results, then of inputs; empty if equal."""

    def __init__(self, mismatches: Sequence[str] = (), inputs: Sequence[str] = ()) -> None:
        super().__init__([*mismatches, *inputs])
        self.mismatches, self.inputs = mismatches, inputs

    @property
    def equal(self) -> bool:
        """Whether everything named in `COMPARED` is bitwise equal."""
        return not self.mismatches


def compare_runs(first: FinishedRun, second: FinishedRun) -> RunComparison:
    """Return the first differences in the results of two runs, and the differences in their inputs.

    Inputs are the configuration and the fingerprint. Runs are equal if everything named in `COMPARED` is
    bitwise equal, even if inputs differ. The tensors of `best.safetensors` are compared with each other and with
    their hashes in `tensors.json`.

    Raises:
        ValueError: weights are missing or damaged.
    """
    if not (mismatches := [*_result_mismatches(first, second)]):
        return RunComparison()
    one, other = ({"config": config.to_json(run.config), "fingerprint": run.fingerprint} for run in (first, second))
    explanations = [
        f"{each.path.replace('.', ' differs: ', 1)} {each.first!r} and {each.second!r}"
        for each in schema.differences(one, other)
    ]
    return RunComparison(mismatches, explanations or ["configuration and fingerprint are equal"])


def _result_mismatches(first: FinishedRun, second: FinishedRun) -> Iterator[str]:
    if first.split.parts != second.split.parts or first.split.classes != second.split.classes:
        yield "the splits list other images or parts"
    for name in {**first.histories, **second.histories}:
        if name in first.histories and name in second.histories:
            yield from _setting_mismatches(first, second, name)
        else:
            yield f"setting {name} is in one run only"
    scores, others = first.scores, second.scores
    if scores.paths != others.paths or not np.array_equal(scores.labels, others.labels):
        yield "the test scores are of other images, in another order or of other classes"
    elif scores.softmax.tobytes() != others.softmax.tobytes():
        yield "test scores differ"
    if any(known_differences(first.metrics, second.metrics)):
        yield "test metrics differ"
    for run in (first, second):
        yield from changed_files(run.files)
        yield from wrong_in_manifest(run)


def _different_epoch(first: FinishedRun, second: FinishedRun, name: str) -> tuple[int, str] | None:
    """Return the number of the first epoch in which two runs differ in a setting, and a clause on what differs.

    Return None if all epochs are equal.
    """
    records = (first.histories[name], second.histories[name], first.tensors[name], second.tensors[name])
    for row, other_row, hashes, other_hashes in zip(*records, strict=False):
        fields = dict.fromkeys(each.path.partition(".")[0] for each in known_differences(row, other_row, {SPEED: None}))
        changed = [*schema.differences(hashes["tensors"], other_hashes["tensors"])]
        if fields or changed or hashes["optimizer_sha256"] != other_hashes["optimizer_sha256"]:
            words = f"({', '.join(fields or [names.TENSORS])})"
            if changed:
                words += f"; first tensor {changed[0].path}, {len(changed)} of {len(hashes['tensors'])} in all"
            return row["epoch"], words
    return None


def _setting_mismatches(first: FinishedRun, second: FinishedRun, name: str) -> Iterator[str]:
    """Yield messages on the differences between two runs in one setting.

    If epochs differ, yield one message on the first of them. If all epochs are equal, yield messages on the best
    weights, the numbers of epochs and the recorded hashes.
    """
    if found := _different_epoch(first, second, name):
        yield f"setting {name} differs from {selection.unit(first.histories[name])} {found[0]} on {found[1]}"
        return
    runs = first, second
    saved = [tensors.tensor_hashes(run.files.read_tensors(f"{name}/{names.BEST_WEIGHTS}")) for run in runs]
    if changed := [*schema.differences(saved[0], saved[1])]:
        yield f"setting {name} has other best weights; first tensor {changed[0].path}, {len(changed)} in all"
    one, other = (len(run.histories[name]) for run in runs)
    if one != other:
        yield f"setting {name} has {one} epochs in one run and {other} in the other"
    for run, hashes in zip(runs, saved, strict=True):
        if changed := best_hash_differences(run, name, hashes):
            words = f"has other hashes than the best weights: {changed[0].path}, {len(changed)} in all"
            yield f"{run.folder / name / names.TENSORS} {words}"


def read_traces(run: folder.RunFolder, setting: str) -> list[TraceFile]:
    """Return the traces of a setting in the order of their steps; a resumed training has more than one.

    If a step was repeated after an interruption, it is taken from the later trace.

    Raises:
        ValueError: a trace is damaged, is not a regular file, or is a link that leads out of the folder.
        OSError: a trace cannot be read.
    """
    paths = [file.relative_to(run.folder).as_posix() for file in (run.folder / names.LOGS).glob("*.trace")]
    found = sorted((before, path) for path in paths if (before := names.steps_before(path, setting)) is not None)
    traces = []
    for (_, path), (end, _) in pairwise([*found, (math.inf, "")]):
        trace = read_trace(run.file(path))
        traces.append(replace(trace, steps=tuple(step for step in trace.steps if step.number < end)))
    return traces


def steps_of_epoch(run: FinishedRun, epoch: int) -> range:
    """Return the step numbers of an epoch. Steps are counted from 0 over the whole training run."""
    steps = len(training_ranges(len(run.entries("training")), run.config.batch_size))
    return range((epoch - 1) * steps, epoch * steps)


def compare_traces(first: Sequence[TraceFile], second: Sequence[TraceFile]) -> Comparison | None:
    """Compare each trace in `first` with each in `second`; return the comparison with the earliest difference.

    If no traces differ, return the comparison that reaches the latest step. Return None if no traces have
    a common step.

    Raises:
        ValueError: the traces are those of different models.
    """
    numbers = {id(trace): {step.number for step in trace.steps} for trace in (*first, *second)}
    found = [compare(a, b) for a in first for b in second if numbers[id(a)] & numbers[id(b)]]
    steps = [(False, each.difference.step) if each.difference else (True, -each.growth[-1].step) for each in found]
    return found[steps.index(min(steps))] if found else None


def describe_first_tensor(first: FinishedRun, second: FinishedRun) -> list[str]:
    """Return a list with one sentence, which describes the first tensor in which two runs differ.

    If the traces of the runs do not show this tensor, the sentence says how to record traces that do. If the
    traces cannot be read or compared, it says why. The traces are those of the first setting in which an
    epoch differs. The list is empty if no epoch differs.
    """
    for setting in first.histories:
        if setting in second.histories and (found := _different_epoch(first, second, setting)):
            return [f"setting {setting}, by traces: {_describe_first_tensor(first, second, setting, found[0])}"]
    return []


def _describe_first_tensor(first: FinishedRun, second: FinishedRun, setting: str, epoch: int) -> str:
    steps = steps_of_epoch(first, epoch)
    how = f"train --trace {steps.start}:{steps.stop} records the steps of epoch {epoch}"
    try:
        traces = [read_traces(run.files, setting) for run in (first, second)]
        comparison = compare_traces(*traces)
    except (ValueError, OSError) as error:
        return f"they cannot be compared: {error}"
    if comparison is None:
        which = " and ".join(f"{run.folder}" for run, each in zip((first, second), traces, strict=True) if not each)
        words = f"{how}, so that the first tensor that differs can be named"
        return f"{f'there is no trace in {which}' if which else 'the traces have no step in common'}; {words}"
    if comparison.equal:
        return f"both runs are equal until after step {comparison.growth[-1].step}; {how}"
    diff = text.shell_command(["in4310repro", "diff", *map(str, comparison.places)])
    return f"{_describe(comparison)} `{diff}` shows how the difference grows."


def traced_steps(run: FinishedRun, setting: str, epoch: int) -> set[int]:
    """Return the numbers of an epoch's steps that the run has traced; empty if a trace is damaged."""
    try:
        traced = {step.number for trace in read_traces(run.files, setting) for step in trace.steps}
    except (ValueError, OSError):
        # `describe_replay` says so if the epoch differs.
        return set()
    return traced & {*steps_of_epoch(run, epoch)}


def describe_replay(run: FinishedRun, setting: str, replayed: Path) -> str:
    """Return a sentence on the first tensor in which a replay differs from the training.

    The sentence is empty if no step was traced both in the training and in the replay.

    Args:
        run: the run whose training was repeated.
        setting: the setting that was trained again.
        replayed: the trace of the replay; the file does not exist if the run has no trace of the repeated steps.
    """
    try:
        again = [replace(read_trace(replayed), place="the replay")] if replayed.exists() else []
        comparison = compare_traces(read_traces(run.files, setting), again)
    except (ValueError, OSError) as error:
        return f"it cannot be compared: {error}"
    if comparison and comparison.equal:
        return f"the training and its replay are equal until after step {comparison.growth[-1].step}."
    return _describe(comparison) if comparison else ""


def _describe(comparison: Comparison) -> str:
    """Return the text of a comparison, followed by notes on what could not be compared."""
    return " ".join([comparison.paragraph(), *(f"Not compared: {note}." for note in comparison.notes)])
