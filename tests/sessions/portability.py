"""Every stage on other processors, emulated: a hash of what each makes, in one table.

`nox -s portability` runs the stages here and under qemu-x86_64 (Debian package qemu-user) as four Intel and AMD
processors, and names the first stage and tensor that differ. A control must differ: RMSprop with torch's own square
root, whose bits depend on the processor.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from in4310repro import experiment, models, optimizers
from in4310repro.data import scenes
from in4310repro.data.batches import training_batches
from in4310repro.data.embedded import embedded_catalogue
from in4310repro.data.images import ImageSet, decode, load_images
from in4310repro.feature_maps import of_run
from in4310repro.files import file_sha256
from in4310repro.numerics import Numerics, activate
from in4310repro.presets import PRESETS
from in4310repro.randomness import generator_for
from in4310repro.runs.finished import FinishedRun
from in4310repro.tensors import tensors_sha256

PROCESSORS = ("Haswell-v4", "Skylake-Client-v4", "EPYC-Rome-v2", "EPYC-Milan-v2")
CONTROL = "control: RMSprop with torch.sqrt"
STAGES = "--stages"
# Half as many images as in the preset: emulated, a training step takes half a second an image.
TINY = replace(PRESETS["tiny"], scenes=4, split="12/6/6", batch_size=6, evaluation_batch_size=6, feature_images=6)
Stage = tuple[str, dict[str, str]]


def stages(folder: Path) -> Iterator[Stage]:
    """Every stage of the chain with hashes of what it makes, in the order in which one feeds the next."""
    numerics = activate("portable", "cpu")
    yield "probe", numerics.probe
    drawn = {label: scenes.pixel_digest(scenes.draw(label, i, 32, 0) for i in range(4)) for label in scenes.CLASSES}
    yield "scenes", drawn
    yield "decoding and resizing", _decoded(folder)
    images = embedded_catalogue(TINY.scenes, TINY.image_size, TINY.seed)
    training = load_images("training", images.root, images.entries, TINY.image_size)
    yield "augmentation", _batches(training)
    yield "initial weights", _tensors(models.build("resnet18", 6, 0).state_dict())
    run = experiment.train(TINY, numerics, folder / "run")
    for setting in TINY.settings:
        yield f"training with {setting.optimizer}", _tensors(run.files.read_tensors(f"{setting.name}/best.safetensors"))
        yield f"losses with {setting.optimizer}", _losses(run, setting.name)
    yield "test scores", {"scores.npz": file_sha256(run.folder / "scores.npz")}
    yield "feature statistics", _features(run, numerics)
    yield CONTROL, _control(training)


def _decoded(folder: Path) -> dict[str, str]:
    """Hashes of a JPEG and a PNG of odd shape, decoded and resized."""
    from PIL import Image

    pixels = scenes.draw("sea", 0, 150, 0)
    hashes = {}
    # The file is made here, so its bytes are a stage of their own: a JPEG is packed with integers too.
    for name, box in (("1.jpg", (0, 0, 150, 113)), ("2.png", (0, 0, 113, 150))):
        Image.fromarray(pixels).crop(box).save(folder / name)
        hashes[name] = hashlib.sha256(decode(folder / name, 64).tobytes()).hexdigest()
    return hashes


def _batches(training: ImageSet) -> dict[str, str]:
    loader = training_batches(training, TINY.batch_size, TINY.augmentation, TINY.seed, 0)
    return {
        f"batch {number}": hashlib.sha256(batch.images.contiguous().numpy().tobytes()).hexdigest()
        for number, batch in enumerate(loader)
    }


def _tensors(state: dict[str, torch.Tensor]) -> dict[str, str]:
    return {name: tensors_sha256({name: value}) for name, value in state.items()}


def _losses(run: FinishedRun, setting: str) -> dict[str, str]:
    rows = run.histories[setting]
    return {f"epoch {row['epoch']}": f"{row['train_loss'].hex()} {row['val_loss'].hex()}" for row in rows}


def _features(run: FinishedRun, numerics: Numerics) -> dict[str, str]:
    features = of_run.statistics(run, TINY, numerics)
    return {
        f"{images['name']}, {module}": json.dumps(values)
        for images in features["sets"]
        for module, values in images["modules"].items()
    }


def _control(training: ImageSet) -> dict[str, str]:
    """An epoch with torch's unfused optimizer, which takes torch.sqrt of float32."""
    model = models.build("resnet18", 6, 0).train()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, foreach=False)
    for batch in training_batches(training, TINY.batch_size, TINY.augmentation, TINY.seed, 0):
        optimizers.set_learning_rate(optimizer, 1e-3)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch.images), batch.labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    drawn = torch.from_numpy(generator_for(0, "square root").random(4096, dtype=np.float32))
    return {"torch.sqrt": tensors_sha256({"roots": drawn.sqrt()})} | _tensors(model.state_dict())


