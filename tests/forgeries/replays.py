"""Forgeries that only `verify --replay` detects, on a run with kept epochs or by training from the first epoch."""

from __future__ import annotations

from typing import Any

import torch

from in4310repro import models
from in4310repro.data.images import load_images
from in4310repro.runs import chain, names
from in4310repro.system.context import Context
from in4310repro.system.tensors import tensor_bytes, tensors_sha256
from in4310repro.training import checkpoints
from in4310repro.training.checkpoints import Position
from in4310repro.training.training import Epochs, TrainingInputs
from tests.forgeries.changes import put, sealed
from tests.forgeries.forger import SELECTED, Forger, files_of, make_worst
from tests.forgeries.measured import say_native
from tests.forgeries.row import Forge, forgeries_of
from tests.forgeries.settings import CONFIG, FINGERPRINT
from tests.forgeries.weights import BEST, changed, count_a_batch, double, of_seed_1, trained_on_test

HISTORY, TENSORS = files_of(SELECTED)
SPLICED = 4  # an epoch between the first and the last, and not the selected one


def kept_name(epoch: int) -> str:
    return names.kept_epoch(SELECTED, epoch)


def row_of(epoch: int, key: str, value: object) -> Forge:
    return put(HISTORY, f"{epoch - 1}/{key}", value)


def an_epoch_more(forger: Forger) -> None:
    """Add a last epoch that was never trained and is worse than the best."""
    rows, entries = forger.json(HISTORY), forger.json(TENSORS)
    more = {"epoch": len(rows) + 1}
    forger.put(CONFIG, "epochs", len(rows) + 1)
    forger.write_json(HISTORY, [*rows, rows[0] | more])
    forger.write_json(TENSORS, [*entries, entries[0] | more])


def an_epoch_less(forger: Forger) -> None:
    """Remove the last epoch; if it was the best, use the weights of the best remaining epoch."""
    for name in (HISTORY, TENSORS):
        forger.write_json(name, forger.json(name)[:-1])
    forger.put(CONFIG, "epochs", len(forger.json(HISTORY)))
    best = max(forger.json(HISTORY), key=lambda row: row["mean_class_accuracy"])["epoch"]
    forger.write_weights(SELECTED, checkpoints.read_kept_epoch(forger.run / kept_name(best))[0])
    forger.rescore()
    forger.refeature()
    forger.finish()


def other_best_epoch(forger: Forger) -> None:
    """Use the weights of an epoch that was not the best, and set the accuracies of all other epochs to 0."""
    rows = forger.json(HISTORY)
    for row in rows:
        if row["epoch"] != SPLICED:
            make_worst(row)
    forger.write_json(HISTORY, rows)
    weights, _state = checkpoints.read_kept_epoch(forger.run / kept_name(SPLICED))
    forger.write_weights(SELECTED, weights)
    forger.rescore()
    forger.refeature()
    forger.finish()


def better(weights: dict[str, torch.Tensor]) -> None:
    """Scale the last layer's weight by 1.001, in place."""
    weights["fc.weight"] *= 1.001


def kept_alone(forger: Forger) -> None:
    """Change a kept state without updating the hash chain."""
    weights, state = checkpoints.read_kept_epoch(forger.run / kept_name(SPLICED))
    better(weights)
    write_kept(forger, SPLICED, weights, state)


def kept_and_its_entry(forger: Forger) -> None:
    """Change a kept state and its entry in the hash chain, but not the later epochs."""
    weights, state = checkpoints.read_kept_epoch(forger.run / kept_name(SPLICED))
    weights = forger.ordered(SELECTED, weights)
    better(weights)
    write_kept(forger, SPLICED, weights, state)
    entries, rows = forger.json(TENSORS), forger.json(HISTORY)
    entries[SPLICED - 1] = chain.entry(SPLICED, "", weights, state)
    rows[SPLICED - 1]["weights_sha256"] = tensors_sha256(weights)
    forger.write_json(TENSORS, entries)
    forger.write_json(HISTORY, rows)


def spliced(forger: Forger) -> None:
    """Change a kept state and continue the training from it, so that only one epoch is false."""
    kept_and_its_entry(forger)
    weights, state = checkpoints.read_kept_epoch(forger.run / kept_name(SPLICED))
    entries, rows = forger.json(TENSORS), forger.json(HISTORY)
    training = Epochs(inputs(forger, weights))
    checkpoints.load_into(weights, state, training.model, training.optimizer, "the splice")
    best = max(rows[:SPLICED], key=lambda row: row["mean_class_accuracy"])
    for epoch in range(SPLICED + 1, len(rows) + 1):
        training.position = Position(epoch=epoch - 1)
        row: dict[str, Any] = dict(training.validate(*training.train(lambda: None)))
        after, optimizer = training.model.state_dict(), checkpoints.optimizer_tensors(training.optimizer)
        entries[epoch - 1], rows[epoch - 1] = chain.entry(epoch, "", after, optimizer), row
        if epoch < len(rows):
            write_kept(forger, epoch, after, optimizer)
        if row["mean_class_accuracy"] > best["mean_class_accuracy"]:
            best = row
            forger.write_weights(SELECTED, after)
    forger.write_json(TENSORS, entries)
    forger.write_json(HISTORY, rows)
    forger.rescore()
    forger.refeature()
    forger.finish()


