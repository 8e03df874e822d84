"""The fingerprint: how firmly results are compared, and what it says that can be computed again."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro import models
from in4310repro.fingerprint import Fingerprint
from in4310repro.numerics import Numerics, native_class
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.tensors import tensors_sha256


def requires_bits(recorded: Fingerprint, numerics: Numerics) -> bool:
    """Whether the bits of what is computed here must be those of what was recorded.

    In portable arithmetic always, whatever class a fingerprint names: its bits are the same on every machine, so there
    is nothing that another class could excuse. In native arithmetic within one numeric class.
    """
    both_portable = numerics.portable and recorded["numerics"] == "portable"
    return both_portable or recorded["numeric_class"] == numerics.numeric_class


def fingerprint_differences(run: FinishedRun, numerics: Numerics) -> Iterator[str]:
    """What fingerprint.json says otherwise than the configuration, its own probe, this arithmetic, and the seed."""
    file, recorded = run.folder / names.FINGERPRINT, run.fingerprint
    mode, asked = recorded["numerics"], run.config.numerics
    if asked not in ("auto", mode):
        yield f"{file}: numerics is {mode}; {names.CONFIG} has {asked}"
    yield from _class_differences(f"{file}", recorded, numerics)
    yield from _start_differences(f"{file}", run, recorded.get("initial_weights_sha256"))


def _start_differences(place: str, run: FinishedRun, sha256: str | None) -> Iterator[str]:
    """Whether the weights before the first step are those that the configuration says, as far as these are at hand."""
    config, classes = run.config, len(run.classes)
    drawn = tensors_sha256(models.build(config.model, classes, config.seed).state_dict())
    if config.weights == "none":
        if sha256 != drawn:
            yield f"{place}: initial_weights_sha256 is {sha256}; the weights that seed {config.seed} draws have {drawn}"
    elif sha256 == drawn:
        yield f"{place}: the initial weights are those that seed {config.seed} draws, not {config.weights} weights"
    elif models.at_hand(config.model, config.weights):
        try:
            initial = models.build(config.model, classes, config.seed, config.weights)
            now = tensors_sha256(initial.state_dict())
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
            f"({numerics.numeric_class} on every machine); the run names in4310repro {version}"
        )
