"""Rows of bad input: `data check` by the features of a network."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from PIL import Image

from in4310repro import models
from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.system.tensors import tensor_bytes
from tests.bad_input.row import each_of, refusals_of, rows_of
from tests.bad_input.sandbox import Sandbox

row = rows_of("features of a network")

NETWORK = "shufflenet_v2_x0_5"  # small, and ends in a linear layer
OF_RUN, OF_FILE = (
    "data check photos --weights runs/tiny",
    f"data check photos --weights w.safetensors --model {NETWORK}",
)
refused = refusals_of("features of a network", OF_RUN)
Make = Callable[[Sandbox], object]


@functools.cache
def state(name: str) -> dict[str, torch.Tensor]:
    """Return weights that fit the network; the caller must not change them."""
    return dict(models.build(name, 2, seed=1).state_dict())


def weights(name: str = NETWORK, factor: float = 1.0) -> Make:
    """Return a function that makes photographs and a weights file whose first tensor is multiplied by `factor`."""

    def make(box: Sandbox) -> None:
        first, *others = state(name).items()
        tensors = {first[0]: first[1] * factor} | dict(others)
        box.photos(images=10)
        box.write("w.safetensors", tensor_bytes(tensors, to_metadata(Preprocessing())))

    return make


def cut_weights(box: Sandbox) -> None:
    content = (box.run() / "chosen/best.safetensors").read_bytes()
    box.write("runs/tiny/chosen/best.safetensors", content[: len(content) // 2])


def unfinished(box: Sandbox) -> None:
    (box.run() / "metrics.json").unlink()


def of_run(images: int = 10) -> Make:
    return each_of(lambda box: box.photos(images=images), lambda box: box.run())


def unreadable(name: str) -> Make:
    """Make a run, and class folders of photographs in which one class's files contain text."""

    def make(box: Sandbox) -> None:
        box.run()
        for file in box.photos(images=10).glob(f"{name}/*.png"):
            file.write_text("no image")

    return make


def without_a_class(box: Sandbox) -> None:
    """Make a run, and a folder of photographs with only one class."""
    box.run()
    box.photos(classes=("cat",), images=10)


def plain(box: Sandbox) -> None:
    """Make a run, and photographs that are all plain red."""
    box.run()
    for file in box.photos(images=10).rglob("*.png"):
        Image.new("RGB", (32, 32), "red").save(file)


def folder(name: str) -> Make:
    return lambda box: (box.work / name).mkdir(parents=True)


ROWS = [
    row("the folder is not a run", "data check photos --weights other", 2, "other is not a run", make=folder("other")),
    refused("the run is not finished", "runs/tiny", "metrics.json", make=unfinished),
    refused("the run's weights were written by half", "chosen/best.safetensors", make=cut_weights),
    row("neither a run nor a file is there", "data check photos --weights nowhere", 2, "nowhere", "--model NAME"),
    row("the file is not there", OF_FILE, 2, "w.safetensors", ".pth file"),
    row("the weights have no name", "data check photos --weights ''", 2, "''", "--model NAME"),
    row("there are no weights", f"data check photos --weights none --model {NETWORK}", 2, "'none'", "not a run folder"),
    row("nobody says of which network a file is", "data check photos --weights w.pth", 2, "w.pth", "--model NAME"),
    row("the network of a file is unknown", "data check photos --weights w.pth --model resnet19", 2, "resnet19"),
    row("the file is a text", OF_FILE, 2, "w.safetensors is not a complete safetensors file",
        make=lambda box: box.write("w.safetensors", "no weights")),
    row("the file is of another network", OF_FILE, 2, "w.safetensors does not fit", make=weights("squeezenet1_1")),
    row("the network has no last linear layer", OF_FILE.replace(NETWORK, "squeezenet1_1"), 2,
        "squeezenet1_1 does not end in one linear layer", "resnet18 has one", make=weights("squeezenet1_1")),
    row("the file says nothing of how images are prepared", OF_FILE, 2, "w.safetensors", "--mean",
        make=lambda box: box.write("w.safetensors", tensor_bytes(state(NETWORK)))),
    row("features are not finite", f"{OF_FILE} --image-size 32", 2, "20 of 20 images", "nan",
        make=weights(factor=3e38)),
    row("a run is given another size", f"{OF_RUN} --image-size 64", 2, "--image-size", "runs/tiny", make=of_run()),
    row("a run is given another network", f"{OF_RUN} --model resnet34", 2, "resnet34", "resnet18", make=of_run()),
    row("images are too small for it", f"{OF_FILE} --image-size 31", 2, "image_size is 31"),
    row("a mean has two numbers", f"{OF_FILE} --mean 0.5,0.5", 2, "mean is 0.5,0.5"),
    row("an interpolation is unknown", f"{OF_FILE} --interpolation cubic", 2, "'cubic'", "did you mean bicubic"),
    row("a size without a network", "data check photos --image-size 64", 2, "--image-size goes with --weights"),
    row("a page without a network", "data check photos --page p.html", 2, "--page goes with --weights"),
    row("no pictures without a network", "data check photos --no-photographs", 2,
        "--no-photographs goes with --weights"),
    row("no pictures without a page", f"{OF_RUN} --no-photographs", 2, "--no-photographs goes with --page"),
    row("the page is a folder", f"{OF_RUN} --page p.html", 2, "p.html is a folder", make=folder("p.html")),
    row("the result is a folder", f"{OF_RUN} --out o.json", 2, "o.json is a folder", make=folder("o.json")),
    refused("a class has one image", "class cat has 1 readable images", make=of_run(images=1)),
    row("a folder has one class", f"{OF_RUN} --out o.json", 2, "images of 1 class;", make=without_a_class,
        written=("work/o.json",)),
    refused("no image of a class can be read", "class dog has 0 readable images", make=unreadable("dog")),
    refused("no image can be read", "class cat has 0 readable images", make=unreadable("*")),
    refused("all images are alike", "class cat has 1 readable images", make=plain),
    row("the split is not there", f"{OF_RUN} --split nowhere.csv", 2, "nowhere.csv is not there", make=of_run()),
]  # fmt: skip
