"""Rows of bad input: files of initial weights."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import torch

from in4310repro import models
from in4310repro.system.tensors import tensor_bytes
from tests.bad_input.row import refusals_of, rows_of
from tests.bad_input.sandbox import Sandbox
from tests.special_files import link_to_a_device, named_pipe

row = rows_of("weights")

SAFE, PICKLED = "train --preset tiny --weights w.safetensors", "train --preset tiny --weights w.pth"
refused_pickle = refusals_of("weights", PICKLED)
refused = refusals_of("weights", SAFE)
Make = Callable[[Sandbox], object]


@functools.cache
def state() -> dict[str, torch.Tensor]:
    """Return weights that fit the network; the caller must not change them."""
    return dict(models.build("resnet18", 6, seed=1).state_dict())


def safetensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Make:
    """Write a safetensors file with one change to its tensors."""

    def make(box: Sandbox) -> None:
        tensors = dict(state())
        change(tensors)
        box.write("w.safetensors", tensor_bytes(tensors))

    return make


def value(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Make:
    def replace(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = change(tensors[name].clone())

    return safetensors(replace)


def poisoned(number: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor[(0,) * tensor.ndim] = number
        return tensor

    return change


def raw(name: str, content: bytes) -> Make:
    return lambda box: box.write(name, content)


def write_pickle(content: Callable[[], Any]) -> Make:
    def make(box: Sandbox) -> None:
        buffer = io.BytesIO()
        torch.save(content(), buffer)
        box.write("w.pth", buffer.getvalue())

    return make


def one(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Make:
    return write_pickle(lambda: state() | {name: change(state()[name])})


def half_written(name: str, share: float) -> Make:
    def make(box: Sandbox) -> None:
        if name == "w.pth":
            write_pickle(state)(box)
        else:
            safetensors(len)(box)
        data = (box.work / name).read_bytes()
        box.write(name, data[: int(len(data) * share)])

    return make


class Code:
    """An object that would write a file when unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


def header(text: str, claimed: int | None = None) -> bytes:
    data = text.encode()
    return (len(data) if claimed is None else claimed).to_bytes(8, "little") + data


def archive_of_code() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"conv1.weight": Code()}, protocol=2))
        file.writestr("archive/version", "3")
    return buffer.getvalue()


def beyond(box: Sandbox) -> None:
    tensor = {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}
    box.write("w.safetensors", header(json.dumps({"conv1.weight": tensor})))


def device(box: Sandbox) -> None:
    link_to_a_device(box.work / "w.safetensors")


