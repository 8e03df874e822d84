"""Table of all checks of `verify` in order, with the statements of a run that each does or does not recompute."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, Self

from in4310repro.evaluation.prediction import refuse_too_large
from in4310repro.metrics import table
from in4310repro.models.sources import FROM
from in4310repro.runs import settings
from in4310repro.runs.finished import FinishedRun
from in4310repro.verification import evidence as ev, feature_checks, file_checks, folder_checks, heads, results
from in4310repro.verification.evidence import ELSEWHERE, IN_CLASS, NOT_SHOWN, REPLAY, Evidence, Finding

WITHOUT_EFFECT = (
    "format, preset, device, numerics, precision, evaluation_batch_size, checkpoint_steps and folders in config.json, "
    "and precision in features.json, where no result depends on them"
)
WITHOUT_EPOCHS = "batch_size, epochs, augmentation, schedule and warm_up in config.json, which no fit of a head uses"
BODIES = "that nothing but the heads that were fitted has moved"
FROZEN = "that nothing has moved before the layer from which a setting trains"
TEST_LOSSES = "test losses of epochs other than each setting's best"
TEST_METRICS = "every value of the test metrics"
GROUPS = "which images are copies of each other or look alike, and are held on one side of the split"
OF_ROWS = "validation rows and tensor hashes of epochs other than each setting's best"
OF_EPOCHS = (
    "training losses and hashes of optimizer states",
    "the optimizer's settings: its kind, learning rate, weight decay, momentum, batch size, augmentation, schedule and "
    "warm-up",
)
START = "that each setting began from the weights that the run records"
DRAWN = "the initial weights from the seed, or from weights that are available"
FITS = "tensor hashes of fits other than the best"
ABSENT_SETS = "the feature maps of an image set whose folder is unavailable"
OF_MACHINE = "images per second, processor, device, threads, libraries and source"
LEFT_OUT = "that no setting, no seed and no other run was left out"
OWN_CODE = "what the code of MODULE:FUNCTION computes; its code is not in the run"
BEGAN = "that training began from weights that are unavailable"
OPEN_PRECISIONS = "average precisions that close scores leave open"
OPEN = ", average precisions as far as close scores allow"
BEST_LOSS = "the test loss of each setting's best epoch"
SELECTION, TRAINED = "the selection", "the training of the epochs that `--replay` trains again"
UNUSED = "up to format 6: a value of a setting that its optimizer does not use"
HEADS, MAPS = "every fit of the head, and that nothing else has moved", "the feature maps"
BEFORE_TRAINING = "the feature maps, which are of the weights before training"
TRAINING_PIXELS = "hashes of the pixels of training images"
WITHIN_TOLERANCES = (
    f"losses within {heads.LOSS_TOLERANCE:g}, scores within {heads.SOFTMAX_PER_STRENGTH:g} times the strength and "
    f"{heads.SOFTMAX_TOLERANCE:g}, metrics as far as these leave them open"
)


BITWISE = "bit for bit"
NUMERICAL = f"within tolerances (logits {results.LOGIT_TOLERANCE:g} of their size), in another numeric class"
Find = Callable[[Evidence], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of a verification: differences, or the facts that decide what was confirmed and what remains a claim.

    The facts are of a run without differences.
    """

    differences: Sequence[str] = field(default_factory=list)
    run: Any = None  # a `FinishedRun`
    start: bool = False  # the weights that training began from are drawn or available
    bitwise: bool = False  # equal bits are required, else values within tolerances, in another numeric class
    fits_repeat: bool = False  # every fit of a head, made again, has the bits of the run's
    found: Sequence[ev.Claim] = ()  # by the checks themselves, such as average precisions that close scores leave open
    notes: Sequence[str] = ()  # not differences, but worth a look
    replayed: Mapping[str, Collection[int]] = field(default_factory=dict)  # setting -> epochs trained again, equal
    feature_tier: str = ""  # how far feature maps may differ, as words after them
    absent: tuple[str, ...] = ()  # image sets of the feature maps that are unavailable
    bodies_compared: bool = True  # what precedes a fitted head was compared with the weights before training
    not_checked: Sequence[folder_checks.Unchecked] = ()  # what lies in the folder and was compared with nothing
    manifest_sha256: str = ""  # of `RunFolder.manifest_sha256`

    @classmethod
    def expected(cls, run: FinishedRun) -> Self:
        """Return the result to expect of a verification of a run, in which bits must be equal.

        Files of initial weights count as unavailable. Of the additional image sets of the feature maps, only
        those that Python libraries provide count as available.
        """
        sets = [images["name"] for images in run.features["sets"][1:]] if run.features else []
        absent, start = tuple(name for name in sets if name not in ev.IN_LIBRARY), run.config.weights == "none"
        return cls(run=run, bitwise=True, start=start, absent=absent, bodies_compared=ev.draws_head(run))

    @property
    def tier(self) -> str:
        """How exactly the values agree, in words."""
        return BITWISE if self.bitwise else NUMERICAL

    @property
    def computed_again(self) -> list[str]:
        """The statements about the run that are confirmed."""
        return [words for check in CHECKS.values() for what in check.computed for words in self._words(what, True)]

    @property
    def claimed(self) -> list[ev.Claim]:
        """The statements about the run that are not confirmed, sorted by the evidence that would confirm them."""
        made = [each for check in CHECKS.values() for each in check.claims.items()]
        listed = [ev.Claim(words, shown_by) for what, shown_by in made for words in self._words(what, False)]
        return sorted([*listed, *self.found], key=lambda claim: ev.SHOWN_BY.index(claim.shown_by))

    @property
    def grouped_claims(self) -> dict[str, list[str]]:
        """The texts of the unconfirmed statements, grouped by the evidence that would confirm them."""
        return {by: [each.what for each in of] for by, of in groupby(self.claimed, lambda each: each.shown_by)}

    def to_json(self) -> dict[str, Any]:
        """Return what is found, confirmed and claimed as JSON values, what is confirmed under the name `proven`."""
        return {
            "differences": self.differences,
            "bitwise": self.bitwise,
            "proven": self.computed_again,
            "claimed": [each._asdict() for each in self.claimed],
            "notes": self.notes,
            "not_checked": self.not_checked,
            "manifest_sha256": self.manifest_sha256,
        }

    def _words(self, what: str, computed: bool) -> list[str]:
        words = self.wordings.get(what, computed) if self.run else []
        return words if isinstance(words, list) else [what] * (words is computed)

    @cached_property
    def wordings(self) -> dict[str, list[str] | bool | None]:
        """What becomes of a statement for the run, by its general words, where it is not made of every run in them.

        The value is the list of its words; or, if these are the general ones, whether the statement is computed again,
        which is None if the run does not make it. Statements about epochs that were not trained again name settings and
        epochs where a replay has trained some of the run's epochs again.
        """
        run, config, again, start = self.run, self.run.config, self.replayed, self.start
        weights = {"none": "the seed", "imagenet": "the ImageNet weights"}.get(config.weights, "the weights of a file")
        trained = [setting.name for setting in config.settings if not config.fits_head(setting)]
        fitted = len(trained) < len(config.settings)
        frozen = [each for each in config.settings if config.trained_part(each).startswith(FROM)]
        decoded = file_checks.decodes_training(run) or any(again.values())
        left = {name: [n for n in range(1, config.epochs + 1) if n not in again.get(name, ())] for name in trained}
        best = {name: run.best_row(name)["epoch"] for name in run.histories}
        besides = {name: [n for n in epochs if n != best[name]] for name, epochs in left.items()}
        named = {
            **dict.fromkeys(OF_EPOCHS, left),
            OF_ROWS: besides,
            START: {name: epochs for name, epochs in left.items() if 1 in epochs},
            TEST_LOSSES: besides if config.protocol.scores_test_each_epoch else {},
        }
        of = {what: "; ".join(self._of_epochs(epochs)) for what, epochs in named.items()}
        return {
            DRAWN: [f"the initial weights from {weights}"] * start,
            OWN_CODE: [OWN_CODE.replace("MODULE:FUNCTION", config.network.name)] * bool(config.network.option),
            BEGAN: [f"that training began from {weights}"] * (not start),
            WITHOUT_EPOCHS: bool(trained),
            file_checks.ENDS: None,  # the check itself finds it, of images in a folder
            GROUPS: start and self.bitwise if config.group == settings.LOOK_ALIKES else None,
            TRAINING_PIXELS: decoded or not run.fingerprint.get("pixels_sha256"),
            OPEN_PRECISIONS: None,  # the check itself finds which they are
            TEST_METRICS: [TEST_METRICS + OPEN * any(claim.shown_by == IN_CLASS for claim in self.found)],
            BEST_LOSS: config.protocol.scores_test_each_epoch,
            SELECTION: [f"the selection by {table.SCALARS[config.select].label} on validation"],
            TRAINED: [f"the training of {epochs}" for epochs in self._of_epochs(again)],
            **{what: [f"{what} ({epochs})" if again else what] if epochs else [] for what, epochs in of.items()},
            UNUSED: [
                f"{name} {getattr(setting, name):g} of setting {setting.name}, which {setting.optimizer} does not use"
                for setting in config.settings
                for name in settings.unused_values(setting)
            ],
            HEADS: [
                f"every fit of the head ({'to the bit' if self.fits_repeat else WITHIN_TOLERANCES})"
                + ", and that nothing else has moved" * self.bodies_compared
            ]
            * fitted,
            BODIES: self.bodies_compared or not fitted,
            FITS: self.fits_repeat or not fitted,
            FROZEN: all(start or config.setting_before(each) for each in frozen) if frozen else None,
            MAPS: [f"{MAPS}{self.feature_tier}"] * (start and run.features is not None),
            BEFORE_TRAINING: start or run.features is None,
            ABSENT_SETS: [f"the feature maps of {name}, whose folder is unavailable" for name in self.absent * start],
        }

    def _of_epochs(self, epochs: Mapping[str, Collection[int]]) -> list[str]:
        """Return the words for the epochs of each setting that has any."""
        every = self.run.config.epochs
        return [
            f"setting {name}" + (f", epoch {', '.join(map(str, sorted(each)))}" if len(each) < every else "")
            for name, each in epochs.items()
            if each
        ]


