"""The form of files: other bytes with the same meaning are found."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from in4310repro.data.preprocessing import Preprocessing
from in4310repro.runs.arrays import array_bytes
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.tensors import tensor_bytes
from in4310repro.verification.form import form_differences, tensors_form, weights_form

SAID = {
    "preprocessing": '{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bilinear", '
    '"crop_ratio": 1.0}'
}


def test_a_run_has_the_form_that_it_was_written_in(finished_run: Path) -> None:
    assert [*form_differences(FinishedRun.open(finished_run))] == []


def twice(text: str) -> str:
    key, value = next(iter(json.loads(text).items()))
    return text.replace("{", f"{{\n {json.dumps(key)}: {json.dumps(value)},", 1)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("metrics.json", lambda text: text + " ", "metrics.json is not written as"),
        ("features.json", lambda text: json.dumps(json.loads(text)), "features.json is not written as"),
        ("fingerprint.json", twice, "fingerprint.json is not written as"),
        ("sgd/history.json", lambda text: text.removesuffix("\n"), "sgd/history.json is not written as"),
        (
            "config.json",
            lambda text: text.replace('"warm_up": 0.2', '"warm_up": 0.20'),
            "config.json is not written as",
        ),
        ("config.json", lambda text: text.replace('"momentum": 0.0', '"momentum": 0', 1), "a run writes"),
    ],
)
def test_json_of_the_same_meaning_in_other_bytes_is_a_difference(
    name: str, change: Callable[[str], str], words: str, own_records: Path
) -> None:
    text = (own_records / name).read_text()
    assert json.loads(change(text)) == json.loads(text)
    (own_records / name).write_text(change(text))
    (sentence,) = form_differences(FinishedRun.open(own_records))
    assert words in sentence


def test_a_comment_in_the_archive_of_the_scores_is_a_difference(own_records: Path) -> None:
    with zipfile.ZipFile(own_records / "scores.npz", "a") as archive:
        archive.comment = b"mean class accuracy 0.99"
    run = FinishedRun.open(own_records)
    (sentence,) = form_differences(run)
    assert sentence.endswith(f"its arrays make {len(array_bytes(run.files.read_arrays('scores.npz')))}")


@pytest.mark.parametrize("count", range(1, 9))
def test_weights_have_the_metadata_of_the_configuration_and_no_room_in_their_header(count: int, tmp_path: Path) -> None:
    file, tensors = (
        tmp_path / "best.safetensors",
        {"w" * count: torch.zeros(2), "n": torch.zeros((), dtype=torch.int64)},
    )
    plain = tensor_bytes(tensors, SAID)
    file.write_bytes(plain)
    assert [*weights_form(file, Preprocessing())] == []
    (sentence,) = weights_form(file, Preprocessing(crop_ratio=0.5))
    assert "its metadata are {'preprocessing': " in sentence
    length = int.from_bytes(plain[:8], "little")
    spaced = (length + 8).to_bytes(8, "little") + plain[8 : 8 + length] + b" " * 8 + plain[8 + length :]
    for other in (spaced, tensor_bytes(tensors), tensor_bytes(tensors, SAID | {"accuracy": "0.99"})):
        file.write_bytes(other)
        assert len([*weights_form(file, Preprocessing())]) == 1


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, None),
        (
            {"weight": torch.zeros(2, 3).double(), "bias": torch.zeros(2)},
            "weight is torch.float64; a run writes torch.f",
        ),
        ({"weight": torch.zeros(2, 3)}, "bias is absent; a run writes torch.float32"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "note": torch.zeros(1)}, "a run writes absent"),
    ],
)
def test_weights_have_the_names_and_types_of_their_network(
    stored: dict[str, torch.Tensor], sentence: str | None
) -> None:
    found = [*tensors_form(Path("best.safetensors"), stored, torch.nn.Linear(3, 2))]
    assert len(found) == (sentence is not None)
    assert (sentence or "") in "".join(found)