def inputs(forger: Forger, weights: dict[str, torch.Tensor]) -> TrainingInputs:
    config, split = forger.config(), forger.split()
    training, validation = (
        load_images(part, split.root, split.parts[part], config.image_size) for part in ("training", "validation")
    )
    return TrainingInputs(
        model=config.network.restore(len(split.classes), weights, "the splice"),
        training=training,
        validation=validation,
        config=config,
        setting=config.settings[0],
        context=Context(forger.numerics),
    )


def write_kept(forger: Forger, epoch: int, weights: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    tensors = {f"{checkpoints.OF_MODEL}{name}": value for name, value in weights.items()}
    tensors |= {f"{checkpoints.OF_OPTIMIZER}{name}": value for name, value in state.items()}
    forger.write(kept_name(epoch), tensor_bytes(tensors))


def as_double(forger: Forger) -> None:
    """Convert the weights to float64 without changing their values or the feature maps."""
    changed(SELECTED, double)(forger)
    forger.revalidate(SELECTED)
    forger.rescore()
    forger.finish()


def without_kept(forger: Forger) -> None:
    of_seed_1(forger)
    for file in (forger.run / SELECTED / names.KEPT_EPOCHS).iterdir():
        file.unlink()


def elsewhere(forger: Forger) -> None:
    """Take the weights of another seed, and claim native arithmetic, which other machines cannot repeat bit by bit."""
    say_native(forger)
    of_seed_1(forger)


def from_scratch(forger: Forger) -> None:
    """Claim that a run started from random weights, although it started from trained ones."""
    forger.put(CONFIG, "weights", "none")
    config = forger.config()
    drawn = models.build(config.model, len(forger.split().classes), config.seed).state_dict()
    forger.put(FINGERPRINT, "initial_weights_sha256", tensors_sha256(drawn))


def corrected(forger: Forger) -> None:
    """Claim that a run with the deviation warm-start has no deviations from the assignment."""
    forger.put(CONFIG, "protocol", [])
    for last in forger.run.glob(f"*/{names.LAST_WEIGHTS}"):
        last.unlink()


AGAIN = "trained again"
row = forgeries_of("what only a replay shows", start="kept", by="replay", replay="--replay 0")
ROWS = [
    row("learning rate", put(CONFIG, "settings/0/learning_rate", 0.1), AGAIN),
    row("optimizer", put(CONFIG, "settings/0/optimizer", "AdamW"), AGAIN),
    row("weight decay", put(CONFIG, "settings/0/weight_decay", 0.5), AGAIN),
    row("batch size", put(CONFIG, "batch_size", 24), AGAIN),
    row("augmentation", put(CONFIG, "augmentation", "none"), AGAIN),
    row("schedule", put(CONFIG, "schedule", "constant"), AGAIN),
    row("warm-up", put(CONFIG, "warm_up", 0.4), AGAIN),
    row("training loss of the last epoch", row_of(5, "train_loss", 0.01), "train_loss"),
    row("validation loss of the first epoch", row_of(1, "val_loss", 0.01), "val_loss"),
    row("an epoch more, never trained", sealed(an_epoch_more), AGAIN),
    row("an epoch less", an_epoch_less, AGAIN),
    row("an epoch that was not the best on validation, its betters made worse", other_best_epoch, AGAIN),
    row("a count of batches, everything computed anew", changed(SELECTED, count_a_batch, fit=True), AGAIN),
    row("weights of float64, everything computed anew", as_double, BEST, by="verify"),
    row("weights of a run of another seed, everything computed anew", of_seed_1, AGAIN),
    row("a last layer fitted to the test images, everything computed anew", trained_on_test, AGAIN),
    row("the same weights of another seed, no epoch kept", without_kept, "keep-epochs"),
    row(
        "the same weights of another seed, in native arithmetic by its own words",
        elsewhere,
        "no epoch is trained again",
    ),
    row("trained weights as a start, called drawn", sealed(from_scratch), "epoch 1, trained again", start="pretrained"),
    row("a kept state, the chain as it was", kept_alone, "commits to"),
    row("a kept state and its entry in the chain", sealed(kept_and_its_entry), AGAIN),
    row(
        "one epoch spliced, the chain rewritten, and drawn",
        spliced,
        f"epoch {SPLICED}, trained again",
        replay="--replay 1 --draw 5",
    ),
    row(
        "one epoch spliced, the chain rewritten, not drawn",
        spliced,
        by="nothing",
        replay="--replay 1 --draw 3",
        shown_by="more draws: of N other epochs of which m are false, K find one with 1 - C(N-m, K) / C(N, K)",
    ),
    row("a warm start relabelled `corrected`", sealed(corrected), "epoch 1, trained again", start="warm"),
]
