"""Traces of training steps in a run folder: exact values, each step once after interruptions, unchanged results."""

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.numpy

from benchmarks.soak import remove_speed
from in4310repro.runs.folder import RunFolder
from in4310repro.system.context import Context
from in4310repro.system.processes import Processes
from in4310repro.trace import read_trace
from in4310repro.training import experiment, training
from in4310repro.training.step_log import refuse_several_processes, refuse_steps_beyond
from in4310repro.training.training import Task
from in4310repro.verification.compare import compare_traces, read_traces
from in4310repro.verification.folder_checks import unchecked_in
from tests.conftest import active
from tests.training.test_checkpoints import CutOffError, cut_after
from tests.training.test_step_log import CSV, rows_of
from tests.training.test_training import TINY, network, task

TWO = replace(TINY, epochs=2)
STEPS = 6  # of an epoch


def traced(folder: Path, steps: range, mode: str = active().mode) -> Task:
    """Return a task that trains a small network with AdamW, keeps all epochs, and traces the given steps."""
    inputs = task(network(0), TWO, TWO.settings[0], RunFolder(folder))
    context = Context(replace(active(), mode=mode))
    return replace(inputs, context=context, trace=steps, keep_epochs=True, log_steps=CSV)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Return a finished training task with all steps traced."""
    made = traced(tmp_path_factory.mktemp("traced") / "run", range(2 * STEPS))
    training.fit(made)
    return made


def test_a_trace_has_the_losses_of_the_log_and_the_weights_of_the_kept_epoch(whole: Task) -> None:
    trace = read_trace(whole.files.folder / "logs/adamw.trace")
    assert [step.number for step in trace.steps] == list(range(2 * STEPS))
    assert [step.losses["loss"] for step in trace.steps] == [float(row["loss"]) for row in rows_of(whole.files)]
    kept = safetensors.numpy.load_file(whole.files.folder / "adamw/epochs/000001.safetensors")
    events = {(each.tensor.phase, each.tensor.name): each for each in trace.steps[STEPS - 1].events}
    for name in ("0.weight", "1.running_var", "5.bias"):
        values = kept[f"model.{name}"].astype("float64")
        found = events["update", name]
        assert found.norm == pytest.approx((values**2).sum() ** 0.5, rel=1e-8)
        assert found.largest == pytest.approx(abs(values).max(), rel=1e-8)


def test_a_step_names_the_files_of_its_images(whole: Task) -> None:
    first = read_trace(whole.files.folder / "logs/adamw.trace").steps[0]
    images = [each.tensor.name for each in first.events if each.tensor.name.startswith("images[")]
    assert images == [f"images[{i}]" for i in range(8)]
    names = [Path(path).name for path in whole.training.paths]
    assert first.paths is not None
    assert set(first.paths) < set(names)
    assert list(first.paths) != names[:8], "an epoch has an order of its own"


@pytest.mark.parametrize("mode", ["portable", "native"])
def test_no_byte_of_a_result_depends_on_a_trace(mode: str, tmp_path: Path) -> None:
    rows = [training.fit(traced(tmp_path / name, range(steps), mode)) for name, steps in (("plain", 0), ("traced", 9))]
    assert list(map(remove_speed, rows[0])) == list(map(remove_speed, rows[1]))
    for name in ("best.safetensors", "tensors.json", "epochs/000002.safetensors"):
        assert (tmp_path / "plain/adamw" / name).read_bytes() == (tmp_path / "traced/adamw" / name).read_bytes()
    assert RunFolder(tmp_path / "plain").manifest().keys() == RunFolder(tmp_path / "traced").manifest().keys()
    assert not (tmp_path / "plain/logs/adamw.trace").exists()
    listed = unchecked_in(tmp_path / "traced", (), {"adamw": 2})
    assert {"path": "logs/adamw.trace", "kind": "log"} in listed


def test_a_range_of_steps_is_traced_alone(tmp_path: Path) -> None:
    training.fit(traced(tmp_path / "run", range(7, 9)))
    assert [step.number for step in read_trace(tmp_path / "run/logs/adamw.trace").steps] == [7, 8]


def test_a_trace_that_begins_after_the_last_step_is_refused() -> None:
    refuse_steps_beyond(range(2 * STEPS - 1, 99), 48, TWO)
    with pytest.raises(ValueError, match=r"--trace 12:99 begins after the last step .* steps are 0 to 11$"):
        refuse_steps_beyond(range(2 * STEPS, 99), 48, TWO)


def test_a_resumed_training_traces_each_step_once(whole: Task, tmp_path: Path) -> None:
    every = range(2 * STEPS)
    for cut in (9, 2):
        task_ = traced(tmp_path / "run", every)
        with pytest.raises(CutOffError):
            training.fit(replace(task_, context=Context(active(), cut_after(cut))))
    training.fit(traced(tmp_path / "run", every))
    logs = tmp_path / "run/logs"
    assert sorted(file.name for file in logs.glob("*.trace")) == ["adamw.6.trace", "adamw.trace"]
    resumed = read_traces(RunFolder(tmp_path / "run"), "adamw")
    assert [step.number for trace in resumed for step in trace.steps] == list(every)
    found = compare_traces(resumed, read_traces(whole.files, "adamw"))
    assert found is not None
    assert found.equal


def test_a_training_by_several_processes_is_not_traced(tmp_path: Path) -> None:
    refuse_several_processes(range(0), Processes(size=2))
    with pytest.raises(ValueError, match="--trace records a training by one process, and this one has 2"):
        experiment.train(TINY, tmp_path / "run", trace=range(3), context=Context(active(), processes=Processes(size=2)))
