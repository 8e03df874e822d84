"""Deviations from the assignment: each has its effect, is off by default, and is always labelled."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from benchmarks.soak import find_differing_files
from in4310repro import models
from in4310repro.data.images import ImageSet, evaluation_batches, load_images
from in4310repro.data.splits import from_csv
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.evaluation.prediction import predict
from in4310repro.report import page
from in4310repro.runs.config import Config
from in4310repro.runs.deviations import (
    CORRECTED,
    CORRECTED_PROTOCOL,
    HYPOTHESIS,
    PUBLISHED,
    Deviation,
    Protocol,
    padded_images,
    parse,
)
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder, manifest_bytes
from in4310repro.runs.presets import PRESETS, configure
from in4310repro.runs.record_types import FeatureMaps
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.training import experiment
from in4310repro.training.training import Task, fit
from in4310repro.verification.routine import verify
from studies.ablation import AFTER_TRAINING
from tests.conftest import Replace

TINY = PRESETS["tiny"]
EVERY = Protocol(frozenset(HYPOTHESIS))
SEVEN = [
    "shared-split",
    "warm-start",
    "random-flip-at-test",
    "ap-from-logits",
    "padded-denominator",
    "batch-norm-in-train-mode",
    "accumulator-not-reset",
]


def with_deviations(*deviations: Deviation) -> Config:
    return replace(TINY, protocol=Protocol(frozenset(deviations)))


def test_every_preset_is_corrected_and_corrected_has_no_deviation() -> None:
    assert {config.protocol for config in PRESETS.values()} == {parse(CORRECTED)}
    assert (parse(CORRECTED), parse(CORRECTED).label) == (CORRECTED_PROTOCOL, "")


def test_published_is_the_seven_deviations_of_the_hypothesis_and_each_has_a_name_and_a_label() -> None:
    assert parse(PUBLISHED) == EVERY == parse(SEVEN)
    assert parse(PUBLISHED).names == sorted(SEVEN)
    pair = Protocol(frozenset({Deviation.SHARED_SPLIT, Deviation.WARM_START}))
    assert parse("shared-split, warm-start") == parse(["warm-start", "shared-split"]) == pair
    for deviation in Deviation:
        assert deviation.meaning in Protocol(frozenset({deviation})).label
    assert parse(",".join(SEVEN)).label == EVERY.label


def test_the_test_loss_of_each_epoch_is_a_deviation_that_published_does_not_include() -> None:
    name = "test-loss-each-epoch"
    assert {*Deviation} - {*HYPOTHESIS} == {name}
    every = parse([*SEVEN, name])
    assert (every.is_published, every.is_corrected, parse(name).is_corrected) == (False, False, False)
    assert (str(parse(name)), str(every)) == (name, ",".join(sorted([*SEVEN, name])))
    assert parse(name).label == "DEVIATION: the test set is scored after every epoch"
    assert every.label.endswith("the test set is scored after every epoch")


def test_a_protocol_is_described_as_the_command_line_takes_it() -> None:
    for protocol in (CORRECTED, PUBLISHED, "shared-split", "shared-split,warm-start"):
        assert str(parse(protocol)) == protocol


def test_each_answer_changes_with_its_own_deviation_alone() -> None:
    answers: dict[str, Callable[[Protocol], object]] = {
        "shared-split": lambda protocol: (protocol.shares_split, protocol.part_read_as("training")),
        "warm-start": lambda protocol: protocol.starts_warm,
        "random-flip-at-test": lambda protocol: protocol.flips_in_evaluation,
        "ap-from-logits": lambda protocol: protocol.ranks_logits,
        "padded-denominator": lambda protocol: protocol.share_divisor(200),
        "batch-norm-in-train-mode": lambda protocol: protocol.batch_norm_mode,
        "accumulator-not-reset": lambda protocol: protocol.accumulates_sets,
        "test-loss-each-epoch": lambda protocol: protocol.scores_test_each_epoch,
    }
    for deviation in Deviation:
        active = parse(deviation)
        assert {name for name, ask in answers.items() if ask(active) != ask(CORRECTED_PROTOCOL)} == {deviation}
    of_training = {"shared-split", "warm-start", "random-flip-at-test", "test-loss-each-epoch"}
    assert {*Deviation} - AFTER_TRAINING == of_training


def test_with_a_warm_start_the_first_setting_starts_from_the_initial_weights() -> None:
    course = replace(PRESETS["course"], protocol=parse("warm-start"))
    assert [course.setting_before(each) for each in course.settings] == [None, "adamw", "rmsprop"]
    assert PRESETS["course"].setting_before(course.settings[1]) is None


@pytest.mark.parametrize("wrong", ["", "publish", "shared-split,", "shared_split"])
def test_an_unknown_protocol_is_refused_with_the_valid_ones(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"protocol is") as caught:
        configure("tiny", None, {"protocol": wrong})
    assert not wrong or "one of corrected, published, shared-split" in str(caught.value)


@pytest.fixture(scope="module")
def published(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Return a complete tiny run with every deviation from the assignment, feature maps included."""
    config = replace(TINY, protocol=EVERY, epochs=1)
    run = experiment.train(config, tmp_path_factory.mktemp("published") / "run", context=Context(numerics))
    return of_run.write_features(run, config, Context(numerics))


