"""Metrics of a repeated fit: score differences within the tolerance are not reported."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.metrics.scores import Scores
from in4310repro.models.network import open_network
from in4310repro.runs.deviations import CORRECTED_PROTOCOL, Protocol, parse
from in4310repro.runs.presets import FITTED_HEAD, PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensor_bytes
from in4310repro.training import experiment
from in4310repro.verification.heads import SOFTMAX_TOLERANCE, body_findings, metric_differences, score_tolerance
from in4310repro.verification.routine import verify
from tests.sessions.soak import small_network
from tests.verification.given import evidence_of

# Of two classes; the second image is nearly of the other class, and the third surely is.
OF_FIRST = np.array([0.9, 0.5 + SOFTMAX_TOLERANCE / 2, 0.2, 0.1])
SCORES = Scores(("a", "b", "c", "d"), np.array([0, 0, 0, 1]), np.stack([OF_FIRST, 1 - OF_FIRST], 1).astype("f4"), 0.0)
ROW: Any = dict(SCORES.metrics()) | {"strength": 1.0}


def differences(protocol: Protocol = CORRECTED_PROTOCOL, **changes: object) -> list[str]:
    return list(metric_differences("fit 1", ROW | changes, SCORES, protocol))


def test_the_metrics_of_the_scores_themselves_and_of_a_near_image_the_other_way_are_accepted() -> None:
    assert differences() == []
    assert differences(class_accuracy=[1 / 3, 1.0], mean_class_accuracy=(1 / 3 + 1) / 2) == []


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_an_accuracy_that_no_near_scores_give_is_found_whether_too_low_or_too_high(accuracy: float) -> None:
    (sentence,) = differences(class_accuracy=[accuracy, 1.0])
    assert sentence.startswith(f"fit 1: class_accuracy is [{accuracy}, 1.0]; fitted again it is [0.333")
    (sentence,) = differences(mean_class_accuracy=accuracy / 4)
    assert "mean_class_accuracy" in sentence


def test_an_average_precision_that_no_near_order_gives_is_found_unless_logits_made_the_order() -> None:
    (sentence,) = differences(average_precision=[0.5, 1.0])
    assert "average_precision is [0.5, 1.0]" in sentence
    assert differences(parse("ap-from-logits"), average_precision=[0.5, 1.0]) == []


def test_a_stronger_penalty_leaves_less_room() -> None:
    assert score_tolerance(1.0) == SOFTMAX_TOLERANCE
    assert score_tolerance(0.001) == pytest.approx(1e-4, rel=1e-12)
    assert differences(strength=0.01, class_accuracy=[1 / 3, 1.0], mean_class_accuracy=(1 / 3 + 1) / 2)


def test_without_the_file_of_weights_their_hash_decides_whether_the_body_has_moved(
    numerics: Numerics, tmp_path: Path
) -> None:
    model, weights = "tests.sessions.soak:small_network", tmp_path / "of-seven-classes.safetensors"
    open_network(model).trust()
    weights.write_bytes(tensor_bytes(small_network(7).state_dict(), to_metadata(Preprocessing(size=32))))
    config = replace(PRESETS["tiny"], model=model, modules=("0",), weights=f"{weights}", train="head")
    run = experiment.train(replace(config, settings=FITTED_HEAD), Context(numerics), tmp_path / "run")
    weights.unlink()
    verified = verify(run.folder, Context(numerics))
    assert verified.differences == []
    assert any("and that nothing else has moved" in each for each in verified.computed_again)
    assert any("that training began from the weights of a file" in claim.what for claim in verified.claimed)
    assert not any("pixels of training images" in claim.what for claim in verified.claimed)
    other = replace(run, fingerprint={**run.fingerprint, "initial_weights_sha256": "0" * 64})
    # A head of a file may be the file's; one of ImageNet weights is not, with six classes.
    unknown = evidence_of(other, numerics)
    assert ([*body_findings(unknown.selected)], unknown.bodies_compared) == ([], False)
    of_imagenet = replace(other, config=replace(run.config, weights="imagenet"))
    (sentence,) = map(str, body_findings(evidence_of(of_imagenet, numerics, start_at_hand=False).selected))
    assert "its tensors before training, which are those with the head that seed 0 draws" in sentence
