"""The feature maps: every number of features.json is measured again."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from in4310repro.data.images import ImageSet
from in4310repro.deviations import parse
from in4310repro.numerics import Numerics
from in4310repro.progress import SILENT
from in4310repro.runs.finished import FinishedRun
from in4310repro.verification.claims import claimed, proven
from in4310repro.verification.features import (
    _activation_differences,
    available_sets,
    feature_differences,
    feature_tier,
)
from tests.builders import inside_json

Again = tuple[FinishedRun, torch.nn.Module, list[ImageSet | None]]


@pytest.fixture(scope="module")
def again(finished_run: Path, numerics: Numerics) -> Again:
    run = FinishedRun.open(finished_run)
    assert run.features is not None
    sets = available_sets(run, run.features, run.test_images(None, SILENT))
    return run, numerics.place(run.selected_network()), sets


CHANGES: list[tuple[str, Any]] = [
    ("network", "resnet18 with imagenet weights, not fine-tuned"),
    ("spectra_mode", "train"),
    ("sets/0/name", "validation"),
    ("sets/1/images", 13),
    ("sets/0/pooled_images", 24),
    ("sets/2/modules/conv1/non_positive", 0.5),
    ("sets/1/modules/layer4.1.conv1/non_finite", 1),
    ("sets/0/modules/conv1/channels", 63),
    ("sets/2/modules/conv1/eigenvalues/14", 1e-5),
    ("sets/1/modules/conv1/eigenvalues", [1.0]),
    ("sets/0/modules/conv1/activations/quantiles/0.5", 1e-3),
    ("sets/0/modules/layer1.1.conv1/activations/powers_of_two/2^-3", 7),
    ("sets/1/modules/conv1/activations/never_positive", [63]),
    ("sets/2/modules/conv1/activations/top_images", []),
]


def test_every_invented_number_of_the_feature_maps_is_found(again: Again, numerics: Numerics) -> None:
    run, model, sets = again
    assert run.features is not None
    forged = copy.deepcopy(run.features)
    for place, value in CHANGES:
        inner, key = inside_json(forged, place)
        inner[key] = value
    sentences = [*feature_differences(run, forged, model, sets, numerics, SILENT)]
    named = ["network", "spectra_mode", *(place.replace("/", ".") for place, _ in CHANGES[2:])]
    for place in named:
        *_, key = place.rsplit(".", 2 if place.endswith("eigenvalues.14") else 1)
        assert any(key in each for each in sentences), place
    assert len(sentences) == len(CHANGES)


def test_a_set_whose_folder_is_not_there_is_claimed_and_its_neighbours_are_measured(again: Again) -> None:
    run, *_ = again
    assert run.features is not None
    features = copy.deepcopy(run.features)
    features["sets"][1]["name"] = "ImageNet"
    test = run.test_images(None, SILENT)
    assert [each is None for each in available_sets(run, features, test)] == [False, True, False]
    pooled = replace(run, config=replace(run.config, protocol=parse("accumulator-not-reset")))
    assert [each is None for each in available_sets(pooled, features, test)] == [False, True, True]
    last = claimed(run, ["ImageNet"])[-1]
    assert last.what == "the feature maps of ImageNet, whose folder is not at hand"
    assert claimed(run, []) == claimed(run)


def test_weights_from_elsewhere_leave_claims_that_drawn_ones_do_not(again: Again) -> None:
    run, *_ = again
    pretrained = replace(run, config=replace(run.config, weights="imagenet"))
    of_drawn = {"the initial weights from the seed", "the feature maps"}
    assert set(proven(run)) - set(proven(pretrained)) == of_drawn
    assert len(claimed(pretrained)) == len(claimed(run)) + 2


def test_a_weaker_comparison_of_feature_maps_is_said(again: Again, numerics: Numerics) -> None:
    run, *_ = again
    assert run.features is not None
    assert feature_tier(run.features, numerics) == feature_tier(None, numerics) == ""
    fast = copy.deepcopy(run.features) | {"precision": "fast"}
    assert "within 1e-06 of the largest eigenvalue" in feature_tier(fast, numerics)
    other = replace(numerics, mode="native", numeric_class="another")
    assert feature_tier(run.features, other) == (
        " within 0.0001, which their arithmetic leaves open, but for silent channels and top images"
    )


def test_an_image_set_has_one_of_the_names_that_tell_what_it_is(again: Again, numerics: Numerics) -> None:
    run, _, sets = again
    assert run.features is not None
    forged = copy.deepcopy(run.features)
    forged["sets"][1]["name"] = "ImageNet, all of it"
    sentences = [*feature_differences(run, forged, None, sets, numerics, SILENT)]
    assert sentences == [
        f"{run.folder / 'features.json'}: sets.1.name is ImageNet, all of it; "
        "scikit-learn photographs or ImageNet is valid"
    ]


OURS: Any = {
    "quantiles": {"0.01": -2.0, "0.5": 1e-6, "0.99": 1.0},
    "powers_of_two": {"-2^1": 4000, "2^0": 16000},
    "never_positive": [3],
    "top_images": [{"channel": 1, "images": ["a"], "responses": [1.0]}],
}


def activations(**changed: Any) -> Any:
    return copy.deepcopy(OURS) | changed


@pytest.mark.parametrize(
    ("saved", "named"),
    [
        (activations(quantiles={"0.01": -2.06, "0.5": -1e-4, "0.99": 1.03}), []),
        (activations(powers_of_two={"-2^1": 3999, "2^0": 16001}, never_positive=[], top_images=[]), []),
        (activations(quantiles={"0.01": -2.07, "0.5": 1e-6, "0.99": 0.9}), ["quantiles.0.01", "quantiles.0.99"]),
        (activations(quantiles={"0.01": -2.0, "0.5": 3e-4, "0.99": 1.0}), ["quantiles.0.5"]),
        (activations(quantiles={"0.01": -2.0, "0.99": 1.0}), ["quantiles.0.5"]),
        (activations(powers_of_two={"-2^1": 3997, "2^0": 16003}), ["powers_of_two"]),
    ],
)
def test_other_arithmetic_moves_values_into_the_next_bin_and_no_further(saved: Any, named: list[str]) -> None:
    sentences = [*_activation_differences("here", saved, OURS, False)]
    assert [sentence.split(" is ")[0].removeprefix("here: ").split(".-")[0] for sentence in sentences] == named
    assert [*_activation_differences("here", OURS, OURS, False)] == []
    assert [*_activation_differences("here", saved, OURS, True)] != []
