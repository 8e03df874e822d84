"""Wording of the statements about a run that `verify` confirms, and of those that it leaves as claims."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from in4310repro.metrics.table import SCALARS
from in4310repro.runs.selection import best_epoch
from in4310repro.runs.settings import LOOK_ALIKES, unused_values
from in4310repro.verification.check import IN_CLASS, Circumstances, Statement
from in4310repro.verification.heads import LOSS_TOLERANCE, SOFTMAX_PER_STRENGTH, SOFTMAX_TOLERANCE
from in4310repro.verification.images import decodes_training

WITHOUT_EFFECT = (
    "format, preset, device, numerics, precision, evaluation_batch_size, checkpoint_steps and folders in config.json, "
    "and precision in features.json, where no result depends on them"
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


def where(applies: Callable[[Circumstances], bool], what: str) -> Statement:
    """Return a statement that applies to the runs for which `applies` returns True."""
    return Statement(what, lambda circumstances: [what] if applies(circumstances) else [])


def initial_weights(circumstances: Circumstances) -> list[str]:
    """Return the words for initial weights that were drawn or read again."""
    return [f"the initial weights from {circumstances.weights}"] if circumstances.start else []


def metrics(circumstances: Circumstances) -> list[str]:
    """Return the words for test metrics that were computed again."""
    still_open = ", average precisions as far as close scores allow" if circumstances.finds(IN_CLASS) else ""
    return [f"{TEST_METRICS}{still_open}"]


def selection(circumstances: Circumstances) -> list[str]:
    """Return the words for the selection of setting and epoch."""
    return [f"the selection by {SCALARS[circumstances.run.config.select].label} on validation"]


def fits(circumstances: Circumstances) -> list[str]:
    """Return the words for heads that were fitted again, and for what precedes them where it was compared."""
    tier = "to the bit" if circumstances.fits_repeat else WITHIN_TOLERANCES
    moved = ", and that nothing else has moved" if circumstances.bodies_compared else ""
    return [f"every fit of the head ({tier}){moved}"] if any(circumstances.fitted) else []


def bodies(circumstances: Circumstances) -> list[str]:
    """Return the claim about what precedes fitted heads, where it could not be compared."""
    claim = "that nothing but the heads that were fitted has moved"
    return [] if circumstances.bodies_compared or not any(circumstances.fitted) else [claim]


def frozen_claims(circumstances: Circumstances) -> list[str]:
    """Return the claim about frozen layers, where the weights from which a setting began are unavailable."""
    training = circumstances.run.config
    unknown = any(not circumstances.start and not training.setting_before(each) for each in circumstances.from_a_layer)
    return [FROZEN] if unknown else []


def frozen(circumstances: Circumstances) -> bool:
    """Return whether the frozen layers of all settings that have any were compared."""
    return bool(circumstances.from_a_layer) and not frozen_claims(circumstances)


def groups(circumstances: Circumstances) -> bool:
    """Return whether the run's split holds look-alikes on one side."""
    return circumstances.run.config.group == LOOK_ALIKES


def of_open(what: str, left: Callable[[Circumstances], Mapping[str, Collection[int]]]) -> Statement:
    """Return a statement about the epochs that `left` gives for each setting; without any it does not apply.

    The settings and epochs are named where a replay has trained some of the run's epochs again.
    """

    def words(circumstances: Circumstances) -> list[str]:
        epochs = {name: each for name, each in left(circumstances).items() if each}
        of = f" ({'; '.join(describe_epochs(circumstances, *each) for each in epochs.items())})"
        return [f"{what}{of if circumstances.replayed else ''}"] if epochs else []

    return Statement(what, words)


def describe_epochs(circumstances: Circumstances, setting: str, epochs: Collection[int]) -> str:
    """Return the words for epochs of a setting."""
    every = len(epochs) == circumstances.run.config.epochs
    return f"setting {setting}" if every else f"setting {setting}, epoch {', '.join(map(str, sorted(epochs)))}"


def open_epochs(circumstances: Circumstances) -> Mapping[str, list[int]]:
    """Return for each setting the epochs that were not trained again."""
    return circumstances.open_epochs


def open_starts(circumstances: Circumstances) -> Mapping[str, list[int]]:
    """Return these epochs of each setting whose first one is among them."""
    return {name: epochs if 1 in epochs else [] for name, epochs in circumstances.open_epochs.items()}


def open_rows(circumstances: Circumstances) -> Mapping[str, list[int]]:
    """Return for each setting the epochs that were not trained again, without its best one."""
    run = circumstances.run
    return {
        name: [epoch for epoch in epochs if epoch != best_epoch(run.histories[name], run.config.select)["epoch"]]
        for name, epochs in circumstances.open_epochs.items()
    }


def open_test_losses(circumstances: Circumstances) -> Mapping[str, list[int]]:
    """Return the same, for a protocol that scores the test images after each epoch."""
    return open_rows(circumstances) if has_test_losses(circumstances) else {}


def trained_again(circumstances: Circumstances) -> list[str]:
    """Return the words for the epochs that a replay trained again."""
    again = {name: epochs for name, epochs in circumstances.replayed.items() if epochs}
    return [f"the training of {describe_epochs(circumstances, *each)}" for each in again.items()]


def has_test_losses(circumstances: Circumstances) -> bool:
    """Return whether the run's protocol scores the test images after each epoch."""
    return circumstances.run.config.protocol.scores_test_each_epoch


def training_pixels(circumstances: Circumstances) -> list[str]:
    """Return the claim about the pixels of training images, where they were not decoded again."""
    decoded = decodes_training(circumstances.run) or any(circumstances.replayed.values())
    return [] if decoded or not circumstances.run.fingerprint.get("pixels_sha256") else [TRAINING_PIXELS]


def own_code(circumstances: Circumstances) -> list[str]:
    """Return the claim about the code of the user's own network."""
    network = circumstances.run.config.network
    return [f"what the code of {network.name} computes; its code is not in the run"] if network.option else []


def unused(circumstances: Circumstances) -> list[str]:
    """Return the claims about values of settings that their optimizers do not use."""
    return [
        f"{name} {getattr(setting, name):g} of setting {setting.name}, which {setting.optimizer} does not use"
        for setting in circumstances.run.config.settings
        for name in unused_values(setting)
    ]


def feature_maps(circumstances: Circumstances) -> list[str]:
    """Return the words for feature maps that were measured again."""
    measured = circumstances.start and circumstances.run.features is not None
    return [f"the feature maps{circumstances.feature_tier}"] if measured else []


def absent_sets(circumstances: Circumstances) -> list[str]:
    """Return the claims about feature maps of image sets that are unavailable."""
    absent = circumstances.absent if circumstances.start else ()
    return [f"the feature maps of {name}, whose folder is unavailable" for name in absent]
