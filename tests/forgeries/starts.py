"""Honest runs to forge, each made once in its own working folder."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock

from in4310repro.data.embedded import write_scenes
from in4310repro.data.folders import catalogue
from in4310repro.data.splits import parse_sizes, stratified_split
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import read_tensors, tensor_bytes
from tests.bad_input.sandbox import Limits, call, link_or_copy
from tests.builders import AS_IMAGENET
from tests.forgeries.forger import SELECTED
from tests.golden_cases import finish_run

LONG = Limits(work=600.0)  # seconds for a command
RUN, PHOTOS = "runs/tiny", "photos"
SCENES, SIZE = 8, 32  # of the tiny preset
ONE_SETTING, WEIGHTS = "one-setting.toml", "trained.safetensors"
OF_SEVEN = "of-seven-classes.safetensors"  # so that a head of six is drawn
CHEAT = "tests.forgeries.cheat:network"
(SETTING,) = (each for each in PRESETS["tiny"].settings if each.name == SELECTED)
TOML = f"""[[settings]]
name = "{SETTING.name}"
optimizer = "{SETTING.optimizer}"
learning_rate = {SETTING.learning_rate}
"""


def scenes(seed: int) -> Callable[[Path], None]:
    return lambda folder: write_scenes(folder, SCENES, SIZE, seed)


def wrong_labels(folder: Path) -> None:
    """Draw scenes, and exchange half of the sea scenes with street scenes, so that their labels are wrong."""
    scenes(0)(folder)
    for number in range(SCENES // 2):
        sea, street = folder / f"sea/{number:04d}.bmp", folder / f"street/{number:04d}.bmp"
        content = sea.read_bytes()
        sea.write_bytes(street.read_bytes())
        street.write_bytes(content)


def near_copies(folder: Path) -> None:
    """Draw scenes, and add a copy of each scene that differs in one value of a pixel."""
    scenes(0)(folder)
    for file in sorted(folder.rglob("*.bmp")):
        content = bytearray(file.read_bytes())
        content[-20] ^= 1
        file.with_name(f"{file.stem}b.bmp").write_bytes(content)


def ground(folder: Path) -> None:
    """Draw scenes, and append bytes to one test image until its hash places it in the training part."""
    scenes(0)(folder)
    sizes = parse_sizes(PRESETS["tiny"].split, 6 * SCENES)
    chosen = stratified_split(catalogue(folder), sizes, 0).parts["test"][0].path
    content = (folder / chosen).read_bytes()
    for number in range(1, 1000):
        (folder / chosen).write_bytes(content + number.to_bytes(2, "little"))
        training = stratified_split(catalogue(folder), sizes, 0).parts["training"]
        if any(entry.path == chosen for entry in training):
            return
    raise RuntimeError(f"no bytes put {chosen} into training")


# Options of the training, and what makes the folder that it reads.
STARTS: dict[str, tuple[str, Callable[[Path], None] | None]] = {
    "kept": (f"--config {ONE_SETTING} --epochs 5 --keep-epochs", None),
    "pretrained": (f"--weights {WEIGHTS} {AS_IMAGENET}", None),
    "head": ("--train head", None),
    "head of seven": (f"--train head --weights {OF_SEVEN} {AS_IMAGENET}", None),
    "cheat": (f"--config {ONE_SETTING} --model {CHEAT} --keep-epochs", None),
    "warm": ("--protocol warm-start --seed 2", None),  # selects a setting that began from another one's weights
    "seed 1": ("--seed 1", None),
    "published": ("--protocol published", None),
    "folder": (f"--data {PHOTOS}", scenes(0)),
    "own images": (f"--data {PHOTOS}", scenes(5)),
    "wrong labels": (f"--data {PHOTOS}", wrong_labels),
    "ground": (f"--data {PHOTOS}", ground),
    "near copies": (f"--data {PHOTOS} --split 48/24/24", near_copies),
}


def starts(shared: Path, numerics: Numerics) -> Callable[[str], Path]:
    """Return a function that makes the honest run of a given name once for all processes, and returns its folder."""

    @functools.cache
    def start(name: str) -> Path:
        work = shared / name.replace(" ", "-")
        shared.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{work}.lock"):
            if not (work / "done").exists():
                shutil.rmtree(work, ignore_errors=True)
                make(name, work, start, numerics)
                (work / "done").touch()
        return work

    return start


def make(name: str, work: Path, start: Callable[[str], Path], numerics: Numerics) -> None:
    """Make the honest run `name`, with its feature maps, in the new folder `work`."""
    if name == "tiny":
        made = finish_run("tiny")
        selected = FinishedRun.open(made).metrics["setting"]
        assert selected == SELECTED, f"the tiny run selects {selected}: forger.py names {SELECTED}"
        shutil.copytree(made, work / RUN, copy_function=link_or_copy)
        return
    if name == "reported":
        shutil.copytree(start("tiny"), work, copy_function=link_or_copy)
        command(f"report {RUN}", work)
        return
    options, draw = STARTS[name]
    work.mkdir(parents=True)
    (work / ONE_SETTING).write_text(TOML)
    link_or_copy(str(start("tiny") / RUN / f"{SELECTED}/best.safetensors"), str(work / WEIGHTS))
    (work / OF_SEVEN).write_bytes(with_seven_classes(work / WEIGHTS))
    if draw:
        draw(work / PHOTOS)
    command(f"train --preset tiny --out {RUN} {options}", work)
    run = FinishedRun.open(work / RUN)
    run.config.network.trust()
    if run.config.weights != "none":
        # Feature maps are of the weights before training, whose path is relative to the working folder.
        return
    of_run.write_features(run, run.config, Context(numerics), str(work / PHOTOS) if draw else None)


def with_seven_classes(file: Path) -> bytes:
    """Return a file of weights as another, with a head of one class more."""
    state = read_tensors(file)
    more = {name: torch.cat([state[name], state[name][:1]]) for name in ("fc.weight", "fc.bias")}
    return tensor_bytes(state | more)


def command(words: str, work: Path) -> None:
    """Run an in4310repro command in the folder `work`; raise RuntimeError if it fails."""
    done = call(words.split(), work, limits=LONG)
    if done.code != 0:
        raise RuntimeError(f"in4310repro {words} ended with {done.code}: {done.err[-2000:]}")
