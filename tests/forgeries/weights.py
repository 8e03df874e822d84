"""Forgeries of weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import torch

from in4310repro.data.images import load_images
from in4310repro.data.preprocessing import to_metadata, without_size
from in4310repro.evaluation.prediction import predict
from in4310repro.system.context import Context
from in4310repro.system.tensors import tensor_bytes
from tests.forgeries.changes import sealed, trailing
from tests.forgeries.forger import LAST, OTHER, SELECTED, Forger, files_of
from tests.forgeries.row import Forge, forgeries_of

State = dict[str, torch.Tensor]
BEST = f"{SELECTED}/best.safetensors"


def changed(setting: str, change: Callable[[State], object], *, fit: bool = False) -> Forge:
    def forge(forger: Forger) -> None:
        state = forger.weights(setting)
        change(state)
        forger.write_weights(setting, state)
        if fit:
            forger.make_fit(setting)
        forger.finish()

    return forge


def of_another_setting(forger: Forger) -> None:
    forger.write_weights(LAST, forger.weights(OTHER))


def as_another_setting(forger: Forger) -> None:
    """Copy the weights and the history of the selected setting into the folder of the last one."""
    for name in (*files_of(SELECTED), BEST):
        forger.write(name.replace(SELECTED, LAST), forger.read(name))


def of_seed_1(forger: Forger) -> None:
    """Use weights of a run of another seed, and recompute everything that depends on them."""
    run = forger.starts("seed 1") / "runs/tiny"
    forger.write(BEST, (run / BEST).read_bytes())
    forger.make_fit()


def trained_on_test(forger: Forger) -> None:
    """Fit the last layer by least squares to the test images, which are fewer than its input features."""
    config, split, state = forger.config(), forger.split(), forger.weights(SELECTED)
    images = load_images("test", split.root, split.parts["test"], config.image_size, cache=False)
    model = config.network.restore(len(split.classes), state, BEST)
    features: list[torch.Tensor] = []
    # Cloned: the last layer's input may be written over.
    model.get_submodule("fc").register_forward_pre_hook(lambda _layer, inputs: features.append(inputs[0].clone()))
    labels = torch.from_numpy(predict(model, images, config, Context(forger.numerics)).labels)
    known = torch.cat([torch.cat(features).double(), torch.ones(len(labels), 1).double()], dim=1)
    # The default driver, gelsy, now and then finds rank 0 and a solution of zeros.
    solution = torch.linalg.lstsq(known, 20 * torch.eye(6).double()[labels], driver="gelsd").solution.float()
    state["fc.weight"], state["fc.bias"] = solution[:-1].T.contiguous(), solution[-1].contiguous()
    forger.write_weights(SELECTED, state)
    forger.make_fit()


def count_a_batch(state: State) -> None:
    state["bn1.num_batches_tracked"] += 1


def low_bit(state: State) -> None:
    state["fc.bias"].view(torch.int32)[0] ^= 1


def another_tensor(state: State) -> None:
    state["note"] = torch.zeros(1)


def double(state: State) -> None:
    state["fc.weight"] = state["fc.weight"].double()


def metadata(forger: Forger) -> None:
    forger.write(
        BEST, tensor_bytes(forger.weights(SELECTED), to_metadata(forger.config().preprocessing) | {"accuracy": "0.99"})
    )


def size_of_metadata(size: int | None) -> Forge:
    """Change the image size in the weights' metadata, or remove it as in older files."""

    def forge(forger: Forger) -> None:
        how = forger.config().preprocessing
        said = without_size(how) if size is None else to_metadata(replace(how, size=size))
        forger.write(BEST, tensor_bytes(forger.weights(SELECTED), said))

    return sealed(forge)


def spaced_header(forger: Forger) -> None:
    """Write the header with spaces: other bytes, the same tensors."""
    data = forger.read(BEST)
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length])).encode()
    header += b" " * (-len(header) % 8)
    forger.write(BEST, len(header).to_bytes(8, "little") + header + data[8 + length :])


def trailing_weights(forger: Forger) -> None:
    trailing(BEST)(forger)


row = forgeries_of("weights")
ROWS = [
    row("another setting's weights replaced", sealed(of_another_setting), f"{LAST}/"),
    row("one bit of another setting's weights", changed(LAST, low_bit), f"{LAST}/"),
    row("one bit of the selected weights", changed(SELECTED, low_bit), "weights"),
    row(
        "another setting shown with the weights and history of the selected one",
        sealed(as_another_setting),
        by="nothing",
        shown_by="`--replay --setting all`, or a training by the same command",
    ),
    row("a tensor of their own", changed(SELECTED, another_tensor), BEST),
    row("float64", changed(SELECTED, double), BEST),
    row("metadata", sealed(metadata), BEST),
    row("size of the images in the metadata", size_of_metadata(224), BEST, "224"),
    row(
        "no size of the images in the metadata",
        size_of_metadata(None),
        by="nothing",
        shown_by="no need: files of before say none, and `config.json` does",
    ),
    row("a header with spaces", sealed(spaced_header), BEST),
    row("bytes at the end", trailing_weights, BEST),
]
