"""The first training steps of a run, as `explain` takes them."""

from dataclasses import replace
from pathlib import Path

import pytest

from in4310repro.runs.finished import FinishedRun
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training.checkpoints import optimizer_tensors
from in4310repro.verification.replay import first_steps


def test_the_first_steps_of_a_run_end_in_the_state_that_it_records_after_its_first_epoch(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    model, loss, optimizer, batches = first_steps(f"{finished_run}")
    for images, labels in batches:
        loss(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    recorded = run.tensors[run.metrics["setting"]][0]
    assert tensors_sha256(model.state_dict()) == recorded["weights_sha256"]
    assert tensors_sha256(optimizer_tensors(optimizer)) == recorded["optimizer_sha256"]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("train", "head", "was fitted and has no steps"),
        ("weights", "mine.safetensors", "weights is 'mine.safetensors'"),
    ],
)
def test_a_run_whose_first_steps_cannot_be_taken_is_refused(
    option: str, value: str, words: str, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FinishedRun.open(finished_run)
    changed = replace(run, config=replace(run.config, **{option: value}))  # type: ignore[arg-type]
    monkeypatch.setattr(FinishedRun, "open", lambda _folder: changed)
    with pytest.raises(ValueError, match=words):
        first_steps(f"{finished_run}")
