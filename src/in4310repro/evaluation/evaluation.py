"""Evaluation of a run's selected network on images that are new to it, by content, and predicted classes of files."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from in4310repro.data.class_folders import read_as
from in4310repro.data.folders import Entry, catalogue, image_files, refuse_no_images
from in4310repro.data.images import ImageSet, decoder
from in4310repro.evaluation.prediction import gather_rows, local_share, predict, refuse_too_large
from in4310repro.metrics import METRICS, SCALARS, Details
from in4310repro.metrics.scores import Scores, csv_of
from in4310repro.runs import names, settings
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.system.context import Context, accept_former_place
from in4310repro.system.files import file_sha256, json_bytes
from in4310repro.system.numerics import Numerics
from in4310repro.system.progress import Progress
from in4310repro.system.text import publishable_place

# What an image was to the network: the parts of a split, and an image that is new to it.
TRAINED, CHOSE, NEW = "trained on", "chose the fit", ""
ROLES = {"training": TRAINED, "validation": CHOSE}


def read_contents(run: FinishedRun) -> dict[str, str]:
    """Return what each image that the run trained or selected on was to it, by the sha256 of its file and its pixels.

    The pixels are those of a network's input. Runs up to format 5 recorded no hash of them. With the deviation
    `shared-split`, the images are those of the test part.

    Raises:
        ValueError: the record of the pixels is missing or damaged.
    """
    pixels, contents = run.pixel_hashes(), dict[str, str]()
    for part in reversed(ROLES):
        for entry in run.entries(part):
            contents |= dict.fromkeys((entry.sha256, pixels.get(entry.path, entry.sha256)), ROLES[part])
    return contents


def roles_of(images: ImageSet, contents: Mapping[str, str]) -> list[str]:
    """Return what each image was to a run, given the result of `read_contents`: `TRAINED`, `CHOSE` or `NEW`."""
    hashes = zip(images.keys, images.pixel_hashes().values(), strict=True)
    # The role that is later in the alphabet wins, so that an image that was trained on is never CHOSE.
    return [max(contents.get(each, NEW) for each in pair) for pair in hashes]


def unrecognised(run: FinishedRun) -> list[str]:
    """Return a sentence about each kind of images that the run may have seen and that `roles_of` calls new."""
    sentences = []
    if not run.config.is_canonical:
        sentences.append(f"seen images with other bytes are not recognised, since the run has no {names.PIXELS}")
    elif run.fingerprint.get("decoder") != decoder():
        sentences.append("seen images with other bytes may not be recognised, since the run decoded by other libraries")
    if run.config.weights not in ("none", "imagenet"):
        weights = publishable_place(run.config.weights)
        sentences.append(f"the run started from the weights {weights}, and the images that these have seen are unknown")
    return sentences


def find_near_duplicates(
    run: FinishedRun, root: Path, images: Sequence[Entry], roles: Sequence[str], progress: Progress
) -> tuple[list[str] | None, str]:
    """Find the new images of a folder that are near-duplicates, also turned ones, of images that the run has seen.

    Args:
        run: the run.
        root: the folder.
        images: the images below it.
        roles: what each of them was to the run.
        progress: where to show how many images have been read.

    Returns:
        The paths below `root`, and an empty text. Where images that the run has seen are neither in this folder nor
        where the run names them, None, and the reason.
    """
    # Imported here, since it imports SciPy, which takes .2 s.
    from in4310repro.data import check

    here = {entry.sha256: root / entry.path for entry in images}
    below, seen = image_root(run.config, None), dict[str, str]()
    for part in ROLES:
        for entry in run.entries(part):
            file = here.get(entry.sha256, below / entry.path)
            if entry.sha256 not in here and (not file.is_file() or file_sha256(file) != entry.sha256):
                return None, f"the {part} image {entry.path} is not available"
            seen[f"{file.absolute()}"] = entry.sha256
    new = {f"{(root / entry.path).absolute()}": entry for entry, role in zip(images, roles, strict=True) if role == NEW}
    ours = {file: entry.sha256 for file, entry in new.items()}
    found = check.near_duplicates_of(ours, seen, progress, run.config.orientation)
    return [entry.path for file, entry in new.items() if file in found], ""


def describe_roles(trained: int, chose: int, new: int) -> str:
    """Return a clause with the numbers of images that were trained on and that chose the fit.

    Examples:
        >>> describe_roles(424, 70, 106)
        '424 of 600 were trained on, 70 chose the fit; on the 106 others'
        >>> describe_roles(0, 0, 2), describe_roles(1, 0, 0)
        ('none of 2 was trained on or chose the fit', '1 of 1 was trained on, 0 chose the fit')
    """
    total = trained + chose + new
    if new == total:
        return f"none of {total} was trained on or chose the fit"
    others = f"; on the {new} others" if new > 1 else "; on the other one" if new else ""
    return f"{trained} of {total} {'was' if trained == 1 else 'were'} trained on, {chose} chose the fit{others}"


# Metrics of a run's selected network on images that are new to it, which are neither trained on nor chose the fit;
# `examine` says what each name is.
Evaluation = dict[str, Any]


class Evaluated(NamedTuple):
    """Metrics of images that are new to a run, and the scores behind them."""

    metrics: Evaluation
    scores: Scores


@accept_former_place
def evaluate(
    run: FinishedRun, data: str | None = None, class_folders: str | None = None, *, context: Context | None = None
) -> Evaluated:
    """Return the metrics of a run's selected network on images that are new to it, and the scores behind them.

    Images that were trained on or chose the fit are recognised by the bytes of their files and by their pixels, and
    are in neither. See `examine` for the arguments and for what is raised.
    """
    return Evaluated(*examine(run, data, class_folders, context=context or Context())[:2])


def examine(
    run: FinishedRun, data: str | None = None, class_folders: str | None = None, *, context: Context
) -> tuple[Evaluation, Scores, Scores, list[str]]:
    """Return metrics and scores of the images that are new to a run, and of every image scores and what it was to it.

    The last are as `roles_of` returns them. Beside the metrics of `ClassMetrics` (`class_accuracy` is the recall of
    each class) and `Details`, which are None without new images, these have the names:
        setting, loss: the setting of the selected network, and the mean cross-entropy.
        data: the name of the folder, or "test set".
        images: those of the metrics; trained_on, chose_fit: images beside them, which are in no metric.
        copies: of the new images, those that repeat the pixels of another one.
        near_duplicates: new images that resemble seen ones; None where these were not looked for.
        mean_class_accuracy_without_near_duplicates: None where nothing, or everything, is left out.
        notes: sentences on what could not be recognised, and the label of a deviation.
        classes: those with images, in the order of class accuracy and average precision.
        all_classes: the run's, in the order of the confusion matrix, precision and F1.

    Args:
        run: the run, from which network, classes, image size and test set are taken.
        data: a folder of class folders, for all or some of the run's classes; None for the test set.
        class_folders: which of its folders are the classes (see `class_folders.read`); None: those that the run knows.
        context: arithmetic, progress and processes of the computation.

    Raises:
        ValueError: the folder has a class that the run does not have, or images are missing.
    """
    refuse_too_large(run.config, context.numerics)
    if data:
        root, split = Path(data), run.split.catalogue().labels()
        if class_folders:
            settings.check_choice("class_folders", class_folders)
        found = catalogue(root, context.progress, class_folders, lambda paths: read_as(split, paths))
        if unknown := [name for name in found.classes if name not in run.classes]:
            raise ValueError(
                f"{data} has the classes {unknown}, which the network of {run.folder} does not know; it "
                f"knows {run.classes}"
            )
        labels = [run.classes.index(name) for name in found.classes]
        entries = [replace(entry, label=labels[entry.label]) for entry in found.entries]
        images = run.config.load("images", root, entries, context.progress)
    else:
        images = run.test_images(None, context.progress)
    roles = roles_of(images, read_contents(run))
    model = context.numerics.place(run.selected_network())
    scores = predict(model, images, run.config, context)
    places = [place for place, role in enumerate(roles) if role == NEW]
    new, hashes = _take(scores, places, context.numerics), list(images.pixel_hashes().values())
    similar, why = None, "in4310repro data check --split finds those of a test set"
    if data and places and context.processes.leads:
        similar, why = find_near_duplicates(run, root, entries, roles, context.progress)
    distinct = [place for place in places if images.paths[place] not in (similar or ())]
    without = _take(scores, distinct, context.numerics).metrics(every_class=False) if similar and distinct else None
    notes = [run.config.protocol.label, *unrecognised(run)]
    if places and similar is None:
        notes.append(f"near-duplicates of seen images: not looked for, since {why}")
    metrics: dict[str, Any] = dict.fromkeys(("loss", *METRICS, *Details.__annotations__))
    if places:
        measured_by = new.metrics(by_logits=run.config.protocol.ranks_logits, every_class=False)
        metrics = {"loss": new.loss, **measured_by, **new.details()}
    measured = {
        "setting": run.metrics["setting"],
        "data": publishable_place(data) if data else "test set",
        "images": len(places),
        "trained_on": roles.count(TRAINED),
        "chose_fit": roles.count(CHOSE),
        "copies": len(places) - len({hashes[place] for place in places}),
        "near_duplicates": similar,
        "mean_class_accuracy_without_near_duplicates": without and without["mean_class_accuracy"],
        "notes": list(filter(None, notes)),
        "classes": [run.classes[label] for label in sorted(set(new.labels.tolist()))],
        "all_classes": run.classes,
        **metrics,
    }
    return measured, new, scores, roles


def _take(scores: Scores, places: list[int], numerics: Numerics) -> Scores:
    """Return the scores of the images at some places; their loss is the mean of their own."""
    if len(places) == len(scores.paths) or scores.logits is None:
        return scores
    labels, logits = scores.labels[places], scores.logits[places]
    losses = numerics.losses(*map(torch.from_numpy, (logits, labels))).tolist() if places else [math.nan]
    paths = tuple(scores.paths[place] for place in places)
    return Scores(paths, labels, scores.softmax[places], math.fsum(losses) / len(losses), logits)


def to_text(measured: Evaluation) -> str:
    """Return the mean metrics as text, then a table with the metrics of each class, and what limits them."""
    counts, images = (measured["trained_on"], measured["chose_fit"], measured["images"]), measured["images"]
    lines = [f"{measured['data']}: {sum(counts)} images, network of setting {measured['setting']}"]
    said, every, classes = describe_roles(*counts), measured["all_classes"], measured["classes"]
    if not images:
        return "\n".join([*lines, f"{said}: none is left to measure", *measured["notes"]])
    others = {"loss": "loss", "expected_calibration_error": "expected calibration error"}
    shown = {name: each.label for name, each in SCALARS.items()} | others
    width = max(map(len, ("class", *classes)))
    lines += [
        f"{said}: {', '.join(f'{label} {measured[name]:.4f}' for name, label in shown.items())}",
        f"{'class':<{width}}  images  accuracy  precision      F1      AP",
    ]
    for name, recall, area in zip(classes, measured["class_accuracy"], measured["average_precision"], strict=True):
        label = every.index(name)
        shares = (measured[each][label] for each in ("precision", "f1"))
        precision, f1 = ("-" if share is None else f"{share:.4f}" for share in shares)
        images_of = f"{name:<{width}}  {sum(measured['confusion_matrix'][label]):>6}"
        lines.append(f"{images_of}  {recall:>8.4f}  {precision:>9}  {f1:>6}  {area:.4f}")
    if absent := [name for name in every if name not in classes]:
        lines.append(f"no image of {', '.join(absent)}: the means are of the other classes")
    if measured["copies"]:
        lines.append(f"repeating the pixels of another: {measured['copies']} of the {images}")
    similar, without = measured["near_duplicates"], measured["mean_class_accuracy_without_near_duplicates"]
    if similar is not None:
        named = f", such as {similar[0]}" if similar else ""
        rest = f"; without them mean class accuracy {without:.4f}" if without is not None else ""
        lines.append(f"near-duplicates of seen images: {len(similar)} of the {images}{named}{rest}")
    return "\n".join([*lines, *measured["notes"]])


AT_ONCE = 1024  # images that are decoded at a time


class Predictions(NamedTuple):
    """Softmax scores that a network gives to images, with their paths and what each image was to the run."""

    classes: list[str]
    paths: list[str]  # as they were given; below a folder, the folder and the path in it
    roles: list[str]  # as `roles_of` returns them
    softmax: np.ndarray  # score of each image and class

    @property
    def predicted_classes(self) -> list[str]:
        """Class with the largest score for each image; of several with the same score the first."""
        return [self.classes[index] for index in self.softmax.argmax(axis=1)]

    def predicted(self) -> list[str]:
        """Return `predicted_classes`, with a warning."""
        warnings.warn("predicted() is the field predicted_classes now", DeprecationWarning, stacklevel=2)
        return self.predicted_classes

    def describe_seen(self) -> str:
        """Return a sentence on the images that were trained on or chose the fit; empty if there are none."""
        known = [path for path, role in zip(self.paths, self.roles, strict=True) if role != NEW]
        if not known:
            return ""
        if len(self.paths) == 1:
            return f"this image {'was ' if self.roles == [TRAINED] else ''}{self.roles[0]}"
        counts = describe_roles(*map(self.roles.count, (TRAINED, CHOSE, NEW))).partition(";")[0]
        return f"{counts}: {known[0]}{' and others' if known[1:] else ''}"

    def to_csv(self) -> str:
        """Return CSV with a row per image: path, predicted class, what it was to the run, and each class's score.

        Scores have all digits of float32.
        """
        words = {"path": self.paths, "predicted": self.predicted_classes, "seen": self.roles}
        return csv_of(words, self.classes, self.softmax)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: the classes, and for each image path, predicted class, what it was to the run, scores."""
        rows = zip(self.paths, self.predicted_classes, self.roles, self.softmax.tolist(), strict=True)
        images = [{"path": path, "predicted": name, "seen": role, "scores": each} for path, name, role, each in rows]
        return {"classes": self.classes, "images": images}

    def content(self, form: str) -> bytes:
        """Return the bytes of a file of these scores; `form` is its suffix, .csv or .json."""
        return self.to_csv().encode() if form == ".csv" else json_bytes(self.to_json())


