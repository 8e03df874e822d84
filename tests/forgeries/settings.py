"""Forgeries of what was trained: configuration, fingerprint, selection, settings and protocol."""

from __future__ import annotations

import json
import shutil

import torch

from in4310repro import models
from tests.forgeries.changes import METRICS, put, sealed, swap
from tests.forgeries.forger import LAST, OTHER, SELECTED, Forger, make_worst
from tests.forgeries.row import RERUN, Forge, forgeries_of

CONFIG, FINGERPRINT = "config.json", "fingerprint.json"


def by_hand(forger: Forger) -> None:
    """Record as selected, in the metrics only, a setting (one optimizer's training) that is not the best."""
    row = forger.json(f"{OTHER}/history.json")[1]
    forger.put(METRICS, "setting", OTHER)
    for key, source in (
        ("epoch", "epoch"),
        ("weights_sha256", "weights_sha256"),
        ("validation_mean_class_accuracy", "mean_class_accuracy"),
    ):
        forger.put(METRICS, key, row[source])


def by_lowered_history(setting: str) -> Forge:
    """Return a forgery that selects `setting` (one optimizer's training) by setting all other accuracies to 0."""

    def forge(forger: Forger) -> None:
        for other in (SELECTED, OTHER, LAST):
            if other != setting:
                rows = forger.json(f"{other}/history.json")
                for row in rows:
                    make_worst(row)
                forger.write_json(f"{other}/history.json", rows)
        forger.rescore()
        forger.refeature()
        forger.finish()

    return forge


def sabotaged(forger: Forger) -> None:
    """Give all but the last setting (one optimizer's training) untrained weights, and recompute the records."""
    config = forger.config()
    drawn = models.build(config.model, len(forger.split().classes), config.seed).state_dict()
    # Nearly a bias alone: it says one class of every image.
    drawn["fc.weight"], drawn["fc.bias"] = drawn["fc.weight"] * 1e-9, torch.eye(6)[5]
    for setting in (SELECTED, OTHER):
        forger.write_weights(setting, drawn)
        rows = forger.json(f"{setting}/history.json")
        for row in rows[1:]:
            make_worst(row)
        forger.write_json(f"{setting}/history.json", rows)
        forger.revalidate(setting)
    forger.make_fit(LAST)


def invented_start(forger: Forger) -> None:
    """Claim that training started from a weights file that does not exist, and invent its feature maps."""
    forger.put(CONFIG, "weights", "mine.safetensors")
    forger.put(FINGERPRINT, "initial_weights_sha256", "0" * 64)
    forger.put("features.json", "network", "resnet18 with mine.safetensors weights, not fine-tuned")
    forger.put("features.json", "sets/0/modules/conv1/non_positive", 0.9)


def another_order(forger: Forger) -> None:
    """Swap the first two optimizer settings in the configuration; both have equal results."""
    settings = forger.json(CONFIG)["settings"]
    forger.put(CONFIG, "settings", [settings[1], settings[0], settings[2]])
    forger.rescore()
    forger.refeature()
    forger.finish()


def drop_files(forger: Forger) -> None:
    shutil.rmtree(forger.run / LAST)


def drop_from_configuration(forger: Forger) -> None:
    forger.put(CONFIG, "settings", forger.json(CONFIG)["settings"][:2])


def drop(setting: str) -> Forge:
    """Return a forgery that removes a setting (one optimizer's training) from the run and its configuration."""

    def forge(forger: Forger) -> None:
        kept = [each for each in forger.json(CONFIG)["settings"] if each["name"] != setting]
        forger.put(CONFIG, "settings", kept)
        shutil.rmtree(forger.run / setting)
        forger.rescore()
        forger.refeature()
        forger.finish()

    return forge


def exchange_settings(forger: Forger) -> None:
    """Exchange the folders of the trainings by AdamW and by RMSprop."""
    for name, target in ((SELECTED, "between"), (OTHER, SELECTED), ("between", OTHER)):
        (forger.run / name).rename(forger.run / target)
    forger.rescore()
    forger.refeature()
    forger.finish()


def relabelled(forger: Forger) -> None:
    """Claim that a run with all deviations from the assignment has none."""
    forger.put(CONFIG, "protocol", [])
    metrics = forger.json(METRICS)
    metrics.pop("unseen", None)
    forger.write_json(METRICS, metrics)
    for last in forger.run.glob("*/last.safetensors"):
        last.unlink()


def relabelled_and_measured(forger: Forger) -> None:
    """Claim that a run with all deviations from the assignment has none, and recompute values from the weights."""
    relabelled(forger)
    for setting in (SELECTED, OTHER, LAST):
        forger.revalidate(setting)
    forger.rescore()
    forger.refeature()
    forger.finish()


def reorder(forger: Forger) -> None:
    words = forger.json(CONFIG)["protocol"]
    forger.put(CONFIG, "protocol", words[::-1])


