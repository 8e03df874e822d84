"""Feature maps of a run: how its image sets are measured, and what is recorded and written."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from torch import nn

from in4310repro.data.images import normalize
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.features import FeatureStatistics
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from tests.builders import Watched, image_set
from tests.conftest import active


@pytest.mark.parametrize("protocol", ["corrected", "accumulator-not-reset"])
def test_sets_are_measured_in_the_chosen_precision_and_say_how_many_images_are_in_their_spectra(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a CPU the means of images have the same bits in both precisions.
    watched = Mock(wraps=FeatureStatistics)
    monkeypatch.setattr(of_run, "FeatureStatistics", watched)
    sets = [image_set(5), image_set(7, seed=1)]
    chosen: Any = {"modules": ("0",), "precision": "exact", "protocol": parse(protocol)}
    settings = replace(PRESETS["tiny"], **chosen)
    rows = [normalize(images.pixels).double().mean(dim=(2, 3)).numpy() for images in sets]
    if protocol != "corrected":
        rows[1] = np.concatenate(rows)
    records = of_run.measure_sets(nn.Sequential(nn.Identity()), sets, settings, Context(active()))
    for record, means in zip(records, rows, strict=True):
        oracle = np.linalg.eigvalsh(np.cov(means.T, bias=True))[::-1]
        np.testing.assert_allclose(record["modules"]["0"]["eigenvalues"], oracle, rtol=0, atol=1e-13 * oracle[0])
        assert record.get("pooled_images", record["images"]) == len(means)
    assert [call.args[3] for call in watched.call_args_list] == ["exact", "exact"]


def test_a_record_has_the_mode_of_batch_norm_and_the_threads_on_which_its_bits_depend(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_run, "image_sets", lambda *_: [])
    run, config = FinishedRun.open(finished_run), replace(PRESETS["tiny"], protocol=parse("batch-norm-in-train-mode"))
    for numerics in (active(), replace(active(), mode="native")):
        features = of_run.measure_run(run, config, Context(numerics))
        assert features["spectra_mode"] == "train"
        assert ("threads" in features["fingerprint"]) is not numerics.portable


def test_another_process_s_folder_stays_as_it_is_and_a_difference_from_it_is_said(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, file, said = FinishedRun.open(own_run), own_run / "features.json", list[str]()
    before, context = file.read_bytes(), Context(active(), Watched(say=said.append))
    for change, messages in (({}, 0), ({"spectra_mode": "train"}, 1)):
        measured: Any = {**(run.features or {}), **change}
        monkeypatch.setattr(of_run, "measure_run", lambda *_, measured=measured: measured)
        assert of_run.write_features(run, run.config, context, locked=False).features == measured
        assert (file.read_bytes(), len(said)) == (before, messages)
