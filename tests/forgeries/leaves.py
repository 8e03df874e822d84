"""Runs with one JSON value changed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from in4310repro.data.splits import from_csv
from in4310repro.runs import chain
from in4310repro.runs import config as configuration
from in4310repro.runs.deviations import Deviation
from in4310repro.runs.settings import CHOICES
from in4310repro.system.files import json_bytes
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
    "split": ("25/12/11", "0.5/0.25/0.25"),
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
