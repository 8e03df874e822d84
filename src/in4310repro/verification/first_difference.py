"""The first tensor in which two trainings of a setting differ, by the traces of `train --trace` in run folders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from in4310repro.data.images import training_ranges
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.system.text import shell_command
from in4310repro.trace import Comparison, TraceFile, compare, read_trace
from in4310repro.verification.compare import first_different_epoch


def read_traces(run: RunFolder, setting: str) -> list[TraceFile]:
    """Return the traces of a setting in the order of their steps; a resumed training has more than one.

    If a step was repeated after an interruption, it is taken from the later trace.

    Raises:
        ValueError: a trace is damaged, is no regular file, or is a link that leads out of the folder.
        OSError: a trace cannot be read.
    """
    paths = [file.relative_to(run.folder).as_posix() for file in (run.folder / names.LOGS).glob("*.trace")]
    found = sorted((before, path) for path in paths if (before := names.steps_before(path, setting)) is not None)
    ends = [*(before for before, _ in found[1:]), math.inf]
    traces = [read_trace(run.file(path)) for _, path in found]
    return [
        replace(trace, steps=tuple(step for step in trace.steps if step.number < end))
        for trace, end in zip(traces, ends, strict=False)
    ]


def steps_of_epoch(run: FinishedRun, epoch: int) -> range:
    """Return the step numbers of an epoch. Steps are counted from 0 over the whole training run."""
    images = len(run.split.parts[run.config.protocol.part_read_as("training")])
    steps = len(training_ranges(images, run.config.batch_size))
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
    different = [each for each in found if each.difference]
    if different:
        return min(different, key=lambda each: each.difference.step if each.difference else 0)
    return max(found, key=lambda each: each.growth[-1].step, default=None)


def describe_first_tensor(first: FinishedRun, second: FinishedRun) -> list[str]:
    """Return a list with one sentence, which describes the first tensor in which two runs differ.

    If the traces of the runs do not show this tensor, the sentence says how to record traces that do. If the
    traces cannot be read or compared, it says why. The traces are those of the first setting in which an
    epoch differs. The list is empty if no epoch differs.
    """
    found = first_different_epoch(first, second)
    if found is None:
        return []
    setting, epoch = found
    steps = steps_of_epoch(first, epoch)
    how = f"train --trace {steps.start}:{steps.stop} records the steps of epoch {epoch}"
    try:
        traces = [read_traces(run.files, setting) for run in (first, second)]
        comparison = compare_traces(*traces)
    except (ValueError, OSError) as error:
        return [f"setting {setting}, by traces: they cannot be compared: {error}"]
    if comparison is None:
        which = " and ".join(f"{run.folder}" for run, each in zip((first, second), traces, strict=True) if not each)
        reason = f"there is no trace in {which}" if which else "the traces have no step in common"
        return [f"setting {setting}, by traces: {reason}; {how}, so that the first tensor that differs can be named"]
    if comparison.equal:
        last = comparison.growth[-1].step
        return [f"setting {setting}, by traces: both runs are equal until after step {last}; {how}"]
    diff = shell_command(["in4310repro", "diff", *map(str, comparison.places)])
    shown = f"`{diff}` shows how the difference grows."
    return [f"setting {setting}, by traces: {_describe(comparison)} {shown}"]


def traced_steps(run: FinishedRun, setting: str, epoch: int) -> set[int]:
    """Return the numbers of an epoch's steps that the run has traced; empty if a trace is damaged."""
    try:
        traces = read_traces(run.files, setting)
    except (ValueError, OSError):
        # `describe_replay` says so if the epoch differs.
        return set()
    return {step.number for trace in traces for step in trace.steps} & set(steps_of_epoch(run, epoch))


def describe_replay(run: FinishedRun, setting: str, replayed: Path) -> str:
    """Return a sentence on the first tensor in which a replay differs from the training.

    The sentence is empty if no step was traced both in the training and in the replay.

    Args:
        run: the run whose training was repeated.
        setting: the setting that was trained again.
        replayed: the trace of the replay; the file does not exist if the run has no trace of the repeated steps.
    """
    try:
        traces = read_traces(run.files, setting)
        again = [replace(read_trace(replayed), place="the replay")] if replayed.exists() else []
        comparison = compare_traces(traces, again)
    except (ValueError, OSError) as error:
        return f"it cannot be compared: {error}"
    if comparison and comparison.equal:
        return f"the training and its replay are equal until after step {comparison.growth[-1].step}."
    return _describe(comparison) if comparison else ""


def _describe(comparison: Comparison) -> str:
    """Return the text of a comparison, followed by notes on what could not be compared."""
    return " ".join([comparison.paragraph(), *(f"Not compared: {note}." for note in comparison.notes)])
