"""Table of all checks of `verify` in order, with the statements of a run that each does or does not recompute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from in4310repro.evaluation.prediction import refuse_too_large
from in4310repro.metrics.table import SCALARS
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.settings import unused_values
from in4310repro.verification import features, files, folder, heads, images, records, statements
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


def _of_run(find: Callable[[FinishedRun], Iterable[Finding]]) -> Callable[[Evidence], Iterable[Finding]]:
    return lambda evidence: find(evidence.run)


def _memory_differences(evidence: Evidence) -> Iterator[str]:
    try:
        refuse_too_large(evidence.run.config, evidence.context.numerics)
    except ValueError as error:
        yield f"{evidence.folder} cannot be read completely: {error}"


def _selection(each: Circumstances) -> list[str]:
    return [f"the selection by {SCALARS[each.run.config.select].label} on validation"]


def _metrics(each: Circumstances) -> list[str]:
    still_open = any(claim.shown_by == IN_CLASS for claim in each.found)
    return [f"{statements.TEST_METRICS}{', average precisions as far as close scores allow' if still_open else ''}"]


def _training_pixels(each: Circumstances) -> bool:
    decoded = images.decodes_training(each.run) or any(each.replayed.values())
    return not decoded and bool(each.run.fingerprint.get("pixels_sha256"))


def _own_code(each: Circumstances) -> list[str]:
    network = each.run.config.network
    return [f"what the code of {network.name} computes; its code is not in the run"] if network.option else []


def _unused(each: Circumstances) -> list[str]:
    return [
        f"{name} {getattr(setting, name):g} of setting {setting.name}, which {setting.optimizer} does not use"
        for setting in each.run.config.settings
        for name in unused_values(setting)
    ]


CHECKS = (
    Check(
        "changed files",
        "every file, `manifest.json`",
        "the sha256 that the manifest names; the bytes that a run writes for such a manifest",
        lambda evidence: folder.altered_files(evidence.files),
    ),
    Check(
        "listed files",
        "`manifest.json`",
        "the files that a run of this configuration has, each with a line",
        _of_run(folder.wrong_in_manifest),
    ),
    Check("memory", "`config.json`", "what this machine can hold", _memory_differences, needed=True),
    Check(
        "form of files",
        "JSON files, `scores.npz`",
        "the bytes that a run writes for their content; an archive without a comment",
        _of_run(files.form_differences),
    ),
    Check(
        "split",
        "`split.csv`",
        "the split that seed and sizes draw from its images, byte for byte",
        images.split_differences,
        [Statement("the split from the images and the seed")],
    ),
    Check(
        "fingerprint",
        "`fingerprint.json`",
        "the arithmetic of this process, its own probe, and initial weights drawn from the seed or read",
        files.fingerprint_differences,
        [
            Statement(
                "the initial weights from the seed, or from weights that are available",
                lambda each: [f"the initial weights from {each.weights}"] * each.start,
            ),
            Statement("images per second, processor, device, threads, libraries and source", shown_by=NOT_SHOWN),
            Statement("what the code of MODULE:FUNCTION computes; its code is not in the run", _own_code, NOT_SHOWN),
            Statement(
                "that training began from weights that are unavailable",
                lambda each: [] if each.start else [f"that training began from {each.weights}"],
                ELSEWHERE,
            ),
        ],
    ),
    Check(
        "preset",
        "`config.json`",
        "the presets by name; what differs from the preset is a note",
        _of_run(files.preset_findings),
        [
            Statement("that no setting, no seed and no other run was left out", shown_by=NOT_SHOWN),
            Statement(statements.WITHOUT_EFFECT, shown_by=NOT_SHOWN),
            Statement(statements.WITHOUT_EPOCHS, lambda each: all(each.fitted), NOT_SHOWN),
        ],
    ),
    Check(
        "drawn scenes",
        "`split.csv`",
        "the scenes that are drawn now, where the images are drawn ones",
        images.scene_differences,
        needed=True,
    ),
    Check(
        "images",
        "`split.csv`",
        "every image's sha256 now, and the images that are in its folder",
        images.image_differences,
    ),
    Check(
        "ends of images",
        "the images",
        "the end of each picture; bytes behind it are a note",
        images.trailing_notes,
    ),
    Check(
        "look-alikes",
        "`groups.json`",
        "the groups that features of the initial weights give, where bits must be equal",
        images.group_differences,
        [
            Statement(statements.GROUPS, lambda each: statements.groups(each) is True),
            Statement(statements.GROUPS, lambda each: statements.groups(each) is False, ELSEWHERE),
        ],
    ),
    Check(
        "pixels",
        "`fingerprint.json`, `pixels.json`",
        "the decoded pixels of test and validation images",
        images.decoded_differences,
        [Statement(statements.TRAINING_PIXELS, _training_pixels, REPLAY)],
    ),
    Check(
        "weights",
        "`SETTING/best.safetensors`",
        "the metadata, names and types that a run writes",
        of_each_setting(files.weights_differences),
    ),
    Check(
        "test scores",
        "`scores.npz`",
        "the softmax of the selected network on the test images",
        of_selected(records.saved_score_differences),
        [
            Statement("every test score"),
            # The check itself finds which average precisions these are.
            Statement("average precisions that close scores leave open", lambda _: False, IN_CLASS),
        ],
    ),
    Check(
        "metrics",
        "`metrics.json`",
        "every value, from these scores, the histories and the split",
        of_selected(records.metrics_differences),
        [Statement(statements.TEST_METRICS, _metrics)],
    ),
    Check(
        "best epochs",
        "`SETTING/history.json`, `SETTING/tensors.json`",
        "the row and the hashes of the best epoch, from `SETTING/best.safetensors` and the validation images; the "
        "row's test loss, if it has one, from the test images",
        of_each_setting(records.best_epoch_differences),
        [
            Statement("the validation metrics and tensor hashes of each setting's best epoch"),
            Statement("the test loss of each setting's best epoch", statements.has_test_losses),
            Statement("the selection", _selection),
            Statement(
                "the training of the epochs that `--replay` trains again",
                lambda each: [
                    f"the training of {epochs}" for epochs in statements.describe_epochs(each, each.replayed)
                ],
            ),
            *(statements.of_open(what, statements.open_epochs, REPLAY) for what in statements.OF_EPOCHS),
            statements.of_open(statements.OF_ROWS, statements.open_rows, REPLAY),
            statements.of_open(statements.START, statements.open_starts, REPLAY),
            statements.of_open(
                statements.TEST_LOSSES,
                lambda each: statements.open_rows(each) if statements.has_test_losses(each) else {},
                REPLAY,
            ),
            Statement("up to format 6: a value of a setting that its optimizer does not use", _unused, NOT_SHOWN),
        ],
    ),
    Check(
        "head fits",
        "a fitted head",
        "the same fit made again: the bits, else the slope of its loss and its scores on every part",
        of_each_setting(heads.fit_differences),
        [
            Statement("every fit of the head, and that nothing else has moved", statements.fits),
            Statement(statements.BODIES, lambda each: any(each.fitted) and not each.bodies_compared, ELSEWHERE),
            Statement(
                "tensor hashes of fits other than the best",
                lambda each: any(each.fitted) and not each.fits_repeat,
                NOT_SHOWN,
            ),
        ],
    ),
    Check(
        "frozen layers",
        "`SETTING/best.safetensors`",
        "the weights from which a setting began, before the layer from which it trains, where they are available",
        of_each_setting(heads.frozen_differences),
        [
            Statement(statements.FROZEN, lambda each: statements.frozen(each) is True),
            Statement(statements.FROZEN, lambda each: statements.frozen(each) is False, ELSEWHERE),
        ],
    ),
    Check(
        "feature maps",
        "`features.json`",
        "every value, on each image set that is available",
        of_selected(lambda selected: features.feature_differences(selected.evidence)),
        [
            Statement(
                "the feature maps",
                lambda each: [f"the feature maps{each.feature_tier}"] * (each.start and each.run.features is not None),
            ),
            Statement(
                "the feature maps, which are of the weights before training",
                lambda each: each.run.features is not None and not each.start,
                ELSEWHERE,
            ),
            Statement(
                "the feature maps of an image set whose folder is unavailable",
                lambda each: [
                    f"the feature maps of {name}, whose folder is unavailable" for name in each.absent * each.start
                ],
                ELSEWHERE,
            ),
        ],
    ),
)