@dataclass(frozen=True)
class Check:
    """A check of `verify`: its function, and the statements that it can and cannot confirm.

    Attributes:
        compares: the files whose content it compares, and what with, as two cells of a table in Markdown.
        find: yields a message for each difference, and notes and claims.
        computed: statements that are confirmed if nothing differs, in words that fit every run.
        claims: those in the same files that it does not recompute, and what would confirm them.
        needed: whether a difference found here ends the verification.
    """

    compares: str
    find: Find
    computed: Sequence[str] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    needed: bool = False


def of_each_setting(find: Callable[[ev.SettingEvidence], Iterable[Finding]], selected: bool = False) -> Find:
    """Return a check that applies `find` to each training setting of a run, the selected one first; or to it alone.

    If `find` raises an error, the check yields one message and marks the setting as failed; later checks skip it.
    """

    def find_all(evidence: Evidence) -> Iterator[Finding]:
        for setting in evidence.settings[: 1 if selected else None]:
            try:
                yield from () if setting.failed else find(setting)
            except (ValueError, OSError) as error:
                setting.failed = True
                yield f"setting {setting.name} cannot be computed again: {error}"

    return find_all


def _memory_differences(evidence: Evidence) -> Iterator[str]:
    try:
        refuse_too_large(evidence.run.config, evidence.context.numerics)
    except ValueError as error:
        yield f"{evidence.folder} cannot be read completely: {error}"


