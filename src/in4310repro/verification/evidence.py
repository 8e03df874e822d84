"""Files of a run and values recomputed from them; each value is computed once, when first needed.

A "numeric class" is a hash that identifies the arithmetic of a process. In native arithmetic it depends on
the results of a probe computation, the number of threads and the device; in portable arithmetic, on the
version and the results of our kernels. Processes of one class are expected to compute equal bits.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch

from in4310repro.data import references, splits
from in4310repro.data.images import ImageSet
from in4310repro.evaluation.feature_maps.of_run import sample_of
from in4310repro.evaluation.prediction import predict
from in4310repro.metrics.scores import Scores
from in4310repro.runs import names, record_types
from in4310repro.runs.deviations import UNSEEN
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system import fingerprint
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics, class_of
from in4310repro.verification.folder_checks import recorded_files

IN_LIBRARY = (references.PHOTOGRAPHS, references.DIGITS)  # image sets that scikit-learn has
IMAGENET_CLASSES = 1000  # the fewest of published ImageNet weights; their head fits no run with fewer
REPLAY = "shown by verify --replay, for the epochs that it trains again, of the selected setting or those of --setting"
NOT_SHOWN = "shown by nothing in a run"
ELSEWHERE = "shown by verify where the files are available"
IN_CLASS = "shown by verify in arithmetic of the run's numeric class"
SHOWN_BY = (REPLAY, NOT_SHOWN, ELSEWHERE, IN_CLASS)  # in the order of the lines


class Note(NamedTuple):
    """A remark, not a difference, in the result of a verification."""

    sentence: str


class Claim(NamedTuple):
    """A statement of a run that the verification did not recompute, and what would confirm it."""

    what: str
    shown_by: str


Finding = str | Note | Claim  # a sentence is a difference


class DamagedRunError(Exception):
    """Error for a damaged file that all further checks need; its message is reported as a difference."""


def requires_bits(recorded: fingerprint.Fingerprint, numerics: Numerics) -> bool:
    """Return whether values recomputed on this machine must equal the recorded values bit for bit.

    They must if this process and the recording one have the same numeric class, a hash that identifies their
    arithmetic. They also must if both use portable arithmetic, which fixes the order of float operations, unless the
    recorded values are those of an earlier version of it.
    """
    both_portable = numerics.portable and recorded["numerics"] == "portable" and not earlier_version(recorded)
    return both_portable or recorded["numeric_class"] == numerics.numeric_class


def earlier_version(recorded: fingerprint.Fingerprint) -> int | None:
    """Return the earlier version of portable arithmetic that a fingerprint's numeric class and probe belong to.

    Return None if they belong to no earlier version.
    """
    from in4310repro import arithmetic

    named, probe = recorded["numeric_class"], recorded["probe"]
    versions = range(1, arithmetic.VERSION) if recorded["numerics"] == "portable" else ()
    return next((each for each in versions if class_of(each, probe) == named), None)


def draws_head(run: FinishedRun) -> bool:
    """Return whether a run's initial head was drawn from the seed for certain, even if the weights are unavailable."""
    weights = run.config.weights
    return weights == "none" or (weights == "imagenet" and len(run.classes) < IMAGENET_CLASSES)


