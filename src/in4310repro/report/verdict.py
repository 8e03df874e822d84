"""First sentences of a report: question, result, repeatability, and differences from the published report.

The published report states its three optimizers, ResNet18, 20 epochs and its rule of selection, but no more
settings. Image size, batch size and ImageNet weights are those of the assignment; the learning rates are our
choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from in4310repro.metrics.table import SCALARS
from in4310repro.models.network import ALL
from in4310repro.report.class_exhibits import TEST
from in4310repro.report.exhibit import Exhibit, Sentence, Source, describe_extremes, figure_source, fill
from in4310repro.report.published_numbers import has_original_classes
from in4310repro.report.tiers import tiers
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun, advise
from in4310repro.runs.presets import PRESETS, publishable
from in4310repro.runs.records import RunMetrics
from in4310repro.runs.selection import describe_ties, unit
from in4310repro.runs.settings import IDENTICAL, STRENGTHS, OptimizerSetting
from in4310repro.verification.heads import SOFTMAX_TOLERANCE

# The scope of `nox -s portability`.
TESTED = (
    "its bits were compared for the kernels and for a training of a few steps of ResNet-18: on x86-64 with AVX-512 "
    "and 1 to 16 threads, and in emulators, with one thread, with AVX2 and on arm64"
)


def make_verdict(run: FinishedRun, all_exhibits: Sequence[Exhibit]) -> dict[str, Sentence]:
    """Return the sentences at the top of a report, by heading, such as "Asked" or "Repeats".

    The heading "Differs" is present only if the run has the classes of the published report.
    """
    test = next(exhibit for exhibit in all_exhibits if exhibit.number == TEST)
    source = figure_source(TEST, test.numbers)
    answers: dict[str, Sentence] = {"Asked": _question(run, source), "Came out": _result(run, source)}
    # The hint is the one printed at the end of the training.
    if advice := advise(run):
        answers["Caution"] = (f"As the training said at its end: {advice}.",)
    answers["Repeats"] = _repeatability(run)
    return answers | ({"Differs": _difference(run, source)} if has_original_classes(run.classes) else {})


def describe_selection_and_test(run: FinishedRun) -> tuple[str, str]:
    """Return two sentences: how the network was selected, and how it was tested."""
    training, validation, test = (sum(run.metrics["supports"][part].values()) for part in run.metrics["supports"])
    metric = SCALARS[run.config.select]
    by = f"{'highest' if metric.higher_is_better else 'lowest'} {metric.label}"
    selected, settings = run.metrics["setting"], len(run.config.settings)
    each, units = unit(run.histories[selected]), {unit(rows) for rows in run.histories.values()}
    setting = f"{selected}, {each} {run.metrics['epoch']}{describe_ties(run.histories, run.config.select)}"
    rows = "their epochs or fits" if "fit" in units else f"{run.config.epochs} epochs each"
    choice = f"Of {settings} settings and {rows}" if settings > 1 else f"Of all {each}s"
    if run.config.protocol.shares_split:
        return (
            f"{choice}, the one with the {by} on the {test} images that it was trained on was selected: {setting}.",
            "It was tested on these same images, so that the result says little about others.",
        )
    return (
        f"{choice}, the one with the {by} on {validation} validation images, which are none of "
        f"the {training} training images, was selected: {setting}.",
        f"This run measured this one network, once, on {test} other images, and selected nothing by the result.",
    )


def _question(run: FinishedRun, source: Source) -> Sentence:
    if not has_original_classes(run.classes):
        seen = "was trained on" if run.config.protocol.shares_split else "has never seen"
        return (f"How well does {run.config.model} tell {len(run.classes)} classes apart, on images that it {seen}?",)
    images = "photographs" if run.config.data else "drawn scenes"
    corrected = run.config.protocol.is_corrected
    protocol = "split and selected as the assignment asks" if corrected else "with the deviations named above"
    return fill(
        "A report on image classification prints a mean class accuracy of {} for six classes, by its assignment "
        f"photographs of scenes. What does this run reach on {images}, {protocol}?",
        source.at("original", "mean_class_accuracy"),
    )


def _result(run: FinishedRun, source: Source) -> Sentence:
    return (
        *fill(
            "A mean class accuracy of {} on {} test images (95 % {}), where chance is {}; ",
            *(source.at("ours", "mean_class_accuracy"), str(sum(source.values["images"]))),
            source.at("intervals", "mean_class_accuracy", form=".2f"),
            source.at("chance", "class_accuracy", form=".2f"),
        ),
        *describe_extremes(run.classes, source, "ours", "class_accuracy", intervals=("intervals", "class_accuracy")),
        ".",
    )


def _repeatability(run: FinishedRun) -> Sentence:
    tolerance = tiers(run)["numerical"].tolerance
    if run.fingerprint["numerics"] == "portable":
        if run.config.fits_head(run.config.setting(run.metrics["setting"])):
            return (
                "What the head reads of every image, and the scores from the saved weights, are computed in a fixed "
                f"order of operations; {TESTED}. The fit itself repeats to a tolerance, since libraries add in another "
                f"order on another processor: its scores within {SOFTMAX_TOLERANCE:g} at most, which verify tests. "
                f"{_describe_run(run)}",
            )
        how = (f"The command below computes in a fixed order of operations; {TESTED}. Eigenvalues repeat within "
               f"{tolerance}. {_describe_run(run)}")  # fmt: skip
    else:
        how = (f"Equal bits are expected in numeric class {run.fingerprint['numeric_class']}. On other machines "
               "training gives a different network, but the scores of the saved weights agree within the "
               "tolerances below.")  # fmt: skip
    return (f"{how} This is one training, of seed {run.config.seed}: another seed makes another network.",)


def _describe_run(run: FinishedRun) -> str:
    versions = run.fingerprint["versions"]
    libraries = ", ".join(f"{name} {versions[key]}" for name, key in
                          (("torch", "torch"), ("NumPy", "numpy"), ("Pillow", "pillow")))  # fmt: skip
    return f"This report is of one run, with {libraries}; verify computes it again."


def _difference(run: FinishedRun, source: Source) -> Sentence:
    printed = source.at("original", "mean_class_accuracy")
    if not run.config.data:
        return ("These scenes are drawn, the original's are photographs. The two are not comparable: which number is "
                "higher says nothing. What else differs is listed below.",)  # fmt: skip
    return ("The original's ", printed, " is of its own training; what is known to differ is listed below, and its "
            "other settings are not printed.")  # fmt: skip


def describe_differences(config: Config, metrics: RunMetrics) -> dict[str, str]:
    """Return sentences on how a run differs from the published report, by subject such as "Data".

    The protocol is always described, since the published report does not give its own.
    """
    config, course = publishable(config), PRESETS["course"]
    training, validation, test = (sum(metrics["supports"][part].values()) for part in metrics["supports"])
    pictures = "drawn scenes that the package generates"
    if config.data:
        pictures = f"images of {Path(config.data).name or config.data}"
    conditions = {
        "Data": f"{training} training, {validation} validation and {test} test {pictures}; the course's split of "
        f"17,034 photographs is {course.split}.",
        "Weights": f"{_describe_weights(config.weights)}; the assignment asks for ImageNet weights.",
        "Size": f"{config.image_size} pixels; the assignment's is {course.image_size}.",
        "Training": f"{_describe_training(config)}; the original trains for {course.epochs} epochs, and the "
        f"assignment asks for batches of {course.batch_size}; neither gives a learning rate.",
        "Protocol": f"{_describe_protocol(config)}. The original does not print its own.",
    }
    same = {
        "Data": bool(config.data) and f"{training}/{validation}/{test}" == course.split,
        "Weights": config.weights == course.weights,
        "Size": config.image_size == course.image_size,
        "Training": _describe_training(config) == _describe_training(course),
    }
    conditions = {subject: sentence for subject, sentence in conditions.items() if not same.get(subject)}
    if len(config.settings) > 3:
        conditions["Settings"] = (
            f"{len(config.settings)}; the first three have a figure of validation each, and one figure shows all."
        )
    if config.model != course.model:
        conditions["Network"] = f"{config.model}; the original's is {course.model}."
    return conditions


def _describe_training(config: Config) -> str:
    """Return a phrase on training in epochs, on fitting the last layer, or on both, depending on the settings."""
    parts = []
    if rates := ", ".join(_describe_rate(config, each) for each in config.settings if not config.fits_head(each)):
        parts.append(
            f"{config.epochs} epochs, batches of {config.batch_size}, {config.schedule} learning rate ({rates}), "
            f"augmentation {config.augmentation}"
        )
    if any(map(config.fits_head, config.settings)):
        parts.append(
            f"the last layer alone, a logistic regression on what it reads of each image, with {len(STRENGTHS)} "
            "strengths of its penalty"
        )
    return "; and ".join(parts)


def _describe_rate(config: Config, setting: OptimizerSetting) -> str:
    head, part = setting.head_learning_rate, config.trained_part(setting)
    of_head = "" if head is None else f", of the head {head:g}"
    return f"{setting.optimizer} {setting.learning_rate:g}{of_head}{'' if part == ALL else f', {part} alone'}"


def _describe_protocol(config: Config) -> str:
    grouped = "identical files" if config.group == IDENTICAL else "copies and look-alikes"
    return config.protocol.meaning or (
        f"three disjoint image sets ({grouped} share a side), equal initial weights for every setting, the test set "
        "opened once in this run"
    )


def _describe_weights(weights: str) -> str:
    if weights == "none":
        return "from scratch"
    return "ImageNet weights" if weights == "imagenet" else f"those of {weights}"
