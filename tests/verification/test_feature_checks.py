"""Verification of feature maps: every number in features.json is measured again."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro.runs.deviations import parse
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.verification.checks import Verification
from in4310repro.verification.evidence import Evidence
from in4310repro.verification.feature_checks import absent_sets, feature_differences, feature_tier, module_differences
from tests.builders import inside_json
from tests.forgeries.measured import claim_native
from tests.verification.given import evidence_of


@pytest.fixture(scope="module")
def evidence(finished_run: Path, numerics: Numerics) -> Evidence:
    return Evidence(finished_run, Context(numerics))


def with_features(evidence: Evidence, change: Callable[[Any], object], **known: Any) -> Evidence:
    """Return evidence of the same run with changed feature statistics in its record."""
    features = copy.deepcopy(evidence.run.features)
    change(features)
    given = {"measured_network": evidence.measured_network, "feature_sets": evidence.feature_sets} | known
    return evidence_of(replace(evidence.run, features=features), evidence.context.numerics, **given)


CHANGES: list[tuple[str, Any]] = [
    ("network", "resnet18 with imagenet weights, not fine-tuned"),
    ("spectra_mode", "train"),
    ("sets/0/name", "validation"),
    ("sets/1/images", 13),
    ("sets/0/pooled_images", 24),
    ("sets/2/modules/conv1/non_positive", 0.5),
    ("sets/0/modules/conv1/non_positive", lambda share: math.nextafter(share, 1)),
    ("sets/1/modules/layer4.1.conv1/non_finite", 1),
    ("sets/0/modules/conv1/channels", 7),
    ("sets/2/modules/layer4.1.conv1/eigenvalues/14", 1e-5),
    ("sets/1/modules/conv1/eigenvalues", [1.0]),
    ("sets/0/modules/conv1/activations/quantiles/0.5", 1e-3),
    ("sets/0/modules/layer1.1.conv1/activations/powers_of_two/2^-3", 7),
    ("sets/1/modules/conv1/activations/never_positive", [6]),
    ("sets/2/modules/conv1/activations/top_images", []),
]


def test_every_invented_number_of_the_feature_maps_is_found(evidence: Evidence) -> None:
    def forge(features: Any) -> None:
        for place, value in CHANGES:
            inner, key = inside_json(features, place)
            inner[key] = value(inner[key]) if callable(value) else value

    sentences = [*map(str, feature_differences(with_features(evidence, forge)))]
    named = ["network", "spectra_mode", *(place.replace("/", ".") for place, _ in CHANGES[2:])]
    for place in named:
        *_, key = place.rsplit(".", 2 if place.endswith("eigenvalues.14") else 1)
        assert any(key in each for each in sentences), place
    assert len(sentences) == len(CHANGES)
    assert all(each.startswith(f"{evidence.run.folder / 'features.json'}: ") for each in sentences)


def test_a_set_whose_folder_is_not_there_is_claimed_and_its_neighbours_are_measured(evidence: Evidence) -> None:
    def call_imagenet(features: Any) -> None:
        features["sets"][1]["name"] = "ImageNet"

    run = with_features(evidence, call_imagenet).run
    decoded = {"test": evidence.images("test")}
    assert absent_sets(evidence_of(run, evidence.context.numerics, decoded=decoded)) == ("ImageNet",)
    other = with_features(evidence, lambda features: features["sets"][2].update(name="CIFAR-10")).run
    assert absent_sets(evidence_of(other, evidence.context.numerics, decoded=decoded)) == ("CIFAR-10",)
    assert evidence_of(replace(run, features=None), evidence.context.numerics).feature_sets == []
    pooled = replace(run, config=replace(run.config, protocol=parse("accumulator-not-reset")))
    third = run.features["sets"][2]["name"] if run.features else ""
    assert absent_sets(evidence_of(pooled, evidence.context.numerics, decoded=decoded)) == ("ImageNet", third)
    listed = [claim.what for claim in Verification.expected(run).claimed]
    assert listed[-1] == "the feature maps of ImageNet, whose folder is unavailable"
    assert Verification.expected(evidence.run).claimed == [
        claim for claim in Verification.expected(run).claimed if "ImageNet" not in claim.what
    ]


def test_weights_from_elsewhere_leave_claims_that_drawn_ones_do_not(evidence: Evidence) -> None:
    run = evidence.run
    drawn = Verification.expected(run)
    pretrained = Verification.expected(replace(run, config=replace(run.config, weights="imagenet")))
    of_drawn = {"the initial weights from the seed", "the feature maps"}
    assert set(drawn.computed_again) - set(pretrained.computed_again) == of_drawn
    assert len(pretrained.claimed) == len(drawn.claimed) + 2
    # A set that is absent is one of the feature maps, which are a claim as a whole.
    assert replace(pretrained, absent=("ImageNet",)).claimed == pretrained.claimed


def test_a_weaker_comparison_of_feature_maps_is_said(evidence: Evidence) -> None:
    run, numerics = evidence.run, evidence.context.numerics
    assert run.features is not None
    assert feature_tier(run.features, numerics) == feature_tier(None, numerics) == ""
    fast = copy.deepcopy(run.features) | {"precision": "fast"}
    assert "within 1e-06 of the largest eigenvalue" in feature_tier(fast, numerics)
    other = replace(numerics, mode="native", numeric_class="another")
    assert "within 0.0001" in feature_tier(run.features, other)


def test_an_image_set_has_one_of_the_names_that_tell_what_it_is(evidence: Evidence) -> None:
    def rename(features: Any) -> None:
        features["sets"][1]["name"] = "ImageNet, all of it"

    (sentence,) = map(str, feature_differences(with_features(evidence, rename, measured_network=None)))
    assert "sets.1.name is ImageNet, all of it" in sentence
    assert "scikit-learn photographs or ImageNet" in sentence


@pytest.mark.parametrize(("moved", "named"), [(3, set()), (4, {"non_positive", "powers_of_two"})])
def test_other_arithmetic_may_bring_three_values_of_a_small_layer_across_a_border(
    moved: int, named: set[str], evidence: Evidence
) -> None:
    def move(features: Any) -> None:
        claim_native(features["fingerprint"])
        module = features["sets"][0]["modules"]["layer4.1.conv1"]
        counts = module["activations"]["powers_of_two"]
        values = sum(counts.values())
        assert values < 1e4  # 1e-4 of them are less than one
        module["non_positive"] += moved / values
        counts["2^-2"] += moved
        counts["2^-3"] -= moved

    found = [*map(str, feature_differences(with_features(evidence, move)))]
    assert len(found) == len(named)
    assert all(any(name in sentence for sentence in found) for name in named)


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
        (activations(powers_of_two={"-2^1": 3997, "2^0": 16003}, never_positive=[], top_images=[]), []),
        (activations(quantiles={"0.01": -2.07, "0.5": 1e-6, "0.99": 0.9}), ["quantiles.0.01", "quantiles.0.99"]),
        (activations(quantiles={"0.01": -2.0, "0.5": 3e-4, "0.99": 1.0}), ["quantiles.0.5"]),
        (activations(quantiles={"0.01": -2.0, "0.99": 1.0}), ["quantiles.0.5"]),
        (activations(powers_of_two={"-2^1": 3996, "2^0": 16004}), ["powers_of_two"]),
    ],
)
def test_other_arithmetic_moves_values_into_the_next_bin_and_no_further(saved: Any, named: list[str]) -> None:
    def differences(saved: Any, bitwise: bool) -> list[str]:
        module: Any = {"eigenvalues": [1.0], "non_positive": 0.5}
        theirs, ours = (module | {"activations": each} for each in (saved, OURS))
        return [*module_differences("here", theirs, ours, "exact", bitwise)]

    sentences = differences(saved, False)
    assert [each.split(" is ")[0].removeprefix("here: activations.").split(".-")[0] for each in sentences] == named
    assert differences(OURS, False) == []
    assert differences(saved, True) != []