def quantised(tensor: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        # Deprecated, and still in people's files.
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


ROWS = [
    refused("the file is not there", "w.safetensors", ".pth"),
    refused("the file says nothing of how images are prepared", "w.safetensors", "--mean", make=safetensors(len)),
    refused("the file is a folder", "w.safetensors", make=lambda box: (box.work / "w.safetensors").mkdir()),
    refused("the file is a FIFO", "w.safetensors", make=lambda box: named_pipe(box.work / "w.safetensors")),
    refused_pickle("the pickled file is a FIFO", "w.pth", make=lambda box: named_pipe(box.work / "w.pth")),
    refused("the file is a link to a device", "w.safetensors", make=device),
    row("the name is empty", "train --preset tiny --weights ''", 2, "weights"),
    refused("the file is empty", "w.safetensors", make=raw("w.safetensors", b"")),
    refused_pickle("the pickled file is empty", "w.pth", make=raw("w.pth", b"")),
    refused("the file is a text", "w.safetensors", make=raw("w.safetensors", b"no weights at all")),
    refused_pickle("the pickled file is a text", "w.pth", make=raw("w.pth", b"no weights at all")),
    refused("the header claims 2^60 bytes", "w.safetensors", make=raw("w.safetensors", header("{}", 1 << 60))),
    refused("the header is not JSON", "w.safetensors", make=raw("w.safetensors", header("{{{"))),
    refused("the header is a list", "w.safetensors", make=raw("w.safetensors", header("[]"))),
    refused("the header holds nothing", "w.safetensors", make=raw("w.safetensors", header("{}"))),
    refused("the header claims 10^12 values", "w.safetensors", make=beyond),
    refused("the file was written by half", "w.safetensors", make=half_written("w.safetensors", 0.5)),
    refused("the last byte is missing", "w.safetensors", make=half_written("w.safetensors", 1 - 1e-8)),
    refused_pickle("the pickled file was written by half", "w.pth", make=half_written("w.pth", 0.5)),
    refused("a tensor is missing", "w.safetensors", "bn1.weight is missing",
        make=safetensors(lambda tensors: tensors.pop("bn1.weight"))),
    refused("a tensor is extra", "w.safetensors", "more is extra",
        make=safetensors(lambda tensors: tensors.update(more=torch.zeros(2)))),
    refused("a tensor has another shape", "conv1.weight has shape",
        make=value("conv1.weight", lambda tensor: tensor[:4])),
    refused("a tensor is empty", "conv1.weight", make=value("conv1.weight", lambda tensor: tensor[:0])),
    refused("a weight is not a number", "w.safetensors", "layer1.0.conv1.weight", "nan",
        make=value("layer1.0.conv1.weight", poisoned(float("nan")))),
    refused("a weight is infinite", "w.safetensors", "layer1.0.conv1.weight", "inf",
        make=value("layer1.0.conv1.weight", poisoned(float("inf")))),
    refused("a running variance is not a number", "w.safetensors", "bn1.running_var",
        make=value("bn1.running_var", poisoned(float("nan")))),
    refused_pickle("a tensor is complex", "w.pth", "conv1.weight", "complex",
        make=one("conv1.weight", lambda tensor: tensor.to(torch.complex64))),
    refused_pickle("a tensor is sparse", "w.pth", "conv1.weight", "sparse",
        make=one("conv1.weight", lambda tensor: tensor.to_sparse())),
    refused_pickle("a tensor has no memory", "w.pth", "conv1.weight", "meta",
        make=one("conv1.weight", lambda tensor: tensor.to("meta"))),
    refused_pickle("a tensor is quantised", "w.pth", "conv1.weight", make=one("conv1.weight", quantised)),
    refused_pickle("a pickled weight is not a number", "w.pth", "conv1.weight", "nan",
        make=one("conv1.weight", lambda tensor: poisoned(float("nan"))(tensor.clone()))),
    refused_pickle("a pickled file holds a list", "w.pth", "state dict", make=write_pickle(lambda: [torch.zeros(2)])),
    refused_pickle("a pickled file holds an empty dictionary", "w.pth", make=write_pickle(dict)),
    refused_pickle("a pickled file has keys that are numbers", "w.pth", make=write_pickle(lambda: {1: torch.zeros(2)})),
    refused_pickle("a pickled file holds a whole training", "w.pth", "state dict",
        make=write_pickle(lambda: {"epoch": 3, "state_dict": {"a": torch.zeros(2)}})),
    refused_pickle("a pickle holds code", "w.pth", intact="every file: the code does not run",
        make=raw("w.pth", pickle.dumps({"conv1.weight": Code()}, protocol=2))),
    refused_pickle("an archive of torch holds code", "w.pth", intact="every file: the code does not run",
        make=raw("w.pth", archive_of_code())),
    row("a measured network's weights are a text", "features --data photos --weights w.pth --out maps.json", 2, "w.pth",
        make=lambda box: (box.photos(), box.write("w.pth", "no weights"))),
    row("ImageNet's weights cannot be downloaded", "train --preset tiny --weights imagenet", 2, "--weights none",
        written=("home/torch*",), make=lambda box: box.patch(torch.hub, "download_url_to_file", refuse_download)),
]  # fmt: skip


def refuse_download(*_arguments: object, **_options: object) -> None:
    raise OSError("no network")
