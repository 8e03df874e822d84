"""A fitted head: its minimum, the bits of its scores, resumption, and forgeries that verify finds."""

import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.soak import find_differing_files
from in4310repro import models
from in4310repro.data.cache import cache_folder
from in4310repro.evaluation import embedding
from in4310repro.evaluation.embedding import Embedding, embed
from in4310repro.evaluation.prediction import predict
from in4310repro.models.sources import open_network
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import configure
from in4310repro.runs.record_types import HistoryRow
from in4310repro.runs.settings import STRENGTHS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.training import experiment, head, regression
from in4310repro.training.training import Task
from in4310repro.verification.routine import verify
from tests.builders import Watched, image_set

RESNET18 = open_network("resnet18")
CONFIG = configure("tiny", None, {"train": "head", "model": f"{__name__}:network", "modules": ["0"]})


def network(num_classes: int) -> nn.Module:
    layers = (nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(16, num_classes))


def as_embedding(values: NDArray[np.float32]) -> Embedding:
    records = np.zeros(len(values), embedding.record_type(values.shape[1]))
    records["features"] = values
    return Embedding(records, np.arange(len(values)))


def drawn(classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(5)
    labels = generator.integers(classes, size=200)
    centres = generator.standard_normal((classes, 8))
    return (centres[labels] + generator.standard_normal((200, 8))).astype(np.float32), labels


def gradient(weight: torch.Tensor, bias: torch.Tensor, values: NDArray[np.float32], labels: NDArray[np.int64],
             strength: float) -> float:  # fmt: skip
    """Return the largest partial derivative of the penalised loss, divided by strength times images."""
    w, b = weight.double().requires_grad_(), bias.double().requires_grad_()
    scores = torch.from_numpy(values).double() @ w.T + b
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels), reduction="sum")
    # Of two classes, the difference is penalised.
    penalised = w[1] - w[0] if len(w) == 2 else w
    (strength * loss + penalised.square().sum() / 2).backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None
    assert b.grad is not None
    return max(float(w.grad.abs().max()), float(b.grad.abs().max())) / (strength * len(labels))


@pytest.mark.parametrize(("classes", "strength"), [(4, 0.01), (4, 1.0), (2, 1.0), (150, 0.01), (150, 1.0)])
def test_the_fit_is_where_the_penalised_loss_has_no_slope(classes: int, strength: float) -> None:
    values, labels = drawn(classes)
    fitted = head.fit_head(as_embedding(values), labels, strength)
    assert gradient(*fitted, values, labels, strength) < 1e-5
    # Of another strength it is not.
    slope = gradient(*fitted, values, labels, 3 * strength)
    assert slope > 1e-4
    assert head.largest_derivative(fitted, as_embedding(values), labels, 3 * strength) == pytest.approx(slope)


def test_a_fit_of_many_classes_has_equal_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    values, labels = drawn(150)
    monkeypatch.setattr(regression, "ROWS", 64)
    fits = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        fits.append(head.fit_head(as_embedding(values), labels, 1.0))
    assert fits[0].weight.shape == (labels.max() + 1, 8)
    for other in fits[1:]:
        assert all(map(torch.equal, fits[0], other))


def test_two_classes_have_two_rows_whose_difference_is_the_fit() -> None:
    values, labels = drawn(2)
    fitted = head.fit_head(as_embedding(values), labels, 1.0)
    assert fitted.weight.shape == (2, 8)
    difference = torch.from_numpy(values) @ (fitted.weight[1] - fitted.weight[0]) + fitted.bias[1] - fitted.bias[0]
    assert (torch.tensor(labels) == (difference > 0)).double().mean() > 0.8


def test_scores_from_features_have_the_bits_of_the_whole_network(numerics: Numerics) -> None:
    images = image_set(20)
    model = numerics.place(models.build("resnet18", 6, seed=0))
    features = embed(model, replace(CONFIG, model="resnet18", evaluation_batch_size=8), images, Context(numerics))
    config = replace(CONFIG, evaluation_batch_size=8)
    given = head.scores_of_features(model.get_submodule("fc"), features, images, 8, numerics)
    needed = predict(model, images, config, Context(numerics))
    assert np.array_equal(given.softmax, needed.softmax)
    assert given.loss == needed.loss


@pytest.fixture(scope="module")
def fitted_run(tmp_path_factory: pytest.TempPathFactory, numerics: Numerics) -> Path:
    folder = tmp_path_factory.mktemp("head") / "run"
    experiment.train(CONFIG, folder, context=Context(numerics))
    return folder


def test_a_run_has_one_setting_whose_rows_are_the_strengths_tried(fitted_run: Path) -> None:
    run = FinishedRun.open(fitted_run)
    rows = run.histories["head"]
    assert [row["strength"] for row in rows] == list(STRENGTHS)
    # A weaker penalty fits the training images better.
    losses = [row["train_loss"] for row in rows]
    assert losses == sorted(losses, reverse=True)
    best = max(rows, key=lambda row: row["mean_class_accuracy"])
    assert run.metrics["validation_mean_class_accuracy"] == best["mean_class_accuracy"]


