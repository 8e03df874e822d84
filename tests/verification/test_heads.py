"""Metrics of a repeated fit: score differences within the tolerance are not reported."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from benchmarks.soak import small_network
from in4310repro.data.cache import SUFFIX
from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.metrics.scores import Scores
from in4310repro.models.sources import open_network
from in4310repro.runs.deviations import CORRECTED_PROTOCOL, Protocol, parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import HEAD_PRESET, PRESETS
from in4310repro.runs.settings import STRENGTHS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensor_bytes
from in4310repro.training import experiment
from in4310repro.verification.evidence import Note
from in4310repro.verification.heads import (
    SOFTMAX_TOLERANCE,
    body_findings,
    fit_differences,
    frozen_differences,
    metric_limits,
    score_tolerance,
)
from in4310repro.verification.results import contradictions
from in4310repro.verification.routine import verify
from tests.builders import Watched
from tests.verification.given import evidence_of

# Of two classes; the second image is nearly of the other class, and the third surely is.
OF_FIRST = np.array([0.9, 0.5 + SOFTMAX_TOLERANCE / 2, 0.2, 0.1])
SCORES = Scores(("a", "b", "c", "d"), np.array([0, 0, 0, 1]), np.stack([OF_FIRST, 1 - OF_FIRST], 1).astype("f4"), 0.0)
ROW: Any = dict(SCORES.metrics()) | {"strength": 1.0}


def differences(protocol: Protocol = CORRECTED_PROTOCOL, **changes: object) -> list[str]:
    limits = metric_limits(ROW | changes, SCORES, protocol)
    compared = {path.partition(".")[0] for path in limits}
    saved, again = ({key: value for key, value in each.items() if key in compared} for each in (ROW | changes, ROW))
    return [*contradictions("fit 1", saved, again, limits)]


def test_the_metrics_of_the_scores_themselves_and_of_a_near_image_the_other_way_are_accepted() -> None:
    assert differences() == []
    assert differences(class_accuracy=[1 / 3, 1.0], mean_class_accuracy=(1 / 3 + 1) / 2) == []


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_an_accuracy_that_no_near_scores_give_is_found_whether_too_low_or_too_high(accuracy: float) -> None:
    (sentence,) = differences(class_accuracy=[accuracy, 1.0])
    assert sentence.startswith(f"fit 1: class_accuracy.0 is {accuracy}; computed again it is 0.66")
    (sentence,) = differences(mean_class_accuracy=accuracy / 4)
    assert "mean_class_accuracy" in sentence


def test_an_average_precision_that_no_near_order_gives_is_found_unless_logits_made_the_order() -> None:
    (sentence,) = differences(average_precision=[0.5, 1.0])
    assert "average_precision.0 is 0.5" in sentence
    assert differences(parse("ap-from-logits"), average_precision=[0.5, 1.0]) == []
    (sentence,) = differences(parse("ap-from-logits"), accuracy=0.0)
    assert "accuracy is 0.0" in sentence


def test_a_stronger_penalty_leaves_less_room() -> None:
    assert score_tolerance(1.0) == SOFTMAX_TOLERANCE
    assert score_tolerance(0.001) == pytest.approx(1e-4, rel=1e-12)
    assert differences(strength=0.01, class_accuracy=[1 / 3, 1.0], mean_class_accuracy=(1 / 3 + 1) / 2)


@pytest.fixture(scope="module")
def run(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory, _cache_of_this_session: None) -> FinishedRun:
    """Return a run whose head was fitted, and whose file of initial weights is gone."""
    folder = tmp_path_factory.mktemp("fitted")
    model, weights = "benchmarks.soak:small_network", folder / "of-seven-classes.safetensors"
    open_network(model).trust()
    weights.write_bytes(tensor_bytes(small_network(7).state_dict(), to_metadata(Preprocessing(size=32))))
    config = replace(PRESETS["tiny"], model=model, modules=("0",), weights=f"{weights}", train="head")
    run = experiment.train(
        replace(config, settings=PRESETS[HEAD_PRESET].settings), folder / "run", context=Context(numerics)
    )
    weights.unlink()
    return run


def test_a_head_near_the_fit_is_accepted_with_a_note_and_one_far_off_is_found_without_a_cache(
    run: FinishedRun, numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", f"{tmp_path}")
    fits: list[int] = []
    watched = Watched(step=lambda title, done, _: fits.append(done) if title == "fits of head" else None)
    run = replace(run, config=replace(run.config, protocol=parse("ap-from-logits")))
    selected = evidence_of(run, numerics, bitwise=False, context=Context(numerics, watched)).selected
    weight, bias, stored = "5.weight", "5.bias", selected.stored
    selected.stored = {**stored, weight: stored[weight].nextafter(torch.tensor(9.0))}
    (note,) = fit_differences(selected)
    assert isinstance(note, Note)
    assert sum(fits) == len(STRENGTHS)
    # So large that every score is 0 or 1, as which it ranks no image.
    selected.stored = {**stored, weight: stored[weight] * 1e6, bias: stored[bias] * 1e6}
    *found, note = fit_differences(selected)
    assert any("the head is not the minimum of its penalised loss" in str(each) for each in found)
    scores: Any = selected.test_scores
    precisions = [average_precision_score(scores.labels == n, scores.logits[:, n]) for n in range(6)]
    assert f"mAP {np.mean(precisions):.4f} and " in str(note)
    assert [*tmp_path.glob("features/*.embedding"), *tmp_path.glob(f"pixels/*{SUFFIX}")] == []


def test_a_tensor_that_moved_before_the_layer_from_which_a_setting_trains_is_found(
    finished_run: Path, numerics: Numerics
) -> None:
    run = FinishedRun.open(finished_run)
    selected = evidence_of(replace(run, config=replace(run.config, train="from:layer4")), numerics).selected
    (sentence,) = frozen_differences(selected)
    assert sentence.endswith("conv1.weight is not that of the weights before training")
    selected.stored = selected.evidence.drawn_network.state_dict()
    assert [*frozen_differences(selected)] == []


def test_without_the_file_of_weights_their_hash_decides_whether_the_body_has_moved(
    run: FinishedRun, numerics: Numerics
) -> None:
    verified = verify(run.folder, context=Context(numerics))
    assert verified.differences == []
    assert "every fit of the head (to the bit), and that nothing else has moved" in verified.computed_again
    assert any("that training began from the weights of a file" in claim.what for claim in verified.claimed)
    assert not any("pixels of training images" in claim.what for claim in verified.claimed)
    other = replace(run, fingerprint={**run.fingerprint, "initial_weights_sha256": "0" * 64})
    # A head of a file may be the file's; one of ImageNet weights is not, with six classes.
    unknown = evidence_of(other, numerics)
    assert ([*body_findings(unknown.selected)], unknown.bodies_compared) == ([], False)
    of_imagenet = replace(other, config=replace(run.config, weights="imagenet"))
    (sentence,) = map(str, body_findings(evidence_of(of_imagenet, numerics, start_at_hand=False).selected))
    assert "its tensors before training, which are those with the head that seed 0 draws" in sentence
