"""Checks of a run's files: exact bytes of each file, preset, and fingerprint."""

import io
import json
import reprlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from in4310repro.data.preprocessing import IGNORED, Preprocessing, to_metadata, without_size
from in4310repro.runs import finished, folder, names, settings
from in4310repro.runs.config import Config, to_json
from in4310repro.runs.presets import PRESETS
from in4310repro.system import files, fingerprint, schema, text
from in4310repro.system.numerics import Numerics, native_class
from in4310repro.system.tensors import tensors_sha256
from in4310repro.verification.evidence import Evidence, Finding, Note, SettingEvidence, earlier_version
from in4310repro.verification.folder import needed_files

LENGTH = 8  # bytes before the header of a safetensors file, which hold its length and divide it


def form_differences(run: finished.FinishedRun) -> Iterator[str]:
    """Yield a message for each JSON file that is valid, but not byte for byte what a run would write.

    A number in a different notation or a duplicate key, for example, could hide text. There is also a message if
    the archive of the scores has a wrong length. Its bytes are not compared, since archives name the operating
    system. Files of weights are checked by `weights_differences`.
    """
    for file in (run.files.file(name) for name in needed_files(run) if name.endswith(".json")):
        if files.read_bytes(file) != files.json_bytes(files.read_json(file)):
            yield f"{file} is not written as a run writes JSON, though it reads as if it were"
    config, scores, arrays = run.files.read_json(names.CONFIG), run.files.file(names.SCORES), run.scores
    for each in schema.differences(config, to_json(run.config, config["format"]), rules={}):
        # Older runs lack newer options.
        if each.first is not None:
            yield f"{run.folder / names.CONFIG}: {each.path} is {each.first}; a run writes {each.second}"
            break
    softmax = arrays.softmax.copy("C")
    needed = folder.array_bytes({"paths": np.array(arrays.paths), "labels": arrays.labels, "softmax": softmax})
    found = files.read_bytes(scores)
    if len(found) != len(needed):
        yield f"{scores} has {len(found)} bytes; its arrays make {len(needed)}"
        return
    written, made = (zipfile.ZipFile(io.BytesIO(each)) for each in (found, needed))
    if written.namelist() != made.namelist():
        yield f"{scores} has its arrays in another order than {', '.join(made.namelist())}"
    elif other := [name for name in made.namelist() if written.read(name) != made.read(name)]:
        yield f"{scores}: {other[0]} has other bytes than a run writes for its values"


def weights_differences(setting: SettingEvidence) -> Iterator[str]:
    """Yield a message for each difference between a setting's weights files and the format that a run writes.

    Raises:
        ValueError: the weights are damaged or belong to another network.
    """
    run, stored = setting.run, {names.BEST_WEIGHTS: setting.stored}
    older = run.files.read_json(names.CONFIG)["format"] < settings.WEIGHTS_SAY
    if run.config.protocol.starts_warm:
        stored[names.LAST_WEIGHTS] = run.files.read_tensors(names.of_setting(setting.name, names.LAST_WEIGHTS))
    for name, tensors in stored.items():
        yield from weights_form(setting.file(name), run.config.preprocessing, older=older)
        yield from tensors_form(setting.file(name), tensors, setting.network)
        found, recorded = tensors_sha256(tensors), run.tensors[setting.name][-1]["weights_sha256"]
        if name == names.LAST_WEIGHTS and found != recorded:
            words = f"{names.TENSORS} has {recorded} after the last epoch"
            yield f"{setting.file(name)} holds weights with sha256 {found}; {words}"


def tensors_form(file: Path, stored: Mapping[str, torch.Tensor], network: torch.nn.Module) -> Iterator[str]:
    """Yield a message for the first tensor in a weights file whose name or dtype differs from the network's."""
    needed, found = ({n: f"{value.dtype}" for n, value in each.items()} for each in (network.state_dict(), stored))
    for each in [*schema.differences(needed, found)][:1]:
        yield f"{file}: {each.path} is {each.second or 'absent'}; a run writes {each.first or 'absent'}"


def weights_form(file: Path, preprocessing: Preprocessing, *, older: bool = False) -> Iterator[str]:
    """Yield a message if metadata or header bytes of a weights file are not those that a run writes.

    Args:
        file: the weights.
        preprocessing: the run's preprocessing, which the metadata must state.
        older: whether the run's format is so old that weights may lack metadata.
    """
    data = files.read_bytes(file)
    end = LENGTH + int.from_bytes(data[:LENGTH], "little")
    header = json.loads(data[LENGTH:end])
    shortest = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = shortest + b" " * (-len(shortest) % LENGTH)
    found, needed = header.get("__metadata__"), to_metadata(preprocessing)
    if found not in (needed, without_size(preprocessing), *((None,) if older else ())):
        yield f"{file}: its metadata are {reprlib.repr(found)}; a run with this {names.CONFIG} writes {needed}"
    elif data[LENGTH:end] != padded:
        yield f"{file} has another header than a run writes for its tensors"


def preset_findings(run: finished.FinishedRun) -> Iterator[Finding]:
    """Yield a message if the preset does not exist, and notes on configuration values that differ from it."""
    place, named = run.folder / names.CONFIG, run.config.preset
    if named not in PRESETS:
        yield f"{place}: preset is {named}; expected one of {', '.join(PRESETS)}{text.did_you_mean(named, PRESETS)}"
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
    config, code = run.config, recorded.get("code_sha256", "")
    if code != (now := config.network.code_sha256() if config.records_code else ""):
        here = f"the file of {config.network.name} here has {now or 'none to be recorded'}"
        yield f"{file}: code_sha256 is {code or 'absent'}; {here}"
    sha256, drawn = recorded.get("initial_weights_sha256"), tensors_sha256(evidence.drawn_network.state_dict())
    if config.weights == "none":
        if sha256 != drawn:
            yield f"{file}: initial_weights_sha256 is {sha256}; the weights that seed {config.seed} draws have {drawn}"
    elif sha256 == drawn:
        yield f"{file}: the initial weights are those that seed {config.seed} draws, not {config.weights} weights"
    elif evidence.start_at_hand:
        try:
            now = tensors_sha256(evidence.initial_network.state_dict())
        except ValueError as error:
            yield str(error)
            return
        if sha256 != now:
            yield f"{file}: initial_weights_sha256 is {sha256}; {config.weights} weights that are here have {now}"


def class_differences(place: str, recorded: fingerprint.Fingerprint, numerics: Numerics) -> Iterator[Finding]:
    """Yield a message if the arithmetic that a fingerprint names is not that of its probe, or of this version."""
    named = recorded["numeric_class"]
    if recorded["numerics"] == "native":
        computed = native_class(recorded["probe"], recorded.get("threads", 0), recorded["device_name"])
        if named != computed:
            yield f"{place}: numeric_class is {named}; its probe, threads and device make {computed}"
    elif version := earlier_version(recorded):
        bits = "whose bits are not those of this version; numbers are compared within tolerances"
        yield Note(f"{place}: recorded in version {version} of portable arithmetic, {bits}")
    elif numerics.portable and (named, recorded["probe"]) != (numerics.numeric_class, numerics.probe):
        package = recorded["versions"].get("in4310repro", "another version")
        here = f"({numerics.numeric_class} in this version); the run names in4310repro {package}"
        yield f"{place}: numeric_class and probe ({named}) are not those of portable arithmetic {here}"
