"""Runs with one JSON value changed: `verify` and check.html each find it, or name it among what they cannot show.

nox -s evidence -- leaves          `verify` of a run of a small network, and the page of a tiny run in Chromium
nox -s evidence -- leaves RUN      `verify` of a finished run, in its own arithmetic; --model for its own network
nox -s evidence -- leaves --page   the page alone
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from in4310repro.data.splits import from_csv
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.models.sources import open_network
from in4310repro.runs import chain, config as configuration
from in4310repro.runs.deviations import Deviation
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.settings import CHOICES
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes
from in4310repro.system.numerics import Numerics, activate
from in4310repro.training import experiment
from in4310repro.verification.routine import verify
from tests.bad_input.sandbox import link_or_copy

MANIFEST = "manifest.json"
# Files whose values are in the chain, so that a forger computes it anew.
CHAINED = ("config.json", "fingerprint.json", "tensors.json")
HEX = re.compile(r"[0-9a-f]{12,64}")
# Where a value is empty, absent, or one of a few: others that are valid.
OTHERS: dict[str, tuple[Any, ...]] = {
    "format": (6,),
    "preset": ("course",),
    "data": ("photographs",),
    "imagenet": ("photographs",),
    "cifar10": ("digits",),
    "model": ("resnet34",),
    "weights": ("mine.safetensors",),
    "train": ("from:5", "head"),
    "split": ("25/12/11",),
    "protocol": tuple([each.value] for each in Deviation),
    "head_learning_rate": (0.25,),
    "commit": ("0" * 40,),
    "dirty": (True,),
    "spectra_mode": ("train",),
    "never_positive": ([0],),
    "top_images": ([],),
}


def altered_runs(run: Path, *, chained: bool = False) -> Iterator[tuple[str, str, Path]]:
    """Yield (file, path, folder) for each value of a run's JSON files: a copy of the run with this value changed.

    The new value is valid where it stands, and the manifest has the hash of the changed file. The copy is the same
    folder each time: it holds one change, and only until the next is asked for.

    Args:
        run: the folder of a finished run.
        chained: whether the hash chains are computed anew, too; then only of values that they depend on.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, run.name)
        shutil.copytree(run, folder, copy_function=link_or_copy)
        listed = json.loads((run / MANIFEST).read_text())
        for name in sorted(file.relative_to(run).as_posix() for file in run.rglob("*.json")):
            if chained and not name.endswith(CHAINED):
                continue
            content = json.loads((run / name).read_text())
            for keys in leaves(content):
                inner = functools.reduce(lambda outer, key: outer[key], keys[:-1], content)
                before = inner[keys[-1]]
                for value in others(before, f"{keys[-1]}"):
                    if chained and keys[-1] == "previous":
                        continue
                    inner[keys[-1]] = value
                    _write(folder / name, json_bytes(content))
                    changed = {name, *(_rechain(folder) if chained else ())}
                    if name != MANIFEST:
                        hashes = {each: hashlib.sha256((folder / each).read_bytes()).hexdigest() for each in changed}
                        _write(folder / MANIFEST, json_bytes(listed | hashes))
                    yield name, "/".join(map(str, keys)), folder
                    for each in (*changed, MANIFEST):
                        _write(folder / each, (run / each).read_bytes())
                inner[keys[-1]] = before


def leaves(content: Any) -> Iterator[tuple[str | int, ...]]:
    """Yield the keys that lead to each value that is no list and no object, or an empty one."""
    if isinstance(content, dict | list) and content:
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from ((key, *keys) for keys in leaves(value))
    else:
        yield ()


def others(value: Any, name: str) -> Iterable[Any]:
    """Return other valid values of the one with this name."""
    if name in CHOICES and value is not None:
        return [each for each in CHOICES[name] if each != value]
    if value is None or name in OTHERS:
        return OTHERS[name]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        # Still a share where it was one.
        return [0.5 * value + 0.25 if value != 0.5 else 0.25]
    return [f"{(int(value[0], 16) + 1) % 16:x}{value[1:]}" if HEX.fullmatch(value) else f"{value}x"]


def _write(file: Path, data: bytes) -> None:
    # A hard link to the honest run's file stays as it is.
    file.unlink()
    file.write_bytes(data)


def _rechain(folder: Path) -> list[str]:
    """Compute a run's hash chains anew; return the files, none where the configuration is none."""
    read = {name: json.loads((folder / name).read_text()) for name in ("config.json", "fingerprint.json")}
    written = []
    with contextlib.suppress(ValueError, OSError, KeyError):
        config, split = (
            configuration.from_json(read["config.json"], "config.json"),
            from_csv(folder / "split.csv", folder),
        )
        entries: dict[str, Any] = {}
        for number, setting in enumerate(config.settings, start=1):
            name = f"{setting.name}/tensors.json"
            entries[setting.name] = json.loads((folder / name).read_text())
            known = replace(config, settings=config.settings[:number])
            start = chain.starts(known, read["fingerprint.json"], split, entries)[setting.name]
            _write(folder / name, json_bytes(chain.relink(entries[setting.name], start, config)))
            written.append(name)
    return written


