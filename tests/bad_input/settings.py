"""Rows of bad input: TOML files of settings (each one optimizer's training)."""

from __future__ import annotations

from collections.abc import Callable

from tests.bad_input.row import refusals_of, rows_of
from tests.bad_input.sandbox import Sandbox
from tests.special_files import link_to_a_device, named_pipe

row = rows_of("TOML")

COMMAND = "train --preset tiny --config mine.toml"
refused = refusals_of("TOML", COMMAND)
GOOD = 'name = "a"\noptimizer = "SGD"\n'


def toml(content: str | bytes) -> Callable[[Sandbox], object]:
    return lambda box: box.write("mine.toml", content)


def setting(more: str) -> Callable[[Sandbox], object]:
    """Return a function that writes a settings file in which the keys of `more` override valid ones."""
    keys = dict(line.split(" = ", 1) for line in (*GOOD.splitlines(), *more.splitlines()))
    return toml("[[settings]]\n" + "".join(f"{name} = {value}\n" for name, value in keys.items()))


def a_link_to_a_device(box: Sandbox) -> None:
    link_to_a_device(box.work / "mine.toml")


ROWS = [
    refused("the file is not there", "no file mine.toml"),
    refused("the file is a folder", "mine.toml", make=lambda box: (box.work / "mine.toml").mkdir()),
    refused("the file is a FIFO", "mine.toml", make=lambda box: named_pipe(box.work / "mine.toml")),
    refused("the file is a link to a device", "mine.toml", make=a_link_to_a_device),
    refused("the file is not TOML", "mine.toml is not TOML", make=toml("epochs: 3")),
    refused("the file is not UTF-8", "mine.toml is not TOML", make=toml(b'model = "\xff"')),
    refused("the file is nested 5,000 deep", "mine.toml", make=toml("modules = " + "[" * 5000 + "]" * 5000)),
    refused("a key stands twice", "mine.toml is not TOML", make=toml("epochs = 1\nepochs = 2\n")),
    refused("a whole number has 5,000 digits", "mine.toml", make=toml("seed = " + "9" * 5000)),
    refused("a key is unknown", "mine.toml", "epoch", "epochs", make=toml("epoch = 3")),
    refused("a preset is named", "mine.toml", "--preset", make=toml('preset = "demo"')),
    refused("a number is a text", "mine.toml", "epochs", "'3'", make=toml('epochs = "3"')),
    refused("a number is true", "mine.toml", "epochs", "True", make=toml("epochs = true")),
    refused("a whole number is a fraction", "mine.toml", "epochs", "1.5", make=toml("epochs = 1.5")),
    refused("a number is a date", "mine.toml", "epochs", make=toml("epochs = 2024-01-01")),
    refused("a number is a table", "mine.toml", "epochs", make=toml("[epochs]\na = 1")),
    refused("there are no epochs", "epochs", "0", make=toml("epochs = 0")),
    refused("there are 10^20 epochs", "epochs", make=toml("epochs = 100000000000000000000")),
    refused("there are 10^20 scenes", "scenes", make=toml("scenes = 100000000000000000000")),
    refused("the seed is negative", "seed", "-1", make=toml("seed = -1")),
    refused("images are too small", "image_size", "31", make=toml("image_size = 31")),
    refused("images are larger than memory", "image_size", "100000", make=toml("image_size = 100000")),
    refused("a batch has one image", "batch_size", make=toml("batch_size = 1")),
    refused("a batch has 10^20 images", "batch_size", make=toml("batch_size = 100000000000000000000")),
    refused("a batch of evaluation has no image", "evaluation_batch_size", make=toml("evaluation_batch_size = 0")),
    refused("one image is measured", "feature_images", make=toml("feature_images = 1")),
    refused("the warm-up is all of the training", "warm_up", make=toml("warm_up = 1.0")),
    refused("the warm-up is not a number", "warm_up", "nan", make=toml("warm_up = nan")),
    refused("there are no modules", "modules", make=toml("modules = []")),
    refused("a module is a number", "modules", make=toml("modules = [1]")),
    refused("modules are a text", "modules", make=toml('modules = "conv1"')),
    refused("a module is unknown", "conv9", "conv1", make=toml('modules = ["conv9"]')),
    refused("a module stands twice", "conv1", make=toml('modules = ["conv1", "conv1"]')),
    refused("there are no settings", "settings", make=toml("settings = []")),
    refused("settings are a number", "settings", make=toml("settings = 3")),
    refused("a setting is a number", "settings", make=toml("settings = [3]")),
    refused("a setting has no optimizer", "optimizer", make=toml('[[settings]]\nname = "a"')),
    refused("a setting has an unknown key", "rate", make=setting("rate = 1")),
    refused("two settings have one name", "'a'", make=toml(f"[[settings]]\n{GOOD}[[settings]]\n{GOOD}")),
    refused("two settings differ by the case of their letters", "'A'",
        make=toml(f"[[settings]]\n{GOOD}[[settings]]\n{GOOD.replace('a', 'A', 2).replace('nAme', 'name')}")),
    refused("a setting is named -", "'-'", make=setting('name = "-"')),
    refused("a setting's name leads out of the run", "'../x'", make=setting('name = "../x"')),
    refused("a setting's name is absolute", "'/a/x'", make=setting('name = "/a/x"')),
    refused("a setting's name has a line break", "setting", make=setting('name = "a\\nb"')),
    refused("a setting's name is 300 characters long", "setting", make=setting(f'name = "{"a" * 300}"')),
    refused("a setting is named like a device of Windows", "con", make=setting('name = "con"')),
    refused("an optimizer is unknown", "Adamaz", "AdamW", make=setting('optimizer = "Adamaz"')),
    refused("a learning rate is not a number", "learning_rate", "nan", make=setting("learning_rate = nan")),
    refused("a learning rate is infinite", "learning_rate", "inf", make=setting("learning_rate = inf")),
    refused("a learning rate is negative", "learning_rate", make=setting("learning_rate = -1.0")),
    refused("what is trained is unknown", "'body'", "from:LAYER", make=setting('train = "body"')),
    refused("what is trained is a number", "train is 3", "takes str", make=setting("train = 3")),
    refused("an optimizer trains a head", "trains head by SGD", "L-BFGS", make=setting('train = "head"')),
    refused("a fit trains everything", "trains all by L-BFGS", make=setting('optimizer = "L-BFGS"')),
    refused("the fit of a head has a learning rate", "head_learning_rate", "0.1",
        make=setting('optimizer = "L-BFGS"\ntrain = "head"\nhead_learning_rate = 0.1')),
    refused("a head's learning rate is 0", "head_learning_rate", make=setting("head_learning_rate = 0.0")),
    refused("a head's learning rate is negative", "head_learning_rate", make=setting("head_learning_rate = -1.0")),
    refused("a head's learning rate is not a number", "head_learning_rate is nan",
        make=setting("head_learning_rate = nan")),
    refused("a head's learning rate is true", "it takes int or float", make=setting("head_learning_rate = true")),
    refused("a momentum is 1", "momentum", make=setting("momentum = 1.0")),
    refused("the model is unknown", "resnet19", "resnet18", make=toml('model = "resnet19"')),
    refused("the device is unknown", "tpu", make=toml('device = "tpu"')),
    refused("a deviation is unknown", "shared", "shared-split", make=toml('protocol = ["shared"]')),
    refused("a deviation is a number", "protocol", make=toml("protocol = [1]")),
    refused("the data are an empty text", "data", make=toml('data = ""')),
    refused("the data have a byte 0", "data", make=toml('data = "a\\u0000b"')),
    row("a report is asked for other settings than were trained", "report runs/tiny --config mine.toml", 2, "--config",
        "report RUN", make=lambda box: (box.run(), box.write("mine.toml", "epochs = 3"))),
]  # fmt: skip
