"""Forgeries of what `verify` compared with nothing once, and did not list as a claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from in4310repro.models import building
from in4310repro.runs import names
from in4310repro.system.tensors import tensors_sha256
from tests.forgeries.changes import edit, put, sealed
from tests.forgeries.doors import nothing
from tests.forgeries.forger import OTHER, Forger
from tests.forgeries.heads import HEAD, fit_all_anew, moved_body
from tests.forgeries.row import Forge, forgeries_of
from tests.forgeries.settings import CONFIG, FINGERPRINT
from tests.forgeries.starts import CHEAT, OF_SEVEN

SETTING = 1  # of the tiny preset, by RMSprop


def noise(forger: Forger) -> None:
    """Replace the last weights of the first setting, from which the next one began, by noise."""
    name = f"{OTHER}/{names.LAST_WEIGHTS}"
    best = forger.weights(OTHER)
    generator = torch.Generator().manual_seed(0)
    drawn = {
        key: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in best.items()
    }
    before = forger.read(f"{OTHER}/best.safetensors")
    forger.write_weights(OTHER, drawn)
    forger.write(name, forger.read(f"{OTHER}/best.safetensors"))
    forger.write(f"{OTHER}/best.safetensors", before)


def in_columns(forger: Forger) -> None:
    arrays = forger.arrays()
    forger.write_arrays(arrays | {"softmax": np.asfortranarray(arrays["softmax"])})


def wide_paths(forger: Forger) -> None:
    arrays = forger.arrays()
    forger.write_arrays(arrays | {"paths": arrays["paths"].astype("U99")})


def training_pixels(forger: Forger) -> None:
    path = forger.split().parts["training"][0].path
    forger.write_json(names.PIXELS, forger.json(names.PIXELS) | {path: "0" * 64})


def unused_momentum(number: int) -> Forge:
    def forge(forger: Forger) -> None:
        forger.put(CONFIG, f"settings/{SETTING}/momentum", 0.9)
        forger.put(CONFIG, "format", number)

    return sealed(forge)


def elsewhere(*changes: Callable[[Forger], object]) -> Forge:
    """Return a forgery with another body and all that follows from it, and without the file of the first weights."""

    def forge(forger: Forger) -> None:
        state = forger.weights(HEAD)
        moved_body(state)
        forger.write_weights(HEAD, state)
        fit_all_anew(forger)
        for change in changes:
            change(forger)
        forger.finish()
        (forger.work / OF_SEVEN).unlink()

    return forge


def initial_hash(forger: Forger) -> None:
    """Record as initial weights the forged body with the head that the seed draws."""
    config, state = forger.config(), forger.weights(HEAD)
    drawn = config.network.build(len(forger.split().classes), config.seed).state_dict()
    head = building.head(config.network)
    forger.put(
        FINGERPRINT,
        "initial_weights_sha256",
        tensors_sha256({name: drawn[name] if name in head else value for name, value in state.items()}),
    )


def native_features(features: dict[str, Any]) -> None:
    features["fingerprint"]["numerics"] = "native"


row = forgeries_of("what was compared with nothing")
ROWS = [
    row("noise as the last weights of a setting in a warm start", sealed(noise), "last.safetensors", start="warm"),
    row(
        "hash of an optimizer state, the chain made anew",
        put(f"{OTHER}/tensors.json", "0/optimizer_sha256", "0" * 64),
        "hashes of optimizer states",
        by="nothing",
        shown_by="`verify --replay --setting all`; `verify` lists it as claimed",
    ),
    row(
        "pixels of a training image",
        sealed(training_pixels),
        "pixels of training images",
        by="nothing",
        shown_by="`verify --replay`, which decodes them; `verify` lists it as claimed",
    ),
    row("scores by columns", sealed(in_columns), "softmax.npy"),
    row("room for longer paths in the scores", sealed(wide_paths), "scores.npz has"),
    row(
        "mAP of an epoch that is not the best, its classes as they were",
        edit(
            f"{OTHER}/history.json",
            lambda rows: min(rows, key=lambda row: row["mean_class_accuracy"]).update(mean_average_precision=0.9),
        ),
        "values of the classes give",
    ),
    row("a momentum that RMSprop does not use", unused_momentum(7), "momentum is 0.9, and RMSprop has none"),
    row(
        "the same in format 6, which allowed it",
        unused_momentum(6),
        "momentum 0.9 of setting rmsprop, which RMSprop does not use",
        by="nothing",
        shown_by="no need: no step uses it; `verify` lists it as claimed",
    ),
    row("feature maps said to be of native arithmetic", edit("features.json", native_features), "features.json"),
]

row = forgeries_of("own network", start="cheat", options=f"--model {CHEAT}")
ROWS += [
    row("another hash of the code", put(FINGERPRINT, "code_sha256", "0" * 64), "code_sha256"),
    row(
        "no hash of the code",
        edit(FINGERPRINT, lambda fingerprint: fingerprint.pop("code_sha256") and None),
        "code_sha256",
    ),
    row(
        "a network that looks labels up where it is evaluated, trained on honestly",
        nothing,
        f"what the code of {CHEAT} computes",
        by="nothing",
        replay="--replay 0",
        shown_by="a look at the code, by its hash in `fingerprint.json`; `verify` lists it as claimed",
    ),
]

row = forgeries_of("a fitted head without the file of weights", start="head of seven", by="nothing")
ROWS += [
    row(
        "a body of elsewhere, heads fitted anew",
        elsewhere(),
        "that nothing but the heads that were fitted has moved",
        shown_by="the file: `verify` compares the body where it is; it lists it as claimed",
    ),
    row(
        "the same, with the hash of the initial weights",
        elsewhere(initial_hash),
        "that training began from the weights of a file",
        shown_by="the file: `verify` hashes it where it is; it lists it as claimed",
    ),
]
