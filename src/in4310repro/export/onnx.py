"""Export of the selected network as ONNX, with the largest difference of its scores from the recorded ones."""

import importlib
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from in4310repro.data.images import evaluation_batches
from in4310repro.export import facts
from in4310repro.export.table import Extras
from in4310repro.runs.finished import FinishedRun
from in4310repro.system import machine, progress

FILE = "model.onnx"
INPUT, OUTPUT = "images", "softmax"
NEEDED = ("onnx", "onnxruntime", "onnxscript")


def contents(run: FinishedRun, extras: Extras) -> dict[str, bytes]:
    """Return the network as ONNX: normalized images [image, 3, height, width] to softmax scores [image, class].

    Its metadata hold classes, preprocessing, and by how much the scores of onnxruntime differ from the recorded
    ones, since another program adds in another order and gives other bits.

    Raises:
        ValueError: a library is missing, the network cannot be exported, or the test images are not there.
    """
    try:
        onnx, runtime, _ = map(importlib.import_module, NEEDED)
    except ImportError as error:
        raise ValueError(
            f"--as onnx needs {', '.join(NEEDED)} ({error}); {machine.install_command(NEEDED[1])} installs them"
        ) from None
    # With a softmax behind it.
    network = torch.nn.Sequential(run.selected_network(), torch.nn.Softmax(dim=1)).eval()
    try:
        model = to_onnx(network, run.config.image_size, OUTPUT)
    except torch.onnx.OnnxExporterError as error:
        reason = f"{error.__cause__ or error}".strip().splitlines()[0]
        raise ValueError(f"torch cannot export {run.config.model} as ONNX: {reason}") from None
    for each in (model, model.graph, *model.functions):
        _remove_traces(each)
    images = run.test_images(None if extras.images is None else f"{extras.images}", progress.SILENT)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    batches = evaluation_batches(images, run.config.evaluation_batch_size)
    scores = np.concatenate([session.run([OUTPUT], {INPUT: batch.images.numpy()})[0] for batch in batches])
    metadata = {
        "classes": json.dumps(run.classes),
        "preprocessing": json.dumps(asdict(run.config.preprocessing)),
        "weights_sha256": run.metrics["weights_sha256"],
        "manifest_sha256": run.files.manifest_sha256(),
        "made_by": f"{facts.PACKAGE}, torch {torch.__version__}",
        "bits": "other than the run's: another program adds in another order",
        "onnxruntime": runtime.__version__,
        "compared_images": f"{len(run.scores.labels)}",
        "largest_difference": repr(float(np.abs(scores - run.scores.softmax).max())),
        "other_predictions": f"{(scores.argmax(axis=1) != run.scores.softmax.argmax(axis=1)).sum()}",
    }
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return {FILE: model.SerializeToString()}


def to_onnx(network: torch.nn.Module, size: int, output: str) -> Any:
    """Return a network in evaluation mode as a model of ONNX: images of one size, in batches of any, to its output.

    Args:
        network: maps normalized images [image, 3, height, width] to one tensor.
        size: height and width in pixels.
        output: name of that tensor; the images are named `INPUT`.

    Raises:
        torch.onnx.OnnxExporterError: torch cannot export the network.
    """
    images, axes = (torch.zeros(2, 3, size, size),), ({0: torch.export.Dim("image")},)
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": [output]}
    with warnings.catch_warnings():
        # Warnings of torch's exporter about torch itself.
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(network, images, dynamo=True, verbose=False, dynamic_shapes=axes, **names)
    return program.model_proto


def describe(files: list[Path]) -> str:
    """Return a sentence on how far the scores of an exported network are from the recorded ones."""
    (file,) = files
    properties = {each.key: each.value for each in importlib.import_module("onnx").load(f"{file}").metadata_props}
    return (
        f"{file} computes with other bits than the run: its scores on {properties['compared_images']} test images "
        f"differ by up to {float(properties['largest_difference']):.2g} from the recorded ones, and "
        f"{properties['other_predictions']} predicted classes differ; onnxruntime {properties['onnxruntime']}"
    )


def _remove_traces(message: Any) -> None:
    """Remove what torch's exporter notes of each node and value: file names of this machine among it.

    Args:
        message: a model, graph, function, node, value or tensor of ONNX; graphs inside of a node are cleaned as well.
    """
    message.ClearField("metadata_props")
    message.ClearField("doc_string")
    for field in ("node", "input", "output", "value_info", "initializer"):
        for each in getattr(message, field, ()):
            # Inputs and outputs of nodes and functions are names.
            if not isinstance(each, str):
                _remove_traces(each)
    for attribute in getattr(message, "attribute", ()):
        if not isinstance(attribute, str) and attribute.HasField("g"):
            _remove_traces(attribute.g)