@dataclass
class Evidence:
    """A run, and values recomputed from it on first use; caches on disk are not read.

    Attributes:
        folder: the folder of the run.
        context: arithmetic and progress display of the computation.
        data: the present folder of the run's images, if they moved.
        decoded: the images that `images` returned, by part.
        bodies_compared: False once what precedes a fitted head could not be compared with the weights before training.
        fits_repeat: False once a fit of a head, made again, had other bits than the run's.
    """

    folder: Path
    context: Context
    data: str | None = None
    decoded: dict[str, ImageSet] = field(default_factory=dict)
    bodies_compared: bool = True
    fits_repeat: bool = True

    @cached_property
    def files(self) -> RunFolder:
        """The folder of the finished run.

        Raises:
            ValueError: the folder holds no run, or the run is not finished.
        """
        return recorded_files(self.folder)

    @cached_property
    def run(self) -> FinishedRun:
        """The run, read from its files.

        Raises:
            DamagedRunError: the files cannot be read.
        """
        try:
            return FinishedRun.open(self.folder)
        except (ValueError, OSError) as error:
            raise DamagedRunError(f"{self.folder} cannot be read completely: {error}") from error

    @cached_property
    def bitwise(self) -> bool:
        """True if recomputed values must be equal bit for bit; if not, they are compared within tolerances."""
        return requires_bits(self.run.fingerprint, self.context.numerics)

    @cached_property
    def split(self) -> splits.Split:
        """The split, with the present location of its images.

        Raises:
            ValueError: an image is missing.
        """
        split = replace(self.run.split, root=image_root(self.run.config, self.data))
        for path, part in splits.parts_of(split).items():
            if not (split.root / path).is_file():
                where = f"{split.root}; --data names the folder that holds it"
                raise ValueError(f"{part} image {path} is not below {where}")
        return split

    def images(self, part: str) -> ImageSet:
        """Return the decoded images of a part of the split, as the run used it.

        If `part` is `UNSEEN`, return the images that the run never used.

        Raises:
            DamagedRunError: an image cannot be decoded.
        """
        config, progress = self.run.config, self.context.progress
        part = config.protocol.part_read_as(part)
        if part not in self.decoded:
            try:
                self.decoded[part] = config.load_part(self.split, part, progress, cache=False)
            except (ValueError, OSError) as error:
                raise DamagedRunError(f"the images cannot be predicted again: {error}") from error
        return self.decoded[part]

    @cached_property
    def drawn_network(self) -> torch.nn.Module:
        """The network with random weights drawn from the seed, on the CPU."""
        return self.run.config.network.build(len(self.run.classes), self.run.config.seed)

    @cached_property
    def start_at_hand(self) -> bool:
        """True if the weights before the first training step are available without a download."""
        return self.run.config.network.has_weights(self.run.config.weights)

    @cached_property
    def initial_network(self) -> torch.nn.Module:
        """The network with the weights before the first training step, on the CPU.

        Raises:
            ValueError: the weights cannot be read.
        """
        return self.drawn_network if self.run.config.weights == "none" else self.run.initial_network()

    @cached_property
    def settings(self) -> list["SettingEvidence"]:
        """Evidence of each training setting (one optimizer), the selected one first."""
        settings = [SettingEvidence(self, setting) for setting in self.run.config.settings]
        return sorted(settings, key=lambda each: each.name != self.run.metrics["setting"])

    @cached_property
    def selected(self) -> "SettingEvidence":
        """Evidence of the selected training setting."""
        return self.settings[0]

    @cached_property
    def measured_network(self) -> torch.nn.Module | None:
        """The network whose feature maps the run records, on the device; None if its weights are unavailable."""
        if self.run.config.weights == "none":
            return self.selected.network
        # A copy, since placing changes the network itself.
        return self.context.numerics.place(copy.deepcopy(self.initial_network)) if self.start_at_hand else None

    @cached_property
    def feature_sets(self) -> list[ImageSet | None]:
        """The image sets whose feature maps are recorded, in order. A set that is unavailable now is None.

        Raises:
            ValueError: a folder of images cannot be read.
        """
        config, features = self.run.config, self.run.features
        if features is None:
            return []
        sets: list[ImageSet | None] = [references.subset(self.images("test"), config.feature_images, config.seed)]
        sample = sample_of(config)
        for record, (option, in_folder, of_library) in zip(features["sets"][1:], references.COMPARED, strict=True):
            folder = getattr(config, option)
            if record["name"] in IN_LIBRARY:
                sets.append(of_library(sample))
            else:
                sets.append(in_folder(Path(folder), sample) if folder and Path(folder).is_dir() else None)
        if config.protocol.accumulates_sets and sets[1] is None:
            # Its spectra include the images of the set before.
            sets[2] = None
        return sets


@dataclass
class SettingEvidence:
    """One training setting (one optimizer) of a run, and values recomputed from its best weights when first needed.

    Attributes:
        evidence: the evidence of the whole run.
        setting: the optimizer and its parameters.
        failed: True once a value could not be recomputed; the checks of this setting then end.
    """

    evidence: Evidence
    setting: OptimizerSetting
    failed: bool = False

    @property
    def run(self) -> FinishedRun:
        """The whole run."""
        return self.evidence.run

    @property
    def name(self) -> str:
        """Name of the setting."""
        return self.setting.name

    def file(self, name: str) -> Path:
        """Return the path of a file of this setting in the run folder."""
        return self.run.folder / f"{self.name}/{name}"

    @cached_property
    def stored(self) -> Mapping[str, torch.Tensor]:
        """Tensors of the best weights, as stored in their file.

        Raises:
            ValueError: the file is missing or damaged.
        """
        return self.run.files.read_tensors(f"{self.name}/{names.BEST_WEIGHTS}")

    def load_network(self) -> torch.nn.Module:
        """Return a new network with the best weights, on the device.

        Raises:
            ValueError: the weights are damaged or belong to another network.
        """
        # `restore` accepts tensors of other types too, so `weights_differences` compares the tensors as stored.
        network = self.run.restore(self.stored, f"{self.file(names.BEST_WEIGHTS)}")
        return self.evidence.context.numerics.place(network)

    # On the device; callers must not change it.
    network = cached_property(load_network)

    @cached_property
    def best_row(self) -> record_types.HistoryRow:
        """Row of the best epoch in the setting's history."""
        return self.run.best_row(self.name)

    @cached_property
    def validation_scores(self) -> Scores:
        """Recomputed scores of the validation images; raises ValueError if one is not finite."""
        return self._predict("validation", self.best_row["epoch"])

    @cached_property
    def test_scores(self) -> Scores:
        """Recomputed scores of the test images; raises ValueError if one is not finite."""
        return self._predict("test")

    @cached_property
    def test_loss(self) -> float:
        """Recomputed loss on the test images after the best epoch; raises ValueError if a score is not finite."""
        if self.run.config.protocol.flips_in_evaluation:
            # Other images are flipped after each epoch than when the selected network is scored.
            return self._predict("test", self.best_row["epoch"]).loss
        return self.test_scores.loss

    @cached_property
    def unseen_scores(self) -> Scores | None:
        """Recomputed scores of the images that the run never used.

        The value is None if the run's protocol has no shared split: such a run uses all images.
        """
        return self._predict(UNSEEN) if self.run.config.protocol.shares_split else None

    def _predict(self, part: str, epoch: int = 0) -> Scores:
        evidence = self.evidence
        return predict(self.network, evidence.images(part), self.run.config, evidence.context, epoch=epoch)