CHECKS = {
    "changed files": Check(
        "every file, `manifest.json` | the sha256 in the manifest; the bytes that a run writes for such a manifest",
        lambda evidence: folder_checks.altered_files(evidence.files),
    ),
    "listed files": Check(
        "`manifest.json` | the files that a run of this configuration has, each with a line",
        lambda evidence: folder_checks.wrong_in_manifest(evidence.run),
    ),
    "memory": Check("`config.json` | sizes that this machine's memory can hold", _memory_differences, needed=True),
    "form of files": Check(
        "JSON files, `scores.npz` | the bytes that a run writes for their content",
        lambda evidence: file_checks.form_differences(evidence.run),
    ),
    "split": Check(
        "`split.csv` | the split that seed and sizes draw from its images, byte for byte",
        file_checks.split_differences,
        ["the split from the images and the seed"],
    ),
    "fingerprint": Check(
        "`fingerprint.json` | the arithmetic of this process, and initial weights drawn from the seed or read",
        file_checks.fingerprint_differences,
        [DRAWN],
        {OF_MACHINE: NOT_SHOWN, OWN_CODE: NOT_SHOWN, BEGAN: ELSEWHERE},
    ),
    "preset": Check(
        "`config.json` | the presets by name; what differs from the preset is a note",
        lambda evidence: file_checks.preset_findings(evidence.run),
        claims=dict.fromkeys((LEFT_OUT, WITHOUT_EFFECT, WITHOUT_EPOCHS), NOT_SHOWN),
    ),
    "drawn scenes": Check(
        "`split.csv` | the scenes that are drawn now, where the images are drawn ones",
        file_checks.scene_differences,
        needed=True,
    ),
    "images": Check(
        "`split.csv` | every image's sha256 now, and the images that are in its folder",
        file_checks.image_differences,
        claims={file_checks.ENDS: NOT_SHOWN},
    ),
    "look-alikes": Check(
        "`groups.json` | the groups that features of the initial weights give, where bits must be equal",
        file_checks.group_differences,
        [GROUPS],
        {GROUPS: ELSEWHERE},
    ),
    "pixels": Check(
        "`fingerprint.json`, `pixels.json` | the decoded pixels of test and validation images",
        file_checks.decoded_differences,
        claims={TRAINING_PIXELS: REPLAY},
    ),
    "weights": Check(
        "`SETTING/best.safetensors` | the metadata, names and types that a run writes",
        of_each_setting(file_checks.weights_differences),
    ),
    "test scores": Check(
        "`scores.npz` | the softmax of the selected network on the test images",
        of_each_setting(results.saved_score_differences, selected=True),
        ["every test score"],
        {OPEN_PRECISIONS: IN_CLASS},
    ),
    "metrics": Check(
        "`metrics.json` | every value, from these scores, the histories and the split",
        of_each_setting(results.metrics_differences, selected=True),
        [TEST_METRICS],
    ),
    "best epochs": Check(
        "`SETTING/history.json`, `SETTING/tensors.json` | the best epoch's row and hashes, from `SETTING/"
        "best.safetensors` and the images",
        of_each_setting(results.best_epoch_differences),
        ["the validation metrics and tensor hashes of each setting's best epoch", BEST_LOSS, SELECTION, TRAINED],
        {**dict.fromkeys((*OF_EPOCHS, OF_ROWS, START, TEST_LOSSES), REPLAY), UNUSED: NOT_SHOWN},
    ),
    "head fits": Check(
        "a fitted head | the same fit, made again",
        of_each_setting(heads.fit_differences),
        [HEADS],
        {BODIES: ELSEWHERE, FITS: NOT_SHOWN},
    ),
    "frozen layers": Check(
        "`SETTING/best.safetensors` | the weights that a setting began from, in the layers that it does not train",
        of_each_setting(heads.frozen_differences),
        [FROZEN],
        {FROZEN: ELSEWHERE},
    ),
    "feature maps": Check(
        "`features.json` | every value, on each image set that is available",
        of_each_setting(lambda selected: feature_checks.feature_differences(selected.evidence), selected=True),
        [MAPS],
        {BEFORE_TRAINING: ELSEWHERE, ABSENT_SETS: ELSEWHERE},
    ),
}
