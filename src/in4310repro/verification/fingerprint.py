"""Check of fingerprint.json: the entries that can be recomputed."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro.runs import names
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.numerics import Numerics, native_class
from in4310repro.system.tensors import tensors_sha256
from in4310repro.verification.evidence import Evidence


def fingerprint_differences(evidence: Evidence) -> Iterator[str]:
    """Yield a message for each entry of fingerprint.json that contradicts the configuration or a recomputed value.

    The hash of the weights before the first step is compared if these weights are available.
    """
    run = evidence.run
    file, recorded, asked = run.folder / names.FINGERPRINT, run.fingerprint, run.config.numerics
    if asked not in ("auto", recorded["numerics"]):
        yield f"{file}: numerics is {recorded['numerics']}; {names.CONFIG} has {asked}"
    yield from _class_differences(f"{file}", recorded, evidence.context.numerics)
    yield from _start_differences(f"{file}", evidence)


def _start_differences(place: str, evidence: Evidence) -> Iterator[str]:
    config, sha256 = evidence.run.config, evidence.run.fingerprint.get("initial_weights_sha256")
    drawn = tensors_sha256(evidence.drawn_network.state_dict())
    if config.weights == "none":
        if sha256 != drawn:
            yield f"{place}: initial_weights_sha256 is {sha256}; the weights that seed {config.seed} draws have {drawn}"
    elif sha256 == drawn:
        yield f"{place}: the initial weights are those that seed {config.seed} draws, not {config.weights} weights"
    elif evidence.start_at_hand:
        try:
            now = tensors_sha256(evidence.initial_network.state_dict())
        except ValueError as error:
            yield str(error)
            return
        if sha256 != now:
            yield f"{place}: initial_weights_sha256 is {sha256}; {config.weights} weights that are here have {now}"


def _class_differences(place: str, recorded: Fingerprint, numerics: Numerics) -> Iterator[str]:
    named = recorded["numeric_class"]
    if recorded["numerics"] == "native":
        computed = native_class(recorded["probe"], recorded.get("threads", 0), recorded["device_name"])
        if named != computed:
            yield f"{place}: numeric_class is {named}; its probe, threads and device make {computed}"
    elif numerics.portable and (named, recorded["probe"]) != (numerics.numeric_class, numerics.probe):
        version = recorded["versions"].get("in4310repro", "another version")
        yield (
            f"{place}: numeric_class and probe ({named}) are not those of portable arithmetic "
            f"({numerics.numeric_class} in this version); the run names in4310repro {version}"
        )
