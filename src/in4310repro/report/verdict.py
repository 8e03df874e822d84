"""First sentences of a report: question, result, repeatability, and differences from the published report.

The published report states its three optimizers, ResNet18, 20 epochs and its rule of selection, but no more
settings. Image size, batch size and ImageNet weights are those of the assignment; the learning rates are our
choice.
"""

from pathlib import Path

from in4310repro.metrics.table import SCALARS
from in4310repro.models.sources import ALL
from in4310repro.report.comparisons import describe_extremes
from in4310repro.report.exhibit import Sentence, Source
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


def make_verdict(run: FinishedRun, test: Source) -> dict[str, Sentence]:
    """Return the sentences at the top of a report, by heading, such as "Asked" or "Repeats".

    The heading "Differs" is present only if the run has the classes of the published report.

    Args:
        run: a finished run.
        test: the numbers of its figure on the test set.
    """
    # The hint is the one printed at the end of the training.
    advice = advise(run)
    answers: dict[str, Sentence] = {
        "Asked": _question(run, test),
        "Came out": _result(run, test),
        "Caution": (f"As the training said at its end: {advice}.",) if advice else (),
        "Repeats": _repeatability(run),
    }
    if has_original_classes(run.classes) and run.config.data:
        answers["Differs"] = test.say(
            "The original's {original/mean_class_accuracy} is of its own training; what is known to differ is listed "
            "below, and its other settings are not printed."
        )
    elif has_original_classes(run.classes):
        answers["Differs"] = (
            "These scenes are drawn, the original's are photographs. The two are not comparable: which number is "
            "higher says nothing. What else differs is listed below.",
        )
    return {heading: sentence for heading, sentence in answers.items() if sentence}


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
    chosen = f"{choice}, the one with the {by} on"
    if run.config.protocol.shares_split:
        return (
            f"{chosen} the {test} images that it was trained on was selected: {setting}.",
            "It was tested on these same images, so that the result says little about others.",
        )
    return (
        f"{chosen} {validation} validation images, which are none of the {training} training images, was selected: "
        f"{setting}.",
        f"This run measured this one network, once, on {test} other images, and selected nothing by the result.",
    )


def _question(run: FinishedRun, source: Source) -> Sentence:
    if not has_original_classes(run.classes):
        seen = "was trained on" if run.config.protocol.shares_split else "has never seen"
        return (f"How well does {run.config.model} tell {len(run.classes)} classes apart, on images that it {seen}?",)
    images = "photographs" if run.config.data else "drawn scenes"
    corrected = run.config.protocol.is_corrected
    protocol = "split and selected as the assignment asks" if corrected else "with the deviations named above"
    return source.say(
        "A report on image classification prints a mean class accuracy of {original/mean_class_accuracy} for six "
        f"classes, by its assignment photographs of scenes. What does this run reach on {images}, {protocol}?"
    )


def _result(run: FinishedRun, source: Source) -> Sentence:
    result = source.say(
        "A mean class accuracy of {ours/mean_class_accuracy} on {} test images (95 % "
        "{intervals/mean_class_accuracy:.2f}), where chance is {chance/class_accuracy:.2f}; ",
        str(sum(source.values["images"])),
    )
    key = "class_accuracy"
    return (*result, *describe_extremes(run.classes, source, "ours", key, intervals=("intervals", key)), ".")


def _repeatability(run: FinishedRun) -> Sentence:
    seed = f"This is one training, of seed {run.config.seed}: another seed makes another network."
    if run.fingerprint["numerics"] != "portable":
        return (
            f"Equal bits are expected in numeric class {run.fingerprint['numeric_class']}. On other machines training "
            "gives a different network, but the scores of the saved weights agree within the tolerances below. "
            f"{seed}",
        )
    again = "This report is of one run, with torch {torch}, NumPy {numpy}, Pillow {pillow}; verify computes it again."
    again = again.format(**run.fingerprint["versions"])
    if run.config.fits_head(run.config.setting(run.metrics["setting"])):
        return (
            "What the head reads of every image, and the scores from the saved weights, are computed in a fixed "
            f"order of operations; {TESTED}. The fit itself repeats to a tolerance, since libraries add in another "
            f"order on another processor: its scores within {SOFTMAX_TOLERANCE:g} at most, which verify tests. {again}",
        )
    return (
        f"The command below computes in a fixed order of operations; {TESTED}. Eigenvalues repeat within "
        f"{tiers(run)['numerical'].tolerance}. {again} {seed}",
    )


def describe_differences(config: Config, metrics: RunMetrics) -> dict[str, str]:
    """Return sentences on how a run differs from the published report, by subject such as "Data".

    The protocol is always described, since the published report does not give its own.
    """
    config, course = publishable(config), PRESETS["course"]
    sizes = [sum(supports.values()) for supports in metrics["supports"].values()]
    training, validation, test = sizes
    pictures, how = "drawn scenes that the package generates", _describe_training(config)
    if config.data:
        pictures = f"images of {Path(config.data).name or config.data}"
    weights = {"none": "from scratch", "imagenet": "ImageNet weights"}.get(config.weights, f"those of {config.weights}")
    grouped = "identical files" if config.group == IDENTICAL else "copies and look-alikes"
    protocol = config.protocol.meaning or (
        f"three disjoint image sets ({grouped} share a side), equal initial weights for every setting, the test set "
        "opened once in this run"
    )
    # By subject, whether it is as the assignment asks, and what it is.
    conditions = {
        "Data": (
            bool(config.data) and "/".join(map(str, sizes)) == course.split,
            f"{training} training, {validation} validation and {test} test {pictures}; the course's split of "
            f"17,034 photographs is {course.split}.",
        ),
        "Weights": (
            config.weights == course.weights,
            f"{weights}; the assignment asks for ImageNet weights.",
        ),
        "Size": (
            config.image_size == course.image_size,
            f"{config.image_size} pixels; the assignment's is {course.image_size}.",
        ),
        "Training": (
            how == _describe_training(course),
            f"{how}; the original trains for {course.epochs} epochs, and the assignment asks for batches of "
            f"{course.batch_size}; neither gives a learning rate.",
        ),
        "Protocol": (False, f"{protocol}. The original does not print its own."),
        "Settings": (
            len(config.settings) <= 3,
            f"{len(config.settings)}; the first three have a figure of validation each, and one figure shows all.",
        ),
        "Network": (config.model == course.model, f"{config.model}; the original's is {course.model}."),
    }
    return {subject: sentence for subject, (same, sentence) in conditions.items() if not same}


def _describe_training(config: Config) -> str:
    """Return a phrase on training in epochs, on fitting the last layer, or on both, depending on the settings."""
    rates = [_describe_rate(config, each) for each in config.settings if not config.fits_head(each)]
    of_epochs = (
        f"{config.epochs} epochs, batches of {config.batch_size}, {config.schedule} learning rate "
        f"({', '.join(rates)}), augmentation {config.augmentation}"
    )
    of_head = (
        f"the last layer alone, a logistic regression on what it reads of each image, with {len(STRENGTHS)} strengths "
        "of its penalty"
    )
    return "; and ".join([of_epochs] * bool(rates) + [of_head] * (len(rates) < len(config.settings)))


def _describe_rate(config: Config, setting: OptimizerSetting) -> str:
    head, part = setting.head_learning_rate, config.trained_part(setting)
    of_head = "" if head is None else f", of the head {head:g}"
    return f"{setting.optimizer} {setting.learning_rate:g}{of_head}{'' if part == ALL else f', {part} alone'}"