def test_nothing_but_the_last_layer_is_fitted(fitted_run: Path) -> None:
    stored = RunFolder.open(fitted_run).read_tensors("head/best.safetensors")
    initial = models.build(CONFIG.model, 6, CONFIG.seed).state_dict()
    assert {name for name in initial if not torch.equal(initial[name], stored[name])} == {"5.weight", "5.bias"}


def test_a_fit_that_was_interrupted_goes_on_and_ends_with_the_same_files(
    fitted_run: Path, tmp_path: Path, numerics: Numerics
) -> None:
    strengths: list[float] = []

    def note(line: str) -> None:
        if found := re.match(r"C = (.*?):", line):
            strengths.append(float(found[1]))
            if len(strengths) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment.train(CONFIG, tmp_path / "run", context=Context(numerics, Watched(say=note)))
    experiment.train(CONFIG, tmp_path / "run", resume=True, context=Context(numerics, Watched(say=note)))
    assert strengths == list(STRENGTHS)
    assert not find_differing_files(fitted_run, tmp_path / "run")


def test_the_results_of_a_finished_run_stay_when_it_is_resumed(
    tmp_path: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More epochs than fits, as the presets have them.
    config = replace(CONFIG, epochs=len(STRENGTHS) + 1)
    experiment.train(config, tmp_path / "run", context=Context(numerics))
    monkeypatch.setattr(RunFolder, "remove", lambda *_names: pytest.fail("results were removed"))
    experiment.train(config, tmp_path / "run", resume=True, context=Context(numerics))


def test_fits_are_timed_and_made_once_unless_their_hashes_are_lost(
    tmp_path: Path, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    CONFIG.network.trust()
    steps: list[tuple[str, int]] = []
    watched = Watched(step=lambda title, done, _: steps.append((title, done)))
    clock = itertools.count()
    monkeypatch.setattr(head, "time", SimpleNamespace(perf_counter=clock.__next__))
    images, files = image_set(20), RunFolder.create(tmp_path / "run")
    task = Task(
        model=network(6), training=images, validation=images, config=CONFIG, setting=CONFIG.settings[0],
        files=files, context=Context(numerics, watched), start_sha256="0" * 64,
    )  # fmt: skip

    def fit() -> list[HistoryRow]:
        return head.fit(replace(task, model=models.build(CONFIG.model, 6, CONFIG.seed)))

    rows = fit()
    # From each look at this clock to the next is a second.
    assert {row["images_per_second"] for row in rows} == {20}
    assert fit() == rows
    assert next(clock) == 2 * len(STRENGTHS)
    files.write_json("head/tensors.json", json.loads((files.folder / "head/tensors.json").read_text())[:2])
    assert fit() == rows
    assert next(clock) == 4 * len(STRENGTHS) + 1
    assert steps.count(("fits of head", 1)) == 3 * len(STRENGTHS)


def test_verify_fits_again_and_finds_a_loss_that_no_fit_gives(
    fitted_run: Path, tmp_path: Path, numerics: Numerics
) -> None:

    assert verify(fitted_run, context=Context(numerics)).differences == []
    forged = shutil.copytree(fitted_run, tmp_path / "run")
    files = RunFolder(forged)
    rows = json.loads((forged / "head/history.json").read_text())
    rows[0]["train_loss"] += 0.01
    files.write_json("head/history.json", rows)
    (difference,) = verify(forged, context=Context(numerics)).differences
    assert "history.json: fit 1: train_loss is" in difference


def test_verify_does_not_rest_on_features_that_somebody_wrote_into_the_cache(
    fitted_run: Path, numerics: Numerics
) -> None:
    written = list((cache_folder() / embedding.FOLDER).glob(f"*{embedding.SUFFIX}"))
    before = {file: file.read_bytes() for file in written}
    record = embedding.record_type(16)
    for file in written:
        records = np.fromfile(file, record)
        for each in records:
            each["features"] = 0
            each["sha256"] = np.frombuffer(
                embedding.record_bytes(each["image"].tobytes(), each["features"])[-32:], np.uint8
            )
        records.tofile(file)
    try:
        assert verify(fitted_run, context=Context(numerics)).differences == []
    finally:
        for file, content in before.items():
            file.write_bytes(content)


def test_verify_finds_a_body_that_is_not_the_one_training_began_with(
    fitted_run: Path, tmp_path: Path, numerics: Numerics
) -> None:

    forged = shutil.copytree(fitted_run, tmp_path / "run")
    files = RunFolder(forged)
    state = files.read_tensors("head/best.safetensors")
    state["0.weight"][0, 0] *= 1.5
    files.write_weights("head/best.safetensors", state, CONFIG.preprocessing)
    assert any(
        "is not that of the weights before training" in each
        for each in verify(forged, context=Context(numerics)).differences
    )


def test_verify_finds_a_head_that_is_not_the_fit(fitted_run: Path, tmp_path: Path, numerics: Numerics) -> None:
    forged = shutil.copytree(fitted_run, tmp_path / "run")
    files = RunFolder(forged)
    state = files.read_tensors("head/best.safetensors")
    state["5.weight"][0] += 1
    files.write_weights("head/best.safetensors", state, CONFIG.preprocessing)
    assert any(
        "from those of the same fit, made again" in each
        for each in verify(forged, context=Context(numerics)).differences
    )
