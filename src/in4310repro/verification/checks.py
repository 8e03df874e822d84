"""Table of all checks of `verify` in order, with the statements of a run that each does or does not recompute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from in4310repro.evaluation.prediction import refuse_too_large
from in4310repro.runs.finished import FinishedRun
from in4310repro.verification import statements
from in4310repro.verification.check import (
    ELSEWHERE,
    IN_CLASS,
    NOT_SHOWN,
    REPLAY,
    Check,
    Finding,
    Statement,
    of_each_setting,
    of_selected,
)
from in4310repro.verification.evidence import Evidence
from in4310repro.verification.features import feature_differences
from in4310repro.verification.files import (
    fingerprint_differences,
    form_differences,
    preset_findings,
    weights_differences,
)
from in4310repro.verification.folder import altered_files, wrong_in_manifest
from in4310repro.verification.heads import fit_differences, frozen_differences
from in4310repro.verification.images import (
    decoded_differences,
    group_differences,
    image_differences,
    scene_differences,
    split_differences,
    trailing_notes,
)
from in4310repro.verification.records import best_epoch_differences, metrics_differences, saved_score_differences


def _of_run(find: Callable[[FinishedRun], Iterable[Finding]]) -> Callable[[Evidence], Iterable[Finding]]:
    return lambda evidence: find(evidence.run)


def _memory_differences(evidence: Evidence) -> Iterator[str]:
    try:
        refuse_too_large(evidence.run.config, evidence.context.numerics)
    except ValueError as error:
        yield f"{evidence.folder} cannot be read completely: {error}"


CHECKS = (
    Check(
        name="changed files",
        files="every file, `manifest.json`",
        compared_with="the sha256 that the manifest names; the bytes that a run writes for such a manifest",
        find=lambda evidence: altered_files(evidence.files),
    ),
    Check(
        name="listed files",
        files="`manifest.json`",
        compared_with="the files that a run of this configuration has, each with a line",
        find=_of_run(wrong_in_manifest),
    ),
    Check(
        name="memory",
        files="`config.json`",
        compared_with="what this machine can hold",
        find=_memory_differences,
        needed=True,
    ),
    Check(
        name="form of files",
        files="JSON files, `scores.npz`",
        compared_with="the bytes that a run writes for their content; an archive without a comment",
        find=_of_run(form_differences),
    ),
    Check(
        name="split",
        files="`split.csv`",
        compared_with="the split that seed and sizes draw from its images, byte for byte",
        find=split_differences,
        computes=(Statement("the split from the images and the seed"),),
    ),
    Check(
        name="fingerprint",
        files="`fingerprint.json`",
        compared_with="the arithmetic of this process, its own probe, and initial weights drawn from the seed or read",
        find=fingerprint_differences,
        computes=(
            Statement(
                "the initial weights from the seed, or from weights that are available", statements.initial_weights
            ),
        ),
        leaves=(
            (NOT_SHOWN, Statement("images per second, processor, device, threads, libraries and source")),
            (
                NOT_SHOWN,
                Statement("what the code of MODULE:FUNCTION computes; its code is not in the run", statements.own_code),
            ),
            (
                ELSEWHERE,
                Statement(
                    "that training began from weights that are unavailable",
                    lambda each: [] if each.start else [f"that training began from {each.weights}"],
                ),
            ),
        ),
    ),
    Check(
        name="preset",
        files="`config.json`",
        compared_with="the presets by name; what differs from the preset is a note",
        find=_of_run(preset_findings),
        leaves=(
            (NOT_SHOWN, Statement("that no setting, no seed and no other run was left out")),
            (NOT_SHOWN, Statement(statements.WITHOUT_EFFECT)),
            (NOT_SHOWN, statements.where(lambda each: all(each.fitted), statements.WITHOUT_EPOCHS)),
        ),
    ),
    Check(
        name="drawn scenes",
        files="`split.csv`",
        compared_with="the scenes that are drawn now, where the images are drawn ones",
        find=scene_differences,
        needed=True,
    ),
    Check(
        name="images",
        files="`split.csv`",
        compared_with="every image's sha256 now, and the images that are in its folder",
        find=image_differences,
    ),
    Check(
        name="ends of images",
        files="the images",
        compared_with="the end of each picture; bytes behind it are a note",
        find=trailing_notes,
    ),
    Check(
        name="look-alikes",
        files="`groups.json`",
        compared_with="the groups that features of the initial weights give, where bits must be equal",
        find=group_differences,
        computes=(
            statements.where(lambda each: statements.groups(each) and each.start and each.bitwise, statements.GROUPS),
        ),
        leaves=(
            (
                ELSEWHERE,
                statements.where(
                    lambda each: statements.groups(each) and not (each.start and each.bitwise), statements.GROUPS
                ),
            ),
        ),
    ),
    Check(
        name="pixels",
        files="`fingerprint.json`, `pixels.json`",
        compared_with="the decoded pixels of test and validation images",
        find=decoded_differences,
        leaves=((REPLAY, Statement(statements.TRAINING_PIXELS, statements.training_pixels)),),
    ),
    Check(
        name="weights",
        files="`SETTING/best.safetensors`",
        compared_with="the metadata, names and types that a run writes",
        find=of_each_setting(weights_differences),
    ),
    Check(
        name="test scores",
        files="`scores.npz`",
        compared_with="the softmax of the selected network on the test images",
        find=of_selected(saved_score_differences),
        computes=(Statement("every test score"),),
        leaves=(
            # The check itself finds which average precisions these are.
            (IN_CLASS, statements.where(lambda _: False, "average precisions that close scores leave open")),
        ),
    ),
    Check(
        name="metrics",
        files="`metrics.json`",
        compared_with="every value, from these scores, the histories and the split",
        find=of_selected(metrics_differences),
        computes=(Statement(statements.TEST_METRICS, statements.metrics),),
    ),
    Check(
        name="best epochs",
        files="`SETTING/history.json`, `SETTING/tensors.json`",
        compared_with="the row and the hashes of the best epoch, from `SETTING/best.safetensors` and the validation "
        "images; the row's test loss, if it has one, from the test images",
        find=of_each_setting(best_epoch_differences),
        computes=(
            Statement("the validation metrics and tensor hashes of each setting's best epoch"),
            statements.where(statements.has_test_losses, "the test loss of each setting's best epoch"),
            Statement("the selection", statements.selection),
            Statement("the training of the epochs that `--replay` trains again", statements.trained_again),
        ),
        leaves=(
            *((REPLAY, statements.of_open(what, statements.open_epochs)) for what in statements.OF_EPOCHS),
            (REPLAY, statements.of_open(statements.OF_ROWS, statements.open_rows)),
            (REPLAY, statements.of_open(statements.START, statements.open_starts)),
            (REPLAY, statements.of_open(statements.TEST_LOSSES, statements.open_test_losses)),
            (
                NOT_SHOWN,
                Statement("up to format 6: a value of a setting that its optimizer does not use", statements.unused),
            ),
        ),
    ),
    Check(
        name="head fits",
        files="a fitted head",
        compared_with="the same fit made again: the bits, else the slope of its loss and its scores on every part",
        find=of_each_setting(fit_differences),
        computes=(Statement("every fit of the head, and that nothing else has moved", statements.fits),),
        leaves=(
            (ELSEWHERE, Statement("that nothing but the heads that were fitted has moved", statements.bodies)),
            (
                NOT_SHOWN,
                statements.where(
                    lambda each: any(each.fitted) and not each.fits_repeat, "tensor hashes of fits other than the best"
                ),
            ),
        ),
    ),
    Check(
        name="frozen layers",
        files="`SETTING/best.safetensors`",
        compared_with="the weights from which a setting began, before the layer from which it trains, where they are "
        "available",
        find=of_each_setting(frozen_differences),
        computes=(statements.where(statements.frozen, statements.FROZEN),),
        leaves=((ELSEWHERE, Statement(statements.FROZEN, statements.frozen_claims)),),
    ),
    Check(
        name="feature maps",
        files="`features.json`",
        compared_with="every value, on each image set that is available",
        find=of_selected(lambda selected: feature_differences(selected.evidence)),
        computes=(Statement("the feature maps", statements.feature_maps),),
        leaves=(
            (
                ELSEWHERE,
                statements.where(
                    lambda each: each.run.features is not None and not each.start,
                    "the feature maps, which are of the weights before training",
                ),
            ),
            (
                ELSEWHERE,
                Statement("the feature maps of an image set whose folder is unavailable", statements.absent_sets),
            ),
        ),
    ),
)
