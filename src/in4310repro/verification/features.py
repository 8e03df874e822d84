"""Check of the feature maps: features.json, measured again on every available image set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from in4310repro.data import comparison
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.features.activations import RELATIVE_ERROR
from in4310repro.runs import names
from in4310repro.runs.config import Config
from in4310repro.runs.records import ActivationFeatures, FeatureMaps, ImageSetFeatures, ModuleFeatures
from in4310repro.system.numerics import Numerics
from in4310repro.system.schema import differences
from in4310repro.verification.check import Finding
from in4310repro.verification.evidence import Evidence, requires_bits
from in4310repro.verification.files import class_differences
from in4310repro.verification.records import sentence

# Of the largest eigenvalue. LAPACK's last bits depend on its version and the processor, 1e-12 (as in the golden
# files); what the covariance is summed in makes the rest.
SPECTRUM_TOLERANCE = {"exact": 1e-11, "fast": 1e-6}
# Of the sets beside the test images, by position.
SET_NAMES = {1: (comparison.PHOTOGRAPHS, comparison.IMAGENET), 2: (comparison.DIGITS, comparison.CIFAR10)}
# Where the activations themselves may have other bits: of the share of values, and of the largest eigenvalue.
SHARE_TOLERANCE, OTHER_SPECTRUM_TOLERANCE = 1e-4, 1e-4
# A value beside a border may come onto its other side by a last bit, in a small layer, too. That needs a value within
# about 1e-6 of a border, so that four of a few thousand values do it by no chance.
FEW_VALUES = 3
# A value beside the border of a bin may come into the next one, whose middle is a 32nd further; of the value.
NEXT_BIN = 2 * RELATIVE_ERROR


def feature_tier(features: FeatureMaps | None, numerics: Numerics) -> str:
    """Return a phrase that says how closely newly measured feature maps must agree with the recorded ones.

    The phrase is empty if no feature maps are recorded. It is also empty if all values must be equal, apart from
    the last bits of eigenvalues. The tolerance depends on the precision and arithmetic of the recorded feature
    maps, which may differ from those of the run.
    """
    if features is None:
        return ""
    if not requires_bits(features["fingerprint"], numerics):
        return (
            f" within {SHARE_TOLERANCE:g}, which their arithmetic leaves open, but for silent channels and top images"
        )
    tolerance = SPECTRUM_TOLERANCE[features["precision"]]
    if features["precision"] != "exact":
        return f" within {tolerance:g} of the largest eigenvalue, which their precision leaves open"
    return ""


def feature_differences(evidence: Evidence) -> Iterator[Finding]:
    """Yield a message for each value of features.json that differs from the one measured again.

    If equal bits are required, all values must be equal, except that eigenvalues may differ by up to
    `SPECTRUM_TOLERANCE`. Otherwise the tolerances are wider, and silent channels and top images
    are not compared. Image sets that are unavailable are not measured. If the network's weights are
    unavailable, only the network's name and mode and the names of the image sets are checked.

    Raises:
        ValueError: the statistics cannot be computed, for example because an activation is not finite.
    """
    run, features = evidence.run, evidence.run.features
    if features is None:
        return
    place, config = f"{run.folder / names.FEATURES}", replace(run.config, precision=features["precision"])
    yield from class_differences(f"{place}: fingerprint", features["fingerprint"], evidence.context.numerics)
    for position, valid in SET_NAMES.items():
        if (name := features["sets"][position]["name"]) not in valid:
            yield f"{place}: sets.{position}.name is {name}; expected {' or '.join(valid)}"
    needed = {"network": of_run.network_name(run), "spectra_mode": config.protocol.batch_norm_mode}
    for key, value in needed.items():
        if features[key] != value:  # type: ignore[literal-required]
            yield sentence(place, key, features[key], value)  # type: ignore[literal-required]
    model, sets = evidence.measured_network, dict(enumerate(evidence.feature_sets))
    if model is None:
        return
    bitwise = requires_bits(features["fingerprint"], evidence.context.numerics)
    at_hand = {position: images for position, images in sets.items() if images is not None}
    measured = of_run.measure_sets(model, list(at_hand.values()), config, evidence.context)
    for position, record in zip(at_hand, measured, strict=True):
        yield from _set_differences(f"{place}: sets.{position}", features["sets"][position], record, config, bitwise)


def absent_sets(evidence: Evidence) -> tuple[str, ...]:
    """Return the names of the recorded image sets whose images are unavailable."""
    if evidence.run.features is None:
        return ()
    named = zip(evidence.run.features["sets"], evidence.feature_sets, strict=True)
    return tuple(record["name"] for record, images in named if images is None)


def _set_differences(
    place: str, saved: ImageSetFeatures, measured: ImageSetFeatures, config: Config, bitwise: bool
) -> Iterator[str]:
    for key in ("name", "images", "pooled_images"):
        if saved.get(key) != measured.get(key):
            yield sentence(place, key, saved.get(key), measured.get(key))
    for name in config.modules:
        pair = saved["modules"][name], measured["modules"][name]
        yield from _module_differences(f"{place}.modules.{name}", *pair, config.precision, bitwise)


def _module_differences(
    place: str, saved: ModuleFeatures, measured: ModuleFeatures, precision: str, bitwise: bool
) -> Iterator[str]:
    for key in ("non_finite", "channels"):
        if saved[key] != measured[key]:
            yield sentence(place, key, saved[key], measured[key])
    count = sum(measured["activations"]["powers_of_two"].values())
    tolerance = 0.0 if bitwise else _movable(count) / max(count, 1)
    if not math.isclose(saved["non_positive"], measured["non_positive"], rel_tol=0, abs_tol=tolerance):
        yield sentence(place, "non_positive", saved["non_positive"], measured["non_positive"])
    values, now = saved["eigenvalues"], measured["eigenvalues"]
    tolerance = (SPECTRUM_TOLERANCE[precision] if bitwise else OTHER_SPECTRUM_TOLERANCE) * max(now, default=0.0)
    close = [abs(value - other) <= tolerance for value, other in zip(values, now, strict=False)]
    if len(values) != len(now):
        yield sentence(place, "eigenvalues", len(values), len(now))
    elif not all(close):
        worst = close.index(False)
        yield sentence(place, f"eigenvalues.{worst}", values[worst], now[worst])
    # Records of earlier versions have none, and claim none.
    if "activations" in saved:
        yield from activation_differences(
            f"{place}.activations", saved["activations"], measured["activations"], bitwise
        )


def _movable(count: int) -> float:
    return max(SHARE_TOLERANCE * count, FEW_VALUES)


def activation_differences(
    place: str, saved: ActivationFeatures, measured: ActivationFeatures, bitwise: bool
) -> Iterator[str]:
    """Yield a message for each difference between the saved and the measured activation statistics of a module.

    If `bitwise`, every value must be equal. Otherwise quantiles and counts are compared within tolerances, and channels
    and images are not compared.
    """
    if bitwise:
        for difference in differences(saved, measured):
            yield sentence(place, difference.path, difference.first, difference.second)
        return
    values, now = saved["quantiles"], measured["quantiles"]
    slack = SHARE_TOLERANCE * max(map(abs, now.values()))
    for share in dict.fromkeys([*values, *now]):
        value, other = values.get(share), now.get(share)
        if value is None or other is None or abs(value - other) > NEXT_BIN * max(abs(value), abs(other)) + slack:
            yield sentence(place, f"quantiles.{share}", value, other)
    counts, counts_now = saved["powers_of_two"], measured["powers_of_two"]
    moved = sum(abs(counts.get(each, 0) - counts_now.get(each, 0)) for each in {*counts, *counts_now})
    if moved > 2 * _movable(sum(counts_now.values())):  # a value that moves is missing in one bin and new in another
        yield sentence(place, "powers_of_two", counts, counts_now)