def test_the_images_that_were_never_read_are_measured_separately(published: FinishedRun) -> None:
    metrics = published.metrics
    assert metrics["unseen"]["images"] == 36
    # Training and selection read the test part: its supports are those of the validation rows too.
    assert metrics["supports"]["test"] == dict.fromkeys(metrics["classes"], 2)


def test_a_published_run_is_predicted_again_to_the_bit(published: FinishedRun, numerics: Numerics) -> None:
    verified = verify(published.folder, context=Context(numerics))
    assert verified.differences == []
    assert verified.bitwise


@pytest.mark.slow
def test_everything_drawn_and_printed_carries_the_label(published: FinishedRun, tmp_path: Path) -> None:
    page.write(published, tmp_path)
    # The matrix of figure 12 is a table.
    drawn = {f"figure{number:02d}.svg" for number in range(1, 16) if number != 12}
    assert {file.name for file in tmp_path.glob("*.svg")} == drawn
    for name in (*drawn, "report.md", "index.html"):
        text = re.sub(r"</text>\s*<text[^>]*>", " ", (tmp_path / name).read_text(encoding="utf-8"))
        assert EVERY.label in text
    assert "took no part in training" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    for number in range(1, 15):
        assert json.loads((tmp_path / f"figure{number:02d}.json").read_text())["label"] == EVERY.label


def record_starts(config: Config, numerics: Numerics, folder: Path, replace_fit: Replace) -> list[Task]:
    """Run `train` with a stand-in that overwrites each network, and return the tasks of three trainings."""
    tasks: list[Task] = []

    def watched(task: Task) -> list[object]:
        tasks.append(replace(task, model=copy.deepcopy(task.model)))
        with torch.no_grad():
            for parameter in task.model.parameters():
                parameter.fill_(len(tasks))
        if len(tasks) == 3:
            raise RuntimeError("seen enough")
        return []

    replace_fit(watched)
    with pytest.raises(RuntimeError, match="seen enough"):
        experiment.train(config, folder, context=Context(numerics))
    return tasks


def test_with_a_warm_start_a_setting_begins_with_the_network_of_the_one_before(
    numerics: Numerics, tmp_path: Path, replace_fit: Replace
) -> None:
    config = with_deviations(Deviation.WARM_START)
    first, second, third = record_starts(config, numerics, tmp_path / "run", replace_fit)
    assert not any(bool((value == 1).all()) for value in first.model.conv1.parameters())  # type: ignore[union-attr]
    for number, task in ((1, second), (2, third)):
        assert all(bool((value == number).all()) for value in task.model.parameters())


def test_with_a_shared_split_the_loaders_read_the_test_part(
    numerics: Numerics, tmp_path: Path, replace_fit: Replace
) -> None:
    for task in record_starts(with_deviations(Deviation.SHARED_SPLIT), numerics, tmp_path / "run", replace_fit):
        assert task.training.paths == task.validation.paths
        parts = from_csv(tmp_path / "run" / "split.csv", tmp_path).parts
        assert task.training.paths == tuple(entry.path for entry in parts["test"])


@pytest.mark.slow
def test_a_run_with_warm_starts_resumes_to_the_same_bits(
    numerics: Numerics, tmp_path: Path, replace_fit: Replace
) -> None:
    config = replace(with_deviations(Deviation.WARM_START), settings=TINY.settings[:2], epochs=1, split="16/12/20")
    experiment.train(config, tmp_path / "undisturbed", context=Context(numerics))

    def cut(task: Task) -> object:
        if task.setting == config.settings[1]:
            raise KeyboardInterrupt
        return fit(task)

    replace_fit(cut)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(config, tmp_path / "cut", context=Context(numerics))
    # As if a kill had come between the last weights and their manifest entry.
    entries = RunFolder(tmp_path / "cut").manifest()
    del entries["adamw/last.safetensors"]
    (tmp_path / "cut" / "manifest.json").write_bytes(manifest_bytes(entries))
    replace_fit(fit)
    experiment.train(config, tmp_path / "cut", resume=True, context=Context(numerics))
    assert find_differing_files(tmp_path / "undisturbed", tmp_path / "cut") == []


@pytest.fixture(scope="module")
def network(numerics: Numerics) -> torch.nn.Module:
    return numerics.place(models.build("resnet18", 6, seed=0))


@pytest.fixture
def test_images(finished_run: Path) -> Callable[[], ImageSet]:
    split = FinishedRun.open(finished_run).split_below(None)
    return lambda: load_images("test", split.root, split.parts["test"], TINY.image_size)


