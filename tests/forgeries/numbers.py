"""Forgeries of numbers in metrics and histories."""

from __future__ import annotations

import math
from typing import Any

from tests.forgeries.changes import METRICS, edit, put, sealed, swap
from tests.forgeries.forger import LAST, SELECTED, Forger
from tests.forgeries.row import RERUN, Forge, forgeries_of

HISTORY = f"{SELECTED}/history.json"


def perfect(record: dict[str, Any]) -> None:
    for key in ("class_accuracy", "average_precision"):
        record[key] = [0.99] * len(record[key])
    record["mean_class_accuracy"] = record["mean_average_precision"] = 0.99


def one_precision(metrics: dict[str, Any]) -> None:
    metrics["average_precision"][3] = 0.9
    metrics["mean_average_precision"] = math.fsum(metrics["average_precision"]) / len(metrics["average_precision"])


def last_bit(metrics: dict[str, Any]) -> None:
    metrics["mean_average_precision"] = math.nextafter(metrics["mean_average_precision"], 1)


def minus_zero(metrics: dict[str, Any]) -> None:
    metrics["class_accuracy"] = [value or -0.0 for value in metrics["class_accuracy"]]


def reverse(metrics: dict[str, Any]) -> None:
    for key in ("classes", "class_accuracy", "average_precision"):
        metrics[key].reverse()


def unseen(metrics: dict[str, Any]) -> None:
    record: dict[str, Any] = {key: metrics[key] for key in ("class_accuracy", "average_precision")}
    perfect(record)
    metrics["unseen"] = record | {"images": 36, "loss": 0.01}


def twice(forger: Forger) -> None:
    """Write one key twice in metrics.json: some parsers take the first value, others the last."""
    value = forger.json(METRICS)["mean_class_accuracy"]
    forger.replace(
        METRICS, f'"mean_class_accuracy": {value}', f'"mean_class_accuracy": 0.99,\n "mean_class_accuracy": {value}'
    )


def best_row(*changes: tuple[str, object]) -> Forge:
    """Change the history's best row, and the metrics that repeat its values."""

    def forge(forger: Forger) -> None:
        history, metrics = forger.json(HISTORY), forger.json(METRICS)
        row = history[metrics["epoch"] - 1]
        for key, value in changes:
            row[key] = value
        metrics["validation_mean_class_accuracy"] = row["mean_class_accuracy"]
        metrics["weights_sha256"] = row["weights_sha256"]
        forger.write_json(HISTORY, history)
        forger.write_json(METRICS, metrics)

    return sealed(forge)


def perfect_history(forger: Forger) -> None:
    rows = forger.json(HISTORY)
    for row in rows:
        perfect(row)
    forger.write_json(HISTORY, rows)
    forger.put(METRICS, "validation_mean_class_accuracy", 0.99)
    forger.put(METRICS, "epoch", 1)
    forger.put(METRICS, "weights_sha256", rows[0]["weights_sha256"])


def add_row(forger: Forger) -> None:
    rows = forger.json(HISTORY)
    forger.write_json(HISTORY, [*rows, rows[-1] | {"epoch": 3}])


row = forgeries_of("metrics")
ROWS = [
    row("mean class accuracy of 0.99", put(METRICS, "mean_class_accuracy", 0.99), METRICS),
    row("every number 0.99, the means consistent", edit(METRICS, perfect), METRICS),
    row("average precision of one class, its mean computed anew", edit(METRICS, one_precision), METRICS),
    row("a mean that is not that of the classes", put(METRICS, "mean_average_precision", 0.9), METRICS),
    row("the last bit of a mean", edit(METRICS, last_bit), METRICS),
    row("-0.0 for 0.0", edit(METRICS, minus_zero), METRICS),
    row("loss of 0.01", put(METRICS, "loss", 0.01), METRICS, "loss"),
    row("loss that is not a number", swap(METRICS, '"loss": ', '"loss": NaN, "was": '), METRICS),
    row("classes reversed, with their numbers", edit(METRICS, reverse), METRICS, "classes"),
    row("epoch 17 of 2", put(METRICS, "epoch", 17), METRICS, "epoch"),
    row("supports of 500", put(METRICS, "supports/test/sea", 500), METRICS, "supports"),
    row("weights_sha256 of other weights", put(METRICS, "weights_sha256", "0" * 64), METRICS, "weights_sha256"),
    row("an invented `unseen`", edit(METRICS, unseen), METRICS, "unseen"),
    row("validation accuracy of 0.99", put(METRICS, "validation_mean_class_accuracy", 0.99), METRICS, "validation"),
    row("a key that stands there twice", sealed(twice), METRICS),
    row("a key of their own: 0.99 with ten crops", put(METRICS, "mean_class_accuracy_ten_crops", 0.99), METRICS),
    row("0 for 0.0", swap(METRICS, " 0.0,", " 0,"), METRICS),
    row("spaces at the end", sealed(lambda forger: forger.write(METRICS, forger.read(METRICS) + b" ")), METRICS),
]

row = forgeries_of("histories")
ROWS += [
    row("a history of 0.99, the selection follows", sealed(perfect_history), "history.json: epoch 1"),
    row(
        "best validation accuracy of 0.99, the metrics say it too",
        best_row(("mean_class_accuracy", 0.99)),
        "history.json",
    ),
    row("validation loss of the best epoch", best_row(("val_loss", 0.01)), "history.json", "val_loss"),
    row(
        "weights_sha256 of the best epoch, the metrics say it too",
        best_row(("weights_sha256", "0" * 64)),
        "weights_sha256",
    ),
    row(
        "another setting's best epoch at 0.2",
        edit(f"{LAST}/history.json", lambda rows: rows[1].update(mean_class_accuracy=0.2)),
        f"{LAST}/history.json",
    ),
    row("a row added", sealed(add_row), "history.json"),
    row("a key of their own", edit(HISTORY, lambda rows: rows[0].update(test_accuracy=0.99)), "history.json"),
    row("training loss of the best epoch", best_row(("train_loss", 0.01)), "claimed", by="nothing", shown_by=RERUN),
    row("images per second", best_row(("images_per_second", 9e9)), "claimed", by="nothing", shown_by=RERUN),
    row(
        "validation loss of an epoch that is not the best",
        put(HISTORY, "0/val_loss", 0.01),
        "claimed",
        by="nothing",
        shown_by=RERUN,
    ),
]
