"""Table of all checks of `verify` in order, with the statements of a run that each does or does not recompute."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from in4310repro.evaluation.prediction import refuse_too_large
from in4310repro.metrics.table import SCALARS
from in4310repro.models.network import FROM
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.selection import best_epoch
from in4310repro.runs.settings import LOOK_ALIKES, unused_values
from in4310repro.verification import features, files, folder, heads, images, records
from in4310repro.verification.check import (
    ELSEWHERE,
    IN_CLASS,
    NOT_SHOWN,
    REPLAY,
    Check,
    Circumstances,
    Find,
    Finding,
    Statement,
    of_each_setting,
)
from in4310repro.verification.evidence import Evidence

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
BEFORE_TRAINING = "the feature maps, which are of the weights before training"
TRAINING_PIXELS = "hashes of the pixels of training images"
WITHIN_TOLERANCES = (
    f"losses within {heads.LOSS_TOLERANCE:g}, scores within {heads.SOFTMAX_PER_STRENGTH:g} times the strength and "
    f"{heads.SOFTMAX_TOLERANCE:g}, metrics as far as these leave them open"
)
Epochs = Mapping[str, Collection[int]]  # of each setting


def _of_run(find: Callable[[FinishedRun], Iterable[Finding]]) -> Find:
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
    return [f"{TEST_METRICS}{', average precisions as far as close scores allow' if still_open else ''}"]


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


def began_elsewhere(circumstances: Circumstances) -> list[str]:
    """Return the claim about initial weights that are unavailable."""
    return [] if circumstances.start else [f"that training began from {circumstances.weights}"]


def feature_maps(circumstances: Circumstances) -> list[str]:
    """Return the words for feature maps that were measured again."""
    return [f"the feature maps{circumstances.feature_tier}"] * (circumstances.start and circumstances.measured)


def absent_sets(circumstances: Circumstances) -> list[str]:
    """Return the claims about feature maps of image sets that are unavailable."""
    absent = circumstances.absent * circumstances.start
    return [f"the feature maps of {name}, whose folder is unavailable" for name in absent]


def trained_again(circumstances: Circumstances) -> list[str]:
    """Return the words for the epochs that a replay trained again."""
    return [f"the training of {each}" for each in describe_epochs(circumstances, circumstances.replayed)]


def fits(circumstances: Circumstances) -> list[str]:
    """Return the words for heads that were fitted again, and for what precedes them where it was compared."""
    tier = "to the bit" if circumstances.fits_repeat else WITHIN_TOLERANCES
    moved = ", and that nothing else has moved" if circumstances.bodies_compared else ""
    return [f"every fit of the head ({tier}){moved}"] if any(circumstances.fitted) else []


def frozen(circumstances: Circumstances) -> bool | None:
    """Return whether the frozen layers of all settings were compared; None if no setting has any."""
    training = circumstances.run.config
    of_settings = [
        circumstances.start or training.setting_before(each) is not None
        for each in training.settings
        if training.trained_part(each).startswith(FROM)
    ]
    return all(of_settings) if of_settings else None


def groups(circumstances: Circumstances) -> bool | None:
    """Return whether the groups of look-alikes were found again; None if the run's split holds none on one side."""
    found = circumstances.start and circumstances.bitwise
    return found if circumstances.run.config.group == LOOK_ALIKES else None


def of_open(
    what: str,
    shown_by: str = "",
    left: Callable[[list[int], int], list[int]] = lambda epochs, _best: epochs,
    applies: Callable[[Circumstances], bool] = lambda _: True,
) -> Statement:
    """Return a statement about epochs that were not trained again; it applies if a setting has any.

    The settings and epochs are named where a replay has trained some of the run's epochs again.

    Args:
        what: the words without them.
        shown_by: what would confirm it.
        left: returns which of a setting's epochs it is about, given all of them and the best one.
        applies: whether it is about a run at all.
    """

    def words(each: Circumstances) -> list[str]:
        run, config, again = each.run, each.run.config, each.replayed
        best = {name: best_epoch(rows, config.select)["epoch"] for name, rows in run.histories.items()}
        trained = [setting.name for setting in config.settings if not config.fits_head(setting)]
        epochs = {name: [n for n in range(1, config.epochs + 1) if n not in again.get(name, ())] for name in trained}
        named = describe_epochs(each, {name: left(listed, best[name]) for name, listed in epochs.items()})
        of = f" ({'; '.join(named)})" if again else ""
        return [f"{what}{of}"] if named and applies(each) else []

    return Statement(what, words, shown_by)


def without_best(epochs: list[int], best: int) -> list[int]:
    """Return the epochs other than the best one."""
    return [epoch for epoch in epochs if epoch != best]


def describe_epochs(circumstances: Circumstances, epochs: Epochs) -> list[str]:
    """Return the words for the epochs of each setting that has any."""
    named = {name: f", epoch {', '.join(map(str, sorted(each)))}" for name, each in epochs.items() if each}
    every = circumstances.run.config.epochs
    return [f"setting {name}{of if len(epochs[name]) < every else ''}" for name, of in named.items()]


def has_test_losses(circumstances: Circumstances) -> bool:
    """Return whether the run's protocol scores the test images after each epoch."""
    return circumstances.run.config.protocol.scores_test_each_epoch


