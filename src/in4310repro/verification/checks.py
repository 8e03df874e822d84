"""Table of all checks of `verify` in order, with the statements of a run that each does or does not recompute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from in4310repro.evaluation.prediction import refuse_too_large
from in4310repro.metrics.table import SCALARS
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.settings import LOOK_ALIKES
from in4310repro.verification.check import (
    ELSEWHERE,
    IN_CLASS,
    NOT_SHOWN,
    REPLAY,
    Check,
    Circumstances,
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
from in4310repro.verification.heads import (
    LOSS_TOLERANCE,
    SOFTMAX_PER_STRENGTH,
    SOFTMAX_TOLERANCE,
    fit_differences,
    frozen_differences,
)
from in4310repro.verification.images import (
    decoded_differences,
    group_differences,
    image_differences,
    scene_differences,
    split_differences,
    trailing_notes,
)
from in4310repro.verification.records import best_epoch_differences, metrics_differences, saved_score_differences

TEST_LOSSES = "test losses of epochs other than each setting's best"
TEST_METRICS = "every value of the test metrics"
GROUPS = "which images are copies of each other or look alike, and are held on one side of the split"
OF_EPOCHS = (
    "training losses",
    "validation rows and tensor hashes of epochs other than each setting's best",
    "the optimizer's settings: its kind, learning rate, weight decay, momentum, batch size, augmentation, schedule and "
    "warm-up",
    "that the setting began from the weights that the run records",
)
OF_OTHER_SETTINGS = (
    "losses, other epochs, the optimizer's settings and equal initial weights of settings that were not selected"
)
WITHIN_TOLERANCES = (
    f"losses within {LOSS_TOLERANCE:g}, scores within {SOFTMAX_PER_STRENGTH:g} times the strength and "
    f"{SOFTMAX_TOLERANCE:g}, metrics as far as these leave them open"
)


def _where(applies: Callable[[Circumstances], bool], what: str) -> Statement:
    return Statement(what, lambda circumstances: [what] if applies(circumstances) else [])


def _of_run(find: Callable[[FinishedRun], Iterable[Finding]]) -> Callable[[Evidence], Iterable[Finding]]:
    return lambda evidence: find(evidence.run)


def _memory_differences(evidence: Evidence) -> Iterator[str]:
    try:
        refuse_too_large(evidence.run.config, evidence.context.numerics)
    except ValueError as error:
        yield f"{evidence.folder} cannot be read completely: {error}"


def _initial_weights(circumstances: Circumstances) -> list[str]:
    return [f"the initial weights from {circumstances.weights}"] if circumstances.start else []


def _metrics(circumstances: Circumstances) -> list[str]:
    still_open = ", average precisions as far as close scores allow" if circumstances.open_precisions else ""
    return [f"{TEST_METRICS}{still_open}"]


def _selection(circumstances: Circumstances) -> list[str]:
    return [f"the selection by {SCALARS[circumstances.run.config.select].label} on validation"]


def _fits(circumstances: Circumstances) -> list[str]:
    tier = "to the bit" if circumstances.fits_repeat else WITHIN_TOLERANCES
    words = f"every fit of the head ({tier}), and that nothing else has moved"
    return [words] if any(circumstances.fitted) else []


def _frozen(circumstances: Circumstances) -> bool:
    starts_warm = circumstances.run.config.protocol.starts_warm
    return circumstances.start and circumstances.from_a_layer and not starts_warm


def _groups(circumstances: Circumstances) -> bool:
    return circumstances.run.config.group == LOOK_ALIKES


def _has_epochs(circumstances: Circumstances) -> bool:
    return not all(circumstances.fitted)


def _has_test_losses(circumstances: Circumstances) -> bool:
    return circumstances.run.config.protocol.scores_test_each_epoch


def _has_others(circumstances: Circumstances) -> bool:
    return _has_epochs(circumstances) and len(circumstances.fitted) > 1


def _feature_maps(circumstances: Circumstances) -> list[str]:
    measured = circumstances.start and circumstances.run.features is not None
    return [f"the feature maps{circumstances.feature_tier}"] if measured else []


def _absent_sets(circumstances: Circumstances) -> list[str]:
    absent = circumstances.absent if circumstances.start else ()
    return [f"the feature maps of {name}, whose folder is unavailable" for name in absent]


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
            Statement("the initial weights from the seed, or from weights that are available", _initial_weights),
        ),
        leaves=(
            (NOT_SHOWN, Statement("images per second, processor, device, libraries and source")),
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
        leaves=((NOT_SHOWN, Statement("that no setting, no seed and no other run was left out")),),
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
        computes=(_where(lambda each: _groups(each) and each.start and each.bitwise, GROUPS),),
        leaves=((ELSEWHERE, _where(lambda each: _groups(each) and not (each.start and each.bitwise), GROUPS)),),
    ),
    Check(
        name="pixels",
        files="`fingerprint.json`, `pixels.json`",
        compared_with="the decoded pixels of test and validation images",
        find=decoded_differences,
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
            (IN_CLASS, _where(lambda _: False, "average precisions that close scores leave open")),
        ),
    ),
    Check(
        name="metrics",
        files="`metrics.json`",
        compared_with="every value, from these scores, the histories and the split",
        find=of_selected(metrics_differences),
        computes=(Statement(TEST_METRICS, _metrics),),
    ),
    Check(
        name="best epochs",
        files="`SETTING/history.json`, `SETTING/tensors.json`",
        compared_with="the row and the hashes of the best epoch, from `SETTING/best.safetensors` and the validation "
        "images; the row's test loss, if it has one, from the test images",
        find=of_each_setting(best_epoch_differences),
        computes=(
            Statement("the validation metrics and tensor hashes of each setting's best epoch"),
            _where(_has_test_losses, "the test loss of each setting's best epoch"),
            Statement("the selection", _selection),
        ),
        leaves=(
            *((REPLAY, _where(_has_epochs, what)) for what in OF_EPOCHS),
            (REPLAY, _where(_has_test_losses, TEST_LOSSES)),
            (NOT_SHOWN, _where(_has_others, OF_OTHER_SETTINGS)),
        ),
    ),
    Check(
        name="head fits",
        files="a fitted head",
        compared_with="the same fit made again: the bits, else the slope of its loss and its scores on every part",
        find=of_each_setting(fit_differences),
        computes=(Statement("every fit of the head, and that nothing else has moved", _fits),),
        leaves=(
            (
                NOT_SHOWN,
                _where(
                    lambda each: any(each.fitted) and not each.fits_repeat, "tensor hashes of fits other than the best"
                ),
            ),
        ),
    ),
    Check(
        name="frozen layers",
        files="`SETTING/best.safetensors`",
        compared_with="the initial weights before the layer from which a setting trains, where they are available",
        find=of_each_setting(frozen_differences),
        computes=(_where(_frozen, "that nothing has moved before the layer from which a setting trains"),),
    ),
    Check(
        name="feature maps",
        files="`features.json`",
        compared_with="every value, on each image set that is available",
        find=of_selected(lambda selected: feature_differences(selected.evidence)),
        computes=(Statement("the feature maps", _feature_maps),),
        leaves=(
            (
                ELSEWHERE,
                _where(
                    lambda each: each.run.features is not None and not each.start,
                    "the feature maps, which are of the weights before training",
                ),
            ),
            (ELSEWHERE, Statement("the feature maps of an image set whose folder is unavailable", _absent_sets)),
        ),
    ),
)
