"""Rows of bad input: interrupted runs that are resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from typing import Any

import torch

from in4310repro.system.tensors import read_tensors, tensor_bytes
from tests.bad_input.row import each_of, refusals_of, rows_of
from tests.bad_input.sandbox import Sandbox, seal

row = rows_of("checkpoints")

RESUME = "train --preset tiny --resume"
refused = refusals_of("checkpoints", RESUME)
RUN = "runs/tiny"
INTACT = "the run, which the right command still ends"
# What the last step of a training writes.
ENDED = ("work/runs/tiny/*",)
Make = Callable[[Sandbox], object]


def interrupt_run(box: Sandbox) -> None:
    """Make a run that was interrupted before its test set was scored."""
    folder = box.whole_run()
    for name in ("metrics.json", "scores.npz", "features.json"):
        (folder / name).unlink()
    seal(folder, "config.json")


def still_ends(box: Sandbox) -> None:
    """Check that a correctly typed `train --resume` completes the interrupted run after the refused command."""
    outcome = box.call(RESUME.split())
    assert outcome.code == 0, outcome.err
    assert (box.work / RUN / "metrics.json").is_file()


def with_json(name: str, change: Callable[[Any], Any], *, sealed: bool = True) -> Make:
    def make(box: Sandbox) -> None:
        interrupt_run(box)
        box.edit_json(f"{RUN}/{name}", change)
        if sealed:
            seal(box.work / RUN, name)

    return make


def with_text(name: str, content: str) -> Make:
    def make(box: Sandbox) -> None:
        interrupt_run(box)
        box.write(f"{RUN}/{name}", content)

    return make


def without(name: str) -> Make:
    return each_of(interrupt_run, lambda box: (box.work / RUN / name).unlink())


def with_checkpoint(metadata: dict[str, str], tensors: dict[str, torch.Tensor] | None = None) -> Make:
    """Return a function that makes an interrupted run with this checkpoint of its last optimizer."""

    def make(box: Sandbox) -> None:
        interrupt_run(box)
        shutil.rmtree(box.work / RUN / "sgd")
        data = tensor_bytes(tensors or {"model.fc.bias": torch.zeros(6)}, metadata)
        name = f"000000-00000001-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
        box.write(f"{RUN}/sgd/checkpoint/{name}", data)

    return make


def with_state(state: dict[str, torch.Tensor]) -> Make:
    """Return a function that makes an interrupted run whose AdamW checkpoint contains this optimizer state."""

    def make(box: Sandbox) -> None:
        interrupt_run(box)
        weights = read_tensors(box.work / RUN / "adamw/best.safetensors")
        shutil.rmtree(box.work / RUN / "adamw")
        tensors = {f"model.{name}": value for name, value in weights.items()}
        tensors |= {f"optimizer.{name}": value for name, value in state.items()}
        config = (box.work / RUN / "config.json").read_text()
        data = tensor_bytes(tensors, {"config": config, "position": json.dumps(POSITION)})
        name = f"000000-00000001-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
        box.write(f"{RUN}/adamw/checkpoint/{name}", data)

    return make


# The first parameter of the network has 8 x 3 x 7 x 7 values.
MOMENTS = {f"0.{name}": torch.zeros(8, 3, 7, 7) for name in ("exp_avg", "exp_avg_sq")} | {"0.step": torch.tensor(3.0)}
POSITION = {"epoch": 0, "batch": 1, "loss": 1.0, "history": [], "tensors": []}

ROWS = [
    row("the seed is another", f"{RESUME} --seed 1", 2, "seed", make=interrupt_run, intact=INTACT,
        afterwards=still_ends),
    row("the number of epochs is another", f"{RESUME} --epochs 3", 2, "epochs", make=interrupt_run, intact=INTACT,
        afterwards=still_ends),
    row("the images are others", f"{RESUME} --out runs/tiny --data photos --split 10/4/4", 2, "runs/tiny",
        make=each_of(interrupt_run, Sandbox.photos), intact=INTACT, afterwards=still_ends),
    refused("the split was changed", "split.csv",
        make=each_of(interrupt_run, lambda box: box.replace(f"{RUN}/split.csv", ",test", ",training"))),
    refused("the split is missing", "split.csv", make=without("split.csv")),
    refused("the arithmetic was another", "numeric_class", "abc",
        make=with_json("fingerprint.json", lambda value: value.update(numeric_class="abc"))),
    refused("the library was another", "versions",
        make=with_json("fingerprint.json", lambda value: value["versions"].update(torch="1.0"))),
    refused("the fingerprint is a list", "fingerprint.json", make=with_json("fingerprint.json", lambda _: [1])),
    refused("the fingerprint is missing", "fingerprint.json", make=without("fingerprint.json")),
    refused("the configuration is a list", "config.json", make=with_json("config.json", lambda _: [1])),
    refused("the configuration is not JSON", "config.json", make=with_text("config.json", "{")),
    refused("the configuration is of another format", "config.json", "format",
        make=with_json("config.json", lambda value: value.update(format=99))),
    refused("the manifest is a list", "manifest.json", make=with_text("manifest.json", "[]")),
    refused("the manifest is not JSON", "manifest.json", make=with_text("manifest.json", "{")),
    refused(
        "the manifest names a file outside",
        "manifest.json",
        "../../../victim/secret.png",
        make=with_json(
            "manifest.json", lambda value: value.update({"../../../victim/secret.png": "0" * 64}), sealed=False
        ),
    ),
    refused("a sealed history is an empty object", "adamw/history.json",
        make=with_json("adamw/history.json", lambda _: {})),
    refused("a sealed history has an empty row", "adamw/history.json",
        make=with_json("adamw/history.json", lambda value: [value[0], {}])),
    refused("a checkpoint is of another configuration", "checkpoint", "seed",
        make=with_checkpoint({"config": json.dumps({"seed": 7}), "position": json.dumps(POSITION)}), written=ENDED),
    refused("a checkpoint with the right hash has no position", "checkpoint",
        make=with_checkpoint({"config": "{}"}), written=ENDED),
    refused("a checkpoint with the right hash has nested metadata", "checkpoint",
        make=with_checkpoint({"config": "[" * 3000, "position": "{}"}), written=ENDED),
    refused("an optimizer's state is smaller than its parameter", "checkpoint", "0.exp_avg", "(8, 3, 7, 7)",
        make=with_state(MOMENTS | {"0.exp_avg": torch.zeros(1)}), written=ENDED),
    refused("an optimizer's state has doubles", "checkpoint", "0.exp_avg_sq", "torch.float32",
        make=with_state(MOMENTS | {"0.exp_avg_sq": torch.zeros(8, 3, 7, 7, dtype=torch.float64)}), written=ENDED),
    refused("an optimizer's state is missing", "checkpoint", "1.step", "missing", make=with_state(MOMENTS),
        written=ENDED),
    refused("an optimizer's state is another optimizer's", "checkpoint", "0.step", "missing",
        make=with_state({"0.momentum_buffer": torch.zeros(8, 3, 7, 7)}), written=ENDED),
    refused("an optimizer made nan steps", "checkpoint", "0.step", "a whole number from 0",
        make=with_state(MOMENTS | {"0.step": torch.tensor(float("nan"))}), written=ENDED),
    refused("an optimizer made more steps than it can count", "checkpoint", "0.step", "a whole number from 0",
        make=with_state(MOMENTS | {"0.step": torch.tensor(1e30)}), written=ENDED),
]  # fmt: skip
