"""What a report says of its numbers: question, result, differences from the published report, and tiers.

A "tier" says how exactly a number is reproduced: always, to the bit on equal hardware and libraries (the same
"numeric class"), or within a tolerance. A number on a page links to its full value and its tier.

The published report states its three optimizers, ResNet18, 20 epochs and its rule of selection, but no more
settings. Image size, batch size and ImageNet weights are those of the assignment; the learning rates are our
choice.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from in4310repro.metrics.table import SCALARS
from in4310repro.models.sources import ALL
from in4310repro.report.exhibit import Cell, Exhibit, Number, Sentence, Source, describe_extremes, has_original_classes
from in4310repro.report.feature_exhibits import measured
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun, advise
from in4310repro.runs.presets import PRESETS, publishable
from in4310repro.runs.record_types import RunMetrics
from in4310repro.runs.selection import describe_ties, unit
from in4310repro.runs.settings import IDENTICAL, STRENGTHS
from in4310repro.system.text import visible
from in4310repro.verification import heads
from in4310repro.verification.feature_checks import NEXT_BIN, SHARE_TOLERANCE, SPECTRUM_TOLERANCE
from in4310repro.verification.results import LOGIT_TOLERANCE, LOSS_TOLERANCE

# The scope of `nox -s portability`.
TESTED = (
    "its bits were compared for the kernels and two steps of ResNet-18 at 32 px: on x86-64 with AVX-512 and 1, 2, 3 "
    "and 16 threads, and in emulators, with one thread, with AVX2 and on arm64"
)
VERIFY, REPLAY = "verify", "verify --replay, for the epochs that it trains again"
AT_HAND = "verify, where images and first weights are available"
# Texts that a browser would otherwise break after a hyphen or before a unit.
UNBROKEN = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*|\d[\d.,]* %|\d[\d.]*e-\d+")


def make_verdict(run: FinishedRun, test: Source) -> dict[str, Sentence]:
    """Return the sentences at the top of a report, by heading, such as "Asked" or "Repeats".

    The heading "Differs" is present only if the run has the classes of the published report.

    Args:
        run: a finished run.
        test: the numbers of its figure on the test set.
    """
    # The hint is the one printed at the end of the training.
    advice, key = advise(run), "class_accuracy"
    text = (
        "A mean class accuracy of {ours/mean_class_accuracy} on {} test images (95 % "
        "{intervals/mean_class_accuracy:.2f}), where chance is {chance/class_accuracy:.2f}; "
    )
    extremes = describe_extremes(run.classes, test, "ours", key, intervals=("intervals", key))
    answers: dict[str, Sentence] = {
        "Asked": _question(run, test),
        "Came out": (*test.say(text, f"{sum(test.values['images']):,}"), *extremes, "."),
        "Caution": (f"Advice at the end of the training: {advice}.",) if advice else (),
        "Repeats": _repeatability(run),
    }
    if has_original_classes(run.classes):
        text = (
            "These scenes are drawn, the original's are photographs. The two are not comparable: which number is "
            "higher says nothing. What else differs is listed below."
        )
        if run.config.data:
            text = (
                "The original's {original/mean_class_accuracy} is of its own training; what is known to differ is "
                "listed below, and its other settings are not printed."
            )
        answers["Differs"] = test.say(text)
    return {heading: sentence for heading, sentence in answers.items() if sentence}


def describe_selection_and_test(run: FinishedRun) -> tuple[str, str]:
    """Return two sentences: how the network was selected, and how it was tested."""
    training, validation, test = (sum(supports.values()) for supports in run.metrics["supports"].values())
    selected, metric = run.metrics["setting"], SCALARS[run.config.select]
    units = {name: unit(rows) for name, rows in run.histories.items()}
    setting = f"{selected}, {units[selected]} {run.metrics['epoch']}{describe_ties(run.histories, run.config.select)}"
    choice = f"Of all {units[selected]}s"
    if (settings := len(run.config.settings)) > 1:
        rows = "their epochs or fits" if "fit" in units.values() else f"{run.config.epochs} epochs each"
        choice = f"Of {settings} settings and {rows}"
    chosen = f"{choice}, the one with the {'highest' if metric.higher_is_better else 'lowest'} {metric.label} on"
    if run.config.protocol.shares_split:
        return (
            f"{chosen} the {test:,} images that it was trained on was selected: {setting}.",
            "It was tested on these same images, so that the result says little about others.",
        )
    return (
        f"{chosen} {validation:,} validation images, which are none of the {training:,} training images, was selected: "
        f"{setting}.",
        f"This run measured this one network, once, on {test:,} other images, and selected nothing by the result.",
    )


def _question(run: FinishedRun, source: Source) -> Sentence:
    protocol = run.config.protocol
    if not has_original_classes(run.classes):
        return (
            f"How well does {run.config.model} tell {len(run.classes)} classes apart, on images that it "
            f"{'was trained on' if protocol.shares_split else 'has never seen'}?",
        )
    return source.say(
        "A report on image classification prints a mean class accuracy of {original/mean_class_accuracy} for six "
        "classes, by its assignment photographs of scenes. What does this run reach on "
        f"{'photographs' if run.config.data else 'drawn scenes'}, "
        f"{'split and selected as the assignment asks' if protocol.is_corrected else 'with the deviations named above'}"
        "?"
    )


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
            f"order on another processor: its scores within {heads.SOFTMAX_TOLERANCE:g} at most, which verify tests. "
            f"{again}",
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
    training, validation, test = sizes = [sum(supports.values()) for supports in metrics["supports"].values()]
    how = _describe_training(config)
    pictures = "drawn scenes that the package generates"
    if config.data:
        pictures = f"images of {Path(config.data).name or config.data}"
    weights = {"none": "from scratch", "imagenet": "ImageNet weights"}.get(config.weights, f"those of {config.weights}")
    protocol = config.protocol.meaning or (
        f"three disjoint image sets ({'identical files' if config.group == IDENTICAL else 'copies and look-alikes'} "
        "share a side), equal initial weights for every setting, the test set opened once in this run"
    )
    # Subject -> True if it is as the assignment asks, else what it is.
    conditions = {
        "Data": (bool(config.data) and "/".join(map(str, sizes)) == course.split)
        or f"{training} training, {validation} validation and {test} test {pictures}; the course's split of 17,034 "
        f"photographs is {course.split}.",
        "Weights": config.weights == course.weights or f"{weights}; the assignment asks for ImageNet weights.",
        "Size": config.image_size == course.image_size
        or f"{config.image_size} pixels; the assignment's is {course.image_size}.",
        "Training": how == _describe_training(course)
        or f"{how}; the original trains for {course.epochs} epochs, and the assignment asks for batches of "
        f"{course.batch_size}; neither gives a learning rate.",
        "Protocol": f"{protocol}. The original does not print its own.",
        "Settings": len(config.settings) <= 3
        or f"{len(config.settings)}; the first three have a figure of validation each, and one figure shows all.",
        "Network": config.model == course.model or f"{config.model}; the original's is {course.model}.",
    }
    return {subject: each for subject, each in conditions.items() if isinstance(each, str)}


def _describe_training(config: Config) -> str:
    """Return a phrase on training in epochs, on fitting the last layer, or on both, depending on the settings."""
    rates = [
        f"{each.optimizer} {each.learning_rate:g}"
        f"{'' if each.head_learning_rate is None else f', of the head {each.head_learning_rate:g}'}"
        f"{'' if (part := config.trained_part(each)) == ALL else f', {part} alone'}"
        for each in config.settings
        if not config.fits_head(each)
    ]
    of_epochs = (
        f"{config.epochs} epochs, batches of {config.batch_size}, {config.schedule} learning rate "
        f"({', '.join(rates)}), augmentation {config.augmentation}"
    )
    of_head = (
        f"the last layer alone, a logistic regression on what it reads of each image, with {len(STRENGTHS)} strengths "
        "of its penalty"
    )
    return "; and ".join([of_epochs] * bool(rates) + [of_head] * (len(rates) < len(config.settings)))


class Tier(NamedTuple):
    """Row of the table on reproducibility: a group of numbers, their figures, and how exactly a rerun gives them."""

    numbers: str
    places: str
    name: str
    tolerance: str
    compared_by: str


def tiers(run: FinishedRun) -> dict[str, Tier]:
    """Return the required exactness (tier) of each group of numbers in a report, by group name such as "test".

    Portable arithmetic (a fixed order of float operations) gives the same results everywhere. Native arithmetic
    gives equal bits within a numeric class (the same hardware, libraries and threads); elsewhere the results are
    equal within a tolerance.
    """
    portable = run.fingerprint["numerics"] == "portable"
    units = {unit(rows) for rows in run.histories.values()}
    fitted = unit(run.histories[run.metrics["setting"]]) == "fit"
    units |= {"losses"} if fitted else set()
    test = run.config.protocol.scores_test_each_epoch
    what = f"training losses; validation metrics and losses of other epochs{'; test losses of them' * test}"
    where = f"figure05 /train_loss; figure05 /val_loss{', /test_loss' * test} and figure06 at other epochs"
    if fitted:
        what, where = "validation metrics of other epochs", "figure06 at other epochs"
    # Epochs and fits of the last layer that were not selected.
    unselected = {
        "losses": Tier("losses of every fit of the head", "figure05", "numerical",
                       f"{heads.LOSS_TOLERANCE:g} of their size", VERIFY),
        "fit": Tier("validation metrics of other fits", "figure06 at other fits", "numerical",
                    f"what scores within {heads.SOFTMAX_TOLERANCE:g} leave open", VERIFY),
        "epoch": Tier(what, where, "claimed", "not compared", REPLAY),
    }  # fmt: skip

    def bits(elsewhere: str) -> str:
        return "0" if portable else f"0 in numeric class {run.fingerprint['numeric_class']}; elsewhere {elsewhere}"

    return {
        "exact": Tier("counts of images", "figure01 to figure04 /images, figure12 /confusion_matrix, figure14 /bins",
                      "exact", "0" if portable else "0 where no prediction changes", VERIFY),
        "test": Tier("test metrics, and what follows from the test scores: intervals, ranking, curves, calibration",
                     "figure04, figure07, figure12, figure13, figure14", "bitwise",
                     bits(f"logits {LOGIT_TOLERANCE:g} of their size"), VERIFY),
        "validation": Tier("validation metrics and loss of each setting's best epoch, intervals of these",
                           "figure01 to figure03; figure05 and figure06 at that epoch, figure06 /accuracy", "bitwise",
                           bits(f"losses {LOSS_TOLERANCE:g} of their size"), VERIFY),
        **{name: tier for name, tier in unselected.items() if name in units},
        "shares": Tier("shares of values that are not positive", "figure08 /ours", "bitwise",
                       bits(f"{SHARE_TOLERANCE:g}"), AT_HAND),
        "activations": Tier("quantiles of values, and channels that are never positive", "figure15", "bitwise",
                            bits(f"quantiles {NEXT_BIN:g} of their size, channels not compared"), AT_HAND),
        "numerical": Tier("eigenvalues, whose last bits are LAPACK's", "figure09 to figure11 /eigenvalues", "numerical",
                          f"{SPECTRUM_TOLERANCE[measured(run)['precision']]:g} of the largest", AT_HAND),
        "printed": Tier("the original's", "figure01 to figure04 and figure08 /original", "as printed", "not compared",
                        "its report, by reading"),
    }  # fmt: skip


def make_tier_lookup(run: FinishedRun, all_exhibits: Iterable[Exhibit]) -> Callable[[Number], Tier]:
    """Return a function that returns the required exactness (tier) of any number in the run's report."""
    known, of_files = tiers(run), {each.source.file: each.tier for each in all_exhibits}
    known.setdefault("losses", known.get("epoch", known["validation"]))

    def tier(number: Number) -> Tier:
        of_file, first = of_files.get(number.file, "test"), number.keys[0]
        if callable(of_file):
            return known[of_file(number.keys)]
        if number.keys[-1] in ("images", "correct", "of") or first in ("images", "confusion_matrix"):
            return known["exact"]
        return known["printed" if first == "original" else of_file]

    return tier


