"""Other programs that compute a network's inference on the CPU: onnxruntime and OpenVINO, where they are installed."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.workloads import Workload
from in4310repro.export.onnx import INPUT, to_onnx

Scores = NDArray[np.float32]
Infer = Callable[[], Scores]


@functools.cache
def export(model: str, image_size: int) -> bytes:
    """Return a network in evaluation mode as ONNX, for images of one size and batches of any."""
    network = Workload(model, image_size, 1, training=False).network()
    return bytes(to_onnx(network, image_size, "scores").SerializeToString())


def onnxruntime(workload: Workload, threads: int) -> Infer:
    """Return a function that infers by onnxruntime; the size of the batch is fixed, as it is for the others."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_free_dimension_override_by_name("image", workload.batch_size)
    # Threads that spin after an inference would be in the way of the next program.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    model, images = export(workload.model, workload.image_size), workload.images().contiguous().numpy()
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: np.asarray(session.run(None, {INPUT: images})[0])


def openvino(workload: Workload, threads: int) -> Infer:
    """Return a function that infers by OpenVINO in float32; the size of the batch is fixed."""
    runtime: Any = importlib.import_module("openvino")
    core, images = runtime.Core(), workload.images().contiguous().numpy()
    model = core.read_model(export(workload.model, workload.image_size))
    model.reshape(list(images.shape))
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: np.asarray(request.infer({0: images}, share_inputs=True)[0])


# Name in the table, which is that of the distribution -> how it is prepared.
RUNTIMES: dict[str, Callable[[Workload, int], Infer]] = {"onnxruntime": onnxruntime, "openvino": openvino}
NEEDED = ("onnx", "onnxscript")  # by torch's exporter


def version(name: str) -> str | None:
    """Return the version of a runtime; None where it or what exports for it is not installed."""
    try:
        return [importlib.metadata.version(each) for each in (*NEEDED, name)][-1]
    except importlib.metadata.PackageNotFoundError:
        return None
