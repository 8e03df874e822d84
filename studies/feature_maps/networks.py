"""The networks that are measured: those of finished runs, before and after training, and one from ImageNet weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from in4310repro.data.folders import Catalogue, Entry, catalogue
from in4310repro.data.preprocessing import Preprocessing
from in4310repro.data.splits import from_csv
from in4310repro.models.sources import FIVE_MODULES, LITE, open_network
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
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
    last_weights: str = ""  # sha256 of the weights after the last epoch of its training
    also: tuple[Mapping[str, Any], ...] = ()  # facts of networks of other runs by the same training

    @property
    def measures_spectra(self) -> bool:
        """True for networks before training, for selected ones, and for those with ImageNet weights."""
        return bool(self.facts["spectra"])


def subjects(runs: Sequence[Path], data: Path) -> list[Subject]:
    """Return EfficientNet-Lite0, then the networks of each run; of one training a single network."""
    of_runs = [subject for folder in runs for subject in subjects_of_run(FinishedRun.open(folder), data)]
    return [lite_subject(catalogue(data)), *merge(of_runs)]


def merge(listed: Sequence[Subject]) -> list[Subject]:
    """Return the first network of each training, with spectra if another has them, and the others' facts.

    Deviations that only change evaluation select other epochs of the same training.
    """
    found: dict[str, Subject] = {}
    for subject in listed:
        sha256 = subject.last_weights or tensors_sha256(subject.model.state_dict())
        if first := found.get(sha256):
            facts = {**first.facts, "spectra": first.measures_spectra or subject.measures_spectra}
            found[sha256] = replace(first, facts=facts, also=(*first.also, subject.facts))
        else:
            found[sha256] = subject
    return list(found.values())


def subjects_of_run(run: FinishedRun, data: Path) -> Iterator[Subject]:
    """Yield the network before training, and that of each setting."""
    config, split, name = run.config, from_csv(run.files.file(names.SPLIT), data), run.folder.name
    trained_on = split.parts[config.protocol.part_read_as("training")]
    read = {entry.sha256 for entry in (*trained_on, *split.parts[config.protocol.part_read_as("validation")])}
    classes, weights = len(split.classes), config.network.read_weights(config.weights)
    initial = config.network.build(classes, config.seed, weights)
    best = {each: run.files.read_tensors(f"{each}/{names.BEST_WEIGHTS}") for each in run.histories}
    for setting in (INITIAL, *best):
        trained = setting != INITIAL
        yield Subject(
            name=f"{name}, {setting}",
            model=config.network.restore(classes, best[setting], f"{name}, {setting}") if trained else initial,
            modules=FIVE_MODULES,
            norms=RESNET_NORMS,
            blocks=RESNET_BLOCKS,
            size=config.image_size,
            preprocessing=config.preprocessing,
            root=f"{split.root}",
            classes=split.classes,
            scenes=tuple(entry for entry in split.catalogue().entries if entry.sha256 not in read),
            trained_on=trained_on if trained else (),
            initial=initial if trained else None,
            last_weights=run.tensors[setting][-1]["weights_sha256"] if trained else "",
            facts=facts_of(run, setting, len(trained_on)),
        )


def facts_of(run: FinishedRun, setting: str, training_images: int) -> dict[str, Any]:
    config, trained = run.config, setting != INITIAL
    return {
        "kind": "trained" if trained else INITIAL,
        "run": run.folder.name,
        "protocol": f"{config.protocol}",
        "seed": config.seed,
        "setting": setting,
        "after": config.setting_before(config.setting(setting)) if trained else None,
        "epochs": config.epochs if trained else 0,
        "training_images": training_images if trained else 0,
        "spectra": setting in (INITIAL, run.metrics["setting"]),
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
        preprocessing=network.imagenet.preprocessing,
        root=f"{scenes.root}",
        classes=scenes.classes,
        scenes=scenes.entries,
        facts={"kind": "imagenet", "spectra": True},
    )
