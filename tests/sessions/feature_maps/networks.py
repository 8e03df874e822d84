"""The networks that are measured: those of finished runs, before and after training, and one from ImageNet weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from in4310repro.data.folders import Catalogue, Entry, catalogue
from in4310repro.data.preprocessing import Preprocessing
from in4310repro.data.splits import Split, from_csv
from in4310repro.models.network import open_network
from in4310repro.models.sources import FIVE_MODULES, LITE
from in4310repro.runs import names
from in4310repro.runs.config import Config, from_json
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import HEAD_PRESET, PRESETS
from in4310repro.system.tensors import tensors_sha256

INITIAL = "initial"
# Each convolution of ResNet-18 that the assignment names, with the batch norm after it and the block before it.
RESNET_NORMS = {name: f"{name.removesuffix('conv1')}bn1" for name in FIVE_MODULES}
RESNET_BLOCKS = {name: name.replace("1.conv1", "0") for name in FIVE_MODULES[1:]}
# The first convolution, and of the second block at strides 4, 8, 16 and 32 the first one, as in ResNet-18.
LITE_BLOCKS = (2, 4, 6, 12)
LITE_MODULES = ("stem.0", *(f"blocks.{block}.expand.0" for block in LITE_BLOCKS))
# The last convolutions of these blocks, whose input comes from an activation, and the network's last one.
LITE_PROJECTIONS = (*(f"blocks.{block}.project.0" for block in LITE_BLOCKS), "last.0")
LITE_NORMS = {name: f"{name.removesuffix('0')}1" for name in (*LITE_MODULES, *LITE_PROJECTIONS)}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with what is measured of it, and the scenes that it may be measured on."""

    name: str
    model: nn.Module
    modules: tuple[str, ...]
    norms: Mapping[str, str]  # of each convolution whose sign is studied, the batch norm after it
    blocks: Mapping[str, str] = field(default_factory=dict)  # of a ResNet's convolutions, the block before
    size: int  # side of its input, pixels
    preprocessing: Preprocessing
    root: str  # folder of the scenes
    classes: tuple[str, ...]
    scenes: tuple[Entry, ...]  # on which it was not trained
    trained_on: tuple[Entry, ...] = ()
    initial: nn.Module | None = None  # the network before training
    facts: Mapping[str, Any]
    also: tuple[Mapping[str, Any], ...] = ()  # facts of networks of other runs with equal weights

    @property
    def measures_spectra(self) -> bool:
        """True for networks before training, for selected ones, and for those with ImageNet weights."""
        return bool(self.facts["spectra"])


class Run(NamedTuple):
    """A run's settings that have ended, with their best weights; others may still be in training."""

    name: str
    config: Config
    split: Split
    best: Mapping[str, Mapping[str, Tensor]]  # by setting
    selected: str  # the last that has ended, while others are in training

    @classmethod
    def open(cls, folder: Path, data: Path) -> Run:
        """Read a run's configuration, split and weights, whether or not it is finished.

        Raises:
            ValueError: no setting has ended, or a file is damaged.
        """
        files = RunFolder.open(folder)
        config = from_json(files.read_json(names.CONFIG), f"{folder / names.CONFIG}")
        ended = [setting.name for setting in config.settings if has_ended(files, setting.name, config.epochs)]
        if not ended:
            raise ValueError(f"no setting of {folder} has ended")
        best = {name: files.read_tensors(names.of_setting(name, names.BEST_WEIGHTS)) for name in ended}
        finished = (folder / names.METRICS).exists()
        selected: str = files.read_json(names.METRICS)["setting"] if finished else ended[-1]
        return cls(folder.name, config, from_csv(files.file(names.SPLIT), data), best, selected)


def has_ended(files: RunFolder, setting: str, epochs: int) -> bool:
    file = names.of_setting(setting, names.HISTORY)
    return (files.folder / file).exists() and len(files.read_json(file)) == epochs


def subjects(runs: Sequence[Path], data: Path) -> list[Subject]:
    """Return EfficientNet-Lite0, then the networks of each run; networks with equal weights once."""
    of_runs = [subject for folder in runs for subject in subjects_of_run(Run.open(folder, data))]
    return [lite_subject(catalogue(data)), *merge(of_runs)]


def merge(listed: Sequence[Subject]) -> list[Subject]:
    """Return the first of the networks with equal weights, with spectra if any of them has, and the others' facts."""
    found: dict[str, Subject] = {}
    for subject in listed:
        sha256 = tensors_sha256(subject.model.state_dict())
        if first := found.get(sha256):
            facts = {**first.facts, "spectra": first.measures_spectra or subject.measures_spectra}
            found[sha256] = replace(first, facts=facts, also=(*first.also, subject.facts))
        else:
            found[sha256] = subject
    return list(found.values())


def subjects_of_run(run: Run) -> Iterator[Subject]:
    """Yield the network before training, and that of each setting."""
    config, split = run.config, run.split
    trained_on = split.parts[config.protocol.part_read_as("training")]
    read = {entry.sha256 for entry in (*trained_on, *split.parts[config.protocol.part_read_as("validation")])}
    classes, weights = len(split.classes), config.network.read_weights(config.weights)
    initial = config.network.build(classes, config.seed, weights)
    for setting, best in {INITIAL: None, **run.best}.items():
        yield Subject(
            name=f"{run.name}, {setting}",
            model=initial if best is None else config.network.restore(classes, best, f"{run.name}, {setting}"),
            modules=FIVE_MODULES,
            norms=RESNET_NORMS,
            blocks=RESNET_BLOCKS,
            size=config.image_size,
            preprocessing=config.preprocessing,
            root=f"{split.root}",
            classes=split.classes,
            scenes=tuple(entry for entry in split.catalogue().entries if entry.sha256 not in read),
            trained_on=() if best is None else trained_on,
            initial=None if best is None else initial,
            facts=facts_of(run, setting, len(trained_on)),
        )


def facts_of(run: Run, setting: str, training_images: int) -> dict[str, Any]:
    config, trained = run.config, setting != INITIAL
    settings = [each.name for each in config.settings]
    return {
        "kind": "trained" if trained else INITIAL,
        "run": run.name,
        "protocol": f"{config.protocol}",
        "seed": config.seed,
        "setting": setting,
        "after": config.protocol.setting_before(setting, settings) if trained else None,
        "epochs": config.epochs if trained else 0,
        "training_images": training_images if trained else 0,
        "spectra": setting in (INITIAL, run.selected),
    }


def lite_subject(scenes: Catalogue) -> Subject:
    """Return EfficientNet-Lite0 with its ImageNet weights, which is measured on any scenes."""
    network = open_network(LITE)
    return Subject(
        name="EfficientNet-Lite0, ImageNet weights",
        model=network.build(len(scenes.classes), 0, network.read_weights("imagenet")),
        modules=LITE_MODULES,
        norms=LITE_NORMS,
        size=PRESETS[HEAD_PRESET].image_size,
        preprocessing=network.imagenet_preprocessing(),
        root=f"{scenes.root}",
        classes=scenes.classes,
        scenes=scenes.entries,
        facts={"kind": "imagenet", "spectra": True},
    )
