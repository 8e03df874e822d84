"""verify(): computes again everything that follows from weights, images, seed and split, and compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import torch

from in4310repro import models
from in4310repro.config import WEIGHTS_SAY, Config
from in4310repro.context import Context
from in4310repro.data.images import ImageSet, load_images
from in4310repro.data.splits import Split
from in4310repro.epochs import TrainingInputs
from in4310repro.numerics import Numerics
from in4310repro.pixels import pixel_differences
from in4310repro.prediction import refuse_too_large
from in4310repro.preprocessing import IGNORED
from in4310repro.presets import PRESETS
from in4310repro.progress import Progress
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.text import did_you_mean
from in4310repro.verification.best_epochs import best_epoch_differences
from in4310repro.verification.claims import IN_CLASS, Claim, claimed, proven
from in4310repro.verification.endings import trailing_notes
from in4310repro.verification.features import available_sets, feature_differences, feature_tier
from in4310repro.verification.form import form_differences, tensors_form, weights_form
from in4310repro.verification.groups import group_differences
from in4310repro.verification.heads import HeadFits, frozen_differences
from in4310repro.verification.images import (
    image_differences,
    refuse_missing_images,
    scene_differences,
    split_differences,
)
from in4310repro.verification.manifest import changed_files, files_without_line, wrong_in_manifest
from in4310repro.verification.opening import recorded_files
from in4310repro.verification.process import fingerprint_differences, requires_bits
from in4310repro.verification.selected import selected_differences
from in4310repro.verification.unchecked import Unchecked, unchecked_in_run


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The differences as sentences, how firmly results were compared, and what was not compared."""

    differences: list[str]
    bitwise: bool = False  # else within tolerances, in another numeric class than the run's
    proven: list[str] = field(default_factory=list)  # what was computed again
    claimed: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what is no difference and worth a look
    not_checked: list[Unchecked] = field(default_factory=list)  # what lies in the folder and was compared with nothing
    manifest_sha256: str = ""  # of `RunFolder.manifest_sha256`; empty where it cannot be read


def verify(folder: Path, context: Context, data: str | None = None) -> Verification:
    """Computes again what follows from the weights, images, seed and split of a run, and compares.

    These are: the split; the initial weights, where they are drawn; test scores and metrics.json whole; of each setting
    the history's row and the tensor hashes of its best epoch; the feature maps of every image set at hand. Images are
    decoded again, and drawn scenes are drawn again, so that no cache can hide anything. Files whose bytes are not those
    of the manifest, and files without a line in it, are differences even where all numbers survive. Portable arithmetic
    must give equal bits, whatever numeric class a fingerprint names; native arithmetic must within one class.

    Args:
        folder: of the run.
        context: arithmetic and progress of the computation.
        data: where the run's images are now, if they moved.

    Raises:
        ValueError: the folder is no run, the run is not finished, or an image of an intact run is not there.
    """
    numerics, progress = context.numerics, context.progress
    files = recorded_files(folder)
    differences = [*changed_files(files), *files_without_line(files)]
    try:
        run = FinishedRun.open(folder)
        differences += wrong_in_manifest(run)
        refuse_too_large(run.config, numerics)
    except (ValueError, OSError) as error:
        # What can no longer be read is a difference too, and says so itself.
        return Verification(differences=_once([*differences, f"{folder} cannot be read completely: {error}"]))
    differences += [
        *form_differences(run),
        *preset_differences(run),
        *fingerprint_differences(run, numerics),
        *split_differences(run),
    ]
    if other_scenes := scene_differences(run, progress):
        return Verification(differences=_once([*differences, *other_scenes]))
    try:
        split = replace(run.split, root=image_root(run.config, data))
        refuse_missing_images(split)
    except ValueError as error:
        # No fault of the run; what is known by then is said all the same.
        if not differences:
            raise
        return Verification(differences=_once([*differences, str(error)]))
    differences += image_differences(split, progress)
    of_images = trailing_notes(split, progress) if run.config.data else []
    again = _Again(run, split, numerics, progress)
    differences += again.differences()
    return Verification(
        differences=_once(differences),
        bitwise=again.bitwise,
        proven=proven(
            run,
            **again.tier,
            open_precisions=bool(again.unproven),
            feature_tier=feature_tier(run.features, numerics),
        ),
        claimed=[*claimed(run, again.absent, **again.tier), *again.unproven],
        notes=[*notes(run), *of_images, *again.notes],
        not_checked=unchecked_in_run(
            folder, {*files.manifest(), names.MANIFEST}, {each.name: run.config.epochs for each in run.config.settings}
        ),
        manifest_sha256=files.manifest_sha256(),
    )


def _once(sentences: list[str]) -> list[str]:
    return list(dict.fromkeys(sentences))


def preset_differences(run: FinishedRun) -> Iterator[str]:
    """Say where a configuration names a preset that there is not, so that nobody can see what it changes."""
    if (named := run.config.preset) not in PRESETS:
        near = did_you_mean(named, PRESETS)
        yield f"{run.folder / names.CONFIG}: preset is {named}, which is none; {', '.join(PRESETS)} are valid{near}"


def notes(run: FinishedRun) -> list[str]:
    """List what is no difference and what a reader of the run should know: settings that are not the preset's."""
    sentences = []
    if run.config.orientation == IGNORED and any((run.config.data, run.config.imagenet, run.config.cifar10)):
        sentences.append(f"{run.folder / names.CONFIG}: pictures were read without their EXIF orientation, as here")
    if preset := PRESETS.get(run.config.preset):
        expected = replace(preset, orientation=run.config.orientation)
        changed = [
            each.name for each in fields(Config) if getattr(expected, each.name) != getattr(run.config, each.name)
        ]
        words = f"{run.folder / names.CONFIG} differs from preset {run.config.preset} in {', '.join(changed)}"
        sentences += [words] if changed else []
    return sentences


