"""The fingerprint of a process: everything that could explain different results."""

import torch

from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics


def test_the_fingerprint_names_versions_processor_arithmetic_and_source(numerics: Numerics) -> None:
    recorded = fingerprint(numerics)
    assert recorded["versions"]["torch"] == torch.__version__
    assert recorded["numeric_class"] == numerics.numeric_class
    assert recorded["processor"]
    assert set(recorded["git"]) == {"commit", "dirty"}
