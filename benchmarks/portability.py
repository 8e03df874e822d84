"""Hashes of every stage's results on several processors and numbers of threads, in one table.

`nox -s portability` runs the stages here with 1, 2, 3 and 16 threads, under qemu-x86_64 as Intel and AMD processors,
and under qemu-aarch64 as an ARM processor (Debian package qemu-user; benchmarks/arm64.py prepares the rest), and
names the first stage and tensor that differ. Eigenvalues come from LAPACK and are compared within 1e-12 of the
largest. A control must differ: torch's own gradient of convolution weights. Trainings and control are traced, and the
first tensor of one that differs is named. With all processors it writes docs/portability.json and the table in
docs/bits.md.
"""

from __future__ import annotations

import functools
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
from typing import Any

import torch
from tests import narrow
from tests.docs.marks import replaced

from benchmarks import arm64
from in4310repro import models
from in4310repro.arithmetic import cross_entropy, portable
from in4310repro.data import scenes
from in4310repro.data.embedded import embedded_catalogue
from in4310repro.data.images import ImageSet, load_images, training_batches
from in4310repro.data.reading import decode
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.runs import chain
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.files import file_sha256, json_bytes, write_file
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics, activate, generator_for
from in4310repro.system.tensors import tensors_sha256
from in4310repro.trace import Trace, compare, read_trace
from in4310repro.training import experiment

ROOT = Path(__file__).parents[1]
NUMBERS, PAGE, MARK = ROOT / "docs/portability.json", ROOT / "docs/bits.md", "portability"
EIGENVALUES = "eigenvalues"
CONTROL = "control: torch's weight gradient"
HERE = "here"
X86 = ("Haswell-v4", "Skylake-Client-v4", "EPYC-Rome-v2", "EPYC-Milan-v2")
ARM = "arm64"
THREADS = (1, 2, 3, 16)
TOLERANCE = 1e-12  # of the largest eigenvalue
LIBRARIES = "libraries"
STAGES = "--stages"
# Two steps of each optimizer, the second with fewer images, of a ResNet-18 with an eighth of its channels, since an
# emulator takes a hundred times as long. One step of whole networks, whose layers reach the kernels of many channels.
SMALL = replace(PRESETS["tiny"], scenes=4, split="12/6/6", epochs=1, feature_images=6)
# Names of the traces by stage, without their suffix.
TRACES = {f"{what} with {each.optimizer}": each.name for each in SMALL.settings for what in ("training", "losses")}
STEPS = {f"a step of {name}": name for name in ("resnet18", "mobilenet_v2")}
TRACES |= STEPS | {CONTROL: "control"}
Stage = tuple[str, dict[str, Any]]
Hashes = dict[str, dict[str, Any]]  # stage -> entry -> hash, or eigenvalues


def run_here(folder: Path) -> Iterator[Stage]:
    """Yield the name of each stage (such as "decoding and resizing") and hashes of its results on this machine."""
    numerics = activate("portable", "cpu")
    yield LIBRARIES, {"torch": torch.__version__.partition("+")[0], "vectors": torch.backends.cpu.get_cpu_capability()}
    yield "kernels", numerics.probe
    drawn = {label: b"".join(scenes.draw(label, i, 32, 0).tobytes() for i in range(4)) for label in scenes.CLASSES}
    yield "scenes", {label: hashlib.sha256(pixels).hexdigest() for label, pixels in drawn.items()}
    yield "decoding and resizing", _decode(folder)
    images = embedded_catalogue(SMALL.scenes, SMALL.image_size, SMALL.seed)
    training = load_images("training", images.root, images.entries, SMALL.image_size)
    yield "augmentation", _batches(training)
    yield "ReLU and sums by torch", _elementwise()
    yield "initial weights", _tensors(models.build("resnet18", 6, 0).state_dict())
    for stage, name in STEPS.items():
        yield stage, _step(name, training, folder / f"{name}.trace")
    narrow.use(narrow=True)
    run = experiment.train(SMALL, folder / "run", trace=range(2), context=Context(numerics))
    for setting in SMALL.settings:
        yield f"training with {setting.optimizer}", _tensors(run.files.read_tensors(f"{setting.name}/best.safetensors"))
        yield f"losses with {setting.optimizer}", _losses(run, setting.name)
    # The chain covers optimizer states too.
    yield (
        "hashes of the trainings",
        {name: chain.sha256_of(entries[-1], run.config) for name, entries in run.tensors.items()},
    )
    yield "test scores", {"scores.npz": file_sha256(run.folder / "scores.npz")}
    yield "metrics", {name: repr(value) for name, value in run.metrics.items()}
    yield from _features(run, numerics)
    yield CONTROL, _control(folder / "control.trace")