def test_flips_in_evaluation_are_a_function_of_seed_epoch_and_image(
    network: torch.nn.Module, test_images: Callable[[], ImageSet], numerics: Numerics
) -> None:
    images, config = test_images(), with_deviations(Deviation.RANDOM_FLIP_AT_TEST)
    plain = predict(network, images, TINY, Context(numerics)).softmax
    first, again, later = (
        predict(network, images, config, Context(numerics), epoch=epoch).softmax for epoch in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    moved = (first != plain).any(axis=1)
    assert 0 < moved.sum() < len(moved)
    assert not np.array_equal(first, later)
    (batch,) = evaluation_batches(images, 12, [True] * 12)
    (straight,) = evaluation_batches(images, 12)
    assert torch.equal(batch.images, straight.images.flip(3))


def test_average_precision_of_logits_is_sklearns_of_logits(
    network: torch.nn.Module, test_images: Callable[[], ImageSet], numerics: Numerics
) -> None:
    scores = predict(network, test_images(), TINY, Context(numerics))
    assert scores.logits is not None
    oracle = [average_precision_score(scores.labels == c, scores.logits[:, c]) for c in range(6)]
    departed = scores.metrics(by_logits=True)
    np.testing.assert_allclose(departed["average_precision"], oracle, atol=1e-12)
    assert departed["class_accuracy"] == scores.metrics()["class_accuracy"]
    assert departed["average_precision"] != scores.metrics()["average_precision"]


@pytest.fixture(scope="module")
def corrected(finished_run: Path, numerics: Numerics) -> FeatureMaps:
    """Return the feature maps of the tiny run, which has no deviations from the assignment."""
    return of_run.measure_run(FinishedRun.open(finished_run), TINY, Context(numerics))


def shares(features: FeatureMaps) -> list[float]:
    return [module["non_positive"] for module in features["sets"][0]["modules"].values()]


def spectra(features: FeatureMaps, position: int) -> list[list[float]]:
    return [module["eigenvalues"] for module in features["sets"][position]["modules"].values()]


def test_shares_with_a_padded_denominator_are_those_of_200_divided_by_208(
    finished_run: Path, corrected: FeatureMaps, numerics: Numerics
) -> None:
    assert padded_images(200) == 208
    run = FinishedRun.open(finished_run)
    departed = of_run.measure_run(run, with_deviations(Deviation.PADDED_DENOMINATOR), Context(numerics))
    # 12 images are one batch of 16.
    np.testing.assert_allclose(shares(departed), np.array(shares(corrected)) * 12 / 16, rtol=1e-14)
    assert spectra(departed, 2) == spectra(corrected, 2)


def test_train_mode_normalises_by_the_batch_and_changes_the_spectra_alone(
    finished_run: Path, corrected: FeatureMaps, numerics: Numerics, network: torch.nn.Module
) -> None:
    inputs = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        expected = copy.deepcopy(network).train()(inputs)
        assert torch.equal(of_run.with_batch_statistics(network).eval()(inputs), expected)
        assert not torch.equal(network.eval()(inputs), expected)
    run = FinishedRun.open(finished_run)
    departed = of_run.measure_run(run, with_deviations(Deviation.BATCH_NORM_IN_TRAIN_MODE), Context(numerics))
    assert shares(departed) == shares(corrected)
    # conv1 stands before the first batch norm.
    assert spectra(departed, 0)[0] == spectra(corrected, 0)[0]
    assert spectra(departed, 0)[1] != spectra(corrected, 0)[1]


def test_an_accumulator_that_is_not_reset_pools_the_sets_before(
    finished_run: Path, corrected: FeatureMaps, numerics: Numerics
) -> None:
    run = FinishedRun.open(finished_run)
    departed = of_run.measure_run(run, with_deviations(Deviation.ACCUMULATOR_NOT_RESET), Context(numerics))
    assert spectra(departed, 0) == spectra(corrected, 0)
    assert shares(departed) == shares(corrected)
    sets = of_run.image_sets(run, TINY, None)
    model = numerics.place(models.build("resnet18", 6, 0))
    model.load_state_dict(run.files.read_tensors(f"{run.metrics['setting']}/best.safetensors"))
    means = []
    with torch.no_grad():
        for images in sets:
            (batch,) = evaluation_batches(images, len(images))
            means.append(model.conv1(batch.images).double().mean(dim=(2, 3)).numpy())  # type: ignore[operator]
    for position in (1, 2):
        pooled = np.concatenate(means[: position + 1])
        oracle = np.linalg.eigvalsh(np.cov(pooled.T, bias=True))[::-1][:15]
        np.testing.assert_allclose(spectra(departed, position)[0], oracle, rtol=0, atol=1e-5 * oracle[0])
        assert departed["sets"][position]["pooled_images"] == len(pooled)