SMALL = "benchmarks.soak:small_network"
MACHINE = "images per second, processor, device, threads, libraries and source"
OF_MACHINE = "(versions|git|decoder)/.*|processor|capability|threads|device|device_name|feature_kernel"
NO_EFFECT = "format, preset, device, numerics, precision, evaluation_batch_size, checkpoint_steps and folders"
# What `verify` cannot find is among its claims: file, path and words of the claim.
CLAIMED = (
    (r".*/history.json", r"\d+/images_per_second", MACHINE),
    (r".*/history.json", r"\d+/train_loss", "training losses and hashes of optimizer states"),
    (r".*/history.json", r"\d+/.*", "validation rows and tensor hashes of epochs other than each setting's best"),
    (r".*/tensors.json", r"\d+/optimizer_sha256", "training losses and hashes of optimizer states"),
    (r".*/tensors.json", r"\d+/.*", "validation rows and tensor hashes of epochs other than each setting's best"),
    (r"fingerprint.json", OF_MACHINE, MACHINE),
    (r"features.json", f"fingerprint/({OF_MACHINE})", MACHINE),
    (r"features.json", "precision", "precision in features.json"),
    (r"config.json", "format|preset|device|numerics|precision|evaluation_batch_size|checkpoint_steps", NO_EFFECT),
    (r"config.json", "data|imagenet|cifar10", NO_EFFECT),
    (r"config.json", r"settings/\d+/.*|batch_size|augmentation|schedule|warm_up", "the optimizer's settings"),
)


def judge(file: str, path: str, folder: Path, context: Context) -> str:
    """Return how `verify` takes a changed run: "found", the claim that names the change, or "" without either."""
    try:
        verified = verify(folder, context=context)
    except ValueError:
        # Neither verified nor refuted: the error says what is missing.
        return "found"
    if verified.differences:
        return "found"
    claimed = [claim.what for claim in verified.claimed]
    fitting = (words for name, place, words in CLAIMED if re.fullmatch(name, file) and re.fullmatch(place, path))
    return next((words for words in fitting if any(words in what for what in claimed)), "")


def small_run(folder: Path, numerics: Numerics) -> Path:
    """Train a network that takes no time by two settings, and measure its feature maps."""
    open_network(SMALL).trust()
    config = replace(PRESETS["tiny"], model=SMALL, modules=("0",), settings=PRESETS["tiny"].settings[:2])
    run = experiment.train(config, folder, context=Context(numerics))
    of_run.write_features(run, run.config, Context(numerics))
    return folder


def judged_by_verify(run: Path, numerics: Numerics, *, chained: bool) -> Iterator[tuple[str, str, str]]:
    """Yield (file, path, verdict) for each value of a run, as `judge` gives it."""
    for file, path, folder in altered_runs(run, chained=chained):
        yield file, path, judge(file, path, folder, Context(numerics))


def judged_by_page(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (file, path, verdict) for each value of a tiny run, by check.html in Chromium."""
    # These need a browser and its drivers.
    from benchmarks.check_page import chromium_tab, trained
    from tests.report.test_check_page import judged_values

    with chromium_tab(folder) as tab:
        yield from judged_values(tab, trained(folder, "tiny"), most=sys.maxsize)


def counted(judged: Iterable[tuple[str, str, str]], by: str) -> int:
    """Write what was found and named; return how many changes were not."""
    verdicts: Counter[str] = Counter()
    for file, path, verdict in judged:
        verdicts[verdict] += 1
        if not verdict:
            sys.stdout.write(f"unnoticed and unlisted by {by}: {file}: {path}\n")
    sys.stdout.write(f"{verdicts.total()} values changed: {verdicts['found']} found by {by}\n")
    named = {words: count for words, count in verdicts.items() if words not in ("found", "")}
    sys.stdout.writelines(f"  {count} named by: {words}\n" for words, count in named.items())
    sys.stdout.write(f"unnoticed and unlisted: {verdicts['']}\n")
    sys.stdout.flush()
    return verdicts[""]


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s evidence -- leaves", description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", help="default: a run of a small network")
    parser.add_argument("--model", help="MODULE:FUNCTION of the run's own network")
    parser.add_argument("--page", action="store_true", help="the page alone")
    arguments = parser.parse_args()
    numerics = activate("auto", "cpu")
    if arguments.model:
        open_network(arguments.model).trust()
    silent = 0
    with tempfile.TemporaryDirectory() as place:
        if not arguments.page:
            run = arguments.run or small_run(Path(place, "run"), numerics)
            for chained, by in ((False, "verify"), (True, "verify, hash chains computed anew")):
                silent += counted(judged_by_verify(run, numerics, chained=chained), by)
        if not arguments.run:
            silent += counted(judged_by_page(Path(place)), "check.html")
    sys.exit(bool(silent))


if __name__ == "__main__":
    main()
