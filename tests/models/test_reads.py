"""Weights files in commands: each is opened once, and the record describes the version that was read."""

from __future__ import annotations

import builtins
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from in4310repro.data.embedded import write_scenes
from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.models.sources import open_network
from in4310repro.system.tensors import tensor_bytes, tensors_sha256
from tests.conftest import Call

# Of three layers: what is counted does not depend on the size of the file.
NAME = "benchmarks.shares:plain_layers"
MODEL = ("--model", NAME)
SHORT = ("--preset", "tiny", "--optimizer", "SGD", "--epochs", "1", *MODEL)
HOW = {number: Preprocessing(mean=(number / 10,) * 3, size=32) for number in (1, 2)}
GIVEN = ("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--interpolation", "bilinear", "--crop-ratio", "1")


def state(number: int) -> dict[str, torch.Tensor]:
    network = open_network(NAME)
    network.trust()
    return network.build(6, seed=number).state_dict()


def write_weights(file: Path, number: int = 1) -> Path:
    """Write weights number 1 or 2, which differ in values and in the preprocessing that they record."""
    if file.suffix == ".pth":
        torch.save(state(number), file)
    else:
        file.write_bytes(tensor_bytes(state(number), to_metadata(HOW[number])))
    return file


@pytest.fixture
def on_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, Callable[[], object]], None]]:
    """Yield a function that sets a callback for every time that a given file is opened."""
    watched: dict[Path, Callable[[], object]] = {}
    plain = io.open

    def opened(file: Any, *words: Any, **options: Any) -> Any:
        stream = plain(file, *words, **options)
        if not isinstance(file, int) and (done := watched.get(Path(os.fsdecode(file)).absolute())):
            done()
        return stream

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", opened)
    yield watched.__setitem__
    watched.clear()


Watch = Callable[[Path, Callable[[], object]], None]


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_every_command_opens_a_file_of_weights_once(ending: str, call: Call, on_open: Watch, tmp_path: Path) -> None:
    file, opened = write_weights(tmp_path / f"w.{ending}"), []
    write_scenes(tmp_path / "scenes", 10, 32, seed=0)
    on_open(file, lambda: opened.append(file))
    given = ("--weights", f"{file}", "--image-size", "32")
    how = () if ending == "safetensors" else GIVEN
    commands = {
        "train": ("train", *SHORT, *given, "--imagenet", "scenes", "--out", "run", "--keep-epochs", *how),
        "report": ("report", "run", "--no-photographs", *MODEL),
        "verify": ("verify", "run", "--replay", "0", *MODEL),
        "features": ("features", "--data", "scenes", *given, "--out", "maps.json", *MODEL),
        "data": ("data", "check", "scenes", *given, *MODEL, *how),
    }
    times = {}
    for command, words in commands.items():
        code, _, error = call(*words)
        assert code == 0, error
        times[command] = len(opened)
        opened.clear()
    assert times == dict.fromkeys(commands, 1)


def test_a_file_that_changes_while_it_is_read_gives_one_version(call: Call, on_open: Watch, tmp_path: Path) -> None:
    file, other = write_weights(tmp_path / "w.safetensors", 1), write_weights(tmp_path / "other.safetensors", 2)
    on_open(file, lambda: other.exists() and other.replace(file))
    assert call("train", *SHORT, "--weights", f"{file}", "--out", "run")[0] == 0
    recorded, made = (json.loads((tmp_path / "run" / name).read_text()) for name in ("config.json", "fingerprint.json"))
    assert not other.exists()
    assert tuple(recorded["mean"]) == HOW[1].mean
    assert made["initial_weights_sha256"] == tensors_sha256(state(1))