def unknown_key(forger: Forger) -> None:
    forger.write(CONFIG, json.dumps(forger.json(CONFIG) | {"reviewed_by": "the author"}, indent=1).encode())


def unknown_preset(forger: Forger) -> None:
    """Change a run's learning rate, and give it a preset name that does not exist."""
    forger.put(CONFIG, "preset", "better")
    forger.put(CONFIG, "settings/0/learning_rate", 0.5)


row = forgeries_of("configuration")
ROWS = [
    row("epochs 200", put(CONFIG, "epochs", 200), "epochs"),
    row("seed 7", put(CONFIG, "seed", 7), "split"),
    row("split sizes", put(CONFIG, "split", "20/14/14"), "split"),
    row(
        "split sizes as shares",
        put(CONFIG, "split", "0.5/0.25/0.25"),
        by="nothing",
        shown_by="no need: these shares of 48 images are the same split",
    ),
    row("image_size 64", put(CONFIG, "image_size", 64), "drawn"),
    row("model resnet34", put(CONFIG, "model", "resnet34"), "does not fit the model"),
    row("protocol of the publication", put(CONFIG, "protocol", ["padded-denominator"]), "non_positive"),
    row("weights of ImageNet", put(CONFIG, "weights", "imagenet"), "weights"),
    row(
        "weights of a file that nobody has, feature maps invented",
        sealed(invented_start),
        "claimed and not computed again",
        by="nothing",
        shown_by="the file: `verify` hashes it, and measures, where it is",
    ),
    row("a key of their own", sealed(unknown_key), "reviewed_by"),
    row("format 99", put(CONFIG, "format", 99), "format"),
    row("modules left out", put(CONFIG, "modules", ["conv1"]), "modules"),
    row("name of the preset", put(CONFIG, "preset", "course"), "claimed", by="nothing", shown_by=RERUN),
    row("a preset that there is not", put(CONFIG, "preset", "own"), CONFIG, "preset is own"),
    row(
        "a preset that there is not, and other settings than any preset's",
        sealed(unknown_preset),
        CONFIG,
        "preset is better",
    ),
    row(
        "the name of another preset, and other settings than its",
        put(CONFIG, "preset", "photographs"),
        "differs from preset photographs in ",
        "settings",
        by="nothing",
        shown_by="the note that `verify` prints: `config.json` differs from preset photographs in its settings",
    ),
    row("device", put(CONFIG, "device", "cuda"), "claimed", by="nothing", shown_by=RERUN),
]

row = forgeries_of("fingerprint")
ROWS += [
    row("numeric class", put(FINGERPRINT, "numeric_class", "0" * 12), FINGERPRINT),
    row("hash of the initial weights", put(FINGERPRINT, "initial_weights_sha256", "0" * 64), "initial"),
    row("arithmetic", put(FINGERPRINT, "numerics", "native"), FINGERPRINT),
    row("a probe", put(FINGERPRINT, "probe/softmax", "0" * 12), FINGERPRINT),
    row("processor", put(FINGERPRINT, "processor", "a quantum computer"), "claimed", by="nothing", shown_by=RERUN),
    row("versions", swap(FINGERPRINT, '"torch": "', '"torch": "9'), "claimed", by="nothing", shown_by=RERUN),
    row("commit", put(FINGERPRINT, "git/commit", "0" * 40), "claimed", by="nothing", shown_by=RERUN),
]

row = forgeries_of("selection")
ROWS += [
    row("a setting chosen by hand", sealed(by_hand), "setting"),
    row("a setting chosen by lowered histories, everything computed anew", by_lowered_history(LAST), "history.json"),
    row(
        "the order of equal settings, everything computed anew",
        another_order,
        "differs from preset tiny in settings",
        by="nothing",
        shown_by="the note that `verify` prints: `config.json` differs from preset tiny in settings",
    ),
    row(
        "a setting chosen by untrained weights for the others, everything computed anew",
        sabotaged,
        by="nothing",
        shown_by="`--replay --setting all`, or a training by the same command",
    ),
    row("files of a setting removed", sealed(drop_files), LAST),
    row("a setting left out of the configuration", sealed(drop_from_configuration), LAST),
    row(
        "a setting left out of everything",
        drop(LAST),
        "differs from preset tiny in settings",
        by="nothing",
        shown_by="the note that `verify` prints: `config.json` differs from preset tiny in settings",
    ),
    row("two settings under each other's name", exchange_settings, "trained again", by="replay", replay="--replay 0"),
]

row = forgeries_of("protocol", start="published")
ROWS += [
    row("a run of all deviations relabelled `corrected`", sealed(relabelled), "scores"),
    row(
        "the same, everything computed anew", relabelled_and_measured, "trained again", by="replay", replay="--replay 0"
    ),
    row("deviations in another order", sealed(reorder), CONFIG),
]
