"""Checks of a run's files: exact bytes of each file, preset, and fingerprint."""

from __future__ import annotations

import io
import json
import reprlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from in4310repro.data.preprocessing import IGNORED, Preprocessing, to_metadata, without_size
from in4310repro.runs import names
from in4310repro.runs.config import Config, to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import array_bytes
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.settings import LOOK_ALIKES, WEIGHTS_SAY
from in4310repro.system.files import json_bytes, read_bytes, read_json
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.numerics import Numerics, native_class
from in4310repro.system.tensors import tensors_sha256
from in4310repro.system.text import did_you_mean
from in4310repro.verification.check import Finding, Note
from in4310repro.verification.evidence import Evidence, SettingEvidence, earlier_version

LENGTH = 8  # bytes before the header of a safetensors file, which hold its length and divide it


def form_differences(run: FinishedRun) -> Iterator[str]:
    """Yield a message for each JSON file that is valid, but not byte for byte what a run would write.

    A number in a different notation or a duplicate key, for example, could hide text. There is also a message if
    the archive of the scores has a wrong length. Its bytes are not compared, since archives name the operating
    system. Files of weights are checked by `weights_differences`.
    """
    for name in _json_files(run):
        file = run.files.file(name)
        if read_bytes(file) != json_bytes(read_json(file)):
            yield f"{file} is not written as a run writes JSON, though it reads as if it were"
    written = run.files.read_json(names.CONFIG)
    configuration = _as_far_as(written, to_json(run.config, written["format"]))
    if other := [key for key in written if json_bytes(written[key]) != json_bytes(configuration[key])]:
        yield f"{run.folder / names.CONFIG}: {other[0]} is {written[other[0]]}; a run writes {configuration[other[0]]}"
    yield from _scores_form(run)


def _scores_form(run: FinishedRun) -> Iterator[str]:
    scores, arrays = run.files.file(names.SCORES), run.scores
    needed = array_bytes(
        {"paths": np.array(arrays.paths), "labels": arrays.labels, "softmax": arrays.softmax.copy("C")}
    )
    found = read_bytes(scores)
    if len(found) != len(needed):
        yield f"{scores} has {len(found)} bytes; its arrays make {len(needed)}"
        return
    with zipfile.ZipFile(io.BytesIO(found)) as archive, zipfile.ZipFile(io.BytesIO(needed)) as written:
        listed = [entry.filename for entry in written.infolist()]
        if [entry.filename for entry in archive.infolist()] != listed:
            yield f"{scores} has its arrays in another order than {', '.join(listed)}"
        elif other := [name for name in listed if archive.read(name) != written.read(name)]:
            yield f"{scores}: {other[0]} has other bytes than a run writes for its values"


def _as_far_as(written: Any, needed: Any) -> Any:
    """Return `needed` without the keys that `written` lacks, such as newer options.

    Keys of nested values are omitted in the same way.
    """
    if isinstance(written, Mapping) and isinstance(needed, Mapping):
        return {key: _as_far_as(written[key], value) for key, value in needed.items() if key in written}
    if isinstance(written, list) and isinstance(needed, list) and len(written) == len(needed):
        return [_as_far_as(one, other) for one, other in zip(written, needed, strict=True)]
    return needed


def _json_files(run: FinishedRun) -> list[str]:
    of_run = [names.CONFIG, names.FINGERPRINT, names.METRICS]
    of_run += [names.PIXELS] if run.config.is_canonical else []
    of_run += [names.FEATURES] if run.features is not None else []
    of_run += [names.GROUPS] if run.config.group == LOOK_ALIKES else []
    return of_run + [
        names.of_setting(s.name, each) for s in run.config.settings for each in (names.HISTORY, names.TENSORS)
    ]


