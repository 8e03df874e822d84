"""Recorded metrics compared with those of recomputed scores."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from in4310repro.metrics import METRICS, SCALARS
from in4310repro.metrics.scores import Scores
from in4310repro.runs.deviations import CORRECTED_PROTOCOL, parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.selection import best_epoch
from in4310repro.system.numerics import Numerics
from in4310repro.verification.evidence import IN_CLASS, Claim
from in4310repro.verification.results import (
    best_epoch_differences,
    contradictions,
    metric_ranges,
    metrics_differences,
    open_precisions,
    record_differences,
    row_contradictions,
    saved_score_differences,
)
from tests.builders import inside_json, made_up_scores
from tests.conftest import Call
from tests.verification.given import evidence_of


def evidence(bitwise: bool = False, classes: Sequence[str] = ()) -> Any:
    """Return what a comparison of records reads of the evidence of a run by the corrected protocol."""
    run = SimpleNamespace(classes=classes, config=SimpleNamespace(protocol=CORRECTED_PROTOCOL))
    return SimpleNamespace(bitwise=bitwise, run=run)


def record(scores: Scores) -> dict[str, Any]:
    return {"loss": scores.loss, **scores.metrics()}


@pytest.mark.parametrize("bitwise", [True, False])
def test_the_record_of_the_scores_themselves_has_no_difference(bitwise: bool) -> None:
    scores = made_up_scores()
    assert [*record_differences(evidence(bitwise), "m", record(scores), record(scores), scores)] == []


@pytest.mark.parametrize(
    ("place", "value"),
    [("loss", 1.01), ("class_accuracy/3", 0.99), ("average_precision/0", 0.99), *((name, 0.99) for name in SCALARS)],
)
@pytest.mark.parametrize("bitwise", [True, False])
def test_every_invented_value_is_named_with_what_it_should_be(place: str, value: float, bitwise: bool) -> None:
    scores = made_up_scores()
    saved, computed = record(scores), record(scores)
    inner, key = inside_json(saved, place)
    inner[key] = value
    sentences = [*record_differences(evidence(bitwise), "metrics.json", saved, computed, scores)]
    assert any(place.split("/")[0] in each and "computed again it is" in each for each in sentences)


def test_a_last_bit_counts_in_one_numeric_class_and_not_in_another() -> None:
    scores = made_up_scores()
    saved = record(scores) | {"loss": float(np.nextafter(scores.loss, 2))}
    (difference,) = record_differences(evidence(bitwise=True), "m", saved, record(scores), scores)
    assert difference.startswith("m: loss is 1.0000000000000002; computed again it is 1.0")
    assert [*record_differences(evidence(), "m", saved, record(scores), scores)] == []
    # Of a loss below 1 the tolerance is absolute.
    for loss, count in ((0.010009, 0), (0.010011, 1)):
        found = record_differences(evidence(), "m", {"loss": loss}, {"loss": 0.01}, scores)
        assert len([*found]) == count


def test_average_precision_in_another_class_is_open_only_as_far_as_close_scores_can_change_places() -> None:
    labels = np.array([0, 1, 0, 1])
    softmax = np.array([[0.8, 0.2], [0.5, 0.5], [0.4999999, 0.5000001], [0.1, 0.9]], np.float32)
    scores = Scores(("a", "b", "c", "d"), labels, softmax, 1.0)
    swapped = replace(scores, softmax=np.array([softmax[0], softmax[2], softmax[1], softmax[3]]))
    saved, computed = record(swapped), record(scores)
    # Oracle: scikit-learn on the swapped order.
    for label in (0, 1):
        expected = average_precision_score(labels == label, swapped.softmax[:, label])
        assert saved["average_precision"][label] == pytest.approx(expected, abs=1e-15)
    assert saved["average_precision"] != computed["average_precision"]
    kept = {"average_precision", "mean_average_precision"}
    first, second = ({key: value for key, value in each.items() if key in kept} for each in (saved, computed))
    assert [*record_differences(evidence(), "m", first, second, scores)] == []
    first["average_precision"] = [value - 0.3 for value in saved["average_precision"]]
    assert [*record_differences(evidence(), "m", first, second, scores)]


@pytest.mark.parametrize("key", ["mean_class_accuracy", "mean_average_precision", "accuracy"])
def test_every_row_of_a_history_follows_from_its_own_classes(key: str, finished_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    assert [*row_contradictions(evidence_of(run, numerics).selected)] == []
    rows = run.histories[run.metrics["setting"]]
    other = next(row for row in rows if row["epoch"] != run.metrics["epoch"])
    changed = [row if row is not other else {**row, key: 0.0625} for row in rows]
    histories: Any = {**run.histories, run.metrics["setting"]: changed}
    (sentence,) = row_contradictions(evidence_of(replace(run, histories=histories), numerics).selected)
    assert f"epoch {other['epoch']}: {key} is 0.0625; the row's values of the classes give" in sentence


def test_average_precisions_that_ties_leave_open_are_said_with_their_range() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1])
    # Four images whose scores saturate, and two that are apart.
    first = np.array([1, 1, 1, 1, 0.7, 0.2], np.float32)
    scores = Scores(tuple("abcdef"), labels, np.stack([first, 1 - first], axis=1), 1.0)
    worst, best = (each["average_precision"] for each in metric_ranges(scores, by_logits=False))
    ranges = [*zip(worst, best, strict=True)]
    # Oracle: scikit-learn on the tied images in the best and in the worst order.
    for label in (0, 1):
        own = labels == label
        column = scores.softmax[:, label].astype(float)
        ends = [average_precision_score(own, column + sign * 1e-9 * np.where(own, 1, -1)) for sign in (-1, 1)]
        assert ranges[label] == pytest.approx(ends, abs=1e-15)
    values, of_two = scores.metrics()["average_precision"], evidence(classes=["sea", "ice"])
    said = [*open_precisions(of_two, "", scores.metrics(), scores)]
    assert len(said) == 2
    assert said[0].what.startswith(f"the average precision of sea, which is {values[0]:.4f}: ")
    assert f"leave {ranges[0][0]:.4f} to {ranges[0][1]:.4f} open" in said[0].what
    apart = replace(scores, softmax=np.linspace(0.1, 0.9, 12, dtype=np.float32).reshape(6, 2))
    assert [*open_precisions(of_two, "", scores.metrics(), apart)] == []


@pytest.mark.parametrize(("bitwise", "count"), [(True, 0), (False, 6)])
def test_average_precisions_that_ties_leave_open_are_claims_in_another_class(
    bitwise: bool, count: int, finished_run: Path, numerics: Numerics
) -> None:
    run = FinishedRun.open(finished_run)
    tied = replace(run.scores, softmax=np.full_like(run.scores.softmax, 1 / 6))
    metrics: Any = {**run.metrics, "unseen": tied.metrics()}
    selected = evidence_of(replace(run, metrics=metrics), numerics, bitwise=bitwise).selected
    selected.test_scores, selected.validation_scores, selected.unseen_scores = run.scores, tied, tied
    for find, of in (
        (best_epoch_differences, f"by setting {selected.name} on validation images of "),
        (saved_score_differences, "of unseen images of "),
    ):
        claims = [each for each in find(selected) if isinstance(each, Claim)]
        assert sum(of in claim.what and claim.shown_by == IN_CLASS for claim in claims) == count


def test_a_test_loss_of_the_best_epoch_is_computed_again(finished_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    config = replace(run.config, protocol=parse("test-loss-each-epoch"))
    selected = evidence_of(replace(run, config=config), numerics).selected
    for loss, count in ((run.metrics["loss"], 0), (0.5, 1)):
        selected.best_row = selected.best_row | {"test_loss": loss}
        assert len([*best_epoch_differences(selected)]) == count


def test_a_key_too_many_or_too_few_is_a_difference() -> None:
    scores = made_up_scores()
    more = record(scores) | {"epoch": 1}
    for saved, computed in ((more, record(scores)), (record(scores), more)):
        (difference,) = record_differences(evidence(), "m", saved, computed, scores)
        assert "absent" in difference


@pytest.mark.parametrize("bitwise", [True, False])
def test_a_metric_that_older_runs_lack_may_be_absent_and_no_other(bitwise: bool) -> None:
    scores = made_up_scores()
    computed = record(scores)
    for name, metric in METRICS.items():
        if metric.per_class and not bitwise:
            # Its mean is held against it.
            continue
        saved = {key: value for key, value in computed.items() if key != name}
        found = [*record_differences(evidence(bitwise), "m", saved, computed, scores)]
        assert len(found) == metric.in_every_run
    *_, last = record_differences(evidence(bitwise), "m", {}, computed | {"setting": "sgd"}, scores)
    assert last == "m: setting is absent; computed again it is sgd"


def test_of_nested_values_the_first_that_differs_is_named() -> None:
    saved = {"supports": {"test": {"sea": 2, "forest": 5}}, "classes": ["a", "b", "c"], "model": "a" * 201}
    computed = {"supports": {"test": {"sea": 2, "forest": 2}}, "classes": ["a", "c", "b"]}
    assert [*contradictions("m", saved, computed)] == [
        "m: supports.test.forest is 5; computed again it is 2",
        "m: classes.1 is b; computed again it is c",
        f"m: model is {'a' * 200}; computed again it is absent",
    ]


CHANGES: list[tuple[str, Any]] = [
    ("setting", "another"),
    ("epoch", 17),
    ("validation_mean_class_accuracy", 0.99),
    ("weights_sha256", "0" * 64),
    ("classes", ["street", "sea", "mountain", "glacier", "forest", "buildings"]),
    ("supports/test/sea", 500),
    ("loss", 0.25),
    ("class_accuracy/0", 0.99),
    ("average_precision/5", 0.99),
    *((name, 0.99) for name in SCALARS),
    ("unseen", {"images": 36}),
]


@pytest.mark.parametrize("bitwise", [True, False])
@pytest.mark.parametrize(("place", "value"), CHANGES, ids=[place for place, _ in CHANGES])
def test_each_value_of_the_metrics_follows_from_the_scores(
    place: str, value: Any, bitwise: bool, finished_run: Path, numerics: Numerics
) -> None:
    def differences(run: FinishedRun) -> list[str]:
        selected = evidence_of(run, numerics, bitwise=bitwise).selected
        selected.test_scores = run.scores
        return [*metrics_differences(selected)]

    run = FinishedRun.open(finished_run)
    assert differences(run) == []
    metrics: Any = {**run.metrics, "supports": {part: {**counts} for part, counts in run.metrics["supports"].items()}}
    metrics |= {key: [*metrics[key]] for key in ("class_accuracy", "average_precision")}
    inner, key = inside_json(metrics, place)
    inner[key] = value
    assert any(place.split("/")[0] in each for each in differences(replace(run, metrics=metrics)))


def test_in_another_class_a_value_that_close_scores_allow_must_still_be_that_of_the_saved_scores(
    finished_run: Path, numerics: Numerics
) -> None:
    run = FinishedRun.open(finished_run)
    metrics = run.metrics | {"mean_average_precision": run.metrics["mean_average_precision"] + 1e-13}
    selected = evidence_of(replace(run, metrics=metrics), numerics, bitwise=False).selected
    selected.test_scores = run.scores
    (difference,) = metrics_differences(selected)
    assert "mean_average_precision" in difference


NEWER = [name for name in SCALARS if not METRICS[name].in_every_run]


def test_verify_finds_a_forged_value_of_each_newer_metric_in_either_file(own_run: Path, call: Call) -> None:
    run, files = FinishedRun.open(own_run), RunFolder.open(own_run)
    setting = run.config.settings[0].name
    best = best_epoch(run.histories[setting], run.config.select)["epoch"]
    places = {"metrics.json": "metrics.json", f"{setting}/history.json": f"history.json: epoch {best}"}
    for file in places:
        record = files.read_json(file)
        (record[best - 1] if isinstance(record, list) else record).update(dict.fromkeys(NEWER, 0.99))
        files.write_json(file, record)
    code, out, error = call("verify", f"{own_run}")
    assert code == 1
    for place, name in itertools.product(places.values(), NEWER):
        assert f"{place}: {name} is 0.99" in out + error


def test_a_run_without_the_newer_metrics_is_verified(own_run: Path, call: Call) -> None:
    files = RunFolder.open(own_run)
    for file in ("metrics.json", *(f"{name}/history.json" for name in FinishedRun.open(own_run).histories)):
        record = files.read_json(file)
        for each in record if isinstance(record, list) else [record]:
            for name in NEWER:
                del each[name]
        files.write_json(file, record)
    code, out, error = call("verify", f"{own_run}")
    assert code == 0, out + error
