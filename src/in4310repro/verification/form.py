"""Check of the file formats: a run's files must have exactly the bytes that training writes for their content."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from in4310repro.data.preprocessing import Preprocessing, to_metadata, without_size
from in4310repro.runs import names
from in4310repro.runs.arrays import array_bytes
from in4310repro.runs.config import LOOK_ALIKES, WEIGHTS_SAY, to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import json_bytes, read_bytes, read_json
from in4310repro.verification.evidence import SettingEvidence

LENGTH = 8  # bytes before the header of a safetensors file, which hold its length and divide it


def form_differences(run: FinishedRun) -> Iterator[str]:
    """Yield a message for each file with valid content whose bytes are not those that training writes.

    Examples are a number in another notation, a duplicate key and metadata beside weights. Such bytes could hide text.
    The archive of the scores is compared by its length only, since archives name the operating system.
    """
    for name in _json_files(run):
        file = run.files.file(name)
        if read_bytes(file) != json_bytes(read_json(file)):
            yield f"{file} is not written as a run writes JSON, though it reads as if it were"
    written = run.files.read_json(names.CONFIG)
    configuration = _as_far_as(written, to_json(run.config, written["format"]))
    if other := [key for key in written if json_bytes(written[key]) != json_bytes(configuration[key])]:
        yield f"{run.folder / names.CONFIG}: {other[0]} is {written[other[0]]}; a run writes {configuration[other[0]]}"
    scores = run.files.file(names.SCORES)
    needed = len(array_bytes(run.files.read_arrays(names.SCORES)))
    if scores.stat().st_size != needed:
        yield f"{scores} has {scores.stat().st_size} bytes; its arrays make {needed}"


def _as_far_as(written: Any, needed: Any) -> Any:
    """Return `needed` without the keys that `written` lacks, at any depth, since older runs lack newer settings."""
    if isinstance(written, Mapping) and isinstance(needed, Mapping):
        return {key: _as_far_as(written[key], value) for key, value in needed.items() if key in written}
    if isinstance(written, list) and isinstance(needed, list) and len(written) == len(needed):
        return [_as_far_as(one, other) for one, other in zip(written, needed, strict=True)]
    return needed


def _json_files(run: FinishedRun) -> list[str]:
    of_run = [names.CONFIG, names.FINGERPRINT, names.METRICS]
    of_run += [names.FEATURES] if run.features is not None else []
    of_run += [names.GROUPS] if run.config.group == LOOK_ALIKES else []
    return of_run + [
        names.of_setting(s.name, each) for s in run.config.settings for each in (names.HISTORY, names.TENSORS)
    ]


def weights_differences(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message for each deviation of a setting's weights files from the format that a run writes.

    Raises:
        ValueError: the weights are damaged or belong to another network.
    """
    run, file = setting.evidence.run, setting.file(names.BEST_WEIGHTS)
    older = run.files.read_json(names.CONFIG)["format"] < WEIGHTS_SAY
    last = [setting.file(names.LAST_WEIGHTS)] if run.config.protocol.starts_warm else []
    stored = setting.stored
    for each in (file, *last):
        yield from weights_form(each, run.config.preprocessing, older=older)
    yield from tensors_form(file, stored, setting.network)


def tensors_form(file: Path, stored: Mapping[str, torch.Tensor], network: torch.nn.Module) -> Iterator[str]:
    """Yield a message for the first tensor in a weights file whose name or dtype differs from the network's."""
    needed = network.state_dict()
    for name in dict.fromkeys([*needed, *stored]):
        now, then = (str(each[name].dtype) if name in each else "absent" for each in (stored, needed))
        if now != then:
            yield f"{file}: {name} is {now}; a run writes {then}"
            return


def weights_form(file: Path, preprocessing: Preprocessing, *, older: bool = False) -> Iterator[str]:
    """Yield a message if the metadata of a weights file are not those of the run, or if its header is padded.

    Args:
        file: the weights.
        preprocessing: the run's preprocessing, which the metadata must state.
        older: whether the run's format is so old that weights may lack metadata.
    """
    data = read_bytes(file)
    end = LENGTH + int.from_bytes(data[:LENGTH], "little")
    header = json.loads(data[LENGTH:end])
    shortest = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = shortest + b" " * (-len(shortest) % LENGTH)
    found, needed = header.get("__metadata__"), to_metadata(preprocessing)
    if found not in (needed, without_size(preprocessing), *((None,) if older else ())):
        yield f"{file}: its metadata are {reprlib.repr(found)}; a run with this {names.CONFIG} writes {needed}"
    elif data[LENGTH:end] != padded:
        yield f"{file} has another header than a run writes for its tensors"
