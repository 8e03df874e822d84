"""The sentences of `nox -s portability` on processors that compute other bits."""

from pathlib import Path

from benchmarks.portability import CONTROL, SMALL, Hashes, describe_differences
from tests.trace.recording import batches, record

TRAINED = f"training with {SMALL.settings[0].optimizer}"


def test_the_first_tensor_of_a_stage_that_trains_and_of_the_control_is_named(tmp_path: Path) -> None:
    places: dict[str, Hashes] = {}
    for place, seed in (("here 1", 0), ("equal", 0), ("other", 1)):
        (tmp_path / place).mkdir()
        for name in (SMALL.settings[0].name, "control"):
            record(tmp_path / place / f"{name}.trace", read=batches(1, seed))
        places[place] = {"scenes": {"sea": "0"}, TRAINED: {"fc.weight": str(seed)}, CONTROL: {"gradient": str(seed)}}
    trained, control = describe_differences(places, tmp_path)
    assert trained.startswith(f"other differs first in {TRAINED}, fc.weight: First difference: step 0, ")
    assert control.startswith(f"other differs in {CONTROL}: First difference: step 0, ")


def test_a_stage_without_a_training_has_no_tensor(tmp_path: Path) -> None:
    places: dict[str, Hashes] = {
        place: {"scenes": {"sea": digest}, CONTROL: {"gradient": "0"}}
        for place, digest in (("here 1", "0"), ("a", "1"))
    }
    assert list(describe_differences(places, tmp_path)) == ["a differs first in scenes, sea"]
