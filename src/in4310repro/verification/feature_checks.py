"""Check of the feature maps: features.json, measured again on every available image set."""

from collections.abc import Iterator
from dataclasses import replace

from in4310repro.data import references
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.features.activations import RELATIVE_ERROR
from in4310repro.runs import names, record_types
from in4310repro.system.numerics import Numerics
from in4310repro.verification.evidence import Evidence, Finding, requires_bits
from in4310repro.verification.file_checks import class_differences
from in4310repro.verification.results import around, contradictions

# Shares of the largest eigenvalue. LAPACK's last bits depend on its version and the processor, 1e-12 (as in the golden
# files); the rest is the precision in which the covariance is summed.
SPECTRUM_TOLERANCE = {"exact": 1e-11, "fast": 1e-6}
# Names of the image sets beside the test images, by position.
SET_NAMES = {1: (references.PHOTOGRAPHS, references.IMAGENET), 2: (references.DIGITS, references.CIFAR10)}
# Used where the activations themselves may have other bits: a share of the values, and of the largest eigenvalue.
SHARE_TOLERANCE, OTHER_SPECTRUM_TOLERANCE = 1e-4, 1e-4
# A difference in the last bit can move a value across a border, also in a small layer. Only values within about 1e-6
# of a border can move, so four among a few thousand are too many for chance.
FEW_VALUES = 3
# A quantile at the border of a bin may move into the next bin, whose middle is 1/32 of the value further.
NEXT_BIN = 2 * RELATIVE_ERROR


def feature_tier(features: record_types.FeatureMaps | None, numerics: Numerics) -> str:
    """Return a phrase that says how closely newly measured feature maps must agree with the recorded ones.

    The phrase is empty if no feature maps are recorded. It is also empty if all values must be equal, apart from
    the last bits of eigenvalues. The tolerance depends on the precision and arithmetic of the recorded feature
    maps, which may differ from those of the run.
    """
    if features and not requires_bits(features["fingerprint"], numerics):
        open_to = "which their arithmetic leaves open, but for silent channels and top images"
        return f" within {SHARE_TOLERANCE:g}, {open_to}"
    if features is None or features["precision"] == "exact":
        return ""
    open_to = "of the largest eigenvalue, which their precision leaves open"
    return f" within {SPECTRUM_TOLERANCE[features['precision']]:g} {open_to}"


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
    yield from contradictions(place, features, {**features, **needed})
    if (model := evidence.measured_network) is None:
        return
    bitwise = requires_bits(features["fingerprint"], evidence.context.numerics)
    at_hand = {position: images for position, images in enumerate(evidence.feature_sets) if images is not None}
    measured = of_run.measure_sets(model, list(at_hand.values()), config, evidence.context)
    for position, now in zip(at_hand, measured, strict=True):
        saved, of_set = features["sets"][position], f"{place}: sets.{position}"
        yield from contradictions(of_set, saved, now, {"modules": None})
        for name in config.modules:
            modules = saved["modules"][name], now["modules"][name]
            yield from module_differences(f"{of_set}.modules.{name}", *modules, config.precision, bitwise)


def absent_sets(evidence: Evidence) -> tuple[str, ...]:
    """Return the names of the recorded image sets whose images are unavailable."""
    recorded = evidence.run.features["sets"] if evidence.run.features else []
    named = zip(recorded, evidence.feature_sets, strict=True)
    return tuple(record["name"] for record, images in named if images is None)


def module_differences(
    place: str, saved: record_types.ModuleFeatures, now: record_types.ModuleFeatures, precision: str, bitwise: bool
) -> Iterator[str]:
    """Yield a message for each difference between the saved and the measured statistics of a module.

    If `bitwise`, every value but the eigenvalues must be equal. Otherwise quantiles and counts are compared within
    tolerances, and channels and images are not compared.
    """
    allowed = (SPECTRUM_TOLERANCE[precision] if bitwise else OTHER_SPECTRUM_TOLERANCE) * max(now["eigenvalues"])
    rules = {f"eigenvalues.{n}": around(value, allowed) for n, value in enumerate(now["eigenvalues"])}
    # Records of earlier versions have no activations, so there is nothing to compare.
    before, ours = saved.get("activations", now["activations"]), now["activations"]
    if not bitwise:
        then, counts, quantiles = before["powers_of_two"], ours["powers_of_two"], ours["quantiles"]
        movable = max(SHARE_TOLERANCE * sum(counts.values()), FEW_VALUES)
        rules["non_positive"] = around(now["non_positive"], movable / sum(counts.values()))
        slack = SHARE_TOLERANCE * max(map(abs, quantiles.values()))
        for share, value in quantiles.items():
            widest = max(abs(value), abs(before["quantiles"].get(share, value)))
            rules[f"activations.quantiles.{share}"] = around(value, NEXT_BIN * widest + slack)
        # A value that moves is missing in one bin and new in another.
        if sum(abs(then.get(each, 0) - counts.get(each, 0)) for each in {*then, *counts}) > 2 * movable:
            saved_counts, now_counts = ({"activations.powers_of_two": f"{each}"} for each in (then, counts))
            yield from contradictions(place, saved_counts, now_counts)
        rules |= dict.fromkeys(f"activations.{each}" for each in ("powers_of_two", "never_positive", "top_images"))
    yield from contradictions(place, {**saved, "activations": before}, now, rules)
