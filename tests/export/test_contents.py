"""What the files say is what the run's own files hold, read here by other libraries."""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import json
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.stats import binomtest
from sklearn import metrics as sklearn

from in4310repro.data.folders import SUFFIXES
from in4310repro.export import facts, model_card, onnx as export_onnx, ro_crate
from in4310repro.export.table import Extras
from in4310repro.runs.finished import FinishedRun
from in4310repro.verification.bundle_checks import bundle_differences, unpacked
from tests.conftest import Call
from tests.docs.commands import ROOT
from tests.export.conftest import Export
from tests.export.validators import needed


def sha256_by_hashlib(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def test_the_subjects_of_the_statement_are_the_bytes_of_weights_scores_split_metrics_and_report(
    export: Export, run: FinishedRun, report: Path
) -> None:
    subjects = {
        each["name"]: each["digest"]["sha256"] for each in read(export("in-toto") / "statement.json")["subject"]
    }
    selected = read(run.folder / "metrics.json")["setting"]
    of_run = (f"{selected}/best.safetensors", "scores.npz", "split.csv", "metrics.json")
    expected = {f"run/{name}": sha256_by_hashlib(run.folder / name) for name in of_run}
    expected |= {
        f"report/{name}": sha256_by_hashlib(report / name) for name in ("report.md", "index.html", "check.html")
    }
    assert subjects == expected


def test_the_predicate_holds_the_records_of_the_run_and_what_was_computed_again(
    export: Export, run: FinishedRun, verification: Path
) -> None:
    predicate = read(export("in-toto") / "statement.json")["predicate"]
    fingerprint, metrics = read(run.folder / "fingerprint.json"), read(run.folder / "metrics.json")
    last = read(run.folder / metrics["setting"] / "tensors.json")[-1]
    chain = hashlib.sha256(json.dumps(last, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert predicate["configuration"] == read(run.folder / "config.json")
    assert predicate["numeric_class"] == fingerprint["numeric_class"]
    assert predicate["versions"] == fingerprint["versions"]
    assert predicate["selected"] == {name: metrics[name] for name in ("setting", "epoch", "weights_sha256")}
    assert all(metrics[name] == value for name, value in predicate["test_metrics"].items())
    assert len(predicate["test_metrics"]) == 6
    assert predicate["chain_sha256"] == chain
    assert predicate["command"].startswith("in4310repro train --preset tiny")
    document = read(verification)
    assert predicate["verification"]["computed_again"] == document["proven"] != []
    claimed = {each["what"]: each["shown_by"] for each in document["claimed"]}
    assert predicate["verification"]["claimed"] == claimed != {}


def test_a_replay_is_part_of_the_statement(export: Export, run: FinishedRun, verification: Path) -> None:
    of_replay = {"replayed": [1, 2], "first_tensors": [], "drawn": [2], "draw": 7, "missing": {"3": "it was not kept"}}
    document = read(verification) | of_replay
    said = read(export("in-toto", verification=document) / "statement.json")["predicate"]["verification"]
    assert (said["epochs_trained_again"], said["drawn_epochs"], said["seed_of_draw"]) == ([1, 2], [2], 7)
    assert said["epochs_not_trained_again"] == [3]
    assert run.metrics["epoch"] in said["epochs_trained_again"]


def test_every_file_of_a_crate_is_described_with_its_sha256_and_size(export: Export) -> None:
    folder = export("ro-crate")
    graph = {each["@id"]: each for each in read(folder / "ro-crate-metadata.json")["@graph"]}
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    del files["ro-crate-metadata.json"]
    assert {name for name, each in graph.items() if each["@type"] == "File"} == files.keys()
    for name, file in files.items():
        assert graph[name]["contentSize"] == str(file.stat().st_size)
        assert graph[name]["sha256"] == sha256_by_hashlib(file), name
    assert "on the test set (figure 4 of the original)" in graph["report/figure04.svg"]["name"]


def test_a_crate_links_the_training_the_run_and_the_report_to_all_of_their_files(
    export: Export, run: FinishedRun, report: Path
) -> None:
    graph = {each["@id"]: each for each in read(export("ro-crate") / "ro-crate-metadata.json")["@graph"]}
    files = {name for name, each in graph.items() if each["@type"] == "File"}
    linked = {
        (name, key): {each["@id"] for each in graph[name][key]}
        for name, key in (("./", "hasPart"), ("run/", "hasPart"), ("report/", "hasPart"), ("#training", "result"))
    }
    assert linked == {
        ("./", "hasPart"): files | {"run/", "report/"},
        ("run/", "hasPart"): {name for name in files if name.startswith("run/")},
        ("report/", "hasPart"): {name for name in files if name.startswith("report/")},
        ("#training", "result"): files - {"run/split.csv", "verification.json"},
    }
    assert graph["./"]["mentions"] == {"@id": "#training"}
    assert graph["#training"]["object"] == {"@id": "run/split.csv"}
    assert graph["#training"]["instrument"] == {"@id": "#software"}
    assert graph["#training"]["description"] == read(report / "run.json")["command"]
    selected, sha256 = read(run.folder / "metrics.json")["setting"], read(report / "run.json")["manifest_sha256"]
    assert graph[f"run/{selected}/best.safetensors"]["name"] == f"Weights of the best epoch, setting {selected}"
    # Nothing is left out of this one.
    said = rf"A training by in4310repro .* `in4310repro verify run .*--manifest-sha256 {sha256}` computes them again\."
    assert re.fullmatch(said, graph["./"]["description"])


def test_the_run_in_a_crate_is_verified(export: Export, call: Call) -> None:
    folder = export("ro-crate")
    description = next(each for each in read(folder / "ro-crate-metadata.json")["@graph"] if each["@id"] == "./")
    (command,) = re.findall(r"`in4310repro (verify run .*?)`", description["description"])
    code, printed, _ = call(*command.replace(" run ", f" {folder / 'run'} ").split(" "))
    assert (code, printed.split(": ")[1].split(",")[0]) == (0, "verified")


def test_a_bundle_with_everything_has_the_hashes_that_statement_and_crate_name(export: Export) -> None:
    with unpacked(export("bundle") / "bundle.zip") as opened:
        assert {"ro-crate-metadata.json", "statement/statement.json"} == opened.descriptions.keys()
        assert "verification.json" in opened.names
        assert bundle_differences(opened) == []


def test_the_authors_of_the_software_are_those_of_the_citation(export: Export) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    graph = {each["@id"]: each for each in read(export("ro-crate") / "ro-crate-metadata.json")["@graph"]}
    (author,) = citation["authors"]
    assert graph[graph["#software"]["author"]["@id"]]["name"] == author["name"] == project["authors"][0]["name"]
    assert (graph["#software"]["name"], graph["#software"]["softwareVersion"]) == (project["name"], project["version"])
    assert graph["#software"]["license"] == {"@id": f"https://spdx.org/licenses/{citation['license']}"}


def test_an_installation_without_a_licence_is_refused(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = SimpleNamespace(json={"author": "A", "summary": "S"})
    monkeypatch.setattr(ro_crate, "metadata", SimpleNamespace(metadata=lambda _: installed))
    with pytest.raises(ValueError, match="the installation of in4310repro has no license; install it again"):
        ro_crate.contents(run, Extras(date="2026-11-28"))


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_the_records_of_croissant_are_the_rows_of_the_split(export: Export, run: FinishedRun) -> None:
    (mlcroissant,) = needed("mlcroissant")
    file = export("croissant") / "croissant.json"
    records = [
        {key.removeprefix("split/"): value.decode() for key, value in record.items()}
        for record in mlcroissant.Dataset(str(file)).records("split")
    ]
    with (run.folder / "split.csv").open(encoding="utf-8", newline="") as rows:
        assert records == list(csv.DictReader(rows))
    assert len(records) == 48
    paths = [record["path"] for record in records]
    split, images = read(file)["distribution"]
    assert (split["@id"], images["@id"]) == ("split.csv", "image-files")
    patterns = images["includes"]
    assert all(any(fnmatch.fnmatch(path, pattern) for pattern in patterns) for path in paths)
    # Neither the files of the export nor the hidden file of the scenes' hash.
    assert not any(fnmatch.fnmatch(path, each) for path in ("split.csv", ".contents") for each in patterns)
    of_split, parts = read(file)["recordSet"]
    referred = {field["name"]: field["references"] for field in of_split["field"] if "references" in field}
    assert referred == {"part": {"field": parts["key"]}}


def test_the_media_type_of_every_file_of_an_export_and_of_every_suffix_that_a_data_set_can_have_is_known() -> None:
    images = {".jpg": "jpeg", ".ppm": "x-portable-pixmap", ".tif": "tiff", ".svg": "svg+xml"}
    images |= {f".{name}": name for name in ("bmp", "gif", "heic", "heif", "jpeg", "png", "tiff", "webp")}
    texts = {".csv": "text/csv", ".html": "text/html", ".md": "text/markdown", ".json": "application/json"}
    files = {".npz": "application/zip", ".zip": "application/zip", ".safetensors": "application/octet-stream"}
    expected = {suffix: f"image/{name}" for suffix, name in images.items()} | texts | files
    assert facts.MEDIA_TYPES.items() >= expected.items()
    # These two, where pillow_heif is installed.
    assert {*SUFFIXES, ".heic", ".heif"} <= images.keys()


def test_the_metrics_of_the_model_card_are_those_that_sklearn_computes_from_the_scores(
    export: Export, run: FinishedRun
) -> None:
    (hub,) = needed("huggingface_hub")
    card = hub.ModelCard.load(export("model-card") / "README.md")
    values = {each.metric_type: each.metric_value for each in card.data.eval_results}
    scores = np.load(run.folder / "scores.npz")
    labels, softmax = scores["labels"], scores["softmax"]
    predicted = softmax.argmax(axis=1)
    expected = {
        "balanced_accuracy": sklearn.balanced_accuracy_score(labels, predicted),
        "mean_average_precision": np.mean(
            [sklearn.average_precision_score(labels == label, softmax[:, label]) for label in range(6)]
        ),
        "f1": sklearn.f1_score(labels, predicted, average="macro", zero_division=0),
        "accuracy": sklearn.accuracy_score(labels, predicted),
    }
    assert values == pytest.approx(expected, rel=0, abs=1e-12)
    assert {each.dataset_split for each in card.data.eval_results} == {"test"}


def test_a_model_card_has_every_section_and_its_head_names_the_metrics(export: Export, report: Path) -> None:
    _, head, body = (export("model-card") / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    content = yaml.safe_load(head)
    assert [*content] == ["pipeline_tag", "tags", "metrics", "model-index"]
    (result,) = content["model-index"][0]["results"]
    assert content["metrics"] == [each["type"] for each in result["metrics"]]
    assert re.findall("^## (.*)", body, re.MULTILINE) == ["Results", "Training", "Limits", "How to verify"]
    assert f"\n## Training\n\n```\n{read(report / 'run.json')['command']}\n```\n" in body
    assert "protocol deviates" not in body


def test_own_images_are_named_by_their_folder_alone_on_one_line_however_long(run: FinishedRun) -> None:
    name = f"lamps {'of many streets ' * 6}at night"
    own = replace(run, config=replace(run.config, data=f"photos/{name}"))
    card = model_card.contents(own, Extras())["README.md"].decode()
    assert f"\n- name: {run.config.model} on 6 classes of {name}\n" in card


def test_the_intervals_of_accuracies_on_the_model_card_are_wilsons(export: Export, run: FinishedRun) -> None:
    scores = np.load(run.folder / "scores.npz")
    right, images = int((scores["softmax"].argmax(axis=1) == scores["labels"]).sum()), len(scores["labels"])
    text = (export("model-card") / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| accuracy \| [\d.]+ \| ([\d.]+) to ([\d.]+) \|$", text, re.MULTILINE)
    interval = binomtest(right, images).proportion_ci(method="wilson")
    assert row == (f"{interval.low:.3f}", f"{interval.high:.3f}")
    # The other exact interval would be told apart.
    other = binomtest(right, images).proportion_ci(method="exact")
    assert row != (f"{other.low:.3f}", f"{other.high:.3f}")
    for label, name in enumerate(run.classes):
        of_class = scores["labels"] == label
        right, images = int((scores["softmax"].argmax(axis=1)[of_class] == label).sum()), int(of_class.sum())
        interval = binomtest(right, images).proportion_ci(method="wilson")
        start = f"\n| {name} | {images} | {right / images:.4f} | {interval.low:.3f} to {interval.high:.3f} | "
        assert start in text


def test_the_manifest_of_codecheck_lists_what_the_command_creates_again(export: Export, run: FinishedRun) -> None:
    folder = export("codecheck")
    content = yaml.safe_load((folder / "codecheck.yml").read_text(encoding="utf-8"))
    files = {each["file"] for each in content["manifest"]}
    weights = {f"run/{name}/best.safetensors" for name in run.histories}
    assert weights | {"run/scores.npz", "run/metrics.json", "run/split.csv", "report/figure04.svg"} <= files
    # They say on which machine and when the run was made, and are here for `verify` alone.
    machine = {"run/config.json", "run/fingerprint.json", "run/manifest.json", "report/run.json"}
    assert not machine & files
    assert all((folder / name).is_file() for name in machine)
    sha256 = content["in4310repro"]["sha256"]
    # Pages and histories hold the speed of the training, and have other bytes each time.
    repeated = {name for name in files if name.startswith("run/") and "history" not in name and "features" not in name}
    assert sha256 == {name: sha256_by_hashlib(folder / name) for name in repeated}


def scores_by_onnxruntime(model: Path, images: list[Path]) -> Any:
    """Return softmax scores of scenes, which need neither crop nor resizing at their own size."""
    (runtime,) = needed("onnxruntime")
    session = runtime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    pixels = np.stack([np.asarray(Image.open(file), np.float32) for file in images]) / np.float32(255)
    mean, std = (np.array(each, np.float32) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    (found,) = session.run(None, {"images": ((pixels - mean) / std).transpose(0, 3, 1, 2)})
    return found


def test_the_onnx_network_gives_the_recorded_scores_but_for_the_difference_that_it_states(
    export: Export, run: FinishedRun, verification: Path
) -> None:
    (onnx,) = needed("onnx")
    file, root = export("onnx") / "model.onnx", run.split_below(None).root
    stated = {each.key: each.value for each in onnx.load(str(file)).metadata_props}
    recorded = np.load(run.folder / "scores.npz")
    found = scores_by_onnxruntime(file, [root / path for path in recorded["paths"]])
    difference = float(np.abs(found - recorded["softmax"]).max())
    # The scores of one image depend on no other, but the libraries of a processor may sort a batch differently.
    assert difference == pytest.approx(float(stated["largest_difference"]), rel=0, abs=1e-6)
    assert difference < 1e-5
    assert stated["compared_images"] == str(len(recorded["labels"])) == "12"
    assert json.loads(stated["classes"]) == run.classes
    assert stated["manifest_sha256"] == read(verification)["manifest_sha256"]
    assert "other than the run's" in stated["bits"]
    # Of the images in another order it would be far larger.
    other = scores_by_onnxruntime(file, [root / path for path in recorded["paths"][::-1]])
    assert np.abs(other - recorded["softmax"]).max() > 1e-3


def test_the_onnx_file_names_no_source_file_of_this_machine(export: Export) -> None:
    (onnx,) = needed("onnx")
    file = export("onnx") / "model.onnx"
    assert b"site-packages" not in file.read_bytes()
    assert b"stack_trace" not in file.read_bytes()
    # torch's exporter notes them there, in files of tens of kilobytes of text.
    assert not any(node.metadata_props for node in onnx.load(str(file)).graph.node)


def test_notes_on_source_files_are_removed_at_every_depth_of_a_graph() -> None:
    (onnx,) = needed("onnx")
    make, note = onnx.helper.make_node, "/home/ada/network.py"
    branch = onnx.helper.make_graph([make("Relu", ["x"], ["y"], doc_string=note)], "branch", [], [])
    node = make("If", ["is"], ["y"], doc_string=note, then_branch=branch, else_branch=branch)
    graph = onnx.helper.make_graph([node], "graph", [], [], doc_string=note)
    assert graph.SerializeToString().count(b"ada") == 4
    export_onnx._remove_traces(graph)
    assert b"ada" not in graph.SerializeToString()


def test_a_network_that_torch_cannot_export_is_refused(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    needed(*export_onnx.NEEDED)
    monkeypatch.setattr("torch.onnx.export", Mock(side_effect=torch.onnx.OnnxExporterError("no such operator\nmore")))
    with pytest.raises(ValueError, match=f"torch cannot export {run.config.model} as ONNX: no such operator$"):
        export_onnx.contents(run, Extras())


def test_a_missing_library_is_named_with_the_way_to_install_it(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        ValueError, match=r"--as onnx needs .*onnxscript.*pip install onnx onnxruntime onnxscript installs"
    ):
        export("onnx")


def test_every_file_of_a_run_and_report_is_described(run: FinishedRun, report: Path) -> None:
    files = facts.files(run, Extras(report=report))
    there = {f"run/{path.relative_to(run.folder).as_posix()}" for path in run.folder.rglob("*") if path.is_file()}
    there |= {f"report/{path.name}" for path in report.iterdir()}
    assert {name for name in there if "/checkpoint/" not in name} == files.keys()
    assert all(file.what and facts.MEDIA_TYPES[file.place.suffix] for file in files.values())