class Places:
    """Entries of a page's list of numbers, in order of first appearance; a repeated number has one entry.

    Args:
        tier_for: returns the tier of a number.

    Attributes:
        entries: file -> JSON Pointer -> anchor, full value as JSON, and tier.
    """

    def __init__(self, tier_for: Callable[[Number], Tier]) -> None:
        self._tier_for = tier_for
        self.entries: dict[str, dict[str, Any]] = {}

    def link(self, cell: Cell) -> Markup:
        """Return a cell, which is a number or a text, as HTML.

        A number becomes a link to its entry in the page's list of numbers. A text is escaped.
        """
        if not isinstance(cell, Number):
            return keep_together(cell)
        new = f"n{sum(map(len, self.entries.values()))}", json.dumps(cell.value), self._tier_for(cell)
        anchor, _, tier = self.entries.setdefault(cell.file, {}).setdefault(cell.pointer, new)
        title = f"{cell.file} {cell.pointer}: {tier.name}, tolerance {tier.tolerance}"
        return Markup('<a class="n" href="#{}" title="{}">{}</a>').format(anchor, visible(title), cell.text)

    def say(self, sentence: Sentence) -> Markup:
        """Return a sentence as HTML, in which numbers are links to their entries in the page's list of numbers."""
        return Markup("").join(map(self.link, sentence))


def keep_together(text: str) -> Markup:
    """Return text as HTML without line breaks inside options, numbers with units, and numbers with exponents.

    Examples:
        >>> str(keep_together("verify --replay: 95 %"))
        'verify <span class="w">--replay</span>: <span class="w">95 %</span>'
    """
    return Markup(UNBROKEN.sub(r'<span class="w">\g<0></span>', str(escape(visible(text)))))  # noqa: S704