CHECKS = {
    "changed files": Check(
        "every file, `manifest.json` | the sha256 that the manifest names; the bytes that a run writes for such a "
        "manifest",
        lambda evidence: folder.altered_files(evidence.files),
    ),
    "listed files": Check(
        "`manifest.json` | the files that a run of this configuration has, each with a line",
        _of_run(folder.wrong_in_manifest),
    ),
    "memory": Check("`config.json` | what this machine can hold", _memory_differences, needed=True),
    "form of files": Check(
        "JSON files, `scores.npz` | the bytes that a run writes for their content; an archive without a comment",
        _of_run(files.form_differences),
    ),
    "split": Check(
        "`split.csv` | the split that seed and sizes draw from its images, byte for byte",
        images.split_differences,
        [Statement("the split from the images and the seed")],
    ),
    "fingerprint": Check(
        "`fingerprint.json` | the arithmetic of this process, its own probe, and initial weights drawn from the "
        "seed or read",
        files.fingerprint_differences,
        [
            Statement(DRAWN, lambda each: [f"the initial weights from {each.weights}"] * each.start),
            Statement("images per second, processor, device, threads, libraries and source", shown_by=NOT_SHOWN),
            Statement("what the code of MODULE:FUNCTION computes; its code is not in the run", _own_code, NOT_SHOWN),
            Statement("that training began from weights that are unavailable", began_elsewhere, ELSEWHERE),
        ],
    ),
    "preset": Check(
        "`config.json` | the presets by name; what differs from the preset is a note",
        _of_run(files.preset_findings),
        [
            Statement("that no setting, no seed and no other run was left out", shown_by=NOT_SHOWN),
            Statement(WITHOUT_EFFECT, shown_by=NOT_SHOWN),
            Statement(WITHOUT_EPOCHS, lambda each: all(each.fitted), NOT_SHOWN),
        ],
    ),
    "drawn scenes": Check(
        "`split.csv` | the scenes that are drawn now, where the images are drawn ones",
        images.scene_differences,
        needed=True,
    ),
    "images": Check(
        "`split.csv` | every image's sha256 now, and the images that are in its folder",
        images.image_differences,
        # The check itself yields it, of images in a folder.
        [Statement(images.ENDS, lambda _: False, NOT_SHOWN)],
    ),
    "look-alikes": Check(
        "`groups.json` | the groups that features of the initial weights give, where bits must be equal",
        images.group_differences,
        [
            Statement(GROUPS, lambda each: groups(each) is True),
            Statement(GROUPS, lambda each: groups(each) is False, ELSEWHERE),
        ],
    ),
    "pixels": Check(
        "`fingerprint.json`, `pixels.json` | the decoded pixels of test and validation images",
        images.decoded_differences,
        [Statement(TRAINING_PIXELS, _training_pixels, REPLAY)],
    ),
    "weights": Check(
        "`SETTING/best.safetensors` | the metadata, names and types that a run writes",
        of_each_setting(files.weights_differences),
    ),
    "test scores": Check(
        "`scores.npz` | the softmax of the selected network on the test images",
        of_each_setting(records.saved_score_differences, selected=True),
        [
            Statement("every test score"),
            # The check itself finds which average precisions these are.
            Statement("average precisions that close scores leave open", lambda _: False, IN_CLASS),
        ],
    ),
    "metrics": Check(
        "`metrics.json` | every value, from these scores, the histories and the split",
        of_each_setting(records.metrics_differences, selected=True),
        [Statement(TEST_METRICS, _metrics)],
    ),
    "best epochs": Check(
        "`SETTING/history.json`, `SETTING/tensors.json` | the row and the hashes of the best epoch, from `SETTING/"
        "best.safetensors` and the validation images; the row's test loss, if it has one, from the test images",
        of_each_setting(records.best_epoch_differences),
        [
            Statement("the validation metrics and tensor hashes of each setting's best epoch"),
            Statement("the test loss of each setting's best epoch", has_test_losses),
            Statement("the selection", _selection),
            Statement("the training of the epochs that `--replay` trains again", trained_again),
            *(of_open(what, REPLAY) for what in OF_EPOCHS),
            of_open(OF_ROWS, REPLAY, without_best),
            of_open(START, REPLAY, lambda epochs, _best: epochs if 1 in epochs else []),
            of_open(TEST_LOSSES, REPLAY, without_best, has_test_losses),
            Statement("up to format 6: a value of a setting that its optimizer does not use", _unused, NOT_SHOWN),
        ],
    ),
    "head fits": Check(
        "a fitted head | the same fit made again: the bits, else the slope of its loss and its scores on every part",
        of_each_setting(heads.fit_differences),
        [
            Statement("every fit of the head, and that nothing else has moved", fits),
            Statement(BODIES, lambda each: any(each.fitted) and not each.bodies_compared, ELSEWHERE),
            Statement(FITS, lambda each: any(each.fitted) and not each.fits_repeat, NOT_SHOWN),
        ],
    ),
    "frozen layers": Check(
        "`SETTING/best.safetensors` | the weights from which a setting began, before the layer from which it "
        "trains, where they are available",
        of_each_setting(heads.frozen_differences),
        [
            Statement(FROZEN, lambda each: frozen(each) is True),
            Statement(FROZEN, lambda each: frozen(each) is False, ELSEWHERE),
        ],
    ),
    "feature maps": Check(
        "`features.json` | every value, on each image set that is available",
        of_each_setting(lambda selected: features.feature_differences(selected.evidence), selected=True),
        [
            Statement("the feature maps", feature_maps),
            Statement(BEFORE_TRAINING, lambda each: each.measured and not each.start, ELSEWHERE),
            Statement("the feature maps of an image set whose folder is unavailable", absent_sets, ELSEWHERE),
        ],
    ),
}
