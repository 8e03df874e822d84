"""Forgeries of a fitted head, and of the record of which layers a setting (one optimizer's training) trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from in4310repro.data.images import ImageSet, load_images
from in4310repro.evaluation.embedding import embed
from in4310repro.runs import chain
from in4310repro.runs.selection import best_epoch
from in4310repro.runs.settings import STRENGTHS
from in4310repro.system.context import Context
from in4310repro.training import head
from in4310repro.training.training import TrainingInputs
from tests.forgeries.changes import METRICS, edit, put, sealed
from tests.forgeries.forger import Forger, make_worst
from tests.forgeries.row import RERUN, Forge, forgeries_of
from tests.forgeries.weights import State, changed, low_bit

HEAD = "head"
HISTORY, BEST = f"{HEAD}/history.json", f"{HEAD}/best.safetensors"


def inputs_of(forger: Forger, part: str) -> TrainingInputs:
    """Return the inputs of a fit to a part of the images (training, validation or test), with the current weights."""
    config, split, state = forger.config(), forger.split(), forger.weights(HEAD)

    def images(name: str) -> ImageSet:
        return load_images(name, split.root, split.parts[name], config.image_size, cache=False)

    return TrainingInputs(
        model=forger.numerics.place(config.network.restore(len(split.classes), state, BEST)),
        training=images(part),
        validation=images("validation"),
        config=config,
        setting=config.setting(HEAD),
        context=Context(forger.numerics),
    )


def state_of(model: torch.nn.Module) -> State:
    return {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}


def fitted(forger: Forger, part: str, strength: float) -> State:
    """Return the weights with the last layer fitted to a part of the images (training, validation or test)."""
    inputs = inputs_of(forger, part)
    head.fit_row(inputs, head.features_of(inputs, cache=False), 1, strength)
    return state_of(inputs.model)


def fit_all_anew(forger: Forger) -> None:
    """Fit the head of each strength to the current body, as a training does, and score the best one."""
    inputs = inputs_of(forger, "training")
    features, rows, entries, states = head.features_of(inputs, cache=False), [], [], []
    for epoch, strength in enumerate(STRENGTHS, start=1):
        rows.append(head.fit_row(inputs, features, epoch, strength))
        states.append(state_of(inputs.model))
        entries.append(chain.entry(epoch, "", states[-1], {}))
    forger.write_json(HISTORY, rows)
    forger.write_json(f"{HEAD}/tensors.json", entries)
    forger.write_weights(HEAD, states[best_epoch(rows, "mean_class_accuracy")["epoch"] - 1])
    forger.rescore()


def of_test_images(forger: Forger) -> None:
    """Fit the head to the test images, and recompute everything that depends on the head."""
    forger.write_weights(HEAD, fitted(forger, "test", STRENGTHS[-1]))
    forger.make_fit(HEAD)


def another_strength(forger: Forger) -> None:
    """Use the head of a non-selected penalty strength, and set the accuracies of all other strengths to 0."""
    history = forger.json(HISTORY)
    best = best_epoch(history, "mean_class_accuracy")["epoch"]
    other = next(row for row in reversed(history) if row["epoch"] != best)
    forger.write_weights(HEAD, fitted(forger, "training", other["strength"]))
    for row in history:
        if row is not other:
            make_worst(row)
    # So that it is found as the best.
    other["mean_class_accuracy"] = 1.0
    forger.write_json(HISTORY, history)
    forger.make_fit(HEAD)


def features_of(forger: Forger, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the inputs of the last layer in float64, and the labels, for the images of a part of the split."""
    config, split, state = forger.config(), forger.split(), forger.weights(HEAD)
    images = load_images(part, split.root, split.parts[part], config.image_size, cache=False)
    model = forger.numerics.place(config.network.restore(len(split.classes), state, BEST))
    rows = embed(model, config, images, Context(forger.numerics), cache=False).take(range(len(images)))
    return torch.from_numpy(rows).double(), torch.from_numpy(images.labels)


def moved_unseen_by(*parts: str, share: float = 1.0) -> Forge:
    """Return a forgery of the last layer that makes test images correct and keeps the scores of `parts`.

    Args:
        parts: training, validation or test; their scores stay unchanged.
        share: fraction of the change to apply.
    """

    def forge(forger: Forger) -> None:
        state = forger.weights(HEAD)
        test, labels = features_of(forger, "test")
        seen = torch.cat([features_of(forger, part)[0] for part in parts])
        _, sizes, directions = torch.linalg.svd(seen)
        unseen = directions[int((sizes > 1e-9 * sizes[0]).sum()) :].T
        wanted = 10.0 * torch.nn.functional.one_hot(labels, 6) - test @ state["fc.weight"].double().T
        change = unseen @ torch.linalg.lstsq(test @ unseen, wanted, driver="gelsd").solution
        state["fc.weight"] += share * change.T.float()
        forger.write_weights(HEAD, state)
        before = forger.json(HISTORY)
        forger.make_fit(HEAD)
        # The other fits as they were: the saved head stays the first with the highest accuracy.
        best = best_epoch(before, "mean_class_accuracy")["epoch"]
        forger.write_json(HISTORY, [*before[: best - 1], forger.json(HISTORY)[best - 1], *before[best:]])
        forger.finish()

    return forge