def run_stages(processor: str | None) -> dict[str, dict[str, str]]:
    """All stages on this processor, or on an emulated one."""
    emulator = ["qemu-x86_64", "-cpu", processor] if processor else []
    with tempfile.TemporaryDirectory() as folder:
        command = [*emulator, sys.executable, "-m", "tests.sessions.portability", STAGES, folder]
        environment = os.environ | {"IN4310REPRO_CACHE": f"{folder}/cache"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"portability: {processor or 'this processor'} ended with {done.returncode}: {done.stderr[-2000:]}")
    hashes: dict[str, dict[str, str]] = json.loads(done.stdout)
    return hashes


def first_difference(here: dict[str, dict[str, str]], there: dict[str, dict[str, str]]) -> str | None:
    """The first stage but the control, and its first entry, in which two processors differ."""
    for stage, values in here.items():
        for name, value in values.items():
            if stage != CONTROL and there[stage].get(name) != value:
                return f"{stage}, {name}"
    return None


def table(hashes_by_processor: dict[str, dict[str, dict[str, str]]]) -> str:
    """Stages by processors, 8 hex digits each."""
    stages = list(next(iter(hashes_by_processor.values())))
    width = max(map(len, stages))
    lines = [" " * width + "".join(f"  {name:>17}" for name in hashes_by_processor)]
    for stage in stages:
        hashes = [
            hashlib.sha256(json.dumps(values[stage], sort_keys=True).encode()).hexdigest()[:8]
            for values in hashes_by_processor.values()
        ]
        lines.append(f"{stage:<{width}}" + "".join(f"  {digits:>17}" for digits in hashes))
    return "\n".join(lines)


def main() -> None:
    """The table of the processors named (default: all four); exit code 1 if a stage differs or the control does not."""
    if sys.argv[1:2] == [STAGES]:
        json.dump(dict(stages(Path(sys.argv[2]))), sys.stdout)
        return
    processors = sys.argv[1:] or PROCESSORS
    if not set(processors) <= set(PROCESSORS):
        sys.exit(f"portability: no processors {' '.join(processors)}; valid are {' '.join(PROCESSORS)}")
    if shutil.which("qemu-x86_64") is None:
        sys.exit("portability: qemu-x86_64 is not installed; on Debian and Ubuntu: apt-get install qemu-user")
    by_processor: dict[str, dict[str, dict[str, str]]] = {"this processor": run_stages(None)}
    sys.stderr.write(f"emulating {', '.join(processors)}: some minutes\n")
    with ThreadPoolExecutor(max_workers=2) as pool:
        by_processor |= dict(zip(processors, pool.map(run_stages, processors), strict=True))
    sys.stdout.write(table(by_processor) + "\n")
    here = by_processor.pop("this processor")
    differences = {processor: first_difference(here, there) for processor, there in by_processor.items()}
    for processor, difference in differences.items():
        if difference:
            sys.stdout.write(f"{processor} differs first in {difference}\n")
    controlled = any(there[CONTROL] != here[CONTROL] for there in by_processor.values())
    sys.stdout.write(f"the control {'differs, as it must' if controlled else 'does not differ, as it must'}\n")
    sys.exit(any(differences.values()) or not controlled)


if __name__ == "__main__":
    main()
