"""Sizes too large for this machine's memory are rejected with the memory needed, before any work."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from in4310repro import models
from in4310repro.data.cache import cache_folder
from in4310repro.system import machine
from tests.conftest import Call, refused

HERE = machine.memory() or 0
needs_a_limit = pytest.mark.skipif(not 0 < HERE < 400e9, reason="memory that is unknown, or enough for what is refused")


@needs_a_limit
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            ("train", "--preset", "tiny", "--image-size", "16384"),
            (
                "batch_size 8 at image_size 16384 takes at least 859 GB of memory, and this machine has "
                f"{machine.size_text(HERE)}",
            ),
        ),
        (("train", "--preset", "tiny", "--batch-size", "1048576"), ("batch_size 1048576 at image_size 32",)),
        (("train", "--preset", "tiny", "--scenes", "9999999"), ("9999999 scenes of each class at image_size 32",)),
        (("train", "--preset", "tiny", "--epochs", "1" + 20 * "0"), ("epochs is 1", "it must be at most 1000000")),
        (("data", "scenes", "new", "--images", "9999999", "--image-size", "16384"), ("TB below new, where",)),
        (("data", "scenes", "new", "--images", "1" + 12 * "0"), ("--images",)),
    ],
    ids=["image-size", "batch-size", "scenes", "epochs", "images", "images-beyond-range"],
)
def test_what_does_not_fit_is_one_line(
    words: tuple[str, ...], parts: tuple[str, ...], call: Call, tmp_path: Path
) -> None:
    before = sorted(cache_folder().rglob("*"))
    refused(call, words, *parts)
    assert list(tmp_path.iterdir()) == []
    assert sorted(cache_folder().rglob("*")) == before


@needs_a_limit
def test_a_batch_of_feature_maps_that_does_not_fit_is_one_line(call: Call, tmp_path: Path) -> None:
    words = ("features", "--data", str(tmp_path), "--out", "x.json", "--image-size", "16384", "--device", "cpu")
    refused(call, words, "--batch-size 16 at --image-size 16384 takes at least 429 GB of memory")


def test_memory_of_mapped_files_grows_by_the_bytes_that_are_read(tmp_path: Path) -> None:
    before = machine.resident("RssFile")
    if before is None:
        pytest.skip("only Linux says the memory of mapped files")
    (tmp_path / "file").write_bytes(bytes(2**26))
    values = np.memmap(tmp_path / "file", np.uint8, "r")
    unread = machine.resident("RssFile") or 0
    assert values.sum() == 0
    read = machine.resident("RssFile") or 0
    assert unread - before < 2**24
    assert abs(read - unread - 2**26) < 2**24


def test_memory_of_mapped_files_is_unknown_where_the_system_does_not_say_it(tmp_path: Path) -> None:
    assert machine.resident("RssFile", tmp_path / "none") is None
    (tmp_path / "status").write_text("Name:\tpython\n")
    assert machine.resident("RssFile", tmp_path / "status") is None


def test_a_training_keeps_more_for_its_gradients_than_it_is_refused_for() -> None:
    model = models.build("resnet18", 6, seed=0).train()
    weights = {value.untyped_storage().data_ptr() for value in model.state_dict().values()}
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        logits = model(torch.zeros(2, 3, 64, 64))
    del logits
    # And as much again, or near it, for the gradients of what is kept.
    assert sum(kept.values()) / (2 * 64**2) > machine.TRAINING_BYTES / 2


def test_the_memory_of_a_container_counts(tmp_path: Path) -> None:
    if machine.memory() is None:
        pytest.skip("this system does not tell its memory")
    (tmp_path / "limit").write_text("123456\n")
    assert machine.memory(tmp_path / "limit") == 123456
    (tmp_path / "limit").write_text("max\n")
    assert (machine.memory(tmp_path / "limit") or 0) > 123456


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_peak_of_memory_is_in_bytes_whatever_unit_the_system_counts(
    system: str, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrusage", lambda _who: SimpleNamespace(ru_maxrss=5000))
    monkeypatch.setattr(machine, "sys", SimpleNamespace(platform=system))
    assert machine.most_used() == 5000 * unit


def test_a_number_from_100_up_to_a_million_is_printed_whole() -> None:
    numbers = (99.96, 100.4, 1234, 999_999, 1_000_000)
    assert [machine.brief(number) for number in numbers] == ["100", "100", "1,234", "999,999", "1e+06"]
