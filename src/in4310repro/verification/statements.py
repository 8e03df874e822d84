"""Wording of the statements about a run that `verify` confirms, and of those that it leaves as claims."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from in4310repro.models.network import FROM
from in4310repro.runs.selection import best_epoch
from in4310repro.runs.settings import LOOK_ALIKES
from in4310repro.verification.check import Circumstances, Statement
from in4310repro.verification.heads import LOSS_TOLERANCE, SOFTMAX_PER_STRENGTH, SOFTMAX_TOLERANCE

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
TRAINING_PIXELS = "hashes of the pixels of training images"
WITHIN_TOLERANCES = (
    f"losses within {LOSS_TOLERANCE:g}, scores within {SOFTMAX_PER_STRENGTH:g} times the strength and "
    f"{SOFTMAX_TOLERANCE:g}, metrics as far as these leave them open"
)
Epochs = Mapping[str, Collection[int]]  # of each setting


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


def of_open(what: str, left: Callable[[Circumstances], Epochs], shown_by: str = "") -> Statement:
    """Return a statement about the epochs that `left` gives for each setting; without any it does not apply.

    The settings and epochs are named where a replay has trained some of the run's epochs again.
    """

    def words(circumstances: Circumstances) -> list[str]:
        epochs = describe_epochs(circumstances, left(circumstances))
        of = f" ({'; '.join(epochs)})" if circumstances.replayed else ""
        return [f"{what}{of}"] if epochs else []

    return Statement(what, words, shown_by)


def describe_epochs(circumstances: Circumstances, epochs: Epochs) -> list[str]:
    """Return the words for the epochs of each setting that has any."""
    named = {name: f", epoch {', '.join(map(str, sorted(each)))}" for name, each in epochs.items() if each}
    every = circumstances.run.config.epochs
    return [f"setting {name}{of if len(epochs[name]) < every else ''}" for name, of in named.items()]


def open_epochs(circumstances: Circumstances) -> dict[str, list[int]]:
    """Return for each setting that is trained by epochs those that were not trained again."""
    training, again = circumstances.run.config, circumstances.replayed
    return {
        setting.name: [epoch for epoch in range(1, training.epochs + 1) if epoch not in again.get(setting.name, ())]
        for setting in training.settings
        if not training.fits_head(setting)
    }


def open_starts(circumstances: Circumstances) -> Epochs:
    """Return these epochs of each setting whose first one is among them."""
    return {name: epochs for name, epochs in open_epochs(circumstances).items() if 1 in epochs}


def open_rows(circumstances: Circumstances) -> Epochs:
    """Return for each setting the epochs that were not trained again, without its best one."""
    run = circumstances.run
    best = {name: best_epoch(rows, run.config.select)["epoch"] for name, rows in run.histories.items()}
    return {name: [n for n in epochs if n != best[name]] for name, epochs in open_epochs(circumstances).items()}


def has_test_losses(circumstances: Circumstances) -> bool:
    """Return whether the run's protocol scores the test images after each epoch."""
    return circumstances.run.config.protocol.scores_test_each_epoch
