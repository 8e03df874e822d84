"""Rows of bad input: TOML files of settings (each one optimizer's training)."""

from __future__ import annotations

from collections.abc import Callable

from tests.bad_input.row import rows_of
from tests.bad_input.sandbox import Sandbox
from tests.special_files import link_to_a_device, named_pipe

row = rows_of("TOML")

COMMAND = "train --preset tiny --config mine.toml"
GOOD = 'name = "a"\noptimizer = "SGD"\n'


def toml(content: str | bytes) -> Callable[[Sandbox], object]:
    return lambda box: box.write("mine.toml", content)


def setting(more: str) -> Callable[[Sandbox], object]:
    """Write a settings file with changed keys, which override the good ones."""
    keys = dict(line.split(" = ", 1) for line in (*GOOD.splitlines(), *more.splitlines()))
    return toml("[[settings]]\n" + "".join(f"{name} = {value}\n" for name, value in keys.items()))


def a_link_to_a_device(box: Sandbox) -> None:
    link_to_a_device(box.work / "mine.toml")


ROWS = [
    row("the file is not there", COMMAND, 2, "no file mine.toml"),
    row("the file is a folder", COMMAND, 2, "mine.toml", make=lambda box: (box.work / "mine.toml").mkdir()),
    row("the file is a FIFO", COMMAND, 2, "mine.toml", make=lambda box: named_pipe(box.work / "mine.toml")),
    row("the file is a link to a device", COMMAND, 2, "mine.toml", make=a_link_to_a_device),
    row("the file is no TOML", COMMAND, 2, "mine.toml is not TOML", make=toml("epochs: 3")),
    row("the file is no UTF-8", COMMAND, 2, "mine.toml is not TOML", make=toml(b'model = "\xff"')),
    row("the file is nested 5,000 deep", COMMAND, 2, "mine.toml", make=toml("modules = " + "[" * 5000 + "]" * 5000)),
    row("a key stands twice", COMMAND, 2, "mine.toml is not TOML", make=toml("epochs = 1\nepochs = 2\n")),
    row("a whole number has 5,000 digits", COMMAND, 2, "mine.toml", make=toml("seed = " + "9" * 5000)),
    row("a key is unknown", COMMAND, 2, "mine.toml", "epoch", "epochs", make=toml("epoch = 3")),
    row("a preset is named", COMMAND, 2, "mine.toml", "--preset", make=toml('preset = "demo"')),
    row("a number is a text", COMMAND, 2, "mine.toml", "epochs", "'3'", make=toml('epochs = "3"')),
    row("a number is true", COMMAND, 2, "mine.toml", "epochs", "True", make=toml("epochs = true")),
    row("a whole number is a fraction", COMMAND, 2, "mine.toml", "epochs", "1.5", make=toml("epochs = 1.5")),
    row("a number is a date", COMMAND, 2, "mine.toml", "epochs", make=toml("epochs = 2024-01-01")),
    row("a number is a table", COMMAND, 2, "mine.toml", "epochs", make=toml("[epochs]\na = 1")),
    row("there are no epochs", COMMAND, 2, "epochs", "0", make=toml("epochs = 0")),
    row("there are 10^20 epochs", COMMAND, 2, "epochs", make=toml("epochs = 100000000000000000000")),
    row("there are 10^20 scenes", COMMAND, 2, "scenes", make=toml("scenes = 100000000000000000000")),
    row("the seed is negative", COMMAND, 2, "seed", "-1", make=toml("seed = -1")),
    row("images are too small", COMMAND, 2, "image_size", "31", make=toml("image_size = 31")),
    row("images are larger than memory", COMMAND, 2, "image_size", "100000", make=toml("image_size = 100000")),
    row("a batch has one image", COMMAND, 2, "batch_size", make=toml("batch_size = 1")),
    row("a batch has 10^20 images", COMMAND, 2, "batch_size", make=toml("batch_size = 100000000000000000000")),
    row("a batch of evaluation has no image", COMMAND, 2, "evaluation_batch_size",
        make=toml("evaluation_batch_size = 0")),
    row("one image is measured", COMMAND, 2, "feature_images", make=toml("feature_images = 1")),
    row("the warm-up is all of the training", COMMAND, 2, "warm_up", make=toml("warm_up = 1.0")),
    row("the warm-up is no number", COMMAND, 2, "warm_up", "nan", make=toml("warm_up = nan")),
    row("there are no modules", COMMAND, 2, "modules", make=toml("modules = []")),
    row("a module is a number", COMMAND, 2, "modules", make=toml("modules = [1]")),
    row("modules are a text", COMMAND, 2, "modules", make=toml('modules = "conv1"')),
    row("a module is unknown", COMMAND, 2, "conv9", "conv1", make=toml('modules = ["conv9"]')),
    row("a module stands twice", COMMAND, 2, "conv1", make=toml('modules = ["conv1", "conv1"]')),
    row("there are no settings", COMMAND, 2, "settings", make=toml("settings = []")),
    row("settings are a number", COMMAND, 2, "settings", make=toml("settings = 3")),
    row("a setting is a number", COMMAND, 2, "settings", make=toml("settings = [3]")),
    row("a setting has no optimizer", COMMAND, 2, "optimizer", make=toml('[[settings]]\nname = "a"')),
    row("a setting has an unknown key", COMMAND, 2, "rate", make=setting("rate = 1")),
    row("two settings have one name", COMMAND, 2, "'a'", make=toml(f"[[settings]]\n{GOOD}[[settings]]\n{GOOD}")),
    row("two settings differ by the case of their letters", COMMAND, 2, "'A'",
        make=toml(f"[[settings]]\n{GOOD}[[settings]]\n{GOOD.replace('a', 'A', 2).replace('nAme', 'name')}")),
    row("a setting is named -", COMMAND, 2, "'-'", make=setting('name = "-"')),
    row("a setting's name leads out of the run", COMMAND, 2, "'../x'", make=setting('name = "../x"')),
    row("a setting's name is absolute", COMMAND, 2, "'/a/x'", make=setting('name = "/a/x"')),
    row("a setting's name has a line break", COMMAND, 2, "setting", make=setting('name = "a\\nb"')),
    row("a setting's name is 300 characters long", COMMAND, 2, "setting", make=setting(f'name = "{"a" * 300}"')),
    row("a setting is named like a device of Windows", COMMAND, 2, "con", make=setting('name = "con"')),
    row("an optimizer is unknown", COMMAND, 2, "Adamax", "AdamW", make=setting('optimizer = "Adamax"')),
    row("a learning rate is no number", COMMAND, 2, "learning_rate", "nan", make=setting("learning_rate = nan")),
    row("a learning rate is infinite", COMMAND, 2, "learning_rate", "inf", make=setting("learning_rate = inf")),
    row("a learning rate is negative", COMMAND, 2, "learning_rate", make=setting("learning_rate = -1.0")),
    row("what is trained is unknown", COMMAND, 2, "'body'", "from:LAYER", make=setting('train = "body"')),
    row("what is trained is a number", COMMAND, 2, "train is 3", "takes str", make=setting("train = 3")),
    row("an optimizer trains a head", COMMAND, 2, "trains head by SGD", "L-BFGS", make=setting('train = "head"')),
    row("a fit trains everything", COMMAND, 2, "trains all by L-BFGS", make=setting('optimizer = "L-BFGS"')),
    row("the fit of a head has a learning rate", COMMAND, 2, "head_learning_rate", "0.1",
        make=setting('optimizer = "L-BFGS"\ntrain = "head"\nhead_learning_rate = 0.1')),
    row("a head's learning rate is 0", COMMAND, 2, "head_learning_rate", make=setting("head_learning_rate = 0.0")),
    row("a head's learning rate is negative", COMMAND, 2, "head_learning_rate",
        make=setting("head_learning_rate = -1.0")),
    row("a head's learning rate is no number", COMMAND, 2, "head_learning_rate is nan",
        make=setting("head_learning_rate = nan")),
    row("a head's learning rate is true", COMMAND, 2, "it takes int or float",
        make=setting("head_learning_rate = true")),
    row("a momentum is 1", COMMAND, 2, "momentum", make=setting("momentum = 1.0")),
    row("the model is unknown", COMMAND, 2, "resnet19", "resnet18", make=toml('model = "resnet19"')),
    row("the device is unknown", COMMAND, 2, "tpu", make=toml('device = "tpu"')),
    row("a deviation is unknown", COMMAND, 2, "shared", "shared-split", make=toml('protocol = ["shared"]')),
    row("a deviation is a number", COMMAND, 2, "protocol", make=toml("protocol = [1]")),
    row("the data are an empty text", COMMAND, 2, "data", make=toml('data = ""')),
    row("the data have a byte 0", COMMAND, 2, "data", make=toml('data = "a\\u0000b"')),
    row("a report is asked for other settings than were trained", "report runs/tiny --config mine.toml", 2, "--config",
        "report RUN", make=lambda box: (box.run(), box.write("mine.toml", "epochs = 3"))),
]  # fmt: skip