class _Again:
    """What is computed again from the images, each part decoded once, and the settings one after the other."""

    def __init__(self, run: FinishedRun, split: Split, numerics: Numerics, progress: Progress) -> None:
        self._run, self._split, self._numerics, self._progress = run, split, numerics, progress
        self._shared = run.config.protocol.shares_split
        self.bitwise = requires_bits(run.fingerprint, numerics)
        self.absent: list[str] = []  # image sets of feature maps that are not at hand
        self.start = models.at_hand(run.config.model, run.config.weights)  # whether the initial weights are
        self.notes: list[str] = []  # of fits of a head
        self._open: list[str] = []  # average precisions that the tolerance of scores leaves open

    @property
    def tier(self) -> dict[str, bool]:
        """How firmly results were compared, as `proven` and `claimed` take it."""
        return {"start": self.start, "bitwise": self.bitwise, "fits_repeat": self.bitwise and not self.notes}

    @property
    def unproven(self) -> list[Claim]:
        """Claims that the tolerance of scores in another numeric class leaves open."""
        return [Claim(sentence, IN_CLASS) for sentence in self._open]

    def differences(self) -> list[str]:
        """What the files say otherwise, the selected setting first."""
        run = self._run
        try:
            test = self._decode("test", "test")
            validation = test if self._shared else self._decode("validation", "validation")
        except (ValueError, OSError) as error:
            return [f"the images cannot be predicted again: {error}"]
        found: list[str] = []
        if self.start and self.bitwise:
            found.extend(group_differences(run, self._split, self._numerics, self._progress))
        for part, images in (("test", test), ("validation", validation)):
            found.extend(pixel_differences(run, part, images, bitwise=self.bitwise))
        for setting in sorted(run.config.settings, key=lambda each: each.name != run.metrics["setting"]):
            try:
                # Not as a list: what was found before an error counts too.
                found.extend(self._of_setting(setting.name, test, validation))
            except (ValueError, OSError) as error:
                found.append(f"setting {setting.name} cannot be computed again: {error}")
        return found

    def _of_setting(self, setting: str, test: ImageSet, validation: ImageSet) -> Iterator[str]:
        run, numerics, progress = self._run, self._numerics, self._progress
        file = run.folder / names.of_setting(setting, names.BEST_WEIGHTS)
        stored = run.files.read_tensors(names.of_setting(setting, names.BEST_WEIGHTS))
        last = run.folder / names.of_setting(setting, names.LAST_WEIGHTS)
        older = run.files.read_json(names.CONFIG)["format"] < WEIGHTS_SAY
        for each in (file, last) if run.config.protocol.starts_warm else (file,):
            yield from weights_form(each, run.config.preprocessing, older=older)
        # It takes tensors of other types too, which is why what the file holds is hashed.
        network = models.from_state(run.config.model, len(run.classes), stored, f"{file}")
        yield from tensors_form(file, stored, network)
        model = numerics.place(network)
        if setting == run.metrics["setting"]:
            unseen = self._decode("unseen", "training", "validation") if self._shared else None
            yield from selected_differences(
                run, stored, model, test, unseen, numerics, progress, bitwise=self.bitwise, unproven=self._open
            )
        yield from best_epoch_differences(
            run, setting, stored, model, validation, numerics, progress, bitwise=self.bitwise, unproven=self._open
        )
        if setting == run.metrics["setting"]:
            yield from self._of_features(model, test)
        yield from frozen_differences(run, setting, stored)
        if run.config.fits_head(run.config.setting(setting)):
            yield from self._of_fits(setting, stored, model, test, validation)

    def _of_fits(
        self,
        setting: str,
        stored: Mapping[str, torch.Tensor],
        model: torch.nn.Module,
        test: ImageSet,
        validation: ImageSet,
    ) -> Iterator[str]:
        inputs = TrainingInputs(
            model=model,
            training=test if self._shared else self._decode("training", "training"),
            validation=validation,
            config=self._run.config,
            setting=self._run.config.setting(setting),
            context=Context(self._numerics, self._progress),
        )
        fits = HeadFits(
            run=self._run, setting=setting, stored=stored, inputs=inputs, test=test, bitwise=self.bitwise,
            notes=self.notes,
        )  # fmt: skip
        yield from fits.differences()

    def _of_features(self, selected: torch.nn.Module, test: ImageSet) -> Iterator[str]:
        config, features = self._run.config, self._run.features
        if features is None:
            return
        sets = available_sets(self._run, features, test)
        named = zip(features["sets"], sets, strict=True)
        self.absent = [record["name"] for record, images in named if images is None]
        model: torch.nn.Module | None = selected
        if config.weights != "none":
            # That before training, whose hash is compared elsewhere.
            classes = len(self._run.classes)
            initial = models.build(config.model, classes, config.seed, config.weights) if self.start else None
            model = initial and self._numerics.place(initial)
        yield from feature_differences(self._run, features, model, sets, self._numerics, self._progress)

    def _decode(self, name: str, *parts: str) -> ImageSet:
        entries = [entry for part in parts for entry in self._split.parts[part]]
        config, root = self._run.config, self._split.root
        how, progress = config.preprocessing, self._progress
        return load_images(name, root, entries, config.image_size, preprocessing=how, cache=False, progress=progress)