def of_strength(place: int, change: Callable[[dict[str, Any]], object]) -> Forge:
    return edit(HISTORY, lambda rows: change(rows[place]))


def without_strength(row: dict[str, Any]) -> None:
    del row["strength"]


def exchanged(rows: list[dict[str, Any]]) -> None:
    rows[0]["strength"], rows[1]["strength"] = rows[1]["strength"], rows[0]["strength"]


def chosen(forger: Forger) -> None:
    """Set the recorded accuracy of a non-selected penalty strength to 1, and select this strength in the metrics."""
    history = forger.json(HISTORY)
    other = 1 if best_epoch(history, "mean_class_accuracy")["epoch"] != 1 else 2
    row = history[other - 1]
    row["class_accuracy"] = [1.0] * len(row["class_accuracy"])
    row["mean_class_accuracy"] = 1.0
    forger.write_json(HISTORY, history)
    forger.put(METRICS, "epoch", other)
    forger.put(METRICS, "validation_mean_class_accuracy", 1.0)
    forger.put(METRICS, "weights_sha256", row["weights_sha256"])


def worst(rows: list[dict[str, Any]]) -> None:
    """Set the accuracies of the second-best fit to 0."""
    best = best_epoch(rows, "mean_class_accuracy")["epoch"]  # type: ignore[arg-type]
    make_worst(max((row for row in rows if row["epoch"] != best), key=lambda row: row["mean_class_accuracy"]))


def trebled(state: State) -> None:
    state["fc.weight"] *= 3


def moved_body(state: State) -> None:
    state["layer1.0.conv1.weight"].view(torch.int32)[0, 0, 0, 0] ^= 1


row = forgeries_of("heads", start=HEAD)
ROWS = [
    row("a strength that was not tried", of_strength(0, lambda row: row.update(strength=0.002)), HISTORY, "strength"),
    row("a strength left out", of_strength(0, without_strength), HISTORY, "strength"),
    row("two strengths exchanged", edit(HISTORY, exchanged), HISTORY, "strength"),
    row("a fit left out", edit(HISTORY, lambda rows: rows[:-1]), HISTORY),
    row("another strength said to be chosen, the metrics name it", sealed(chosen), HISTORY),
    row("the head of another strength, the others said to be worse, all computed anew", another_strength, HISTORY),
    row("a fit that was not chosen said to be worse", edit(HISTORY, worst), HISTORY, "mean_class_accuracy"),
    row("training loss of a fit", of_strength(1, lambda row: row.update(train_loss=0.01)), HISTORY, "train_loss"),
    row("validation loss of a fit", of_strength(0, lambda row: row.update(val_loss=0.01)), HISTORY, "val_loss"),
    row(
        "images per second of a fit",
        of_strength(0, lambda row: row.update(images_per_second=9e9)),
        "claimed",
        by="nothing",
        shown_by=RERUN,
    ),
    row(
        "hash of a fit that is not the best",
        of_strength(-1, lambda row: row.update(weights_sha256="0" * 64)),
        "weights_sha256",
    ),
    row("a head trebled, everything computed anew", changed(HEAD, trebled, fit=True), BEST, "made again"),
    row("a head fitted to the test images, everything computed anew", of_test_images, "made again"),
    row(
        "a head moved where no validation image looks: every test image is right, everything computed anew",
        moved_unseen_by("validation"),
        "minimum of its penalised loss",
    ),
    row(
        "a head moved where no training or validation image looks: every test image is right, everything computed anew",
        moved_unseen_by("training", "validation"),
        "scores of test images",
    ),
    row(
        "a head moved where no training or validation image looks, by a hundredth of that",
        moved_unseen_by("training", "validation", share=0.01),
        "minimum of its penalised loss",
    ),
    row(
        "a head moved where no training or validation image looks, by no more than another processor's",
        moved_unseen_by("training", "validation", share=1e-6),
        "the head fitted again has other bits",
        by="nothing",
        shown_by="`verify` on a processor like the one that fitted it, where bits are equal; elsewhere it prints what "
        "the head that was fitted again measures",
    ),
    row("one bit of the head", changed(HEAD, low_bit), "weights"),
    row("one bit of the body, everything computed anew", changed(HEAD, moved_body, fit=True), BEST, "before training"),
    row("an optimizer for the fit", put("config.json", "settings/0/optimizer", "SGD"), "L-BFGS"),
    row("everything said to be trained", put("config.json", "train", "all"), "L-BFGS"),
    row("a learning rate of the head", put("config.json", "settings/0/head_learning_rate", 0.1), "head_learning_rate"),
]

row = forgeries_of("what is trained")
ROWS += [
    row("a strength in a history of epochs", put("adamw/history.json", "0/strength", 0.1), "strength"),
    row("a head said to be fitted", put("config.json", "train", HEAD), "L-BFGS"),
    row("only the last layers said to be trained", put("config.json", "train", "from:layer4"), "before training"),
    row(
        "another learning rate said to be the head's",
        put("config.json", "settings/0/head_learning_rate", 0.1),
        "claimed",
        by="nothing",
        shown_by=RERUN,
    ),
]
