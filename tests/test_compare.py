"""Two runs compared: equal ones are equal, others differ from where they were made to."""

from pathlib import Path

import pytest

from in4310repro.compare import compare_runs
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder


def mismatches(finished_run: Path, own_run: Path) -> list[str]:
    return compare_runs(FinishedRun.open(finished_run), FinishedRun.open(own_run))


def test_a_copy_is_equal(finished_run: Path, own_run: Path) -> None:
    assert mismatches(finished_run, own_run) == []


def test_other_times_and_fingerprints_alone_make_no_difference(finished_run: Path, own_run: Path) -> None:
    run = RunFolder.open(own_run)
    run.write_json("sgd/history.json", [row | {"images_per_second": 1.0} for row in run.read_json("sgd/history.json")])
    run.write_json("fingerprint.json", run.read_json("fingerprint.json") | {"processor": "another"})
    assert mismatches(finished_run, own_run) == []


def test_the_first_epoch_and_tensor_that_differ_are_named_with_what_could_explain_it(
    finished_run: Path, own_run: Path
) -> None:
    run = RunFolder.open(own_run)
    history, tensors = run.read_json("rmsprop/history.json"), run.read_json("rmsprop/tensors.json")
    history[1]["weights_sha256"] = "0" * 64
    tensors[1]["layer3.0.bn1.running_var"] = tensors[1]["fc.weight"] = "0" * 12
    run.write_json("rmsprop/history.json", history)
    run.write_json("rmsprop/tensors.json", tensors)
    fingerprint = run.read_json("fingerprint.json")
    fingerprint["versions"]["torch"] = "1.0"
    run.write_json("fingerprint.json", fingerprint)
    sentences = mismatches(finished_run, own_run)
    assert sentences[0].startswith(
        "setting rmsprop differs from epoch 2 on (weights_sha256); first tensor layer3.0.bn1.running_var, 2 of 122 "
        "in all"
    )
    assert any(line.startswith("fingerprint differs: versions.torch") for line in sentences[1:])
    assert len(sentences) == 2


@pytest.mark.parametrize("name", ["split", "scores", "order", "epochs", "settings", "weights", "metrics"])
def test_every_result_counts(name: str, finished_run: Path, own_run: Path) -> None:
    run = RunFolder.open(own_run)
    if name == "split":
        text = (own_run / "split.csv").read_text()
        run.write_bytes("split.csv", text.replace(",test\n", ",training\n", 1).encode())
    elif name == "scores":
        arrays = run.read_arrays("scores.npz")
        arrays["softmax"][0, 0] += 1e-7
        run.write_arrays("scores.npz", **arrays)
    elif name == "order":
        arrays = run.read_arrays("scores.npz")
        run.write_arrays("scores.npz", **arrays | {"paths": arrays["paths"][::-1]})
    elif name == "weights":
        file = own_run / "sgd" / "best.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    elif name == "metrics":
        run.write_json("metrics.json", run.read_json("metrics.json") | {"mean_class_accuracy": 0.99})
    elif name == "epochs":
        run.write_json("adamw/history.json", run.read_json("adamw/history.json")[:1])
    else:
        config = run.read_json("config.json")
        run.write_json("config.json", config | {"settings": config["settings"][:2]})
    expected = {
        "split": "the splits list other images",
        "scores": "test scores differ",
        "order": "the test scores are of other images",
        "weights": "setting sgd has other best weights",
        "metrics": "test metrics differ",
        "epochs": "setting adamw has 2 epochs in one run and 1",
        "settings": "setting sgd is in one run only",
    }
    sentences = mismatches(finished_run, own_run)
    assert sentences[0].startswith(expected[name])
