"""Training by one to five processes, whose files are all compared; writes docs/processes.json and its table.

Two operands of a sum commute, so a wrong order shows from three leaves or three processes on; batches of 20 and 32
images have three and four leaves.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torchvision
from tests.processes import METHOD
from torch import nn

from benchmarks import processes_page
from in4310repro.runs import names
from in4310repro.runs.config import Config
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context

SIZES = (1, 2, 3, 4, 5)
BATCHES = (8, 20, 32)
NETWORKS = {
    "ResNet-18": "resnet18",
    "MobileNetV2 (depth-wise convolutions)": f"{__name__}:depth_wise",
    "three layers without batch norm": f"{__name__}:plain_layers",
}
# Files that do not depend on the number of processes, without those of a report.
COMPARED = (names.SCORES, names.METRICS, names.SPLIT)


def depth_wise(num_classes: int) -> nn.Module:
    """Return MobileNetV2 without dropout, because portable arithmetic does not support dropout."""
    model: nn.Module = torchvision.models.MobileNetV2(num_classes, dropout=0)
    return model


def plain_layers(num_classes: int) -> nn.Module:
    """Return a network of two convolutions with bias and a linear layer."""
    first, second = nn.Conv2d(3, 20, 3, 2, 1), nn.Conv2d(20, 33, 3, 2, 1)
    return nn.Sequential(
        first, nn.ReLU(), second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(33, num_classes)
    )


def make_config(model: str, batch_size: int) -> Config:
    """Return the tiny preset with one setting (one optimizer's training) and 40 training scenes."""
    tiny = PRESETS["tiny"]
    split, numerics = "40/10/10", "portable"
    return replace(
        tiny, model=model, batch_size=batch_size, settings=tiny.settings[:1], scenes=10, split=split, numerics=numerics
    )


def find_free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def describe_rank(rank: int, size: int, port: int) -> None:
    """Set the environment variables that torchrun sets for a rank."""
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{size}"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}


def run_rank(rank: int, size: int, port: int, config: Config, folder: Path, device: str, from_the_last: bool) -> None:
    """Train as one process of torchrun, without the command line.

    If `from_the_last`, the processes' sums are added from last to first, which is a wrong order.
    """
    describe_rank(rank, size, port)
    from in4310repro.arithmetic import tree
    from in4310repro.models.sources import open_network
    from in4310repro.system.numerics import activate
    from in4310repro.system.processes import join
    from in4310repro.training import experiment

    torch.set_num_threads(1)
    numerics = activate(config.numerics, device)
    open_network(config.model).trust()
    if from_the_last:
        tree.add = add_from_the_last  # type: ignore[assignment]
    with join(device) as processes:
        if processes.leads:
            experiment.train(config, folder, context=Context(numerics, processes=processes))
        else:
            experiment.follow(config, Context(numerics, processes=processes))


def add_from_the_last(_node: range, sums: Mapping[range, torch.Tensor]) -> torch.Tensor:
    """Add the sums from last to first, as in a ring all-reduce, instead of in a tree."""
    first, *others = reversed(list(sums.values()))
    for value in others:
        first += value
    return first


def train_together(
    size: int, config: Config, folder: Path, *, device: str = "cpu", from_the_last: bool = False
) -> None:
    run_together(run_rank, size, (config, folder, device, from_the_last))


def run_together(main: Callable[..., None], size: int, arguments: tuple[Any, ...]) -> None:
    """Call main(rank, size, port, *arguments) in `size` processes; raise RuntimeError if one of them fails."""
    context: Any = multiprocessing.get_context(METHOD)
    port = find_free_port()
    started = [context.Process(target=main, args=(rank, size, port, *arguments)) for rank in range(size)]
    for process in started:
        process.start()
    for process in started:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a process of {size} ended with {process.exitcode}")


def hash_run(folder: Path, config: Config) -> str:
    """Return one sha256 of all files of a run that do not depend on the number of processes."""
    of_settings = [
        f"{setting.name}/{name}" for setting in config.settings for name in (names.TENSORS, names.BEST_WEIGHTS)
    ]
    contents = [(folder / name).read_bytes() for name in (*COMPARED, *of_settings)]
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


def measure(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield, per network and batch size, the run's hash for each number of processes and for a wrong sum order."""
    for title, model in NETWORKS.items():
        for batch_size in BATCHES:
            config = make_config(model, batch_size)
            hashes = []
            for size, wrong in [*((size, False) for size in SIZES), (3, True)]:
                run = folder / f"{len(list(folder.iterdir()))}"
                train_together(size, config, run, from_the_last=wrong)
                hashes.append(hash_run(run, config)[:12])
            print(title, batch_size, *hashes, flush=True)  # noqa: T201
            *equal, control = hashes
            yield {
                "network": title,
                "batch": batch_size,
                "sha256": dict(zip(map(str, SIZES), equal, strict=True)),
                "control": control,
            }


def describe_place() -> str:
    """Return a phrase that describes the processor, the version of torch and the numeric class."""
    from in4310repro.system.fingerprint import fingerprint
    from in4310repro.system.numerics import activate

    here = fingerprint(activate("portable", "cpu"))
    return (
        f"on {here['processor']} ({here['capability']}), one thread a process, with torch "
        f"{here['versions']['torch']}, numeric class `{here['numeric_class']}`"
    )


def main() -> int:
    """Write the table; return 1 if a bit depends on the number of processes, or on no order of the sums."""
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(Path(folder)))
    processes_page.update("shares", {"made": describe_place(), "rows": rows})
    hashes = [set(row["sha256"].values()) for row in rows]
    # A batch of one leaf has no order of addition to test.
    controlled = any(row["control"] not in each for row, each in zip(rows, hashes, strict=True))
    return int(any(len(each) > 1 for each in hashes) or not controlled)


if __name__ == "__main__":
    sys.exit(main())