@accept_former_place
def label(run: FinishedRun, places: Sequence[str | Path], *, context: Context | None = None) -> Predictions:
    """Return the scores that a run's selected network gives to images, and what each image was to the run.

    Args:
        run: the run, from which network, classes and image size are taken.
        places: image files, and folders, which are searched for images at any depth.
        context: arithmetic, progress and processes; None: this process alone, without progress.

    Raises:
        ValueError: a file or folder does not exist, a folder has no images, or a file is not an image.
    """
    context = context or Context()
    refuse_too_large(run.config, context.numerics)
    files = list(dict.fromkeys(file for place in places for file in _files(Path(place))))
    model = context.numerics.place(run.selected_network())
    own = local_share(len(files), context.processes)
    contents, roles, scores = read_contents(run), list[str](), []
    for start in own[::AT_ONCE]:
        entries = [Entry(f"{file}", 0, file_sha256(file)) for file in files[start : min(start + AT_ONCE, own.stop)]]
        said = f"images {start + 1} to {start + len(entries)} of {len(files)}"
        images = run.config.load(said, Path(), entries, context.progress, cache=False)
        roles += roles_of(images, contents)
        scores.append(torch.from_numpy(predict(model, images, run.config, context.alone()).softmax))
    softmax = gather_rows(scores, context.processes).numpy()
    gathered = [role for each in context.processes.gather_json(roles) for role in each]
    return Predictions(run.classes, [file.as_posix() for file in files], gathered, softmax)


def _files(place: Path) -> Sequence[Path]:
    refuse_no_images(place)
    files = image_files(place, unlabelled=True) if place.is_dir() else [place]
    if files:
        return files
    raise ValueError(f"{place} has no images")