def weights_differences(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message for each difference between a setting's weights files and the format that a run writes.

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
    for each in last:
        recorded = run.tensors[setting.name][-1]["weights_sha256"]
        tensors = run.files.read_tensors(names.of_setting(setting.name, names.LAST_WEIGHTS))
        yield from tensors_form(each, tensors, setting.network)
        if (found := tensors_sha256(tensors)) != recorded:
            yield f"{each} holds weights with sha256 {found}; {names.TENSORS} has {recorded} after the last epoch"


def tensors_form(file: Path, stored: Mapping[str, torch.Tensor], network: torch.nn.Module) -> Iterator[str]:
    """Yield a message for the first tensor in a weights file whose name or dtype differs from the network's."""
    needed = network.state_dict()
    for name in dict.fromkeys([*needed, *stored]):
        now, then = (str(each[name].dtype) if name in each else "absent" for each in (stored, needed))
        if now != then:
            yield f"{file}: {name} is {now}; a run writes {then}"
            return


def weights_form(file: Path, preprocessing: Preprocessing, *, older: bool = False) -> Iterator[str]:
    """Yield a message if metadata or header bytes of a weights file are not those that a run writes.

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


def preset_findings(run: FinishedRun) -> Iterator[Finding]:
    """Yield a message if the preset does not exist, and notes on configuration values that differ from it."""
    place, named = run.folder / names.CONFIG, run.config.preset
    if named not in PRESETS:
        near = did_you_mean(named, PRESETS)
        yield f"{place}: preset is {named}; expected one of {', '.join(PRESETS)}{near}"
    if run.config.orientation == IGNORED and any((run.config.data, run.config.imagenet, run.config.cifar10)):
        yield Note(f"{place}: pictures were read without their EXIF orientation, as here")
    if preset := PRESETS.get(named):
        expected = replace(preset, orientation=run.config.orientation, format=run.config.format)
        changed = [
            each.name for each in fields(Config) if getattr(expected, each.name) != getattr(run.config, each.name)
        ]
        if changed:
            yield Note(f"{place} differs from preset {named} in {', '.join(changed)}")


def fingerprint_differences(evidence: Evidence) -> Iterator[Finding]:
    """Yield a message for each entry of fingerprint.json that contradicts the configuration or a recomputed value.

    The hash of the weights before the first step is compared if these weights are available.
    """
    run = evidence.run
    file, recorded, asked = run.folder / names.FINGERPRINT, run.fingerprint, run.config.numerics
    if asked not in ("auto", recorded["numerics"]):
        yield f"{file}: numerics is {recorded['numerics']}; {names.CONFIG} has {asked}"
    yield from class_differences(f"{file}", recorded, evidence.context.numerics)
    yield from _code_differences(f"{file}", run)
    yield from _start_differences(f"{file}", evidence)


def _start_differences(place: str, evidence: Evidence) -> Iterator[str]:
    config, sha256 = evidence.run.config, evidence.run.fingerprint.get("initial_weights_sha256")
    drawn = tensors_sha256(evidence.drawn_network.state_dict())
    if config.weights == "none":
        if sha256 != drawn:
            yield f"{place}: initial_weights_sha256 is {sha256}; the weights that seed {config.seed} draws have {drawn}"
    elif sha256 == drawn:
        yield f"{place}: the initial weights are those that seed {config.seed} draws, not {config.weights} weights"
    elif evidence.start_at_hand:
        try:
            now = tensors_sha256(evidence.initial_network.state_dict())
        except ValueError as error:
            yield str(error)
            return
        if sha256 != now:
            yield f"{place}: initial_weights_sha256 is {sha256}; {config.weights} weights that are here have {now}"


def _code_differences(place: str, run: FinishedRun) -> Iterator[str]:
    network, recorded = run.config.network, run.fingerprint.get("code_sha256", "")
    now = network.code_sha256() if run.config.records_code else ""
    if recorded != now:
        yield (
            f"{place}: code_sha256 is {recorded or 'absent'}; the file of {network.name} here has "
            f"{now or 'none to be recorded'}"
        )


def class_differences(place: str, recorded: Fingerprint, numerics: Numerics) -> Iterator[Finding]:
    """Yield a message if the arithmetic that a fingerprint names is not that of its probe, or of this version."""
    named = recorded["numeric_class"]
    if recorded["numerics"] == "native":
        computed = native_class(recorded["probe"], recorded.get("threads", 0), recorded["device_name"])
        if named != computed:
            yield f"{place}: numeric_class is {named}; its probe, threads and device make {computed}"
    elif version := earlier_version(recorded):
        yield Note(
            f"{place}: recorded in version {version} of portable arithmetic, whose bits are not those of this version; "
            "numbers are compared within tolerances"
        )
    elif numerics.portable and (named, recorded["probe"]) != (numerics.numeric_class, numerics.probe):
        package = recorded["versions"].get("in4310repro", "another version")
        yield (
            f"{place}: numeric_class and probe ({named}) are not those of portable arithmetic "
            f"({numerics.numeric_class} in this version); the run names in4310repro {package}"
        )
