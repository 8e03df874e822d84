"""Table of all checks of `verify` in order, with the statements of a run that each does or does not recompute."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from in4310repro.evaluation.prediction import refuse_too_large
from in4310repro.metrics.table import SCALARS
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.selection import best_epoch
from in4310repro.runs.settings import LOOK_ALIKES, unused_values
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

WITHOUT_EFFECT = (
    "format, preset, device, numerics, precision, evaluation_batch_size, checkpoint_steps and folders in config.json, "
    "where no result depends on them"
)
WITHOUT_EPOCHS = "batch_size, epochs, augmentation, schedule and warm_up in config.json, which no fit of a head uses"
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
TRAINING_PIXELS = "hashes of the pixels of training images"
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
    still_open = ", average precisions as far as close scores allow" if circumstances.finds(IN_CLASS) else ""
    return [f"{TEST_METRICS}{still_open}"]


def _selection(circumstances: Circumstances) -> list[str]:
    return [f"the selection by {SCALARS[circumstances.run.config.select].label} on validation"]


def _fits(circumstances: Circumstances) -> list[str]:
    tier = "to the bit" if circumstances.fits_repeat else WITHIN_TOLERANCES
    moved = ", and that nothing else has moved" if circumstances.bodies_compared else ""
    return [f"every fit of the head ({tier}){moved}"] if any(circumstances.fitted) else []


def _bodies(circumstances: Circumstances) -> list[str]:
    claim = "that nothing but the heads that were fitted has moved"
    return [] if circumstances.bodies_compared or not any(circumstances.fitted) else [claim]


def _frozen_claims(circumstances: Circumstances) -> list[str]:
    training = circumstances.run.config.training
    unknown = any(not circumstances.start and not training.setting_before(each) for each in circumstances.from_a_layer)
    return [FROZEN] if unknown else []


def _frozen(circumstances: Circumstances) -> bool:
    return bool(circumstances.from_a_layer) and not _frozen_claims(circumstances)


def _groups(circumstances: Circumstances) -> bool:
    return circumstances.run.config.group == LOOK_ALIKES


def _of_open(what: str, left: Callable[[Circumstances], Mapping[str, Collection[int]]]) -> Statement:
    """Return a statement about the epochs that `left` gives for each setting; without any it does not apply.

    The settings and epochs are named where a replay has trained some of the run's epochs again.
    """

    def words(circumstances: Circumstances) -> list[str]:
        epochs = {name: each for name, each in left(circumstances).items() if each}
        of = f" ({'; '.join(_describe_epochs(circumstances, *each) for each in epochs.items())})"
        return [f"{what}{of if circumstances.replayed else ''}"] if epochs else []

    return Statement(what, words)


def _describe_epochs(circumstances: Circumstances, setting: str, epochs: Collection[int]) -> str:
    every = len(epochs) == circumstances.run.config.epochs
    return f"setting {setting}" if every else f"setting {setting}, epoch {', '.join(map(str, sorted(epochs)))}"


def _open_epochs(circumstances: Circumstances) -> Mapping[str, list[int]]:
    return circumstances.open_epochs


def _open_starts(circumstances: Circumstances) -> Mapping[str, list[int]]:
    return {name: epochs if 1 in epochs else [] for name, epochs in circumstances.open_epochs.items()}


def _open_rows(circumstances: Circumstances) -> Mapping[str, list[int]]:
    run = circumstances.run
    return {
        name: [epoch for epoch in epochs if epoch != best_epoch(run.histories[name], run.config.select)["epoch"]]
        for name, epochs in circumstances.open_epochs.items()
    }


def _open_test_losses(circumstances: Circumstances) -> Mapping[str, list[int]]:
    return _open_rows(circumstances) if _has_test_losses(circumstances) else {}


def _trained_again(circumstances: Circumstances) -> list[str]:
    again = {name: epochs for name, epochs in circumstances.replayed.items() if epochs}
    return [f"the training of {_describe_epochs(circumstances, *each)}" for each in again.items()]


def _has_test_losses(circumstances: Circumstances) -> bool:
    return circumstances.run.config.protocol.scores_test_each_epoch


def _training_pixels(circumstances: Circumstances) -> list[str]:
    decoded = any(circumstances.fitted) or any(circumstances.replayed.values())
    return [] if decoded or not circumstances.run.fingerprint.get("pixels_sha256") else [TRAINING_PIXELS]


def _own_code(circumstances: Circumstances) -> list[str]:
    network = circumstances.run.config.network
    return [f"what the code of {network.name} computes; its code is not in the run"] if network.option else []


def _unused(circumstances: Circumstances) -> list[str]:
    return [
        f"{name} {getattr(setting, name):g} of setting {setting.name}, which {setting.optimizer} does not use"
        for setting in circumstances.run.config.settings
        for name in unused_values(setting)
    ]


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
            (NOT_SHOWN, Statement("images per second, processor, device, threads, libraries and source")),
            (NOT_SHOWN, Statement("what the code of MODULE:FUNCTION computes; its code is not in the run", _own_code)),
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
            (NOT_SHOWN, Statement(WITHOUT_EFFECT)),
            (NOT_SHOWN, _where(lambda each: all(each.fitted), WITHOUT_EPOCHS)),
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
        computes=(_where(lambda each: _groups(each) and each.start and each.bitwise, GROUPS),),
        leaves=((ELSEWHERE, _where(lambda each: _groups(each) and not (each.start and each.bitwise), GROUPS)),),
    ),
    Check(
        name="pixels",
        files="`fingerprint.json`, `pixels.json`",
        compared_with="the decoded pixels of test and validation images",
        find=decoded_differences,
        leaves=((REPLAY, Statement(TRAINING_PIXELS, _training_pixels)),),
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
            Statement("the training of the epochs that `--replay` trains again", _trained_again),
        ),
        leaves=(
            *((REPLAY, _of_open(what, _open_epochs)) for what in OF_EPOCHS),
            (REPLAY, _of_open(OF_ROWS, _open_rows)),
            (REPLAY, _of_open(START, _open_starts)),
            (REPLAY, _of_open(TEST_LOSSES, _open_test_losses)),
            (NOT_SHOWN, Statement("up to format 6: a value of a setting that its optimizer does not use", _unused)),
        ),
    ),
    Check(
        name="head fits",
        files="a fitted head",
        compared_with="the same fit made again: the bits, else the slope of its loss and its scores on every part",
        find=of_each_setting(fit_differences),
        computes=(Statement("every fit of the head, and that nothing else has moved", _fits),),
        leaves=(
            (ELSEWHERE, Statement("that nothing but the heads that were fitted has moved", _bodies)),
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
        compared_with="the weights from which a setting began, before the layer from which it trains, where they are "
        "available",
        find=of_each_setting(frozen_differences),
        computes=(_where(_frozen, FROZEN),),
        leaves=((ELSEWHERE, Statement(FROZEN, _frozen_claims)),),
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
