"""What each format's own community validates it by, as a function from an export's folder to a list of complaints.

No function opens a connection: roc-validator gets the JSON-LD context from the package rocrate.
"""

from __future__ import annotations

import importlib
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import yaml


def needed(*modules: str) -> list[Any]:
    """Return the modules; skip the test where one is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [pytest.importorskip(each, reason=f"{each} is not installed: .[dev]") for each in modules]


def validate_in_toto(folder: Path) -> list[str]:
    """Read the statement by the published protocol buffer, and validate it by in-toto-attestation."""
    statements, protocol, json_format = needed(
        "in_toto_attestation.v1.statement", "in_toto_attestation.v1.statement_pb2", "google.protobuf.json_format"
    )
    try:
        read = json_format.Parse((folder / "statement.json").read_text(encoding="utf-8"), protocol.Statement())
        statements.Statement.copy_from_pb(read).validate()
    except (ValueError, json_format.ParseError) as error:
        return [str(error)]
    return []


def validate_ro_crate(folder: Path) -> list[str]:
    """Load the crate by rocrate, and validate it by roc-validator's profile of RO-Crate 1.1."""
    crates, services, models = needed("rocrate.rocrate", "rocrate_validator.services", "rocrate_validator.models")
    settings = {"rocrate_uri": str(folder), "profile_identifier": "ro-crate-1.1", "cache_path": folder.parent / "http"}
    with _offline(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = services.validate(models.ValidationSettings(**settings))
    complaints = [f"{each.check.identifier}: {each.message}" for each in result.get_issues()]
    if not complaints:
        assert crates.ROCrate(str(folder)).root_dataset["datePublished"]
    return complaints


@contextmanager
def _offline() -> Iterator[None]:
    context = json.loads((resources.files("rocrate") / "data/ro-crate.jsonld").read_text(encoding="utf-8"))

    def get(_self: object, address: str, **_options: object) -> SimpleNamespace:
        assert re.fullmatch(r"https://w3id\.org/ro/crate/1\.\d/context", address), address
        headers = {"Content-Type": "application/ld+json"}
        return SimpleNamespace(status_code=200, headers=headers, text=json.dumps(context), json=lambda: context)

    http = importlib.import_module("rocrate_validator.utils.http")
    with mock.patch.multiple(http.HttpRequester, get=get, head=get, create=True):
        yield


def validate_croissant(folder: Path) -> list[str]:
    """Load the metadata by mlcroissant, and iterate over the split's records."""
    (croissant,) = needed("mlcroissant")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert list(croissant.Dataset(str(folder / "croissant.json")).records("split"))
    except (croissant.ValidationError, importlib.import_module("mlcroissant").GenerationError) as error:
        return [str(error)]
    return []


def validate_model_card(folder: Path) -> list[str]:
    """Load the card by huggingface_hub, and write its evaluation results back to the same metadata."""
    hub, data = needed("huggingface_hub", "huggingface_hub.repocard_data")
    file = folder / "README.md"
    try:
        card, metadata = hub.ModelCard.load(file), hub.metadata_load(file)
        name, results = data.model_index_to_eval_results(metadata["model-index"])
    except (ValueError, KeyError, TypeError) as error:
        return [repr(error)]
    kept = data.eval_results_to_model_index(name, results) == metadata["model-index"]
    return [] if kept and card.data.eval_results == results else ["the evaluation results do not survive a round trip"]


def validate_codecheck(folder: Path) -> list[str]:
    """Read the file by PyYAML, and hold it against each MUST of the specification's part for authors."""
    text = (folder / "codecheck.yml").read_bytes().decode("utf-8")
    complaints = [] if "\n---\n" in f"\n{text}" else ["the document has no start marker"]
    manifest = yaml.safe_load(text).get("manifest")
    if not isinstance(manifest, list) or not manifest:
        return [*complaints, "the manifest is no list of files"]
    files = [each.get("file", "") for each in manifest]
    absent = [name for name in files if Path(name).is_absolute() or not (folder / name).is_file()]
    return [*complaints, *(f"{name!r} is no file below the folder" for name in absent)]


def validate_onnx(folder: Path) -> list[str]:
    """Check the model and its inferred shapes by onnx."""
    (onnx,) = needed("onnx")
    try:
        onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return [str(error)]
    return []


def validate_bundle(folder: Path) -> list[str]:
    """Read the zip by Python's zipfile, and validate the statement and the crate in it."""
    with zipfile.ZipFile(folder / "bundle.zip") as archive:
        if damaged := archive.testzip():
            return [f"{damaged} has another checksum"]
        archive.extractall(folder / "unpacked")
    return [*validate_in_toto(folder / "unpacked/statement"), *validate_ro_crate(folder / "unpacked")]


VALIDATORS: dict[str, Callable[[Path], list[str]]] = {
    "in-toto": validate_in_toto,
    "ro-crate": validate_ro_crate,
    "croissant": validate_croissant,
    "model-card": validate_model_card,
    "codecheck": validate_codecheck,
    "bundle": validate_bundle,
    "onnx": validate_onnx,
}