def _decode(folder: Path) -> dict[str, str]:
    """Return hashes of the decoded and resized pixels of a JPEG and a PNG."""
    from PIL import Image

    pixels = scenes.draw("sea", 0, 150, 0)
    hashes = {}
    # The files are encoded here, so that the stage covers JPEG compression, which is integer arithmetic, too.
    for name, box in (("1.jpg", (0, 0, 150, 113)), ("2.png", (0, 0, 113, 150))):
        Image.fromarray(pixels).crop(box).save(folder / name)
        hashes[name] = hashlib.sha256(decode(folder / name, 64).tobytes()).hexdigest()
    return hashes


def _batches(training: ImageSet) -> dict[str, str]:
    loader = training_batches(training, SMALL.batch_size, SMALL.augmentation, SMALL.seed, 0)
    return {
        f"batch {number}": hashlib.sha256(batch.images.contiguous().numpy().tobytes()).hexdigest()
        for number, batch in enumerate(loader)
    }


def _tensors(state: dict[str, torch.Tensor]) -> dict[str, str]:
    return {name: tensors_sha256({name: value}) for name, value in state.items()}


def _step(name: str, training: ImageSet, trace: Path) -> dict[str, str]:
    """Hash loss, gradients and then scores of a network for two images; trace the step when it is made once more.

    A trace sees the result of each layer, so that no kernel computes several of them.
    """
    batch = next(iter(training_batches(training, 2, SMALL.augmentation, SMALL.seed, 0)))
    model = portable(models.build(name, 6, 0))

    def pass_both_ways() -> torch.Tensor:
        torch.manual_seed(0)  # for dropout
        loss = cross_entropy(model(batch.images), batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    found = {"loss": pass_both_ways()}
    found |= {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    with torch.no_grad():
        found["scores"] = model.eval()(batch.images)
    hashes = _tensors(found)
    model.train().zero_grad()
    with Trace(model, None, trace) as opened, opened.step(images=batch.images, labels=batch.labels) as step:
        step.record(loss=pass_both_ways())
    return hashes


def _losses(run: FinishedRun, setting: str) -> dict[str, str]:
    rows = run.histories[setting]
    return {f"epoch {row['epoch']}": f"{row['train_loss'].hex()} {row['val_loss'].hex()}" for row in rows}


def _features(run: FinishedRun, numerics: Numerics) -> Iterator[Stage]:
    features = of_run.measure_run(run, SMALL, Context(numerics))
    modules = {
        f"{images['name']}, {name}": dict(module)
        for images in features["sets"]
        for name, module in images["modules"].items()
    }
    yield EIGENVALUES, {name: module.pop("eigenvalues") for name, module in modules.items()}
    yield "feature statistics", {name: json.dumps(module) for name, module in modules.items()}


def _elementwise() -> dict[str, str]:
    """Hash torch's elementwise operations on values of all magnitudes, subnormals and signed zeros."""
    bits = generator_for(0, "elementwise").integers(0, 2**32, (2, 4, 5, 6, 50), dtype="uint32")
    values = torch.from_numpy(bits.view("float32").copy()).nan_to_num(nan=1.5)
    values[:, 0] = values[:, 0].sign() * 0.0
    first, second = values.permute(0, 1, 4, 2, 3)
    results = {"sum": first + second, "sum of a half": first * 0.5 + second}
    for module in (torch.nn.ReLU(), torch.nn.ReLU6()):
        leaf = first.clone().requires_grad_()
        result = portable(module)(leaf)
        (gradient,) = torch.autograd.grad(result, leaf, second)
        results |= {type(module).__name__: result.detach(), f"{type(module).__name__}, gradient": gradient}
    return {name: tensors_sha256({name: value.nan_to_num(nan=1.5)}) for name, value in results.items()}


def _control(trace: Path) -> dict[str, str]:
    """Hash torch's gradient of a convolution's weights, whose bits depend on the processor, and trace the step."""
    generator = generator_for(0, "control")
    maps, weights = (
        torch.from_numpy(generator.standard_normal(shape, dtype="float32"))
        for shape in ((8, 32, 16, 16), (32, 32, 3, 3))
    )
    model = torch.nn.Conv2d(32, 32, 3, padding=1, bias=False)
    model.weight = torch.nn.Parameter(weights)
    with Trace(model, None, trace) as opened, opened.step(images=maps) as step:
        loss = model(maps.contiguous(memory_format=torch.channels_last)).square().sum()
        loss.backward()
        step.record(loss=loss)
    assert model.weight.grad is not None
    return {"gradient": tensors_sha256({"gradient": model.weight.grad})}


@functools.cache
def arm_python() -> arm64.EmulatedPython | str:
    """Return an emulated Python for arm64, or the reason why there is none."""
    return arm64.emulated_python()


def run_stages(place: str, traces: Path) -> Hashes:
    """Return hashes of all stages' results, computed on this processor or an emulated one; copy traces to `traces`."""
    # One thread under an emulator, where waiting threads are slow; other numbers of threads are tested here.
    folder, command, threads = ROOT, [sys.executable], "1"
    environment = dict(os.environ)
    if place.startswith(HERE):
        threads = place.split()[1]
    elif place == ARM:
        emulated = arm_python()
        if isinstance(emulated, str):
            sys.exit(f"portability: {emulated}")
        folder, command, environment = emulated.folder, emulated.command(), dict(emulated.environment)
    else:
        command = ["qemu-x86_64", "-cpu", place, sys.executable]
    with tempfile.TemporaryDirectory() as scratch:
        environment |= {"OMP_NUM_THREADS": threads, "IN4310REPRO_CACHE": f"{scratch}/cache"}
        words = [*command, "-m", "benchmarks.portability", STAGES, scratch]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"portability: {place} ended with {done.returncode}: {done.stderr[-2000:]}")
        (traces / place).mkdir()
        for file in Path(scratch).rglob("*.trace"):
            shutil.copy(file, traces / place)
    hashes: Hashes = json.loads(done.stdout)
    return hashes


def find_first_difference(expected: Hashes, got: Hashes) -> tuple[str, str] | None:
    """Return the first stage and entry that differ between two machines, ignoring the control; None if all agree."""
    for stage, values in expected.items():
        for name, value in values.items():
            equal = _close(value, got[stage].get(name)) if stage == EIGENVALUES else got[stage].get(name) == value
            if stage not in (CONTROL, LIBRARIES) and not equal:
                return stage, name
    return None


def describe_first_tensor(stage: str, first: Path, second: Path) -> str:
    """Return a clause on the first tensor that differs in a stage, by two folders of traces; empty for other stages."""
    if stage not in TRACES:
        return ""
    traces = [read_trace(folder / f"{TRACES[stage]}.trace") for folder in (first, second)]
    return f": {compare(*traces).paragraph()}"


def describe_differences(by_place: dict[str, Hashes], traces: Path) -> Iterator[str]:
    """Yield a sentence for each place whose bits differ from the first one's, and for each whose control does."""
    first, *others = by_place
    for place in others:
        found = find_first_difference(by_place[first], by_place[place])
        if found:
            shown = describe_first_tensor(found[0], traces / first, traces / place)
            yield f"{place} differs first in {', '.join(found)}{shown}"
        if by_place[place][CONTROL] != by_place[first][CONTROL]:
            yield f"{place} differs in {CONTROL}{describe_first_tensor(CONTROL, traces / first, traces / place)}"


def _close(expected: list[float], got: list[float] | None) -> bool:
    if got is None or len(got) != len(expected):
        return False
    return all(abs(a - b) <= TOLERANCE * expected[0] for a, b in zip(expected, got, strict=True))


def table(by_place: dict[str, Hashes]) -> str:
    """Return a table with a row per stage and a column per machine: short hashes, or differences of eigenvalues."""
    first = next(iter(by_place.values()))
    width = max(map(len, first))
    lines = [" " * width + "".join(f"  {name:>17}" for name in by_place)]
    for stage in first:
        cells = [
            f"{_largest_difference(first[stage], hashes[stage]):.0e}"
            if stage == EIGENVALUES
            else _digest(hashes[stage])
            for hashes in by_place.values()
        ]
        lines.append(f"{stage:<{width}}" + "".join(f"  {cell:>17}" for cell in cells))
    return "\n".join(lines)


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def _largest_difference(expected: dict[str, list[float]], got: dict[str, list[float]]) -> float:
    return max(
        abs(a - b) / values[0] for name, values in expected.items() for a, b in zip(values, got[name], strict=True)
    )


def record(by_place: dict[str, Hashes]) -> dict[str, Any]:
    """Return the record to commit: a hash of each stage on each machine, and the differences of eigenvalues."""
    first = next(iter(by_place.values()))
    here = fingerprint(activate("portable", "cpu"))
    return {
        "command": "nox -s portability",
        "here": {name: here[name] for name in ("processor", "numeric_class")},
        "places": {
            place: hashes[LIBRARIES]
            | {
                "stages": {stage: _digest(hashes[stage]) for stage in hashes if stage not in (LIBRARIES, EIGENVALUES)},
                EIGENVALUES: _largest_difference(first[EIGENVALUES], hashes[EIGENVALUES]),
            }
            for place, hashes in by_place.items()
        },
    }


def with_table(text: str, numbers: dict[str, Any]) -> str:
    return replaced(text, MARK, page_table(numbers))


def page_table(numbers: dict[str, Any]) -> str:
    """Return a table of machines, with the number of stages whose bits equal the first machine's."""
    rows: list[tuple[str, ...]] = [
        ("processor", "torch", "stages with equal bits", "eigenvalues differ by at most", "control")
    ]
    rows.append(("---",) * len(rows[0]))
    expected = next(iter(numbers["places"].values()))["stages"]
    for place, found in numbers["places"].items():
        equal = {stage: found["stages"][stage] == expected[stage] for stage in expected}
        controlled = equal.pop(CONTROL)
        if place.startswith(HERE):
            count = place.split()[1]
            name = f"{numbers['here']['processor']}, {count} thread{'s' * (count != '1')}"
        else:
            name = f"{place}, emulated"
        rows.append(
            (
                f"{name} ({found['vectors']})",
                found["torch"],
                f"{sum(equal.values())} of {len(equal)}",
                f"{found[EIGENVALUES]:.0e}" if found[EIGENVALUES] else "0",
                "equal" if controlled else "differs",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Print a table for the named processors (default: all); exit with 1 if their results differ.

    Also exit with 1 if the control, torch's own gradient, does not differ.
    """
    if sys.argv[1:2] == [STAGES]:
        json.dump(dict(run_here(Path(sys.argv[2]))), sys.stdout)
        return
    emulated = sys.argv[1:] or [*X86, ARM]
    if not set(emulated) <= {*X86, ARM}:
        sys.exit(f"portability: unknown processors {' '.join(emulated)}; each must be one of {' '.join([*X86, ARM])}")
    if shutil.which("qemu-x86_64") is None:
        sys.exit("portability: qemu-x86_64 is not installed; on Debian and Ubuntu: apt-get install qemu-user")
    everywhere = not sys.argv[1:]
    if ARM in emulated and isinstance(reason := arm_python(), str):
        sys.stdout.write(f"arm64 is skipped: {reason}\n")
        emulated, everywhere = [name for name in emulated if name != ARM], False
    here = [f"{HERE} {threads}" for threads in THREADS]
    sys.stderr.write(f"emulating {', '.join(emulated)}: some minutes\n")
    with tempfile.TemporaryDirectory() as traces, ThreadPoolExecutor(max_workers=2) as pool:
        # Emulated runs take longest and start first; the table begins with this processor.
        done = {place: pool.submit(run_stages, place, Path(traces)) for place in (*emulated, *here)}
        by_place = {place: done[place].result() for place in (*here, *emulated)}
        sentences = list(describe_differences(by_place, Path(traces)))
    sys.stdout.write(table(by_place) + "\n")
    if everywhere:
        numbers = record(by_place)
        write_file(NUMBERS, json_bytes(numbers))
        write_file(PAGE, with_table(PAGE.read_text(encoding="utf-8"), numbers).encode())
    sys.stdout.write("".join(f"{sentence}\n" for sentence in sentences))
    expected = by_place[here[0]]
    differs = any(find_first_difference(expected, hashes) for hashes in by_place.values())
    controlled = any(hashes[CONTROL] != expected[CONTROL] for hashes in by_place.values())
    sys.stdout.write(f"the control {'differs, as it must' if controlled else 'does not differ, and it must'}\n")
    sys.exit(differs or not controlled)


if __name__ == "__main__":
    main()
