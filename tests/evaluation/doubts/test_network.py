"""The network whose features are used, and the command: a run, or a weights file with missing metadata."""

import json
from pathlib import Path

import pytest
import torch

from in4310repro import models
from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.evaluation.doubts.network import open_source
from in4310repro.system.tensors import tensor_bytes, tensors_sha256
from tests.conftest import Call, refused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of weights for 7 classes that says how images are prepared."""
    state = models.build("shufflenet_v2_x0_5", 7, seed=3).state_dict()
    how = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", crop_ratio=0.9)
    (tmp_path / "net.safetensors").write_bytes(tensor_bytes(state, to_metadata(how)))
    torch.save(state, tmp_path / "net.pth")
    return tmp_path / "net.safetensors"


def test_a_file_gives_the_weights_and_how_images_are_prepared(file: Path) -> None:
    source = open_source(f"{file}", {"model": "shufflenet_v2_x0_5", "image_size": 64})
    how = source.config.preprocessing
    assert (how.mean, how.interpolation, how.crop_ratio, how.size) == ((0.5, 0.5, 0.5), "bicubic", 0.9, 64)
    given = models.build("shufflenet_v2_x0_5", 7, seed=3).state_dict()
    body = {name: value for name, value in source.network.state_dict().items() if not name.startswith("fc")}
    assert tensors_sha256(body) == tensors_sha256({name: given[name] for name in body})
    assert source.described()["weights"] == "net.safetensors"


def test_a_run_gives_its_selected_network(finished_run: Path) -> None:
    source = open_source(f"{finished_run}", {})
    assert source.config.image_size == 32
    assert source.fingerprint is not None
    assert source.described()["model"] == "resnet18"


def test_what_is_missing_or_too_much_is_one_sentence(
    call: Call, file: Path, finished_run: Path, tmp_path: Path
) -> None:
    run, pth = f"{finished_run}", f"{file.with_suffix('.pth')}"
    command = ("data", "check", f"{tmp_path}", "--weights")
    refused(call, (*command, f"{file}"), "--model NAME", "no run folder")
    refused(
        call, (*command, pth, "--model", "shufflenet_v2_x0_5"), "does not say how images are prepared", "--mean, --std"
    )
    refused(call, (*command, run, "--image-size", "64"), "--image-size is decided by the run")
    refused(call, (*command, run, "--model", "vgg11"), "--model vgg11", "resnet18")
    refused(call, (*command, "nowhere"), "--model NAME")
    refused(call, ("data", "check", f"{tmp_path}", "--model", "vgg11"), "--model goes with --weights")
    refused(call, ("data", "check", f"{tmp_path}", "--page", "a.html"), "--page goes with --weights")


@pytest.mark.slow
def test_the_command_prints_writes_and_shows_what_it_found(
    call: Call, finished_run: Path, copied_scenes: object, tmp_path: Path
) -> None:
    assert callable(copied_scenes)
    folder = copied_scenes(tmp_path / "scenes")
    words = ("data", "check", f"{folder}", "--weights", f"{finished_run}", "--split", f"{finished_run / 'split.csv'}")
    code, printed, _ = call(*words, "--out", "found.json", "--page", "sheet.html")
    assert code == 0
    assert "doubtful labels" in printed
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["doubts"]["features"]["model"] == "resnet18"
    assert sum(map(sum, found["doubts"]["confusion_matrix"])) == 48
    assert found["doubts"]["doubts_by_part"].keys() == {"training", "validation", "test"}
    assert "data:image/jpeg" in (tmp_path / "sheet.html").read_text()
    assert call(*words, "--no-photographs", "--page", "names.html", "--quiet") == (0, "", "")
    assert "data:image/jpeg" not in (tmp_path / "names.html").read_text()
    # Doubts of another seed of the folds change nothing in the exit code.
    assert call(*words, "--seed", "5", "--quiet")[0] == 0
