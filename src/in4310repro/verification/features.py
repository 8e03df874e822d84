"""Check of the feature maps: features.json, measured again on every available image set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from in4310repro.data import comparison
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.features.activations import RELATIVE_ERROR
from in4310repro.runs import names
from in4310repro.runs.config import Config
from in4310repro.runs.records import ActivationFeatures, FeatureMaps, ImageSetFeatures
from in4310repro.system.numerics import Numerics
from in4310repro.system.schema import Rule
from in4310repro.verification.check import Finding
from in4310repro.verification.evidence import Evidence, requires_bits
from in4310repro.verification.files import class_differences
from in4310repro.verification.records import EXACT, contradictions, ignored, within

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
    yield from contradictions(place, {key: features[key] for key in needed}, needed)  # type: ignore[literal-required]
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
    yield from contradictions(place, saved, measured, {"modules": ignored})
    for name in config.modules:
        module, now = saved["modules"][name], measured["modules"][name]
        largest = max(now["eigenvalues"], default=0.0)
        spectrum = within((SPECTRUM_TOLERANCE[config.precision] if bitwise else OTHER_SPECTRUM_TOLERANCE) * largest)
        rules = {"activations": ignored} | {f"eigenvalues.{n}": spectrum for n in range(len(now["eigenvalues"]))}
        if not bitwise:
            count = sum(now["activations"]["powers_of_two"].values())
            rules["non_positive"] = within(_movable(count) / max(count, 1))
        yield from contradictions(f"{place}.modules.{name}", module, now, rules)
        # Records of earlier versions have none, and claim none.
        if "activations" in module:
            inner = (
                module["activations"],
                now["activations"],
                EXACT if bitwise else activation_rules(now["activations"]),
            )
            yield from contradictions(f"{place}.modules.{name}.activations", *inner)


def _movable(count: int) -> float:
    return max(SHARE_TOLERANCE * count, FEW_VALUES)


def activation_rules(measured: ActivationFeatures) -> dict[str, Rule]:
    """Return how a module's activation statistics may differ in another arithmetic; channels and images may."""
    slack = SHARE_TOLERANCE * max(map(abs, measured["quantiles"].values()))

    def near(saved: float | None, now: float | None) -> bool:
        if saved is None or now is None:
            return False
        return abs(saved - now) <= NEXT_BIN * max(abs(saved), abs(now)) + slack

    def same_bins(saved: Mapping[str, int], now: Mapping[str, int]) -> bool:
        # A value that moves is missing in one bin and new in another.
        moved = sum(abs(saved.get(each, 0) - now.get(each, 0)) for each in {*saved, *now})
        return moved <= 2 * _movable(sum(now.values()))

    quantiles = {f"quantiles.{share}": near for share in measured["quantiles"]}
    return {**quantiles, "powers_of_two": same_bins, "never_positive": ignored, "top_images": ignored}
