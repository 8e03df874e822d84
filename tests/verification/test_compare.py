"""The comparison of two runs: equal runs have no difference, and changed ones differ from the change on."""

from dataclasses import replace
from pathlib import Path

import pytest

from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder, array_bytes, read_arrays
from in4310repro.system.files import json_bytes
from in4310repro.verification.compare import compare_runs
from tests.builders import relink


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
    # One that is not selected: the weights of that one are in metrics.json too.
    name = next(each for each in ("rmsprop", "sgd") if each != run.read_json("metrics.json")["setting"])
    history, tensors = run.read_json(f"{name}/history.json"), run.read_json(f"{name}/tensors.json")
    history[1]["weights_sha256"] = "0" * 64
    tensors[1]["tensors"]["layer3.0.bn1.running_var"] = tensors[1]["tensors"]["fc.weight"] = "0" * 12
    tensors[1]["weights_sha256"] = "0" * 64
    run.write_json(f"{name}/history.json", history)
    run.write_json(f"{name}/tensors.json", tensors)
    fingerprint = run.read_json("fingerprint.json")
    fingerprint["versions"]["torch"] = "1.0"
    run.write_json("fingerprint.json", fingerprint)
    sentences = mismatches(finished_run, own_run)
    assert sentences[0].startswith(
        f"setting {name} differs from epoch 2 on (weights_sha256); first tensor layer3.0.bn1.running_var, 2 of 122 "
        "in all"
    )
    assert any(line.startswith("fingerprint differs: versions.torch") for line in sentences[1:])
    assert len(sentences) == 2


@pytest.mark.parametrize("name", ["split", "order", "epochs"])
def test_every_result_of_another_length_or_order_counts(name: str, finished_run: Path) -> None:
    first = FinishedRun.open(finished_run)
    parts, scores, histories = first.split.parts, first.scores, first.histories
    other = {
        "split": replace(first, split=replace(first.split, parts={**parts, "test": parts["test"][1:]})),
        "order": replace(first, scores=replace(scores, paths=scores.paths[::-1])),
        "epochs": replace(first, histories={**histories, "adamw": histories["adamw"][:1]}),
    }
    expected = {
        "split": "the splits list other images",
        "order": "the test scores are of other images",
        "epochs": "setting adamw has 2 epochs in one run and 1",
    }
    assert compare_runs(first, other[name])[0].startswith(expected[name])


@pytest.mark.parametrize("name", ["scores", "settings", "weights", "metrics"])
def test_every_result_counts(name: str, finished_run: Path, own_run: Path) -> None:
    run = RunFolder.open(own_run)
    if name == "scores":
        arrays = read_arrays(run.file("scores.npz"))
        arrays["softmax"][0, 0] += 1e-7
        run.write_bytes("scores.npz", array_bytes(arrays))
    elif name == "weights":
        file = own_run / "sgd" / "best.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    elif name == "metrics":
        run.write_json("metrics.json", run.read_json("metrics.json") | {"mean_class_accuracy": 0.99})
    else:
        config = run.read_json("config.json")
        run.write_json("config.json", config | {"settings": config["settings"][:2]})
    expected = {
        "scores": "test scores differ",
        "weights": "setting sgd has other best weights",
        "metrics": "test metrics differ",
        "settings": "setting sgd is in one run only",
    }
    sentences = mismatches(finished_run, own_run)
    assert sentences[0].startswith(expected[name])


def test_the_weights_themselves_are_compared_where_history_and_hashes_agree(finished_run: Path, own_run: Path) -> None:
    run = RunFolder.open(own_run)
    state = run.read_tensors("sgd/best.safetensors")
    state["layer1.0.bn1.running_mean"][0] += 1
    run.write_weights("sgd/best.safetensors", state)
    sentences = mismatches(finished_run, own_run)
    assert sentences[0].startswith("setting sgd has other best weights; first tensor layer1.0.bn1.running_mean, 1 in")


def test_hashes_that_are_not_of_the_weights_are_a_difference(finished_run: Path, own_run: Path) -> None:
    run = RunFolder.open(own_run)
    entries = run.read_json("sgd/tensors.json")
    zeros = [entry | {"tensors": dict.fromkeys(entry["tensors"], "0" * 12)} for entry in entries]
    run.write_json("sgd/tensors.json", relink(zeros))
    assert mismatches(finished_run, own_run)[0].startswith("setting sgd differs from epoch 1 on (tensors.json)")
    assert "sgd/tensors.json has other hashes than the best weights: conv1.weight, 122 in all" in "".join(
        mismatches(own_run, own_run)
    )


def test_another_optimizer_state_is_a_difference(finished_run: Path, own_run: Path) -> None:
    run = RunFolder.open(own_run)
    entries = run.read_json("sgd/tensors.json")
    entries[1]["optimizer_sha256"] = "0" * 64
    run.write_json("sgd/tensors.json", relink(entries))
    assert mismatches(finished_run, own_run)[0].startswith("setting sgd differs from epoch 2 on (tensors.json)")


def test_a_changed_loss_is_a_difference_whatever_the_hashes_are(finished_run: Path, own_run: Path) -> None:
    run = RunFolder.open(own_run)
    history = run.read_json("sgd/history.json")
    history[0]["val_loss"] += 1e-9
    run.write_json("sgd/history.json", history)
    assert mismatches(finished_run, own_run)[0].startswith("setting sgd differs from epoch 1 on (val_loss)")


def test_a_file_that_the_manifest_omits_is_a_difference(finished_run: Path, own_run: Path) -> None:
    manifest = RunFolder.open(own_run).manifest()
    del manifest["sgd/tensors.json"]
    (own_run / "manifest.json").write_bytes(json_bytes(manifest))
    assert f"{own_run} has no manifest entry for sgd/tensors.json" in mismatches(finished_run, own_run)
